"""HDF5 files with named datasets."""

from __future__ import annotations

from pathlib import Path

from captum_shared.recordings.formats.contents import WINDOW, Contents, Window
from captum_shared.recordings.formats.named_arrays import NAMES, from_arrays, to_arrays


def read_hdf5(path: Path, window: Window = WINDOW) -> Contents:
    """Read datasets at the root with the names of :func:`~captum_shared.recordings.formats.named_arrays.from_arrays`.

    Args:
        path: the file, with at least ``responses`` and ``stimulus_id``.
        window: not used, as there are no spikes.

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
        arrays = {name: file[name][()] if name in NAMES.values() else None for name in file}
    return from_arrays(arrays, path, required=["responses", "stimulus_id"])


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
            file.create_dataset(name, data=value, dtype=h5py.string_dtype() if text else None, fletcher32=not text)
