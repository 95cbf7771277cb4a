from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import save_image
from typer.testing import CliRunner, Result

from captum_shared import LayerSharedAttribution, LinearReadout, NeuronSimilarity, ParallelSharedAttribution
from captum_shared.cli import app
from captum_shared.encoders.by_name import encoder_by_name
from captum_shared.images import load_images
from captum_shared.synthetic.stimuli import draw_stimuli

pytestmark = pytest.mark.usefixtures("as_installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for category in ("creature", "artefact"):
        for i, stimulus in enumerate(draw_stimuli(category, 3, seed=5)):
            save_image(stimulus.image, tmp_path / f"{category}_{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def explain(*arguments: str, model: str = "embedded") -> Result:
    return run("explain", *arguments, "--model", model, "--output", "out/pair.png")


def similarity() -> NeuronSimilarity:
    return NeuronSimilarity(encoder_by_name("embedded", "features"), LinearReadout.uniform(128))


def test_explain_writes_the_figure_and_the_maps_of_the_best_reference(folder: Path) -> None:
    references = [f"creature_{i}.png" for i in range(3)]
    result = explain("artefact_0.png", *references)
    assert result.exit_code == 0, result.output

    method = ParallelSharedAttribution(similarity())
    preprocess = encoder_by_name("embedded", "features").preprocess
    images = load_images(["artefact_0.png", *references], preprocess)
    scores = [float(similarity()(images[:1], images[i : i + 1]).detach()) for i in (1, 2, 3)]
    best = int(np.argmax(scores))
    assert f"with {references[best]}  <- chosen" in result.output
    maps = np.load("out/pair.npz")
    assert str(maps["reference"]) == references[best]
    assert float(maps["similarity"]) == pytest.approx(scores[best], abs=1e-6)
    pair = images[:1], images[best + 1 : best + 2]
    for name, attributions in (
        ("gradient", method.attribute(pair, 0)),
        ("layer", LayerSharedAttribution(similarity()).attribute(pair, 0)),
    ):
        np.testing.assert_allclose(maps[f"{name}_image"], attributions[0][0], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(maps[f"{name}_reference"], attributions[1][0], rtol=1e-4, atol=1e-7)
    with Image.open("out/pair.png") as figure:
        assert figure.size[0] > 500
    assert sorted(path.name for path in Path("out").iterdir()) == ["pair.npz", "pair.png"]


def test_explain_one_neuron_by_name_or_number(folder: Path) -> None:
    weight = torch.rand(2, 128, generator=torch.Generator().manual_seed(0))
    LinearReadout(weight, neuron_names=["left", "right"]).save("readout.safetensors")
    by_name, by_number = (
        explain("artefact_0.png", "creature_0.png", "--readout", "readout.safetensors", "--neuron", neuron)
        for neuron in ("right", "1")
    )
    assert by_name.exit_code == by_number.exit_code == 0, by_number.output
    assert "(neuron right)" in by_name.output
    assert by_name.output == by_number.output


@pytest.mark.parametrize("jacobian", ["integrated_gradients", "InputXGradient"])
def test_explain_with_another_jacobian(folder: Path, jacobian: str) -> None:
    result = explain("artefact_0.png", "creature_0.png", "--jacobian", jacobian)
    assert result.exit_code == 0, result.output
    assert f"{jacobian}_image" in np.load("out/pair.npz")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_explain_reads_images_of_any_kind(folder: Path, mode: str) -> None:
    with Image.open("creature_0.png") as opened:
        picture = opened.copy()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    picture.save("other.png")
    assert explain("artefact_0.png", "other.png").exit_code == 0


def wrong(*arguments: str, model: str = "embedded") -> str:
    result = explain(*arguments, model=model)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert not Path("out").exists()
    return result.output


def test_wrong_input_is_told_and_nothing_is_written(folder: Path) -> None:
    pair = ("artefact_0.png", "creature_0.png")
    assert "nowhere.png" in wrong("nowhere.png", "creature_0.png")
    Path("short.png").write_bytes(Path("creature_0.png").read_bytes()[:2000])
    assert "short.png" in wrong("artefact_0.png", "short.png")
    Path("text.png").write_text("not an image")
    assert "text.png" in wrong("text.png", "creature_0.png")
    assert "Did you mean features" in wrong(*pair, "--layer", "feature")
    assert "no classification model 'resnet51'" in wrong(*pair, "--weights", "DEFAULT", model="resnet51")
    assert "comes with its weights" in wrong(*pair, "--weights", "DEFAULT")
    assert "Name the weights of resnet18" in wrong(*pair, "--layer", "layer4", model="resnet18")
    assert "--neuron chooses among the neurons of a --readout" in wrong(*pair, "--neuron", "3")
    assert "Occlusion needs sliding_window_shapes" in wrong(*pair, "--jacobian", "Occlusion")
    assert "attribution class of Captum" in wrong(*pair, "--jacobian", "visualization")
    assert "attribution class of Captum" in wrong(*pair, "--jacobian", "Attribution")
    LinearReadout(torch.rand(2, 5)).save("small.safetensors")
    readout = ("--readout", "small.safetensors")
    assert "2 neurons (0, 1" in wrong(*pair, *readout)
    assert "from 0 to 1" in wrong(*pair, *readout, "--neuron", "7")
    assert "No neuron is named 'one'" in wrong(*pair, *readout, "--neuron", "one")
    assert "with 5 features, but the encoder gives shape (1, 128)" in wrong(*pair, *readout, "--neuron", "0")
    assert "Use --device cpu" in wrong(*pair, "--device", "cuda:99")
    assert "jacobian must be 'gradient'" in wrong(*pair, "--jacobian", "gradients")
    assert "artefact_0.png" in wrong(*pair, "--readout", "artefact_0.png")


def test_weights_of_another_network_are_told_by_their_keys(folder: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2)}, "wrong.pt")
    told = wrong(
        "artefact_0.png", "creature_0.png", "--weights", "wrong.pt", "--layer", "features", model="squeezenet1_1"
    )
    assert "missing" in told
    assert "features.0.bias" in told
    assert "features.0.weight (2,) instead of (64, 3, 3, 3)" in told


def test_an_output_that_is_no_figure_is_told(folder: Path) -> None:
    result = run("explain", "artefact_0.png", "creature_0.png", "--model", "embedded", "--output", "pair.docx")
    assert result.exit_code == 2
    assert "give it one of the extensions" in result.output
