import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from captum_shared import noise_corrected, null_interval, reliability
from captum_shared.neurons.encoding import correlation
from captum_shared.neurons.noise import exclusions


def phases(n_phases: int, n_images: int, signal: np.ndarray, noise: np.ndarray, seed: int = 0) -> np.ndarray:
    """Responses with known variances across images, one of each a neuron."""
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal((n_images, len(signal))) * np.sqrt(signal)
    return shared + generator.standard_normal((n_phases, n_images, len(signal))) * np.sqrt(noise) + 7


SIGNAL, NOISE = np.array([1.0, 1.0, 4.0, 0.0]), np.array([1.0, 3.0, 1.0, 2.0])
N_IMAGES = 20_000
SAMPLING = 4 / np.sqrt(N_IMAGES)
"""Four standard errors of a correlation (at most 1 / sqrt(n) each) over independent images."""


@pytest.mark.parametrize("n_phases", [2, 3])
def test_reliability_is_the_share_of_the_signal_in_the_variance(n_phases: int) -> None:
    result = reliability(phases(n_phases, N_IMAGES, SIGNAL, NOISE))
    np.testing.assert_allclose(result, SIGNAL / (SIGNAL + NOISE), atol=SAMPLING)


def test_split_halves_are_corrected_to_the_mean_of_both() -> None:
    halves = phases(2, N_IMAGES, SIGNAL, 2 * NOISE)  # half the repetitions, twice the variance
    np.testing.assert_allclose(
        reliability(halves, split_halves=True)[:3], (SIGNAL / (SIGNAL + NOISE))[:3], atol=2 * SAMPLING
    )
    between = reliability(halves)
    np.testing.assert_allclose(reliability(halves, split_halves=True), 2 * between / (1 + between))


@pytest.mark.parametrize("n_phases", [1, 2, 4])
def test_noise_correction_gives_the_correlation_with_the_signal(n_phases: int) -> None:
    generator = np.random.default_rng(3)
    signal = generator.standard_normal((N_IMAGES, 3))
    recorded = signal + 1.5 * generator.standard_normal((max(n_phases, 2), N_IMAGES, 3))
    predicted = np.array([0.2, 0.5, 0.9]) * signal + 0.5 * generator.standard_normal((N_IMAGES, 3))
    found = correlation(predicted, recorded[:n_phases].mean(axis=0))
    corrected = noise_corrected(found, reliability(recorded), phases=n_phases)
    expected = correlation(predicted, signal)
    assert (found < expected - 0.05).all()
    np.testing.assert_allclose(corrected, expected, atol=4 * SAMPLING)  # divided by at least sqrt(0.31)


def test_noise_correction_by_hand() -> None:
    r = torch.tensor([0.5, 0.25, 0.0, -0.6, torch.nan, 0.01], dtype=torch.float64)
    found = torch.full((6,), 0.3, dtype=torch.float64)
    np.testing.assert_allclose(noise_corrected(found, r), [0.3 / 0.5**0.5, 0.6, *[np.nan] * 3, 3])
    np.testing.assert_allclose(
        noise_corrected(found, r, phases=3),
        [0.3 / 0.75**0.5, 0.3 / 0.5**0.5, *[np.nan] * 3, 0.3 * (1.02 / 0.03) ** 0.5],
    )
    with pytest.raises(ValueError, match="phases of at least 1, got 0"):
        noise_corrected(found, r, phases=0)


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_reliability_is_the_mean_of_all_pairs_over_images_recorded_in_both(seed: int, n_phases: int) -> None:
    generator = np.random.default_rng(seed)
    responses = phases(n_phases, 30, SIGNAL, NOISE, seed)
    responses[generator.random(responses.shape) < 0.2] = np.nan
    result = reliability(torch.from_numpy(responses))
    for neuron in range(4):
        pairs = itertools.combinations(responses[:, :, neuron], 2)
        both = [(one, other, ~np.isnan(one + other)) for one, other in pairs]
        expected = np.mean([pearsonr(one[seen], other[seen]).statistic for one, other, seen in both])
        assert result[neuron].item() == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-10, 10))
def test_reliability_knows_no_unit_and_no_order_and_leaves_missing_images_out(
    seed: int, scale: float, offset: float
) -> None:
    responses = phases(2, 20, SIGNAL, NOISE, seed)
    result = reliability(responses)
    order = np.random.default_rng(seed).permutation(20)
    nothing = np.full((2, 3, 4), np.nan)
    for others in (
        offset + scale * responses[:, order],
        responses * np.array([[[scale]], [[1.0]]]),  # each phase its own
        responses[::-1],
        np.concatenate([responses, nothing], axis=1),
    ):
        np.testing.assert_allclose(reliability(others), result, atol=1e-9)


