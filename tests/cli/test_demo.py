"""``captum-shared demo``, against the library and the truth."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from captum_shared.attr import NeuronSimilarity
from captum_shared.cli import app
from captum_shared.encoders import encoder_by_name, load_inputs
from captum_shared.evaluation import known_regions
from captum_shared.methods import METHODS
from captum_shared.neurons import LinearReadout
from captum_shared.synthetic import Stimulus, SyntheticNeuron, simulated_world

pytestmark = pytest.mark.usefixtures("as_installed")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("demo") / "demo"
    result = run("--output", str(output))
    assert result.exit_code == 0, result.output
    return output, result.output


def test_it_finds_shared_parts_in_a_world_it_predicts(finished: tuple[Path, str]) -> None:
    output, printed = finished
    report = json.loads((output / "demo.json").read_text(encoding="utf-8"))
    assert report["seed"] == 0
    assert [neuron["name"] for neuron in report["neurons"]] == [f"neuron {index}" for index in range(6)]
    world = simulated_world(output / "world-0")
    for neuron, truth in zip(report["neurons"], world.neurons, strict=True):
        image, reference = (world.stimuli[neuron[side]] for side in ("image", "reference"))
        assert (image.category, reference.category) == ("artefact", "creature")
        assert set(neuron["shared_parts"]) == truth.tuning.keys() & image.masks.keys() & reference.masks.keys()
        assert neuron["heldout_correlation"] > 0.6
        assert neuron["ooc_correlation"] > 0.2
        assert (output / f"{neuron['name'].replace(' ', '_')}.png").stat().st_size > 50_000
    names = list(report["neurons"][0]["mass_in_shared_parts"])
    assert names[:2] == ["recommended", "paper"]
    masses = {name: np.mean([neuron["mass_in_shared_parts"][name] for neuron in report["neurons"]]) for name in names}
    areas = [neuron["area_of_shared_parts"] for neuron in report["neurons"]]
    assert masses["recommended"] > 1.5 * max(masses[name] for name in names[1:])
    precision = np.mean([neuron["average_precision"]["recommended"] for neuron in report["neurons"]])
    assert f"recommended{masses['recommended']:>25.2f}  {precision:.2f}  {METHODS['recommended'].title}" in printed
    assert f"area{np.mean(areas):>32.2f}" in printed


def test_its_scores_are_those_of_the_maps_on_the_masks(finished: tuple[Path, str]) -> None:
    output, _ = finished
    told = json.loads((output / "demo.json").read_text(encoding="utf-8"))["neurons"][4]
    world, features = simulated_world(output / "world-0"), encoder_by_name("embedded", "features")
    readout = LinearReadout.load(output / "study" / "readout.safetensors")
    names = [told["image"], told["reference"]]
    inputs = load_inputs(features, [output / "world-0" / "images" / f"{name}.png" for name in names])
    maps = METHODS["neuron-grad-cam"].maps(NeuronSimilarity(features, readout), (inputs[:1], inputs[1:]), 4)
    masses, areas = [], []
    for name, heatmap in zip(names, maps, strict=True):
        masks = world.stimuli[name].masks
        answer = torch.stack([masks[part] for part in told["shared_parts"]]).any(0)
        masses.append(float(heatmap[0][answer].sum() / heatmap[0].sum()))
        areas.append(float(answer.float().mean()))
    assert told["mass_in_shared_parts"]["neuron-grad-cam"] == pytest.approx(np.mean(masses), rel=1e-5)
    assert told["area_of_shared_parts"] == pytest.approx(np.mean(areas), rel=1e-6)


def test_regions_are_told_by_drive_and_by_presence() -> None:
    image, reference = (
        Stimulus(torch.zeros(3, 2, 2), {part: torch.arange(4).reshape(2, 2) == at for part, at in parts}, "artefact")
        for parts in (
            [("wing", 0), ("head", 1), ("box", 2), ("wheel", 3)],
            [("wing", 3), ("tail", 2), ("box", 1), ("pole", 0)],
        )
    )
    neuron = SyntheticNeuron("A", {"wing": 9.0, "head": 8.0, "tail": 8.0, "wheel": -5.0}, baseline=2.0)
    assert known_regions(image, reference, neuron).flatten(2).long().argmax(2).tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]


def test_it_goes_on_where_it_was_and_leaves_other_folders_alone(finished: tuple[Path, str], tmp_path: Path) -> None:
    output, _ = finished
    before = (output / "demo.json").read_bytes()
    again = run("--output", str(output))
    assert again.exit_code == 0, again.output
    assert (output / "demo.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    refused = run("--output", str(tmp_path / "file"))
    assert refused.exit_code == 2
    assert "file" in refused.output
    assert (tmp_path / "file").read_text() == "mine"
