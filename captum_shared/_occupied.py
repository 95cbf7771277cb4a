"""One process at a time in a folder: a lock that nobody holds any more when its owner is dead."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, SoftFileLock, Timeout

LOCK: Final = ".lock"


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Have a folder for oneself.

    The operating system holds the lock for as long as the process lives, so that one that was killed leaves none.

    Args:
        folder: the folder; made if absent.

    Raises:
        BlockingIOError: if another process has it; who, is told.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path, occupied(Path(path)):
        ...     with occupied(Path(path)):
        ...         pass
        Traceback (most recent call last):
        BlockingIOError: ...is in use by process ...: wait until it is done, or choose another output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"{folder} is in use by {_owner(file)}: wait until it is done, or choose another output."
        ) from None
    try:
        if not isinstance(lock, SoftFileLock):  # which has said so itself
            with suppress(OSError):  # on a full disk nobody is told who
                file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)  # whoever has opened it meanwhile finds that it has no name, and tries again
        lock.release()


def _owner(file: Path) -> str:
    """Who holds a lock, as far as the file tells."""
    try:
        process, host = file.read_text(encoding="utf-8").split()[:2]
        since = time.strftime("%H:%M:%S on %d %B %Y", time.localtime(file.stat().st_mtime))
    except (OSError, ValueError):
        return "another process"
    return f"process {process} on {host}, since {since}"