def test_reliability_where_there_is_none() -> None:
    responses = phases(3, 10, SIGNAL, NOISE)
    responses[:, :, 0] = 0
    responses[1:, :, 1] = np.nan
    responses[2, :, 2] = 5
    responses[0, 2:, 3] = np.nan
    result = reliability(responses)
    assert np.isnan(result).tolist() == [True, True, False, False]
    np.testing.assert_allclose(result[2:3], reliability(responses[:2, :, 2:3]))
    np.testing.assert_allclose(result[3:], reliability(responses[1:, :, 3:]))


@pytest.mark.parametrize(
    ("shape", "split_halves", "text"),
    [
        ((1, 5, 2), False, "at least two phases, got 1: .*split_halves=True"),
        ((1, 5, 2), True, "the two halves of one phase, got 1: .*two halves"),
        ((3, 5, 2), True, "the two halves of one phase, got 3"),
        ((5, 2), False, r"shape \(phase, image, neuron\).*got \(5, 2\): .*responses\[None\]"),
        ((2, 5, 0), False, r"none of them empty, got \(2, 5, 0\)"),
    ],
)
def test_wrong_phases(shape: tuple[int, ...], split_halves: bool, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        reliability(np.ones(shape), split_halves=split_halves)


def test_infinite_responses_are_refused() -> None:
    with pytest.raises(ValueError, match="finite responses, got infinity 1 times, first at row 2, column 1"):
        reliability(np.where(np.arange(20).reshape(2, 5, 2) == 15, np.inf, 1.0))


def test_null_interval_covers_what_it_says() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal((2, 30, 2000))
    low, high = null_interval(30)
    found = correlation(first, second)
    assert 0.04 <= np.mean((found < low) | (found > high)) <= 0.06
    assert 0.015 <= np.mean(found > high) <= 0.035


@pytest.mark.parametrize("n", [3, 4, 10, 92])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.5])
def test_null_interval_is_where_the_p_value_of_scipy_is_alpha(n: int, alpha: float) -> None:
    low, high = null_interval(n, alpha)
    assert low == -high
    x = np.arange(n) - (n - 1) / 2
    across = np.where(np.arange(n) % 2, -1.0, 1.0)
    across -= across.mean() + x * (across @ x) / (x @ x)
    x, across = x / np.linalg.norm(x), across / np.linalg.norm(across)
    result = pearsonr(x, high * x + np.sqrt(1 - high**2) * across)  # of this very correlation
    assert result.statistic == pytest.approx(high)
    assert result.pvalue == pytest.approx(alpha)


def test_null_interval_refuses() -> None:
    for arguments in ((2,), (10, 0.0), (10, 1.0)):
        with pytest.raises(ValueError, match="at least 3 images and alpha between 0 and 1, got n="):
            null_interval(*arguments)


def test_exclusions_are_named() -> None:
    responses = phases(1, 9, np.ones(8), np.ones(8))[0]
    responses[:, 0] = np.nan
    responses[:, 1] = 0
    responses[:, 2] = -0.1
    responses[4:, 3] = np.nan  # 4 of 9
    responses[5:, 4] = np.nan  # 5 of 9
    responses[1:4, 5] = 0
    responses[:, 6], responses[1:, 6] = 0, np.nan
    responses[:4, 7], responses[4:, 7] = 5, np.nan
    expected = ["no response recorded", "silent", "constant", "recorded for fewer than half of the images"]
    assert exclusions(responses) == (*expected, "", "", "silent", "constant")
    assert exclusions(torch.from_numpy(responses)) == exclusions(responses)
    assert exclusions(responses[:8, 3]) == ("",)  # 4 of 8
    with pytest.raises(ValueError, match=r"responses of shape \(image, neuron\), .* got \(2, 9, 8\)"):
        exclusions(np.stack([responses, responses]))


def test_a_mean_that_differs_by_rounding_is_constant() -> None:
    responses = np.full((3, 8, 1), 0.1)
    responses[0, :4], responses[1, 2:3] = np.nan, np.nan
    mean = np.nanmean(responses, axis=0)
    assert len(np.unique(mean)) > 1
    assert exclusions(mean) == ("constant",)


def test_tensors_in_tensors_out_and_arrays_in_arrays_out() -> None:
    responses = phases(2, 12, SIGNAL, NOISE)
    of_array, of_tensor = reliability(responses), reliability(torch.from_numpy(responses))
    assert (type(of_array), of_array.dtype) == (np.ndarray, np.float64)
    assert torch.equal(of_tensor, torch.from_numpy(of_array))
    assert reliability(torch.from_numpy(responses).float()).dtype == torch.float64
    of_halves = reliability(responses, split_halves=True)
    assert torch.equal(reliability(torch.from_numpy(responses), split_halves=True), torch.from_numpy(of_halves))
    of_array.flags.writeable = False
    corrected = noise_corrected(np.float32([0.5] * 4), of_array)
    assert (type(corrected), corrected.dtype) == (np.ndarray, np.float64)
    of_tensor = noise_corrected(torch.full((4,), 0.5), of_array)
    np.testing.assert_array_equal(of_tensor.numpy(), corrected)
    assert of_tensor.dtype == torch.float64
