"""Files of published recordings: found in their folders, and read apart."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from captum_shared.recordings.formats.apart import read_apart
from captum_shared.recordings.formats.identifiers import first_ten
from captum_shared.recordings.formats.stimulus_table import StimulusTable

Result = TypeVar("Result")

_POINTERS = (b"/annex/objects", b"../.git/annex", b"version https://git-lfs")


def file_in(folder: Path, name: str, source: str) -> Path:
    """Find a file of a published recording.

    Args:
        folder: the folder of all of its files.
        name: of the file, below it.
        source: what the files are and where they come from, for the message.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if it is not there, or only what git-annex or Git LFS leave in its place.

    Example:
        >>> file_in(Path("nowhere"), "betas.hdf5", "the dataset (https://example.org)")
        Traceback (most recent call last):
        FileNotFoundError: Expected the file betas.hdf5 of the dataset (https://example.org) in nowhere, got none:
        download it, in the folders as they are published, or correct the path.
    """
    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected the file {name} of {source} in {folder}, got none: download it, in the folders as they are "
            "published, or correct the path."
        )
    with file.open("rb") as content:
        if content.read(40).startswith(_POINTERS):
            raise FileNotFoundError(
                f"Expected the file {name} of {source} in {folder}, got the note that stands for one that is not "
                "downloaded: get it with 'datalad get' or 'git lfs pull'."
            )
    return file


def require(packages: Sequence[str], what: str) -> None:
    """Import the packages that a published recording needs.

    Args:
        packages: their names.
        what: needs them, for the message.

    Raises:
        ImportError: if one is not installed.

    Example:
        >>> require(["tasseography"], "The dataset")
        Traceback (most recent call last):
        ImportError: The dataset needs tasseography: pip install 'captum-shared[formats]'
    """
    try:
        for package in packages:
            importlib.import_module(package)
    except ImportError as error:
        needed = " and ".join(packages)
        raise ImportError(f"{what} needs {needed}: pip install 'captum-shared[formats]'") from error


def read_hdf5_apart(path: Path, read: Callable[[Any], Result], kind: str = "HDF5 file") -> Result:
    """Read an HDF5 file in another process, as a damaged one can keep this one for ever.

    Args:
        path: the file.
        read: a function of a module, or a partial one, of the open file.
        kind: what the file should be, for messages.

    Returns:
        What ``read`` returns.

    Raises:
        ValueError: if it cannot be read.
    """
    return read_apart(partial(_opened, read), path, kind=kind, packages=("h5py",))


def _opened(read: Callable[[Any], Result], path: Path) -> Result:
    import h5py

    with h5py.File(path, "r") as file:
        return read(file)


def categories_in(stimuli: str | os.PathLike[str], stimulus_ids: Sequence[str]) -> tuple[str, ...]:
    """Look the categories of images up in a table.

    Args:
        stimuli: a CSV file with the columns ``stimulus_id`` and ``category``; it may have more images.
        stimulus_ids: of the images.

    Returns:
        One category per image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such table, or lacks an image; the first ten are listed.
    """
    table = StimulusTable.read(Path(stimuli))
    if table.categories is None:
        raise ValueError(f"Expected the column category in {stimuli}, got none: add it, or leave stimuli out.")
    known = dict(zip(table.stimulus_ids, table.categories, strict=True))
    unknown = [name for name in stimulus_ids if name not in known]
    if unknown:
        raise ValueError(f"Expected every image in the table {stimuli}, unknown: {first_ten(unknown)}. Add them.")
    return tuple(known[name] for name in stimulus_ids)
