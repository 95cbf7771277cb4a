"""Fit neurons to the images recorded for them, those that share their images together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float64, Shaped
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from captum_shared.neurons.arrays import Numbers
from captum_shared.neurons.estimators import Affine, folded
from captum_shared.neurons.ridge import DecomposedFeatures

Labels = Shaped[np.ndarray, " image"]

FEWEST_IMAGES = 3
"""Fewest images to fit a neuron to, or to correlate: with two, every correlation is 1 or -1."""

ROUNDING = 1e-12
"""By how much of the largest responses have to differ."""


def fitted(
    features: Float64[np.ndarray, "all_images feature"],
    responses: Float64[np.ndarray, "image neuron"],
    *,
    images: Shaped[np.ndarray, " image"] | None = None,
    estimator: Any = None,
    labels: Labels | None = None,
) -> Affine:
    """Fit all neurons to some images.

    Args:
        features: of all images.
        responses: to the images that are fitted to, NaN where nothing was recorded.
        images: indices of the images to fit to. Default: all.
        estimator: as for ``fit_readout``.
        labels: the group of each image that is fitted to.

    Returns:
        Weight and bias. A neuron that cannot be fitted has zero weights and its mean for bias.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> weight, bias = fitted(features, 2 * features[:3] + 1, images=np.arange(3))
        >>> weight.round(1), bias.round(1)
        (array([[2.]]), array([1.]))
    """
    rows = np.arange(len(features)) if images is None else images
    weight = np.zeros((responses.shape[1], features.shape[1]))
    bias = _means(responses)
    for recorded, neurons in _recorded_together(responses, labels if estimator is None else None):
        chosen = None if images is None and recorded.all() else rows[recorded]
        alike = recorded.all() and len(neurons) == responses.shape[1]  # as it lies in memory: copies round differently
        seen = responses if alike else responses[np.flatnonzero(recorded)[:, None], neurons]
        own = None if labels is None else labels[recorded]
        if estimator is None:
            decomposed = DecomposedFeatures(features, chosen)
            weight[neurons], bias[neurons] = decomposed.ridge(seen, decomposed.penalties(seen, own))
        else:
            shown = features if chosen is None else features[chosen]
            weight[neurons], bias[neurons] = folded(_fitted(clone(estimator), shown, seen, own))
    return weight, bias


def varies(responses: Float64[np.ndarray, "image neuron"]) -> Bool[np.ndarray, " neuron"]:
    """Tell of which neurons the responses differ by more than the rounding of a mean does, 1e-12 of the largest.

    Args:
        responses: NaN where nothing was recorded.

    Returns:
        Whether there is anything to explain; not where nothing was recorded.

    Example:
        >>> varies(np.array([[0.3, 0.0, np.nan], [0.1 + 0.2, 1e-30, 2.0]]))
        array([False,  True, False])
    """
    lowest, highest = extremes(responses)
    varying: npt.NDArray[np.bool_] = highest - lowest > ROUNDING * np.maximum(np.abs(lowest), np.abs(highest))
    return varying


def extremes(responses: Numbers) -> tuple[Numbers, Numbers]:
    """Tell the lowest and the highest response of each neuron.

    Args:
        responses: (image, neuron), NaN where nothing was recorded.

    Returns:
        Both along (neuron,), infinite where nothing was recorded.
    """
    recorded = ~np.isnan(responses)
    lowest: Numbers = np.min(responses, axis=0, initial=np.inf, where=recorded)
    highest: Numbers = np.max(responses, axis=0, initial=-np.inf, where=recorded)
    return lowest, highest


def _means(responses: Numbers) -> Numbers:
    """Of neurons that may not be fitted; to the last bit where all responses are equal, 0 where there is none."""
    recorded = ~np.isnan(responses)
    count = recorded.sum(axis=0)
    means = np.sum(responses, axis=0, where=recorded) / np.maximum(count, 1)
    return np.where(varies(responses) | (count == 0), means, extremes(responses)[0])


def _recorded_together(responses: Numbers, labels: Labels | None) -> list[tuple[npt.NDArray[np.bool_], list[int]]]:
    """The neurons that can be fitted, by the images that were recorded for them."""
    recorded, together = ~np.isnan(responses), defaultdict[bytes, list[int]](list)
    for neuron in np.flatnonzero(varies(responses) & (recorded.sum(axis=0) >= FEWEST_IMAGES)):
        together[recorded[:, neuron].tobytes()].append(int(neuron))
    alike = [(recorded[:, neurons[0]], neurons) for neurons in together.values()]
    return [each for each in alike if labels is None or len(np.unique(labels[each[0]])) > 1]


def _fitted(estimator: Any, inputs: Any, outputs: Any, labels: Labels | None) -> Any:
    """The estimator, fitted to all neurons; one copy per neuron if it takes a single target."""
    handed = {} if labels is None else _handed_to_search(estimator, labels)
    last = estimator
    while isinstance(last, Pipeline | GridSearchCV | RandomizedSearchCV):
        last = last.steps[-1][1] if isinstance(last, Pipeline) else last.estimator
    if not get_tags(last).target_tags.multi_output:
        if outputs.shape[1] == 1:
            return estimator.fit(inputs, outputs[:, 0], **handed)
        estimator = MultiOutputRegressor(estimator)
    return estimator.fit(inputs, outputs, **handed)


def _handed_to_search(estimator: Any, labels: Labels) -> dict[str, Labels]:
    """The argument of ``fit`` by which a parameter search learns of the groups; none where nothing is searched."""
    path, last = "", estimator
    while isinstance(last, Pipeline | MultiOutputRegressor):
        if isinstance(last, Pipeline):
            path, last = f"{path}{last.steps[-1][0]}__", last.steps[-1][1]
        else:
            last = last.estimator
    return {f"{path}groups": labels} if isinstance(last, GridSearchCV | RandomizedSearchCV) else {}
