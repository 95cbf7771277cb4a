import copy
import functools
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from captum.attr import (
    Attribution,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    FeatureAblation,
    GradientAttribution,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from torch import Tensor, nn
from toys import Pair, Randomised, hooks, pair, readout, seeded, small_net, small_similarity

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
    SharedProjection,
)
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.pairs import checked_pair


def driven(similarity: NeuronSimilarity) -> NeuronSimilarity:
    """The same with a second neuron that the pairs of these tests drive."""
    weight = similarity.readout.weight
    weight[1:2] = weight[:1] + weight[-1:]
    return similarity


METHODS: dict[str, Callable[[NeuronSimilarity], Any]] = {
    "gradient": ParallelSharedAttribution,
    "integrated_gradients": lambda similarity: ParallelSharedAttribution(similarity, "integrated_gradients"),
    "DeepLift": lambda similarity: ParallelSharedAttribution(similarity, DeepLift),
    "GuidedBackprop": lambda similarity: ParallelSharedAttribution(similarity, GuidedBackprop),
    "Saliency": lambda similarity: ParallelSharedAttribution(similarity, Saliency),
    "layer": LayerSharedAttribution,
    "inner layer": lambda similarity: LayerSharedAttribution(similarity, "body.1"),
    "correspondence": lambda similarity: SharedCorrespondence(driven(similarity)),
    "refined": lambda similarity: PixelSharedCorrespondence(driven(similarity)),
    "pixels": lambda similarity: PixelSharedCorrespondence(driven(similarity), refine=False),
}
ONE_PASS = ["gradient", "layer", "inner layer", "correspondence", "refined", "pixels"]
captums_own_warnings = pytest.mark.filterwarnings("ignore:Setting")


