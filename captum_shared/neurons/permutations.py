"""What held-out correlations chance alone gives: the cross-validation again, of responses that are dealt anew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from captum_shared.neurons.arrays import Array, ArrayT, Numbers, same_kind
from captum_shared.neurons.encoding import Groups, group_labels
from captum_shared.neurons.fitting import Labels
from captum_shared.neurons.folds import CV, judged_folds
from captum_shared.neurons.validation import judgeable, mean_within, predictions

N_PERMUTATIONS = 1000
"""How many responses dealt anew an interval rests on, those of all neurons together."""

_OUTSIDE = 0.05


def heldout_null_interval(
    features: Array,
    responses: ArrayT,
    *,
    cv: CV = 10,
    groups: Groups | None = None,
    estimator: Any = None,
    random_state: int | None = 0,
    progress: bool = False,
) -> tuple[Float64[ArrayT, " neuron"], Float64[ArrayT, " neuron"]]:
    r"""Interval that holds ``heldout_correlation`` with probability 0.95 if the features tell nothing of the responses.

    The responses are dealt anew among the images recorded for a neuron, 1,000 times for all neurons together and at
    least once for each, and the whole cross-validation is repeated with them, penalties and all. Fits of different
    folds share images, so that these correlations scatter more than :func:`null_interval` tells, by up to
    :math:`\sqrt 2`. Scaled by :math:`\sqrt{\sum_F (m_F - 1)}`, as neurons may be recorded for different images, they
    are one distribution, of which 2.5 % lie below the interval and 2.5 % above.

    So of neurons that nothing predicts 5 % lie outside on average, half of them above. This is the error rate of each
    neuron, not of a whole recording: of many such neurons some are above.

    Args:
        features: as for ``heldout_correlation``.
        responses: as for ``heldout_correlation``.
        cv: as for ``heldout_correlation``.
        groups: as for ``heldout_correlation``. The means of groups are dealt anew among groups, and deviations from
            them among the images of a group.
        estimator: as for ``heldout_correlation``; it is fitted 1,000 times in every fold.
        random_state: how folds are dealt where ``cv`` is their number, as for ``heldout_correlation``, and responses.
        progress: whether to show a progress bar.

    Returns:
        Lower and upper end for each neuron, in float64, as tensors on the CPU or arrays, as ``responses`` are; NaN for
        neurons that cannot be judged.

    Raises:
        TypeError: as for ``heldout_correlation``.
        ValueError: as for ``heldout_correlation``.

    Example:
        >>> from captum_shared.neurons.noise import null_interval
        >>> features = np.random.default_rng(0).standard_normal((60, 3))
        >>> low, high = heldout_null_interval(features, features @ [[1.0], [0.0], [2.0]], cv=5)
        >>> bool(low[0] < null_interval(60)[0]), bool(high[0] > null_interval(60)[1])
        (True, True)
    """
    usable = judgeable(responses)
    folds = judged_folds(len(usable), cv, groups, random_state)
    labels = np.arange(len(usable)) if groups is None else group_labels(groups, len(usable))
    generator = np.random.default_rng(random_state)
    neurons = np.flatnonzero(~np.isnan(usable).all(axis=0))
    ends = np.full((2, usable.shape[1]), np.nan)
    if len(neurons):
        times = math.ceil(N_PERMUTATIONS / len(neurons))
        dealt = np.column_stack([_dealt_anew(usable[:, neuron], labels, times, generator) for neuron in neurons])
        shown = tqdm(folds, desc="null interval", unit="fold", disable=not progress)
        correlations, freedom = mean_within(dealt, predictions(features, dealt, shown, groups, estimator))
        tails = np.nanquantile(
            correlations * np.sqrt(freedom), [_OUTSIDE / 2, 1 - _OUTSIDE / 2], method="median_unbiased"
        )
        ends[:, neurons] = tails[:, None] / np.sqrt(freedom[::times])
    return same_kind(ends[0], responses), same_kind(ends[1], responses)


def _dealt_anew(responses: Numbers, labels: Labels, times: int, generator: np.random.Generator) -> Numbers:
    """The responses of a neuron to the images recorded for it, dealt anew several times: (image, time)."""
    recorded = ~np.isnan(responses)
    _, group, sizes = np.unique(labels[recorded], return_inverse=True, return_counts=True)
    means = np.bincount(group, responses[recorded]) / sizes
    deviations, order = responses[recorded] - means[group], np.argsort(group, kind="stable")
    dealt: Numbers = np.full((len(responses), times), np.nan)
    for time in range(times):
        own = np.empty_like(deviations)
        own[order] = deviations[np.lexsort((generator.random(len(group)), group))]
        dealt[recorded, time] = generator.permutation(means)[group] + own
    return dealt
