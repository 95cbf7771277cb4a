"""Fit neurons to the images recorded for them, those that share their images together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Shaped
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
    bias = np.array([_mean(neuron[~np.isnan(neuron)]) for neuron in responses.T])
    for recorded, neurons in _recorded_together(responses, labels if estimator is None else None):
        chosen = None if images is None and recorded.all() else rows[recorded]
        alike = recorded.all() and len(neurons) == responses.shape[1]  # as it lies in memory: copies round differently
        seen = responses if alike else responses[recorded][:, neurons]
        own = None if labels is None else labels[recorded]
        if estimator is None:
            decomposed = DecomposedFeatures(features, chosen)
            weight[neurons], bias[neurons] = decomposed.ridge(seen, decomposed.penalties(seen, own))
        else:
            shown = features if chosen is None else features[chosen]
            weight[neurons], bias[neurons] = folded(_fitted(clone(estimator), shown, seen, own))
    return weight, bias


def varies(responses: Float64[np.ndarray, " image"]) -> bool:
    """Tell whether responses differ by more than the rounding of a mean does, 1e-12 of the largest.

    Args:
        responses: of one neuron, at least one.

    Returns:
        Whether there is anything to explain.

    Example:
        >>> varies(np.array([0.3, 0.1 + 0.2])), varies(np.array([0.0, 1e-30]))
        (False, True)
    """
    return bool(np.ptp(responses) > ROUNDING * np.abs(responses).max())


def _recorded_together(responses: Numbers, labels: Labels | None) -> list[tuple[npt.NDArray[np.bool_], list[int]]]:
    """The neurons that can be fitted, by the images that were recorded for them."""
    together: defaultdict[bytes, list[int]] = defaultdict(list)
    for neuron, recorded in enumerate(~np.isnan(responses).T):
        if recorded.sum() >= FEWEST_IMAGES and varies(responses[recorded, neuron]):
            together[recorded.tobytes()].append(neuron)
    alike = [(~np.isnan(responses[:, neurons[0]]), neurons) for neurons in together.values()]
    return [each for each in alike if labels is None or len(np.unique(labels[each[0]])) > 1]


def _mean(recorded: Numbers) -> float:
    """Of a neuron that may not be fitted; to the last bit where all responses are equal."""
    if len(recorded) == 0:
        return 0.0
    return float(recorded.mean() if varies(recorded) else np.median(recorded))


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
