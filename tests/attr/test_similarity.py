import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import Randomised, hand_weights, pair, readout, seeded, small_net, small_similarity

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, neuron_similarity, shared_weights
from captum_shared.attr.cosines import pairwise_similarity
from captum_shared.encoders.twins import tied_copy

numbers = st.floats(-100, 100).map(lambda value: 0.0 if abs(value) < 1e-6 else value)


@st.composite
def triples(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Features of some images and references, and weights of some neurons; many of them zero."""
    images, neurons, features = (draw(st.integers(1, 4)) for _ in range(3))

    def rows(count: int) -> Tensor:
        row = st.lists(numbers, min_size=features, max_size=features)
        return torch.tensor(draw(st.lists(row, min_size=count, max_size=count)), dtype=torch.float64)

    return rows(images), rows(images), rows(neurons)


def cosine(a: list[float], b: list[float], w: list[float]) -> float:
    """The definition, number by number; zero where a norm is zero."""
    product = sum((x * u) * (y * u) for x, y, u in zip(a, b, w, strict=True))
    power = sum((x * u) ** 2 for x, u in zip(a, w, strict=True)) * sum((y * u) ** 2 for y, u in zip(b, w, strict=True))
    return product / power**0.5 if power > 0 else 0.0


@given(triples())
def test_is_the_cosine_of_the_weighted_features(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    images, references, weight = triple
    pairs = list(zip(images.tolist(), references.tolist(), strict=True))
    expected = torch.tensor([[cosine(v, r, w) for w in weight.tolist()] for v, r in pairs], dtype=torch.float64)
    torch.testing.assert_close(neuron_similarity(images, references, weight), expected, rtol=0, atol=1e-12)


@given(triples())
def test_is_symmetric_and_between_minus_one_and_one(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    images, references, weight = triple
    found = neuron_similarity(images, references, weight)
    torch.testing.assert_close(neuron_similarity(references, images, weight), found, rtol=0, atol=1e-14)
    assert found.abs().max() <= 1 + 1e-14


@given(triples())
def test_an_image_is_wholly_similar_to_itself_where_the_neuron_uses_anything_of_it(
    triple: tuple[Tensor, Tensor, Tensor],
) -> None:
    images, _, weight = triple
    uses = ((images[:, None] * weight) != 0).any(-1).double()
    torch.testing.assert_close(neuron_similarity(images, images, weight), uses, rtol=0, atol=1e-12)
    torch.testing.assert_close(neuron_similarity(images, -images, weight), -uses, rtol=0, atol=1e-12)


@given(
    triples(), st.sampled_from([1e-30, 1e-12, -1.0, 7.0, 1e12, 1e30]), st.sampled_from([torch.float32, torch.float64])
)
def test_the_scale_of_weights_and_of_features_has_no_effect(
    triple: tuple[Tensor, Tensor, Tensor], scale: float, dtype: torch.dtype
) -> None:
    images, references, weight = (part.to(dtype) for part in triple)
    expected = neuron_similarity(images, references, weight)
    close = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-12}
    torch.testing.assert_close(neuron_similarity(images, references, weight * scale), expected, **close)
    torch.testing.assert_close(
        neuron_similarity(images * scale, references, weight), expected * scale / abs(scale), **close
    )
    h = shared_weights(images, references, weight[:1])
    torch.testing.assert_close(shared_weights(images, references, weight[:1] * scale), h, **close)


@given(triples())
def test_shared_weights_sum_to_the_similarity(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    images, references, weight = triple
    for neuron, row in enumerate(weight):
        h = shared_weights(images, references, row[None])
        expected = neuron_similarity(images, references, weight)[:, neuron]
        torch.testing.assert_close(h.sum(1), expected, rtol=0, atol=1e-12)
        assert h.abs().max() <= 1 + 1e-14


@given(triples())
def test_excitatory_weights_are_those_of_features_that_drive_the_neuron_in_both(
    triple: tuple[Tensor, Tensor, Tensor],
) -> None:
    images, references, weight = triple
    driven = (weight[:1] * images > 0) & (weight[:1] * references > 0)
    expected = torch.where(driven, shared_weights(images, references, weight[:1]), 0)
    torch.testing.assert_close(shared_weights(images, references, weight[:1], excitatory=True), expected)


def test_excitatory_weights_by_hand() -> None:
    image, reference, weight = torch.tensor([[[3.0, 4.0, 0.0, -1.0]], [[4.0, 3.0, 1.0, -0.0]], [[1.0, -1.0, 1.0, 2.0]]])
    found = shared_weights(image, reference, weight, excitatory=True)
    torch.testing.assert_close(found, torch.tensor([[12 / 29**0.5 / 26**0.5, 0.0, 0.0, 0.0]]))
    with pytest.warns(UserWarning, match=r"excitatory=True needs .*feature_mean .* is zero.*center=True"):
        similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(weight), excitatory=True)
    torch.testing.assert_close(similarity.shared_weights(image, reference), found)
    torch.testing.assert_close(similarity(image, reference), torch.tensor([[24 / 29**0.5 / 26**0.5]]))


@given(triples())
def test_shared_weights_are_the_equation(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    images, references, weight = triple
    nothing = torch.zeros_like(images[0])
    expected = [hand_weights(v, r, weight[0], nothing) for v, r in zip(images, references, strict=True)]
    torch.testing.assert_close(
        shared_weights(images, references, weight[:1]), torch.stack(expected), rtol=0, atol=1e-12
    )


@given(triples())
def test_all_pairs_at_once_are_what_each_pair_is(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    images, references, weight = triple
    found = pairwise_similarity(images, references, weight[0])
    for i, image in enumerate(images):
        for j, reference in enumerate(references):
            expected = neuron_similarity(image[None], reference[None], weight[:1])
            torch.testing.assert_close(found[i : i + 1, j : j + 1], expected, rtol=0, atol=1e-12)


def test_each_pair_may_have_a_neuron_of_its_own() -> None:
    images, references, weight = seeded(1, 3, 5), seeded(2, 3, 5), seeded(3, 3, 5)
    expected = torch.cat([shared_weights(images[i, None], references[i, None], weight[i, None]) for i in range(3)])
    torch.testing.assert_close(shared_weights(images, references, weight), expected)


@pytest.mark.parametrize("zero", ["image", "reference", "both", "weight"])
def test_a_zero_norm_gives_zero_with_zero_gradients(zero: str) -> None:
    images, references, weight = seeded(1, 2, 3), seeded(2, 2, 3), seeded(3, 2, 3)
    if zero in ("image", "both"):
        images[1] = 0
    if zero in ("reference", "both"):
        references[1] = 0
    if zero == "weight":
        weight[1] = 0
    leaves = [part.requires_grad_() for part in (images, references, weight)]
    found = neuron_similarity(*leaves)
    at_zero = found[:, 1] if zero == "weight" else found[1]
    assert torch.equal(at_zero, torch.zeros(2, dtype=torch.float64))
    assert (found != 0).any()
    gradients = torch.autograd.grad(at_zero.sum(), leaves)
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in gradients)
    h = shared_weights(images, references, weight[1:])
    assert torch.equal(h[1], torch.zeros(3, dtype=torch.float64))


def test_has_the_right_gradient() -> None:
    parts = tuple(seeded(seed, 2, 4).requires_grad_() for seed in (1, 2, 3))
    assert torch.autograd.gradcheck(neuron_similarity, parts)
    assert torch.autograd.gradcheck(shared_weights, parts)


@pytest.mark.parametrize("centered", [True, False])
def test_the_module_centres_the_features_and_takes_their_cosine(centered: bool) -> None:
    similarity = small_similarity(centered=centered)
    net, mean, weight = small_net(), similarity.readout.feature_mean, similarity.readout.weight
    assert bool(mean.any()) == centered
    images, references = pair()
    v, r = (net.features(x).mean((2, 3)) - mean for x in (images, references))
    expected = torch.tensor(
        [[cosine(a, b, w) for w in weight.tolist()] for a, b in zip(v.tolist(), r.tolist(), strict=True)]
    )
    torch.testing.assert_close(similarity(images, references), expected.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(similarity(images, references), neuron_similarity(v, r, weight), rtol=0, atol=1e-12)


def test_weights_of_the_module_sum_to_what_it_returns() -> None:
    similarity = small_similarity()
    s = similarity(*pair())
    for neuron in range(4):
        torch.testing.assert_close(similarity.shared_weights(*pair(), neuron).sum(1), s[:, neuron], rtol=0, atol=1e-12)
    h = similarity.shared_weights(*pair(), [3, 1])
    torch.testing.assert_close(h.sum(1), torch.stack((s[0, 3], s[1, 1])), rtol=0, atol=1e-12)
    assert not h.requires_grad


def test_what_weighs_known_features_weighs_images_alike() -> None:
    similarity = small_similarity()
    known = similarity.latent_features(*pair())
    assert torch.equal(similarity.weigh(*known, 2), similarity.shared_weights(*pair(), 2))


def test_plain_cosine_is_the_uniform_readout() -> None:
    similarity = NeuronSimilarity(LatentFeatures(small_net(), "features"), LinearReadout.uniform(5))
    v, r = (small_net().features(x).mean((2, 3)) for x in pair())
    torch.testing.assert_close(similarity(*pair())[:, 0], torch.cosine_similarity(v, r))


def test_a_float64_readout_follows_float32_features() -> None:
    features = LatentFeatures(small_net().float(), "features")
    double = readout(5)
    images, references = pair(dtype=torch.float32)
    found = NeuronSimilarity(features, double)(images, references)
    assert found.dtype == torch.float32
    assert double.weight.dtype == torch.float64
    expected = small_similarity()(*pair())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_a_readout_of_other_features_is_refused_with_both_numbers() -> None:
    similarity = NeuronSimilarity(LatentFeatures(small_net(), "features"), readout(7))
    with pytest.raises(
        ValueError, match=r"7 features, but the encoder gives shape \(2, 5\).*the layer and the pooling"
    ):
        similarity(*pair())


def test_an_encoder_without_feature_rows_is_refused() -> None:
    similarity = NeuronSimilarity(small_net().features, readout(5))
    with pytest.raises(ValueError, match=r"gives shape \(2, 5, 3, 3\)"):
        similarity(*pair())


def test_unequal_batches_are_refused_instead_of_broadcast() -> None:
    images, references = pair(n=3)
    with pytest.raises(ValueError, match="3 images and 1 references"):
        small_similarity()(images, references[:1])


def test_only_a_linear_readout_is_a_readout(as_installed: None) -> None:
    with pytest.raises(TypeError, match=r"must be a LinearReadout, but got Linear.*from_estimator"):
        NeuronSimilarity(small_net().features, nn.Linear(5, 2))


class Sentence(nn.Module):
    """Token ids in, the mean of the words out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.dense = nn.Linear(6, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.tanh(self.dense(self.words(tokens))).mean(1)


def test_sentences_have_a_similarity() -> None:
    encoder = Randomised(0)(Sentence)
    similarity = NeuronSimilarity(encoder, readout(5))
    tokens, others = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[3, 2, 1], [7, 8, 9]])
    with torch.no_grad():
        v, r = (encoder(ids) - similarity.readout.feature_mean for ids in (tokens, others))
    found = similarity(tokens, others)
    torch.testing.assert_close(found, neuron_similarity(v, r, similarity.readout.weight))
    torch.testing.assert_close(found[0], torch.ones(4, dtype=torch.float64))
    assert found[1].abs().max() < 1


