"""Fit what a neuron reads out of the latent features, and judge the fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from torch import Tensor

from captum_shared.neurons.estimators import folded
from captum_shared.neurons.readout import LinearReadout

Array = Tensor | npt.NDArray[Any]
Numbers = npt.NDArray[np.float64]

FEWEST_IMAGES = 3
"""Fewest images to fit a neuron to, or to correlate: with two, every correlation is 1 or -1."""


def fit_readout(
    features: Array,
    responses: Array,
    *,
    estimator: Any = None,
    center: bool = False,
    neuron_names: Sequence[str] | None = None,
) -> LinearReadout:
    r"""Fit a linear readout of latent features for every neuron.

    .. math:: y_k \approx w_k \cdot f(x) + b_k

    The default is ridge regression on standardised features, with one regularisation strength per neuron between
    1e-2 and 1e6 chosen by leave-one-out cross-validation. Each neuron is fitted to the images recorded for it;
    neurons recorded for the same images are fitted together. A neuron whose responses are all equal, or that is
    recorded for fewer than 3 images, gets zero weights and its mean response as bias (0 if there is none), whatever
    the estimator (choice).

    Args:
        features: latent features :math:`f(x)` of the preferred category, (image, feature), at least 3 images.
        responses: recorded responses :math:`y`, (image, neuron), or (image,) for one neuron; any unit, NaN where
            nothing was recorded.
        estimator: any linear regressor that ``LinearReadout.from_estimator`` can read; a clone of it is fitted.
            One that takes a single target is fitted neuron by neuron.
        center: whether ``feature_mean`` of the readout is the mean of these features (recommended: latent features
            after a ReLU are all positive), of all images whether recorded or not, or zero, as in the paper. The
            prediction is the same.
        neuron_names: one distinct name per neuron. Default: ``"0"``, ``"1"``, ...

    Returns:
        The readout, in float64 and on the CPU.

    Raises:
        TypeError: if the estimator is not supported.
        ValueError: if a feature is not finite, a response is infinite, a shape does not fit, or there are fewer than 3
            images.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> readout = fit_readout(features, 2 * features[:, 0] + 1, center=True, neuron_names=["A"])
        >>> readout(torch.tensor([[4.0]])).round(decimals=1), readout.feature_mean
        (tensor([[9.]], dtype=torch.float64), tensor([1.5000], dtype=torch.float64))

    The encoding model of Lappe et al. (NeurIPS 2024, arXiv 2405.09827); the paper does not centre.
    """
    inputs, outputs = as_matrix(features, "features"), as_matrix(responses, "responses", missing=True)
    if len(inputs) != len(outputs) or len(inputs) < FEWEST_IMAGES:
        raise ValueError(
            f"Expected features and responses of the same {FEWEST_IMAGES} or more images, got "
            f"{len(inputs)} and {len(outputs)} images: pass one row per image in both."
        )
    weight = np.zeros((outputs.shape[1], inputs.shape[1]))
    bias = np.array([_mean(neuron[~np.isnan(neuron)]) for neuron in outputs.T])
    for images, neurons in _recorded_together(outputs):
        whole = images.all() and len(neurons) == outputs.shape[1]  # as it lies in memory: copies round differently
        shown, seen = (inputs, outputs) if whole else (inputs[images], outputs[images][:, neurons])
        unfitted = _default_estimator() if estimator is None else clone(estimator)
        weight[neurons], bias[neurons] = folded(_fitted(unfitted, shown, seen))
    return LinearReadout(weight, bias, inputs.mean(axis=0) if center else None, neuron_names=neuron_names)


def correlation(predicted: Array, recorded: Array) -> Float64[Tensor, " neuron"]:
    r"""Pearson correlation of predicted and recorded responses across images, neuron by neuron.

    .. math:: \rho_k = \frac{\sum_i (p_{ik} - \bar p_k)(y_{ik} - \bar y_k)}
        {\sqrt{\sum_i (p_{ik} - \bar p_k)^2 \sum_i (y_{ik} - \bar y_k)^2}}

    Args:
        predicted: predicted responses :math:`p`, (image, neuron), or (image,) for one neuron.
        recorded: recorded responses :math:`y`, of the same shape; NaN where nothing was recorded: these images are
            left out, neuron by neuron.

    Returns:
        One correlation in [-1, 1] per neuron, in float64 and on the CPU; NaN where either is constant but for
        rounding, or fewer than 3 images were recorded (choice).

    Raises:
        ValueError: if the shapes differ, a prediction is not finite, or a response is infinite.

    Example:
        >>> recorded = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        >>> correlation(-recorded, recorded).round(decimals=6)
        tensor([-1., nan], dtype=torch.float64)
    """
    first, second = as_matrix(predicted, "predicted"), as_matrix(recorded, "recorded", missing=True)
    if first.shape != second.shape:
        raise ValueError(
            "Expected predicted and recorded responses of one shape (image, neuron), got "
            f"{first.shape} and {second.shape}: pass the same images and neurons in both."
        )
    pairs = ((one[~np.isnan(other)], other[~np.isnan(other)]) for one, other in zip(first.T, second.T, strict=True))
    return torch.tensor([_pearson(*pair) for pair in pairs], dtype=torch.float64)


def as_matrix(array: Array, name: str, *, missing: bool = False) -> Numbers:
    """Return float64 numbers along (image, neuron) or (image, feature), on the CPU.

    Args:
        array: numbers; where it has one axis, and is not of features, it becomes one column.
        name: what it holds, for the message; ``"features"`` has features for columns, all others neurons.
        missing: whether it may hold NaN.

    Returns:
        The numbers; the caller's own memory where nothing had to change.

    Raises:
        ValueError: if it is empty, has too many axes, or holds infinity or NaN that may not be missing.

    Example:
        >>> as_matrix(torch.tensor([1, 2]), "responses")
        array([[1.],
               [2.]])
    """
    values = array.detach().cpu().double().numpy() if isinstance(array, Tensor) else array
    matrix: Numbers = np.asarray(values, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 and name != "features" else matrix
    if matrix.ndim != 2 or matrix.size == 0:
        columns = "feature" if name == "features" else "neuron"
        raise ValueError(f"Expected {name} of shape (image, {columns}), none of them empty, got {np.shape(values)}.")
    wrong = np.argwhere(np.isinf(matrix) if missing else ~np.isfinite(matrix))
    if len(wrong):
        row, column = wrong[0]
        got, remedy = (
            ("infinity", "write NaN where nothing was recorded")
            if missing
            else ("NaN or infinity", "drop these images, or fill the gaps")
        )
        raise ValueError(
            f"Expected finite {name}, got {got} {len(wrong)} times, first at row {row}, column {column}: {remedy}."
        )
    return matrix


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
    return bool(np.ptp(responses) > 1e-12 * np.abs(responses).max())


def _pearson(first: Numbers, second: Numbers) -> float:
    if len(first) < FEWEST_IMAGES or not (varies(first) and varies(second)):
        return float("nan")
    return float(np.clip(_unit(first) @ _unit(second), -1, 1))


def _unit(responses: Numbers) -> Numbers:
    """Responses centred and of unit length; scaled by their range first, so that nothing under- or overflows."""
    centred = (responses - responses.mean()) / np.ptp(responses)
    unit: Numbers = centred / np.linalg.norm(centred)
    return unit


def _recorded_together(responses: Numbers) -> list[tuple[npt.NDArray[np.bool_], list[int]]]:
    """The neurons that can be fitted, by the images that were recorded for them."""
    together: defaultdict[bytes, list[int]] = defaultdict(list)
    for neuron, recorded in enumerate(~np.isnan(responses).T):
        if recorded.sum() >= FEWEST_IMAGES and varies(responses[recorded, neuron]):
            together[recorded.tobytes()].append(neuron)
    return [(~np.isnan(responses[:, neurons[0]]), neurons) for neurons in together.values()]


def _mean(recorded: Numbers) -> float:
    """Of a neuron that cannot be fitted: to the last bit where all are equal, and the same for one or two."""
    return float(np.median(recorded)) if len(recorded) else 0.0


def _default_estimator() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True))


def _fitted(estimator: Any, inputs: Any, outputs: Any) -> Any:
    """The estimator, fitted to all neurons; one copy per neuron if it takes a single target."""
    last = estimator
    while isinstance(last, Pipeline | GridSearchCV | RandomizedSearchCV):
        last = last.steps[-1][1] if isinstance(last, Pipeline) else last.estimator
    if not get_tags(last).target_tags.multi_output:
        if outputs.shape[1] == 1:
            return estimator.fit(inputs, outputs[:, 0])
        estimator = MultiOutputRegressor(estimator)
    return estimator.fit(inputs, outputs)
