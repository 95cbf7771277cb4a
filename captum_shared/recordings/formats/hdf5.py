"""HDF5 files with named datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captum_shared.recordings.formats.contents import WINDOW, Contents, Neurons, Window
from captum_shared.recordings.formats.identifiers import Choice
from captum_shared.recordings.formats.named_arrays import (
    NAMES,
    chunks,
    from_arrays,
    list_neurons,
    some_neurons,
    to_arrays,
)


def read_hdf5(path: Path, window: Window = WINDOW, neurons: Choice | None = None) -> Contents:
    """Read datasets at the root with the names of :func:`~captum_shared.recordings.formats.named_arrays.from_arrays`.

    Args:
        path: the file, with at least ``responses`` and ``stimulus_id``.
        window: not used, as there are no spikes.
        neurons: a mask, positions or names of those to read; None: all.

    Returns:
        What it holds.

    Raises:
        ImportError: without h5py.
        ValueError: if it is damaged, or a dataset is missing or does not fit.

    Example:
        >>> import tempfile, h5py
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with h5py.File(folder + "/a.h5", "w") as file:
        ...         file["responses"] = [[1.0], [2.0]]
        ...         file["stimulus_id"] = ["hand", "cup"]
        ...     read_hdf5(Path(folder, "a.h5")).stimulus_ids
        ('hand', 'cup')
    """
    import h5py

    with h5py.File(path, "r") as file:
        stored = _arrays(file)
        arrays = (
            {name: None if array is None else array[()] for name, array in stored.items()}
            if neurons is None
            else some_neurons(stored, path, neurons)
        )
    return from_arrays(arrays, path, required=["responses", "stimulus_id"])


def list_hdf5(path: Path) -> Neurons:
    """List the neurons of a file that :func:`read_hdf5` reads, without their responses.

    Args:
        path: the file.

    Returns:
        What it knows of them.

    Raises:
        ImportError: without h5py.
        ValueError: if it is damaged, or a dataset is missing.
    """
    import h5py

    with h5py.File(path, "r") as file:
        return list_neurons(_arrays(file), path)


def write_hdf5(path: Path, contents: Contents) -> None:
    """Write named datasets, numbers with checksums.

    Args:
        path: the file.
        contents: what to write.

    Raises:
        ImportError: without h5py.
    """
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in to_arrays(contents).items():
            text = isinstance(value, tuple)
            file.create_dataset(
                name,
                data=value,
                dtype=h5py.string_dtype() if text else None,
                chunks=None if isinstance(value, tuple) else chunks(value.shape),
                fletcher32=not text,
            )


def _arrays(file: Any) -> dict[str, Any]:
    """The datasets that a recording has, still in the file; None for others."""
    return {name: file[name] if name in NAMES.values() else None for name in file}
