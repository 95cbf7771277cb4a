"""Packages that come with an extra, imported when they are needed."""

import importlib
import warnings
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
