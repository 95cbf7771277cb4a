"""The example at the end of the help of every command runs, one after the other, on a small world."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from toy_photographs import draw_photographs
from typer.testing import CliRunner

from captum_shared.cli import app
from captum_shared.cli.commands import PANELS
from captum_shared.study.result import StudyResult

pytestmark = pytest.mark.usefixtures("as_installed")

QUICKER = {  # sizes, and nothing else
    "simulate": "--neurons 4 --creatures 24 --artefacts 16",
    "study": "--method paper",
    "parts": "--pairs 2 --controls 2 --method paper",
    "grid": "--pairs 2 --controls 2 --method paper",
    "neurons": "--method paper",
}
ELSEWHERE = ("demo",)  # whose example tests/cli/test_demo.py runs


def commands() -> Iterator[Any]:
    """All commands in the order of the help, those of benchmark last."""
    whole: Any = typer.main.get_command(app)
    for name in (name for names in PANELS.values() for name in names):
        inner = getattr(whole.commands[name], "commands", None)
        yield from [whole.commands[name]] if inner is None else inner.values()


def test_every_command_is_in_the_story_with_one_phrase_and_an_example() -> None:
    whole: Any = typer.main.get_command(app)
    assert {*whole.commands} == {name for names in PANELS.values() for name in names}
    for command in commands():
        assert re.fullmatch(rf"Example.*: captum-shared (?:benchmark )?{command.name}\b.*", command.epilog)
        assert re.match(r"[A-Z][^.]*\.", command.help)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    order = [shown.index(f"│ {name} ") for names in PANELS.values() for name in names]
    assert order == sorted(order)
    assert "What to do first: captum-shared demo" in " ".join(shown.split())


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").mkdir()
    draw_photographs(tmp_path / "photographs")
    ordered = sorted(commands(), key=lambda command: command.name == "report")  # of what others make
    for command in ordered:
        if command.name in ELSEWHERE:
            continue
        typed = f"{command.epilog.split(': captum-shared ')[-1]} {QUICKER.get(command.name, '')}"
        result = CliRunner().invoke(app, typed.split())
        assert result.exit_code == 0, f"{typed}: {result.output}"
    assert len(StudyResult.load("study").included) == 4
    made = ("world/recording.nc", "settings/study.toml", "store/store.json", "pair.npz", "study/report.html")
    assert [name for name in made if not Path(name).exists()] == []
    assert all((Path(name) / "results.json").exists() for name in ("parts", "grid", "neurons"))
