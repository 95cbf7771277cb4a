"""SharedCorrespondence against loops and Jacobians, on networks of every kind, and as a method of Captum."""

import copy
import gc
import inspect
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from captum.attr import Attribution, GradientAttribution, LayerAttribution, NoiseTunnel
from captum.attr import visualization as viz
from hypothesis import given, settings
from hypothesis import strategies as st
from test_places import Slow
from test_refinement import slow_refined, slow_upsampled
from torch import Tensor, nn
from toys import (
    Pair,
    Randomised,
    Undecided,
    hooks,
    pair,
    readout,
    relative_error,
    seeded,
    small_net,
    small_similarity,
    torchvision_net,
)

from captum_shared import (
    LatentFeatures,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
)
from captum_shared.attr.refinement import refined

MAPS: dict[str, Callable[[NeuronSimilarity], Any]] = {
    "layer": SharedCorrespondence,
    "refined": PixelSharedCorrespondence,
    "pixels": partial(PixelSharedCorrespondence, refine=False),
}


def of_model(model: nn.Module, layer: str, *, size: int = 10, seed: int = 0) -> NeuronSimilarity:
    """Neurons that are driven somewhere: features are measured from their mean over images as those of the tests."""
    features = LatentFeatures(model, layer)
    images = torch.cat(pair(seed, n=4, size=size, dtype=next(model.parameters()).dtype))
    mean = features(images).mean(0).detach()
    weight = seeded(seed + 10, 4, len(mean), dtype=mean.dtype)
    return NeuronSimilarity(features, LinearReadout(weight, feature_mean=mean))


def toy(seed: int = 0) -> NeuronSimilarity:
    return of_model(small_net(seed), "features", seed=seed)


def slow_of(similarity: NeuronSimilarity, network: nn.Module, one: Pair, neuron: int) -> Slow:
    """Loops on the activations of one pair."""
    first, second = (network(x[None])[0].detach() for x in one)
    weight = similarity.readout.weight
    return Slow(first, second, weight[neuron], similarity.readout.feature_mean, weight)


# Against loops and Jacobians ----------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_matrix_and_its_maps_equal_plain_loops(seed: int) -> None:
    similarity = toy(seed)
    images, references = pair(seed)
    references = references[..., :8]
    method = SharedCorrespondence(similarity)
    matrix = method.correspondence((images, references), target=[3, 1])
    maps = method.attribute((images, references), target=[3, 1])
    assert [tuple(one.shape) for one in (matrix, *maps)] == [(2, 9, 6), (2, 1, 3, 3), (2, 1, 3, 2)]
    for i, neuron in enumerate([3, 1]):
        slow = slow_of(similarity, small_net(seed).features, (images[i], references[i]), neuron)
        torch.testing.assert_close(matrix[i], torch.tensor(slow.correspondence(), dtype=torch.float64))
        for one, expected in zip(maps, slow.maps(), strict=True):
            torch.testing.assert_close(one[i], expected)


@pytest.mark.parametrize("target", [0, 2])
def test_pixels_are_the_jacobians_of_each_position_times_its_shared_features(target: int) -> None:
    similarity, network = toy(), small_net().features
    images, references = pair()
    references = references[..., :9]
    found = MAPS["pixels"](similarity).attribute((images, references), target=target)
    for i in range(2):
        shared = slow_of(similarity, network, (images[i], references[i]), target).shared()
        for x, v, one in zip((images[i], references[i]), shared, found, strict=True):
            jacobian = torch.autograd.functional.jacobian(lambda image: network(image[None])[0], x)
            expected = torch.zeros_like(x)
            for row in range(v.shape[1]):
                for column in range(v.shape[2]):
                    for feature in range(v.shape[0]):
                        expected += v[feature, row, column] * jacobian[feature, row, column]
            assert expected.any()
            torch.testing.assert_close(one[i], expected)


