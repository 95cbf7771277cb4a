"""Fold a fitted linear estimator, with all that stands before it, into one weight matrix and one bias."""

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

Affine: TypeAlias = tuple[Float64[np.ndarray, "neuron feature"], Float64[np.ndarray, " neuron"]]

_SUPPORTED = (
    "a linear regressor of scikit-learn or himalaya with coef_, alone or in a Pipeline, GridSearchCV, "
    "RandomizedSearchCV or MultiOutputRegressor, after StandardScaler, RobustScaler, MinMaxScaler, MaxAbsScaler, PCA, "
    "IncrementalPCA, TruncatedSVD, a feature selector or 'passthrough'"
)


def folded(estimator: Any) -> Affine:
    r"""Fold an estimator and its steps into weight and bias.

    .. math:: w \cdot (A x + c) + b = (w A) x + (b + w c)

    Args:
        estimator: a fitted linear regressor of scikit-learn or himalaya, alone or at the end of pipelines of scalers,
            linear projections and feature selectors, in a parameter search, or one per neuron in a
            ``MultiOutputRegressor``.

    Returns:
        Weight (neuron, feature) and bias (neuron,), with which ``features @ weight.T + bias`` is what it predicts.

    Raises:
        TypeError: if an estimator or a step is not supported.
        ValueError: if it is not fitted, or does not predict linearly (checked on a few random vectors).

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> weight, bias = folded(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]))
        >>> weight.round(6), bias.round(6)
        (array([[2.]]), array([1.]))
    """
    if not hasattr(estimator, "fit"):
        raise TypeError(f"Expected {_SUPPORTED}, got {type(estimator).__name__}.")
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        name = type(estimator).__name__
        raise ValueError(f"Expected a fitted estimator, got {name} before fit: call its fit first.") from error
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # fitted on named columns, probed without names
        weight, bias = _folded(estimator)
        _check_predictions(estimator, weight, bias)
    return weight, bias


def _folded(estimator: Any) -> Affine:
    """Weight and bias of a fitted estimator that predicts linearly."""
    if isinstance(estimator, Pipeline):
        weight, bias = _folded(estimator.steps[-1][1])
        return _folded_steps(estimator.steps[:-1], weight, bias)
    if isinstance(estimator, MultiOutputRegressor):
        parts = [_folded(one) for one in estimator.estimators_]
        return np.concatenate([weight for weight, _ in parts]), np.concatenate([bias for _, bias in parts])
    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        if not hasattr(estimator, "best_estimator_"):
            raise ValueError(f"Expected a refitted search, got {type(estimator).__name__}: use refit=True.")
        return _folded(estimator.best_estimator_)
    if isinstance(estimator, ClassifierMixin) or not hasattr(estimator, "coef_"):
        raise TypeError(f"Expected {_SUPPORTED}, got the estimator {type(estimator).__name__}.")
    weight = _as_float64(estimator.coef_)
    if any(parent.__module__.startswith("himalaya.") for parent in type(estimator).__mro__):
        weight = weight.T  # himalaya keeps (feature, target)
    weight = np.atleast_2d(weight)
    return weight, _as_float64(estimator.predict(np.zeros((1, weight.shape[1])))).reshape(-1)


def _folded_steps(steps: Sequence[tuple[str, Any]], weight: Any, bias: Any) -> Affine:
    """Weight and bias with respect to the input of ``steps``, from those with respect to their output."""
    for _, step in reversed(steps):
        if isinstance(step, Pipeline):
            weight, bias = _folded_steps(step.steps, weight, bias)
        elif isinstance(step, SelectorMixin):
            selected, weight = weight, np.zeros((len(weight), len(step.get_support())))
            weight[:, step.get_support()] = selected
        elif step is not None and step != "passthrough":
            linear = _linear_part(step)
            bias = bias + weight @ _as_float64(step.transform(np.zeros((1, step.n_features_in_))))[0]
            weight = weight * linear if linear.ndim == 1 else weight @ linear
    return weight, bias


def _linear_part(step: Any) -> npt.NDArray[np.float64]:
    """A of a fitted step z = A x + c; its diagonal for a scaler."""
    if isinstance(step, StandardScaler | RobustScaler | MaxAbsScaler):
        return np.ones(step.n_features_in_) if step.scale_ is None else 1 / _as_float64(step.scale_)
    if isinstance(step, MinMaxScaler):
        return _as_float64(step.scale_)
    if not isinstance(step, PCA | IncrementalPCA | TruncatedSVD):
        raise TypeError(f"Expected {_SUPPORTED}, got the step {type(step).__name__}.")
    components = _as_float64(step.components_)
    if not getattr(step, "whiten", False):
        return components
    smallest = np.finfo(step.explained_variance_.dtype).eps  # scikit-learn clips at the same value
    return components / np.maximum(np.sqrt(_as_float64(step.explained_variance_)), smallest)[:, None]


def _as_float64(array: Any) -> npt.NDArray[np.float64]:
    """Dense numpy copy of an array, a sparse array or a tensor on any device."""
    array = array.detach().cpu() if isinstance(array, Tensor) else array
    return np.array(array.toarray() if hasattr(array, "toarray") else array, dtype=np.float64)


def _check_predictions(estimator: Any, weight: Any, bias: Any) -> None:
    """Compare with the estimator itself, on random vectors of growing length; 1e-5 leaves room for float32."""
    inputs = np.random.default_rng(0).standard_normal((4, weight.shape[1])) * [[1.0], [10.0], [100.0], [1000.0]]
    predicted = _as_float64(estimator.predict(inputs)).reshape(len(inputs), -1)
    tolerance = 1e-5 * (np.abs(inputs) @ np.abs(weight).T + np.abs(bias)) + 1e-12
    if not np.all(np.abs(predicted - (inputs @ weight.T + bias)) <= tolerance):
        raise ValueError(
            f"Expected an estimator that predicts features @ weight.T + bias, got {type(estimator).__name__}, which "
            f"does not (a link function, clipping or a transformed target): use {_SUPPORTED}."
        )
