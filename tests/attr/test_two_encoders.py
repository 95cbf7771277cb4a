"""Images and sentences: two encoders with one feature space, against full Jacobians."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from toys import Randomised, hand_weights, readout, seeded

from captum_shared import (
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    ReferenceBank,
    SharedCorrespondence,
)
from captum_shared.methods import METHODS

N_FEATURES = 6


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(tokens)


class ImageTower(nn.Module):
    """Patches, a class token, a block, and a projection of the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.class_token = nn.Parameter(torch.randn(1, 1, 8))
        self.block = Block(8)
        self.projection = nn.Linear(8, N_FEATURES, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), tokens], 1)
        return self.projection(self.block(tokens)[:, 0])


class TextTower(nn.Module):
    """Words, a block, and a projection of the last word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 4)
        self.block = Block(4)
        self.projection = nn.Linear(4, N_FEATURES, bias=False)

    def forward(self, words: Tensor) -> Tensor:
        return self.projection(self.block(self.words(words))[:, -1])


@pytest.fixture
def towers() -> tuple[nn.Module, nn.Module]:
    return Randomised(0)(ImageTower).eval(), Randomised(1)(TextTower).eval()


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    words = torch.randint(11, (3, 5), generator=torch.Generator().manual_seed(0))
    return seeded(1, 3, 3, 8, 8), words


def expected_maps(tower: nn.Module, layer: str, inputs: Tensor, weights: Tensor) -> Tensor:
    """Gradient times activation from the full Jacobian of the features at a layer, pair by pair."""
    module = tower.get_submodule(layer)
    maps = []
    for one, h in zip(inputs, weights, strict=True):
        seen: list[Tensor] = []
        handle = module.register_forward_hook(lambda module, args, output, seen=seen: seen.append(output.detach()))
        tower(one[None])
        handle.remove()
        (activation,) = seen

        def from_layer(replaced: Tensor, one: Tensor = one) -> Tensor:
            handle = module.register_forward_hook(lambda module, args, output: replaced)
            try:
                return tower(one[None])[0]
            finally:
                handle.remove()

        jacobian = torch.autograd.functional.jacobian(from_layer, activation)  # feature x activation
        maps.append((torch.einsum("f,f...->...", h, jacobian) * activation)[0])
    return torch.stack(maps)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("layers", [("patches", "words"), ("block", "block"), ("block.norm", "words")])
def test_maps_of_both_sides_are_those_of_the_full_jacobian(
    towers: tuple[nn.Module, nn.Module], pair: tuple[Tensor, Tensor], layers: tuple[str, str], centered: bool
) -> None:
    image, text = towers
    neurons = readout(N_FEATURES, centered=centered)
    similarity = NeuronSimilarity(image, neurons, reference_features=text)
    chosen = [2, 0, 3]
    features = [tower(inputs).detach() for tower, inputs in zip(towers, pair, strict=True)]
    h = torch.stack(
        [
            hand_weights(one, other, neurons.weight[neuron], neurons.feature_mean)
            for one, other, neuron in zip(*features, chosen, strict=True)
        ]
    )
    maps = LayerSharedAttribution(similarity, layers).attribute(pair, chosen)
    for tower, layer, inputs, found in zip(towers, layers, pair, maps, strict=True):
        torch.testing.assert_close(found, expected_maps(tower, layer, inputs, h), rtol=1e-10, atol=1e-10)
        assert float(found.abs().sum()) > 0
    assert maps[1].shape[:2] == (3, 5)  # one map a word


def test_the_similarity_is_that_of_the_features(
    towers: tuple[nn.Module, nn.Module], pair: tuple[Tensor, Tensor]
) -> None:
    neurons = readout(N_FEATURES)
    found = NeuronSimilarity(towers[0], neurons, reference_features=towers[1])(*pair)
    for index in range(3):
        v, r = (
            tower(inputs[index : index + 1])[0] - neurons.feature_mean
            for tower, inputs in zip(towers, pair, strict=True)
        )
        for neuron, w in enumerate(neurons.weight):
            expected = torch.nn.functional.cosine_similarity(w * v, w * r, dim=0)
            torch.testing.assert_close(found[index, neuron], expected)


def test_with_one_encoder_twice_it_is_the_similarity_of_twins(towers: tuple[nn.Module, nn.Module]) -> None:
    image, _ = towers
    images, references = seeded(1, 2, 3, 8, 8), seeded(2, 2, 3, 8, 8)
    twins = NeuronSimilarity(image, readout(N_FEATURES))
    apart = NeuronSimilarity(image, readout(N_FEATURES), reference_features=copy.deepcopy(image))
    assert apart.encoders[1] is apart.reference_features
    assert twins.encoders == (image, image)
    for build in (ParallelSharedAttribution, lambda each: LayerSharedAttribution(each, "block")):
        for found, expected in zip(
            *(build(each).attribute((images, references), 1) for each in (apart, twins)), strict=True
        ):
            torch.testing.assert_close(found, expected)


def test_each_encoder_follows_its_own_weights(towers: tuple[nn.Module, nn.Module], pair: tuple[Tensor, Tensor]) -> None:
    """Nothing is tied: what replaces a parameter of the images' encoder does not reach that of the references."""
    image, text = towers
    similarity = NeuronSimilarity(image, readout(N_FEATURES), reference_features=text)
    before = similarity.latent_features(*pair)
    image.projection.weight = nn.Parameter(2 * image.projection.weight.detach())
    text.projection.weight = nn.Parameter(-text.projection.weight.detach())
    after = similarity.latent_features(*pair)
    torch.testing.assert_close(after[0], 2 * before[0])
    torch.testing.assert_close(after[1], -before[1])


