"""What Captum's methods make of an encoder that sees both images, and of tied twins (METHOD.md, measured fact 1)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import (
    DeepLift,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    InternalInfluence,
    LayerActivation,
    LayerConductance,
    LayerGradCam,
    LayerIntegratedGradients,
    Saliency,
)
from torch import Tensor, nn
from toys import Randomised, pair, readout, relative_error, small_net

from captum_shared import LatentFeatures, NeuronSimilarity, neuron_similarity
from captum_shared.encoders.twins import tied_copy

pytestmark = pytest.mark.filterwarnings("ignore:Setting", "ignore:Input Tensor")


class Encoder(nn.Module):
    """The small network, written out so that nothing of the package is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_net().features
        self.cut = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.cut(self.body(images)).mean((2, 3))


class Compared(nn.Module):
    """The similarity of the features that two encoders, or one encoder twice, give for the images."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.readout = readout(5)

    def features(self, images: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(images), self.second(references)

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        v, r = (f - self.readout.feature_mean for f in self.features(images, references))
        return neuron_similarity(v, r, self.readout.weight)


class Concatenated(Compared):
    def features(self, images: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.first(torch.cat((images, references))).chunk(2)
        return first, second


def shared() -> Compared:
    encoder = Encoder()
    return Compared(encoder, encoder)


def concatenated() -> Compared:
    encoder = Encoder()
    return Concatenated(encoder, encoder)


def independent() -> Compared:
    return Compared(Encoder(), Encoder())


def tied() -> NeuronSimilarity:
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), readout(5))


def places(model: nn.Module, layer: str) -> tuple[nn.Module, nn.Module]:
    """The layer that sees the images and the one that sees the references."""
    if isinstance(model, NeuronSimilarity):
        return model.layer_modules(None if layer == "cut" else layer.replace("body", "features"))
    return model.first.get_submodule(layer), model.second.get_submodule(layer)


STEPS = {"target": 1, "n_steps": 8}
LAYER_METHODS: dict[str, Callable[[nn.Module, nn.Module], Any]] = {
    "LayerGradCam": lambda model, layer: LayerGradCam(model, layer).attribute(pair(), target=1),
    "LayerIntegratedGradients": lambda model, layer: LayerIntegratedGradients(model, layer).attribute(pair(), **STEPS),
    "LayerActivation": lambda model, layer: LayerActivation(model, layer).attribute(pair()),
    "LayerConductance": lambda model, layer: LayerConductance(model, layer).attribute(pair(), **STEPS),
    "InternalInfluence": lambda model, layer: InternalInfluence(model, layer).attribute(pair(), **STEPS),
    "GuidedGradCam": lambda model, layer: GuidedGradCam(model, layer).attribute(pair(), target=1),
}
METHODS: dict[str, Callable[[nn.Module], Any]] = {
    "DeepLift": lambda model: DeepLift(model).attribute(pair(), target=1, baselines=(0.2, 0.1)),
    "GuidedBackprop": lambda model: GuidedBackprop(model).attribute(pair(), target=1),
    "Saliency": lambda model: Saliency(model).attribute(pair(), target=1),
    "IntegratedGradients": lambda model: IntegratedGradients(model).attribute(pair(), **STEPS),
    "InputXGradient": lambda model: InputXGradient(model).attribute(pair(), target=1),
}


def same(found: Any, expected: Any) -> bool:
    found, expected = ((one,) if isinstance(one, Tensor) else one for one in (found, expected))
    assert all(one.any() for one in expected)
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-10, atol=1e-14)
        for a, b in zip(found, expected, strict=True)
    )


# Tied twins: every method is right --------------------------------------------------------------------------------


def test_all_three_compute_the_same_similarity() -> None:
    expected = independent()(*pair())
    for build in (shared, concatenated, tied):
        torch.testing.assert_close(build()(*pair()), expected)


@pytest.mark.parametrize("layer", ["cut", "body.2", "body.0"])
@pytest.mark.parametrize("method", LAYER_METHODS)
def test_layer_methods_on_tied_twins_are_those_on_independent_encoders(method: str, layer: str) -> None:
    run, twins, apart = LAYER_METHODS[method], tied(), independent()
    for ours, theirs in zip(places(twins, layer), places(apart, layer), strict=True):
        assert same(run(twins, ours), run(apart, theirs))


@pytest.mark.parametrize("method", METHODS)
def test_input_methods_on_tied_twins_are_those_on_independent_encoders(method: str) -> None:
    assert same(METHODS[method](tied()), METHODS[method](independent()))


# A shared encoder: Captum's hooks keep the last call only -----------------------------------------------------------


@pytest.mark.parametrize("method", ["LayerGradCam", "LayerActivation", "LayerConductance", "InternalInfluence"])
def test_on_a_shared_encoder_layer_methods_return_the_references_map_only(method: str) -> None:
    run, model, apart = LAYER_METHODS[method], shared(), independent()
    image_map, reference_map = (run(apart, layer) for layer in places(apart, "cut"))
    found = run(model, model.first.cut)
    assert same(found, reference_map)
    assert relative_error(found, image_map) > 0.1


def test_on_a_shared_encoder_layer_integrated_gradients_are_zero() -> None:
    model, apart = shared(), independent()
    expected = LAYER_METHODS["LayerIntegratedGradients"](apart, apart.first.cut)
    assert expected.abs().sum() > 1e-3
    assert LAYER_METHODS["LayerIntegratedGradients"](model, model.first.cut).abs().sum() < 1e-12


def test_on_a_shared_encoder_guided_grad_cam_multiplies_both_gradients_by_the_references_map() -> None:
    run, model, apart = LAYER_METHODS["GuidedGradCam"], shared(), independent()
    by_image, by_reference = (run(apart, layer) for layer in places(apart, "body.2"))
    found = run(model, model.first.body[2])
    assert same(found, by_reference)
    assert relative_error(found[0], by_image[0]) > 0.1


def test_on_a_shared_encoder_deep_lift_raises() -> None:
    with pytest.raises(RuntimeError, match="used more than once"):
        METHODS["DeepLift"](shared())


@pytest.mark.parametrize("method", [name for name in METHODS if name != "DeepLift"])
def test_on_a_shared_encoder_other_input_methods_are_right(method: str) -> None:
    assert same(METHODS[method](shared()), METHODS[method](independent()))


# The two images in one batch: the reference's rows are taken for other examples ---------------------------------------


def test_on_a_concatenated_batch_deep_lift_is_silently_wrong() -> None:
    found, expected = METHODS["DeepLift"](concatenated()), METHODS["DeepLift"](independent())
    for one, right in zip(found, expected, strict=True):
        assert one.shape == right.shape
        assert relative_error(one, right) > 0.1


def test_on_a_concatenated_batch_layer_integrated_gradients_are_silently_wrong() -> None:
    run, model, apart = LAYER_METHODS["LayerIntegratedGradients"], concatenated(), independent()
    found, right = run(model, model.first.cut), torch.cat([run(apart, layer) for layer in places(apart, "cut")])
    assert found.shape == right.shape
    assert relative_error(found, right) > 0.1


@pytest.mark.parametrize("method", ["LayerConductance", "InternalInfluence"])
def test_on_a_concatenated_batch_path_methods_raise(method: str) -> None:
    model = concatenated()
    with pytest.raises(RuntimeError, match="shape"):
        LAYER_METHODS[method](model, model.first.cut)


@pytest.mark.filterwarnings("ignore:Couldn't appropriately interpolate")
def test_on_a_concatenated_batch_guided_grad_cam_is_empty() -> None:
    model = concatenated()
    assert all(one.numel() == 0 for one in LAYER_METHODS["GuidedGradCam"](model, model.first.body[2]))


@pytest.mark.parametrize("method", ["LayerGradCam", "LayerActivation"])
def test_on_a_concatenated_batch_plain_layer_methods_stack_both_maps(method: str) -> None:
    run, model, apart = LAYER_METHODS[method], concatenated(), independent()
    assert same(run(model, model.first.cut), torch.cat([run(apart, layer) for layer in places(apart, "cut")]))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "DeepLift"])
def test_on_a_concatenated_batch_other_input_methods_are_right(method: str) -> None:
    assert same(METHODS[method](concatenated()), METHODS[method](independent()))


# One set of weights -------------------------------------------------------------------------------------------------


def test_a_tied_copy_holds_no_weight_twice() -> None:
    original = Randomised(0)(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU())))
    twin = tied_copy(original)
    for (name, ours), (other, theirs) in zip(original.named_parameters(), twin.named_parameters(), strict=True):
        assert name == other
        assert ours is theirs
        assert ours.data_ptr() == theirs.data_ptr()
    assert all(a is b for a, b in zip(original.buffers(), twin.buffers(), strict=True))
    assert not set(original.modules()) & set(twin.modules())


def test_a_tied_copy_keeps_weights_that_are_tied_within_it_tied() -> None:
    original = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    original[1].weight = original[0].weight
    twin = tied_copy(original)
    assert twin[0].weight is twin[1].weight is original[0].weight


def test_both_twins_see_an_update_of_the_weights() -> None:
    model = small_net()
    similarity = NeuronSimilarity(LatentFeatures(model, "features"), readout(5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    encoder = Encoder()
    encoder.body = copy.deepcopy(model.features)
    for found, x in zip(similarity.latent_features(*pair()), pair(), strict=True):
        torch.testing.assert_close(found, encoder(x))


def test_training_an_encoder_trains_both_twins() -> None:
    encoder = Encoder()
    similarity = NeuronSimilarity(encoder, readout(5))
    similarity(*pair())[:, 0].sum().backward()
    apart = independent()
    apart(*pair())[:, 0].sum().backward()
    for tied_weight, first, second in zip(
        encoder.parameters(), apart.first.parameters(), apart.second.parameters(), strict=True
    ):
        torch.testing.assert_close(tied_weight.grad, first.grad + second.grad)
    torch.optim.SGD(encoder.parameters(), lr=1).step()
    images = pair()[0]
    assert torch.equal(similarity.image_features(images), similarity.reference_features(images))
    torch.testing.assert_close(similarity(images, images), torch.ones(2, 4, dtype=torch.float64))
