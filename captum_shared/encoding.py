"""Fit what a neuron reads out of the latent features, and judge the fit."""

from __future__ import annotations

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

from captum_shared.readout import LinearReadout

Array = Tensor | npt.NDArray[Any]


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
    1e-2 and 1e6 chosen by leave-one-out cross-validation. A neuron whose responses are all equal gets zero weights
    and that response as bias, whatever the estimator (choice).

    Args:
        features: latent features :math:`f(x)` of the preferred category, (image, feature), at least 3 images.
        responses: recorded responses :math:`y`, (image, neuron), or (image,) for one neuron; any unit.
        estimator: any linear regressor that ``LinearReadout.from_estimator`` can read; a clone of it is fitted.
            One that takes a single target is fitted neuron by neuron.
        center: whether ``feature_mean`` of the readout is the mean of these features (recommended: latent features
            after a ReLU are all positive) or zero, as in the paper. The prediction is the same.
        neuron_names: one distinct name per neuron. Default: ``"0"``, ``"1"``, ...

    Returns:
        The readout, in float64 and on the CPU.

    Raises:
        TypeError: if the estimator is not supported.
        ValueError: if a number is not finite, a shape does not fit, or there are fewer than 3 images.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> readout = fit_readout(features, 2 * features[:, 0] + 1, center=True, neuron_names=["A"])
        >>> readout(torch.tensor([[4.0]])).round(decimals=1), readout.feature_mean
        (tensor([[9.]], dtype=torch.float64), tensor([1.5000], dtype=torch.float64))

    The encoding model of Lappe et al. (NeurIPS 2024, arXiv 2405.09827); the paper does not centre.
    """
    inputs, outputs = _as_matrix(features, "features"), _as_matrix(responses, "responses")
    if len(inputs) != len(outputs) or len(inputs) < 3:
        raise ValueError(
            "Expected features and responses of the same 3 or more images, got "
            f"{len(inputs)} and {len(outputs)} images: pass one row per image in both."
        )
    fitted = _fitted(_default_estimator() if estimator is None else clone(estimator), inputs, outputs)
    mean = inputs.mean(axis=0) if center else None
    readout = LinearReadout.from_estimator(fitted, feature_mean=mean, neuron_names=neuron_names)
    silent = torch.as_tensor(np.ptp(outputs, axis=0) == 0)
    readout.weight[silent] = 0
    readout.bias[silent] = torch.as_tensor(outputs[0])[silent]
    return readout


def correlation(predicted: Array, recorded: Array) -> Float64[Tensor, " neuron"]:
    r"""Pearson correlation of predicted and recorded responses across images, neuron by neuron.

    .. math:: \rho_k = \frac{\sum_i (p_{ik} - \bar p_k)(y_{ik} - \bar y_k)}
        {\sqrt{\sum_i (p_{ik} - \bar p_k)^2 \sum_i (y_{ik} - \bar y_k)^2}}

    Args:
        predicted: predicted responses :math:`p`, (image, neuron), or (image,) for one neuron.
        recorded: recorded responses :math:`y`, of the same shape.

    Returns:
        One correlation in [-1, 1] per neuron, in float64 and on the CPU; NaN where either is constant.

    Raises:
        ValueError: if the shapes differ, or a number is not finite.

    Example:
        >>> recorded = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        >>> correlation(-recorded, recorded).round(decimals=6)
        tensor([-1., nan], dtype=torch.float64)
    """
    first, second = _as_matrix(predicted, "predicted"), _as_matrix(recorded, "recorded")
    if first.shape != second.shape:
        raise ValueError(
            "Expected predicted and recorded responses of one shape (image, neuron), got "
            f"{first.shape} and {second.shape}: pass the same images and neurons in both."
        )
    constant = (np.ptp(first, axis=0) == 0) | (np.ptp(second, axis=0) == 0)
    cosine = np.sum(_unit(first) * _unit(second), axis=0).clip(-1, 1)
    return torch.from_numpy(np.where(constant, np.nan, cosine))


def _unit(responses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Every neuron centred and of unit length; scaled by its range first, so that nothing under- or overflows."""
    span = np.ptp(responses, axis=0)
    centred = (responses - responses.mean(axis=0)) / np.where(span == 0, 1, span)
    unit: npt.NDArray[np.float64] = centred / np.where(span == 0, 1, np.linalg.norm(centred, axis=0))
    return unit


def _as_matrix(array: Array, name: str) -> npt.NDArray[np.float64]:
    """Finite float64 numbers of shape (image, ...) on the CPU, with one column where ``array`` has one axis."""
    values = array.detach().cpu().double().numpy() if isinstance(array, Tensor) else array
    matrix: npt.NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 and name != "features" else matrix
    if matrix.ndim != 2 or matrix.size == 0:
        columns = "feature" if name == "features" else "neuron"
        raise ValueError(f"Expected {name} of shape (image, {columns}), none of them empty, got {np.shape(values)}.")
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"Expected finite {name}, got NaN or infinity {len(wrong)} times, first at row {row}, column {column}: "
            "drop these images, or fill the gaps."
        )
    return matrix


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
