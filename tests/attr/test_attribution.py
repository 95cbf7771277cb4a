import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import (
    Pair,
    Randomised,
    hand_weights,
    jacobian_maps,
    pair,
    readout,
    relative_error,
    seeded,
    small_net,
    small_similarity,
    squeezenet,
)

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, ParallelSharedAttribution

POOLS = {
    "average": lambda activation: activation.mean((2, 3)),
    "max": lambda activation: activation.amax((2, 3)),
    "none": lambda activation: activation.flatten(1),
}


class Encoder(nn.Module):
    """What LatentFeatures of the small network should be, written down independently."""

    def __init__(self, pool: str = "average", seed: int = 0) -> None:
        super().__init__()
        self.body = small_net(seed).features
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        return POOLS[self.pool](self.body(images))


def check(found: Pair, expected: Pair, tolerance: float) -> None:
    assert expected[0].any()
    assert expected[1].any()
    assert relative_error(found[0], expected[0]) < tolerance
    assert relative_error(found[1], expected[1]) < tolerance


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("target", [0, 3, [2, 1]])
def test_maps_are_the_transposed_jacobian_times_the_shared_weights(
    target: int | list[int], pool: str, centered: bool
) -> None:
    similarity = small_similarity(pool=pool, centered=centered)
    neurons = target if isinstance(target, list) else [target, target]
    found = ParallelSharedAttribution(similarity).attribute(pair(), target=target)
    check(found, jacobian_maps(Encoder(pool), similarity.readout, pair(), neurons), 1e-10)


def test_maps_of_squeezenet_are_those_of_its_full_jacobian() -> None:
    model = squeezenet()
    encoder = nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in encoder.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    images, references = (x.tanh() for x in pair(n=1, size=64))
    leaf = torch.cat((images, references)).requires_grad_()
    activations = encoder(leaf)
    rows = [torch.autograd.grad(activations[:, k].sum(), leaf, retain_graph=True)[0] for k in range(512)]
    jacobians, activations = torch.stack(rows, 1), activations.detach()
    for mean in (activations.mean(0) + seeded(2, 512).abs() / 10, None):
        neurons = LinearReadout(seeded(1, 3, 512), feature_mean=mean)
        method = ParallelSharedAttribution(NeuronSimilarity(LatentFeatures(model, "features"), neurons))
        for neuron in range(3):
            h = hand_weights(*activations, neurons.weight[neuron], neurons.feature_mean)
            expected = torch.einsum("f,xfchw->xchw", h, jacobians)
            check(method.attribute((images, references), target=neuron), (expected[:1], expected[1:]), 1e-10)


def ray_maps(encoder: nn.Module, h: Tensor, images: Tensor, baseline: Tensor, n_steps: int) -> Tensor:
    """Integrated Gradients of x ↦ h·f(x) for one image, step by step with the quadrature of Gauss and Legendre."""
    total = torch.zeros_like(images)
    for node, width in zip(*np.polynomial.legendre.leggauss(n_steps), strict=True):
        x = (baseline + (node + 1) / 2 * (images - baseline)).requires_grad_()
        total += width / 2 * torch.autograd.grad((h * encoder(x)).sum(), x)[0]
    return total * (images - baseline)


def test_integrated_gradients_are_those_of_the_projection_step_by_step() -> None:
    similarity = small_similarity()
    found = ParallelSharedAttribution(similarity, "integrated_gradients").attribute(
        pair(), target=[1, 2], baselines=(0.2, -0.1), n_steps=7
    )
    h = similarity.shared_weights(*pair(), [1, 2])
    for x, baseline, one in zip(pair(), (0.2, -0.1), found, strict=True):
        expected = ray_maps(Encoder(), h, x, torch.full_like(x, baseline), 7)
        assert relative_error(one, expected) < 1e-6  # Captum keeps the widths of the steps in float32


@pytest.mark.parametrize("centered", [True, False])
def test_integrated_gradients_are_complete(centered: bool) -> None:
    similarity = small_similarity(centered=centered)
    method = ParallelSharedAttribution(similarity, "integrated_gradients")
    encoder, inputs = Encoder(), pair(n=6)
    h = similarity.shared_weights(*inputs, 1)
    goals = [(h * (encoder(x) - encoder(torch.zeros_like(x)))).sum(1).detach() for x in inputs]
    errors = []
    for n_steps in (3, 25, 200):
        maps, delta = method.attribute(inputs, target=1, n_steps=n_steps, return_convergence_delta=True)
        missed = [one.sum((1, 2, 3)) - goal for one, goal in zip(maps, goals, strict=True)]
        torch.testing.assert_close(delta, missed[0] + missed[1])
        errors.append(torch.stack(missed).abs().sum())
    assert (delta.abs() < 0.01 * (goals[0].abs() + goals[1].abs())).all()
    assert errors[2] < errors[1] / 3 < errors[0] / 9


