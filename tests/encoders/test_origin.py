"""Where features come from: what is the same encoder and what is another, and that a readout of another is refused."""

import copy
import hashlib
import json
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from toys import small_net

from captum_shared import LatentFeatures, LayerFeatures, LinearReadout, NeuronSimilarity, fit_readout
from captum_shared.encoders import embedded_network, encoder_by_name, origin_of
from captum_shared.images import rgb_preprocess


def features(seed: int = 0, layer: str = "features.3", pool: str = "average") -> LatentFeatures:
    return LatentFeatures(small_net(seed).float(), layer, pool=pool)


def readout_of(encoder: nn.Module, n_features: int = 0) -> LinearReadout:
    if n_features == 0:
        n_features = encoder(torch.zeros(1, 3, 10, 10)).shape[1]
    return LinearReadout(torch.rand(2, n_features)).with_origin(origin_of(encoder))


def test_the_digest_by_hand() -> None:
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)).double()
    model[0].weight.data, model[0].bias.data = torch.tensor([[0.1, 0.2]]).double() / 3, torch.tensor([0.25]).double()
    each = [
        hashlib.sha256(repr(shape).encode() + np.asarray(values, dtype).tobytes()).digest()
        for shape, values, dtype in (
            ((1, 2), model[0].weight.detach(), "<f8"),
            ((1,), model[0].bias.detach(), "<f4"),
            ((1,), [0], "<f4"),  # once, though both the bias and the mean of the normalisation are zero
            ((1,), [1], "<f4"),
        )
    ]
    assert origin_of(model)["weights"] == hashlib.sha256(b"".join(sorted(each))).hexdigest()


def test_the_same_weights_have_one_digest() -> None:
    encoder = features()
    expected = encoder.origin["weights"]
    assert encoder.origin["network"] == "SmallNet"
    same = {
        "again": features(),
        "copied": copy.deepcopy(encoder),
        "as float64": features().double(),
    }
    same["saved"] = features(1)
    same["saved"].load_state_dict(encoder.state_dict())
    for name, other in same.items():
        assert other.origin["weights"] == expected, name
    assert features().half().origin["weights"] != expected  # rounded
    assert features(1).origin["weights"] != expected
    assert features(layer="features.0").origin["weights"] != expected  # fewer


def test_only_weights_up_to_the_cut_count() -> None:
    model = small_net().float()
    before = LatentFeatures(model, "features.3").origin
    with torch.no_grad():
        list(model.parameters())[-1].add_(1)
    assert LatentFeatures(model, "features.3").origin == before
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert LatentFeatures(model, "features.3").origin["weights"] != before["weights"]


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.sum() > 1e9:
            return images
        return self.head(self.first(images).mean((2, 3)))


def test_only_weights_up_to_the_cut_count_where_a_network_cannot_be_traced() -> None:
    model = Untraceable()
    encoder = LatentFeatures(model, "first")
    encoder.preprocess = rgb_preprocess(16)
    before = encoder.origin["weights"]
    with torch.no_grad():
        model.head.weight.add_(1)
    assert encoder.origin["weights"] == before
    with torch.no_grad():
        model.first.weight.add_(1)
    assert encoder.origin["weights"] != before


def test_it_is_computed_once_and_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = features()
    first = encoder.origin
    with monkeypatch.context() as patch:
        patch.setattr("captum_shared.encoders.origin._digest", None)
        assert encoder.origin == first
    with torch.no_grad():
        next(encoder.parameters()).mul_(2)
    assert encoder.origin["weights"] != first["weights"]


def test_names_and_preprocessing_are_told() -> None:
    encoder = encoder_by_name("embedded", "features")
    origin = encoder.origin
    assert (origin["name"], origin["layer"], origin["pool"]) == ("embedded", "features", "average")
    assert origin["preprocess"][:3] == [3, 112, 112]
    assert json.loads(json.dumps(origin)) == origin
    assert LayerFeatures(small_net(), ["features.0", "features.3"]).at("features.0").origin["preprocess"] is None
    readout = LinearReadout(torch.rand(1, 128)).with_origin(origin)
    assert repr(readout) == "LinearReadout(n_neurons=1, n_features=128, origin=embedded, features)"
    usual = encoder.preprocess

    def other(preprocess: Any) -> LatentFeatures:
        changed = LatentFeatures(embedded_network(), "features")
        changed.preprocess = preprocess
        return changed

    with pytest.raises(ValueError, match=r"expected preprocessing to 112 x 112 pixels .* got to 128 x 128 pixels"):
        NeuronSimilarity(other(rgb_preprocess(128)), readout)
    with pytest.raises(ValueError, match="expected preprocessing"):
        NeuronSimilarity(other(lambda photograph: 2 * usual(photograph)), readout)
    NeuronSimilarity(other(lambda photograph: usual(photograph) + 1e-3), readout)  # another version of a library
    NeuronSimilarity(other(None), readout)  # not known


OTHERS = {
    "weights": (lambda: features(1), r"expected weights [0-9a-f]{12}\.\.\., but got [0-9a-f]{12}\.\.\.\."),
    "layer": (lambda: features(layer="features.2"), "expected .*layer features.3, but got features.2"),
    "pool": (lambda: features(pool="max"), "expected pooling average, but got max"),
    "network": (lambda: nn.Sequential(nn.Flatten()), "expected network SmallNet, but got Sequential; weights"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.usefixtures("as_installed")
def test_a_readout_of_another_encoder_is_refused_and_can_be_allowed(other: str) -> None:
    make, text = OTHERS[other]
    readout = readout_of(features())
    with pytest.raises(ValueError, match=rf"The readout was fitted to features of another encoder: {text}") as raised:
        NeuronSimilarity(make(), readout)
    assert "any_encoder (--any-encoder)" in str(raised.value)
    allowed = NeuronSimilarity(make(), readout, any_encoder=True)
    assert allowed.with_readout(readout).readout is readout
    similarity = NeuronSimilarity(features(), readout)
    with pytest.raises(ValueError, match="another encoder"):
        similarity.with_readout(readout_of(make(), readout.n_features))
    NeuronSimilarity(make(), LinearReadout(readout.weight))  # not recorded


@pytest.mark.usefixtures("as_installed")
def test_a_random_resnet_with_a_readout_of_a_squeezenet_is_refused() -> None:
    squeezenet = LatentFeatures.from_torchvision("squeezenet1_1", weights=None, layer="features")
    photographs = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    readout = fit_readout(squeezenet(photographs), torch.rand(4, 2), center=True).with_origin(squeezenet.origin)
    resnet = LatentFeatures(torchvision.models.resnet18(), "layer4")
    assert resnet(photographs).shape[1] == readout.n_features
    with pytest.raises(
        ValueError, match=r"expected network SqueezeNet, but got ResNet; weights .*; layer features, but"
    ):
        NeuronSimilarity(resnet, readout)


def test_of_two_encoders_one_has_to_be_that_of_the_readout() -> None:
    first, second, third = (nn.Sequential(nn.Flatten(), nn.Linear(12, 3)) for _ in range(3))
    readout = readout_of(second, 3)
    NeuronSimilarity(first, readout, reference_features=second)
    NeuronSimilarity(second, readout, reference_features=first)
    with pytest.raises(ValueError, match="another encoder: expected weights"):
        NeuronSimilarity(first, readout, reference_features=third)
