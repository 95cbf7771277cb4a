"""Every block of code in README and docs is run, in a small made-up world; tables and links are what they say."""

import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.utils import save_image
from typer.testing import CliRunner

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.cli import app
from captum_shared.methods.method import Method
from captum_shared.recordings.formats.contents import Contents, Window
from captum_shared.recordings.formats.table import Format
from captum_shared.recordings.recording import Recording
from captum_shared.synthetic.recording import simulate_recording
from captum_shared.synthetic.stimuli import draw_stimuli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")

GIVEN = {  # names that a page speaks of and its blocks do not import: those of modules that contributors work in
    "docs/architecture.md": {
        **{each.__name__: each for each in (Contents, Format, Method, NeuronSimilarity, Path, Tensor)},
        "Window": Window,
        "Pair": Pair,
    }
}
ALIKE = (  # what stands for what is large or far away: the same options, of something small
    (
        "world/recording.nc --images world/images --preferred creature",
        r"\S+ --images (images|photographs)( --stimuli \S+)? --preferred body",
    ),
    (
        "world/recording.nc --images world/images --preferred creature",
        r"\S+ --images photographs --stimuli \S+ --preferred body",
    ),
    ("--model squeezenet1_1 --weights DEFAULT --layer features", "--model resnet50 --weights DEFAULT --layer layer4"),
    ("--model embedded --layer features", "--model squeezenet1_0 --weights DEFAULT( --layer [a-z.2]+)*"),
    ("--model squeezenet1_1", "--model resnet50"),
    ("--center objects", "--center photographs"),
    ("--engine local", r"--engine ray( --workers \d+)?"),
    ("", r"--address \S+"),
)
SMALL = {  # options that make a command short; of options given twice the last counts
    "simulate": "--neurons 2 --creatures 40 --artefacts 40",
    "study": "--folds 2 --strong 1 --dissimilar 0 --weak 0 --all-neurons",
    "benchmark parts": "--pairs 2 --controls 0",
    "benchmark grid": "--pairs 2 --controls 0",
}
ONE_METHOD = ("study", "benchmark parts", "benchmark grid", "benchmark neurons")
STUDY = (
    "captum-shared study world/recording.nc --images world/images --preferred creature --model embedded "
    "--layer features --output study"
)
ELSEWHERE = ("ray", "srun", "sleep", "set", "mkdocs", "export", "first=")  # of other machines: bash reads it only


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(language, code) for language, code in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(code: str) -> list[str]:
    """The commands of a block of shell, each in one line, without what sets variables."""
    lines = re.sub(r"\s*\\\n\s*", " ", code).splitlines()
    whole = [part.strip() for line in lines if not line.startswith("#") for part in line.split(" && ")]
    return [re.sub(r"^([A-Z_]+=\S+ )+|\.venv/bin/", "", command) for command in whole if command]


