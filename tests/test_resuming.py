"""Folders of long work."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy import ndarray

from captum_shared import _resuming as resuming
from captum_shared._resuming import ResumableFolder, digest

SETTINGS = {"seed": 0, "layers": ("a", "b")}
VERSIONS = {"torch": "2.0"}


def opened(path: Path, *, resume: bool = False, **changes: Any) -> ResumableFolder:
    return ResumableFolder(path, {**SETTINGS, **VERSIONS, **changes}, result="sum.json", work="sum", resume=resume)


def write(path: Path) -> None:
    path.write_text(json.dumps({"settings": SETTINGS, "versions": VERSIONS, "sum": 10}))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def counted(calls: list[str], name: str) -> Callable[[], dict[str, ndarray]]:
    def compute() -> dict[str, ndarray]:
        calls.append(name)
        return {"value": np.arange(3.0), "method/score": np.array([np.nan, len(name)])}

    return compute


def test_a_part_is_computed_once_and_what_was_interrupted_is_computed_again(tmp_path: Path) -> None:
    calls: list[str] = []
    folder = opened(tmp_path / "out")
    first = folder.once("one", counted(calls, "one"))
    with pytest.raises(KeyboardInterrupt):
        folder.once("two", interrupt)
    assert folder.part("one").exists()
    assert not folder.part("two").exists()
    again = opened(tmp_path / "out", resume=True)
    assert not again.finished
    kept = again.once("one", interrupt)
    assert again.once("two", counted(calls, "two"))["method/score"].tolist()[1] == 3
    assert calls == ["one", "two"]
    assert first.keys() == kept.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, kept[name])


def test_a_part_that_was_cut_off_while_it_was_written_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(resuming.np, "savez", lambda path, **_: (path.write_bytes(b"PK"), interrupt()))
        with pytest.raises(KeyboardInterrupt):
            folder.once("one", counted([], "one"))
    assert not folder.part("one").exists()
    assert folder.once("one", counted([], "one"))["value"].tolist() == [0, 1, 2]


def test_the_result_comes_last_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = opened(tmp_path / "out")
    folder.once("one", counted([], "one"))
    folder.add("table.txt", lambda path: path.write_text("10"))  # type: ignore[arg-type, return-value]
    with pytest.raises(KeyboardInterrupt):
        folder.finish(lambda path: (path.write_text("half"), interrupt())[1])
    assert not (tmp_path / "out" / "sum.json").exists()
    assert not opened(tmp_path / "out", resume=True).finished
    folder.finish(write)
    assert sorted(contents(tmp_path / "out")) == ["sum.json", "table.txt"]
    assert opened(tmp_path / "out", resume=True).finished
    assert sorted(contents(tmp_path / "out")) == ["sum.json", "table.txt"]


def test_work_that_was_stopped_while_clearing_away_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened(tmp_path / "out")
    folder.once("one", counted([], "one"))
    with monkeypatch.context() as patch:
        patch.setattr(resuming.shutil, "rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            folder.finish(write)
    again = opened(tmp_path / "out", resume=True)
    assert not again.finished
    again.once("one", interrupt)
    (tmp_path / "out" / ".progress" / "description.json").unlink()
    assert opened(tmp_path / "out", resume=True).finished


@pytest.mark.parametrize("finished", [False, True])
def test_other_work_is_refused_and_left_as_it_is(tmp_path: Path, finished: bool) -> None:
    folder = opened(tmp_path / "out")
    folder.once("one", counted([], "one"))
    if finished:
        folder.finish(write)
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match=r"out holds a different sum: it differs in layers, seed, torch\. Choose an"):
        opened(tmp_path / "out", resume=True, seed=1, layers=["b"], torch="2.1")
    with pytest.raises(ValueError, match=r"differs in steps\."):
        opened(tmp_path / "out", resume=True, steps=2)
    with pytest.raises(ValueError, match="holds this sum already: resume it, or choose another output"):
        opened(tmp_path / "out")
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("text", ["years of work", "[1, 2]", '{"settings": {}}', '{"settings": 1, "versions": 2}'])
def test_other_files_are_refused_and_left_as_they_are(tmp_path: Path, text: str) -> None:
    for name in ("sum.json", "thesis.txt"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(ValueError, match=r"empty folder or one with this sum, but .* holds other files: choose"):
            opened(folder, resume=True)
        assert contents(folder) == {name: text.encode()}


def test_a_file_is_no_folder_and_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"Expected a folder for the sum, got the file .*file: choose another"):
        opened(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert not opened(tmp_path / "empty").finished
    assert not opened(tmp_path / "new" / "below").finished


def test_content_is_told_apart_and_so_are_its_parts() -> None:
    contents = [[], [b""], [b"ab"], [b"a", b"b"], [b"b", b"a"], [b"ab", b""], [b"", b"ab"]]
    assert len({digest(parts) for parts in contents}) == len(contents)
    assert digest(iter([b"a", b"b"])) == digest([b"a", b"b"])
