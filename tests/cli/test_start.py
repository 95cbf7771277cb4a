"""How a command starts and is stopped: quickly, and with a sentence."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from captum_shared._progress import Progress
from captum_shared.cli import choices, waiting
from captum_shared.encoders.pooling import Pool
from captum_shared.evaluation.tasks.grid import Half
from captum_shared.figures.study import FigureFormat

SLOW = ("torch", "matplotlib", "captum", "sklearn", "scipy", "torchvision")
COMMANDS = (
    [],
    *(
        [name]
        for name in (
            "explain",
            "study",
            "features",
            "report",
            "simulate",
            "demo",
            "init",
            "layers",
            "methods",
            "benchmark",
        )
    ),
    *(["benchmark", name] for name in ("parts", "grid", "neurons")),
)


def test_help_imports_nothing_that_is_slow() -> None:
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from captum_shared.cli import app\n"
        f"for command in {COMMANDS!r}:\n"
        "    result = CliRunner().invoke(app, [*command, '--help'])\n"
        "    assert result.exit_code == 0 and 'Usage' in result.output, command\n"
        f"print([name for name in {SLOW!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_options_name_what_the_rooms_know() -> None:
    for own, known in ((choices.Pool, Pool), (choices.Half, Half), (choices.FigureFormat, FigureFormat)):
        assert get_args(own) == get_args(known)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_while_it_imports_says_so(number: signal.Signals, tmp_path: Path) -> None:
    """The module that it imports tells that it is under way, and never ends."""
    (tmp_path / "captum.py").write_text("print('importing', flush=True)\nwhile True:\n    pass\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "captum_shared", "methods"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert told.strip().splitlines() == [
        "captum-shared: stopped. What a study, a benchmark or a store of features has done is kept: --resume goes on "
        "with it."
    ]


def test_a_bar_moves_while_one_step_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "EVERY", 0.05)
    drawn = io.StringIO()
    monkeypatch.setattr(drawn, "isatty", lambda: True)
    with waiting.moving(), Progress(total=1, file=drawn):
        before = len(drawn.getvalue())
        time.sleep(0.5)
        assert drawn.getvalue()[before:].count("0/1") >= 3


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A disk on which no file may have more than a byte: what is left is gone on with, once there is room."""
    command = [sys.executable, "-m", "captum_shared", "simulate", "--output", str(tmp_path / "world"), "--neurons", "1"]
    small = [*command, "--creatures", "1", "--artefacts", "1", "--format", "npz"]
    full = subprocess.run(["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *small], capture_output=True, text=True)
    assert full.returncode == 2
    assert "Make room on the disk; what a study, a benchmark or a store of features has done is kept" in full.stderr
    assert "Traceback" not in full.stderr
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run(small, capture_output=True).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["world"]
