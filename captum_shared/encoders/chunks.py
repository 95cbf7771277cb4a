"""Features on disk, as an array of zarr of which one part at a time is read.

The chunks of the array are blocks of whole rows, and not compressed, by which features would gain little. Each is one
file, so that it can be written whole or not at all, told by its digest, and read by any version of zarr.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from captum_shared._files import digest_of, write_atomically

ARRAY: Final = ".zarray"
GROUP: Final = ".zgroup"
_FORMAT: Final = {"zarr_format": 2}


@final
class ChunkedArray:
    """An array of rows in a folder, which is read as it is sliced; ``array[:]`` reads all of it.

    A chunk is compared with its digest when it is first read.

    Args:
        folder: of the array.
        digests: SHA-256 of its chunks, in order; ``""`` for one that has no rows.
        chunk: how many rows a chunk has.
        dtype: of the numbers.
        rows: which rows of those in the folder the array has, in order.
        n_columns: length of a row.

    Attributes:
        shape: number of rows, and length of a row.
        dtype: of the numbers.
        chunk: how many rows lie together, which are quickest read together.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     total = write_chunk(Path(folder), 0, np.array([[1.0, 2.0], [3.0, 4.0]]))
        ...     array = ChunkedArray(Path(folder), [total], 2, np.dtype(float), np.arange(2), 2)
        ...     array.shape, array[1:], array.at([1, 0])[:, 1]
        ((2, 2), array([[3., 4.]]), array([4., 2.]))
    """

    def __init__(
        self,
        folder: Path,
        digests: Sequence[str],
        chunk: int,
        dtype: np.dtype[Any],
        rows: Int[ndarray, " row"],
        n_columns: int,
    ) -> None:
        self.shape: tuple[int, int] = (len(rows), n_columns)
        self.dtype = dtype
        self.chunk = chunk
        self.ndim: Final = 2
        self._folder, self._digests, self._rows = folder, digests, rows
        self._whole: set[int] = set()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, slice):
            return self._read(self._rows[rows])[:, columns]
        one = isinstance(rows, int | np.integer)
        read = self._read(self._rows[[rows] if one else np.asarray(rows)])
        return read[0, columns] if one else read[:, columns]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> ndarray:
        array: ndarray = self[:]
        return array if dtype is None else array.astype(dtype)

    def at(self, rows: Sequence[int] | Int[ndarray, " row"]) -> ChunkedArray:
        """Return some rows, again as an array that is read as it is sliced.

        Args:
            rows: their indices, in any order.

        Returns:
            The array of these rows.
        """
        chosen = self._rows[np.asarray(rows, dtype=np.int64)]
        array = ChunkedArray(self._folder, self._digests, self.chunk, self.dtype, chosen, self.shape[1])
        array._whole = self._whole
        return array

    def _read(self, rows: Int[ndarray, " row"]) -> Float[ndarray, "row column"]:
        read = np.empty((len(rows), self.shape[1]), self.dtype)
        chunks, inside = np.divmod(rows, self.chunk)
        order = np.argsort(chunks, kind="stable")
        starts = np.flatnonzero(np.diff(chunks[order], prepend=-1))
        for asked in np.split(order, starts[1:]) if len(rows) else ():
            first, last = int(inside[asked].min()), int(inside[asked].max()) + 1
            numbers = self._rows_of(int(chunks[asked[0]]), first, last)
            read[asked] = numbers[inside[asked] - first]
        return read

    def _rows_of(self, chunk: int, first: int, last: int) -> Float[ndarray, "row column"]:
        """Rows of one chunk, which is whole."""
        file, width = self._folder / chunk_name(chunk), self.shape[1] * self.dtype.itemsize
        if chunk not in self._whole:
            check_chunk(file, self._digests[chunk])
            self._whole.add(chunk)
        with file.open("rb") as content:
            content.seek(first * width)
            numbers: ndarray = np.fromfile(content, self.dtype, (last - first) * self.shape[1])
        return numbers.reshape(last - first, self.shape[1])


def check_chunk(file: Path, digest: str) -> None:
    """Refuse a chunk that is not as it was written.

    Args:
        file: the chunk.
        digest: its SHA-256.

    Raises:
        ValueError: if it is missing or another.
    """
    if not holds(file, digest):
        state = "other content" if file.is_file() else "no file"
        raise ValueError(
            f"Expected {file} as it was written, got {state}: extract the features again, by the same command with "
            "--resume."
        )


def holds(file: Path, digest: str) -> bool:
    """Tell whether a file is there, with the content of a digest.

    Args:
        file: the file.
        digest: SHA-256.

    Returns:
        Whether it is.
    """
    return file.is_file() and digest_of(file) == digest


def chunk_name(chunk: int, n_axes: int = 2) -> str:
    """Return the name of the file of a chunk.

    Args:
        chunk: its index along the first axis.
        n_axes: number of axes.

    Returns:
        The name.

    Example:
        >>> chunk_name(3)
        '3.0'
    """
    return ".".join([str(chunk), *["0"] * (n_axes - 1)])


def write_chunk(folder: Path, chunk: int, rows: Float[ndarray, "row column"]) -> str:
    """Write a chunk.

    Args:
        folder: of the array.
        chunk: its index.
        rows: as many as a chunk has.

    Returns:
        SHA-256 of the file.
    """
    content = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).tobytes()
    with write_atomically(folder / chunk_name(chunk)) as file:
        file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def describe_array(shape: tuple[int, int], chunk: int, dtype: np.dtype[Any]) -> str:
    """Return what zarr reads of an array first, by its specification, version 2.

    Args:
        shape: of the array.
        chunk: how many rows a chunk has.
        dtype: of the numbers; what no chunk holds is not a number.

    Returns:
        JSON.

    Example:
        >>> json.loads(describe_array((5, 3), 2, np.dtype("f4")))["chunks"]
        [2, 3]
    """
    return _json(
        {
            "shape": shape,
            "chunks": (chunk, shape[1]),
            "dtype": dtype.newbyteorder("<").str,
            "fill_value": "NaN",
            "order": "C",
            "compressor": None,
            "filters": None,
            **_FORMAT,
        }
    )


def describe_group() -> str:
    """Return what zarr reads of a folder of arrays first.

    Returns:
        JSON.
    """
    return _json(_FORMAT)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def chunks_of(n_rows: int, chunk: int) -> Iterator[range]:
    """Divide rows into chunks.

    Args:
        n_rows: how many there are.
        chunk: how many a chunk has.

    Yields:
        The rows of each.

    Example:
        >>> list(chunks_of(5, 2))
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    for start in range(0, n_rows, chunk):
        yield range(start, min(start + chunk, n_rows))
