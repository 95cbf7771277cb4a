import numpy as np
import pytest
import torch
import torchvision
from test_features import NETS
from torch import Tensor, nn
from toys import Randomised, Undecided, hooks, seeded, small_net
from toys import torchvision_net as random_net

from captum_shared import LatentFeatures, LayerFeatures
from captum_shared.encoders.layers import several_depths

SPATIAL = [net for net in NETS if net[0] not in ("swin_t", "vit_b_32")]


def assert_equal_one_by_one(model: nn.Module, layers: tuple[str, ...], pool: str, images: Tensor) -> None:
    found = LayerFeatures(model, layers, pool=pool)(images)
    assert tuple(found) == layers
    for layer in layers:
        assert torch.equal(found[layer], LatentFeatures(model, layer, pool=pool)(images)), layer


@pytest.mark.parametrize(("name", "options", "size", "layers"), SPATIAL, ids=[net[0] for net in SPATIAL])
def test_each_layer_is_that_of_latent_features_to_the_last_bit(
    name: str, options: dict[str, int], size: int, layers: tuple[str, ...]
) -> None:
    images = seeded(1, 2, 3, size, size, dtype=torch.float32)
    assert_equal_one_by_one(random_net(name, **options), layers, "average", images)


@pytest.mark.parametrize("pool", ["average", "max", "none", "class_token"])
def test_layers_of_a_transformer(pool: str) -> None:
    vit = random_net("vit_b_32", image_size=64)
    images = seeded(1, 1, 3, 64, 64, dtype=torch.float32)
    assert_equal_one_by_one(vit, ("encoder.layers.encoder_layer_1", "encoder.ln"), pool, images)


@pytest.mark.parametrize("pool", ["average", "none"])
def test_activations_that_are_overwritten_later(pool: str) -> None:
    model, images = small_net(inplace=True), seeded(1, 2, 3, 10, 10)
    names = ("features.0", "features.1", "features.2", "features.3")
    assert_equal_one_by_one(model, names, pool, images)
    resnet = random_net("resnet18")
    assert_equal_one_by_one(resnet, ("bn1", "relu", "layer1.0.bn2", "layer1"), pool, images.float())


@pytest.mark.parametrize("pool", ["average", "none"])
@pytest.mark.parametrize("layers", [("first", "relu", "second"), ("second", "relu", "first")])
def test_a_model_that_cannot_be_traced(layers: tuple[str, ...], pool: str) -> None:
    model, images = Randomised(0)(Undecided), seeded(1, 2, 3, 10, 10)
    assert_equal_one_by_one(model, layers, pool, images)
    features = LayerFeatures(model, layers, pool=pool)
    first = features(images)
    assert all(torch.equal(values, first[layer]) for layer, values in features(images).items())


def test_one_pass_that_ends_at_the_deepest_layer_whatever_the_order() -> None:
    model = small_net()
    calls: list[str] = []
    for name, module in model.named_modules():
        if not list(module.children()):  # a hook before the pass is kept, as it may make weights
            module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    images = seeded(1, 2, 3, 10, 10)
    for layers in (["features.0", "features.2"], ["features.2", "features.0"]):
        features = LayerFeatures(model, layers)
        assert features.deepest.layer == "features.2"
        features(images)  # the first pass is compared with the model itself
        calls.clear()
        features(images)
        assert calls == ["features.0", "features.1", "features.2"]


def test_batches_are_the_whole_and_leave_no_trace() -> None:
    model, images = small_net(), seeded(1, 7, 3, 10, 10)
    features = LayerFeatures(model, ["features.1", "features"], pool="max").train()
    before = hooks(model, features)
    whole, batches = features(images), features.compute(images, batch_size=3)
    for layer in ("features.1", "features"):
        np.testing.assert_allclose(batches[layer], whole[layer], rtol=1e-12, atol=1e-14)
        assert not batches[layer].requires_grad
    with pytest.raises(RuntimeError):
        features(images[:, :2])
    assert hooks(model, features) == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_progress_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captum_shared._progress.EVERY", 0.0)
    features = LayerFeatures(small_net(), ["features"])
    features.compute(seeded(1, 2, 3, 10, 10))
    assert capsys.readouterr().err == ""
    features.compute(seeded(1, 2, 3, 10, 10), progress=True)
    assert "features of the layers: 100%" in capsys.readouterr().err


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.unused = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.both = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.both(self.left(images) + self.right(images))


def test_parallel_branches_need_a_layer_after_them() -> None:
    model = Randomised(0)(Branches)
    with pytest.raises(ValueError, match="'left', 'right' to come after all the others, but none does: name one more"):
        LayerFeatures(model, ["left", "right"])
    assert_equal_one_by_one(model, ("left", "both", "right"), "average", seeded(1, 2, 3, 8, 8))


def test_refusals(as_installed: None) -> None:
    with pytest.raises(TypeError, match=r"sequence of names of layers, got 'features': pass \['features'\]"):
        LayerFeatures(small_net(), "features")
    with pytest.raises(ValueError, match="at least one layer, got none"):
        LayerFeatures(small_net(), [])
    with pytest.raises(ValueError, match=r"no layer 'feature' in SmallNet\. Did you mean features"):
        LayerFeatures(small_net(), ["feature", "features"])
    with pytest.raises(ValueError, match="pool must be one of"):
        LayerFeatures(small_net(), ["features"], pool="mean")
    with pytest.raises(ValueError, match=r"pool='class_token' needs .* 'features\.1' gives"):
        LayerFeatures(small_net(), ["features.1", "features"], pool="class_token")(seeded(1, 2, 3, 10, 10))


class UndecidedBranches(Branches):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if images.sum() < 1e9 else images


def test_a_layer_that_is_never_called() -> None:
    with pytest.raises(ValueError, match=r"never calls 'unused'\. Choose other layers"):
        LayerFeatures(Randomised(0)(UndecidedBranches), ["left", "unused"])(seeded(1, 2, 3, 8, 8))


def test_a_layer_of_several_is_cut_as_by_itself() -> None:
    model = torchvision.models.resnet18().eval()
    several = LayerFeatures(model, ["layer2", "layer3"])
    several.deepest.preprocess = len
    one, alone = several.at("layer2"), LatentFeatures(model, "layer2")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert one.layer == "layer2"
    assert one.preprocess is len
    torch.testing.assert_close(one(images), alone(images), rtol=0, atol=0)
    assert several.double().at("layer2")(images.double()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"no layer 'layer4' in these features\. Did you mean"):
        several.at("layer4")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("squeezenet1_0", ["features.8", "features.9", "features.10", "features", "classifier.1", "classifier.2"]),
        ("resnet18", ["relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]),
        ("mobilenet_v3_small", [*(f"features.{index}" for index in range(7, 12)), "features"]),
    ],
)
def test_depths_to_compare_end_with_the_last_that_has_positions(model: str, expected: list[str]) -> None:
    network = getattr(torchvision.models, model)().eval()
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    layers = several_depths(network, images)
    assert layers == expected
    assert list(LayerFeatures(network, layers)(images)) == expected


def test_a_network_without_positions_has_no_depths_to_compare() -> None:
    with pytest.raises(ValueError, match="No layer of Sequential has positions"):
        several_depths(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), torch.rand(1, 3, 4, 4))
