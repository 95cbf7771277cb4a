"""``captum-shared benchmark``: three tasks, their options and what they write."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_photographs import draw_photographs
from typer.testing import CliRunner, Result

from captum_shared import evaluation
from captum_shared._record import RECORD
from captum_shared._resuming import versions
from captum_shared.cli import app
from captum_shared.encoders import encoder_by_name
from captum_shared.evaluation import (
    Extent,
    Task,
    bootstrap,
    category_neurons,
    grid_task,
    parts_task,
    recovery_scores,
    run_benchmark,
)
from captum_shared.evaluation.run import PACKAGES
from captum_shared.figures import benchmark_figure, save_figure
from captum_shared.methods import METHODS, registry

RECOVERY = {
    "answer_largest",
    "mass",
    "pixel_ap",
    "pixel_auroc",
    *(f"{score}_{kind}" for score in ("answer_vs", "auroc") for kind in ("own_driver", "shared_nondriver", "neither")),
    "pointing",
}


def small_parts(**options: Any) -> Task:
    """Drawn parts with fewer figures to fit."""
    return parts_task(**{**options, "n_neurons": min(2, options["n_neurons"]), "n_fitted": 6})


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "parts_task", small_parts)
        yield


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def written(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text())


def scores(result: Any) -> Any:
    return {method["name"]: method["scores"] for method in result["methods"]}


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("benchmark") / "parts"
    result = command("parts", "--pairs", "3", "--seed", "4", "--method", "random,paper", "--output", output)
    assert result.exit_code == 0, result.output
    assert "Wrote results.json, table.md and figure.png" in result.output
    assert (output / "table.md").read_text() in result.output
    return output


@pytest.mark.usefixtures("as_installed")
class TestCommand:
    def test_parts(self, finished: Path, tmp_path: Path) -> None:
        assert sorted(contents(finished)) == [
            RECORD,
            "figure.png",
            "maps.npz",
            "report.html",
            "results.json",
            "table.md",
        ]
        result = written(finished)
        assert result["task"] == "parts"
        assert {method["name"]: method["family"] for method in result["methods"]} == {
            "random": "trivial",
            "paper": "ours",
            "ceiling": "ceiling",
        }
        assert all(set(own) == RECOVERY | {"intensity"} for own in scores(result).values())
        extent = {name: result["settings"][name] for name in ("pairs", "controls", "faithful", "sanity", "seed")}
        assert extent == {"pairs": 3, "controls": 3, "faithful": 0, "sanity": 0, "seed": 4}
        task = small_parts(n_neurons=2, seed=4)
        trials = [task.trial(index) for index in range(3)]
        images, references, _ = torch.stack([trial.images for trial in trials], 1)
        neurons, regions = [trial.neuron for trial in trials], torch.stack([trial.regions for trial in trials])
        for name in ("random", "paper"):
            maps = METHODS[name].maps(task.similarity, (images, references), neurons)
            for score, values in recovery_scores(torch.stack(maps, 1), regions).items():
                expected = bootstrap(values)
                np.testing.assert_allclose(list(scores(result)[name][score].values()), expected, rtol=1e-4)

    def test_parts_are_tabulated_and_drawn(self, finished: Path, tmp_path: Path) -> None:
        result = written(finished)
        head, _, *rows = (finished / "table.md").read_text().splitlines()
        assert head == (
            "| method | family | answer largest | mass | pixel average precision | pixel auroc | answer vs "
            "own driver | answer vs shared nondriver | answer vs neither | pointing | intensity | s per pair |"
        )
        for row, method in zip(rows, result["methods"], strict=True):
            mass = method["scores"]["mass"]
            cells = row.strip("| ").split(" | ")
            assert cells[0] == method["name"]
            assert cells[3] == f"{mass['value']:.2f} [{mass['low']:.2f}, {mass['high']:.2f}]"
        save_figure(benchmark_figure(result), tmp_path / "figure.png")
        with Image.open(finished / "figure.png") as drawn, Image.open(tmp_path / "figure.png") as expected:
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))

    def test_a_finished_one_is_shown_again_and_another_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = [
            "parts",
            "--pairs",
            "2",
            "--method",
            "random",
            "--method",
            "edge-energy",
            "--output",
            tmp_path / "out",
        ]
        assert command(*given).exit_code == 0
        before = contents(tmp_path / "out")
        for name in ("table.md", "figure.png"):
            (tmp_path / "out" / name).unlink()
        again = command(*given)
        assert again.exit_code == 2
        assert "choose another, or go on with a benchmark by --resume" in " ".join(again.output.split())
        assert command(*given, "--resume").exit_code == 0
        assert contents(tmp_path / "out") == before
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "parts_task", None)  # a finished one is told without it
            again = command(*given, "--resume")
        assert again.exit_code == 0, again.output
        assert (tmp_path / "out" / "table.md").read_text() in again.output
        other = command(*given, "--resume", "--seed", "1")
        assert other.exit_code == 2
        assert "holds a different benchmark: it differs in seed" in other.output
        assert contents(tmp_path / "out") == before

    def test_other_files_are_left_alone(self, photographs: Path, tmp_path: Path) -> None:
        (tmp_path / "figure.png").write_text("mine")
        given = ("--images", photographs, "--model", "embedded", "--output", tmp_path, "--method", "random")
        for result, sentence in (
            (command("parts", "--pairs", "1", "--output", tmp_path), "holds something already: choose another"),
            (command("parts", "--pairs", "1", "--resume", "--output", tmp_path), "holds other files"),
            (command("neurons", *given), "holds something already: choose another"),
            (command("neurons", *given[:-3], tmp_path / "figure.png"), "holds something already: choose another"),
        ):
            assert result.exit_code == 2
            assert sentence in result.output
            assert contents(tmp_path) == {"figure.png": b"mine"}

    def test_grid(self, photographs: Path, tmp_path: Path) -> None:
        options = ["grid", "--images", photographs, "--model", "embedded", "--output", tmp_path / "out"]
        extent = ("--pairs", "9", "--controls", "0", "--faithful", "1", "--sanity", "2", "--seed", "3")
        result = command(*options, *extent, "--method", "paper", "--half", "development")
        assert result.exit_code == 0, result.output
        settings = written(tmp_path / "out")["settings"]
        assert settings["categories"] == [f"category{number}" for number in range(4)]
        assert (settings["model"], settings["layer"], settings["pool"]) == ("embedded", "features", "average")
        assert list(settings["layers"]) == ["features"]
        task = grid_task(photographs, encoder_by_name("embedded", "features"), half="development", seed=3)
        task.similarity.to(memory_format=torch.channels_last)
        expected = run_benchmark(
            task, ["paper", *task.ceilings], extent=Extent(9, 0, 1, 2), output=tmp_path / "expected", progress=False
        )
        assert scores(written(tmp_path / "out")) == scores(expected)
        assert settings == {**expected["settings"], "model": "embedded"}
        assert str(photographs) not in (tmp_path / "out" / "results.json").read_text()

    def test_grid_takes_the_layer_that_predicts_best(self, photographs: Path, tmp_path: Path) -> None:
        given = ["grid", "--images", photographs, "--model", "embedded", "--output", tmp_path, "--pairs", "1"]
        result = command(*given, "--method", "random", "--layer", "features.0", "--layer", "features")
        assert result.exit_code == 0, result.output
        settings = json.loads((tmp_path / "results.json").read_text())["settings"]
        assert settings["layers"].keys() == {"features.0", "features"}
        assert settings["layer"] == max(settings["layers"], key=settings["layers"].__getitem__)

    def test_neurons(self, photographs: Path, tmp_path: Path) -> None:
        options = ["neurons", "--images", photographs, "--model", "embedded", "--output", tmp_path / "out"]
        result = command(*options, "--method", "random,neuron-saliency", "--seed", "2")
        assert result.exit_code == 0, result.output
        assert sorted(contents(tmp_path / "out")) == [RECORD, "figure.png", "report.html", "results.json"]
        names = ["random", "neuron-saliency"]
        expected = category_neurons(encoder_by_name("embedded", "features"), photographs, names=names, seed=2)
        assert written(tmp_path / "out") == {
            "task": "neurons",
            "settings": {"model": "embedded", "seed": 2, "layer": "features", "methods": names},
            "versions": versions(*PACKAGES),
            "neurons": [neuron.as_dict() for neuron in expected],
        }
        with Image.open(tmp_path / "out" / "figure.png") as figure:
            assert np.asarray(figure).std() > 10

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["parts", "--method", "papr"], "There is no method 'papr'. Did you mean paper"),
            (["parts", "--method", "random,random"], "Expected each method once, but got more than once: random"),
            (["parts", "--images", "x"], "There is no option --images."),
            (["parts", "--half", "report"], "There is no option --half."),
            (["neurons", "--pairs", "3"], "There is no option --pairs."),
            (["parts", "--pairs", "0"], "'--pairs': it should be greater than or equal to 1, got '0'"),
            (["parts", "--controls", "-1"], "'--controls': it should be greater than or equal to 0, got '-1'"),
            (["parts", "--device", "tpu"], "The device 'tpu' is not available"),
            (["grid", "--model", "embedded"], "Missing: --images."),
            (["neurons", "--images", "somewhere"], "Missing: --model."),
            (["grid", "--images", "x", "--model", "alexnet"], "Name the weights of alexnet: --weights DEFAULT"),
            (["grid", "--images", "nowhere", "--model", "embedded"], "got no folder at nowhere: check the path"),
            (["grid", "--images", "x", "--model", "embedded", "--half", "best"], "'best' is not one of"),
            (["objects"], "No such command 'objects'"),
        ],
    )
    def test_wrong_arguments_get_a_sentence(self, tmp_path: Path, arguments: list[str], sentence: str) -> None:
        result = command(*arguments, "--output", tmp_path / "out")
        assert result.exit_code == 2
        assert sentence in " ".join(result.output.replace("│", " ").split())
        assert "Traceback" not in result.output
        assert not (tmp_path / "out").exists()

    def test_what_is_left_out_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where zennit and grad-cam are not installed."""
        monkeypatch.setattr(registry, "_can_run", lambda method: method.package is None)
        monkeypatch.setattr(evaluation, "parts_task", lambda **_: sys.exit(3))
        result = command("parts", "--pairs", "1", "--output", tmp_path / "out")
        assert result.exit_code == 3
        named = [f"{method.name} (by {method.package})" for method in METHODS.values() if method.package]
        assert len(named) > 2
        assert f"Left out, as their packages are not installed: {', '.join(named)}. Install them" in result.output