def test_sounds_have_a_similarity() -> None:
    layers = lambda: (nn.Conv1d(1, 4, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())  # noqa: E731
    encoder = Randomised(0)(lambda: nn.Sequential(*layers()))
    similarity = NeuronSimilarity(encoder, readout(4))
    sounds, others = seeded(1, 2, 1, 40), seeded(2, 2, 1, 40)
    v, r = (encoder(x) - similarity.readout.feature_mean for x in (sounds, others))
    torch.testing.assert_close(similarity(sounds, others), neuron_similarity(v, r, similarity.readout.weight))


def test_layer_modules_are_one_of_each_twin() -> None:
    similarity = small_similarity()
    assert similarity.layer_modules() == (similarity.image_features.cut, similarity.reference_features.cut)
    first, second = similarity.layer_modules("features.1")
    assert first is not second
    assert isinstance(first, nn.ReLU)
    other = NeuronSimilarity(Sentence(), LinearReadout.uniform(5))
    assert other.layer_modules("words") == (other.image_features.words, other.reference_features.words)
    with pytest.raises(ValueError, match=r"no layer 'word' in Sentence. Did you mean words"):
        other.layer_modules("word")
    with pytest.raises(ValueError, match="Name a layer: Sentence has no cut"):
        other.layer_modules()


def tied(similarity: NeuronSimilarity) -> bool:
    twins = (similarity.image_features, similarity.reference_features)
    first, second = ([*twin.parameters(), *twin.buffers()] for twin in twins)
    return len(first) == len(second) > 0 and all(a is b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), tied_copy])
