"""Zarr: folders of arrays in parts, as xarray writes them, read as netCDF files are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from captum_shared.recordings.formats.contents import WINDOW, Contents, Neurons, Window
from captum_shared.recordings.formats.identifiers import Choice
from captum_shared.recordings.formats.netcdf import from_dataset, neurons_of

_RECORDS: Final = (".zarray", ".zattrs", "zarr.json")
_MOST_COMPRESSED: Final = 2**20  # bytes that one byte can be decompressed to, at most


def read_zarr(path: Path, window: Window = WINDOW, neurons: Choice | None = None) -> Contents:
    """Read an assembly, or one of our own netCDF files, that xarray has written with ``to_zarr``.

    The dimensions and coordinates are those of :func:`~captum_shared.recordings.formats.netcdf.read_netcdf`. Zarr gives
    a number of its own for a part that is not there: arrays of numbers with such parts are refused.

    Args:
        path: the folder.
        window: not used, as there are no spikes.
        neurons: a mask, positions or names of those to read; None: all.

    Returns:
        The means over repetitions.

    Raises:
        ImportError: without xarray or zarr.
        ValueError: if it is damaged, a part is missing, or it has other dimensions.

    Example:
        >>> import tempfile, xarray
        >>> identifiers = {"stimulus_id": ("presentation", ["hand", "cup", "hand"])}
        >>> assembly = xarray.DataArray([[1.0, 2.0], [3.0, 4.0], [3.0, 6.0]], identifiers, ("presentation", "neuroid"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = assembly.to_dataset(name="rates").to_zarr(folder + "/a.zarr", zarr_format=2)
        ...     read_zarr(Path(folder, "a.zarr"), neurons=[1]).responses.tolist()
        [[[4.0], [4.0]]]
    """
    with _dataset(path) as dataset:
        return from_dataset(dataset, path, neurons)


def list_zarr(path: Path) -> Neurons:
    """List the neurons of a folder that :func:`read_zarr` reads, without their responses.

    Args:
        path: the folder.

    Returns:
        What it knows of them.

    Raises:
        ImportError: without xarray or zarr.
        ValueError: as :func:`read_zarr`.
    """
    with _dataset(path) as dataset:
        return neurons_of(dataset, path)


@contextmanager
def _dataset(path: Path) -> Iterator[Any]:
    import xarray
    import zarr

    for name, array in zarr.open_group(path, mode="r").arrays():
        _check_stored(name, array, path)
    with xarray.open_zarr(path, chunks=None, consolidated=False, decode_times=False, decode_timedelta=False) as dataset:
        yield dataset


def _check_stored(name: str, array: Any, path: Path) -> None:
    """Compare what an array declares with what is stored of it."""
    if array.dtype.kind not in "fiub":
        return  # text: what is missing is "", and identifiers have no gaps
    if array.nchunks_initialized < array.nchunks:
        raise ValueError(
            f"Expected all {array.nchunks:,} parts of {name!r} in {path}, got {array.nchunks_initialized:,}: zarr "
            "takes a number of its own for one that is lost. Copy the folder again; where nothing was recorded, write "
            "it with to_zarr(..., write_empty_chunks=True)."
        )
    records = [path / name / record for record in _RECORDS]
    described = "".join(record.read_text() for record in records if record.is_file())
    parts = [file for file in (path / name).rglob("*") if file.is_file() and file.name not in _RECORDS]
    if '"blosc"' in described and "sharding_indexed" not in described:
        _check_blosc(name, parts)
    stored = sum(file.stat().st_size for file in parts)
    if array.nbytes > _MOST_COMPRESSED * stored:
        raise ValueError(
            f"Expected as many numbers as {path} can hold, got {name!r} with the shape {array.shape}, which is "
            f"{array.nbytes:,} bytes, in {stored:,}: it is damaged. Write it again."
        )


def _check_blosc(name: str, parts: list[Path]) -> None:
    """Refuse parts that were cut short: Blosc reads what lies behind them in memory."""
    for part in parts:
        with part.open("rb") as file:
            length = int.from_bytes(file.read(16)[12:], "little")
        if length != part.stat().st_size:
            raise ValueError(
                f"Expected {length:,} bytes in {part}, a part of {name!r}, got {part.stat().st_size:,}: it was cut "
                "short or damaged. Copy the folder again."
            )
