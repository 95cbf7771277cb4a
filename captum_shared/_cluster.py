"""A cluster of Ray, started on this machine or joined, and left without a trace."""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_SECONDS: Final = 10  # for a cluster to answer
_LONGEST_FOLDER: Final = 30  # of temporary files: the names of Ray's sockets, which lie in it, end at 107 characters


def ray_package() -> Any:
    """Import Ray, which tells nobody of its use.

    Returns:
        The package.

    Raises:
        ImportError: if it is not installed.

    Example:
        >>> ray_package().__name__
        'ray'
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(
            "Workers are run by the package ray, which is not installed. Install it with: pip install "
            "'captum-shared[distributed]'."
        ) from error


@contextmanager
def cluster(address: str | None, *, processors: int) -> Iterator[dict[str, float]]:
    """Be part of a cluster; what is started for it ends with the context.

    Args:
        address: of the cluster; None to start one on this machine. One that this process is part of is taken as it is.
        processors: how many the one that is started is to have.

    Yields:
        What the cluster has, by name: ``"CPU"`` and ``"GPU"``.

    Raises:
        ConnectionError: if there is no cluster at the address.

    Example:
        >>> with cluster(None, processors=2) as resources:
        ...     resources["CPU"]
        2.0
    """
    ray = ray_package()
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    if address is not None:
        _check_answers(address)
    with _folder() as folder:
        started = {"num_cpus": processors, "include_dashboard": False, "_temp_dir": folder}
        try:
            with _undisturbed(local=address is None):
                ray.init(
                    address or "local", log_to_driver=False, configure_logging=False, **({} if address else started)
                )
            yield ray.cluster_resources()
        finally:
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Say at once what Ray would try for minutes to find out."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):  # such as "auto"
        return
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"Expected a cluster of Ray at {address}, but nothing answers there ({error}): start one with ray start "
            "--head, or correct the address."
        ) from error


@contextmanager
def _undisturbed(*, local: bool) -> Iterator[None]:
    """Have Ray begin without a word, a file in the home folder or a signal that ends otherwise than before."""
    log, handler = logging.getLogger("ray"), signal.getsignal(signal.SIGTERM)
    level = log.level
    log.setLevel(logging.ERROR)
    if local:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # which Ray would write to a file otherwise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _folder() -> Iterator[str]:
    """A folder for what Ray writes."""
    short = len(tempfile.gettempdir()) <= _LONGEST_FOLDER
    parent = None if short else "/tmp"  # nosec B108 (a new folder in it, that nobody else may enter)
    folder = tempfile.mkdtemp(prefix="captum-shared-", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
