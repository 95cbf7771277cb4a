"""NetCDF: assemblies as Brain-Score writes them, and our own files, told apart by their content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from captum_shared.recordings.formats.contents import WINDOW, Contents, Neurons, Window
from captum_shared.recordings.formats.identifiers import Choice, as_text, chosen_positions
from captum_shared.recordings.formats.named_arrays import AXES, as_numbers, chunks, from_arrays, to_arrays
from captum_shared.recordings.formats.presentations import Presentations

_FORMAT = "captum_shared_recording"
_VERSION = 1
_DIMENSIONS = {"phase": "phase", "half": "half", "image": "stimulus", "neuron": "neuroid"}
_NAMES = {  # of the coordinates of an assembly, the older ones last
    "stimulus_id": ("stimulus_id", "image_id"),
    "neuroid_id": ("neuroid_id",),
    "region": ("region",),
    "subject": ("subject", "animal"),
    "phase": ("phase",),
    "repetition": ("repetition",),
    "category": ("category", "category_name"),
    "filename": ("filename", "image_file_name"),
}


def read_netcdf(path: Path, window: Window = WINDOW, neurons: Choice | None = None) -> Contents:
    """Read an assembly, or what :func:`write_netcdf` wrote.

    An assembly is one array of numbers with the dimensions ``presentation`` and ``neuroid``, in any order, and
    possibly ``time_bin`` of length 1; the levels of its indices are coordinates, as ``reset_index`` of xarray makes
    them: ``stimulus_id`` (or ``image_id``) and, optionally, ``repetition``, ``phase``, ``category`` (or
    ``category_name``), ``filename`` (or ``image_file_name``) along presentations; ``neuroid_id``, ``region``,
    ``subject`` (or ``animal``) along neuroids.

    Args:
        path: a netCDF-4 file.
        window: not used, as there are no spikes.
        neurons: a mask, positions or names of those to read; None: all.

    Returns:
        The means over repetitions.

    Raises:
        ImportError: without xarray or h5netcdf.
        ValueError: if it is damaged, of netCDF-3, has other dimensions or several time bins, or no ``stimulus_id``.

    Example:
        >>> import tempfile, xarray
        >>> identifiers = {"stimulus_id": ("presentation", ["hand", "cup", "hand"])}
        >>> assembly = xarray.DataArray([[1.0], [2.0], [3.0]], identifiers, ("presentation", "neuroid"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     assembly.to_netcdf(folder + "/a.nc", engine="h5netcdf")
        ...     read_netcdf(Path(folder, "a.nc")).responses.tolist()
        [[[2.0], [2.0]]]
    """
    with _dataset(path) as file:
        return from_dataset(file, path, neurons)


def list_netcdf(path: Path) -> Neurons:
    """List the neurons of a file that :func:`read_netcdf` reads, without their responses.

    Args:
        path: the file.

    Returns:
        What it knows of them.

    Raises:
        ImportError: without xarray or h5netcdf.
        ValueError: if it is damaged, of netCDF-3, or has other dimensions.
    """
    with _dataset(path) as file:
        return neurons_of(file, path)


def from_dataset(file: Any, path: Path, neurons: Choice | None = None) -> Contents:
    """Read a dataset of xarray: an assembly, or one of our own.

    Args:
        file: the dataset, still in the file.
        path: the file, for messages.
        neurons: which ones to read; None: all.

    Returns:
        The means over repetitions.

    Raises:
        ValueError: as :func:`read_netcdf`.
    """
    if neurons is not None:
        names = neurons_of(file, path).neuron_names
        file = file.assign_coords(neuroid_id=("neuroid", np.array(names, dtype=object)))
        file = file.isel(neuroid=chosen_positions(neurons, names, "neuron"))
    dataset = file.load()
    if not _is_own(dataset, path):
        return _presentations(dataset, path).averaged()
    own = {str(name): variable for name, variable in dataset.variables.items() if name not in dataset.dims}
    arrays = {name: _in_order(name, variable, path) if name in AXES else None for name, variable in own.items()}
    return from_arrays(arrays, path, required=["responses", "stimulus_id"])


def neurons_of(dataset: Any, path: Path) -> Neurons:
    """List the neurons of a dataset of xarray, without their responses.

    Args:
        dataset: an assembly, or one of our own.
        path: the file, for messages.

    Returns:
        What it knows of them; those without names are called ``"0"``, ``"1"``, ...

    Raises:
        ValueError: if it has other dimensions.
    """
    if not _is_own(dataset, path):
        _assembly(dataset, path)
    n_neurons = dataset.sizes.get("neuroid", 0)
    text = {name: _text(dataset, name, "neuroid", path) for name in ("neuroid_id", "region", "subject")}
    reliability = dataset.variables.get("reliability")
    return Neurons(
        neuron_names=text["neuroid_id"] or tuple(str(index) for index in range(n_neurons)),
        regions=text["region"] or ("",) * n_neurons,
        subjects=text["subject"] or ("",) * n_neurons,
        reliability=None if reliability is None else as_numbers(reliability.values, f"reliability in {path}"),
    )


@contextmanager
def _dataset(path: Path) -> Iterator[Any]:
    import xarray

    with path.open("rb") as file:
        if file.read(3) == b"CDF":
            raise ValueError(
                f"Expected a netCDF-4 file at {path}, got the classic format, netCDF-3: convert it with "
                "'nccopy -k nc4', or write it with to_netcdf(path, engine='h5netcdf')."
            )
    with xarray.open_dataset(path, engine="h5netcdf", decode_times=False, decode_timedelta=False) as dataset:
        yield dataset


def _is_own(dataset: Any, path: Path) -> bool:
    version = dataset.attrs.get(_FORMAT)
    if version is not None and version != _VERSION:
        raise ValueError(f"Expected version {_VERSION} of the format in {path}, got {version}: update captum-shared.")
    return version is not None


def write_netcdf(path: Path, contents: Contents) -> None:
    """Write a netCDF-4 file with named axes, numbers with checksums.

    Args:
        path: the file.
        contents: what to write: ``responses`` (phase, stimulus, neuroid), and ``halves`` (half, stimulus, neuroid).

    Raises:
        ImportError: without xarray or h5netcdf.
    """
    import xarray

    arrays, coordinates = {}, {}
    for name, value in to_arrays(contents).items():
        dimensions = tuple(_DIMENSIONS[axis] for axis in AXES[name])
        if isinstance(value, tuple):
            coordinates[name] = (dimensions, np.array(value, dtype=object))
        else:
            arrays[name] = (dimensions, value)
    dataset = xarray.Dataset(arrays, coordinates, {_FORMAT: _VERSION})
    encoding = {name: {"fletcher32": True, "chunksizes": chunks(value.shape)} for name, (_, value) in arrays.items()}
    dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def _in_order(name: str, variable: Any, path: Path) -> ndarray:
    """The values of one of our own arrays with its dimensions in our order, whatever theirs is."""
    dimensions = tuple(_DIMENSIONS[axis] for axis in AXES[name])
    if name == "responses" and "phase" not in variable.dims:
        dimensions = dimensions[1:]
    if sorted(dimensions) != sorted(variable.dims):
        raise ValueError(
            f"Expected {name} in {path} with the dimensions {', '.join(dimensions)}, got "
            f"{', '.join(variable.dims) or 'none'}: name them so, or keep all of them when selecting."
        )
    values: ndarray = variable.transpose(*dimensions).values
    return values


def _presentations(dataset: Any, path: Path) -> Presentations:
    responses = as_numbers(_assembly(dataset, path).values, f"the assembly in {path}")
    neurons = neurons_of(dataset, path)

    def text(name: str) -> tuple[str, ...] | None:
        return _text(dataset, name, "presentation", path)

    stimulus_ids = text("stimulus_id")
    if stimulus_ids is None:
        raise ValueError(
            f"Expected the coordinate stimulus_id along presentation in {path}, got "
            f"{', '.join(sorted(dataset.variables))}: write the levels of an index as coordinates, with reset_index."
        )
    return Presentations(
        responses=responses,
        stimulus_ids=stimulus_ids,
        neuron_names=neurons.neuron_names,
        regions=neurons.regions,
        subjects=neurons.subjects,
        phases=text("phase"),
        repetitions=text("repetition"),
        categories=text("category"),
        filenames=text("filename"),
    )


def _text(dataset: Any, name: str, axis: str, path: Path) -> tuple[str, ...] | None:
    for coordinate in _NAMES[name]:
        if coordinate in dataset.variables and dataset[coordinate].dims == (axis,):
            return as_text(dataset[coordinate].values, f"{coordinate} in {path}")
    return None


def _assembly(dataset: Any, path: Path) -> Any:
    """The array (presentation, neuroid) of a dataset; a single time bin is squeezed."""
    candidates = [array for array in dataset.data_vars.values() if {"presentation", "neuroid"} <= set(array.dims)]
    if len(candidates) != 1 or set(candidates[0].dims) - {"presentation", "neuroid", "time_bin"}:
        listed = "; ".join(f"{name} {array.dims}" for name, array in dataset.data_vars.items())
        raise ValueError(
            f"Expected one array with the dimensions presentation and neuroid (and time_bin of length 1) in {path}, "
            f"got {listed or 'none'}: rename or reduce its dimensions, or write one array to a file."
        )
    assembly = candidates[0]
    if "time_bin" in assembly.dims:
        if assembly.sizes["time_bin"] != 1:
            raise ValueError(
                f"Expected one time bin in {path}, got {assembly.sizes['time_bin']}: select one with "
                "assembly.isel(time_bin=[0]), or average them with assembly.mean('time_bin'), and write that."
            )
        assembly = assembly.squeeze("time_bin")
    return assembly.transpose("presentation", "neuroid")