class Trained(nn.Module):
    """A network as callers have them: batch norm, dropout, in-place ReLU, and a head after the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.body(images)).mean((2, 3)))


def trained_similarity(model: nn.Module) -> NeuronSimilarity:
    return NeuronSimilarity(LatentFeatures(model, "dropout"), readout(5))


# Subclasses and decorators ----------------------------------------------------------------------------------------


def test_both_are_gradient_attributions_of_captum() -> None:
    similarity = small_similarity()
    method, layer = ParallelSharedAttribution(similarity), LayerSharedAttribution(similarity)
    assert isinstance(method, GradientAttribution)
    assert isinstance(method, Attribution)
    assert isinstance(layer, LayerAttribution)
    assert isinstance(layer, GradientAttribution)
    assert method.forward_func is layer.forward_func is similarity
    assert isinstance(method.projection, SharedProjection)


@pytest.mark.parametrize("kind", [ParallelSharedAttribution, LayerSharedAttribution])
def test_log_usage_is_the_outermost_decorator(kind: type) -> None:
    wrapped = kind.attribute.__wrapped__  # type: ignore[attr-defined]
    assert inspect.getsource(wrapped).lstrip().startswith("@log_usage()\n    def")
    assert wrapped.__name__ == "attribute"
    assert inspect.signature(wrapped) == inspect.signature(kind.attribute)  # type: ignore[attr-defined]


def test_the_undecorated_method_gives_the_same_maps_under_no_grad() -> None:
    method = ParallelSharedAttribution(small_similarity())
    with torch.no_grad():
        found = ParallelSharedAttribution.attribute.__wrapped__(method, pair(), target=1)
    torch.testing.assert_close(found, method.attribute(pair(), target=1), rtol=0, atol=0)


# The pair ---------------------------------------------------------------------------------------------------------

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("jacobian", ["gradient", "integrated_gradients"])
def test_maps_are_like_their_images(jacobian: str, dtype: torch.dtype, device: str) -> None:
    similarity = small_similarity().to(device, dtype)
    images, references = (x.to(device, dtype) for x in pair())
    references = references[..., :8]
    found = ParallelSharedAttribution(similarity, jacobian).attribute((images, references), target=1)
    assert type(found) is tuple
    for one, x in zip(found, (images, references), strict=True):
        assert (one.shape, one.dtype, one.device) == (x.shape, x.dtype, x.device)
        assert not one.requires_grad
        assert one.is_contiguous()
    exact = ParallelSharedAttribution(small_similarity(), jacobian).attribute((pair()[0], pair()[1][..., :8]), target=1)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.2}[dtype]
    for one, right in zip(found, exact, strict=True):
        assert (one.cpu().double() - right).norm() < tolerance * right.norm()


@pytest.mark.parametrize("jacobian", ["gradient", "integrated_gradients", Saliency])
def test_maps_are_contiguous_for_images_that_are_not(jacobian: Any) -> None:
    method = ParallelSharedAttribution(small_similarity(), jacobian)
    images = pair()[0].to(memory_format=torch.channels_last)
    sliced = pair(size=20)[1][:, :, ::2, ::2]
    found = method.attribute((images, sliced), target=1)
    assert all(one.is_contiguous() for one in found)
    expected = method.attribute((images.contiguous(), sliced.contiguous()), target=1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("multiply", [True, False])
def test_maps_of_a_layer_are_contiguous_for_networks_of_any_memory_layout(multiply: bool) -> None:
    similarity = small_similarity().to(memory_format=torch.channels_last)
    inputs = tuple(x.to(memory_format=torch.channels_last) for x in pair())
    for layer in (None, "features.1"):
        method = LayerSharedAttribution(similarity, layer, multiply_by_inputs=multiply)
        assert all(one.is_contiguous() for one in method.attribute(inputs, target=1))


REFUSED = {
    "list": (lambda x, r: [x, r], TypeError, "must be a pair of tensors .* got a list"),
    "tensor": (lambda x, r: x, TypeError, "must be a pair of tensors .* got a Tensor"),
    "three": (lambda x, r: (x, r, r), TypeError, "must be a pair of tensors .* got a tuple of 3"),
    "one": (lambda x, r: (x,), TypeError, "must be a pair of tensors .* got a tuple of 1"),
    "numbers": (lambda x, r: (x, 0.0), TypeError, "must be a pair of tensors"),
    "unequal": (lambda x, r: (x, r[:1]), ValueError, "2 images and 1 references. .*expand_as"),
    "empty": (lambda x, r: (x[:0], r[:0]), ValueError, "at least one pair .* empty"),
    "NaN": (lambda x, r: (x, r * torch.nan), ValueError, "references must be finite"),
    "infinite": (lambda x, r: (x / 0, r), ValueError, "images must be finite"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", ["gradient", "integrated_gradients", "layer", "correspondence", "refined", "pixels"])
def test_anything_but_a_good_pair_is_refused(as_installed: None, kind: str, case: str) -> None:
    spoil, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        METHODS[kind](small_similarity()).attribute(spoil(*pair()), target=1)


def test_whole_number_images_are_refused_with_advice() -> None:
    method = ParallelSharedAttribution(small_similarity())
    with pytest.raises(TypeError, match=r"images must be floating point.*torch.uint8.*\.float\(\).*LayerShared"):
        method.attribute((torch.zeros(1, 3, 10, 10, dtype=torch.uint8), pair(n=1)[1]), target=1)


@pytest.mark.parametrize("kind", ["gradient", "integrated_gradients", "layer", "correspondence", "refined", "pixels"])
def test_a_network_with_broken_weights_is_named_as_the_cause(kind: str) -> None:
    model = small_net()
    similarity = NeuronSimilarity(LatentFeatures(model, "features"), readout(5))
    with torch.no_grad():
        model.features[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"features are not finite .* the network's weights"):
        METHODS[kind](similarity).attribute(pair(), target=1)


# The target -------------------------------------------------------------------------------------------------------


def _gathers_by_int32() -> bool:
    try:
        torch.zeros(1).gather(0, torch.zeros(1, dtype=torch.int32))
    except RuntimeError:
        return False
    return True


BY_INT32 = pytest.mark.skipif(
    not _gathers_by_int32(), reason="this PyTorch, and so Captum, takes indices of 64 bits only"
)
TARGETS = [
    (2, [2, 2]),
    (-1, [3, 3]),
    ((2,), [2, 2]),
    ((-3,), [1, 1]),
    ([3, 0], [3, 0]),
    (torch.tensor(2), [2, 2]),
    (torch.tensor([2]), [2, 2]),
    (torch.tensor([[2]]), [2, 2]),
    (torch.tensor([3, 0]), [3, 0]),
    pytest.param(torch.tensor([3, 0], dtype=torch.int32), [3, 0], marks=BY_INT32),
    ([(3,), (0,)], [3, 0]),
    ([(-1,), (0,)], [3, 0]),
]


@pytest.mark.parametrize(("target", "neurons"), TARGETS, ids=repr)
@pytest.mark.parametrize("kind", ["gradient", "integrated_gradients", "layer", "correspondence", "refined", "pixels"])
def test_every_form_of_target_is_the_neuron_of_each_pair(kind: str, target: Any, neurons: list[int]) -> None:
    method = METHODS[kind](small_similarity())
    images, references = pair()
    each = [method.attribute((images[i, None], references[i, None]), target=neurons[i]) for i in range(2)]
    found = method.attribute((images, references), target=target)
    for side in range(2):
        torch.testing.assert_close(found[side], torch.cat([one[side] for one in each]), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["gradient", "integrated_gradients", "layer", "correspondence", "refined", "pixels"])
def test_a_single_neuron_needs_no_target(kind: str) -> None:
    method = METHODS[kind](small_similarity(n_neurons=1))
    assert torch.equal(method.attribute(pair())[0], method.attribute(pair(), target=0)[0])
    assert torch.equal(method.attribute(pair(), target=None)[1], method.attribute(pair(), target=0)[1])


WRONG = [
    None,
    4,
    -5,
    9,
    (4,),
    (0, 1),
    (),
    (slice(0, 2),),
    [0],
    [0, 1, 2],
    [],
    [0, 9],
    [0, -1],
    [1.5, 0.5],
    [(0,), (9,)],
    [(0,)],
    [(0, 0), (1, 1)],
    1.5,
    {0},
    np.int64(1),
    True,
    torch.tensor([0, 1, 2]),
    torch.tensor([0, 9]),
    torch.tensor(9),
    torch.tensor(1.5),
    torch.tensor([0.0, 1.0]),
    torch.tensor([True, False]),
    torch.tensor([[0, 1]]),
]


@pytest.mark.parametrize("target", WRONG, ids=repr)
def test_a_wrong_target_fails_as_in_captum(as_installed: None, target: Any) -> None:
    similarity = small_similarity()
    leaves = tuple(x.requires_grad_() for x in pair())
    with pytest.raises(Exception) as captums:  # noqa: PT011  (whatever Captum raises)
        Saliency(similarity).attribute(leaves, target=target)
    for build in (METHODS[kind] for kind in ("gradient", "integrated_gradients", "layer", "correspondence", "pixels")):
        with pytest.raises(Exception) as ours:  # noqa: PT011
            build(similarity).attribute(pair(), target=target)
        assert type(ours.value) is type(captums.value)
        assert str(ours.value) == str(captums.value)


# Multiplying by inputs, baselines, steps, deltas --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jacobian", "chosen", "multiplies", "delta"),
    [
        ("gradient", None, False, False),
        ("gradient", True, True, False),
        ("integrated_gradients", None, True, True),
        ("integrated_gradients", False, False, True),
        (DeepLift, None, True, True),
        (DeepLift, False, False, True),
        (Saliency, None, False, False),
        (InputXGradient, None, True, False),
        (GuidedBackprop, None, False, False),
        (GradientShap, None, True, True),
        (Occlusion, None, True, False),
    ],
)
def test_what_an_instance_says_of_itself(jacobian: Any, chosen: bool | None, multiplies: bool, delta: bool) -> None:
    method = ParallelSharedAttribution(small_similarity(), jacobian, multiply_by_inputs=chosen)
    assert method.multiplies_by_inputs is multiplies
    assert method.has_convergence_delta() is delta
    assert NoiseTunnel(method).multiplies_by_inputs is multiplies


def test_a_class_without_the_choice_of_multiplying_says_so() -> None:
    with pytest.raises(ValueError, match=r"jacobian .*, but Saliency fails .*'multiply_by_inputs'"):
        ParallelSharedAttribution(small_similarity(), Saliency, multiply_by_inputs=True)


class Halved(Saliency):
    def attribute(self, inputs: Pair, **options: Any) -> Pair:  # type: ignore[override]
        return tuple(one[:, :, :1, :1] for one in super().attribute(inputs, **options))


class Alone(Saliency):
    def attribute(self, inputs: Pair, **options: Any) -> Tensor:  # type: ignore[override]
        return super().attribute(inputs, **options)[0]


class Unnamed(Saliency):
    """Whose arguments have names of their own."""

    def __init__(self, function: nn.Module, *choices: Any) -> None:
        super().__init__(function)


FACTORIES: dict[str, tuple[Callable[[nn.Module], Attribution], Callable[[nn.Module], Attribution]]] = {
    "class of other names": (Unnamed, Saliency),
    "partial": (functools.partial(DeepLift, multiply_by_inputs=False), DeepLift),
    "function": (lambda f: NoiseTunnel(IntegratedGradients(f)), IntegratedGradients),
}


@captums_own_warnings
@pytest.mark.parametrize("case", FACTORIES)
def test_a_jacobian_is_anything_that_builds_an_attribution(case: str) -> None:
    factory, kind = FACTORIES[case]
    similarity = small_similarity()
    arguments = {"nt_samples": 2, "stdevs": (0.0, 0.0)} if case == "function" else {}
    found = ParallelSharedAttribution(similarity, factory).attribute(pair(), 1, jacobian_arguments=arguments)
    h = similarity.shared_weights(*pair(), 1)
    attribution = kind(Projection(), multiply_by_inputs=False) if case == "partial" else kind(Projection())
    for x, one in zip(pair(), found, strict=True):
        expected = attribution.attribute(x.requires_grad_(), additional_forward_args=(h,))
        torch.testing.assert_close(one, expected.detach(), rtol=1e-6, atol=1e-12)


WRONG_JACOBIANS: dict[str, tuple[Any, str]] = {
    "name": ("DeepLift", "got 'DeepLift'"),
    "nothing": (None, "got None"),
    "module": (nn.ReLU, "ReLU fails .*a ReLU is no Attribution of Captum"),
    "no attribution": (lambda f: f, "a SharedProjection is no Attribution of Captum"),
    "wrong shape": (Halved, r"Halved fails .*shapes \(2, 1, 1, 2\), \(2, 1, 1, 2\) .*got \(2, 1, 1, 1\), "),
    "one map": (Alone, "Alone fails .*two maps .*got a Tensor"),
    "layer": (lambda f: LayerGradCam(f, f.similarity.image_features), "two maps .*got a Tensor"),
    "function in place of a module": (lambda f: DeepLift(f.forward), "fails on a network of two pixels"),
}


@pytest.mark.parametrize("case", WRONG_JACOBIANS)
def test_a_jacobian_that_is_no_attribution_of_two_inputs_is_refused(as_installed: None, case: str) -> None:
    jacobian, message = WRONG_JACOBIANS[case]
    with pytest.raises(ValueError, match=rf"(?s)Expected jacobian to be 'gradient', .*{message}"):
        ParallelSharedAttribution(small_similarity(), jacobian)


def test_trying_a_jacobian_leaves_the_random_state_alone_and_warns_of_nothing() -> None:
    before = torch.get_rng_state()
    for kind in (ShapleyValueSampling, DeepLift, GuidedBackprop):
        ParallelSharedAttribution(small_similarity(), kind)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.inference_mode():
        ParallelSharedAttribution(small_similarity(), Saliency)


@pytest.mark.parametrize("jacobian", [LayerGradCam, GuidedGradCam, NoiseTunnel])
def test_a_class_that_needs_more_than_a_module_is_refused_clearly(jacobian: type) -> None:
    with pytest.raises(ValueError, match=rf"needs nothing but a module.*, but {jacobian.__name__} fails"):
        ParallelSharedAttribution(small_similarity(), jacobian)


def test_plain_gradients_take_no_other_arguments() -> None:
    method = ParallelSharedAttribution(small_similarity())
    for argument in ({"return_convergence_delta": True}, {"n_steps": 3}, {"baselines": 0}):
        with pytest.raises(TypeError, match=next(iter(argument))):
            method.attribute(pair(), target=1, **argument)


@pytest.mark.parametrize(
    ("jacobian", "arguments", "message"),
    [
        (Saliency, {"n_steps": 3}, "Saliency.attribute, but: got an unexpected keyword argument 'n_steps'"),
        (Saliency, {"return_convergence_delta": True}, "Saliency.attribute, but: .*'return_convergence_delta'"),
        (DeepLift, {"jacobian_arguments": {"stdevs": 1}}, "DeepLift.attribute, but: .*'stdevs'"),
        (Occlusion, {}, "Occlusion.attribute, but: missing a required argument: 'sliding_window_shapes'"),
        (
            "integrated_gradients",
            {"jacobian_arguments": {"stdevs": 1}},
            "IntegratedGradients.attribute, but: .*'stdevs'",
        ),
        ("gradient", {"jacobian_arguments": {"stdevs": 1}}, "Plain gradients take no stdevs"),
        (DeepLift, {"baselines": 0, "jacobian_arguments": {"baselines": 0}}, "each argument once, but got baselines"),
    ],
)
def test_arguments_that_a_jacobian_does_not_take_or_lacks_are_told(
    jacobian: Any, arguments: dict[str, Any], message: str
) -> None:
    similarity = small_similarity()
    method = ParallelSharedAttribution(similarity, jacobian)
    similarity.image_features.register_forward_pre_hook(lambda *_: pytest.fail("told only after a pass"))
    with pytest.raises(TypeError, match=message):
        method.attribute(pair(), target=1, **arguments)


def test_the_arguments_are_those_of_integrated_gradients_in_captum() -> None:
    captums = inspect.signature(IntegratedGradients.attribute).parameters
    ours = inspect.signature(ParallelSharedAttribution.attribute).parameters
    shared = ["baselines", "n_steps", "method", "internal_batch_size", "return_convergence_delta"]
    assert {name: ours[name].default for name in shared} == {name: captums[name].default for name in shared}
    added = ["jacobian_arguments", "return_n_steps"]
    assert [name for name, one in ours.items() if one.kind is one.KEYWORD_ONLY] == [*shared, *added]
    assert not any(one.kind is one.VAR_KEYWORD for one in ours.values())


def single(similarity: NeuronSimilarity, h: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The function x ↦ h·f(x) of one image, on an encoder of its own."""
    return lambda x, weights=h: (weights * copy.deepcopy(similarity.image_features)(x)).sum(1)


