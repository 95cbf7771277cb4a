"""Bars in a terminal, and in what is none."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from captum_shared import _progress
from captum_shared._progress import Progress

SIMULATE = [sys.executable, "-m", "captum_shared", "simulate", "--neurons", "2", "--creatures", "6", "--artefacts", "4"]


def in_terminal(command: list[str], **variables: str) -> str:
    """What a command shows in a terminal."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()
    process = subprocess.Popen(command, stdout=its, stderr=its, stdin=its, env={**os.environ, **variables})
    os.close(its)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # as the terminal ends on Linux
        pass
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_a_log_has_whole_lines_and_a_terminal_a_bar(tmp_path: Path) -> None:
    log = subprocess.run([*SIMULATE, "--output", str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert log.stderr == ""
    shown = in_terminal([*SIMULATE, "--output", str(tmp_path / "b")], TERM="xterm", COLUMNS="60")
    assert "\rdrawing creatures: 100%" in shown
    bars = [part.strip() for line in shown.split("\n") for part in line.split("\r") if "drawing creatures" in part]
    assert max(map(len, bars)) <= 60
    dumb = in_terminal([*SIMULATE, "--output", str(tmp_path / "c")], TERM="dumb")
    assert "drawing" not in dumb


def test_long_work_tells_a_log_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that strikes ten seconds with every image: a line every half minute, and one at the end."""
    clock = iter(range(0, 10_000, 10))
    now = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    log = io.StringIO()
    for _ in Progress(range(10), desc="images", unit="image", file=log, mininterval=0, miniters=1):
        now[0] = float(next(clock))
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue()
    assert [line.split("|")[0] for line in lines] == ["images:  40%", "images:  70%", "images: 100%", "images: 100%"]
    assert all("image" in line for line in lines)


def test_help_keeps_to_the_width_and_has_no_colours_where_none_are_wanted() -> None:
    command = [sys.executable, "-m", "captum_shared", "study", "--help"]
    shown = in_terminal(command, TERM="xterm", COLUMNS="80", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3\dm", shown)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    for panel in ("Recording and images", "Network", "Pairs and methods", "Work", "Output"):
        assert f"─ {panel} ─" in shown
