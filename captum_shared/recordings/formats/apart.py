"""Reading in another process: a library that never comes back, or crashes, takes nothing with it but that process.

A damaged file can keep libhdf5 in a loop for ever, in which no signal is heard, or make it crash. Files that it reads
are therefore read by a process of their own, which is started as a new program (not forked, so that threads of this one
do not matter), kept for the next file, and ends with this one, after a minute without work, or when time is up.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import pickle  # nosec B403 (of our own process, through a pipe that nobody else has)
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import Any, Final, TypeVar, final

from captum_shared._reading import DAMAGED, opened

Result = TypeVar("Result")

SECONDS: Final = 30.0
"""The time in which a small file has to be read; there is a second more for every megabyte."""

_IDLE: Final = 60.0  # seconds after which the process goes, without work
_ENOUGH: Final = 1e6  # bytes a second, on the slowest of disks


def read_apart(read: Callable[[Path], Result], path: Path, *, kind: str, packages: Sequence[str] = ()) -> Result:
    """Call a reader in another process, and give back what it returns; its warnings are repeated here.

    Args:
        read: a function of a module, which can be imported there.
        path: the file.
        kind: what the file should be, for messages.
        packages: what to import before time is taken.

    Returns:
        What the reader returns; arrays come through a pipe, without copies on the way.

    Raises:
        ValueError: if anything is raised there, the process crashes, or the file is not read in time.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a").write_bytes(b"abc")
        ...     read_apart(Path.read_bytes, Path(folder, "a"), kind="text file")
        b'abc'
    """
    seconds = SECONDS + path.stat().st_size / _ENOUGH
    with _lock:
        result, failure, told = _ask(packages, (read, path, kind), seconds)
    if failure is not None:
        raise failure
    for message, category in told:
        warnings.warn(message, category, stacklevel=2)
    answer: Result = result
    return answer


def serve() -> None:
    """Read what is asked for on the standard input, until it is closed: what the other process runs."""
    with contextlib.suppress(EOFError, BrokenPipeError):  # as the process that asked has ended
        _serve()


def _serve() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks is told, and ends this one
    while True:
        idle = threading.Timer(_IDLE, os._exit, (0,))
        idle.daemon = True
        idle.start()
        try:
            packages, folder, request, seconds = pickle.load(sys.stdin.buffer)  # nosec B301
        finally:
            idle.cancel()
        os.chdir(folder)
        for package in packages:
            importlib.import_module(package)
        _send(True, answers)
        if hasattr(signal, "setitimer"):  # should the process that asks be killed meanwhile
            signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
        _send(_answer(*pickle.loads(request)), answers)  # nosec B301
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(
    read: Callable[[Path], Any], path: Path, kind: str
) -> tuple[Any, Exception | None, list[tuple[str, type[Warning]]]]:
    """What a reader returns, or the sentence it fails with, and its warnings."""
    result, failure = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with opened(path, kind):
                result = read(path)
        except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
            failure = type(error)(str(error))
    return result, failure, [(str(each.message), each.category) for each in caught]


def _send(value: Any, stream: Any) -> None:
    pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


@final
class _Reader:
    """The other process, and the pipes to it."""

    def __init__(self) -> None:
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        command = [get_executable(), "-c", program]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # nosec B603
        self._late = threading.Event()

    def ask(self, packages: Sequence[str], request: tuple[Any, ...], seconds: float) -> Any:
        """Send a request, and wait for the answer; an EOFError if the process ends without one."""
        timer = threading.Timer(seconds, self._stop)
        timer.daemon = True
        try:
            _send((packages, Path.cwd(), pickle.dumps(request), seconds), self._process.stdin)
            pickle.load(self._process.stdout)  # type: ignore[arg-type]  # nosec B301
            timer.start()
            return pickle.load(self._process.stdout)  # type: ignore[arg-type]  # nosec B301
        except (OSError, pickle.UnpicklingError) as error:
            raise EOFError from error
        finally:
            timer.cancel()

    def _stop(self) -> None:
        self._late.set()
        self._process.kill()

    def end(self) -> str:
        """End the process, and say how it ended; nothing if it had gone for want of work."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)
        status = self._process.poll()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # of what it had not read
                pipe.close()  # type: ignore[union-attr]
        if self._late.is_set():
            return "it was not read in time, as its parts refer to each other in circles, or the disk is slow"
        return f"the process that reads it crashed (status {status})" if status else ""

    def forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self._process.returncode = 0


_lock = threading.Lock()
_reader: _Reader | None = None


def _ask(packages: Sequence[str], request: tuple[Any, ...], seconds: float) -> Any:
    """Ask the process that there is, or a new one."""
    global _reader
    _, path, kind = request
    while True:
        waiting, _reader = _reader is not None, _reader or _Reader()
        try:
            return _reader.ask(packages, request, seconds)
        except EOFError as error:
            ended = _end()
            if ended or not waiting:
                raise ValueError(
                    f"Expected a readable {kind} at {path}, got: {ended or 'no answer'}. {DAMAGED}"
                ) from error
        except BaseException:  # such as KeyboardInterrupt
            _end()
            raise


def _end() -> str:
    global _reader
    ended, _reader = "" if _reader is None else _reader.end(), None
    return ended


def _forget() -> None:
    global _reader, _lock
    if _reader is not None:
        _reader.forget()
    _reader, _lock = None, threading.Lock()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
