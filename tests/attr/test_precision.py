"""Memory formats, mixed precision and compiled networks, against float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from toys import Pair, pair, readout, seeded, small_net

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
)

CLASSES: dict[str, Callable[[NeuronSimilarity], Any]] = {
    "gradient": ParallelSharedAttribution,
    "integrated": lambda similarity: ParallelSharedAttribution(similarity, "integrated_gradients"),
    "layer": LayerSharedAttribution,
    "correspondence": SharedCorrespondence,
    "refined": PixelSharedCorrespondence,
    "places": lambda similarity: PixelSharedCorrespondence(similarity, refine=False),
}


def similarity_in(dtype: torch.dtype) -> NeuronSimilarity:
    weights = LinearReadout(seeded(5, 4, 5), feature_mean=seeded(6, 5).abs() / 10)
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), weights, any_encoder=True).to(dtype)


def in_dtype(inputs: Pair, dtype: torch.dtype, layout: torch.memory_format = torch.contiguous_format) -> Pair:
    return inputs[0].to(dtype, memory_format=layout), inputs[1].to(dtype, memory_format=layout)


def off(maps: Pair, right: Pair) -> float:
    """The largest difference, as a share of the map."""
    return max(float((one.double() - exact).norm() / exact.norm()) for one, exact in zip(maps, right, strict=True))


@pytest.mark.parametrize("name", CLASSES)
def test_channels_last_gives_the_maps_of_float64(name: str) -> None:
    right = CLASSES[name](similarity_in(torch.float64)).attribute(pair(), [0, 2])
    similarity = similarity_in(torch.float32).to(memory_format=torch.channels_last)
    inputs = in_dtype(pair(), torch.float32, torch.channels_last)
    maps = CLASSES[name](similarity).attribute(inputs, [0, 2])
    assert off(maps, right) < 1e-4
    assert all(one.is_contiguous() for one in maps)


@pytest.mark.parametrize("name", CLASSES)
def test_autocast_gives_the_maps_of_float64_but_for_its_rounding(name: str) -> None:
    right = CLASSES[name](similarity_in(torch.float64)).attribute(pair(), [0, 2])
    method, inputs = CLASSES[name](similarity_in(torch.float32)), in_dtype(pair(), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = method.attribute(inputs, [0, 2])
    assert off(maps, right) < 0.3


@pytest.mark.parametrize("strategy", ["backward", "jacobian"])
def test_autocast_of_many_neurons(strategy: Any) -> None:
    right = ParallelSharedAttribution(similarity_in(torch.float64))
    method, inputs = ParallelSharedAttribution(similarity_in(torch.float32)), in_dtype(pair(), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = list(method.attribute_neurons(inputs, [0, 2], strategy=strategy))
        single = [method.attribute(inputs, neuron) for neuron in (0, 2)]
    for (neuron, each), alone in zip(maps, single, strict=True):
        assert off(each, alone) < 0.02
        assert off(each, right.attribute(pair(), neuron)) < 0.3
        assert each[0].dtype == torch.float32


def test_shared_weights_and_similarities_are_exact_under_autocast() -> None:
    similarity, features = similarity_in(torch.float32), (seeded(1, 2, 5), seeded(2, 2, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = similarity.weigh(features[0].float(), features[1].float(), [0, 2])
        cosines = similarity.of_features(features[0].float(), features[1].float())
    exact = similarity_in(torch.float64)
    torch.testing.assert_close(weights.double(), exact.weigh(*features, [0, 2]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cosines.double(), exact.of_features(*features), rtol=1e-5, atol=1e-6)


def test_a_compiled_encoder_is_refused_in_a_sentence() -> None:
    features = LatentFeatures(small_net(), "features")
    with pytest.raises(ValueError, match=r"features went through torch\.compile.*Give the module that was compiled"):
        NeuronSimilarity(torch.compile(features), readout(5))  # type: ignore[arg-type]


def test_a_module_that_compiles_itself_runs_as_it_is() -> None:
    similarity = similarity_in(torch.float64)
    right = ParallelSharedAttribution(similarity).attribute(pair(), 1)
    similarity.image_features.compile()
    torch.testing.assert_close(ParallelSharedAttribution(similarity).attribute(pair(), 1), right, rtol=0, atol=0)
