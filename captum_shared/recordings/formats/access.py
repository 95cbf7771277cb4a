"""Opening files of other packages: what is missing or damaged is said in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def opened(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever another package raises on a damaged file into a sentence with the remedy.

    Args:
        path: the file being read.
        kind: the format, for the message.

    Yields:
        Nothing; the file is read in the block, and interpreted after it.

    Raises:
        ValueError: if anything is raised in the block.

    Example:
        >>> with opened(Path("a.npz"), "NumPy"):
        ...     raise EOFError("no data left")
        Traceback (most recent call last):
        ValueError: Expected a readable NumPy file at a.npz, got: no data left. It may be truncated or damaged: copy or
        write it again, and check that its extension tells its format.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # readers raise anything on damaged files: OSError, KeyError, zlib.error, ...
        raise ValueError(
            f"Expected a readable {kind} file at {path}, got: {error}. It may be truncated or damaged: copy or write "
            "it again, and check that its extension tells its format."
        ) from error
