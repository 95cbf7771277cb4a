"""BiLRP and integrated Jacobians, against sums over all features, one by one, with zennit's and Captum's own calls."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn
from toys import Randomised, pair, readout, seeded, small_net, small_similarity, torchvision_net
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import SpecialFirstLayerMapComposite, layer_map_base
from zennit.rules import Epsilon, Gamma, WSquare
from zennit.types import Convolution

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity
from captum_shared.methods.registry import METHODS
from captum_shared.methods.sampling import N_SAMPLES
from captum_shared.methods.second_order import relevance_of_pixels


class Plain(nn.Module):
    """No bias anywhere, so that relevance is kept exactly."""

    def __init__(self, *, skip: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.relu, self.skip = nn.ReLU(), skip

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.first(images))
        return self.relu(self.second(hidden) + hidden) if self.skip else self.relu(self.second(hidden))


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3),
            nn.BatchNorm2d(5),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def normalised_net() -> nn.Module:
    net = Randomised(0)(Normalised).eval()
    for number, norm in enumerate(m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        size = norm.num_features
        norm.running_mean, norm.running_var = 0.1 * seeded(number, size), 0.5 + seeded(number, size).square()
        norm.weight.data, norm.bias.data = seeded(number + 5, size), 0.1 * seeded(number + 6, size)
    return net


def composite() -> SpecialFirstLayerMapComposite:
    return SpecialFirstLayerMapComposite(
        layer_map=[*layer_map_base(1e-12), (Convolution, Gamma(0.25)), (nn.Linear, Epsilon(1e-12))],
        first_map=[(Convolution, WSquare(zero_params=["bias"]))],
        canonizers=[SequentialMergeBatchNorm()],
    )


class Embedding(nn.Module):
    """φ(x) = w ∘ (f(x) - m) of one neuron, in modules that zennit has rules for."""

    def __init__(self, body: nn.Module, neurons: LinearReadout, neuron: int) -> None:
        super().__init__()
        self.body, self.pool, self.flat = body, nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(neurons.n_features, neurons.n_features).double()
        self.head.weight.data = torch.diag(neurons.weight[neuron])
        self.head.bias.data = -neurons.weight[neuron] * neurons.feature_mean

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.flat(self.pool(self.body(images))))


def relevances(embedding: Embedding, image: Tensor) -> tuple[Tensor, Tensor]:
    """φ(x) of one image and zennit's relevance of its pixels for each entry of it, (feature, channel, row, column)."""
    phi = embedding(image).detach()[0]
    with Gradient(model=embedding, composite=composite()) as attributor:
        maps = [attributor(image, (phi * unit)[None])[1][0] for unit in torch.eye(len(phi), dtype=phi.dtype)]
    return phi, torch.stack(maps).detach()


@pytest.mark.parametrize("build", [small_net, normalised_net])
@pytest.mark.parametrize("name", ["bilrp", "bilrp-centred"])
def test_bilrp_is_the_sum_over_features_of_zennits_relevances(name: str, build: type[nn.Module]) -> None:
    neurons = readout(5, centered=name == "bilrp-centred")
    similarity = NeuronSimilarity(LatentFeatures(build(), "features"), neurons)
    found = METHODS[name].attribute(similarity, pair(), [1, 3])
    for row, neuron in enumerate((1, 3)):
        embedding = Embedding(build().features, neurons, neuron)
        (phi, maps), (other, other_maps) = (relevances(embedding, images[row : row + 1]) for images in pair())
        norms = phi.norm() * other.norm()
        expected = (
            torch.einsum("f,fchw->chw", other / norms, maps),
            torch.einsum("f,fchw->chw", phi / norms, other_maps),
        )
        for one, each in zip(found, expected, strict=True):
            assert each.abs().max() > 1e-4
            torch.testing.assert_close(one[row], each, rtol=1e-4, atol=1e-6 * float(each.abs().max()))


