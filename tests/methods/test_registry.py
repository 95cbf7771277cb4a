"""The registry of methods and the one call that they share."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, NoiseTunnel
from scipy import ndimage
from torch import Tensor, nn
from toys import Pair, jacobian_maps, pair, readout, seeded, small_net, small_similarity

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
)
from captum_shared.methods.method import Method
from captum_shared.methods.registry import METHODS, methods_by_name
from captum_shared.methods.sampling import N_SAMPLES, drawn_for
from captum_shared.methods.trivial import gaussian, sobel_magnitude


def similarity_of(readout: LinearReadout) -> NeuronSimilarity:
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), readout)


# Ours -----------------------------------------------------------------------------------------------------------------

OURS: dict[str, Callable[[NeuronSimilarity, Pair], Pair]] = {
    "gradient": lambda similarity, x: ParallelSharedAttribution(similarity).attribute(x, 1),
    "ig": lambda similarity, x: ParallelSharedAttribution(similarity, "integrated_gradients").attribute(
        x, 1, baselines=0.5, n_steps=N_SAMPLES
    ),
    "guided": lambda similarity, x: ParallelSharedAttribution(similarity, GuidedBackprop).attribute(x, 1),
    "layer": lambda similarity, x: LayerSharedAttribution(similarity).attribute(x, 1),
}


@pytest.mark.filterwarnings("ignore:Setting backward hooks:UserWarning")
@pytest.mark.parametrize("maps", OURS)
@pytest.mark.parametrize("features", ["", "-centred", "-excitatory"])
def test_ours_is_the_package_itself_with_and_without_the_mean(maps: str, features: str) -> None:
    weight, mean = readout(5).weight, readout(5).feature_mean
    given = similarity_of(LinearReadout(weight, feature_mean=mean))
    neurons = LinearReadout(weight, feature_mean=mean if features else None)
    like = NeuronSimilarity(given.image_features, neurons, excitatory=features == "-excitatory")
    name = f"ours-{maps}{features}" if (maps, features) != ("gradient", "") else "paper"
    for one, other in zip(METHODS[name].attribute(given, pair(), 1), OURS[maps](like, pair()), strict=True):
        torch.testing.assert_close(one, other)


def test_the_paper_is_not_centred_even_where_the_readout_is() -> None:
    neurons = readout(5)
    found = METHODS["paper"].attribute(similarity_of(neurons), pair(), 1)
    body = nn.Sequential(small_net().features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    expected = jacobian_maps(body, LinearReadout(neurons.weight), pair(), [1, 1])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_smoothgrad_is_captums_noise_tunnel() -> None:
    similarity, inputs = similarity_of(readout(5, centered=False)), pair(n=1)
    found = METHODS["ours-smoothgrad"].attribute(similarity, inputs, 1)
    stdevs = tuple(0.1 * float(x.max() - x.min()) for x in inputs)
    with drawn_for(*inputs, numpy=True):
        tunnel = NoiseTunnel(ParallelSharedAttribution(similarity))
        expected = tunnel.attribute(inputs, nt_samples=N_SAMPLES, stdevs=stdevs, target=1)
    assert all(map(torch.equal, found, expected))


# Of both --------------------------------------------------------------------------------------------------------------


def test_the_product_is_of_the_neurons_and_the_cosines_maps_of_the_same_image() -> None:
    both = [METHODS[name].attribute(small_similarity(), pair(), 1) for name in ("neuron-grad-cam", "cosine-grad-cam")]
    found = METHODS["grad-cam-product"].attribute(small_similarity(), pair(), 1)
    for one, neuron, cosine in zip(found, *both, strict=True):
        torch.testing.assert_close(one, neuron.relu() * cosine.relu())
        assert bool((one > 0).any())


# Trivial --------------------------------------------------------------------------------------------------------------


def test_random_is_uniform() -> None:
    images, references = METHODS["random"].attribute(small_similarity(), pair(n=40), 1)
    assert images.shape == references.shape == (40, 1, 10, 10)
    values = torch.cat((images, references)).flatten()
    assert abs(float(values.mean()) - 0.5) < 0.02
    assert abs(float(values.var()) - 1 / 12) < 0.005
    assert len(values.unique()) == len(values)


def test_the_gaussian_is_in_the_centre_and_as_wide_as_the_image() -> None:
    found = gaussian(5, 9)
    assert found[2, 4] == found.max() == 1
    torch.testing.assert_close(found, found.flip(0).flip(1))
    torch.testing.assert_close(found[2, 0].double(), torch.tensor(-0.5 * (4 / 2.25) ** 2).double().exp())
    torch.testing.assert_close(found[0, 4].double(), torch.tensor(-0.5 * (2 / 1.25) ** 2).double().exp())
    maps = METHODS["centre-gaussian"].attribute(small_similarity(), pair(), 1)
    torch.testing.assert_close(maps[1][1, 0], gaussian(10, 10).double())


def test_edges_are_scipys() -> None:
    grey = seeded(0, 2, 7, 9)
    for one, image in zip(sobel_magnitude(grey), grey.numpy(), strict=True):
        expected = np.hypot(ndimage.sobel(image, 0, mode="mirror"), ndimage.sobel(image, 1, mode="mirror"))
        np.testing.assert_allclose(one.numpy(), expected, atol=1e-12)
    images = pair()[0]
    found = METHODS["edge-energy"].attribute(small_similarity(), pair(), 1)[0]
    torch.testing.assert_close(found[:, 0], sobel_magnitude(images.mean(1)))


# Names, methods of one's own, errors ----------------------------------------------------------------------------------


def test_methods_are_looked_up_in_the_order_given() -> None:
    mine = Method("mine", "neuron", lambda similarity, inputs, target: inputs, kind="gradient")
    assert methods_by_name(["random", mine, "paper"]) == [METHODS["random"], mine, METHODS["paper"]]
    assert methods_by_name() == list(METHODS.values())


def test_a_method_of_ones_own_gets_twins_of_its_own_the_pair_and_a_neuron_for_each() -> None:
    seen: list[object] = []
    weights: list[Tensor] = []

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        weights.extend(similarity.parameters())
        similarity.image_features.cut.register_forward_hook(lambda *_: None)
        seen.extend([target.tolist(), similarity.training, torch.is_grad_enabled()])
        seen.extend(images.requires_grad for images in inputs)
        return inputs[0] * target[:, None, None, None], -inputs[1]

    similarity = small_similarity()
    with torch.no_grad():
        found = Method("mine", "neuron", call, kind="gradient").attribute(similarity, pair(), (2,))
    assert seen == [[2, 2], False, True, True, True]
    assert all(one is other for one, other in zip(weights, similarity.parameters(), strict=True))
    assert not similarity.image_features.cut._forward_hooks
    assert torch.equal(found[0], 2 * pair()[0])
    assert torch.equal(found[1], -pair()[1])


@pytest.mark.usefixtures("as_installed")
def test_wrong_names_and_families_are_told() -> None:
    with pytest.raises(ValueError, match=r"no method 'neuron-gradcam'. Did you mean neuron-grad-cam"):
        methods_by_name(["paper", "neuron-gradcam"])
    with pytest.raises(ValueError, match=r"no method 'xyz'. There are: recommended, "):
        methods_by_name(["xyz"])
    with pytest.raises(ValueError, match=r"more than once: random"):
        methods_by_name(["random", "paper", "random"])
    with pytest.raises(ValueError, match=r"must be one of ours, neuron, .*, but got 'mine'"):
        Method("mine", "mine", lambda *_: pair(), kind="layer")  # type: ignore[arg-type]


@pytest.mark.usefixtures("as_installed")
def test_what_is_no_pair_of_maps_is_told() -> None:
    similarity = small_similarity()
    for wrong in (
        lambda *_: (torch.zeros(2, 10, 10),) * 2,
        lambda *_: (torch.zeros(1, 1, 10, 10),) * 2,
        lambda *_: pair()[:1],
    ):
        with pytest.raises(ValueError, match=r"two attributions of shape \(2, channel, height, width\).*'mine'"):
            Method("mine", "neuron", wrong, kind="layer").attribute(similarity, pair(), 1)
    with pytest.raises(TypeError, match="must be a pair"):
        METHODS["random"].attribute(similarity, pair()[0], 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one reference for each image"):
        METHODS["random"].attribute(similarity, (pair()[0], pair()[1][:1]), 1)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("name", [name for name in METHODS if name.endswith(("-cam", "bilrp", "layer"))])
def test_methods_that_need_positions_say_so(name: str) -> None:
    flat = NeuronSimilarity(nn.Sequential(nn.Flatten(), nn.Linear(300, 5).double()), readout(5))
    with pytest.raises(TypeError, match="Expected LatentFeatures, whose cut is a layer, but got Sequential"):
        METHODS[name].attribute(flat, pair(), 1)
    tokens = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(2)).double()
    similarity = NeuronSimilarity(LatentFeatures(tokens, "1", pool="none"), readout(5 * 64))
    with pytest.raises(ValueError, match=r"gives shape \(5, 64\) for each image, without positions"):
        METHODS[name].attribute(similarity, pair(), 1)