JACOBIANS = ["gradient", "integrated_gradients"]


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_swapping_the_images_swaps_the_maps(jacobian: str) -> None:
    method = ParallelSharedAttribution(small_similarity(), jacobian)
    images, references = pair()
    forth, back = method.attribute((images, references), target=2), method.attribute((references, images), target=2)
    check(forth, (back[1], back[0]), 1e-12)


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_swapping_the_images_swaps_the_maps_of_any_pair(seed: int, target: int) -> None:
    method = ParallelSharedAttribution(small_similarity(size=7))
    images, references = pair(seed, n=1, size=7)
    forth = method.attribute((images, references), target=target)
    back = method.attribute((references, images), target=target)
    torch.testing.assert_close(forth, (back[1], back[0]), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_a_batch_is_what_its_pairs_are_one_by_one(jacobian: str) -> None:
    method = ParallelSharedAttribution(small_similarity(), jacobian)
    images, references = pair(n=5)
    targets = [0, 3, 1, 1, 2]
    one_by_one = [method.attribute((images[i, None], references[i, None]), target=targets[i]) for i in range(5)]
    expected = (torch.cat([one[0] for one in one_by_one]), torch.cat([one[1] for one in one_by_one]))
    check(method.attribute((images, references), target=targets), expected, 1e-12)


@pytest.mark.parametrize("target", range(4))
def test_weights_sum_to_the_similarity(target: int) -> None:
    similarity = small_similarity()
    s, h = similarity(*pair()), similarity.shared_weights(*pair(), target)
    torch.testing.assert_close(h.sum(1), s[:, target], rtol=0, atol=1e-12)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_a_neuron_that_uses_nothing_of_an_image_gets_zero_maps(jacobian: str) -> None:
    neurons = LinearReadout(torch.tensor([[1.0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]).double())
    model = small_net()
    with torch.no_grad():
        model.features[2].weight[0] = 0
        model.features[2].bias[0] = -1
    method = ParallelSharedAttribution(NeuronSimilarity(LatentFeatures(model, "features"), neurons), jacobian)
    for one in method.attribute(pair(), target=0):
        assert torch.equal(one, torch.zeros_like(one))
    for one in method.attribute(pair(), target=1):
        assert one.any()


def test_a_pair_without_similarity_leaves_the_others_in_its_batch_alone() -> None:
    similarity = small_similarity(centered=False)
    with torch.no_grad():
        similarity.readout.weight[2] = 0
    method = ParallelSharedAttribution(similarity)
    found = method.attribute(pair(), target=[2, 1])
    expected = method.attribute(tuple(x[1:] for x in pair()), target=1)
    assert not found[0][0].any()
    check((found[0][1:], found[1][1:]), expected, 1e-12)


def test_gradients_times_inputs() -> None:
    similarity = small_similarity()
    plain = ParallelSharedAttribution(similarity).attribute(pair(), target=1)
    times = ParallelSharedAttribution(similarity, multiply_by_inputs=True).attribute(pair(), target=1)
    check(times, (plain[0] * pair()[0], plain[1] * pair()[1]), 1e-14)


def test_integrated_gradients_without_the_inputs_as_a_factor() -> None:
    similarity = small_similarity()
    options = {"target": 1, "baselines": 0.25, "n_steps": 9}
    local = ParallelSharedAttribution(similarity, "integrated_gradients", multiply_by_inputs=False)
    found = local.attribute(pair(), **options)
    whole = ParallelSharedAttribution(similarity, "integrated_gradients").attribute(pair(), **options)
    check(whole, (found[0] * (pair()[0] - 0.25), found[1] * (pair()[1] - 0.25)), 1e-12)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_the_two_images_may_have_different_sizes(jacobian: str) -> None:
    similarity = small_similarity()
    images, references = seeded(1, 2, 3, 32, 32), seeded(2, 2, 3, 40, 24)
    found = ParallelSharedAttribution(similarity, jacobian).attribute((images, references), target=1)
    assert (found[0].shape, found[1].shape) == (images.shape, references.shape)
    h = similarity.shared_weights(images, references, 1)
    for x, one in zip((images, references), found, strict=True):
        if jacobian == "gradient":
            leaf = x.clone().requires_grad_()
            (expected,) = torch.autograd.grad((h * Encoder()(leaf)).sum(), leaf)
            assert relative_error(one, expected) < 1e-10
        else:
            assert relative_error(one, ray_maps(Encoder(), h, x, torch.zeros_like(x), 50)) < 1e-6


class Linear(nn.Module):
    """f(x) = A x with A = (1 1; 0 2), on images of two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[1.0, 1.0], [0.0, 2.0]], dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.matrix.T


def row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).reshape(1, 1, 1, 2)


# f(x) = (3, 4) and f(r) = (4, 3), norms 5 and 5 for w = (1, 1): h = (12, 12)/25, the maps are Aᵀh = (0.48, 0.48 + 0.96)
# w = (1, 0): h = (1, 0), Aᵀh = (1, 1); w = (0, -3): h = (0, 1), Aᵀh = (0, 2)
# with m = (0, 8), w = (1, 1): v = (3, -4), (4, -5): h = (12, 20) / (5 √41)
BY_HAND = [
    ([1.0, 1.0], [0.0, 0.0], [0.48, 1.44]),
    ([1.0, 0.0], [0.0, 0.0], [1.0, 1.0]),
    ([0.0, -3.0], [0.0, 0.0], [0.0, 2.0]),
    ([1.0, 1.0], [0.0, 8.0], [12 / (5 * 41**0.5), 52 / (5 * 41**0.5)]),
]


@pytest.mark.parametrize(("weight", "mean", "expected"), BY_HAND)
def test_a_linear_network_worked_by_hand(weight: list[float], mean: list[float], expected: list[float]) -> None:
    neurons = LinearReadout(torch.tensor([weight]).double(), feature_mean=torch.tensor(mean).double())
    similarity = NeuronSimilarity(Linear(), neurons)
    images, references = row(1, 2), row(2.5, 1.5)
    for found in ParallelSharedAttribution(similarity).attribute((images, references)):
        torch.testing.assert_close(found, row(*expected))
    maps = ParallelSharedAttribution(similarity, "integrated_gradients").attribute((images, references))
    torch.testing.assert_close(maps[0], row(*expected) * images, rtol=1e-6, atol=0)
    torch.testing.assert_close(maps[1], row(*expected) * references, rtol=1e-6, atol=0)


def test_maps_are_not_the_gradient_of_the_similarity() -> None:
    similarity = small_similarity()
    leaves = tuple(x.clone().requires_grad_() for x in pair(n=8))
    gradients = torch.autograd.grad(similarity(*leaves)[:, 1].sum(), leaves)
    maps = ParallelSharedAttribution(similarity).attribute(pair(n=8), target=1)
    for gradient, one in zip(gradients, maps, strict=True):
        assert torch.cosine_similarity(gradient.flatten(1), one.flatten(1)).abs().mean() < 0.6


def test_the_constructor_says_what_it_takes(as_installed: None) -> None:
    with pytest.raises(TypeError, match="must be a NeuronSimilarity, but got Linear"):
        ParallelSharedAttribution(Linear())
    with pytest.raises(
        ValueError, match=r"'gradient', 'integrated_gradients', or an attribution class .* got 'saliency'"
    ):
        ParallelSharedAttribution(small_similarity(), "saliency")


def test_a_network_with_real_weights_shares_more_with_itself_than_with_noise() -> None:
    similarity = NeuronSimilarity(LatentFeatures(squeezenet(), "features"), readout(512, 1, centered=False))
    images = pair(n=1, size=64)[0].tanh()
    same = ParallelSharedAttribution(similarity).attribute((images, images))
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=0)
    torch.testing.assert_close(similarity(images, images), torch.ones(1, 1, dtype=torch.float64))


def test_an_encoder_may_be_any_module() -> None:
    encoder = Randomised(0)(lambda: nn.Sequential(nn.Conv1d(1, 4, 5), nn.Tanh(), nn.AdaptiveAvgPool1d(1), nn.Flatten()))
    similarity = NeuronSimilarity(encoder, readout(4))
    sounds, others = seeded(1, 2, 1, 20), seeded(2, 2, 1, 20)
    h = similarity.shared_weights(sounds, others, 1)
    found = ParallelSharedAttribution(similarity).attribute((sounds, others), target=1)
    for x, one in zip((sounds, others), found, strict=True):
        leaf = x.clone().requires_grad_()
        torch.testing.assert_close(one, torch.autograd.grad((h * encoder(leaf)).sum(), leaf)[0])
