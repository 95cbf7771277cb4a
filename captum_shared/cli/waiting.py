"""Progress that is seen to go on, also while one step of it takes long."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EVERY: Final = 2.0
"""Seconds."""


@contextmanager
def moving() -> Iterator[None]:
    """Draw all progress bars anew every two seconds, so that at least their clocks move.

    Example:
        >>> with moving():
        ...     print("computed")
        computed
    """
    done = threading.Event()
    thread = threading.Thread(target=_refresh, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _refresh(done: threading.Event) -> None:
    while not done.wait(EVERY):
        if "captum_shared._progress" in sys.modules:  # which without a bar nobody needs
            from captum_shared._progress import Progress

            with Progress.get_lock():
                bars = [bar for bar in getattr(Progress, "_instances", ()) if not bar.disable]
            for bar in bars:
                bar.refresh()
