"""How far work has come: a bar that moves in a terminal, and lines now and then in anything else, such as a log."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final, final

from tqdm import tqdm

EVERY: Final = 30.0
"""Seconds between two lines, at least, where there is no terminal."""


@final
class Progress(tqdm):  # type: ignore[misc]
    """A bar of tqdm that breaks no log.

    In a terminal it is as wide as ``COLUMNS`` says, if that is set. What is no terminal, or one that cannot move back
    (``TERM=dumb``), gets a line every half minute, and none at all for work that is done before.

    Args:
        *work: as of tqdm.
        **shown: as of tqdm.

    Example:
        >>> import io
        >>> log = io.StringIO()
        >>> [number for number in Progress(range(3), desc="images", file=log)]
        [0, 1, 2]
        >>> log.getvalue()
        ''
    """

    leave: bool | None

    def __init__(self, *work: Any, **shown: Any) -> None:
        file = shown.get("file") or sys.stderr
        self.plain = not _moves(file)
        self._told = self._begun = time.monotonic()
        if self.plain:
            shown |= {"ascii": True, "ncols": 80}
        elif (columns := _columns(file)) is not None:
            shown |= {"ncols": columns, "nrows": 24}
        super().__init__(*work, **shown)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Show the state: in a log once in half a minute, as a line of its own."""
        if not self.plain:
            shown: bool | None = super().display(msg, pos)
            return shown
        if msg is None and time.monotonic() - self._told >= EVERY:
            self._line()
        return None

    def close(self) -> None:
        """End; in a log with a line, if there was one before."""
        last = self.plain and not self.disable and self._told > self._begun
        self.leave = self.leave and not self.plain
        super().close()
        if last:
            self._line()

    def _line(self) -> None:
        self._told = time.monotonic()
        self.fp.write(f"{self}\n")
        self.fp.flush()


def _moves(file: Any) -> bool:
    """Whether what is printed to a file can be printed over."""
    return os.environ.get("TERM") != "dumb" and bool(getattr(file, "isatty", lambda: False)())


def _columns(file: Any) -> int | None:
    """How wide a bar is to be; None: as wide as the terminal tells."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    try:
        return None if os.get_terminal_size(file.fileno()).columns else 80
    except (OSError, ValueError, AttributeError):
        return None
