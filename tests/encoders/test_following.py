"""Features follow the model that they were cut from, whatever is done to it, or refuse."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from toys import Randomised, pair, readout, seeded

from captum_shared import LatentFeatures, NeuronSimilarity, ParallelSharedAttribution
from captum_shared.encoders import LayerFeatures
from captum_shared.encoders.twins import tied_copy


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3))
        self.head = nn.Linear(5, 2)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("shift", torch.tensor(0.5))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.named(images).mean((2, 3)))

    def named(self, images: Tensor) -> Tensor:
        return self.body(images * self.scale + self.shift)


class Undecided(Plain):
    """Which cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() < 1e9 else -images)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def parameter(model: Plain) -> None:
    model.body[0].weight = nn.Parameter(-model.body[0].weight.detach())


def parameter_of_the_root(model: Plain) -> None:
    model.scale = nn.Parameter(torch.tensor(3.0, dtype=model.scale.dtype))


def buffer(model: Plain) -> None:
    model.body[1].running_mean = model.body[1].running_mean + 1


def buffer_of_the_root(model: Plain) -> None:
    model.shift = model.shift - 1


def assigned(model: Plain) -> None:
    model.load_state_dict({name: value + 0.5 for name, value in model.state_dict().items()}, assign=True)


def loaded(model: Plain) -> None:
    model.load_state_dict({name: value + 0.5 for name, value in model.state_dict().items()})


def swapped(model: Plain) -> None:
    model.body[3].weight.data = model.body[3].weight.data + 1


def removed_and_set(model: Plain) -> None:
    bias = model.body[0].bias
    del model.body[0].bias
    model.body[0].register_parameter("bias", nn.Parameter(bias.detach() + 1))


CHANGES: list[Callable[[Plain], None]] = [
    *(parameter, parameter_of_the_root, buffer, buffer_of_the_root),
    *(assigned, loaded, swapped, removed_and_set),
]
MODELS = [Plain, Undecided]


def build(kind: type[Plain]) -> Plain:
    model = Randomised(0)(kind).eval()
    assert isinstance(model, Plain)
    return model


def of_the_model(model: Plain, images: Tensor) -> Tensor:
    return model.named(images).mean((2, 3)).detach()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", MODELS)
def test_features_and_twins_follow(kind: type[Plain], change: Callable[[Plain], None]) -> None:
    model, images = build(kind), pair()[0]
    features = LatentFeatures(model, "body")
    similarity = NeuronSimilarity(features, readout(5))
    layers = LayerFeatures(model, ["body.1", "body"])
    old = of_the_model(model, images)
    for found in (features(images), layers(images)["body"], *similarity.latent_features(images, images)):
        torch.testing.assert_close(found, old)
    similarity.shared_weights(images, images, 1), ParallelSharedAttribution(similarity).attribute(pair(), 1)
    change(model)
    new = of_the_model(model, images)
    assert not torch.allclose(new, old)
    for found in (layers(images)["body"], *similarity.latent_features(images, images), features(images)):
        torch.testing.assert_close(found, new)
    torch.testing.assert_close(similarity.reference_features(images), new)
    expected = ParallelSharedAttribution(NeuronSimilarity(LatentFeatures(model, "body"), readout(5)))
    torch.testing.assert_close(
        ParallelSharedAttribution(similarity).attribute(pair(), 1), expected.attribute(pair(), 1)
    )


@pytest.mark.parametrize("first", ["attribution", "twin"])
def test_whoever_is_asked_first_follows_for_all(first: str) -> None:
    model, images = build(Plain), pair()[0]
    similarity = NeuronSimilarity(LatentFeatures(model, "body"), readout(5))
    method = ParallelSharedAttribution(similarity)
    method.attribute(pair(), 1)
    assigned(model)
    if first == "attribution":
        method.attribute(pair(), 1)
    else:
        similarity.reference_features(images)
    for found in (similarity.image_features(images), similarity.reference_features(images)):
        torch.testing.assert_close(found, of_the_model(model, images))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_is_converted_is_followed(kind: type[Plain], dtype: torch.dtype) -> None:
    model, images = build(kind), pair()[0]
    features = LatentFeatures(model, "body")
    features(images)
    model.to(dtype)
    torch.testing.assert_close(features(images.to(dtype)), of_the_model(model, images.to(dtype)))


@pytest.mark.parametrize("kind", MODELS)
def test_features_that_were_converted_stay_so_and_follow_in_their_precision(kind: type[Plain]) -> None:
    model, images = build(kind), pair()[0].float()
    features = LatentFeatures(model, "body")
    features(images.double())
    features.float()
    torch.testing.assert_close(features(images), of_the_model(model, images.double()).float())
    loaded(model)
    found = features(images)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, of_the_model(model, images.double()).float(), rtol=1e-4, atol=1e-4)
    assert model.body[0].weight.dtype is torch.float64


