"""What noise lets one expect: reliability of the responses, and the correlations that chance alone gives."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy import stats
from torch import Tensor

from captum_shared.neurons.arrays import Array, ArrayT, Numbers, as_matrix, as_numbers, same_kind
from captum_shared.neurons.encoding import correlation
from captum_shared.neurons.fitting import FEWEST_IMAGES, varies


def reliability(responses: ArrayT, *, split_halves: bool = False) -> Float64[ArrayT, " neuron"]:
    r"""Correlate the responses of two recording phases across images, neuron by neuron.

    .. math:: r_k = \rho(y_k^{(1)}, y_k^{(2)}) \approx \frac{S_k}{S_k + N_k}

    with S the variance of the expected response across images and N the variance of the noise in one phase: the
    reliability of the responses of **one** phase. Of more than two phases it is the mean over all pairs that
    have one.

    Where there is one phase only, its repetitions can be dealt into two halves. The correlation of the halves is the
    reliability of half the data; with ``split_halves`` it is converted to that of all of it, the mean of both halves,
    by the equation of Spearman and Brown: :math:`2 r / (1 + r)`.

    Args:
        responses: (phase, image, neuron), any unit, NaN where nothing was recorded; (half, image, neuron) with
            ``split_halves``. Images not recorded in both phases are left out.
        split_halves: whether these are the two halves of one phase.

    Returns:
        One reliability per neuron, at most 1, in float64, as a tensor on the CPU or an array, as ``responses`` are; NaN
        where fewer than 3 images were recorded in both phases, or either is constant. It may be negative by chance; at
        -1 the Spearman-Brown correction diverges.

    Raises:
        ValueError: if there are fewer than two phases, not exactly two halves, or a response is infinite.

    Example:
        >>> halves = torch.tensor([[[1.0], [2.0], [3.0]], [[1.0], [3.0], [2.0]]])
        >>> reliability(halves), reliability(halves, split_halves=True).round(decimals=4)
        (tensor([0.5000], dtype=torch.float64), tensor([0.6667], dtype=torch.float64))
    """
    phases = _phases(responses)
    if len(phases) < 2 or (split_halves and len(phases) > 2):
        raise ValueError(
            f"Expected {'the two halves of one phase' if split_halves else 'at least two phases'}, got {len(phases)}: "
            "where there is one phase, deal its repetitions into two halves and pass them with split_halves=True."
        )
    pairs = [_correlation(first, second) for first, second in itertools.combinations(phases, 2)]
    between = torch.stack(pairs).nanmean(dim=0)
    return same_kind((_of_the_mean(between, 2) if split_halves else between).numpy(), responses)


def noise_corrected(
    correlation: Float[ArrayT, " neuron"], reliability: Float[Array, " neuron"], *, phases: int = 1
) -> Float64[ArrayT, " neuron"]:
    r"""Estimate the correlation of the predictions with responses free of noise.

    .. math:: \rho(p, s) = \frac{\rho(p, y)}{\sqrt{r_P}}, \qquad r_P = \frac{P\, r}{1 + (P - 1)\, r}

    for recorded responses :math:`y = s +` noise that is independent of the predictions p, where :math:`r_P = S / (S +
    N / P)` is the reliability of the mean of P phases, and r that of one.

    Args:
        correlation: of predicted with recorded responses, one per neuron.
        reliability: r, as ``reliability`` gives it, one per neuron.
        phases: P, the number of phases whose mean the correlation was computed with. 1 where it was computed with the
            very responses whose reliability is given, as with ``split_halves=True``.

    Returns:
        One corrected correlation per neuron, in float64, as a tensor on the CPU or an array, as ``correlation`` is; NaN
        where the reliability is not positive. Not clipped: an estimate above 1 says that the reliability is
        underestimated by chance.

    Raises:
        ValueError: if ``phases`` is below 1.

    Example:
        >>> r = torch.tensor([0.25, -0.1], dtype=torch.float64)
        >>> noise_corrected(torch.tensor([0.4, 0.1], dtype=torch.float64), r)
        tensor([0.8000,    nan], dtype=torch.float64)
        >>> noise_corrected(torch.tensor([0.4, 0.1], dtype=torch.float64), r, phases=2).round(decimals=4)
        tensor([0.6325,    nan], dtype=torch.float64)
    """
    if phases < 1:
        raise ValueError(f"Expected phases of at least 1, got {phases}.")
    judged, measured = (torch.tensor(as_numbers(values)) for values in (correlation, reliability))
    positive = torch.where(measured > 0, measured, torch.nan)
    return same_kind((judged / _of_the_mean(positive, phases).sqrt()).numpy(), correlation)


def ceiling(reliability: Float64[np.ndarray, " neuron"], *, phases: int = 1) -> Float64[np.ndarray, " neuron"]:
    r"""Tell how high the correlation of any predictions with recorded responses can be expected to be.

    .. math:: \sqrt{r_P}

    with :math:`r_P` the reliability of the mean of P phases, as in :func:`noise_corrected`.

    Args:
        reliability: of one phase, one per neuron.
        phases: P, the number of phases whose mean is predicted; 1 where the reliability is of the very responses.

    Returns:
        One ceiling per neuron, by which a correlation is divided to correct it; zero where the reliability is negative
        by chance, NaN where it is not known.

    Example:
        >>> ceiling(np.array([0.25, -0.1])), ceiling(np.array([0.25]), phases=2).round(4)
        (array([0.5, 0. ]), array([0.6325]))
    """
    one = np.maximum(reliability, 0)
    root: Numbers = np.sqrt(phases * one / (1 + (phases - 1) * one))
    return root


def null_interval(n: int, alpha: float = 0.05) -> tuple[float, float]:
    r"""Interval that holds a Pearson correlation over n images with probability 1 - alpha if there is none (ρ = 0).

    .. math:: \pm \frac{t}{\sqrt{n - 2 + t^2}}, \qquad t = t_{n-2}(1 - \alpha / 2)

    Exact for responses that are normal and independent between images, by Student's t distribution; both tails
    are equal.

    Args:
        n: number of images, at least 3.
        alpha: probability to fall outside, between 0 and 1.

    Returns:
        Lower and upper end, in [-1, 1].

    Raises:
        ValueError: if ``n`` or ``alpha`` is out of range.

    Example:
        >>> [round(end, 3) for end in null_interval(100)]
        [-0.197, 0.197]
    """
    if n < FEWEST_IMAGES or not 0 < alpha < 1:
        raise ValueError(
            f"Expected at least {FEWEST_IMAGES} images and alpha between 0 and 1, got n={n} and alpha={alpha}: a "
            "correlation of fewer images is always 1 or -1."
        )
    t = float(stats.t.ppf(1 - alpha / 2, n - 2))
    end = t / (n - 2 + t**2) ** 0.5
    return -end, end


def exclusions(responses: Array) -> tuple[str, ...]:
    """Tell for each neuron why it cannot be fitted and judged, if it cannot.

    Args:
        responses: mean responses, (image, neuron), or (image,) for one neuron; any unit, NaN where nothing was
            recorded.

    Returns:
        For each neuron an empty string, or the first of ``"no response recorded"``, ``"silent"`` (all zero),
        ``"constant"`` and ``"recorded for fewer than half of the images"`` that holds.

    Raises:
        ValueError: if a response is infinite, or the shape does not fit.

    Example:
        >>> exclusions(torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
        ('', 'silent')
    """
    return tuple(_exclusion(neuron) for neuron in as_matrix(responses, "responses", missing=True).T)


def _exclusion(responses: Numbers) -> str:
    recorded = responses[~np.isnan(responses)]
    if len(recorded) == 0:
        return "no response recorded"
    if not recorded.any():
        return "silent"
    if not varies(recorded[:, None])[0]:
        return "constant"
    return "recorded for fewer than half of the images" if 2 * len(recorded) < len(responses) else ""


def _phases(responses: Array) -> list[Numbers]:
    if responses.ndim != 3 or 0 in responses.shape:
        raise ValueError(
            f"Expected responses of shape (phase, image, neuron), none of them empty, got {tuple(responses.shape)}: "
            "where there is one phase, pass responses[None]."
        )
    return [as_matrix(phase, "responses", missing=True) for phase in responses]


def _correlation(first: Numbers, second: Numbers) -> Float64[Tensor, " neuron"]:
    """Correlation over the images that both phases recorded."""
    missing = np.isnan(first)
    return torch.from_numpy(correlation(np.where(missing, 0, first), np.where(missing, np.nan, second)))


def _of_the_mean(reliability: Float64[Tensor, " neuron"], n: int) -> Float64[Tensor, " neuron"]:
    """Reliability of the mean of n measurements from that of one (Spearman and Brown)."""
    return n * reliability / (1 + (n - 1) * reliability)
