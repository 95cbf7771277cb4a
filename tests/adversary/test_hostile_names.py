"""Names that nobody expects, of regions, neurons and files: each keeps a file of its own, and nobody else's is lost."""

import dataclasses
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from toy_study import neuron, study
from typer.testing import CliRunner, Result

from captum_shared._files import check_outputs, file_names
from captum_shared.cli import app
from captum_shared.figures import (
    Panel,
    encoding_figure,
    faint_figure,
    pair_figure,
    pair_panels_figure,
    response_figure,
    save_figure,
)
from captum_shared.figures import study as study_figures
from captum_shared.study.result import StudyResult

pytestmark = [pytest.mark.adversary, pytest.mark.usefixtures("as_installed")]

NAMES = (
    *("a/b", "a_b", "a b", "A b", "", "all", "..", "...", ".", "-rf", "--help", "a\nb", "CON", "nul", "~", "*"),
    *("a" * 300, "a" * 300 + "b", "é", "e\u0301", "脳" * 100, "a\udcff", "$x$", "\\frac{$", "a.png", "a\\b", " "),
)


def assert_files(texts: list[str], names: list[str]) -> None:
    folded = {unicodedata.normalize("NFC", name).casefold() for name in names}
    assert len(folded) == len(names) == len(texts)
    for name in names:
        assert 0 < len(os.fsencode(name)) <= 120
        assert not set(name) & set("/\\\0.\n $*")
        assert not name.startswith("-")


def test_every_name_gets_a_file_of_its_own() -> None:
    assert_files(list(NAMES), file_names(NAMES))
    assert file_names(["anterior", "area 17"]) == ["anterior", "area_17"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=120), unique=True, max_size=8))
def test_any_names_do(texts: list[str]) -> None:
    assert_files(texts, file_names(texts))


def test_every_region_has_its_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regions = ("a/b", "a_b", "a b", "", "all", "a" * 300)
    neurons = [neuron(index, region=region) for index, region in enumerate(regions)]
    monkeypatch.setattr(study_figures, "_save", lambda draw, path: path.write_bytes(b"drawn"))
    written = study_figures.write_figures([study(tmp_path, neurons)], ["toy"], tmp_path / "figures")
    there = {path.name for path in (tmp_path / "figures").iterdir() if not path.name.startswith(".")}
    assert len(there) == len(written) == 4 + len(regions)
    assert {path.name for path in written} == there


HOSTILE = "cost $x_1$ \\frac{ $ \udcff"


def hostile_study(folder: Path) -> StudyResult:
    made = study(folder, [neuron(0, name=HOSTILE, region=HOSTILE)])
    return dataclasses.replace(made, settings={**made.settings, "preferred": HOSTILE})


def hostile_pair(_: Path) -> Figure:
    panel = Panel(HOSTILE, torch.rand(3, 8, 8), {HOSTILE: torch.rand(8, 8)})
    return pair_figure(panel, panel, title=HOSTILE)


DRAWN: dict[str, Callable[[Path], Figure]] = {
    "encoding": lambda folder: encoding_figure(hostile_study(folder)),
    "responses": lambda folder: response_figure(hostile_study(folder)),
    "pairs": lambda folder: next(iter(pair_panels_figure(hostile_study(folder), HOSTILE))),
    "faint": lambda folder: faint_figure(hostile_study(folder)),
    "pair": hostile_pair,
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_name_is_no_formula(tmp_path: Path, name: str) -> None:
    figure = DRAWN[name](tmp_path)
    figure.savefig(BytesIO(), dpi=20)
    shown = [text for text in figure.findobj(lambda each: hasattr(each, "get_parse_math")) if "$" in text.get_text()]
    assert shown
    assert not any(text.get_parse_math() for text in shown)


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    rng = torch.Generator().manual_seed(0)
    for name in ("pair.png", "other.png"):
        pixels = torch.randint(0, 256, (112, 112, 3), generator=rng, dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(tmp_path / name)
    return ["pair.png", "other.png"]


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", "--model", "embedded", "--method", "edge-energy", *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_read_or_is_somebody_elses_is_never_written_over(photographs: list[str], tmp_path: Path) -> None:
    Path("recording.npz").write_bytes(b"years of work")
    Path("notes.png").write_bytes(b"years of work")
    Path("link.png").symlink_to("other.png")
    before = contents(tmp_path)
    for output, sentence in (
        ([], "Expected an output apart from what is read, got pair.png: choose another --output"),
        (["--output", "link.png"], "apart from what is read, got link.png"),
        (["--output", "link.png", "--force"], "apart from what is read, got link.png"),
        (["--output", "recording.png"], "recording.npz exists already and is not known to be of an earlier run"),
        (["--output", "notes.png"], "notes.png exists already and is not known to be of an earlier run"),
        (["--output", "a" * 300 + ".png"], "File name too long"),
        (["--output", "pair.png/out.png"], "pair.png is a file"),
        (["--output", ".."], "give it one of the extensions"),
    ):
        result = explain(*photographs, *output)
        assert (result.exit_code, sentence in result.output) == (2, True), result.output
        assert contents(tmp_path) == before


def test_what_an_earlier_run_made_is_replaced_unless_somebody_changed_it(
    photographs: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        assert explain(*photographs, "--output", "new/out.png").exit_code == 0
    made = contents(tmp_path / "new")
    Path("new/out.png").write_bytes(b"retouched")
    assert explain(*photographs, "--output", "new/out.png").exit_code == 2
    assert contents(tmp_path / "new")["out.png"] == b"retouched"
    forced = explain(*photographs, "--output", "new/out.png", "--force")
    assert forced.exit_code == 0, forced.output
    assert contents(tmp_path / "new").keys() == made.keys() == {"out.png", "out.npz"}
    assert contents(tmp_path / "new")["out.png"] == made["out.png"]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", ["日本 $x$.png", "-leading.png", "new\nline.png", "....png"])
def test_files_of_any_name_are_explained(photographs: list[str], tmp_path: Path, name: str) -> None:
    Path("pair.png").rename(name)
    result = explain("--output", f"out/{name}", "--", name, "other.png")
    assert result.exit_code == 0, (result.output, result.exception)
    assert (tmp_path / "out" / name).stat().st_size > 1000


def test_a_name_that_is_no_text_is_spelled_out(photographs: list[str], tmp_path: Path) -> None:
    Path("pair.png").rename("bytes\udcff.png")
    command = [sys.executable, "-m", "captum_shared", "explain", "bytes\udcff.png", "other.png", "--model", "embedded"]
    typed = [*command, "--method", "edge-energy", "--output", "out/bytes\udcff.png"]
    done = subprocess.run(typed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Wrote out/bytes\\udcff.png" in done.stdout
    assert (tmp_path / "out" / "bytes\udcff.png").exists()


def test_outputs_in_folders_that_are_read_are_refused_where_they_exist(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "a.png").write_bytes(b"")
    check_outputs([tmp_path / "read" / "new.png"], read=[tmp_path / "read"], force=False)
    with pytest.raises(FileExistsError, match="apart from what is read"):
        check_outputs([tmp_path / "read" / "a.png"], read=[tmp_path / "read"], force=True)


def test_a_figure_is_saved_under_the_longest_name_that_there_is(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".png")
    save_figure(Figure(), path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
