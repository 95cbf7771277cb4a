"""NumPy files: an archive of named arrays, or one bare array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from captum_shared._files import write_atomically
from captum_shared.recordings.formats.access import opened
from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.named_arrays import KNOWN, from_arrays, to_arrays


def read_numpy(path: Path) -> Contents:
    """Read ``.npz`` with the names of :func:`~captum_shared.recordings.formats.named_arrays.from_arrays`, or ``.npy``.

    Args:
        path: the file. An archive has at least ``responses``; a bare array is the responses.

    Returns:
        What it holds. Without ``stimulus_id``, the rows are those of the table of the images.

    Raises:
        ValueError: if it is damaged, has objects in it, or an array is missing or does not fit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/a.npz", responses=np.eye(2), stimulus_id=["hand", "cup"])
        ...     read_numpy(Path(folder, "a.npz")).stimulus_ids
        ('hand', 'cup')
    """
    with opened(path, "NumPy"), path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        arrays: dict[str, Any] = {"responses": found}
        if not isinstance(found, np.ndarray):
            arrays = {name: found[name] if name in KNOWN else None for name in found.files}
    return from_arrays(arrays, path, required=["responses"])


def write_numpy(path: Path, contents: Contents) -> None:
    """Write ``.npz``, all of it or nothing.

    Args:
        path: the file.
        contents: what to write.
    """
    with write_atomically(path) as temporary:
        arrays: dict[str, Any] = {name: np.array(value) for name, value in to_arrays(contents).items()}
        np.savez_compressed(temporary, **arrays)
