"""Many threads on one similarity: every result is that of one thread alone."""

import itertools
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from captum.attr import Deconvolution, DeepLift, FeatureAblation, GuidedBackprop, InputXGradient, Saliency
from torch import Tensor, nn
from toys import Pair, Randomised, pair, readout, small_net

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    ReferenceBank,
    SharedCorrespondence,
)
from captum_shared.attr import components, counterpart, significance
from captum_shared.methods import METHODS, explain

pytestmark = [pytest.mark.adversary, pytest.mark.filterwarnings("ignore:Setting")]

N_THREADS = 8
N_CALLS = 4  # of each thread; 500 with --budget 125
N_PAIRS = 3

Call = Callable[[Pair, int], Any]


def attributions(similarity: NeuronSimilarity) -> dict[str, Call]:
    """Every public class, and Captum's behind them, on one similarity."""
    built: dict[str, Any] = {
        "gradient": ParallelSharedAttribution(similarity),
        "integrated gradients": ParallelSharedAttribution(similarity, "integrated_gradients"),
        "inner layer": LayerSharedAttribution(similarity, "features.1"),
        "layer": LayerSharedAttribution(similarity),
        "correspondence": SharedCorrespondence(similarity),
        "refined": PixelSharedCorrespondence(similarity),
        "pixels": PixelSharedCorrespondence(similarity, refine=False),
    }
    for kind in (DeepLift, GuidedBackprop, Deconvolution, Saliency, InputXGradient):
        built[kind.__name__] = ParallelSharedAttribution(similarity, kind)
    built["FeatureAblation"] = ParallelSharedAttribution(similarity, FeatureAblation)
    masks = torch.arange(4).reshape(1, 1, 2, 2).repeat_interleave(5, 2).repeat_interleave(5, 3)
    options = {"FeatureAblation": {"jacobian_arguments": {"feature_mask": (masks, masks + 4)}}}
    return {
        name: lambda inputs, target, name=name, method=method: method.attribute(inputs, target, **options.get(name, {}))
        for name, method in built.items()
    }


def functions(similarity: NeuronSimilarity) -> dict[str, Call]:
    nulls = pair(seed=9, n=9)[0]
    bank = ReferenceBank(similarity, pair(seed=8, n=6)[0], driver_fraction=1.0)
    return {
        "similarity": lambda inputs, target: similarity(*inputs)[:, target].detach(),
        "shared weights": lambda inputs, target: similarity.shared_weights(*inputs, target),
        "features": lambda inputs, target: similarity.image_features(inputs[0]),
        "bank": lambda inputs, target: bank.search(inputs[0], target, 2).similarities,
        "components": lambda inputs, target: components(similarity, inputs, target).image_maps.sum(0),
        "counterpart": lambda inputs, target: counterpart(similarity, inputs, target, point=(4.0, 4.0)).map,
        "significance": lambda inputs, target: (
            significance(similarity, inputs, target, null_references=nulls, level=0.1).z_maps
        ),
    }


def methods(similarity: NeuronSimilarity) -> dict[str, Call]:
    """Every method of the registry, and several at once."""
    calls: dict[str, Call] = {
        name: lambda inputs, target, method=method: method.attribute(similarity, inputs, target)
        for name, method in METHODS.items()
    }
    calls["explain"] = lambda inputs, target: [
        map_ for each in explain(similarity, inputs, target).values() for map_ in each.attributions
    ]
    return calls


def of_a_trace() -> NeuronSimilarity:
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), readout(5))


class Undecided(nn.Module):
    """What it does depends on the data, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.last = nn.Conv2d(4, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.features(images)) if images.sum() < 1e9 else images


def of_a_network_that_cannot_be_traced() -> NeuronSimilarity:
    return NeuronSimilarity(LatentFeatures(Randomised(1)(Undecided), "last"), readout(4))


class Encoder(nn.Module):
    """In training mode, with batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean((2, 3))


def of_an_encoder_in_training_mode() -> NeuronSimilarity:
    return NeuronSimilarity(Randomised(2)(Encoder), readout(4))


def without_a_cut(similarity: NeuronSimilarity) -> dict[str, Call]:
    of_pixels = ParallelSharedAttribution(similarity), ParallelSharedAttribution(similarity, DeepLift)
    of_layer = LayerSharedAttribution(similarity, "features.2")
    return {
        "gradient": of_pixels[0].attribute,
        "DeepLift": of_pixels[1].attribute,
        "layer": of_layer.attribute,
        "similarity": lambda inputs, target: similarity(*inputs)[:, target].detach(),
        "shared weights": lambda inputs, target: similarity.shared_weights(*inputs, target),
    }


TRIALS: dict[str, tuple[Callable[[], NeuronSimilarity], Callable[[NeuronSimilarity], dict[str, Call]]]] = {
    "classes": (of_a_trace, attributions),
    "functions": (of_a_trace, functions),
    "methods": (of_a_trace, methods),
    "not traced": (
        of_a_network_that_cannot_be_traced,
        lambda similarity: {**attributions(similarity), **functions(similarity)},
    ),
    "in training": (of_an_encoder_in_training_mode, without_a_cut),
}


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def flat(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [tensor for part in result for tensor in flat(part)]


def alike(result: Any, expected: list[Tensor]) -> bool:
    found = flat(result)
    return len(found) == len(expected) and all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-9, atol=1e-12)
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("trial", TRIALS)
def test_what_a_thread_gets_does_not_depend_on_the_others(trial: str, budget: int) -> None:
    build, make = TRIALS[trial]
    inputs = [pair(seed=seed, n=1) for seed in range(N_PAIRS)]
    alone, together = make(build()), make(build())
    expected = {
        (name, index): flat(alone[name](inputs[index], 1)) for name, index in itertools.product(alone, range(N_PAIRS))
    }
    wrong: list[str] = []
    start = threading.Barrier(N_THREADS)

    def work(number: int) -> None:
        chosen = random.Random(number)
        start.wait()
        for _ in range(N_CALLS * budget):
            name, index = chosen.choice(list(expected))
            try:
                if not alike(together[name](inputs[index], 1), expected[name, index]):
                    wrong.append(f"{name}: another result")
            except Exception:
                wrong.append(f"{name}: {traceback.format_exc()}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
