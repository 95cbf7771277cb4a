"""HDF5 gives zeros for what is not there, and the contents of other files, without a word: both are refused."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from captum_shared.recordings import Recording
from captum_shared.recordings.formats.hdf5_checks import check_hdf5

RESPONSES = np.arange(1.0, 7.0).reshape(3, 2)
IDENTIFIERS = ["hand", "cup", "face"]


def with_identifiers(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    file["stimulus_id"] = IDENTIFIERS
    return file


def source(folder: Path) -> Path:
    with h5py.File(folder / "source.h5", "w") as file:
        file["x"] = RESPONSES
    return folder / "source.h5"


def layout(path: str, rows: int = 3, name: str = "x") -> h5py.VirtualLayout:
    virtual = h5py.VirtualLayout((3, 2), dtype="f8")
    virtual[:rows] = h5py.VirtualSource(path, name, (3, 2))[:rows]
    return virtual


def virtual(folder: Path) -> None:
    with with_identifiers(folder / "r.h5") as file:
        file.create_virtual_dataset("responses", layout(source(folder).name))


def linked(folder: Path) -> None:
    with with_identifiers(folder / "r.h5") as file:
        file["responses"] = h5py.ExternalLink(source(folder).name, "x")


def stored_elsewhere(folder: Path) -> None:
    RESPONSES.tofile(folder / "source.h5")
    with with_identifiers(folder / "r.h5") as file:
        file.create_dataset("responses", (3, 2), "f8", external=[("source.h5", 0, h5py.h5f.UNLIMITED)])


EVERY = pytest.mark.parametrize("write", [virtual, linked, stored_elsewhere])


@EVERY
def test_numbers_of_other_files_are_refused(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    with pytest.raises(
        ValueError, match=r"r\.h5: Expected a file that holds all of its data, got 'responses', .*source"
    ):
        Recording.load(tmp_path / "r.h5")


@EVERY
def test_numbers_of_other_files_are_read_if_allowed(
    tmp_path: Path, write: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    np.testing.assert_array_equal(Recording.load(tmp_path / "r.h5", follow_links=True).mean, RESPONSES)


@EVERY
def test_sources_that_are_missing_are_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    (tmp_path / "source.h5").unlink()
    with pytest.raises(ValueError, match=r"files that 'responses' takes its data from .* missing: 'source\.h5'"):
        Recording.load(tmp_path / "r.h5", follow_links=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": 2}, "source of every number of the virtual dataset 'responses', got them for 4 of 6"),
        ({"name": "y"}, "Expected the dataset 'y' with the shape .*, got none: it would be read as zeros"),
    ],
)
def test_a_virtual_dataset_with_gaps_is_refused(tmp_path: Path, changes: dict, told: str) -> None:
    with with_identifiers(tmp_path / "r.h5") as file:
        file.create_virtual_dataset("responses", layout(source(tmp_path).name, **changes))
    with pytest.raises(ValueError, match=told):
        Recording.load(tmp_path / "r.h5", follow_links=True)


def test_a_virtual_dataset_of_the_same_file_is_allowed(tmp_path: Path) -> None:
    with with_identifiers(tmp_path / "r.h5") as file:
        file["x"] = RESPONSES
        file.create_virtual_dataset("responses", layout("."))
    check_hdf5(tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "a") as file:
        del file["x"]
    with pytest.raises(ValueError, match=r"dataset 'x' with the shape .*, got none: it would be read as zeros"):
        check_hdf5(tmp_path / "r.h5")


def test_a_virtual_dataset_of_itself_is_refused(tmp_path: Path) -> None:
    with with_identifiers(tmp_path / "r.h5") as file:
        file.create_virtual_dataset("responses", layout(".", name="responses"))
    with pytest.raises(ValueError, match=r"r\.h5.*virtual dataset 'responses'"):
        Recording.load(tmp_path / "r.h5")


@pytest.mark.parametrize("chunks", [None, (1, 2)])
def test_what_was_never_written_is_refused(tmp_path: Path, chunks: tuple[int, int] | None) -> None:
    with with_identifiers(tmp_path / "r.h5") as file:
        responses = file.create_dataset("responses", (3, 2), "f8", chunks=chunks)
        if chunks:
            responses[:2] = 1.0
    parts = "2 of 3" if chunks else "0 of 1"
    with pytest.raises(ValueError, match=rf"'responses' with the shape \(3, 2\), got {parts} parts.* read as zeros"):
        Recording.load(tmp_path / "r.h5")


def test_a_shape_that_the_file_cannot_hold_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    with with_identifiers(tmp_path / "r.h5") as file:
        file.create_dataset("responses", data=RESPONSES, chunks=(3, 2), maxshape=(3, None))
    content = (tmp_path / "r.h5").read_bytes()
    shape = np.array([3, 2], "<u8").tobytes()
    (tmp_path / "r.h5").write_bytes(content.replace(shape, np.array([3, 2**40], "<u8").tobytes(), 1))
    with pytest.raises(ValueError, match=r"r\.h5.*'responses' with the shape \(3, 1099511627776\)"):
        Recording.load(tmp_path / "r.h5")
