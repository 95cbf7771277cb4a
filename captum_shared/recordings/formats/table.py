"""The formats of recordings, one record each: everything that names or counts them goes by this table."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from captum_shared._files import write_atomically
from captum_shared._reading import opened
from captum_shared.recordings.formats.apart import read_apart
from captum_shared.recordings.formats.contents import Contents, Neurons, Window, chosen
from captum_shared.recordings.formats.hdf5 import list_hdf5, read_hdf5, write_hdf5
from captum_shared.recordings.formats.hdf5_checks import read_checked
from captum_shared.recordings.formats.identifiers import Choice, chosen_positions
from captum_shared.recordings.formats.long_table import read_long_csv, write_long_csv
from captum_shared.recordings.formats.netcdf import list_netcdf, read_netcdf, write_netcdf
from captum_shared.recordings.formats.numpy_files import read_numpy, write_numpy
from captum_shared.recordings.formats.nwb import read_nwb, write_nwb
from captum_shared.recordings.formats.parquet import list_parquet, read_parquet, write_parquet
from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.zarr_stores import list_zarr, read_zarr


@final
@dataclass(frozen=True)
class Format:
    """One format of recordings.

    Attributes:
        name: what messages call it.
        extensions: of its files, in small letters; the first is the usual one.
        read: reads a file; the window is for formats of spikes, which are counted in it. Where there is
            ``list_neurons``, it takes a choice of neurons too, and reads the responses of these only.
        list_neurons: lists the neurons of a file without reading their responses; None: it is read as a whole.
        write: writes responses to a file; None: that is not possible.
        write_spikes: writes spikes to a file; None: the format has none.
        packages: what it needs beyond the package's own requirements.
        extra: the extra of captum-shared that installs them.
        halves: whether a file can hold the means over odd and even repetitions, and a published reliability.
        identified: whether every file says which images it is of. Otherwise that may stand in a CSV file of the same
            name.
        sealed: whether a file that was cut short cannot be read, wherever it was cut.
        hdf5: whether its files are HDF5 files, which are checked first, and read in another process.
        folder: whether its files are folders.
    """

    name: str
    extensions: tuple[str, ...]
    read: Callable[..., Contents]
    list_neurons: Callable[[Path], Neurons] | None = None
    write: Callable[[Path, Contents], None] | None = None
    write_spikes: Callable[[Path, Spikes], None] | None = None
    packages: tuple[str, ...] = ()
    extra: str = "formats"
    halves: bool = True
    identified: bool = True
    sealed: bool = True
    hdf5: bool = False
    folder: bool = False

    def require(self, work: str) -> None:
        """Import the packages that the format needs.

        Args:
            work: "Reading" or "Writing", for the message.

        Raises:
            ImportError: if one of them is not installed; the extra is named.

        Example:
            >>> Format("tea leaves", (".tea",), read_numpy, packages=("tasseography",)).require("Reading")
            Traceback (most recent call last):
            ImportError: Reading tea leaves needs tasseography: pip install 'captum-shared[formats]'
        """
        try:
            for package in self.packages:
                importlib.import_module(package)
        except ImportError as error:
            needed = " and ".join(self.packages)
            raise ImportError(
                f"{work} {self.name} needs {needed}: pip install 'captum-shared[{self.extra}]'"
            ) from error


FORMATS = (
    Format(
        "netCDF",
        (".nc", ".netcdf"),
        read_netcdf,
        list_netcdf,
        write_netcdf,
        packages=("xarray", "h5netcdf"),
        hdf5=True,
    ),
    Format("NumPy", (".npz",), read_numpy, write=write_numpy, identified=False),
    Format("NumPy", (".npy",), read_numpy, identified=False),
    Format("CSV", (".csv",), read_long_csv, write=write_long_csv, halves=False, sealed=False),
    Format("Parquet", (".parquet",), read_parquet, list_parquet, write_parquet, packages=("pyarrow",), halves=False),
    Format("HDF5", (".h5", ".hdf5"), read_hdf5, list_hdf5, write_hdf5, packages=("h5py",), hdf5=True),
    Format("zarr", (".zarr",), read_zarr, list_zarr, packages=("xarray", "zarr"), folder=True),
    Format("NWB", (".nwb",), read_nwb, write_spikes=write_nwb, packages=("pynwb",), extra="nwb", hdf5=True),
)
"""All formats, those to recommend first."""

FOLDERS = tuple(extension for each in FORMATS if each.folder for extension in each.extensions)
"""The extensions of the formats whose files are folders."""

EXTENSIONS = tuple(extension for each in FORMATS for extension in each.extensions)
"""The extensions of the files that can be read."""

WRITTEN = tuple(each.extensions[0][1:] for each in FORMATS if each.write or each.write_spikes)
"""The formats that a recording can be written in, by their extensions."""


def format_of(path: Path) -> Format:
    """The format that the extension of a file tells.

    Args:
        path: the file.

    Returns:
        Its format.

    Raises:
        ValueError: if the extension is unknown; those there are are listed.

    Example:
        >>> format_of(Path("Session7.H5")).name
        'HDF5'
    """
    for each in FORMATS:
        if path.suffix.lower() in each.extensions:
            return each
    raise ValueError(
        f"Expected a recording with one of the extensions {', '.join(EXTENSIONS)}, got {path}: rename or convert it."
    )


def read_contents(path: Path, window: Window, *, neurons: Choice | None = None, follow_links: bool = False) -> Contents:
    """Read a file in the format its extension tells.

    Args:
        path: the file.
        window: seconds after the onset of an image in which spikes are counted, for formats of spikes.
        neurons: a mask, positions or names of the neurons to read; None: all.
        follow_links: whether an HDF5 file may take its data from other files.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the format needs a package that is not installed.
        ValueError: if the extension is unknown, or the file is not what it tells.
    """
    in_parts = format_of_file(path).list_neurons is not None
    read = partial(_read, format_of(path).read, window=window, neurons=neurons, in_parts=in_parts)
    contents: Contents = _opened(path, read, follow_links=follow_links)
    return contents


def neurons_in(path: Path, *, follow_links: bool = False) -> Neurons:
    """List the neurons of a file without reading their responses.

    Args:
        path: the file.
        follow_links: as of :func:`read_contents`.

    Returns:
        What it knows of them.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the format needs a package that is not installed.
        ValueError: if the extension is unknown or of a format that is read as a whole, or the file is not what it
            tells.
    """
    list_neurons = format_of_file(path).list_neurons
    if list_neurons is None:
        known = ", ".join(extension for each in FORMATS if each.list_neurons for extension in each.extensions)
        raise ValueError(
            f"Expected a recording that can be read in parts ({known}), got {path}: read it as a whole, with "
            "Recording.load, and save it in one of these formats."
        )
    neurons: Neurons = _opened(path, list_neurons, follow_links=follow_links)
    return neurons


def format_of_file(path: Path) -> Format:
    """The format of a file that is there.

    Args:
        path: the file, or the folder where the format has folders.

    Returns:
        Its format.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the extension is unknown.
    """
    if not path.is_file() and not (path.is_dir() and path.suffix.lower() in FOLDERS):
        got = "a folder" if path.is_dir() else "no file"
        raise FileNotFoundError(f"Expected a recording, got {got} at {path}: check the path.")
    return format_of(path)


def _opened(path: Path, read: Callable[[Path], Any], *, follow_links: bool) -> Any:
    """What a reader returns, of a file in the format its extension tells; errors are sentences."""
    file_format = format_of(path)
    file_format.require("Reading")
    kind = f"{file_format.name} file"
    if file_format.hdf5:
        checked = partial(read_checked, read, follow_links=follow_links)
        return read_apart(checked, path, kind=kind, packages=file_format.packages)
    with opened(path, kind):
        return read(path)


def _read(
    read: Callable[..., Contents], path: Path, *, window: Window, neurons: Choice | None, in_parts: bool
) -> Contents:
    if neurons is None or in_parts:
        return read(path, window, *(() if neurons is None else (neurons,)))
    contents = read(path, window)
    return Contents(**chosen(contents, neurons=chosen_positions(neurons, contents.neuron_names, "neuron")))


def write_contents(path: Path, contents: Contents) -> None:
    """Write a file in the format its extension tells, all of it or nothing.

    Args:
        path: the file; its folder is made if absent.
        contents: what to write.

    Raises:
        ImportError: if the format needs a package that is not installed.
        ValueError: if the extension is none of a format that can be written, or the format cannot hold the contents.
    """
    writable = {extension: each for each in FORMATS if each.write for extension in each.extensions}
    file_format = writable.get(path.suffix.lower())
    if file_format is None or file_format.write is None:
        raise ValueError(f"Cannot write a recording to {path}: choose one of the extensions {', '.join(writable)}.")
    kept = [name for name in ("halves", "reliability") if getattr(contents, name) is not None]
    if kept and not file_format.halves:
        *first, last = (each.extensions[0] for each in FORMATS if each.write and each.halves)
        raise ValueError(
            f"Cannot write {path}: {file_format.name} has no place for the {kept[0]} that this recording has. Save it "
            f"as {', '.join(first)} or {last}."
        )
    file_format.require("Writing")
    with write_atomically(path) as temporary:
        file_format.write(temporary, contents)


def write_spikes(path: Path, spikes: Spikes) -> None:
    """Write a file of spikes in the format its extension tells, all of it or nothing.

    Args:
        path: the file; its folder is made if absent.
        spikes: what to write.

    Raises:
        ImportError: if the format needs a package that is not installed.
        ValueError: if the extension is none of a format of spikes.
    """
    file_format = format_of(path)
    if file_format.write_spikes is None:
        known = ", ".join(extension for each in FORMATS if each.write_spikes for extension in each.extensions)
        raise ValueError(f"Cannot write spikes to {path}: choose one of the extensions {known}.")
    file_format.require("Writing")
    with write_atomically(path) as temporary:
        file_format.write_spikes(temporary, spikes)
