"""Means and areas with intervals, by resampling the pairs or what they have in common."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

_RESAMPLES = 2000
_LEVEL = 0.95


class Interval(NamedTuple):
    """A score and the interval in which it falls for 95 % of resamplings.

    Attributes:
        value: the score.
        low: 2.5th percentile.
        high: 97.5th percentile.

    Example:
        >>> Interval(0.5, 0.4, 0.6)._asdict()
        {'value': 0.5, 'low': 0.4, 'high': 0.6}
    """

    value: float
    low: float
    high: float


def bootstrap(
    values: Float[Tensor, "pair ..."], groups: Int[Tensor, " pair"] | None = None, *, seed: int = 0
) -> Interval:
    """Average a score over pairs, with a percentile interval from 2000 resamplings of the pairs, or of their groups.

    Both images of a pair are drawn together, as they are not independent. For one seed and number of pairs the same
    pairs are drawn, so the interval of the difference of two methods is that of the difference of their scores.

    Args:
        values: scores, pair first; those of both images, or of several neurons, may follow on further axes.
        groups: what pairs have in common, such as the number of their neuron. As many groups are drawn as there are,
            each with all its pairs. By default each pair is drawn by itself.
        seed: of the resampling.

    Returns:
        The mean of all values that are not NaN, and its interval; all NaN if there are none.

    Raises:
        ValueError: if there are no pairs, or not one group for each.

    Example:
        >>> bootstrap(torch.tensor([1.0, 1.0, torch.nan]))
        Interval(value=1.0, low=1.0, high=1.0)
        >>> bootstrap(torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0, 0, 1, 1]))
        Interval(value=0.5, low=0.5, high=0.5)
    """
    if len(values) == 0:
        raise ValueError("Expected the scores of at least one pair, but got none.")
    if groups is not None and groups.shape != values.shape[:1]:
        raise ValueError(f"Expected one group for each of {len(values)} pairs, but got shape {tuple(groups.shape)}.")
    rows = values.detach().reshape(len(values), -1).double().cpu().numpy()
    sums, counts = np.nansum(rows, axis=1), (~np.isnan(rows)).sum(axis=1)
    if not counts.any():
        return Interval(np.nan, np.nan, np.nan)
    if groups is not None:
        _, group = np.unique(groups.cpu().numpy(), return_inverse=True)
        sums, counts = np.bincount(group, sums), np.bincount(group, counts)
    drawn = _times_drawn(len(sums), np.random.default_rng(seed))
    sizes = drawn @ counts
    means = (drawn @ sums)[sizes > 0] / sizes[sizes > 0]
    return _interval(sums.sum() / counts.sum(), means)


def bootstrap_auroc(
    positives: Float[Tensor, " positive"], negatives: Float[Tensor, " negative"], *, seed: int = 0
) -> Interval:
    r"""Compute how well a number tells two sorts of pairs apart, with an interval.

    .. math:: \mathrm{AUROC} = \frac1{nm} \sum_{i=1}^n \sum_{j=1}^m [p_i > q_j] + \tfrac12 [p_i = q_j]

    Pairs of each sort are drawn among themselves, so that the numbers n and m stay as they are.

    Args:
        positives: the number p for each pair that ought to have a high one, such as the map intensity of pairs that
            share a driver.
        negatives: the number q for each pair that ought to have a low one.
        seed: of the resampling.

    Returns:
        The area and its interval; NaN values are left out, and if none of one sort remain, all three are NaN.

    Example:
        >>> bootstrap_auroc(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]))
        Interval(value=1.0, low=1.0, high=1.0)
    """
    high, low = (values[~values.isnan()].double() for values in (positives, negatives))
    if len(high) == 0 or len(low) == 0:
        return Interval(np.nan, np.nan, np.nan)
    won = torch.where(high[:, None] == low, 0.5, (high[:, None] > low).double()).cpu().numpy()
    rng = np.random.default_rng(seed)
    drawn_high, drawn_low = _times_drawn(len(high), rng), _times_drawn(len(low), rng)
    return _interval(won.mean(), ((drawn_high @ won) * drawn_low).sum(axis=1) / won.size)


def _times_drawn(n_pairs: int, rng: np.random.Generator) -> Float[ndarray, "resample pair"]:
    """How often each pair (or group) is drawn, in as many draws with replacement as there are of them."""
    return rng.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), size=_RESAMPLES).astype(np.float64)


def _interval(value: float, resampled: Float[ndarray, " resample"]) -> Interval:
    low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