def test_refined_maps_are_those_of_the_gradient_of_the_drive_where_the_layer_map_lies() -> None:
    similarity, network = toy(), small_net().features
    images, references = pair()
    references = references[..., :9]
    found = PixelSharedCorrespondence(similarity).attribute((images, references), target=2)
    weight = similarity.readout.weight[2]
    for i in range(2):
        maps = slow_of(similarity, network, (images[i], references[i]), 2).maps()
        for x, layer_map, one in zip((images[i], references[i]), maps, (found[0][i], found[1][i]), strict=True):
            jacobian = torch.autograd.functional.jacobian(lambda image: network(image[None])[0], x)
            gradient = torch.einsum("f,ij,fijchw->chw", weight, layer_map[0], jacobian)
            expected = slow_refined(layer_map[0], x, gradient)
            assert relative_error(expected, slow_upsampled(layer_map[0], x.shape[1:])) > 0.1
            torch.testing.assert_close(one[0], expected)


def test_one_place_is_the_similarity_of_the_paper() -> None:
    """Cut at a single position, pooling hides nothing: the pixel maps are those of the paper times the agreement."""
    model = nn.Sequential(small_net().features, nn.Conv2d(5, 6, 3).double())
    similarity = of_model(model, "1")
    agreed = SharedCorrespondence(similarity).correspondence(pair(), target=1)
    maps = MAPS["pixels"](similarity).attribute(pair(), target=1)
    paper = ParallelSharedAttribution(similarity).attribute(pair(), target=1)
    assert agreed.shape == (2, 1, 1)
    for one, other in zip(maps, paper, strict=True):
        torch.testing.assert_close(one, other * agreed[..., None])


def test_excitatory_features_alone_when_the_similarity_says_so() -> None:
    similarity = toy()
    only = NeuronSimilarity(similarity.image_features, similarity.readout, excitatory=True)
    both, excitatory = (MAPS["pixels"](each).attribute(pair(), target=0) for each in (similarity, only))
    assert not torch.allclose(both[0], excitatory[0])
    v, weight = slow_of(only, small_net().features, (pair()[0][0], pair()[1][0]), 0), only.readout.weight[0]
    signs = [weight[:, None, None] * (a - only.readout.feature_mean[:, None, None]) for a in (v.first, v.second)]
    c = torch.tensor(v.correspondence(), dtype=torch.float64)
    units = [(one / one.norm(dim=0)).clamp(min=0).flatten(1) for one in signs]
    leaf = pair()[0][:1].requires_grad_()
    cut = small_net().features(leaf).flatten(2)[0]
    (expected,) = torch.autograd.grad((cut * units[0] * (units[1] @ c.T)).sum(), leaf)
    torch.testing.assert_close(excitatory[0][:1], expected)


# Properties ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_swapping_the_images_swaps_the_maps(seed: int, target: int) -> None:
    method = SharedCorrespondence(toy())
    images, references = pair(seed, n=1)
    references = references[..., :9]
    there, back = (images, references), (references, images)
    torch.testing.assert_close(method.correspondence(back, target), method.correspondence(there, target).mT)
    for build in MAPS.values():
        maps = build(toy()).attribute(there, target)
        torch.testing.assert_close(build(toy()).attribute(back, target), maps[::-1])


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_both_maps_sum_to_the_agreement(seed: int, target: int) -> None:
    total = SharedCorrespondence(toy()).correspondence(pair(seed), target).sum((1, 2))
    assert bool((total >= 0).all())
    assert bool((total <= 1 + 1e-12).all())
    for build in (SharedCorrespondence, PixelSharedCorrespondence):
        for one in build(toy()).attribute(pair(seed), target):
            torch.testing.assert_close(one.sum((1, 2, 3)), total)
            assert float(one.min()) >= 0


def test_an_image_that_is_alike_all_over_shares_all_with_itself() -> None:
    similarity = toy()
    flat = seeded(1, 6, 3, 1, 1).expand(6, 3, 10, 10)
    found = SharedCorrespondence(similarity).correspondence((flat, flat), target=1)
    drives = (similarity.centered(similarity.image_features(flat)) @ similarity.readout.weight[1]) > 0
    assert 0 < int(drives.sum()) < 6
    torch.testing.assert_close(found, drives[:, None, None] / torch.full((6, 9, 9), 81).double())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("scale", [1e-60, 1e-3, 1e60])