BASELINES = {
    "none": (None, (0, 0)),
    "number": (0.3, (0.3, 0.3)),
    "whole number": (1, (1, 1)),
    "pair of numbers": ((0.3, -0.2), (0.3, -0.2)),
    "one image for both": (seeded(5, 1, 3, 10, 10), (seeded(5, 1, 3, 10, 10),) * 2),
    "one batch for both": (seeded(5, 2, 3, 10, 10), (seeded(5, 2, 3, 10, 10),) * 2),
    "pair of images": ((seeded(5, 1, 3, 10, 10), seeded(6, 2, 3, 10, 10)),) * 2,
    "image and number": ((seeded(5, 1, 3, 10, 10), 0.4),) * 2,
}


@pytest.mark.parametrize("case", BASELINES)
def test_baselines_are_one_for_both_or_a_pair(case: str) -> None:
    given, each = BASELINES[case]
    similarity = small_similarity()
    method = ParallelSharedAttribution(similarity, "integrated_gradients")
    found, delta = method.attribute(pair(), target=1, baselines=given, n_steps=6, return_convergence_delta=True)
    h = similarity.shared_weights(*pair(), 1)
    missed = torch.zeros(2, dtype=torch.float64)
    for x, baseline, one in zip(pair(), each, found, strict=True):
        f = single(similarity, h)
        expected = IntegratedGradients(f).attribute(x, baselines=baseline, additional_forward_args=h, n_steps=6)
        torch.testing.assert_close(one, expected)
        missed += one.sum((1, 2, 3)) - f(x) + f(torch.zeros_like(x) + baseline)
    torch.testing.assert_close(delta, missed)


