"""What an HDF5 file says of itself, checked before anything is read: where its numbers lie, and how many there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from captum_shared._reading import MOST_DEFLATED
from captum_shared.recordings.formats.identifiers import first_ten

Result = TypeVar("Result")

_DEFLATING: Final = {1, 2, 3}  # deflate, shuffle and checksum, by their numbers in HDF5
_MOST_COMPRESSED: Final = 2**20  # of other filters, such as those of runs
_BARE: Final = b"This is a netCDF dimension but not a netCDF variable"
_UNREAD: Final = (
    "acquisition/",
    "processing/",
    "analysis/",
    "scratch/",
    "stimulus/templates/",
)  # of NWB files: raw data, which may be unfinished


def read_checked(read: Callable[[Path], Result], path: Path, *, follow_links: bool) -> Result:
    """Check a file that HDF5 can open, and read it.

    Args:
        read: reads it.
        path: the file.
        follow_links: as of :func:`check_hdf5`.

    Returns:
        What ``read`` returns.

    Raises:
        ValueError: as :func:`check_hdf5`, or ``read``.
    """
    import h5py

    if h5py.is_hdf5(path):
        check_hdf5(path, follow_links=follow_links)
    return read(path)


def check_hdf5(path: Path, *, follow_links: bool = False) -> None:
    """Refuse a file that is not all there, that takes numbers from other files, or declares more than it can hold.

    Where a part of a dataset was never written, or its source is missing, HDF5 gives zeros without a word.

    Args:
        path: the file.
        follow_links: whether it may take its numbers from other files: external links, virtual datasets and external
            storage. Their sources have to be there.

    Raises:
        ValueError: with the name of the dataset or link.

    Example:
        >>> import tempfile, h5py
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with h5py.File(folder + "/a.h5", "w") as file:
        ...         file["responses"] = h5py.ExternalLink("/etc/passwd", "x")
        ...     check_hdf5(Path(folder, "a.h5"))
        Traceback (most recent call last):
        ValueError: Expected a file that holds all of its data, got 'responses', a link to '/etc/passwd': copy the data
        into the file, or let it read other files with --follow-links (follow_links=True).
    """
    import h5py

    with h5py.File(path, "r") as file:
        for name, item in _items(file):
            if isinstance(item, h5py.ExternalLink):
                _check_sources(path.parent, name, "a link to", [item.filename], follow_links=follow_links)
            else:
                _check_dataset(item, name, size=path.stat().st_size, follow_links=follow_links)


def checked_dataset(file: Any, name: str, *, whole: bool = True) -> Any:
    """Find one dataset of a file, and check it alone.

    Args:
        file: open.
        name: its path.
        whole: whether to check that all of its parts were written, too, which takes long where there are many.

    Returns:
        The dataset.

    Raises:
        ValueError: if there is none, or it takes its numbers from elsewhere, or is not all there.
    """
    import h5py

    link = file.get(name, getlink=True) if name in file else None
    item = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"Expected the dataset {name!r}, got {first_ten(sorted(file))}: it is another file.")
    if item.is_virtual or item.id.get_create_plist().get_external_count():
        raise ValueError(f"Expected a file that holds all of its data, got {name!r} from other files: download it.")
    if whole:
        _check_dataset(item, name, size=Path(file.filename).stat().st_size, follow_links=False)
    return item


def _items(group: Any) -> Iterator[tuple[str, Any]]:
    """External links and datasets below a group, by their paths; everything once, as links can go in circles."""
    import h5py

    waiting, seen = [("", group)], set()
    while waiting:
        path, inside = waiting.pop()
        for name in inside:
            link, below = inside.get(name, getlink=True), f"{path}{name}"
            if isinstance(link, h5py.ExternalLink):
                yield below, link
            elif isinstance(link, h5py.HardLink):
                item = inside[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Group):
                    waiting.append((f"{below}/", item))
                elif isinstance(item, h5py.Dataset):
                    yield below, item


def _check_dataset(dataset: Any, name: str, *, size: int, follow_links: bool, above: tuple[Any, ...] = ()) -> None:
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual:
        _check_virtual(dataset, name, size=size, follow_links=follow_links, above=above)
    elif properties.get_external_count():
        files = [properties.get_external(index)[0].decode() for index in range(properties.get_external_count())]
        _check_sources(Path(), name, "numbers in", files, follow_links=follow_links)  # where HDF5 looks for them
    elif dataset.shape and dataset.size:
        _check_stored(dataset, name, properties, size=size)


def _check_stored(dataset: Any, name: str, properties: Any, *, size: int) -> None:
    """Compare what a dataset declares with what is stored of it."""
    stored = dataset.id.get_storage_size()
    parts, stored_parts = 1, int(stored > 0)
    if dataset.chunks:
        parts = math.prod(-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        stored_parts = dataset.id.get_num_chunks()
    if stored_parts < parts:
        if name.startswith(_UNREAD) or bytes(dataset.attrs.get("NAME", b"")).startswith(_BARE):
            return
        raise ValueError(
            f"Expected all data of {name!r} with the shape {dataset.shape}, got {stored_parts} of {parts} parts: what "
            "was never written, or is lost, would be read as zeros. Write the file again."
        )
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    most = min(stored, size) * (1 if not filters else MOST_DEFLATED if filters <= _DEFLATING else _MOST_COMPRESSED)
    declared = dataset.size * dataset.id.get_type().get_size()
    if declared > most:
        raise ValueError(
            f"Expected as many numbers as the file can hold, got {name!r} with the shape {dataset.shape}, which is "
            f"{declared:,} bytes, in {min(stored, size):,}: it is damaged. Write the file again."
        )


def _check_virtual(dataset: Any, name: str, *, size: int, follow_links: bool, above: tuple[Any, ...]) -> None:
    """Check that every number of a virtual dataset has a source, which is there."""
    import h5py

    path, sources = dataset.file.filename, dataset.virtual_sources()
    _check_sources(
        Path(path).parent, name, "virtual, of", [each.file_name for each in sources], follow_links=follow_links
    )
    mapped = sum(each.vspace.get_select_npoints() for each in sources)
    if mapped < dataset.size or (path, name) in above:
        raise ValueError(
            f"Expected a source of every number of the virtual dataset {name!r}, got them for {mapped} of "
            f"{dataset.size}: the others would be read as zeros. Write the data into the file."
        )
    for each in sources:
        own = path if each.file_name == "." else str(Path(path).parent / each.file_name)
        with h5py.File(own, "r") as file:
            source = file.get(each.dset_name)
            extent = each.src_space.get_simple_extent_dims()
            if not isinstance(source, h5py.Dataset) or source.shape != extent:
                raise ValueError(
                    f"Expected the dataset {each.dset_name!r} with the shape {extent} in {own}, a source of the "
                    f"virtual dataset {name!r}, got {getattr(source, 'shape', 'none')}: it would be read as zeros."
                )
            _check_dataset(source, each.dset_name, size=size, follow_links=follow_links, above=(*above, (path, name)))


def _check_sources(folder: Path, name: str, what: str, files: list[str], *, follow_links: bool) -> None:
    """Refuse numbers of other files, unless that is allowed and they are there."""
    others = [file for file in dict.fromkeys(files) if file != "."]
    if others and not follow_links:
        raise ValueError(
            f"Expected a file that holds all of its data, got {name!r}, {what} {first_ten(others)}: copy the data into "
            "the file, or let it read other files with --follow-links (follow_links=True)."
        )
    missing = [file for file in others if not (folder / file).is_file()]
    if missing:
        raise ValueError(
            f"Expected the files that {name!r} takes its data from in {folder.absolute()}, missing: "
            f"{first_ten(missing)}. Copy them there."
        )
