"""The unit of weights and features has no effect, in any precision."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from toys import hand_weights, relative_error, seeded

from captum_shared import (
    LatentFeatures,
    LinearReadout,
    NeuronSimilarity,
    ReferenceBank,
    SharedCorrespondence,
    neuron_similarity,
    shared_weights,
)
from captum_shared.attr import pairwise_similarity

EXPONENTS = {
    torch.float64: (-150, -30, 0, 30, 150),
    torch.float32: (-37, -20, -7, 0, 7, 20, 37),
    torch.bfloat16: (-37, -20, -7, 0, 7, 20, 37),
    torch.float16: (-4, -2, 0, 2, 4),
}
PRECISION = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02, torch.float16: 0.02}
SCALES = [
    (dtype, *scales) for dtype, exponents in EXPONENTS.items() for scales in itertools.product(exponents, repeat=3)
]


def scaled(values: Tensor, exponent: int, dtype: torch.dtype) -> Tensor:
    return (values * 10.0**exponent).to(dtype)


def exactly(v: Tensor, r: Tensor, w: Tensor) -> Tensor:
    """h as the equation has it, of vectors whose scale cannot matter."""
    return hand_weights(v, r, w, torch.zeros_like(v))


@pytest.mark.parametrize("dtype", EXPONENTS, ids=str)
def test_scales_have_no_effect_on_shared_weights_and_similarities(dtype: torch.dtype) -> None:
    v, r, w = (seeded(seed, 6).abs() + 0.1 for seed in (1, 2, 3))
    expected = exactly(v, r, w)
    for _, first, second, third in (scale for scale in SCALES if scale[0] is dtype):
        image, reference, weight = scaled(v, first, dtype), scaled(r, second, dtype), scaled(w, third, dtype)
        h = shared_weights(image[None], reference[None], weight[None])
        assert h.dtype is dtype
        torch.testing.assert_close(h[0].double(), expected, rtol=PRECISION[dtype], atol=PRECISION[dtype])
        for similarity in (
            neuron_similarity(image[None], reference[None], weight[None]),
            pairwise_similarity(image[None], reference[None], weight),
        ):
            assert similarity.dtype is dtype
            assert float(similarity) == pytest.approx(float(expected.sum()), abs=PRECISION[dtype])


def test_a_neuron_that_reads_only_what_is_faint_is_read_all_the_same() -> None:
    v, r = torch.tensor([[1.0, 3e-30, 4e-30]]), torch.tensor([[1.0, 4e-30, 3e-30]])
    weight = torch.tensor([[0.0, 1.0, 1.0]])
    torch.testing.assert_close(shared_weights(v, r, weight), torch.tensor([[0.0, 0.48, 0.48]]))
    torch.testing.assert_close(neuron_similarity(v, r, weight), torch.tensor([[0.96]]))
    torch.testing.assert_close(pairwise_similarity(v, r, weight[0]), torch.tensor([[0.96]]))


@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1.0, 1e5, 1e30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bank_of_half_precision_finds_what_the_exact_one_finds(dtype: torch.dtype, scale: float) -> None:
    images, queries = seeded(1, 40, 24), seeded(2, 32, 24)
    weight, mean = seeded(3, 2, 24), seeded(4, 24)
    readout = LinearReadout((weight * scale).float(), feature_mean=mean.float())
    similarity = NeuronSimilarity(nn.Flatten(), readout)
    bank = ReferenceBank(similarity, images.to(dtype), driver_fraction=1.0)
    match = bank.search(queries.to(dtype), target=1)
    assert bool(match.similarities.isfinite().all())
    v, r = (weight[1] * (each.to(dtype).double() - mean) for each in (queries, images))
    cosines = nn.functional.normalize(v) @ nn.functional.normalize(r).T
    chosen = cosines.gather(1, match.indices)[:, 0]
    assert int((chosen < cosines.amax(1) - 0.01).sum()) == 0  # ties of half-precision numbers apart


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_gradients_of_the_similarity_do_not_depend_on_the_scale_of_the_weights(scale: float) -> None:
    def gradient(weight: Tensor) -> Tensor:
        similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(weight))
        images = seeded(1, 2, 5, dtype=torch.float32).requires_grad_()
        similarity(images, seeded(2, 2, 5, dtype=torch.float32)).sum().backward()
        assert images.grad is not None
        return images.grad

    weight = seeded(3, 1, 5, dtype=torch.float32)
    torch.testing.assert_close(gradient(weight * scale), gradient(weight))


def encoder_in_training() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)).double().train()


@pytest.mark.parametrize("call", ["similarity", "shared_weights", "latent_features"])
@pytest.mark.parametrize("two", [False, True])
def test_in_training_mode_statistics_stay_and_results_are_those_of_evaluation(call: str, two: bool) -> None:
    encoder, others = encoder_in_training(), encoder_in_training()
    reference = {"reference_features": others} if two else {}
    similarity = NeuronSimilarity(encoder, LinearReadout(seeded(3, 1, 5)), **reference)
    pair = seeded(1, 4, 3, 2, 2), seeded(2, 4, 3, 2, 2)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    results = [similarity(*pair) if call == "similarity" else getattr(similarity, call)(*pair) for _ in range(2)]
    assert all(part.training for part in encoder.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    encoder.eval(), others.eval()
    expected = similarity(*pair) if call == "similarity" else getattr(similarity, call)(*pair)
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("known", [False, True])
def test_the_correspondence_of_many_places_survives_half_precision(known: bool, dtype: torch.dtype) -> None:
    """50 x 50 places share so little each that it is below the smallest number of half precision."""
    places = torch.rand(1, 3, 50, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = places.to(dtype).double(), places.flip(3).to(dtype).double()
    readout = LinearReadout(torch.eye(3), feature_mean=[0.25] * 3)
    readout = readout.with_examples(places[0].flatten(1).mT[:20], 0.1 * torch.eye(3)) if known else readout
    similarity = NeuronSimilarity(LatentFeatures(nn.Sequential(nn.Identity()), "0"), readout)
    method = SharedCorrespondence(similarity)
    expected = method.attribute(inputs, 1)
    found = method.attribute((inputs[0].to(dtype), inputs[1].to(dtype)), 1)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is dtype
        assert relative_error(one.double(), other) < 0.02
