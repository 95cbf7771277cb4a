"""What people do with Captum, done with a pair; each answer also computed without Captum."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, LayerGradCam, NoiseTunnel, Occlusion
from captum.attr import visualization as viz
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn
from toys import Pair, Randomised, Undecided, pair, readout, seeded, small_net, small_similarity, torchvision_net

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
)


def encode(images: Tensor) -> Tensor:
    """The features of the small network, without the package."""
    return small_net().features(images).mean((2, 3))


def maps_by_hand(similarity: NeuronSimilarity, inputs: Pair, target: int) -> Pair:
    """Plain-gradient maps of each pair: h from the equation, then one backward pass an image."""
    weight, mean = similarity.readout.weight[target], similarity.readout.feature_mean
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    features = [encode(leaf) for leaf in leaves]
    v, r = (f.detach() - mean for f in features)
    h = weight**2 * v * r / ((weight * v).norm(dim=1) * (weight * r).norm(dim=1))[:, None]
    first, second = (torch.autograd.grad((h * f).sum(), leaf)[0] for f, leaf in zip(features, leaves, strict=True))
    return first, second


# NoiseTunnel --------------------------------------------------------------------------------------------------------

SMOOTHINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "smoothgrad": lambda samples: samples.mean(1),
    "smoothgrad_sq": lambda samples: samples.square().mean(1),
    "vargrad": lambda samples: samples.var(1, unbiased=False),
}


@pytest.mark.parametrize("kind", SMOOTHINGS)
@pytest.mark.parametrize("stdevs", [(0.3, 0.0), (0.1, 0.4), 0.2])
def test_noise_tunnel_smooths_the_maps_of_noisy_pairs(kind: str, stdevs: float | tuple[float, float]) -> None:
    similarity, samples = small_similarity(), 4
    tunnel = NoiseTunnel(ParallelSharedAttribution(similarity))
    torch.manual_seed(0)
    found = tunnel.attribute(pair(), nt_type=kind, nt_samples=samples, stdevs=stdevs, target=1)
    torch.manual_seed(0)
    each = stdevs if isinstance(stdevs, tuple) else (stdevs, stdevs)
    repeated = [x.repeat_interleave(samples, 0) for x in pair()]
    noisy = [x + torch.normal(0, torch.full(x.shape, sd)) for x, sd in zip(repeated, each, strict=True)]
    maps = maps_by_hand(similarity, (noisy[0], noisy[1]), 1)
    for one, raw in zip(found, maps, strict=True):
        torch.testing.assert_close(one, SMOOTHINGS[kind](raw.unflatten(0, (2, samples))), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("target", [1, [3, 0], torch.tensor([3, 0]), [(3,), (0,)]])
def test_noise_tunnel_without_noise_changes_nothing(target: object) -> None:
    for method in (
        ParallelSharedAttribution(small_similarity()),
        ParallelSharedAttribution(small_similarity(), "integrated_gradients"),
        LayerSharedAttribution(small_similarity()),
        LayerSharedAttribution(small_similarity(), "features.1"),
    ):
        found = NoiseTunnel(method).attribute(pair(), nt_samples=3, stdevs=(0.0, 0.0), target=target)
        torch.testing.assert_close(found, method.attribute(pair(), target=target))


def test_noise_tunnel_over_integrated_gradients_with_baselines_and_deltas() -> None:
    method = ParallelSharedAttribution(small_similarity(), "integrated_gradients")
    options = {"target": 1, "baselines": (0.2, seeded(4, 2, 3, 10, 10)), "n_steps": 9, "return_convergence_delta": True}
    found, delta = NoiseTunnel(method).attribute(
        pair(), nt_samples=3, nt_samples_batch_size=2, stdevs=(0.0, 0.0), **options
    )
    expected, expected_delta = method.attribute(pair(), **options)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(delta, torch.cat((expected_delta.repeat_interleave(2), expected_delta)))


def test_noise_tunnel_over_a_class_with_arguments_of_its_own() -> None:
    method = ParallelSharedAttribution(small_similarity(), Occlusion)
    arguments = {"sliding_window_shapes": ((3, 5, 5), (3, 5, 5)), "strides": ((3, 5, 5), (3, 5, 5))}
    options = {"target": 1, "baselines": (0.2, -0.1), "jacobian_arguments": arguments}
    found = NoiseTunnel(method).attribute(pair(), nt_samples=2, stdevs=(0.0, 0.0), **options)
    similarity = small_similarity()
    h = similarity.shared_weights(*pair(), 1)
    for one, x, baseline in zip(found, pair(), (0.2, -0.1), strict=True):
        for corner in ((slice(0, 5), slice(0, 5)), (slice(5, 10), slice(0, 5))):
            hidden = x.clone()
            hidden[:, :, corner[0], corner[1]] = baseline
            lost = (h * (encode(x) - encode(hidden))).sum(1).detach()
            area = one[:, :, corner[0], corner[1]]
            torch.testing.assert_close(area, lost[:, None, None, None].expand_as(area), rtol=1e-5, atol=1e-7)


def test_noise_tunnel_over_a_layer_smooths_the_maps_of_noisy_pairs() -> None:
    similarity = small_similarity()
    torch.manual_seed(0)
    found = NoiseTunnel(LayerSharedAttribution(similarity)).attribute(
        pair(), nt_samples=5, stdevs=(0.3, 0.0), target=1, nt_type="smoothgrad_sq"
    )
    torch.manual_seed(0)
    repeated = [x.repeat_interleave(5, 0) for x in pair()]
    repeated[0] = repeated[0] + torch.normal(0, torch.full(repeated[0].shape, 0.3))
    h = similarity.shared_weights(repeated[0], repeated[1], 1)
    for one, x in zip(found, repeated, strict=True):
        activation = small_net().features(x).detach()
        maps = h[:, :, None, None] * activation / activation[0, 0].numel()
        torch.testing.assert_close(one, maps.unflatten(0, (2, 5)).square().mean(1))


# Metrics ------------------------------------------------------------------------------------------------------------


def noisy(inputs: Pair) -> tuple[Pair, Pair]:
    noise = tuple(0.1 * torch.randn(x.shape, dtype=x.dtype) for x in inputs)
    return noise, tuple(x - n for x, n in zip(inputs, noise, strict=True))


def test_infidelity_is_taken_against_the_projection() -> None:
    similarity, n = small_similarity(), 6
    method = ParallelSharedAttribution(similarity)
    maps, h = method.attribute(pair(), target=1), similarity.shared_weights(*pair(), 1)
    torch.manual_seed(0)
    found = infidelity(method.projection, noisy, pair(), maps, additional_forward_args=h, n_perturb_samples=n)
    torch.manual_seed(0)
    repeated = tuple(x.repeat_interleave(n, 0) for x in pair())
    noise, perturbed = noisy(repeated)
    expected = torch.zeros(2, n, dtype=torch.float64)
    for one, x, moved, shift in zip(maps, repeated, perturbed, noise, strict=True):
        weights = h.repeat_interleave(n, 0)
        change = (weights * (encode(x) - encode(moved))).sum(1).detach()
        expected += ((one.repeat_interleave(n, 0) * shift).sum((1, 2, 3)) - change).unflatten(0, (2, n))
    torch.testing.assert_close(found, expected.square().mean(1))
    torch.manual_seed(0)
    against_s = infidelity(similarity, noisy, pair(), maps, target=1, n_perturb_samples=n)
    assert (against_s > 5 * found).all()


def test_infidelity_is_zero_for_a_linear_network() -> None:
    encoder = Randomised(0)(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(256, 6)))
    similarity = NeuronSimilarity(encoder, readout(6))
    method = ParallelSharedAttribution(similarity)
    maps, h = method.attribute(pair(), target=1), similarity.shared_weights(*pair(), 1)
    assert all(one.abs().max() > 1e-3 for one in maps)
    assert (infidelity(method.projection, noisy, pair(), maps, additional_forward_args=h).abs() < 1e-25).all()
    assert (infidelity(similarity, noisy, pair(), maps, target=1) > 1e-6).all()


def test_sensitivity_is_the_largest_relative_change_of_the_maps() -> None:
    similarity, n, radius = small_similarity(), 4, 0.05
    method = ParallelSharedAttribution(similarity)
    torch.manual_seed(0)
    found = sensitivity_max(method.attribute, pair(), perturb_radius=radius, n_perturb_samples=n, target=1)
    torch.manual_seed(0)
    repeated = [x.repeat_interleave(n, 0) for x in pair()]
    moved = [x + torch.empty(x.shape).uniform_(-radius, radius) for x in repeated]
    flat = [torch.cat([one.flatten(1) for one in maps_by_hand(similarity, x, 1)], 1) for x in (pair(), tuple(moved))]
    changes = [[(flat[1][n * i + j] - flat[0][i]).norm() / flat[0][i].norm() for j in range(n)] for i in range(2)]
    torch.testing.assert_close(found, torch.tensor(changes, dtype=torch.float64).amax(1))


# Captum's methods on the similarity itself ----------------------------------------------------------------------------


def test_grad_cam_of_each_twin_is_its_formula() -> None:
    similarity = small_similarity()
    activations = [small_net().features(x).detach().requires_grad_() for x in pair()]
    weight, mean = similarity.readout.weight[2], similarity.readout.feature_mean
    v, r = (weight * (a.mean((2, 3)) - mean) for a in activations)
    gradients = torch.autograd.grad(torch.cosine_similarity(v, r).sum(), activations)
    for layer, activation, gradient in zip(similarity.layer_modules(), activations, gradients, strict=True):
        expected = (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).detach()
        torch.testing.assert_close(LayerGradCam(similarity, layer).attribute(pair(), target=2), expected)
        relu = LayerGradCam(similarity, layer).attribute(pair(), target=2, relu_attributions=True)
        torch.testing.assert_close(relu, expected.relu())


def test_occlusion_is_what_the_similarity_loses_without_a_window() -> None:
    similarity = small_similarity()
    window = {"sliding_window_shapes": ((3, 5, 5), (3, 5, 5)), "strides": ((3, 5, 5), (3, 5, 5))}
    found = Occlusion(similarity).attribute(pair(), target=1, **window)
    whole = similarity(*pair())[:, 1].detach()
    for side, one in enumerate(found):
        for top in (0, 5):
            for left in (0, 5):
                inputs = [x.clone() for x in pair()]
                inputs[side][:, :, top : top + 5, left : left + 5] = 0
                lost = whole - similarity(*inputs)[:, 1].detach()
                area = one[:, :, top : top + 5, left : left + 5].double()
                torch.testing.assert_close(area, lost[:, None, None, None].expand_as(area), rtol=1e-5, atol=1e-7)


def test_gradient_shap_is_the_expected_gradient_of_the_similarity() -> None:
    similarity, n = small_similarity(), 3
    baselines = (seeded(5, 4, 3, 10, 10), seeded(6, 4, 3, 10, 10))
    np.random.seed(0)
    found = GradientShap(similarity).attribute(pair(), baselines=baselines, n_samples=n, target=1)
    np.random.seed(0)
    starts = [b[torch.from_numpy(np.random.choice(4, 2 * n))] for b in baselines]
    alpha = torch.from_numpy(np.random.uniform(0, 1, 2 * n)).reshape(-1, 1, 1, 1)
    ends = [x.repeat_interleave(n, 0) for x in pair()]
    leaves = [(alpha * x + (1 - alpha) * b).requires_grad_() for x, b in zip(ends, starts, strict=True)]
    v, r = (similarity.readout.weight[1] * (encode(leaf) - similarity.readout.feature_mean) for leaf in leaves)
    gradients = torch.autograd.grad(torch.cosine_similarity(v, r).sum(), leaves)
    for one, gradient, x, b in zip(found, gradients, ends, starts, strict=True):
        torch.testing.assert_close(one, (gradient * (x - b)).unflatten(0, (2, n)).mean(1))


# Visualisation --------------------------------------------------------------------------------------------------------


def normalised(heat: np.ndarray) -> np.ndarray:
    """Scaled so that the smallest values that hold 98 % of all are kept apart and the rest is clipped at one."""
    values = sorted(np.abs(heat).flatten())
    total, kept = 0.0, sum(values) * 0.98
    for value in values:
        total += value
        if total >= kept - 1e-12 * kept:
            break
    return np.clip(heat / value, -1, 1)


def test_captums_visualisation_draws_the_maps_of_a_pair() -> None:
    inputs = tuple(x.sigmoid() for x in pair())
    maps = ParallelSharedAttribution(small_similarity()).attribute(inputs, target=1)
    for one, x in zip(maps, inputs, strict=True):
        pixels, heat = x[0].permute(1, 2, 0).numpy(), one[0].permute(1, 2, 0).numpy()
        methods, signs = ["original_image", "heat_map", "blended_heat_map"], ["all", "all", "positive"]
        figure, axes = viz.visualize_image_attr_multiple(heat, pixels, methods, signs, use_pyplot=False)
        drawn = [[image.get_array() for image in axis.images] for axis in figure.axes[:3]]
        assert len(axes) == 3
        np.testing.assert_array_equal(drawn[0][0], (pixels * 255).astype(int))
        summed = heat.sum(2)
        np.testing.assert_allclose(drawn[1][-1], normalised(summed), atol=1e-12)
        np.testing.assert_allclose(drawn[2][-1], normalised(np.maximum(summed, 0)), atol=1e-12)


# Maps at a layer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [1, [0, 3]])
def test_at_the_cut_the_map_is_the_shared_weight_of_each_active_feature(target: int | list[int]) -> None:
    similarity = small_similarity()
    h = similarity.shared_weights(*pair(), target)
    found = LayerSharedAttribution(similarity).attribute(pair(), target=target)
    for one, x in zip(found, pair(), strict=True):
        torch.testing.assert_close(one, h[:, :, None, None] * small_net().features(x).detach() / 9)
        torch.testing.assert_close(one.sum((1, 2, 3)), (h * encode(x)).sum(1).detach())
        assert one.is_contiguous()
        assert not one.requires_grad


def test_at_the_cut_without_the_activation_the_map_is_the_shared_weight() -> None:
    similarity = small_similarity()
    method = LayerSharedAttribution(similarity, multiply_by_inputs=False)
    assert (method.multiplies_by_inputs, LayerSharedAttribution(similarity).multiplies_by_inputs) == (False, True)
    expected = similarity.shared_weights(*pair(), 1)[:, :, None, None] / 9
    for one in method.attribute(pair(), target=1):
        torch.testing.assert_close(one, expected.expand_as(one))


def layer_maps(model: nn.Module, layer: str, cut: str, h: Tensor, x: Tensor) -> Tensor:
    """Gradient times activation at a layer of the original model, by autograd."""
    kept: list[Tensor] = []

    def keep_output(_: nn.Module, __: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    outputs: list[Tensor] = []
    first = model.get_submodule(layer).register_forward_hook(keep_output)
    last = model.get_submodule(cut).register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    model(x.clone().requires_grad_())
    first.remove()
    last.remove()
    (gradient,) = torch.autograd.grad((h * outputs[-1].mean((2, 3))).sum(), kept[-1])
    return (gradient * kept[-1]).detach()


RESNET_LAYERS = ["conv1", "maxpool", "layer1.0.conv1", "layer1.0.bn2", "layer1.1", "layer2", "layer3.0.downsample"]


@pytest.mark.parametrize("layer", RESNET_LAYERS)
def test_at_any_layer_of_resnet_the_map_is_gradient_times_activation(layer: str) -> None:
    model = torchvision_net("resnet18").double()
    similarity = NeuronSimilarity(LatentFeatures(model, "layer3"), readout(256))
    inputs = pair(n=1, size=48)
    h = similarity.shared_weights(*inputs, 1)
    for one, x in zip(LayerSharedAttribution(similarity, layer).attribute(inputs, target=1), inputs, strict=True):
        torch.testing.assert_close(one, layer_maps(model, layer, "layer3", h, x))


@pytest.mark.parametrize("layer", ["stage2", "stage2.0", "stage2.1.branch2"])
def test_at_a_block_that_ends_in_a_function_the_map_is_gradient_times_activation(layer: str) -> None:
    model = torchvision_net("shufflenet_v2_x0_5").double()
    similarity = NeuronSimilarity(LatentFeatures(model, "stage3"), readout(96))
    inputs = pair(n=1, size=48)
    h = similarity.shared_weights(*inputs, 1)
    for one, x in zip(LayerSharedAttribution(similarity, layer).attribute(inputs, target=1), inputs, strict=True):
        torch.testing.assert_close(one, layer_maps(model, layer, "stage3", h, x))


def test_at_a_layer_of_a_model_that_cannot_be_traced_the_map_is_gradient_times_activation() -> None:
    model = Randomised(0)(Undecided)
    similarity = NeuronSimilarity(LatentFeatures(model, "second"), readout(4))
    h = similarity.shared_weights(*pair(), 1)
    for one, x in zip(LayerSharedAttribution(similarity, "first").attribute(pair(), target=1), pair(), strict=True):
        torch.testing.assert_close(one, layer_maps(model, "first", "second", h, x))


class Overwriting(nn.Module):
    """Calls one convolution twice and overwrites its output, as encoders do that are no LatentFeatures."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        once = self.relu(self.again(self.relu(self.first(images))))
        return self.relu(self.again(once)).mean((2, 3))


