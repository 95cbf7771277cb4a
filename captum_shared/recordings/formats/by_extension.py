"""The reader and the writer that belong to an extension."""

from collections.abc import Callable
from pathlib import Path

from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.hdf5 import read_hdf5, write_hdf5
from captum_shared.recordings.formats.long_table import read_long_csv, read_parquet, write_long_csv, write_parquet
from captum_shared.recordings.formats.netcdf import read_netcdf, write_netcdf
from captum_shared.recordings.formats.numpy_files import read_numpy, write_numpy
from captum_shared.recordings.formats.nwb import read_nwb

_READERS: dict[str, Callable[[Path], Contents]] = {
    ".nc": read_netcdf,
    ".netcdf": read_netcdf,
    ".csv": read_long_csv,
    ".parquet": read_parquet,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".npz": read_numpy,
    ".npy": read_numpy,
}
_WRITERS: dict[str, Callable[[Path, Contents], None]] = {
    ".nc": write_netcdf,
    ".netcdf": write_netcdf,
    ".csv": write_long_csv,
    ".parquet": write_parquet,
    ".h5": write_hdf5,
    ".hdf5": write_hdf5,
    ".npz": write_numpy,
}


def read_contents(path: Path, window: tuple[float, float]) -> Contents:
    """Read a file in the format its extension tells.

    Args:
        path: the file.
        window: seconds after the onset of an image in which spikes are counted; for NWB only.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the format needs a package that is not installed.
        ValueError: if the extension is unknown, or the file is not what it tells.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a recording, got no file at {path}: check the path.")
    extension = path.suffix.lower()
    if extension == ".nwb":
        return read_nwb(path, window)
    if extension not in _READERS:
        raise ValueError(
            f"Expected a recording with one of the extensions {', '.join(_READERS)}, .nwb, got {path}: rename or "
            "convert it."
        )
    return _READERS[extension](path)


def write_contents(path: Path, contents: Contents) -> None:
    """Write a file in the format its extension tells, all of it or nothing.

    Args:
        path: the file; its folder is made if absent.
        contents: what to write.

    Raises:
        ImportError: if the format needs a package that is not installed.
        ValueError: if the extension is none of a format that can be written, or the format cannot hold the contents.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ValueError(f"Cannot write a recording to {path}: choose one of the extensions {', '.join(_WRITERS)}.")
    _WRITERS[path.suffix.lower()](path, contents)