def test_features_of_images_in_another_precision_leave_the_weights_alone() -> None:
    class Casting(Plain):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.to(torch.float32))

    model = Casting()
    features = LatentFeatures(model, "body")
    features(pair()[0])
    assert {tensor.dtype for tensor in features.parameters()} == {torch.float32}


def module(model: Plain) -> None:
    model.body[2] = nn.GELU()


def same_module_anew(model: Plain) -> None:
    model.body[0] = nn.Conv2d(3, 4, 3).double()


def container(model: Plain) -> None:
    model.body = nn.Sequential(*model.body)


def parametrization(model: Plain) -> None:
    parametrize.register_parametrization(model.body[0], "weight", Doubled())


def shape(model: Plain) -> None:
    model.body[3].bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("change", [module, same_module_anew, container, parametrization, shape])
@pytest.mark.parametrize("kind", MODELS)
def test_other_modules_are_refused(kind: type[Plain], change: Callable[[Plain], None]) -> None:
    model, images = build(kind), pair()[0]
    features = LatentFeatures(model, "body")
    similarity = NeuronSimilarity(features, readout(5))
    features(images)
    change(model)
    for call in (lambda: features(images), lambda: similarity(images, images)):
        with pytest.raises(ValueError, match=r"Build LatentFeatures, and what is built on them, anew"):
            call()


@pytest.mark.parametrize("kind", MODELS)
def test_what_comes_after_the_cut_may_be_replaced(kind: type[Plain]) -> None:
    model, images = build(kind), pair()[0]
    features = LatentFeatures(model, "body")
    expected = features(images)
    model.head = nn.Sequential(nn.Linear(5, 7).double())
    torch.testing.assert_close(features(images), expected, rtol=0, atol=0)
    parameter(model)
    torch.testing.assert_close(features(images), of_the_model(model, images))


def test_a_parametrization_from_the_start_is_followed() -> None:
    model, images = build(Plain), pair()[0]
    parametrization(model)
    features = LatentFeatures(model, "body")
    torch.testing.assert_close(features(images), of_the_model(model, images))
    model.body[0].parametrizations.weight.original = nn.Parameter(seeded(4, 4, 3, 3, 3))
    torch.testing.assert_close(features(images), of_the_model(model, images))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("kind", MODELS)
def test_copies_are_on_their_own(kind: type[Plain], again: Callable[[nn.Module], nn.Module]) -> None:
    model, images = build(kind), pair()[0]
    features = LatentFeatures(model, "body")
    old = features(images)
    other, similarity = again(features), again(NeuronSimilarity(features, readout(5)))
    assigned(model)
    module(model)
    torch.testing.assert_close(other(images), old, rtol=0, atol=0)
    for found in similarity.latent_features(images, images):
        torch.testing.assert_close(found, old, rtol=0, atol=0)


def test_a_model_that_nobody_holds_is_let_go() -> None:
    model, images = build(Plain), pair()[0]
    features = LatentFeatures(model, "body")
    expected, gone = of_the_model(model, images), weakref.ref(model)
    features(images)
    del model
    gc.collect()
    assert gone() is None
    torch.testing.assert_close(features(images), expected)


def test_twins_of_any_encoder_take_over_plain_attributes() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor, self.offset = 1.0, torch.zeros(12)

        def forward(self, images: Tensor) -> Tensor:
            return self.factor * images.flatten(1) + self.offset

    encoder, images = Scaled(), torch.rand(2, 3, 2, 2)
    similarity = NeuronSimilarity(encoder, readout(12))
    ParallelSharedAttribution(similarity).attribute((images, images), 1)
    encoder.factor, encoder.offset = 3.0, torch.ones(12)
    for found in similarity.latent_features(images, images):
        torch.testing.assert_close(found, 3 * images.flatten(1) + 1)
    with similarity.own() as own:
        torch.testing.assert_close(own.reference_features(images), 3 * images.flatten(1) + 1)


def test_twins_of_a_recurrent_encoder_follow() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, words: Tensor) -> Tensor:
            return self.rnn(words)[0][:, -1]

    encoder, words = Randomised(0)(Recurrent), seeded(1, 2, 5, 3)
    similarity = NeuronSimilarity(encoder, readout(4))
    ParallelSharedAttribution(similarity).attribute((words, words), 1)
    encoder.load_state_dict({name: -value for name, value in encoder.state_dict().items()}, assign=True)
    expected = encoder(words)
    for found in similarity.latent_features(words, words):
        torch.testing.assert_close(found, expected)


def test_a_copy_with_other_weights_is_on_its_own() -> None:
    model, images = build(Plain), pair()[0]
    features = LatentFeatures(model, "body")
    other = tied_copy(features, lambda tensor: tensor.detach().clone())
    for tensor in other.parameters():
        tensor.data += 0.1
    altered = other(images)  # before the first images of the features themselves
    torch.testing.assert_close(features(images), of_the_model(model, images))
    assigned(model)
    torch.testing.assert_close(other(images), altered, rtol=0, atol=0)
    torch.testing.assert_close(features(images), of_the_model(model, images))
