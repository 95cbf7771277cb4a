"""NumPy files: an archive of named arrays, or one bare array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from captum_shared.recordings.formats.access import opened
from captum_shared.recordings.formats.contents import WINDOW, Contents, Window
from captum_shared.recordings.formats.named_arrays import NAMES, from_arrays, to_arrays


def read_numpy(path: Path, window: Window = WINDOW) -> Contents:
    """Read ``.npz`` with the names of :func:`~captum_shared.recordings.formats.named_arrays.from_arrays`, or ``.npy``.

    Args:
        path: the file. An archive has at least ``responses``; a bare array is the responses.
        window: not used, as there are no spikes.

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
        held = np.load(file, allow_pickle=False)
        arrays: dict[str, Any] = {"responses": held}
        if not isinstance(held, np.ndarray):
            arrays = {name: held[name] if name in NAMES.values() else None for name in held.files}
    return from_arrays(arrays, path, required=["responses"])


def write_numpy(path: Path, contents: Contents) -> None:
    """Write ``.npz``.

    Args:
        path: the file.
        contents: what to write.
    """
    arrays: dict[str, Any] = {name: np.array(value) for name, value in to_arrays(contents).items()}
    with path.open("wb") as file:  # to a path that does not end in small letters, NumPy would add its own extension
        np.savez_compressed(file, **arrays)