def test_copies_and_pickles_are_tied_too(again: object) -> None:
    similarity = small_similarity()
    other = again(similarity)  # type: ignore[operator]
    assert tied(similarity)
    assert tied(other)
    assert torch.equal(other(*pair()), similarity(*pair()))


def test_the_state_dict_goes_from_one_to_another() -> None:
    one, other = small_similarity(), small_similarity(seed=1)
    assert not torch.allclose(one(*pair()), other(*pair()))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(*pair()), other(*pair()))
    assert tied(other)


def test_the_twins_of_a_trainable_encoder_are_in_the_same_mode() -> None:
    layers = lambda: (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1))  # noqa: E731
    encoder = Randomised(0)(lambda: nn.Sequential(*layers(), nn.Flatten()))
    similarity = NeuronSimilarity(encoder, readout(4))
    encoder.eval()
    images, _ = pair()
    torch.testing.assert_close(similarity(images, images), torch.ones(2, 4, dtype=torch.float64))


def test_other_readouts_of_twins_that_belong_to_a_call_run_in_evaluation_mode_too() -> None:
    similarity = NeuronSimilarity(LatentFeatures(small_net().train(), "features"), readout(5))
    with similarity.own() as own:
        other = own.with_readout(readout(5, seed=3))
        assert not any(part.training for part in (*other.image_features.modules(), *other.reference_features.modules()))
        with other.own() as same:
            assert same is other
        torch.testing.assert_close(other(*pair()), similarity.with_readout(readout(5, seed=3))(*pair()))
