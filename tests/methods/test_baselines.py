"""The registry of methods and the one call that they share."""

import importlib.util
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, NoiseTunnel
from scipy import ndimage
from torch import Tensor, nn
from toys import Pair, Randomised, hooks, jacobian_maps, pair, readout, seeded, small_net, small_similarity

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
)
from captum_shared.attr.heatmaps import heatmap
from captum_shared.methods.method import Method
from captum_shared.methods.registry import METHODS, methods_by_name
from captum_shared.methods.sampling import N_SAMPLES, drawn_for
from captum_shared.methods.trivial import gaussian, sobel_magnitude

CAPTUM = "saliency input-x-gradient integrated-gradients grad-cam guided-grad-cam deeplift gradient-shap occlusion"
FAMILIES = {
    "ours": [
        "ours-recommended",
        "ours-correspondence",
        "ours-correspondence-pixels",
        "ours-paper",
        *(f"ours-{maps}" for maps in ("ig", "smoothgrad", "guided", "layer")),
        *(f"ours-{maps}-centred" for maps in ("gradient", "ig", "smoothgrad", "guided", "layer")),
        *(f"ours-{maps}-excitatory" for maps in ("gradient", "ig", "smoothgrad", "guided", "layer")),
    ],
    "neuron": [f"neuron-{name}" for name in CAPTUM.split()],
    "similarity": [
        *(f"similarity-{name}" for name in CAPTUM.split()),
        *(f"cosine-{name}" for name in ("saliency", "integrated-gradients", "grad-cam")),
        "grad-cam-product",
        "cosine-pytorch-grad-cam",
    ],
    "second-order": ["bilrp", "bilrp-centred", "integrated-jacobians"],
    "trivial": ["random", "centre-gaussian", "edge-energy"],
}
PIXELS = {
    "gradient": "ours-correspondence-pixels ours-paper ours-smoothgrad ours-guided ours-gradient-centred "
    "ours-smoothgrad-centred ours-guided-centred ours-gradient-excitatory ours-smoothgrad-excitatory "
    "ours-guided-excitatory neuron-saliency neuron-guided-grad-cam similarity-saliency similarity-guided-grad-cam "
    "cosine-saliency",
    "contribution": "ours-ig ours-ig-centred ours-ig-excitatory neuron-input-x-gradient neuron-integrated-gradients "
    "neuron-deeplift neuron-gradient-shap neuron-occlusion similarity-input-x-gradient "
    "similarity-integrated-gradients similarity-deeplift similarity-gradient-shap similarity-occlusion "
    "cosine-integrated-gradients bilrp bilrp-centred integrated-jacobians",
}
KINDS = dict.fromkeys((name for names in FAMILIES.values() for name in names), "layer") | {
    name: kind for kind, names in PIXELS.items() for name in names.split()
}
NOISY = [name for name in METHODS if name == "random" or "smoothgrad" in name or "gradient-shap" in name]


def similarity_of(readout: LinearReadout) -> NeuronSimilarity:
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), readout)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-300))


def test_every_method_is_there_by_name_and_family() -> None:
    assert {method.family for method in METHODS.values()} == set(FAMILIES)
    for family, names in FAMILIES.items():
        assert [name for name, method in METHODS.items() if method.family == family] == names
    assert all(name == method.name for name, method in METHODS.items())


# The call that all share ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_the_reduction_of_the_attributions_at_the_size_of_each_image(name: str) -> None:
    images, references = pair()[0], seeded(7, 2, 3, 11, 12)
    attributions = METHODS[name].attribute(small_similarity(), (images, references), 1)
    found = METHODS[name].maps(small_similarity(), (images, references), 1)
    for one, attribution, image in zip(found, attributions, (images, references), strict=True):
        assert one.shape == (2, *image.shape[2:])
        assert one.dtype == torch.float64
        assert (one >= 0).all()
        assert one.isfinite().all()
        if "correspondence" not in name and name != "ours-recommended":  # of noise, these show that nothing is shared
            assert (one.flatten(1).sum(1) > 0).all()
        assert not one.requires_grad
        assert torch.equal(one, heatmap(attribution, (image.shape[2], image.shape[3]), kind=KINDS[name]))


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_gives_what_its_pairs_give_one_by_one(name: str) -> None:
    similarity, inputs, target = small_similarity(), pair(n=3), [3, 0, 1]
    found = METHODS[name].attribute(similarity, inputs, target)
    for row, neuron in enumerate(target):
        alone = METHODS[name].attribute(similarity, (inputs[0][row, None], inputs[1][row, None]), neuron)
        for one, each in zip(found, alone, strict=True):
            assert relative(one[row], each[0]) < (1e-6 if "occlusion" in name else 1e-9)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NOISY])
