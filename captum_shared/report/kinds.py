"""What a folder or file holds, and the page that suits it."""

from pathlib import Path

from captum_shared._files import check_place
from captum_shared.evaluation.run import RESULT
from captum_shared.report.benchmark import write_benchmark_report
from captum_shared.report.explained import write_pair_report
from captum_shared.report.page import is_page
from captum_shared.report.study import keep_study_report, write_study_report
from captum_shared.study.result import StudyResult


def write_report(source: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of whatever captum-shared made, as one HTML file that opens without a server or a network.

    Args:
        source: the folder of a study or of a benchmark, or the ``.npz`` file of ``captum-shared explain``.
        path: the file; by default ``report.html`` in the folder, or the name of the ``.npz`` file as ``.html``. Only
            another page is written over.

    Returns:
        The file.

    Raises:
        FileExistsError: if there is something else at ``path``.
        FileNotFoundError: if there is nothing at ``source``.
        OSError: if the file cannot be written.
        ValueError: if it is nothing that there is a page of, or damaged.
    """
    source, output = Path(source), None if path is None else Path(path)
    if output is not None:
        _check(output)
    if source.name == "study.json":
        source = source.parent
    if (source / "study.json").is_file():
        result = StudyResult.load(source)
        if output is None:
            return keep_study_report(result)
        write_study_report(result, output)
        return output
    if source.is_file() and source.suffix == ".npz" and source.name != "maps.npz":
        output = output or source.with_suffix(".html")
        _check(output)
        write_pair_report(source, output)
        return output
    results = source / RESULT if source.is_dir() else source
    if results.name == RESULT and results.is_file():
        output = output or results.with_name("report.html")
        _check(output)
        write_benchmark_report(results, output)
        return output
    raise _unknown(source)


def _check(output: Path) -> None:
    """Refuse to write over what is no page of ours."""
    if output.exists() and not is_page(output):
        raise FileExistsError(f"{output} exists already, and is no report: choose another --output.")
    check_place(output)


def _unknown(source: Path) -> OSError | ValueError:
    if not source.exists():
        return FileNotFoundError(
            f"Expected the folder of a study or a benchmark, or the .npz file of captum-shared explain, but there is "
            f"nothing at {source}: check the path."
        )
    return ValueError(
        f"Expected the folder of a study (with study.json) or a benchmark (with results.json), or the .npz file of "
        f"captum-shared explain, got {source}: give what one of these commands has finished."
    )
