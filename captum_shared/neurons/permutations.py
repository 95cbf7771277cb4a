"""What held-out correlations chance alone gives: the cross-validation again, of responses that are dealt anew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from captum_shared._progress import Progress
from captum_shared.neurons.arrays import ArrayT, Features, Numbers, same_kind
from captum_shared.neurons.encoding import Groups, group_labels
from captum_shared.neurons.fitting import Labels
from captum_shared.neurons.folds import CV, judged_folds
from captum_shared.neurons.validation import judgeable, mean_within, predictions

N_PERMUTATIONS = 1000
"""How many responses dealt anew an interval rests on, those of all neurons together."""

_OUTSIDE = 0.05


def heldout_null_interval(
    features: Features,
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

    In each fold the responses dealt anew share one decomposition of the features, as neurons do
    (:func:`~captum_shared.fit_readout`). They take a few numbers for each image and each of the 1,000 of them.

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
    both, neurons = _with_dealt(usable, groups, random_state)
    dealt = both[:, usable.shape[1] :]
    shown = Progress(folds, desc="null interval", unit="fold", disable=not progress)
    chance = mean_within(dealt, predictions(features, dealt, shown, groups, estimator))
    low, high = _interval(*chance, neurons, usable.shape[1])
    return same_kind(low, responses), same_kind(high, responses)


def heldout_against_chance(
    features: Features, responses: ArrayT, *, cv: CV = 10, random_state: int | None = 0, progress: bool = False
) -> tuple[Float64[ArrayT, " neuron"], Float64[ArrayT, " neuron"], Float64[ArrayT, " neuron"]]:
    """Judge neurons as ``heldout_correlation`` and ``heldout_null_interval`` do, from one fit of both in every fold.

    Args:
        features: as for ``heldout_correlation``.
        responses: as for ``heldout_correlation``.
        cv: as for ``heldout_correlation``.
        random_state: as for ``heldout_null_interval``.
        progress: whether to show a progress bar.

    Returns:
        The correlation of each neuron, and lower and upper end of its interval, each as of its own function.

    Example:
        >>> features = np.random.default_rng(0).standard_normal((60, 3))
        >>> correlation, low, high = heldout_against_chance(features, features @ [[1.0], [0.0], [2.0]], cv=5)
        >>> correlation.round(4), bool(high[0] > 0.25)
        (array([1.]), True)
    """
    usable = judgeable(responses)
    folds = judged_folds(len(usable), cv, None, random_state)
    both, neurons = _with_dealt(usable, None, random_state)
    n_neurons = usable.shape[1]
    shown = Progress(folds, desc="held-out images", unit="fold", disable=not progress)
    correlations, freedom = mean_within(both, predictions(features, both, shown, None, None))
    low, high = _interval(correlations[n_neurons:], freedom[n_neurons:], neurons, n_neurons)
    return same_kind(correlations[:n_neurons], responses), same_kind(low, responses), same_kind(high, responses)


def _with_dealt(
    usable: Numbers, groups: Groups | None, random_state: int | None
) -> tuple[Numbers, npt.NDArray[np.intp]]:
    """Responses, and beside them those dealt anew, of one neuron after the other; and which neurons these are."""
    labels = np.arange(len(usable)) if groups is None else group_labels(groups, len(usable))
    generator = np.random.default_rng(random_state)
    neurons = np.flatnonzero(~np.isnan(usable).all(axis=0))
    times, n_neurons = math.ceil(N_PERMUTATIONS / max(len(neurons), 1)), usable.shape[1]
    both = np.empty((len(usable), n_neurons + times * len(neurons)))
    both[:, :n_neurons] = usable
    for first, neuron in zip(range(n_neurons, both.shape[1], times), neurons, strict=True):
        both[:, first : first + times] = _dealt_anew(usable[:, neuron], labels, times, generator)
    return both, neurons


def _interval(correlations: Numbers, freedom: Numbers, neurons: npt.NDArray[np.intp], n_neurons: int) -> Numbers:
    """Lower and upper ends for all neurons, from the correlations of responses dealt anew."""
    ends = np.full((2, n_neurons), np.nan)
    if len(neurons):
        tails = np.nanquantile(
            correlations * np.sqrt(freedom), [_OUTSIDE / 2, 1 - _OUTSIDE / 2], method="median_unbiased"
        )
        ends[:, neurons] = tails[:, None] / np.sqrt(freedom[:: len(freedom) // len(neurons)])
    return ends


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
