"""A kill before and after every change of a file: work goes on from there to the same files, and leaves nothing behind.

What a kill would leave is copied from the folder, whenever the interpreter is about to change something in it.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_work import Work, contents, works

from captum_shared._files import half_written
from captum_shared._occupied import LOCK

pytestmark = pytest.mark.adversary
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


class Watch:
    """Calls a function before everything that changes a folder; there is one, as hooks stay for ever."""

    def __init__(self) -> None:
        self.folder, self.before = "", lambda event, path: None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder or event not in CHANGES:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        within_a_folder = event in ("os.remove", "os.rmdir") and arguments[1] != -1  # as shutil.rmtree does
        if within_a_folder or path.startswith(self.folder):
            folder, self.folder = self.folder, ""
            self.before(event, Path(path))
            self.folder = folder


WATCH = Watch()


def crashes(work: Work, output: Path, copies: Path, *, resume: bool = False) -> tuple[list[Path], list[Path]]:
    """Do the work, and copy what a kill would leave; return the copies, and the files opened for writing."""
    states: list[Path] = []
    opened: list[Path] = []

    def copy(event: str, path: Path) -> None:
        if event == "open":
            opened.append(path)
        states.append(copies / f"{len(states):04d}")
        if output.exists():
            shutil.copytree(output, states[-1])

    WATCH.before, WATCH.folder = copy, str(output)
    try:
        work(output, resume)
    finally:
        WATCH.folder = ""
    return states, opened


@pytest.fixture(scope="module", params=["study", "benchmark", "store"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    with pytest.MonkeyPatch.context() as patch:
        yield works(tmp_path_factory.mktemp("works"), patch)[request.param]


def test_work_that_was_killed_goes_on_to_the_same_files(work: Work, tmp_path: Path, budget: int) -> None:
    states, opened = crashes(work, tmp_path / "whole", tmp_path / "copies")
    whole = contents(tmp_path / "whole")
    assert len(states) > 50
    assert [path for path in opened if not (half_written(path) or path.name == LOCK)] == []
    assert [name for name in whole if half_written(Path(name)) or name.startswith(".progress")] == []
    tried = states[:: max(1, len(states) // (3 * budget))]
    for state in tried:
        work(state, True)
        assert contents(state) == whole, state.name
    print(f"{len(tried)} of {len(states)} crash points")


@pytest.mark.filterwarnings("ignore:.* is missing. it is made anew")
def test_mending_that_was_killed_goes_on_too(work: Work, tmp_path: Path, budget: int) -> None:
    """A second kill, while a finished folder of which a file is gone is mended."""
    work(tmp_path / "whole", False)
    whole = contents(tmp_path / "whole")
    lost = next(name for name in ("maps.npz", "table.md", "features/3/1.0") if name in whole)
    (tmp_path / "whole" / lost).unlink()
    states, _ = crashes(work, tmp_path / "whole", tmp_path / "copies", resume=True)
    assert contents(tmp_path / "whole") == whole
    tried = states[:: max(1, len(states) // (2 * budget))]
    for state in tried:
        work(state, True)
        assert contents(state) == whole, state.name
    print(f"{len(tried)} of {len(states)} crash points of mending")
