"""Files of strangers are read by another process, which may loop, crash and be killed in place of this one."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from captum_shared.recordings.formats import apart
from captum_shared.recordings.formats.apart import read_apart


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "r.nwb").write_bytes(b"abc")
    return tmp_path / "r.nwb"


def looping(path: Path) -> bytes:
    """As libhdf5 does: in C, with the lock of the interpreter held, deaf to signals."""
    return ctypes.PyDLL(None).sleep(3600) or path.read_bytes()


def crashing(path: Path) -> bytes:
    return ctypes.string_at(0) or path.read_bytes()


def leaving(path: Path) -> bytes:
    threading.Timer(0.1, os._exit, (0,)).start()
    return path.read_bytes()


def warning(path: Path) -> bytes:
    print("what a library prints")
    warnings.warn("old file", UserWarning, stacklevel=1)
    return path.read_bytes()


def failing(path: Path, *, error: Exception) -> None:
    raise error


def filled(path: Path) -> np.ndarray:
    return np.full((1000, 500), float(path.stat().st_size))


def test_arrays_come_back(file: Path) -> None:
    assert (read_apart(filled, file, kind="NWB file", packages=["numpy"]) == 3).all()


def test_a_library_that_never_comes_back_is_ended_in_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"Expected a readable NWB file at .*r\.nwb, got: it was not read in time"):
        read_apart(looping, file, kind="NWB file")
    assert time.monotonic() - start < 20
    assert read_apart(Path.read_bytes, file, kind="NWB file") == b"abc"


def test_a_crash_is_told_and_the_next_file_is_read(file: Path) -> None:
    with pytest.raises(
        ValueError, match=r"NWB file at .*r\.nwb, got: the process that reads it crashed \(status -\d+\)"
    ):
        read_apart(crashing, file, kind="NWB file")
    assert read_apart(Path.read_bytes, file, kind="NWB file") == b"abc"


def test_a_process_that_went_for_want_of_work_is_replaced(file: Path) -> None:
    assert read_apart(leaving, file, kind="NWB file") == b"abc"
    assert apart._reader._process.wait(10) == 0
    assert read_apart(Path.read_bytes, file, kind="NWB file") == b"abc"


def test_a_relative_name_is_that_of_the_folder_this_process_is_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "below").mkdir()
    (file.parent / "below" / "r.nwb").write_bytes(b"below")
    for folder, content in ((file.parent, b"abc"), (file.parent / "below", b"below")):
        monkeypatch.chdir(folder)
        assert read_apart(Path.read_bytes, Path("r.nwb"), kind="NWB file") == content


def test_warnings_are_repeated_and_prints_do_no_harm(file: Path) -> None:
    with pytest.warns(UserWarning, match="old file"):
        assert read_apart(warning, file, kind="NWB file") == b"abc"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("units"), r"readable NWB file at .*r\.nwb, got: KeyError: 'units'\. It may be truncated"),
        (MemoryError(), r"readable NWB file at .*r\.nwb, got: MemoryError: there is not enough memory"),
        (
            ValueError("Expected a window, got none: give one."),
            r"In .*r\.nwb: Expected a window, got none: give one\.$",
        ),
    ],
)
def test_errors_are_sentences_with_the_name_of_the_file(file: Path, error: Exception, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_apart(partial(failing, error=error), file, kind="NWB file")


def test_an_interrupt_is_heard_meanwhile(file: Path) -> None:
    read_apart(Path.read_bytes, file, kind="NWB file")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        read_apart(looping, file, kind="NWB file")
    assert time.monotonic() - start < 10
    assert read_apart(Path.read_bytes, file, kind="NWB file") == b"abc"


def test_threads_and_forks_do_not_share_answers(file: Path, tmp_path: Path) -> None:
    """A script as users write them, without a guard for its main part, that forks after it has read a file."""
    script = f"""
import os
import threading
from pathlib import Path
from captum_shared.recordings.formats.apart import read_apart

files = [Path({str(tmp_path)!r}, str(number)) for number in range(8)]
for number, file in enumerate(files):
    file.write_bytes(bytes([number]) * 1000)

def read():
    for number, file in enumerate(files):
        assert read_apart(Path.read_bytes, file, kind="file") == bytes([number]) * 1000
        threads.add(threading.get_ident())

threads = set()
workers = [threading.Thread(target=read) for _ in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
child = os.fork()
read()
if not child: os._exit(0)
print(len(threads), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]  # newer versions warn of such forks
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("5 0\n", "")


def test_a_process_ends_with_the_one_that_asks(file: Path) -> None:
    script = (
        "import os; from pathlib import Path; from captum_shared.recordings.formats import apart; "
        f"apart.read_apart(Path.read_bytes, Path({str(file)!r}), kind='file'); "
        "print(apart._reader._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path("/proc", done.stdout.strip()).exists():
        time.sleep(0.05)
    assert done.returncode == -signal.SIGKILL
    assert not Path("/proc", done.stdout.strip()).exists()