def test_the_unit_of_the_responses_has_no_effect(kind: str, scale: float, dtype: torch.dtype) -> None:
    similarity = toy()
    other = LinearReadout(similarity.readout.weight * scale, feature_mean=similarity.readout.feature_mean)
    expected, found = (
        MAPS[kind](NeuronSimilarity(copy.deepcopy(similarity.image_features).to(dtype), each)).attribute(
            pair(dtype=dtype), 1
        )
        for each in (similarity.readout, other)
    )
    assert expected[0].any()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_the_unit_of_the_features_has_no_effect(scale: float) -> None:
    similarity = toy()
    model = small_net()
    with torch.no_grad():  # ReLUs hand a scale on
        model.features[2].weight *= scale
        model.features[2].bias *= scale
    mean = similarity.readout.feature_mean * scale
    other = NeuronSimilarity(LatentFeatures(model, "features"), LinearReadout(similarity.readout.weight, None, mean))
    for kind, factor in (("layer", 1.0), ("refined", 1.0), ("pixels", scale)):
        expected, found = (MAPS[kind](each).attribute(pair(), 1) for each in (similarity, other))
        torch.testing.assert_close(found, tuple(factor * one for one in expected))


@pytest.mark.parametrize("kind", MAPS)
def test_a_batch_is_its_pairs_one_by_one(kind: str) -> None:
    method = MAPS[kind](toy())
    images, references = pair(n=3)
    maps = method.attribute((images, references), [3, 0, 2])
    for i, neuron in enumerate([3, 0, 2]):
        alone = method.attribute((images[i, None], references[i, None]), neuron)
        torch.testing.assert_close(alone, (maps[0][i, None], maps[1][i, None]))


@pytest.mark.filterwarnings("ignore:.*feature_mean of the readout is zero:UserWarning")
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("silent", ["neuron", "all neurons", "features"])
def test_where_nothing_is_shared_maps_are_zero(silent: str, kind: str) -> None:
    similarity = small_similarity(centered=False)  # features are silent only where their mean is 0
    weight = similarity.readout.weight.clone()
    weight[1 if silent == "neuron" else slice(None)] *= silent == "features"
    other = NeuronSimilarity(similarity.image_features, LinearReadout(weight))
    images, references = pair()
    if silent == "features":
        with torch.no_grad():
            for parameter in other.image_features.parameters():
                parameter.zero_()
    maps = MAPS[kind](other).attribute((images, references), 1)
    assert not any(bool(one.any()) for one in maps)


# Networks of every kind ---------------------------------------------------------------------------------------------


