"""The page of a study: what was asked for, all neurons at a glance, and each of them at length."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from captum_shared._files import digest_of
from captum_shared._record import keep
from captum_shared._resuming import digest
from captum_shared.report.addresses import addresses
from captum_shared.report.neurons import neuron_sections
from captum_shared.report.page import REPORT, Part, digest_of_looks, write_page
from captum_shared.report.population import population
from captum_shared.study.result import StudyResult

_TOLD = ("preferred", "model", "layer", "methods", "folds", "driver_fraction", "all_neurons")
"""Settings that stand first, in this order."""


def write_study_report(result: StudyResult, path: str | Path) -> None:
    """Write a study as one HTML file, which opens without a server and without a network.

    Args:
        result: the study.
        path: the file; it is written whole or not at all.

    Raises:
        ValueError: if maps or pictures of the study are damaged.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> study = StudyResult({"preferred": "body"}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (), Path("maps.npz"))
        >>> write_study_report(study, Path(folder.name) / "report.html")
        >>> "It has no neurons" in (Path(folder.name) / "report.html").read_text(encoding="utf-8")
        True
        >>> folder.cleanup()
    """
    known = addresses(result.neurons)
    write_page(path, _title(result), [_head(result), population(result, known), neuron_sections(result, known)])


def keep_study_report(result: StudyResult) -> Path:
    """Write the page of a study into its folder, as part of its record: what is there and whole is left as it is.

    Args:
        result: the study.

    Returns:
        The file, ``report.html`` in the folder of the study.
    """
    folder, told = result.map_file.parent, repr(replace(result, map_file=Path()))
    parts = [told.encode(errors="surrogatepass"), digest_of(result.map_file).encode(), digest_of_looks().encode()]
    keep(folder, {REPORT: lambda path: write_study_report(result, path)}, of=digest(parts))
    return folder / REPORT


def _title(result: StudyResult) -> str:
    model = result.settings.get("model", "")
    return f"Neurons for {result.settings.get('preferred', '')!s}" + (f", explained by {model}" if model else "")


def _head(result: StudyResult) -> Part:
    settings: dict[str, Any] = dict(result.settings)
    told = {name: settings.pop(name) for name in _TOLD if name in settings} | settings | {"seed": result.seed}
    context = {
        "settings": {name.replace("_", " "): _text(value) for name, value in told.items()},
        "versions": dict(result.versions),
        "n_neurons": len(result.neurons),
        "n_included": len(result.included),
        "n_explained": len(result.explained),
    }
    return Part("study.html.jinja", context)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)