def test_swapping_the_images_swaps_the_maps(name: str) -> None:
    similarity, (images, references) = small_similarity(), pair()
    found = METHODS[name].attribute(similarity, (images, references), 1)
    swapped = METHODS[name].attribute(similarity, (references, images), 1)
    for one, other in zip(found, reversed(swapped), strict=True):
        assert relative(other, one) < 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_nothing_of_the_callers_changes(name: str) -> None:
    body = Randomised(0)(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()))
    features = LatentFeatures(body, "3")
    similarity = NeuronSimilarity(features, readout(4)).train()
    before = {key: value.clone() for key, value in similarity.state_dict().items()}
    inputs = tuple(images.requires_grad_(side == 1) for side, images in enumerate(pair()))
    copies, n_hooks, modes = (
        [x.detach().clone() for x in inputs],
        hooks(similarity),
        [m.training for m in similarity.modules()],
    )
    torch.manual_seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with torch.no_grad():
        METHODS[name].attribute(similarity, inputs, 1)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert all(torch.equal(value, before[key]) for key, value in similarity.state_dict().items())
    assert all(p.grad is None for p in similarity.parameters())
    assert [x.requires_grad for x in inputs] == [False, True]
    assert all(x.grad is None and torch.equal(x.detach(), copy) for x, copy in zip(inputs, copies, strict=True))
    assert hooks(similarity) == n_hooks
    assert [m.training for m in similarity.modules()] == modes


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_the_same_each_time_and_another_for_each_pair(name: str) -> None:
    similarity, (images, references) = small_similarity(), pair()
    torch.manual_seed(0)
    found = METHODS[name].attribute(similarity, (images, references), 1)
    torch.manual_seed(1)
    assert all(map(torch.equal, found, METHODS[name].attribute(similarity, (images, references), 1)))
    moved = METHODS[name].attribute(similarity, (images + 1e-9, references), 1)[0]
    assert relative(moved, found[0]) > 1e-3


def test_the_embedded_network_and_single_precision() -> None:
    from captum_shared.encoders.embedded import embedded_network

    features = LatentFeatures(embedded_network(), "features")
    images, references = (x.sigmoid() for x in pair(n=1, size=40, dtype=torch.float32))
    neurons = LinearReadout(seeded(0, 2, 128), feature_mean=features(references)[0] / 2)
    for name, method in METHODS.items():
        for one in method.maps(NeuronSimilarity(features, neurons), (images, references), 1):
            assert one.dtype == torch.float32
            assert float(one.sum()) > 0, name


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
    name = f"ours-{maps}{features}" if (maps, features) != ("gradient", "") else "ours-paper"
    for one, other in zip(METHODS[name].attribute(given, pair(), 1), OURS[maps](like, pair()), strict=True):
        torch.testing.assert_close(one, other)


def test_the_paper_is_not_centred_even_where_the_readout_is() -> None:
    neurons = readout(5)
    found = METHODS["ours-paper"].attribute(similarity_of(neurons), pair(), 1)
    body = nn.Sequential(small_net().features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    expected = jacobian_maps(body, LinearReadout(neurons.weight), pair(), [1, 1])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_smoothgrad_is_captums_noise_tunnel() -> None:
    similarity, inputs = similarity_of(readout(5, centered=False)), pair(n=1)
    found = METHODS["ours-smoothgrad"].attribute(similarity, inputs, 1)
    stdevs = tuple(0.1 * float(x.max() - x.min()) for x in inputs)
    with drawn_for(*inputs):
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
    assert methods_by_name(["random", mine, "ours-paper"]) == [METHODS["random"], mine, METHODS["ours-paper"]]
    assert methods_by_name() == list(METHODS.values())


def test_a_method_of_ones_own_gets_the_pair_and_a_neuron_for_each() -> None:
    seen: list[object] = []

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        seen.extend([similarity, target.tolist(), similarity.training, torch.is_grad_enabled()])
        seen.extend(images.requires_grad for images in inputs)
        return inputs[0] * target[:, None, None, None], -inputs[1]

    similarity = small_similarity()
    with torch.no_grad():
        found = Method("mine", "neuron", call, kind="gradient").attribute(similarity, pair(), (2,))
    assert seen == [similarity, [2, 2], False, True, True, True]
    assert torch.equal(found[0], 2 * pair()[0])
    assert torch.equal(found[1], -pair()[1])


@pytest.mark.usefixtures("as_installed")
def test_wrong_names_and_families_are_told() -> None:
    with pytest.raises(ValueError, match=r"no method 'neuron-gradcam'. Did you mean neuron-grad-cam"):
        methods_by_name(["ours-paper", "neuron-gradcam"])
    with pytest.raises(ValueError, match=r"no method 'xyz'. There are: ours-recommended, "):
        methods_by_name(["xyz"])
    with pytest.raises(ValueError, match=r"more than once: random"):
        methods_by_name(["random", "ours-paper", "random"])
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
    with pytest.raises(ValueError, match=r"gives shape \(1, 5, 64\), without positions"):
        METHODS[name].attribute(similarity, pair(), 1)


@pytest.mark.parametrize(("name", "package"), [("bilrp", "zennit"), ("cosine-pytorch-grad-cam", "pytorch_grad_cam")])
def test_a_missing_package_is_told_before_and_at_the_call(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"package {package}, .*pip install 'captum-shared\[peers\]'"):
        METHODS[name].attribute(small_similarity(), pair(), 1)
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None if module == package else found(module))
    with pytest.raises(ImportError, match=rf"{name} \(by {package}\).*pip install 'captum-shared\[peers\]'"):
        methods_by_name(["random", name])
    assert name not in [method.name for method in methods_by_name()]
