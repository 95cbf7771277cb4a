"""Inputs and targets that are not what a network takes: they work, or are told in a sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toys import pair, seeded, small_net

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    ReferenceBank,
    SharedCorrespondence,
)
from captum_shared.attr import components, counterpart, embedding_readout, significance
from captum_shared.encoders import LayerFeatures
from captum_shared.encoders.inputs import inputs_told
from captum_shared.methods import METHODS, explain

pytestmark = [pytest.mark.usefixtures("as_installed"), pytest.mark.filterwarnings("ignore:Setting")]

NAMES = ("cell01", "cell02", "cell03")


def named(names: tuple[str, ...] | None = NAMES) -> NeuronSimilarity:
    readout = LinearReadout(seeded(1, 3, 5), feature_mean=seeded(2, 5).abs(), neuron_names=names)
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), readout)


def flat(result: Any) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else [tensor for part in result for tensor in flat(part)]


def first(target: Any) -> Any:
    return target[0] if isinstance(target, list) else target


BY_TARGET: dict[str, Callable[[NeuronSimilarity, Any], Any]] = {
    "gradient": lambda s, target: ParallelSharedAttribution(s).attribute(pair(), target),
    "IG": lambda s, target: ParallelSharedAttribution(s, "integrated_gradients").attribute(pair(), target),
    "layer": lambda s, target: LayerSharedAttribution(s).attribute(pair(), target),
    "correspondence": lambda s, target: SharedCorrespondence(s).attribute(pair(), target),
    "refined": lambda s, target: PixelSharedCorrespondence(s).attribute(pair(), target),
    "shared weights": lambda s, target: s.shared_weights(*pair(), target),
    "bank": lambda s, target: ReferenceBank(s, pair(5)[0]).search(pair()[0], target).similarities,
    "method": lambda s, target: METHODS["similarity-saliency"].attribute(s, pair(), target),
    "explain": lambda s, target: [each.attributions for each in explain(s, pair(), target).values()],
    "components": lambda s, target: (
        components(s, pair(n=1), target[0] if isinstance(target, list) else target).image_maps
    ),
    "significance": lambda s, target: (
        significance(s, pair(), target, null_references=pair(7, n=9)[0], level=0.1).z_maps
    ),
    "counterpart": lambda s, target: (
        counterpart(s, pair(n=1), target[0] if isinstance(target, list) else target, point=(4.0, 4.0)).map
    ),
}


@pytest.mark.parametrize(("target", "index"), [("cell02", 1), (["cell03", "cell01"], [2, 0]), (("cell03",), (2,))])
@pytest.mark.parametrize("call", BY_TARGET)
def test_neurons_are_found_by_their_names(call: str, target: Any, index: Any) -> None:
    found, expected = (flat(BY_TARGET[call](named(), each)) for each in (target, index))
    assert any(bool(one.any()) for one in expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("call", BY_TARGET)
def test_unknown_names_are_told_with_near_ones(call: str) -> None:
    with pytest.raises(ValueError, match="No neuron is named 'cell2' among 3; close: cell02"):
        BY_TARGET[call](named(), "cell2")
    with pytest.raises(ValueError, match="No neuron is named 'cell02' among 3; close: 0, 1, 2"):
        BY_TARGET[call](named(None), ["cell02", "cell02"])


ENCODERS = {
    "cut": lambda: LatentFeatures(small_net().float(), "features"),
    "own": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
}
WRONG = {
    "half": (lambda x: x.half(), TypeError, r"images are torch.float16, but the network's weights torch.float32"),
    "double": (lambda x: x.double(), TypeError, r"torch.float64.*Convert the images with \.to\(torch.float32\)"),
    "bytes": (lambda x: x.byte(), TypeError, r"uint8|floating point"),
    "array": (lambda x: x.numpy(), TypeError, r"tensor.*ndarray.*torch\.as_tensor"),
    "list": (lambda x: x.tolist(), TypeError, r"tensor.*list.*torch\.as_tensor"),
}
if torch.cuda.is_available():
    WRONG["other device"] = lambda x: x.cuda(), ValueError, r"images are on cuda:0, but the network on cpu"
BY_INPUTS: dict[str, Callable[[NeuronSimilarity, Any], Any]] = {
    "similarity": lambda s, x: s(x, x),
    "shared weights": lambda s, x: s.shared_weights(x, x, 0),
    "bank": lambda s, x: ReferenceBank(s, x),
    "search": lambda s, x: ReferenceBank(s, torch.rand(2, 3, 8, 8)).search(x, 0),
    "gradient": lambda s, x: ParallelSharedAttribution(s).attribute((x, x), 0),
    "IG": lambda s, x: ParallelSharedAttribution(s, "integrated_gradients").attribute((x, x), 0),
    "method": lambda s, x: METHODS["similarity-saliency"].attribute(s, (x, x), 0),
}
OF_FEATURES: dict[str, Callable[[LatentFeatures, Any], Any]] = {
    "features": lambda f, x: f(x),
    "activation": lambda f, x: f.activation(x),
    "embedding": lambda f, x: embedding_readout(f, x),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("call", BY_INPUTS)
def test_inputs_that_a_network_does_not_take_are_told(call: str, encoder: str, wrong: str) -> None:
    spoil, error, message = WRONG[wrong]
    similarity = NeuronSimilarity(ENCODERS[encoder](), LinearReadout(torch.rand(2, 5)))
    with pytest.raises(error, match=message):
        BY_INPUTS[call](similarity, spoil(torch.rand(12, 3, 8, 8)))


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", OF_FEATURES)
def test_features_tell_too(call: str, wrong: str) -> None:
    spoil, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        OF_FEATURES[call](ENCODERS["cut"](), spoil(torch.rand(12, 3, 8, 8)))
    with pytest.raises(error, match=message):
        LayerFeatures(small_net().float(), ["features.1", "features"])(spoil(torch.rand(12, 3, 8, 8)))


def test_an_array_in_a_pair_is_named() -> None:
    images = np.zeros((1, 3, 8, 8), dtype=np.float32)
    with pytest.raises(TypeError, match=r"a tuple of 2 \(ndarray, Tensor\).*torch\.as_tensor"):
        ParallelSharedAttribution(named()).attribute((images, torch.zeros(1, 3, 8, 8)), 0)


def test_another_device_is_told() -> None:
    images = torch.zeros(1, 1, device="meta")
    message = r"images are on meta, but the network on cpu\. Move .*\.to\('cpu'\)"
    with pytest.raises(ValueError, match=message), inputs_told(nn.Linear(1, 1), images):
        raise RuntimeError("Expected all tensors to be on the same device")


def test_a_failure_of_the_network_that_inputs_do_not_explain_is_left_as_it_is() -> None:
    features = LatentFeatures(small_net().float(), "features")
    with pytest.raises(RuntimeError, match="to have 3 channels"):
        features(torch.rand(1, 4, 8, 8))
