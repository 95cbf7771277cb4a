"""What commands say of a readout: another encoder, neurons that nothing predicts, what is not recorded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from captum_shared.cli import app
from captum_shared.encoders import encoder_by_name
from captum_shared.neurons import LinearReadout

pytestmark = pytest.mark.usefixtures("as_installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("explained"), np.random.default_rng(0)
    for name in ("image", "reference"):
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    weight = torch.rand(2, 128, generator=torch.Generator().manual_seed(0))
    readout = LinearReadout(weight, feature_mean=torch.full((128,), 0.1), neuron_names=["good", "poor"])
    readout.save(folder / "plain.safetensors")
    readout = readout.with_origin(encoder_by_name("embedded", "features").origin)
    readout = readout.with_heldout([0.61, 0.05], [-0.21, -0.2], [0.21, 0.2])
    readout.save(folder / "readout.safetensors")
    return folder


def explain(folder: Path, output: Path, *others: str, readout: str = "readout", neuron: str = "good") -> Result:
    typed = ["explain", *(str(folder / f"{name}.png") for name in ("image", "reference"))]
    typed += ["--model", "embedded", "--layer", "features", "--method", "paper", "--neuron", neuron]
    typed += ["--readout", str(folder / f"{readout}.safetensors"), "--output", str(output / "pair.png"), *others]
    return CliRunner().invoke(app, typed)


def test_r_is_printed_with_the_pair(folder: Path, tmp_path: Path) -> None:
    result = explain(folder, tmp_path)
    assert result.exit_code == 0, result.output
    assert "(neuron good, r = 0.61) with" in result.output
    assert "chance" not in result.output
    assert "not record" not in result.output


def test_a_neuron_that_nothing_predicts_is_told(folder: Path, tmp_path: Path) -> None:
    result = explain(folder, tmp_path, neuron="poor")
    assert result.exit_code == 0, result.output
    assert "(neuron poor, r = 0.05) with" in result.output
    assert (
        "Warning: neuron poor is predicted no better than by chance: r = 0.05 on held-out images, and of neurons that "
        "nothing predicts 95 % lie between -0.20 and 0.20. Its maps tell nothing about it."
    ) in result.output


def test_another_encoder_is_refused_unless_it_is_allowed(folder: Path, tmp_path: Path) -> None:
    result = explain(folder, tmp_path, "--pool", "max")
    assert result.exit_code == 2
    assert (
        "captum-shared: The readout was fitted to features of another encoder: expected pooling average, but got max"
        in (result.output)
    )
    assert "--any-encoder" in result.output
    assert not any(tmp_path.iterdir())
    allowed = explain(folder, tmp_path, "--pool", "max", "--any-encoder")
    assert allowed.exit_code == 0, allowed.output


def test_what_is_not_recorded_is_told(folder: Path, tmp_path: Path) -> None:
    result = explain(folder, tmp_path, readout="plain")
    assert result.exit_code == 0, result.output
    assert "The readout does not record its encoder, so that nothing tells whether this one is it." in result.output
    assert "The readout does not record how well its neurons are predicted." in result.output
    assert "(neuron good) with" in result.output