@pytest.mark.parametrize("size", [2, 5, 7, 100])
def test_the_internal_batch_size_changes_nothing(size: int) -> None:
    method = ParallelSharedAttribution(small_similarity(), "integrated_gradients")
    options = {"target": [1, 3], "n_steps": 9, "return_convergence_delta": True}
    found, delta = method.attribute(pair(), internal_batch_size=size, **options)
    expected, expected_delta = method.attribute(pair(), **options)
    torch.testing.assert_close((*found, delta), (*expected, expected_delta), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("rule", ["left", "right", "middle", "trapezoid"])
def test_the_rules_of_riemann_are_captums(rule: str) -> None:
    similarity = small_similarity()
    h = similarity.shared_weights(*pair(), 1)
    method = ParallelSharedAttribution(similarity, "integrated_gradients")
    found = method.attribute(pair(), target=1, n_steps=5, method=f"riemann_{rule}")
    ends = {"left": (0, 0.8), "right": (0.2, 1), "middle": (0.1, 0.9), "trapezoid": (0, 1)}[rule]
    for x, one in zip(pair(), found, strict=True):
        expected = torch.zeros_like(x)
        for step, alpha in enumerate(np.linspace(*ends, 5)):
            leaf = (alpha * x).requires_grad_()
            width = 0.1 if rule == "trapezoid" and step in (0, 4) else 0.2
            expected += width * x * torch.autograd.grad(single(similarity, h)(leaf).sum(), leaf)[0]
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-9)


