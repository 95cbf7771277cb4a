"""``captum-shared init`` and ``study --config``: all options in a file, and nothing else."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from captum_shared.cli import app
from captum_shared.cli.configured import settings_in, tomllib
from captum_shared.recordings.formats.stimulus_table import StimulusTable

pytestmark = pytest.mark.usefixtures("as_installed")
COMMAND: Any = typer.main.get_command(app).commands["study"]  # type: ignore[attr-defined]
LINES = """
recording = "new/recording.nc"
images = "new/images"
preferred = "creature"
model = "embedded"
layer = ["features"]
output = "out"
"""


def run(*typed: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in typed])


def whole(text: str) -> dict[str, Any]:
    """The settings of a file with every option turned on."""
    settings: dict[str, Any] = tomllib.loads(re.sub(r"^# ([a-z-]+ = )", r"\1", text, flags=re.MULTILINE))
    return settings["study"]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in ("bodies/a.png", "bodies/b.png", "things/c d.png", "things/é.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_the_example_has_every_option_with_its_default(tmp_path: Path) -> None:
    result = run("init", tmp_path / "new")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "new" / "study.toml").read_text(encoding="utf-8")
    settings = whole(text)
    options = {each.opts[0].lstrip("-"): each for each in COMMAND.params}
    assert {*settings} == {*options} - {"config", "check"}
    for name, value in settings.items():
        if options[name].default is not None and not options[name].required:
            assert value == json.loads(json.dumps(options[name].default)), name
    for option in options.values():
        if option.name not in ("config", "check"):
            assert "".join(option.help.split()) in "".join(text.replace("# ", "").split())
    assert settings_in(tmp_path / "new" / "study.toml", COMMAND)["output"] == str(tmp_path / "new" / "study")
    assert StimulusTable.read(tmp_path / "new" / "stimuli.csv").categories == ("body", "object")


def test_the_table_lists_the_images_of_a_folder(tmp_path: Path, photographs: Path) -> None:
    result = run("init", tmp_path / "new", "--images", photographs)
    assert "4 images: bodies (2), things (2)" in " ".join(result.output.split())
    with (tmp_path / "new" / "stimuli.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["stimulus_id", "filename", "category"],
        ["a", "bodies/a.png", "bodies"],
        ["b", "bodies/b.png", "bodies"],
        ["c d", "things/c d.png", "things"],
        ["é", "things/é.png", "things"],
    ]
    settings = settings_in(tmp_path / "new" / "study.toml", COMMAND)
    assert Path(settings["images"]).resolve() == photographs.resolve()
    assert settings["preferred"] == "bodies"


def test_files_that_are_there_are_left_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("mine")
    assert run("init", tmp_path).exit_code == 2
    assert (tmp_path / "study.toml").read_text() == "mine"
    assert run("init", tmp_path, "--force").exit_code == 0
    assert (tmp_path / "study.toml").read_text() != "mine"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("fold = 3", "got 'fold': did you mean folds?"),
        ("skip_missing = true", "got 'skip_missing': did you mean skip-missing?"),
        ("folds = 2.5", "Expected a whole number for folds in"),
        ("folds = true", "Expected a whole number for folds in"),
        ("seed = '3'", "Expected a whole number for seed in"),
        ("all-neurons = 1", "Expected true or false for all-neurons in"),
        ("driver-fraction = 'a quarter'", "Expected a number for driver-fraction in"),
        ("window = [0.1]", "Expected a list of 2 values for window in"),
        ("pool = 'mean'", "Expected one of 'average', 'max', 'none', 'class_token' for pool in"),
        ("method = [3]", "Expected text in quotes for method in"),
        ("folds = ", "Mend that line"),
        ("[studies]", "got 'studies' elsewhere: move it there"),
        ("config = 'other.toml'", "got 'config': there are"),
    ],
)
def test_what_is_no_setting_is_refused(line: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(f"[study]{LINES}{line}\n")
    result = run("study", "--config", file)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "study.toml" in result.output
    assert "Traceback" not in result.output


def test_settings_are_those_of_options_and_options_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as by hand, from a file that Windows wrote, seen from another folder; what was used is in the record."""
    small = ("--neurons", "2", "--creatures", "12", "--artefacts", "4")
    assert run("simulate", "--output", tmp_path / "new", *small).exit_code == 0
    file = tmp_path / "study.toml"
    content = f"[study]{LINES}folds = 4\nall-neurons = true\nmethod = ['paper']\nstrong = 3\nfigures = 'svg'\n"
    file.write_bytes(b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    checked = run("study", "--config", file, "--strong", "1", "--check")
    assert checked.exit_code == 0, checked.output
    assert "pairs: up to 3 a neuron (1 strong, 1 dissimilar, 1 weak), 6 in all" in checked.output
    assert not (tmp_path / "out").exists()
    done = run("study", "--config", file, "--strong", "1")
    assert done.exit_code == 0, done.output
    settings = json.loads((tmp_path / "out" / "study.json").read_text())["settings"]
    assert (settings["folds"], settings["n_strong"], settings["methods"]) == (4, 1, ["paper"])
    asked = json.loads((tmp_path / "out" / ".captum-shared.json").read_text())["asked"]["options"]
    assert (asked["folds"], asked["strong"], asked["figures"]) == (4, 1, "svg")
    again = run("study", "--config", file, "--strong", "1", "--check")
    assert again.exit_code == 2
    assert "holds this study already: resume it" in again.output
    goes_on = run("study", "--config", file, "--strong", "1", "--check", "--resume")
    assert "which holds this study, finished" in goes_on.output
    other = run("study", "--config", file, "--strong", "2", "--check", "--resume")
    assert "holds a different study: it differs in n_strong" in " ".join(other.output.split())