@pytest.mark.parametrize("layer", ["first", "again"])
def test_at_a_layer_that_is_overwritten_or_called_twice_the_map_is_of_its_last_output(layer: str) -> None:
    encoder = Randomised(2)(Overwriting)
    similarity = NeuronSimilarity(encoder, readout(4))
    h = similarity.shared_weights(*pair(), 1)
    times = LayerSharedAttribution(similarity, layer).attribute(pair(), target=1)
    plain = LayerSharedAttribution(similarity, layer, multiply_by_inputs=False).attribute(pair(), target=1)
    for one, other, x in zip(times, plain, pair(), strict=True):
        first = encoder.first(x)
        last = encoder.again(encoder.again(first.relu()).relu())
        activation = (first if layer == "first" else last).detach().requires_grad_()
        rest = encoder.again(encoder.again(activation.relu()).relu()) if layer == "first" else activation
        (gradient,) = torch.autograd.grad((h * rest.relu().mean((2, 3))).sum(), activation)
        assert bool((activation < 0).any())
        torch.testing.assert_close(one, gradient * activation.detach())
        torch.testing.assert_close(other, gradient)


def test_maps_at_a_layer_are_brought_to_the_size_of_the_image() -> None:
    similarity = small_similarity()
    coarse = LayerSharedAttribution(similarity).attribute(pair(), target=1)[0].sum(1, keepdim=True)
    fine = LayerSharedAttribution.interpolate(coarse, (10, 10))
    nearest = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert torch.equal(fine, coarse[:, :, nearest][:, :, :, nearest])


