"""Where ``captum-shared`` and ``python -m captum_shared`` start: whenever they are stopped, a sentence says so."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SENTENCE = (
    "captum-shared: stopped. What a study, a benchmark or a store of features has done is kept: --resume goes on with "
    "it."
)


def main() -> None:
    """Run the command line; SIGTERM is as SIGINT, and the status of both is 128 and the number of the signal."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped or _importing(frame):  # nothing is lost, and half of a module would raise anything
            os.write(2, f"\n{_SENTENCE}\n".encode())
            os._exit(128 + number)
        stopped.append(number)
        raise KeyboardInterrupt

    for each in _SIGNALS:
        signal.signal(each, stop)
    for stream in (sys.stdout, sys.stderr):  # names of files may be bytes that are no text
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        from captum_shared.cli import app

        app()
    except BaseException:
        if not stopped:
            raise
        sys.stderr.write(f"\n{_SENTENCE}\n")
        raise SystemExit(128 + stopped[0]) from None
    finally:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)


def _importing(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported."""
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