@captums_own_warnings
@pytest.mark.parametrize("jacobian", ["integrated_gradients", DeepLift])
@pytest.mark.parametrize("baselines", [None, 0.2, (0.1, -0.3)])
def test_the_delta_can_be_computed_afterwards_and_is_against_the_projection(jacobian: Any, baselines: Any) -> None:
    similarity = small_similarity()
    method = ParallelSharedAttribution(similarity, jacobian)
    maps, delta = method.attribute(pair(), target=2, baselines=baselines, return_convergence_delta=True)
    torch.testing.assert_close(method.compute_convergence_delta(maps, baselines, pair(), target=2), delta)
    h = similarity.shared_weights(*pair(), 2)
    starts = baselines if isinstance(baselines, tuple) else (baselines or 0, baselines or 0)
    missed = torch.zeros(2, dtype=torch.float64)
    for one, x, start in zip(maps, pair(), starts, strict=True):
        f = single(similarity, h)
        missed += one.sum((1, 2, 3)) - f(x) + f(torch.full_like(x, start))
    torch.testing.assert_close(delta, missed, rtol=1e-6, atol=1e-12)
    against_s = GradientAttribution(similarity).compute_convergence_delta(maps, starts, pair(), target=2)
    assert (delta - against_s).abs().min() > 0.002


