"""What a NumPy file declares is compared with what it has, before memory is taken."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from captum_shared.recordings.formats.numpy_files import read_numpy

LITTLE = 2_000_000  # bytes


def array_of(shape: str, content: bytes = b"", dtype: str = "<f8") -> bytes:
    """A bare array, whatever its header says."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


def archive_of(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


FILES = {
    "a trillion numbers": ("r.npy", array_of("(1000000, 1000000)", bytes(48)), "8,000,000,000,000 bytes.*, got 48"),
    "a number too few": ("r.npy", array_of("(3, 2)", bytes(47)), r"48 bytes .* shape \(3, 2\), got 47"),
    "a number too many": ("r.npy", array_of("(3, 2)", bytes(56)), r"48 bytes .* shape \(3, 2\), got 56"),
    "less than nothing": ("r.npy", array_of("(-3, -2)", bytes(48)), r"for the shape \(-3, -2\)"),
    "a trillion in an archive": (
        "r.npz",
        archive_of({"responses.npy": array_of("(1000000, 1000000)", bytes(48))}),
        "8,000,000,000,000 bytes after the header of responses in .*, got 48",
    ),
    "objects": ("r.npy", array_of("(2,)", bytes(16), "|O"), r"Python objects.* save np\.asarray\(values, dtype=float"),
}


@pytest.mark.parametrize(("name", "content", "told"), FILES.values(), ids=FILES)
def test_what_is_not_there_is_refused_before_memory_is_taken(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=told):
        read_numpy(tmp_path / name)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < LITTLE


def test_a_small_archive_that_declares_much_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    honest = archive_of({"responses.npy": array_of("(500, 1000)", bytes(4_000_000))})
    start = honest.index(b"PK\x01\x02") + 24  # the size of the member, in the directory
    (tmp_path / "r.npz").write_bytes(honest[:start] + (2**31).to_bytes(4, "little") + honest[start + 4 :])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"as many bytes as it takes, got .* 2,147,483,648 bytes of it in .*r\.npz"):
        read_numpy(tmp_path / "r.npz")
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < LITTLE


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.npz", "w") as archive:
        for value in (1.0, 2.0):
            archive.writestr("responses.npy", array_of("(1, 1)", np.float64(value).tobytes()))
    with pytest.raises(ValueError, match=r"every array once, .* got 'responses' again"):
        read_numpy(tmp_path / "r.npz")


def test_a_changed_number_in_an_archive_is_told_by_its_checksum(tmp_path: Path) -> None:
    number = np.float64(1 / 3).tobytes()
    with zipfile.ZipFile(tmp_path / "r.npz", "w") as archive:
        archive.writestr("responses.npy", array_of("(1, 1)", number))
    content = (tmp_path / "r.npz").read_bytes()
    (tmp_path / "r.npz").write_bytes(content.replace(number, np.float64(2 / 3).tobytes()))
    with pytest.raises(zipfile.BadZipFile, match=r"Bad CRC-32 for file 'responses\.npy'"):
        read_numpy(tmp_path / "r.npz")
