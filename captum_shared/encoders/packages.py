"""Packages that come with an extra, imported when they are needed."""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def imported(package: str, extra: str) -> ModuleType:
    """Import a package that only some networks need.

    Args:
        package: its name.
        extra: the extra of captum-shared that brings it.

    Returns:
        The package.

    Raises:
        ImportError: if it is not installed.

    Example:
        >>> imported("torch", "torch").__name__
        'torch'
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"This network is built by the package {package}, which is not installed. Install it with: "
            f"pip install 'captum-shared[{extra}]'."
        ) from error


@contextmanager
def download_told(name: str) -> Iterator[None]:
    """Say what to do where weights cannot be downloaded.

    Args:
        name: of the network.

    Yields:
        Nothing.

    Raises:
        OSError: if what runs meanwhile fails.

    Example:
        >>> with download_told("resnet18"):
        ...     raise OSError("Name or service not known")
        Traceback (most recent call last):
        OSError: The weights of resnet18 could not be downloaded (OSError: Name or service not known). ...
    """
    try:
        yield
    except Exception as error:  # each package has errors of its own
        first = " ".join(str(error).splitlines()[:1])
        raise OSError(
            f"The weights of {name} could not be downloaded ({type(error).__name__}: {first}). Give a file with "
            "weights (--weights FILE), or try again where there is internet."
        ) from error
