"""NumPy files: an archive of named arrays, or one bare array."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from captum_shared._reading import MOST_DEFLATED
from captum_shared.recordings.formats.contents import WINDOW, Contents, Window
from captum_shared.recordings.formats.named_arrays import NAMES, from_arrays, to_arrays

_MAGIC: Final = np.lib.format.MAGIC_PREFIX[:1]  # of a bare array; an archive begins otherwise


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
    with path.open("rb") as file:
        bare = file.read(1) == _MAGIC
        file.seek(0)
        arrays = (
            {"responses": _array(file, path.stat().st_size, f"responses in {path}")} if bare else _archive(file, path)
        )
    return from_arrays(arrays, path, required=["responses"])


def _archive(file: Any, path: Path) -> dict[str, Any]:
    """The arrays of an archive by name; those that a recording does not have are not read, and None."""
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in arrays or member.file_size > MOST_DEFLATED * member.compress_size:
                raise ValueError(
                    f"Expected every array once, in as many bytes as it takes, got {name!r} again, or "
                    f"{member.file_size:,} bytes of it in {member.compress_size:,}: {path} is damaged. Write it again."
                )
            if name in NAMES.values():
                with archive.open(member) as stream:
                    arrays[name] = _array(stream, member.file_size, f"{name} in {path}")
            else:
                arrays[name] = None
    return arrays


def _array(file: Any, size: int, where: str) -> ndarray:
    """An array out of a file that has as many bytes as its header declares, no more and no less."""
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"Expected an array of numbers or text as {where}, got one with named fields: write it alone.")
    shape, by_column, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(
            f"Expected numbers or text as {where}, got Python objects, which are not read as they can run code: save "
            f"np.asarray(values, dtype=float) for numbers, and dtype=str for text."
        )
    start, declared = file.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start + declared != size:
        raise ValueError(
            f"Expected {declared:,} bytes after the header of {where} for the shape {shape}, got {size - start:,}: the "
            "file is truncated or damaged. Write it again."
        )
    content = file.read(declared + 1)  # one more, so that the end is reached, where the checksum is compared
    return np.ndarray(shape, dtype, content, order="F" if by_column else "C")


def write_numpy(path: Path, contents: Contents) -> None:
    """Write ``.npz``.

    Args:
        path: the file.
        contents: what to write.
    """
    arrays: dict[str, Any] = {name: np.array(value) for name, value in to_arrays(contents).items()}
    with path.open("wb") as file:  # to a path that does not end in small letters, NumPy would add its own extension
        np.savez_compressed(file, **arrays)