def made_small(command: str) -> list[str]:
    """The arguments of a captum-shared command, of something that takes seconds."""
    alike = command
    for small, large in ALIKE:
        alike = re.sub(large, small, alike)
    arguments = shlex.split(alike)[1:]
    name = " ".join(arguments[:2]) if arguments[0] == "benchmark" else arguments[0]
    if "--help" in arguments:
        return arguments
    if arguments[0] == "study" and alike != command and "--check" not in arguments:
        arguments.append("--check")  # all that it would do, short of doing it on other images
    if "--check" in arguments:
        arguments += ["--output", "checked"]
    methods = [] if "--method" in arguments or name not in ONE_METHOD else ["--method", "recommended"]
    return [*arguments, *methods, *shlex.split(SMALL.get(name, ""))]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: photographs, a recording and its study."""
    folder = tmp_path_factory.mktemp("docs")
    draw(folder / "bodies", "creature", 4)
    draw(folder / "objects", "artefact", 1)
    for seed in range(8):
        draw(folder / "photographs" / f"category {seed}", ("creature", "artefact")[seed % 2], 12, seed)
    for index, name in enumerate(("dog", "lion", "lorry")):
        shutil.copy(folder / "bodies" / f"{index}.png", folder / f"{name}.jpg")
    torch.save(torch.rand(4, 4, generator=torch.Generator().manual_seed(0)), folder / "responses.pt")
    simulate_recording(folder / "world", n_neurons=2, n_creatures=40, n_artefacts=40)
    recording = Recording.load(folder / "world" / "recording.nc")
    measure = pd.DataFrame({"stimulus_id": recording.stimulus_ids, "value": range(len(recording.stimulus_ids))})
    measure.to_csv(folder / "behaviour.csv", index=False)
    shutil.copytree(DOCS / "examples", folder / "examples")
    before = Path.cwd()
    os.chdir(folder)
    run(STUDY)
    os.chdir(before)
    return folder


def draw(folder: Path, category: str, number: int, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    for index, stimulus in enumerate(draw_stimuli(category, number, seed=seed)):
        save_image(stimulus.image, folder / f"{index}.png")


def run(command: str) -> None:
    """Run a captum-shared command, made small."""
    arguments = made_small(command)
    if command == STUDY and Path("study").exists():
        return  # by the fixture
    if "--output world" in command and Path("world").exists():
        shutil.rmtree("world")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"{shlex.join(arguments)}\n{result.output}"


def run_shell(code: str) -> None:
    read = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True, check=False)
    assert read.returncode == 0, read.stderr
    for command in commands(code):
        inner = command[command.index("captum-shared ") :] if " captum-shared " in f" {command}" else command
        if inner == "captum-shared demo":
            assert "captum-shared demo" in (ROOT / ".ci" / "run").read_text(
                encoding="utf-8"
            )  # which runs it as printed
        elif inner.startswith("captum-shared "):
            run(inner)
        elif command.startswith("python benchmarks/"):
            assert_understood(shlex.split(command)[1:])
        elif command.startswith(("pip install", "python3 -m venv")):
            assert extras(command) <= declared_extras()
        elif command.startswith("pytest "):
            assert all((ROOT / each).exists() for each in shlex.split(command) if each.startswith("tests/"))
        else:
            assert command.startswith(ELSEWHERE), f"not run: {command}"


def assert_understood(script: Sequence[str]) -> None:
    """That a script of the benchmarks has the options which a page gives it."""
    told = subprocess.run([sys.executable, ROOT / script[0], "--help"], capture_output=True, text=True, check=True)
    assert {each for each in script if each.startswith("--")} <= {*re.findall(r"--\w[\w-]*", told.stdout)}


def extras(command: str) -> set[str]:
    return {name for listed in re.findall(r"\[([\w,]+)\]", command) for name in listed.split(",")}


def declared_extras() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return {*re.findall(r"^([\w-]+) = \[", section, re.MULTILINE)}


@pytest.mark.filterwarnings("ignore:Attempting to normalize")  # Captum's picture of a map of random weights
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_of_a_page_runs(
    as_installed: None, page: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = blocks(page)
    if any(language in ("python", "sh") for language, _ in found):
        shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    get_model = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: get_model(name, weights=None))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "page", **GIVEN.get(str(page.relative_to(ROOT)), {})}
    for language, code in found:
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
        elif language == "sh":
            run_shell(code)
        elif language == "toml":
            Path("settings.toml").write_text(code, encoding="utf-8")
            run("captum-shared study --config settings.toml --check")
        elif language == "csv":
            assert not pd.read_csv(io.StringIO(code)).isna().any(axis=None)
        else:
            assert language == "text", f"{page.name}: a block of {language or 'nothing'} that nothing runs"
    check = RESULTS.get(str(page.relative_to(ROOT)))
    if check:
        check(names)


def of_captum(names: dict[str, Any]) -> None:
    """What the pages for users of Captum come to."""
    objects, recommended = names["objects"], names["recommended"]
    assert recommended[0].shape == (len(objects), 1, *objects.shape[2:])
    assert float(names["error"].max()) < 1e-3
    assert Path("pair.png").stat().st_size > 10_000
    weights, similarity, pair = names["weights"], names["similarity"], names["pair"]
    torch.testing.assert_close(weights.sum(1), similarity(*pair)[:, 3])


def of_readme(names: dict[str, Any]) -> None:
    maps, shared = names["maps"], names["shared"]
    for side in maps:
        torch.testing.assert_close(side.sum((1, 2)), shared, rtol=1e-3, atol=1e-6)


RESULTS = {"README.md": of_readme, "docs/start/captum.md": of_captum}


@pytest.mark.parametrize(
    ("page", "name"),
    [("README.md", "summary"), *(("docs/benchmarks.md", name) for name in ("parts", "grid", "grid_features"))],
)
def test_tables_are_those_of_the_results(page: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    recovery = importlib.import_module("recovery")
    text = (ROOT / page).read_text(encoding="utf-8")
    (table,) = re.findall(f"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    read = [
        json.loads((recovery.RESULTS / f"{each}.json").read_text(encoding="utf-8"))
        for each in (("parts", "grid") if name == "summary" else (name,))
    ]
    assert table == (recovery.summary_table(*read) if name == "summary" else recovery.full_table(*read))
    row = next(line for line in table.splitlines() if "recommended |" in line)
    entry = next(entry for entry in read[0]["methods"] if entry["name"] == "recommended")
    assert f"| {entry['scores']['mass']['value']:.2f} |" in row


def links(page: Path) -> Iterator[str]:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    yield from LINK.findall(text)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_to_https(page: Path) -> None:
    for link in links(page):
        address, _, _ = link.partition("#")
        made = address.partition("reference/")[1] or (DOCS / address).name == "changelog.md"  # as the site is built
        if "://" in link:
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./()-]*)?", link), link
        elif address and not made:
            assert (page.parent / address).exists(), f"{page.name}: {link}"


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    assert len(text.split()) <= 620


@pytest.mark.parametrize("kind", ["npz", "npy", "csv", "parquet", "nc", "h5", "zarr", "nwb"])
def test_the_example_of_every_format_is_the_same_recording(kind: str, tmp_path: Path) -> None:
    examples = DOCS / "examples"
    if kind == "zarr":
        shutil.unpack_archive(examples / "recording.zarr.zip", tmp_path)
    file = (tmp_path if kind == "zarr" else examples) / f"recording.{kind}"
    arguments = {"stimuli": examples / "stimuli.csv", "by_row": True} if kind == "npy" else {}
    recording = Recording.load(file, images=examples, **arguments)
    table = pd.read_csv(examples / "recording.csv").groupby(["phase", "stimulus_id", "neuroid_id"]).response.mean()
    assert sorted(recording.stimulus_ids) == sorted({stimulus for _, stimulus, _ in table.index})
    for index, stimulus in enumerate(recording.stimulus_ids):
        for phase in (1, 2):
            expected = [table[phase, stimulus, f"neuron {neuron}"] for neuron in (0, 1)]
            assert recording.responses[phase - 1, index].tolist() == pytest.approx(expected)


def test_the_example_of_a_settings_file_is_one_of_its_study(
    as_installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(DOCS / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    run("captum-shared study --config examples/study.toml --check")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS / "_site")
    return importlib.import_module("links").faults


def test_what_is_wrong_with_a_site_is_told(faults: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<h1 id="top">page</h1><a href="#top">up</a>', encoding="utf-8")
    good = (
        '<a href="page.html#top">a</a><a href="https://captum.ai">b</a><img src="data:,x"><a href="mailto:a@b.c">c</a>'
    )
    (tmp_path / "index.html").write_text(good, encoding="utf-8")
    assert faults(tmp_path) == []
    for wrong in (
        '<a href="none.html">a</a>',
        '<a href="page.html#none">a</a>',
        '<img src="none.png">',
        '<script src="https://elsewhere.org/a.js"></script>',
        '<link href="//elsewhere.org/a.css">',
        '<a href="http://elsewhere.org">a</a>',
    ):
        (tmp_path / "index.html").write_text(wrong, encoding="utf-8")
        assert len(faults(tmp_path)) == 1, wrong
    (tmp_path / "index.html").write_text(good, encoding="utf-8")
    (tmp_path / "style.css").write_text('@import "https://elsewhere.org/a.css";', encoding="utf-8")
    assert faults(tmp_path) == ["style.css loads from another host"]