NETWORKS = {
    "squeezenet1_0": "features",
    "resnet18": "layer3",
    "densenet121": "features.denseblock3",
    "googlenet": "inception4a",
    "swin_t": "permute",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_torchvision(name: str) -> None:
    similarity = of_model(torchvision_net(name), NETWORKS[name], size=64)
    images, others = pair(n=1, size=64, dtype=torch.float32)
    inputs = images, 0.8 * images + 0.6 * others
    leaves = inputs[0].clone().requires_grad_(), inputs[1].clone().requires_grad_()
    cuts = [similarity.image_features.network(x) for x in leaves]
    weight, mean = similarity.readout.weight.double(), similarity.readout.feature_mean.double()
    slow = Slow(cuts[0][0].detach().double(), cuts[1][0].detach().double(), weight[1], mean, weight)
    driving = [(weight[1][:, None, None] * layer_map)[None].float() for layer_map in slow.maps()]
    gradients = torch.autograd.grad(cuts, leaves, driving, retain_graph=True)
    expected = torch.autograd.grad(cuts, leaves, [v[None].float() for v in slow.shared()])
    maps = {kind: build(similarity).attribute(inputs, 1) for kind, build in MAPS.items()}
    for side in range(2):
        torch.testing.assert_close(maps["layer"][side][0].double(), slow.maps()[side], rtol=1e-3, atol=1e-6)
        assert relative_error(maps["pixels"][side], expected[side]) < 1e-3
        from_loops = refined(slow.maps()[side][None], inputs[side].double(), gradients[side].double())
        assert relative_error(maps["refined"][side].double(), from_loops) < 1e-3


class Wandering(nn.Module):
    """Cannot be traced; before and after the cut it calls modules that are not on the way to it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.side = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, stride=2)
        self.up = nn.ConvTranspose2d(5, 4, 6)
        self.gate = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.first(images))
        if hidden.sum() > 1e9:
            hidden = hidden * 2
        aside = self.side(hidden)
        gate = self.gate(torch.ones(1, 1, 8, 8, dtype=images.dtype))  # it has no gradient
        return self.up(self.second(hidden * gate)) + aside


@pytest.mark.parametrize("kind", MAPS)
def test_a_network_that_cannot_be_traced(kind: str) -> None:
    model = Randomised(1)(Wandering)
    simple = nn.Sequential(model.first, nn.ReLU(), model.second)
    similarity = of_model(simple, "2")
    expected = MAPS[kind](similarity).attribute(pair(), 1)
    assert expected[0].any()
    method = MAPS[kind](NeuronSimilarity(LatentFeatures(model, "second"), similarity.readout))
    for _ in range(2):  # the first pass is whole, the second stops at the cut
        torch.testing.assert_close(method.attribute(pair(), 1), expected)


def test_a_network_that_cannot_be_traced_and_uses_one_activation_twice() -> None:
    model = Randomised(0)(Undecided)
    similarity = of_model(model, "second")
    simple = of_model(nn.Sequential(model.first, nn.ReLU(), model.second), "2")
    for build in MAPS.values():
        torch.testing.assert_close(build(similarity).attribute(pair(), 1), build(simple).attribute(pair(), 1))


@pytest.mark.parametrize("kind", MAPS)
def test_a_network_set_to_training_is_seen_as_in_evaluation(kind: str) -> None:
    model = Randomised(0)(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 5, 3, stride=2))
    )
    similarity = of_model(model, "3")
    method = MAPS[kind](similarity)
    expected = method.attribute(pair(), 1)
    assert expected[0].any()
    similarity.image_features.network.train()
    torch.testing.assert_close(method.attribute(pair(), 1), expected, rtol=0, atol=0)
    assert similarity.image_features.network.training


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAPS)
def test_only_a_similarity_with_latent_features_that_are_averaged_will_do(as_installed: None, kind: str) -> None:
    with pytest.raises(TypeError, match="similarity must be a NeuronSimilarity, but got Linear"):
        MAPS[kind](nn.Linear(3, 2))
    other = NeuronSimilarity(nn.Sequential(nn.Flatten(), nn.Linear(300, 5).double()), readout(5))
    with pytest.raises(TypeError, match=r"needs LatentFeatures.*is a Sequential.*Cut the network with LatentFeatures"):
        MAPS[kind](other)


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("pool", ["max", "none"])
def test_other_poolings_are_refused(pool: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"needs pool='average', but the encoder has pool='{pool}'.*Fit the readout"):
        MAPS[kind](small_similarity(pool=pool))


@pytest.mark.parametrize("kind", MAPS)
def test_features_that_are_not_centred_are_warned_of_once_with_the_remedy(kind: str) -> None:
    similarity = toy()
    uncentred = NeuronSimilarity(similarity.image_features, LinearReadout(similarity.readout.weight))
    name = "SharedCorrespondence" if kind == "layer" else "PixelSharedCorrespondence"
    with pytest.warns(UserWarning, match=rf"^{name} needs .*feature_mean .* is zero.*center=True") as warned:
        method = MAPS[kind](uncentred)
    assert len(warned) == 1
    method.attribute(pair(), 1)  # any further warning would be an error


def test_one_feature_with_a_mean_is_enough_not_to_be_warned() -> None:
    similarity = toy()
    mean = torch.tensor([0.0, 0, 0, 0, -1e-30], dtype=torch.float64)
    SharedCorrespondence(NeuronSimilarity(similarity.image_features, LinearReadout(seeded(1, 2, 5), feature_mean=mean)))


def test_a_classifier_has_no_positions() -> None:
    similarity = of_model(small_net(), "classifier")
    message = r"needs an activation .*gives shape \(2, 2\)\. Cut the network at a layer with positions"
    with pytest.raises(ValueError, match=message):
        SharedCorrespondence(similarity).correspondence(pair(), 1)
    for build in MAPS.values():
        with pytest.raises(ValueError, match=message):
            build(similarity).attribute(pair(), 1)


@pytest.mark.parametrize("kind", MAPS)
def test_there_is_no_convergence_delta(kind: str) -> None:
    method = MAPS[kind](toy())
    assert not method.has_convergence_delta()
    with pytest.raises(NotImplementedError, match="no convergence delta"):
        method.compute_convergence_delta(pair(), pair(), pair())


@pytest.mark.parametrize("bad", [None, 4, [0], [0, 9], "a"])
def test_a_wrong_target_of_the_matrix_fails_as_that_of_the_maps(as_installed: None, bad: Any) -> None:
    method = SharedCorrespondence(toy())
    with pytest.raises(Exception) as ours:  # noqa: PT011  (whatever Captum raises)
        method.attribute(pair(), bad)
    with pytest.raises(type(ours.value)) as of_matrix:
        method.correspondence(pair(), bad)
    assert str(of_matrix.value) == str(ours.value)


def test_the_matrix_refuses_what_the_maps_refuse(as_installed: None) -> None:
    method = SharedCorrespondence(toy())
    images, references = pair()
    with pytest.raises(TypeError, match="must be a pair of tensors"):
        method.correspondence([images, references], 1)
    with pytest.raises(ValueError, match="2 images and 1 references"):
        method.correspondence((images, references[:1]), 1)
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"):
        method.correspondence((images, references), 1)


# A method of Captum -------------------------------------------------------------------------------------------------


def test_maps_of_the_layer_are_those_of_a_layer_attribution_and_the_others_are_not() -> None:
    similarity = toy()
    method = SharedCorrespondence(similarity)
    assert isinstance(method, LayerAttribution)
    assert method.layer == (similarity.image_features.cut, similarity.reference_features.cut)
    assert not isinstance(PixelSharedCorrespondence(similarity), LayerAttribution)


@pytest.mark.parametrize("kind", MAPS)
def test_it_is_an_attribution_of_captum(kind: str) -> None:
    similarity = toy()
    method = MAPS[kind](similarity)
    assert isinstance(method, GradientAttribution)
    assert isinstance(method, Attribution)
    assert method.forward_func is similarity
    assert method.multiplies_by_inputs
    decorated = type(method).attribute
    assert inspect.getsource(decorated.__wrapped__).lstrip().startswith("@log_usage()\n")
    assert inspect.signature(decorated.__wrapped__) == inspect.signature(decorated)
    with torch.no_grad():
        undecorated = decorated.__wrapped__(method, pair(), 1)
    torch.testing.assert_close(undecorated, method.attribute(pair(), 1), rtol=0, atol=0)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", MAPS)
def test_maps_are_like_their_images(kind: str, dtype: torch.dtype, device: str) -> None:
    images, references = pair()
    references = references[..., :8]
    exact = MAPS[kind](toy()).attribute((images, references), 1)
    similarity = toy().to(device, dtype)
    inputs = images.to(device, dtype).requires_grad_(), references.to(device, dtype)
    found = MAPS[kind](similarity).attribute(inputs, torch.tensor([1, 1], device=device))
    assert type(found) is tuple
    for one, x, right in zip(found, inputs, exact, strict=True):
        assert (one.dtype, one.device) == (x.dtype, x.device)
        assert not one.requires_grad
        assert one.is_contiguous()
        assert one.shape == right.shape
        assert one.shape[2:] == (x.shape[2:] if kind != "layer" else right.shape[2:])
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.2}[dtype]
        assert relative_error(one.cpu().double(), right) < tolerance
    matrix = SharedCorrespondence(similarity).correspondence(inputs, 1)
    wide = torch.promote_types(dtype, torch.float32)  # what a pair of places shares is too little for half precision
    assert (matrix.dtype, matrix.device, matrix.requires_grad) == (wide, inputs[0].device, False)


@pytest.mark.parametrize("kind", MAPS)
def test_images_of_any_memory_layout(kind: str) -> None:
    method = MAPS[kind](toy())
    images = pair()[0].to(memory_format=torch.channels_last)
    sliced = pair(size=20)[1][:, :, ::2, ::2]
    found = method.attribute((images, sliced), 1)
    assert all(one.is_contiguous() for one in found)
    expected = method.attribute((images.contiguous(), sliced.contiguous()), 1)
    torch.testing.assert_close(found, expected)
    method.forward_func.image_features.to(memory_format=torch.channels_last)
    method.forward_func.reference_features.to(memory_format=torch.channels_last)
    torch.testing.assert_close(method.attribute((images, sliced), 1), expected)


@pytest.mark.parametrize("target", [1, [3, 0], torch.tensor([3, 0]), [(3,), (0,)]])
@pytest.mark.parametrize("kind", MAPS)
def test_noise_tunnel_without_noise_changes_nothing(kind: str, target: Any) -> None:
    method = MAPS[kind](toy())
    found = NoiseTunnel(method).attribute(pair(), nt_samples=3, stdevs=(0.0, 0.0), target=target)
    assert found[0].any()
    torch.testing.assert_close(found, method.attribute(pair(), target=target))


def test_noise_tunnel_averages_the_pixel_maps_of_noisy_pairs() -> None:
    method = MAPS["pixels"](toy())
    torch.manual_seed(0)
    found = NoiseTunnel(method).attribute(pair(), nt_samples=4, stdevs=(0.3, 0.1), target=1)
    torch.manual_seed(0)
    repeated = [x.repeat_interleave(4, 0) for x in pair()]
    noisy = [x + torch.normal(0, torch.full(x.shape, sd)) for x, sd in zip(repeated, (0.3, 0.1), strict=True)]
    maps = method.attribute((noisy[0], noisy[1]), 1)
    torch.testing.assert_close(found, tuple(one.unflatten(0, (2, 4)).mean(1) for one in maps))


def test_maps_are_interpolated_and_drawn_by_captum() -> None:
    method = SharedCorrespondence(toy())
    one, other = method.attribute((pair()[0], pair(size=13)[1]), 1)
    assert one.shape == (2, 1, 3, 3)
    assert other.shape == (2, 1, 5, 5)
    large = SharedCorrespondence.interpolate(other, (13, 13), "bilinear")
    torch.testing.assert_close(large, nn.functional.interpolate(other, (13, 13), mode="bilinear", align_corners=False))
    figure, _ = viz.visualize_image_attr(large[0].permute(1, 2, 0).numpy(), method="heat_map", use_pyplot=False)
    assert len(figure.axes) > 0


def test_one_pass_of_each_twin_and_no_hooks_on_the_modules_of_the_caller() -> None:
    similarity = toy()
    calls: list[str] = []
    counts: list[int] = []
    for twin in (similarity.image_features, similarity.reference_features):
        twin.cut.register_forward_hook(lambda *_: calls.append("cut"))
        twin.network.register_forward_hook(lambda *_, twin=twin: counts.append(sum(map(sum, hooks(twin)))))
    resting = sum(map(sum, hooks(similarity.image_features)))
    for kind in MAPS:
        MAPS[kind](similarity).attribute(pair(), 1)
        assert calls == ["cut", "cut"]
        assert counts == [resting] * 2
        calls.clear()
        counts.clear()


# Memory -------------------------------------------------------------------------------------------------------------


def n_tensors() -> int:
    return sum(issubclass(type(one), Tensor) for one in gc.get_objects())


@pytest.mark.parametrize("kind", MAPS)
def test_nothing_is_kept_after_the_call(kind: str) -> None:
    similarity = toy()
    method, matrix = MAPS[kind](similarity), SharedCorrespondence(similarity)
    inputs = pair()
    method.attribute(inputs, 1)
    activations: list[weakref.ref[Tensor]] = []
    for part in similarity.image_features.modules():
        part.register_forward_hook(lambda *call: activations.append(weakref.ref(call[2])))
    gc.collect()
    gc.disable()  # also no cycles that only a collection would free
    try:
        before = n_tensors()
        method.attribute(inputs, 1)
        matrix.correspondence(inputs, 1)
        assert n_tensors() == before
    finally:
        gc.enable()
    assert len(activations) > 8
    assert all(each() is None for each in activations)


def test_maps_at_the_cut_hold_no_activation_before_it() -> None:
    similarity = toy()
    held: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    twin = similarity.image_features
    twin.layer_module("features.1").register_forward_hook(lambda *call: held.append(weakref.ref(call[2])))
    twin.cut.register_forward_hook(lambda *_: alive.append(sum(one() is not None for one in held)))
    method = SharedCorrespondence(similarity)
    method.attribute(pair(), 1)
    method.correspondence(pair(), 1)
    assert (len(held), alive) == (2, [0, 0])