class Clip(nn.Module):
    """Both towers in one model, with a module that both call."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text, self.last = ImageTower(), TextTower(), nn.Linear(N_FEATURES, N_FEATURES)


class Side(nn.Module):
    def __init__(self, clip: Clip, side: str) -> None:
        super().__init__()
        self.clip, self.side = clip, side

    def forward(self, inputs: Tensor) -> Tensor:
        return self.clip.last(getattr(self.clip, self.side)(inputs))


def test_sides_of_one_model_do_not_mix_up_the_hooks_of_each_other(pair: tuple[Tensor, Tensor]) -> None:
    clip = Randomised(0)(Clip).eval()
    apart = Side(clip, "image"), Side(copy.deepcopy(clip), "text")
    together = NeuronSimilarity(Side(clip, "image"), readout(N_FEATURES), reference_features=Side(clip, "text"))
    assert together.reference_features.clip.last is not clip.last
    assert together.reference_features.clip.last.weight is clip.last.weight
    expected = NeuronSimilarity(apart[0], readout(N_FEATURES), reference_features=apart[1])
    for layers in (("clip.last", "clip.last"), ("clip.image.patches", "clip.text.words")):
        maps = (LayerSharedAttribution(each, layers).attribute(pair, 1) for each in (together, expected))
        for found, known in zip(*maps, strict=True):
            torch.testing.assert_close(found, known)


def test_a_bank_of_sentences_is_searched_by_images(towers: tuple[nn.Module, nn.Module]) -> None:
    image, text = towers
    neurons = readout(N_FEATURES)
    similarity = NeuronSimilarity(image, neurons, reference_features=text)
    images, sentences = seeded(1, 4, 3, 8, 8), torch.arange(55).reshape(11, 5) % 11
    match = ReferenceBank(similarity, sentences, driver_fraction=1.0).search(images, target=2, top_k=3)
    v, r = image(images) - neurons.feature_mean, text(sentences) - neurons.feature_mean
    table = torch.nn.functional.cosine_similarity(
        (neurons.weight[2] * v)[:, None], (neurons.weight[2] * r)[None], dim=2
    ).detach()
    expected = table.topk(3, dim=1)
    assert match.indices.equal(expected.indices)
    torch.testing.assert_close(match.similarities, expected.values)
    predicted = text(sentences) @ neurons.weight[2]
    assert ReferenceBank(similarity, sentences).drivers(2).tolist() == predicted.argsort(descending=True)[:3].tolist()


def test_other_readouts_keep_both_encoders(towers: tuple[nn.Module, nn.Module], pair: tuple[Tensor, Tensor]) -> None:
    similarity = NeuronSimilarity(towers[0], readout(N_FEATURES), reference_features=towers[1])
    other = similarity.with_readout(LinearReadout.uniform(N_FEATURES), excitatory=False)
    assert other.encoders == similarity.encoders
    expected = torch.nn.functional.cosine_similarity(towers[0](pair[0]), towers[1](pair[1]))
    torch.testing.assert_close(other(*pair)[:, 0], expected)


@pytest.mark.parametrize(
    "name", ["paper", "ours-gradient-centred", "ours-ig", "neuron-saliency", "similarity-saliency", "cosine-saliency"]
)
def test_methods_of_pixels_see_each_image_by_its_own_encoder(name: str) -> None:
    first, second = Randomised(0)(ImageTower).eval(), Randomised(5)(ImageTower).eval()
    inputs = tuple(seeded(seed, 2, 3, 8, 8).requires_grad_() for seed in (1, 2))
    neurons, target = readout(N_FEATURES), torch.tensor([1, 3])
    maps = METHODS[name].call(NeuronSimilarity(first, neurons, reference_features=second), inputs, target)
    swapped = METHODS[name].call(NeuronSimilarity(second, neurons, reference_features=first), inputs[::-1], target)
    for found, expected in zip(maps, swapped[::-1], strict=True):
        torch.testing.assert_close(found, expected)


def test_refusals(as_installed: None, towers: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(
        TypeError, match=r"reference_features must be a torch\.nn\.Module to \(image, feature\), not str"
    ):
        NeuronSimilarity(towers[0], readout(N_FEATURES), reference_features="text")
    similarity = NeuronSimilarity(towers[0], readout(N_FEATURES), reference_features=towers[1])
    with pytest.raises(TypeError, match="take LayerSharedAttribution"):
        SharedCorrespondence(similarity)
    with pytest.raises(ValueError, match="Name a layer"):
        LayerSharedAttribution(similarity, ("patches", None))


def test_clip_of_transformers(pair: tuple[Tensor, Tensor]) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 11, "max_position_embeddings": 5, "eos_token_id": 10, "bos_token_id": 9}
    vision = {**small, "image_size": 8, "patch_size": 4}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=N_FEATURES)
    clip = Randomised(0)(lambda: transformers.CLIPModel(config)).eval()

    class Tower(nn.Module):
        def __init__(self, model: nn.Module, projection: nn.Module) -> None:
            super().__init__()
            self.model, self.projection = model, projection

        def forward(self, inputs: Tensor) -> Tensor:
            return self.projection(self.model(inputs).pooler_output)

    towers = Tower(clip.vision_model, clip.visual_projection), Tower(clip.text_model, clip.text_projection)
    neurons = LinearReadout.uniform(N_FEATURES).to(torch.float64)
    similarity = NeuronSimilarity(towers[0], neurons, reference_features=towers[1])
    layers = "model.embeddings.patch_embedding", "model.embeddings.token_embedding"
    maps = LayerSharedAttribution(similarity, layers).attribute(pair)
    h = similarity.shared_weights(*pair)
    for tower, layer, inputs, found in zip(towers, layers, pair, maps, strict=True):
        torch.testing.assert_close(found, expected_maps(tower, layer, inputs, h), rtol=1e-10, atol=1e-10)
