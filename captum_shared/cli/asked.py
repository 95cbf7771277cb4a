"""Whether a folder holds already, and whole, what a command is asked for: known without what is slow to import."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from captum_shared._files import digest_of
from captum_shared._occupied import occupied
from captum_shared._record import Record
from captum_shared._resuming import digest, versions

_NO_MATTER: Final = ("check", "config", "output", "resume", "device", "engine", "address", "workers")
_STORE: Final = "store.json"  # in a store of features, with the digests of all other files of it
_PACKAGES: Final = (
    *("captum-shared", "captum", "grad-cam", "matplotlib", "numpy", "scikit-learn"),
    *("timm", "torch", "torchvision", "transformers", "zennit"),
)


def asked_for(options: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up what a command is asked for, so that the same options and inputs give the same.

    Args:
        options: the options by name; of a file or folder its content counts, and with it the tables beside a file.

    Returns:
        What is asked for, ready for JSON.

    Example:
        >>> asked_for({"seed": 3, "output": Path("out")})
        {'seed': 3}
    """
    return {name: _content(value) for name, value in options.items() if name not in _NO_MATTER}


def holds_what_is_asked_for(output: Path, asked: Mapping[str, Any]) -> bool:
    """Tell whether a folder was finished for the same, and every file of it is whole.

    Args:
        output: the folder.
        asked: of :func:`asked_for`.

    Returns:
        Whether it was, with the packages that are installed.
    """
    known = Record(output).asked
    if not known or known["options"] != asked or versions(*known["packages"]) != known["packages"]:
        return False
    return not any(Record(output / folder).faults() for folder in known["folders"])


def remember(output: Path, asked: Mapping[str, Any], folders: Sequence[str]) -> None:
    """Write down what a folder was finished for.

    Args:
        output: the folder.
        asked: of :func:`asked_for`.
        folders: it and those in it that have files of their own, relative to it.
    """
    told = {"options": asked, "folders": list(folders), "packages": versions(*_PACKAGES)}
    with occupied(output):
        record = Record(output)
        if record.asked != told:
            record.describe(asked=told)


def _content(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_content(each) for each in value]
    if not isinstance(value, str | Path) or not os.path.exists(value):  # noqa: PTH110  # a name may be no path
        return str(value) if isinstance(value, Path) else value
    path = Path(value)
    if path.is_file():
        return [digest_of(path), *(digest_of(table) for table in sorted(path.parent.glob("*.csv")))]
    if (path / _STORE).is_file():
        return digest_of(path / _STORE)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest(part.encode(errors="surrogatepass") for file in files for part in (file.name, digest_of(file)))
