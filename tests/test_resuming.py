"""Folders of long work."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy import ndarray

from captum_shared import _resuming as resuming
from captum_shared._record import RECORD
from captum_shared._resuming import ResumableFolder, digest

SETTINGS = {"seed": 0, "layers": ("a", "b")}
VERSIONS = {"torch": "2.0"}


def opened(path: Path, *, resume: bool = False, files: tuple[str, ...] = (), **changes: Any) -> ResumableFolder:
    described = {**SETTINGS, **VERSIONS, **changes}
    return ResumableFolder(path, described, result="sum.json", files=files, work="sum", resume=resume)


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
    with opened(tmp_path / "out") as folder:
        first = folder.once("one", counted(calls, "one"))
        with pytest.raises(KeyboardInterrupt):
            folder.once("two", interrupt)
    with opened(tmp_path / "out", resume=True) as again:
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
    with opened(tmp_path / "out") as folder:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", interrupt)
            with pytest.raises(KeyboardInterrupt):
                folder.once("one", counted([], "one"))
        assert [path.name for path in (tmp_path / "out").rglob("*.npz")] == []
        assert folder.once("one", counted([], "one"))["value"].tolist() == [0, 1, 2]


def test_the_result_comes_last_and_nothing_else_is_left(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as folder:
        folder.once("one", counted([], "one"))
        folder.add("table.txt", lambda path: path.write_text("10"))
        with pytest.raises(KeyboardInterrupt):
            folder.finish(lambda path: (path.write_text("half"), interrupt()))
    assert not (tmp_path / "out" / "sum.json").exists()
    with opened(tmp_path / "out", resume=True) as folder:
        assert not folder.finished
        folder.finish(write)
    assert sorted(contents(tmp_path / "out")) == [RECORD, "sum.json", "table.txt"]
    with opened(tmp_path / "out", resume=True) as folder:
        assert folder.finished
    assert sorted(contents(tmp_path / "out")) == [RECORD, "sum.json", "table.txt"]


def test_work_that_was_stopped_while_clearing_away_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "out") as folder:
        folder.once("one", counted([], "one"))
        with monkeypatch.context() as patch:
            patch.setattr(resuming.shutil, "rmtree", interrupt)
            with pytest.raises(KeyboardInterrupt):
                folder.finish(write)
    with opened(tmp_path / "out", resume=True) as again:
        assert again.finished
    assert sorted(contents(tmp_path / "out")) == [RECORD, "sum.json"]


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_a_damaged_part_is_named_put_aside_and_computed_anew(tmp_path: Path, content: bytes | None) -> None:
    with opened(tmp_path / "out") as folder:
        whole = folder.once("one", counted([], "one"))
    (part,) = (tmp_path / "out").rglob("*.npz")
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged if content is None else content)
    calls: list[str] = []
    with opened(tmp_path / "out", resume=True) as folder:
        with pytest.warns(UserWarning, match=rf"{part.name} is not as it was written: it was put aside as .*damaged"):
            again = folder.once("one", counted(calls, "one"))
        folder.finish(write)
    assert calls == ["one"]
    np.testing.assert_array_equal(again["value"], whole["value"])
    assert sorted(contents(tmp_path / "out")) == [RECORD, "sum.json"]


@pytest.mark.parametrize("damage", ["missing", "empty", "changed"])
@pytest.mark.parametrize("name", ["sum.json", "table.txt"])
def test_a_finished_folder_says_what_is_missing_or_damaged_and_mends_it(tmp_path: Path, name: str, damage: str) -> None:
    def work(*, resume: bool = False) -> bool:
        with opened(tmp_path / "out", resume=resume, files=("table.txt",)) as folder:
            finished = folder.finished
            folder.add("table.txt", lambda path: path.write_text("10"))
            folder.finish(write)
        return finished

    assert not work()
    whole, file = contents(tmp_path / "out"), tmp_path / "out" / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_text("" if damage == "empty" else "11")
    with pytest.warns(UserWarning, match=name):
        assert not work(resume=True)
    mended = contents(tmp_path / "out")
    put_aside = {} if damage == "missing" else {f"damaged/{name}": b"" if damage == "empty" else b"11"}
    assert mended == {**whole, **put_aside}
    assert work(resume=True)


def test_a_finished_folder_without_its_record_is_known_by_its_result(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as folder:
        folder.finish(write)
    whole = contents(tmp_path / "out")
    for content in (None, b"", whole[RECORD][:-20]):
        (tmp_path / "out" / RECORD).unlink()
        if content is not None:
            (tmp_path / "out" / RECORD).write_bytes(content)
        with opened(tmp_path / "out", resume=True) as folder:
            assert folder.finished
        assert contents(tmp_path / "out") == whole


def test_a_second_process_is_told_who_has_the_folder_and_a_dead_one_has_it_no_more(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from captum_shared._resuming import ResumableFolder\n"
        f"with ResumableFolder({str(tmp_path / 'out')!r}, {{}}, result='sum.json'):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        with pytest.raises(BlockingIOError, match=rf"out is in use by process {owner} on .*: wait until it is done"):
            opened(tmp_path / "out", resume=True).__enter__()
        process.kill()
    assert (tmp_path / "out" / ".lock").exists()
    with ResumableFolder(tmp_path / "out", {}, result="sum.json", resume=True) as folder:
        assert not folder.finished
    assert sorted(contents(tmp_path / "out")) == [RECORD]


def test_what_a_dead_process_left_half_written_is_no_obstacle_and_goes(tmp_path: Path) -> None:
    (tmp_path / "out" / ".progress").mkdir(parents=True)
    for name in (".lock", ".captum-shared-x1.json", RECORD):
        (tmp_path / "out" / name).write_bytes(b"")
    with opened(tmp_path / "out") as folder:
        folder.once("one", counted([], "one"))
        (tmp_path / "out" / ".progress" / ".captum-shared-x2.npz").write_bytes(b"PK")
    with opened(tmp_path / "out", resume=True):
        left = {Path(name).name.split(".")[0] for name in contents(tmp_path / "out") if name.startswith(".progress")}
        assert left == {"one"}


@pytest.mark.parametrize("finished", [False, True])
def test_other_work_is_refused_and_left_as_it_is(tmp_path: Path, finished: bool) -> None:
    with opened(tmp_path / "out") as folder:
        folder.once("one", counted([], "one"))
        if finished:
            folder.finish(write)
    before = contents(tmp_path / "out")
    for options, sentence in (
        (
            {"resume": True, "seed": 1, "layers": ["b"], "torch": "2.1"},
            r"different sum: it differs in layers, seed, torch\.",
        ),
        ({"resume": True, "steps": 2}, r"differs in steps\."),
        ({}, "holds this sum already: resume it, or choose another output"),
    ):
        with pytest.raises(ValueError, match=sentence), opened(tmp_path / "out", **options):
            pass
        assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("text", ["years of work", "[1, 2]", '{"settings": {}}', '{"settings": 1, "versions": 2}'])
def test_other_files_are_refused_and_left_as_they_are(tmp_path: Path, text: str) -> None:
    for name in ("sum.json", "thesis.txt"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(ValueError, match=r"empty folder or one with this sum, but .* holds other files: choose"):
            opened(folder, resume=True).__enter__()
        assert contents(folder) == {name: text.encode()}


def test_a_file_is_no_folder_and_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"Expected a folder for the sum, got the file .*file: choose another"):
        opened(tmp_path / "file").__enter__()
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new" / "below"):
        with opened(path) as folder:
            assert not folder.finished


def test_content_is_told_apart_and_so_are_its_parts() -> None:
    contents = [[], [b""], [b"ab"], [b"a", b"b"], [b"b", b"a"], [b"ab", b""], [b"", b"ab"]]
    assert len({digest(parts) for parts in contents}) == len(contents)
    assert digest(iter([b"a", b"b"])) == digest([b"a", b"b"])