def test_layer_maps_of_images_of_two_sizes() -> None:
    similarity = small_similarity()
    images, references = seeded(1, 2, 3, 32, 32), seeded(2, 2, 3, 40, 24)
    h = similarity.shared_weights(images, references, 1)
    found = LayerSharedAttribution(similarity).attribute((images, references), target=1)
    for one, x in zip(found, (images, references), strict=True):
        activation = small_net().features(x).detach()
        torch.testing.assert_close(one, h[:, :, None, None] * activation / activation[0, 0].numel())


def test_the_constructor_says_what_it_takes(as_installed: None) -> None:
    with pytest.raises(TypeError, match="must be a NeuronSimilarity, but got Conv2d"):
        LayerSharedAttribution(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"no layer 'features.9' in the network up to 'features'"):
        LayerSharedAttribution(small_similarity(), "features.9")


# Token ids ------------------------------------------------------------------------------------------------------------


class Sentence(nn.Module):
    """Token ids in, the mean of the words out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.dense = nn.Linear(6, 5)

    def after(self, words: Tensor) -> Tensor:
        return torch.tanh(self.dense(words)).mean(1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.after(self.words(tokens))


TOKENS = (torch.tensor([[1, 2, 3, 3], [4, 5, 6, 7]]), torch.tensor([[3, 2, 9, 11], [7, 8, 19, 0]]))


@pytest.mark.parametrize("frozen", [True, False])
def test_sentences_have_maps_at_the_embedding_without_a_warning(frozen: bool) -> None:
    encoder = Randomised(0)(Sentence).requires_grad_(not frozen)
    similarity = NeuronSimilarity(encoder, readout(5))
    found = LayerSharedAttribution(similarity, "words").attribute(TOKENS, target=[1, 3])
    h = similarity.shared_weights(*TOKENS, [1, 3])
    for one, tokens in zip(found, TOKENS, strict=True):
        words = encoder.words(tokens).detach().requires_grad_()
        (gradient,) = torch.autograd.grad((h * encoder.after(words)).sum(), words)
        torch.testing.assert_close(one, gradient * words.detach())
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(parameter.requires_grad is not frozen for parameter in encoder.parameters())


def test_token_ids_made_in_inference_mode_will_do() -> None:
    method = LayerSharedAttribution(NeuronSimilarity(Randomised(0)(Sentence), LinearReadout(seeded(1, 2, 5))), "words")
    with torch.inference_mode():
        tokens = (TOKENS[0].clone(), TOKENS[1].clone())
    torch.testing.assert_close(method.attribute(tokens, target=1), method.attribute(TOKENS, target=1))


@pytest.fixture(autouse=True)
def _random_state() -> object:
    with torch.random.fork_rng(devices=[]):
        yield