# Nothing twice ----------------------------------------------------------------------------------------------------


def counted(similarity: NeuronSimilarity) -> list[str]:
    """What the first convolution of each twin does, and how often each twin runs."""
    calls: list[str] = []
    for name, twin in (("image", similarity.image_features), ("reference", similarity.reference_features)):
        first = next(part for part in twin.modules() if isinstance(part, nn.Conv2d))
        twin.register_forward_hook(lambda *_, name=name: calls.append(f"{name} forward"))
        first.register_forward_hook(lambda *_, name=name: calls.append(f"{name} convolution"))
        first.register_full_backward_hook(lambda *_, name=name: calls.append(f"{name} backward"))
    return calls


@pytest.mark.parametrize(
    ("kind", "n_forward", "n_backward"),
    [
        ("gradient", 1, 1),
        ("layer", 1, 0),
        ("correspondence", 1, 0),
        ("refined", 1, 1),
        ("pixels", 1, 1),
        ("integrated_gradients", 2, 1),  # one for h, and one of all steps together
    ],
)
def test_how_many_passes_each_twin_makes(kind: str, n_forward: int, n_backward: int) -> None:
    similarity = small_similarity()
    explain = METHODS[kind](similarity).attribute
    calls = counted(similarity)
    explain(pair(), target=[1, 3])
    for name in ("image", "reference"):
        made = [calls.count(f"{name} {what}") for what in ("forward", "convolution", "backward")]
        assert made == [n_forward, n_forward, n_backward]


def test_plain_gradients_are_one_call_of_autograd_for_each_image() -> None:
    similarity = small_similarity()
    with (
        mock.patch("torch.autograd.grad", wraps=torch.autograd.grad) as grad,
        mock.patch("torch.autograd.backward", wraps=torch.autograd.backward) as backward,
    ):
        ParallelSharedAttribution(similarity).attribute(pair(), target=[1, 3])
    assert (grad.call_count, backward.call_count) == (2, 0)


@pytest.mark.parametrize("layer", [None, "features.1", "features.0"])
def test_one_pass_gives_the_maps_that_the_methods_give_alone(layer: str | None) -> None:
    similarity = small_similarity()
    found = PairPass.of(similarity, checked_pair(pair()), layer)
    pixels, at_layer = (found.gradients(similarity, [1, 3], sink) for sink in ("images", "activation"))
    torch.testing.assert_close(pixels, ParallelSharedAttribution(similarity).attribute(pair(), [1, 3]), rtol=0, atol=0)
    method = LayerSharedAttribution(similarity, layer, multiply_by_inputs=False)
    torch.testing.assert_close(at_layer, method.attribute(pair(), [1, 3]), rtol=0, atol=0)
    body = small_net().features
    for features, x in zip(found.features, pair(), strict=True):
        torch.testing.assert_close(features.detach(), body(x).mean((2, 3)).detach(), rtol=0, atol=1e-15)
    torch.testing.assert_close(similarity.of_features(*found.features), similarity(*pair()), rtol=0, atol=0)