def test_bilrp_is_the_marginal_of_all_pairs_of_pixels_where_relevance_is_kept() -> None:
    net = Randomised(3)(lambda: Plain(skip=False))
    neurons = readout(4, centered=False)
    similarity = NeuronSimilarity(LatentFeatures(net, "relu"), neurons)
    found = METHODS["bilrp"].attribute(similarity, pair(), 1)
    embedding = Embedding(net, neurons, 1)
    (phi, maps), (other, other_maps) = (relevances(embedding, images[:1]) for images in pair())
    pairs = torch.einsum("fi,fl->il", maps.flatten(1), other_maps.flatten(1)) / (phi.norm() * other.norm())
    torch.testing.assert_close(found[0][0].flatten(), pairs.sum(1), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found[1][0].flatten(), pairs.sum(0), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(pairs.sum(), similarity(*pair())[0, 1], rtol=1e-3, atol=0)


@pytest.mark.parametrize("skip", [False, True])
def test_relevance_is_kept_also_where_branches_meet(skip: bool) -> None:
    net = Randomised(3)(lambda: Plain(skip=skip))
    features = LatentFeatures(net, "relu")
    activation = net(pair()[0]).detach()
    found = relevance_of_pixels(features, pair()[0], activation * seeded(0, *activation.shape).abs())
    expected = (activation * seeded(0, *activation.shape).abs()).sum((1, 2, 3))
    torch.testing.assert_close(found.sum((1, 2, 3)), expected, rtol=1e-3, atol=0)


def test_zennit_leaves_the_network_as_it_was() -> None:
    model = torchvision_net("resnet18").double()
    similarity = NeuronSimilarity(LatentFeatures(model, "layer2"), readout(128))
    inputs, before = pair(size=32), {name: value.clone() for name, value in model.state_dict().items()}
    scores = similarity(*inputs)
    METHODS["bilrp"].attribute(similarity, inputs, 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(similarity(*inputs), scores)


def jacobians(similarity: NeuronSimilarity, neuron: int, n_steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """φ of the first image and reference, from mid-grey, and Captum's integrated gradients of each entry of it."""
    embedding = Embedding(small_net().features, similarity.readout, neuron)
    method, shifted, maps = IntegratedGradients(embedding), [], []
    for image in (images[:1] for images in pair()):
        grey = torch.full_like(image, 0.5)
        shifted.append((embedding(image) - embedding(grey)).detach()[0])
        maps.append(torch.cat([method.attribute(image, grey, k, n_steps=n_steps) for k in range(5)]).detach())
    return shifted, maps


@pytest.mark.parametrize("neuron", [0, 2])
def test_integrated_jacobians_are_the_sum_over_features_of_captums_integrated_gradients(neuron: int) -> None:
    similarity = small_similarity()
    found = METHODS["integrated-jacobians"].attribute(similarity, pair(), [neuron, 1])
    shifted, maps = jacobians(similarity, neuron, N_SAMPLES)
    for side, one in enumerate(found):
        weights = shifted[1 - side] / (shifted[0].norm() * shifted[1].norm())
        torch.testing.assert_close(one[0], torch.einsum("f,fchw->chw", weights, maps[side]), rtol=1e-8, atol=1e-12)


def test_integrated_jacobians_are_in_the_limit_the_marginal_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captum_shared.methods.second_order.N_SAMPLES", 200)
    similarity = small_similarity()
    found = METHODS["integrated-jacobians"].attribute(similarity, pair(), 2)
    shifted, maps = jacobians(similarity, 2, 200)
    pairs = torch.einsum("fi,fl->il", maps[0].flatten(1), maps[1].flatten(1)) / (shifted[0].norm() * shifted[1].norm())
    for side, one in enumerate(found):
        assert torch.dist(one[0].flatten(), pairs.sum(1 - side)) < 0.01 * one[0].norm()
        torch.testing.assert_close(one[0].sum(), torch.cosine_similarity(*shifted, dim=0), rtol=0.01, atol=0)


def test_a_pair_of_which_the_neuron_uses_nothing_has_no_second_order_map() -> None:
    features = LatentFeatures(small_net(), "features")
    similarity = NeuronSimilarity(features, LinearReadout(torch.zeros(1, 5, dtype=torch.float64)))
    for name in ("bilrp", "bilrp-centred", "integrated-jacobians"):
        assert all((one == 0).all() for one in METHODS[name].attribute(similarity, pair()))


class Similarity:
    """The target of pytorch-grad-cam's tutorial."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __call__(self, model_output: Tensor) -> Tensor:
        return torch.nn.CosineSimilarity(dim=0)(model_output, self.features)


def test_the_cam_of_embeddings_is_that_of_pytorch_grad_cam() -> None:
    found = METHODS["cosine-pytorch-grad-cam"].attribute(small_similarity(), pair(), 1)
    body = small_net().features
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for side, one in enumerate(found):
        images, concepts = pair()[side], model(pair()[1 - side]).detach()
        expected = GradCAM(model, [body[-1]])(images, [Similarity(concept) for concept in concepts])
        assert expected.max() > 0.99
        np.testing.assert_allclose(one[:, 0].numpy(), expected, rtol=0, atol=1e-6)
    ours = METHODS["cosine-grad-cam"].attribute(small_similarity(), pair(), 1)[0].clamp(min=0)
    assert torch.equal(ours.flatten(1).amax(1) > 0, found[0].flatten(1).amax(1) > 0)
