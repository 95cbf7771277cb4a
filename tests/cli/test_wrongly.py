"""Every command, tried wrongly as a new user would: what comes is a sentence with what was given and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from captum_shared.cli import app
from captum_shared.cli.app import app as whole

pytestmark = pytest.mark.usefixtures("as_installed")

STUDY = "study w/recording.nc --images w/images --preferred creature --model embedded --layer features --output out"
EXPLAIN = "explain w/images/artefact_0000.png w/images/creature_0000.png --model embedded --output pair.png"
FEATURES = "--model embedded --layer features --output store"
BARE = "study {} --images w/images --preferred creature --model embedded --layer features --output out"

CASES = {  # what is typed, and words of the answer: what was given, and what to do
    "no recording": (BARE.format("nowhere.nc"), "nowhere.nc", "check the path"),
    "a folder for a recording": (BARE.format("empty"), "a folder at empty", "check the path"),
    "an image for a recording": (BARE.format("w/images/creature_0000.png"), "creature_0000.png", "convert it"),
    "an empty recording": (BARE.format("empty.csv"), "got nothing", "rename them"),
    "a recording of another kind": (BARE.format("letter.docx"), "letter.docx", "convert it"),
    "a recording without extension": (BARE.format("letter"), "got letter", "rename or convert it"),
    "semicolons": (BARE.format("semicolons.csv"), "stimulus_id;neuroid_id", "export it with commas"),
    "decimal commas": (BARE.format("decimals.csv"), "'1,5' in line 2", "correct it"),
    "no images": (f"{STUDY} --images nowhere", "nowhere", "check the path"),
    "a file for a folder": (f"{STUDY} --images empty.csv", "empty.csv", "check the path"),
    "a folder without images": (f"{STUDY} --images empty", "in empty", "Check the folder"),
    "a category": (f"{STUDY} --preferred creatre", "'creatre'", "Did you mean creature?"),
    "a model": (f"{STUDY} --model resnet5 --weights DEFAULT", "'resnet5'", "Did you mean: resnet50"),
    "a layer": (f"{STUDY} --layer feature", "'feature'", "Did you mean features"),
    "a method": (f"{STUDY} --method recomended", "'recomended'", "Did you mean recommended"),
    "the name of weights": (f"{STUDY} --model squeezenet1_1 --weights DEFALT", "'DEFALT'", "check the name"),
    "weights of nobody": (f"{STUDY} --weights DEFAULT", "got 1", "give DEFAULT for those of torchvision"),
    "a neuron": (f"{STUDY} --neurons anterir", "'anterir'", "re"),
    "a region": (f"{STUDY} --region anteriro", "'anteriro'", "did you mean anterior?"),
    "too few folds": (f"{STUDY} --folds -3", "got -3", "raise it"),
    "no number of folds": (f"{STUDY} --folds ten", "'ten'", "it should be a valid integer"),
    "a negative number": (f"{STUDY} --strong -1", "got -1", "raise it"),
    "a device": (f"{STUDY} --device gpu", "'gpu'", "Use --device cpu"),
    "a pooling": (f"{STUDY} --pool mean", "'mean'", "'average'"),
    "a format of figures": (f"{STUDY} --figures jpg", "'jpg'", "'png'"),
    "another method to show": (f"{STUDY} --show ours-ig", "'ours-ig'", "add it by --method"),
    "a table with semicolons": (f"{STUDY} --stimuli table.csv", "table.csv", "export it with commas"),
    "no table": (f"{STUDY} --stimuli nowhere.csv", "nowhere.csv", "check the path"),
    "no store": (f"{STUDY} --features empty", "in empty", "write one by captum-shared features"),
    "no behaviour": (f"{STUDY} --behaviour empty.csv", "empty.csv", "rename them"),
    "half a window": (f"{STUDY} --window 0.1", "--window", "requires 2 arguments"),
    "a file for an output": (f"{STUDY} --output empty.csv", "the file empty.csv", "choose another"),
    "an output of others": (f"{STUDY} --output w", "w holds other files", "choose another"),
    "an option": (f"{STUDY} --modle x", "--modle", "Did you mean --model?"),
    "no settings": ("study --config nowhere.toml", "nowhere.toml", "captum-shared init writes one"),
    "settings that are none": ("study --config empty.csv", "--images, --preferred, --model", "Missing"),
    "options missing": ("study w/recording.nc", "--images, --preferred, --model, --layer, --output", "Missing"),
    "no photograph": (EXPLAIN.replace("artefact_0000", "none"), "none.png", "check the path"),
    "a folder for a photograph": (f"explain w/images {EXPLAIN[8:]}", "w/images", "Replace it"),
    "HEIC": (f"explain a.heic {EXPLAIN[8:]}", "a.heic", "convert it to PNG or JPEG"),
    "PDF": (f"explain a.pdf {EXPLAIN[8:]}", "a.pdf", "convert it to PNG or JPEG"),
    "SVG": (f"explain a.svg {EXPLAIN[8:]}", "a.svg", "convert it to PNG or JPEG"),
    "an empty photograph": (f"explain empty.csv {EXPLAIN[8:]}", "empty.csv", "Replace it"),
    "one photograph": ("explain w/images/creature_0000.png --model embedded", "REFERENCE", "Missing"),
    "a figure of a strange kind": (f"{EXPLAIN} --output pair.xyz", "pair.xyz", "give it one of the extensions"),
    "no readout": (f"{EXPLAIN} --readout a.svg", "a.svg", "Save it again"),
    "a neuron without readout": (f"{EXPLAIN} --neuron A", "--neuron", "give both"),
    "no point": (f"{EXPLAIN} --match middle", "'middle'", "such as --match 120,80"),
    "no null images": (f"{EXPLAIN} --null nowhere", "nowhere", "check the path"),
    "no weights": (EXPLAIN.replace("embedded", "resnet18"), "resnet18", "--weights DEFAULT"),
    "a network": ("layers resnet5", "'resnet5'", "Did you mean: resnet50"),
    "a size": ("layers embedded --size 0", "'0'", "greater than or equal to 1"),
    "a format": ("simulate --output new --format xls", "'xls'", "nc, npz, csv"),
    "a number of neurons": ("simulate --output new --neurons -1", "'-1'", "greater than or equal to 1"),
    "a folder that is there": ("simulate --output w", "got w", "choose another"),
    "a file for a demonstration": ("demo --output empty.csv", "empty.csv", "choose another"),
    "no source": (f"features nowhere {FEATURES}", "nowhere", "check the path"),
    "an empty source": (f"features empty {FEATURES}", "below empty", "check the folder"),
    "rows of a folder": (f"features w/images {FEATURES} --by-row", "by_row", "leave them out"),
    "a precision": (f"features w/images {FEATURES} --dtype float8", "'float8'", "'float32'"),
    "no report": ("report empty", "got empty", "give what one of these commands has finished"),
    "settings that are there": ("init made", "study.toml", "choose another, or give --force"),
    "settings of no images": ("init new --images empty", "below empty", "check the folder"),
    "no pairs": ("benchmark parts --output new --pairs 0", "'0'", "greater than or equal to 1"),
    "a method to score": ("benchmark parts --output new --method papr", "'papr'", "Did you mean paper?"),
    "no photographs": (
        "benchmark grid --output new --images empty --model embedded",
        "below empty",
        "check the folder",
    ),
    "a benchmark": ("benchmark grids", "'grids'", "Did you mean 'grid'?"),
    "a command": ("studdy", "'studdy'", "Did you mean 'study'?"),
}


def run(typed: str) -> Result:
    words = typed.split()
    for index, word in enumerate(words):  # what is given twice is given as the last says
        if word.startswith("--") and word in words[:index]:
            del words[words.index(word) : words.index(word) + 2]
            break
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, and with files that are something else."""
    folder = tmp_path_factory.mktemp("a désk")
    made = CliRunner().invoke(
        app, ["simulate", "--output", str(folder / "w"), "--neurons", "4", "--creatures", "12", "--artefacts", "4"]
    )
    assert made.exit_code == 0, made.output
    (folder / "empty").mkdir()
    (folder / "made").mkdir()
    contents = {
        "empty.csv": "",
        "letter": "Dear all",
        "letter.docx": "Dear all",
        "semicolons.csv": "stimulus_id;neuroid_id;response\na;A;1,5\n",
        "decimals.csv": 'stimulus_id,neuroid_id,response\na,A,"1,5"\n',
        "table.csv": "stimulus_id;filename;category\na;a.png;b\n",
        "a.heic": "\0\0\0\x18ftypheic",
        "a.pdf": "%PDF-1.4",
        "a.svg": "<svg/>",
        "made/study.toml": "",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_a_sentence(case: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    typed, given, remedy = CASES[case]
    before = sorted(map(str, desk.rglob("*")))
    result = run(typed)
    said = " ".join(result.output.split())
    assert result.exit_code == 2, said
    assert "Traceback" not in said
    assert "unexpected" not in said
    assert said.startswith("captum-shared: ")
    assert given in said
    assert remedy in said
    assert len(result.output.strip().splitlines()) == 1
    assert sorted(map(str, desk.rglob("*"))) == before


def test_all_that_is_wrong_is_told_at_once(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    said = run(f"{STUDY} --strong 0 --layer feature --region V1").output
    assert said.splitlines()[0] == "captum-shared: 3 things are wrong."
    assert [line[:2] for line in said.splitlines()[1:]] == ["1.", "2.", "3."]
    for word in ("n_strong", "'feature'", "'V1'"):
        assert word in said


def test_images_that_cannot_be_read_are_told_by_a_check(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    whole = Path("w/images/artefact_0001.png")
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    try:
        result = run(f"{STUDY} --check --folds 2")
    finally:
        whole.write_bytes(content)
    assert result.exit_code == 2
    assert "1 of 16 images cannot be read: replace them, or leave them out with --skip-bad" in result.output
    assert "artefact_0001.png" in result.output


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be written to by this user")
def test_a_folder_that_may_not_be_written_to(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    tmp_path.chmod(0o500)
    said = run(f"{STUDY} --output {tmp_path / 'out'}").output
    assert "may not be written to" in said


def test_a_traceback_comes_only_where_it_is_asked_for(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    assert "Traceback" not in run("layers resnet5").output
    for typed in ("--debug layers resnet5", "layers resnet5 --debug", "layers --debug resnet5"):
        said = run(typed).output
        assert "Traceback" in said
        assert said.strip().splitlines()[-1].startswith("captum-shared: torchvision has no classification model")
    monkeypatch.setenv("CAPTUM_SHARED_DEBUG", "1")
    assert "Traceback" in run("layers resnet5").output


def test_the_home_folder_is_understood(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(desk))
    monkeypatch.setenv("USERPROFILE", str(desk))
    Image.new("RGB", (120, 120)).save(desk / "grey.png")
    result = run("init ~/settings --images=~/w/images")
    assert result.exit_code == 0, result.output
    assert (desk / "settings" / "study.toml").exists()


def test_the_version_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "captum_shared", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.split()[0] == "captum-shared"
    assert done.stdout.split()[1][0].isdigit()
    assert whole.info.name == "captum-shared"
