"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside a file; on success it takes the file's name, on failure it goes.

    Args:
        path: the file to write; its folder is made if absent.

    Yields:
        A path with the same extension to write to.

    Example:
        >>> folder = tempfile.TemporaryDirectory()
        >>> with write_atomically(Path(folder.name) / "answer.txt") as path:
        ...     _ = path.write_text("42")
        >>> os.listdir(folder.name)
        ['answer.txt']
        >>> folder.cleanup()
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
