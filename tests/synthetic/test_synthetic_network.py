import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from captum_shared.encoders.embedded import EMBEDDED_WEIGHTS, embedded_network, weights_metadata
from captum_shared.synthetic import network as module
from captum_shared.synthetic.network import average_precisions, main, train
from captum_shared.synthetic.stimuli import CATEGORIES, PARTS, Stimulus, draw_stimuli

SMALL = ["--images", "8", "--epochs", "1", "--held-out", "8"]


def test_shipped_weights_name_the_parts_of_fresh_images():
    fresh = [stimulus for category in CATEGORIES for stimulus in draw_stimuli(category, 200, seed=987_654)]
    precisions = average_precisions(embedded_network(), fresh)
    assert precisions.keys() == PARTS.keys()
    assert np.mean(list(precisions.values())) >= 0.95


def test_shipped_file_is_small_float32_and_says_how_it_came_about():
    told = weights_metadata()
    assert EMBEDDED_WEIGHTS.stat().st_size <= 2_000_000
    assert {t.dtype for t in load_file(EMBEDDED_WEIGHTS).values()} <= {torch.float32, torch.int64}
    assert told["parts"].split(",") == list(PARTS)
    assert float(told["mean_average_precision"]) >= 0.95
    assert int(told["held_out_images"]) >= 1000
    each = [float(precision) for precision in told["average_precision"].split(",")]
    assert np.mean(each) == pytest.approx(float(told["mean_average_precision"]), abs=1e-3)
    assert told.keys() >= {"seed", "images", "epochs", "versions"}


def test_the_network_is_plain():
    network = embedded_network()
    assert not network.training
    assert [name for name, _ in network.named_children()] == ["normalise", "features", "pool", "flatten", "classifier"]
    assert not any(relu.inplace for relu in network.modules() if isinstance(relu, nn.ReLU))
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in network.parameters())


@pytest.mark.parametrize(("size", "positions"), [(96, 12), (112, 14), (128, 16)])
def test_shapes(size, positions):
    network = embedded_network().double()
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    assert network.features(network.normalise(images)).shape == (2, 128, positions, positions)
    assert network(images).shape == (2, len(PARTS))


def test_batch_equals_one_by_one():
    network = embedded_network().double()
    images = torch.rand(3, 3, 112, 112, dtype=torch.float64)
    torch.testing.assert_close(network(images), torch.cat([network(image[None]) for image in images]))


def test_a_position_of_the_features_sees_57_pixels():
    network = embedded_network(None).double()
    for parameter in network.features.parameters():
        nn.init.ones_(parameter)  # nothing cancels and no ReLU shuts, so every pixel that can matter does
    image = torch.ones(1, 3, 112, 112, dtype=torch.float64, requires_grad=True)
    network.features(image)[0, 0, 7, 7].backward()
    rows, columns = (image.grad[0, 0] != 0).nonzero(as_tuple=True)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (57, 57)
    assert rows.min() == 7 * 8 - 28


def test_loading_leaves_the_generator_alone_and_random_weights_follow_it():
    before = torch.random.get_rng_state()
    embedded_network()
    assert torch.equal(torch.random.get_rng_state(), before)
    first = embedded_network(None).classifier.weight
    torch.random.set_rng_state(before)
    assert torch.equal(embedded_network(None).classifier.weight, first)
    assert not torch.equal(embedded_network(None).classifier.weight, first)


def test_two_networks_do_not_share_weights():
    first, second = embedded_network(), embedded_network()
    nn.init.zeros_(first.classifier.weight)
    assert second.classifier.weight.abs().sum() > 0


class Told(nn.Module):
    """Answers with given logits, whatever the images."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)]


def test_average_precision_by_hand():
    mask = torch.ones(8, 8, dtype=torch.bool)
    stimuli = [Stimulus(torch.zeros(3, 8, 8), {"head": mask} if shown else {}, "creature") for shown in (1, 0, 1, 0)]
    logits = torch.zeros(4, len(PARTS))
    logits[:, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0])  # present at ranks 1 and 3: (1/1 + 2/3) / 2
    assert average_precisions(Told(logits), stimuli) == {"head": pytest.approx(5 / 6)}


def test_training_learns_what_it_sees_and_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    network = train(images=16, epochs=20, progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)
    seen = [stimulus for category in CATEGORIES for stimulus in draw_stimuli(category, 8, seed=0)]
    precisions = average_precisions(network, seen)
    chance = [np.mean([part in stimulus.masks for stimulus in seen]) for part in precisions]
    assert np.mean(list(precisions.values())) > 1.5 * np.mean(chance)


def test_the_command_writes_what_it_writes_again(tmp_path):
    for name in ("first", "second"):
        main(["--output", str(tmp_path / name), *SMALL])
    first, second = load_file(tmp_path / "first"), load_file(tmp_path / "second")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert weights_metadata(tmp_path / "first")["images"] == "8"
    assert embedded_network(tmp_path / "first")(torch.rand(1, 3, 112, 112)).isfinite().all()
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


@pytest.mark.parametrize("where", ["training", "writing"])
def test_an_interrupted_command_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where):
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "network.safetensors"
    output.write_bytes(b"old")
    if where == "training":
        monkeypatch.setattr(module, "train", interrupt)
    else:
        monkeypatch.setattr(type(output), "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main(["--output", str(output), *SMALL])
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [(["--output", "none/file"], "create it first"), (["--output", "file", "--held-out", "1"], "at least 2, got 1")],
)
def test_the_command_refuses_before_it_works(tmp_path, monkeypatch, capsys, wrong, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*SMALL, *wrong])
    assert told in capsys.readouterr().err


def test_errors_say_what_came(tmp_path):
    with pytest.raises(ValueError, match="which is no file"):
        embedded_network(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("not weights")
    with pytest.raises(ValueError, match="they do not fit"):
        embedded_network(tmp_path / "text")
    with pytest.raises(ValueError, match="got 1 and 1"):
        train(images=1, epochs=1)
    with pytest.raises(ValueError, match="at least one stimulus"):
        average_precisions(embedded_network(None), [])
