"""Files of strangers: whatever goes wrong with one is said in a sentence that names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

DAMAGED = "It may be truncated or damaged: copy or write it again, and check that its extension tells its format."
"""What to do about a file that another package cannot read."""

MOST_DEFLATED = 1032
"""How many bytes one byte can be inflated to, at most, where files are compressed as in zip."""

_OURS = ("Expected ", "In ")  # as the sentences of this package begin


@contextmanager
def opened(path: str | os.PathLike[str], kind: str, remedy: str = DAMAGED) -> Iterator[None]:
    """Turn whatever is raised on a damaged file into a sentence with its name, what was expected and the remedy.

    Our own sentences stay as they are; where they do not name the file, it is put before them. Errors of imports pass.

    Args:
        path: the file being read.
        kind: what it should be, for the message: ``"NumPy file"``.
        remedy: what to do, where it is another package that cannot read it.

    Yields:
        Nothing; the file is read and interpreted in the block.

    Raises:
        ValueError: if anything is raised in the block.

    Example:
        >>> with opened("a.npz", "NumPy file"):
        ...     raise EOFError("no data left")
        Traceback (most recent call last):
        ValueError: Expected a readable NumPy file at a.npz, got: EOFError: no data left. It may be truncated or
        damaged: copy or write it again, and check that its extension tells its format.
        >>> with opened("a.npz", "NumPy file"):
        ...     raise ValueError("Expected distinct names, got 'A' twice: rename one.")
        Traceback (most recent call last):
        ValueError: In a.npz: Expected distinct names, got 'A' twice: rename one.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # readers raise anything on damaged files: KeyError, zlib.error, MemoryError, ...
        if type(error) not in (ValueError, TypeError, FileNotFoundError) or not str(error).startswith(_OURS):
            raise ValueError(f"Expected a readable {kind} at {path}, got: {described(error)}. {remedy}") from error
        if os.fspath(path) in str(error):
            raise
        raise type(error)(f"In {path}: {error}") from error.__cause__


def described(error: BaseException) -> str:
    """What an exception says, in one line, with its type where that says more.

    Args:
        error: of any package.

    Returns:
        Type and the first line of its message.

    Example:
        >>> described(KeyError("units")), described(MemoryError())
        ("KeyError: 'units'", 'MemoryError: there is not enough memory for what it declares')
    """
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else ""
    if isinstance(error, MemoryError):
        said = said or "there is not enough memory for what it declares"
    name = "" if isinstance(error, ValueError | OSError) and said else type(error).__name__
    return ": ".join(part for part in (name, said.rstrip(".:")) if part)
