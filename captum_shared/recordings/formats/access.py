"""Opening files of other packages: what is missing or damaged is said in a sentence."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def optional_package(what: str, extra: str, *names: str) -> Any:
    """Import the packages that a format needs.

    Args:
        what: the format, for the message.
        extra: the extra of captum-shared that installs them.
        names: the packages; all have to be there.

    Returns:
        The first of them.

    Raises:
        ImportError: if one of them is not installed; the extra is named.

    Example:
        >>> optional_package("Reading tea leaves", "formats", "tasseography")
        Traceback (most recent call last):
        ImportError: Reading tea leaves needs tasseography: pip install 'captum-shared[formats]'
    """
    try:
        packages = [importlib.import_module(name) for name in names]
    except ImportError as error:
        needed = " and ".join(name.split(".")[0] for name in names)
        raise ImportError(f"{what} needs {needed}: pip install 'captum-shared[{extra}]'") from error
    return packages[0]


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