def test_a_layer_that_is_not_called_or_gives_no_tensor_is_told() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.rows = nn.ReLU(), nn.GRU(10, 5, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            return self.rows(images[:, 0])[0].mean(1)

    similarity = NeuronSimilarity(Randomised(0)(Recurrent), readout(5))
    with pytest.raises(ValueError, match=r"one tensor as its output, but the ReLU is never called. Choose another"):
        LayerSharedAttribution(similarity, "unused").attribute(pair(), 1)
    with pytest.raises(ValueError, match=r"one tensor as its output, but the GRU gives a tuple"):
        LayerSharedAttribution(similarity, "rows").attribute(pair(), 1)


# Nothing of the caller's changes ------------------------------------------------------------------------------------


def world(model: nn.Module, similarity: NeuronSimilarity, inputs: Pair) -> dict[str, Any]:
    """All that a caller could miss afterwards."""
    tensors = [*model.parameters(), *model.buffers(), *similarity.parameters(), *similarity.buffers(), *inputs]
    return {
        "values": [tensor.detach().clone() for tensor in tensors],
        "versions": [tensor._version for tensor in tensors],
        "requires_grad": [tensor.requires_grad for tensor in tensors],
        "grad": [None if tensor.grad is None else tensor.grad.clone() for tensor in tensors],
        "mode": [part.training for module in (model, similarity) for part in module.modules()],
        "modules": [id(part) for module in (model, similarity) for part in module.modules()],
        "inplace": [getattr(part, "inplace", None) for part in model.modules()],
        "attributes": [sorted(vars(part)) for part in model.modules()],
        "hooks": hooks(model, similarity),
        "input hooks": [tensor._backward_hooks for tensor in inputs],
        "random": [torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(np.int64)), random.getstate()],
        "grad mode": [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for what, old in before.items():
        for a, b in zip(old, after[what], strict=True):
            assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, what


@captums_own_warnings
@pytest.mark.parametrize("fails_at", [0, 1, 2])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", METHODS)
def test_nothing_of_the_callers_changes(as_installed: None, kind: str, training: bool, fails_at: int) -> None:
    model = Randomised(0)(Trained).train(training)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.body[1].weight.requires_grad_(False)
    similarity = trained_similarity(model)
    images, references = pair()
    images.requires_grad_()
    images.grad = torch.full_like(images, 3)
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) == fails_at:
            raise KeyboardInterrupt

    similarity.reference_features.cut.register_forward_hook(fail)
    method = METHODS[kind](similarity)
    before = world(model, similarity, (images, references))
    if fails_at and not (kind in ONE_PASS and fails_at == 2):
        with pytest.raises(KeyboardInterrupt):
            method.attribute((images, references), target=1)
    else:
        method.attribute((images, references), target=1)
    assert_same(before, world(model, similarity, (images, references)))


@captums_own_warnings
@pytest.mark.parametrize("kind", METHODS)
def test_maps_are_the_same_after_a_failure(kind: str) -> None:
    similarity = small_similarity(seed=1)
    method = METHODS[kind if kind != "inner layer" else "layer"](similarity)
    expected = method.attribute(pair(), target=1)
    for when in (1, 2, 3):
        calls = []

        def fail(*_: object, calls: list[int] = calls, when: int = when) -> None:
            calls.append(1)
            if len(calls) == when:
                raise KeyboardInterrupt

        handle = similarity.reference_features.cut.register_forward_hook(fail)
        try:
            method.attribute(pair(), target=1)
        except KeyboardInterrupt:
            assert len(calls) == when
        handle.remove()
    torch.testing.assert_close(method.attribute(pair(), target=1), expected, rtol=0, atol=0)


def test_a_network_in_training_mode_is_seen_as_in_evaluation() -> None:
    model = Randomised(0)(Trained)
    images, references = pair()
    found = ParallelSharedAttribution(trained_similarity(model.train())).attribute((images, references), target=1)
    expected = ParallelSharedAttribution(trained_similarity(model.eval())).attribute((images, references), target=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_change_of_dtype_leaves_the_callers_model_its_own() -> None:
    model = Randomised(0)(Trained).float()
    values = copy.deepcopy(model.state_dict())
    similarity = trained_similarity(model)
    for move in (similarity.double, lambda: similarity.to(torch.bfloat16), similarity.float):
        move()
        dtype = similarity.readout.weight.dtype
        found = ParallelSharedAttribution(similarity).attribute(pair(dtype=dtype), target=1)
        assert found[0].dtype == found[1].dtype == dtype
        assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
        assert {value.dtype for value in model.parameters()} == {torch.float32}


# Grad modes -------------------------------------------------------------------------------------------------------


@captums_own_warnings
@pytest.mark.parametrize("kind", METHODS)
def test_works_under_no_grad(kind: str) -> None:
    method = METHODS[kind](trained_similarity(Randomised(0)(Trained)))
    expected = method.attribute(pair(), target=1)
    with torch.no_grad():
        found = method.attribute(pair(), target=1)
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", METHODS)
def test_says_that_inference_mode_will_not_do(kind: str) -> None:
    method = METHODS[kind](trained_similarity(Randomised(0)(Trained)))
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"inference_mode\(\).*torch.no_grad\(\)"):
        method.attribute(pair(), target=1)


@captums_own_warnings
@pytest.mark.parametrize("kind", METHODS)
def test_images_made_in_inference_mode_will_do(kind: str) -> None:
    method = METHODS[kind](trained_similarity(Randomised(0)(Trained)))
    with torch.inference_mode():
        inputs = pair()
    torch.testing.assert_close(method.attribute(inputs, target=1), method.attribute(pair(), target=1), rtol=0, atol=0)
    assert inputs[0].is_inference()


# Any class of Captum in the place of plain gradients ----------------------------------------------------------------


class Projection(nn.Module):
    """x ↦ h·f(x) as a module, on a copy of the encoder that was written down independently."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_net().features

    def forward(self, images: Tensor, h: Tensor) -> Tensor:
        return (h * self.body(images).mean((2, 3))).sum(1)


def windows(*shape: int) -> dict[str, Any]:
    return {"sliding_window_shapes": shape, "strides": (3, 3, 3), "baselines": 0.1}


masks = torch.arange(10).repeat_interleave(10).reshape(1, 1, 10, 10) // 3
distributions = (seeded(7, 3, 3, 10, 10), seeded(8, 3, 3, 10, 10))
CLASSES: dict[str, tuple[type, dict[str, Any], list[dict[str, Any]]]] = {
    "GuidedBackprop": (GuidedBackprop, {}, [{}, {}]),
    "Deconvolution": (Deconvolution, {}, [{}, {}]),
    "InputXGradient": (InputXGradient, {}, [{}, {}]),
    "Saliency": (Saliency, {}, [{}, {}]),
    "signed Saliency": (Saliency, {"abs": False}, [{"abs": False}] * 2),
    "DeepLift": (DeepLift, {}, [{}, {}]),
    "DeepLift, baselines": (DeepLift, {"baselines": (0.3, -0.2)}, [{"baselines": 0.3}, {"baselines": -0.2}]),
    "DeepLift, one baseline": (
        DeepLift,
        {"baselines": distributions[0][:2]},
        [{"baselines": distributions[0][:2]}] * 2,
    ),
    "DeepLiftShap": (DeepLiftShap, {"baselines": distributions}, [{"baselines": b} for b in distributions]),
    "Occlusion": (
        Occlusion,
        {**windows(), "sliding_window_shapes": ((3, 4, 4),) * 2, "strides": ((3, 3, 3),) * 2},
        [windows(3, 4, 4)] * 2,
    ),
    # Captum takes equal numbers in the masks of two inputs for one feature of both, so those of the pair differ
    "FeatureAblation": (FeatureAblation, {"feature_mask": (masks, masks + 4)}, [{"feature_mask": masks}] * 2),
    "IntegratedGradients": (IntegratedGradients, {"n_steps": 8}, [{"n_steps": 8}] * 2),
}


@captums_own_warnings
@pytest.mark.parametrize("case", CLASSES)
def test_any_class_of_captum_is_run_on_the_projection_of_each_image(case: str) -> None:
    kind, together, apart = CLASSES[case]
    similarity = small_similarity()
    found = ParallelSharedAttribution(similarity, kind).attribute(pair(), target=[1, 3], jacobian_arguments=together)
    h = similarity.shared_weights(*pair(), [1, 3])
    for x, options, one in zip(pair(), apart, found, strict=True):
        expected = kind(Projection()).attribute(x.requires_grad_(), additional_forward_args=(h,), **options)
        assert expected.any()
        assert one.dtype == torch.float64
        close = {"rtol": 1e-5, "atol": 1e-9} if kind is Occlusion else {"rtol": 1e-9, "atol": 1e-12}  # it rounds
        torch.testing.assert_close(one, expected.detach().double(), **close)


@captums_own_warnings
def test_deltas_of_other_classes_are_against_the_projection() -> None:
    similarity = small_similarity()
    method = ParallelSharedAttribution(similarity, DeepLiftShap)
    maps, delta = method.attribute(pair(), target=1, baselines=distributions, return_convergence_delta=True)
    assert delta.shape == (6,)
    assert delta.abs().max() < 1e-12
    h = similarity.shared_weights(*pair(), 1)
    for one, x, starts in zip(maps, pair(), distributions, strict=True):
        start = torch.stack([Projection()(starts, h[i].expand(3, -1)).mean() for i in range(2)])
        torch.testing.assert_close(one.sum((1, 2, 3)), Projection()(x, h) - start)


def test_gradient_shap_is_the_expected_gradient_along_random_rays() -> None:
    similarity = small_similarity()
    method = ParallelSharedAttribution(similarity, GradientShap)
    np.random.seed(3)
    found = method.attribute(
        pair(), target=1, baselines=distributions, jacobian_arguments={"n_samples": 4, "stdevs": 0.0}
    )
    np.random.seed(3)
    picked = [torch.from_numpy(np.random.choice(3, 8)) for _ in range(2)]
    alpha = torch.from_numpy(np.random.uniform(0, 1, 8)).reshape(8, 1, 1, 1)
    h = similarity.shared_weights(*pair(), 1).repeat_interleave(4, 0)
    for x, starts, index, one in zip(pair(), distributions, picked, found, strict=True):
        x, start = x.repeat_interleave(4, 0), starts[index]
        leaf = (alpha * x + (1 - alpha) * start).requires_grad_()
        (gradient,) = torch.autograd.grad(Projection()(leaf, h).sum(), leaf)
        expected = (gradient * (x - start)).unflatten(0, (2, 4)).mean(1)
        torch.testing.assert_close(one, expected)


@pytest.fixture(autouse=True)
def _random_states() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield
