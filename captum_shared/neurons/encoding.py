"""Fit what a neuron reads out of the latent features, and judge the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from captum_shared.neurons.arrays import (
    Array,
    ArrayT,
    Features,
    Numbers,
    Table,
    as_matrix,
    check_same_rows,
    column_names,
    same_kind,
)
from captum_shared.neurons.fitting import FEWEST_IMAGES, Labels, extremes, fitted, varies
from captum_shared.neurons.readout import LinearReadout

Groups = Sequence[Any] | Array


def fit_readout(
    features: Features | Table,
    responses: Array | Table,
    *,
    estimator: Any = None,
    center: bool = False,
    neuron_names: Sequence[str] | None = None,
    groups: Groups | None = None,
) -> LinearReadout:
    r"""Fit a linear readout of latent features for every neuron.

    .. math:: y_k \approx w_k \cdot f(x) + b_k

    The default is ridge regression on standardised features, with one regularisation strength per neuron between
    1e-2 and 1e6 chosen by leave-one-out cross-validation, or with groups by leaving out one group at a time. Each
    neuron is fitted to the images recorded for it; neurons recorded for the same images are fitted together. A neuron
    whose responses are all equal, or that is recorded for fewer than 3 images, gets zero weights and its mean response
    as bias (0 if there is none), whatever the estimator (choice).

    The default decomposes the features once for all neurons recorded for the same images, and all penalties: of n
    images and d features in a time of :math:`n d \min(n, d)`, and of few times :math:`n \min(n, d)` for each neuron
    and penalty. It takes memory for two copies of the features in float64, four matrices of :math:`\min(n, d)^2`, and
    some 100 MB. Neurons with other gaps in their recording take a decomposition of their own.

    Args:
        features: latent features :math:`f(x)` of the preferred category, (image, feature), at least 3 images; a
            memory-mapped or zarr array, or one of a ``FeatureStore``, too.
        responses: recorded responses :math:`y`, (image, neuron), or (image,) for one neuron; any unit, NaN where
            nothing was recorded.
        estimator: any linear regressor that ``LinearReadout.from_estimator`` can read; a clone of it is fitted.
            One that takes a single target is fitted neuron by neuron. ``RidgeCV`` of himalaya (extra ``himalaya``)
            computes on a GPU after ``himalaya.backend.set_backend("torch_cuda")``; give it ``fit_intercept=True``.
        center: whether ``feature_mean`` of the readout is the mean of these features (recommended: latent features
            after a ReLU are all positive), of all images whether recorded or not, or zero, as in the paper. The
            prediction is the same.
        neuron_names: one distinct name per neuron. Default: the columns of ``responses`` where it is a DataFrame,
            otherwise ``"0"``, ``"1"``, ...
        groups: one label an image, such as the object it shows. Images of one group resemble each other, and a penalty
            that is judged by one of them while the others are fitted comes out too small. The default estimator keeps
            them together; a neuron recorded for one group only gets zero weights then. A ``GridSearchCV`` or
            ``RandomizedSearchCV``, also at the end of pipelines, is handed the groups: give it a splitter that heeds
            them, such as ``cv=GroupKFold(5)``. Any other estimator that chooses by itself (``RidgeCV``, ``LassoCV``)
            chooses without them.

    Returns:
        The readout, in float64 and on the CPU.

    Raises:
        TypeError: if the estimator is not supported.
        ValueError: if a feature is not finite, a response is infinite, a shape does not fit, or there are fewer than 3
            images, or fewer than 2 groups to choose the default's penalties by.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> readout = fit_readout(features, 2 * features[:, 0] + 1, center=True, neuron_names=["A"])
        >>> readout(torch.tensor([[4.0]])).round(decimals=1), readout.feature_mean
        (tensor([[9.]], dtype=torch.float64), tensor([1.5000], dtype=torch.float64))

    The encoding model of Lappe et al. (NeurIPS 2024, arXiv 2405.09827); the paper does not centre.
    """
    names = column_names(responses) if neuron_names is None else neuron_names
    check_same_rows(features, responses)
    inputs, outputs = as_matrix(features, "features"), as_matrix(responses, "responses", missing=True)
    if len(inputs) != len(outputs) or len(inputs) < FEWEST_IMAGES:
        raise ValueError(
            f"Expected features and responses of the same {FEWEST_IMAGES} or more images, got "
            f"{len(inputs)} and {len(outputs)} images: pass one row per image in both."
        )
    labels = None if groups is None else group_labels(groups, len(inputs), fewest=2 if estimator is None else 1)
    weight, bias = fitted(inputs, outputs, estimator=estimator, labels=labels)
    return LinearReadout(weight, bias, inputs.mean(axis=0) if center else None, neuron_names=names)


def correlation(predicted: Array, recorded: ArrayT) -> Float64[ArrayT, " neuron"]:
    r"""Pearson correlation of predicted and recorded responses across images, neuron by neuron.

    .. math:: \rho_k = \frac{\sum_i (p_{ik} - \bar p_k)(y_{ik} - \bar y_k)}
        {\sqrt{\sum_i (p_{ik} - \bar p_k)^2 \sum_i (y_{ik} - \bar y_k)^2}}

    Args:
        predicted: predicted responses :math:`p`, (image, neuron), or (image,) for one neuron.
        recorded: recorded responses :math:`y`, of the same shape; NaN where nothing was recorded: these images are
            left out, neuron by neuron.

    Returns:
        One correlation in [-1, 1] per neuron, in float64, as a tensor on the CPU or an array, as ``recorded`` is; NaN
        where either is constant but for rounding, or fewer than 3 images were recorded (choice).

    Raises:
        ValueError: if the shapes differ, a prediction is not finite, or a response is infinite.

    Example:
        >>> recorded = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        >>> correlation(-recorded, recorded).round(6)
        array([-1., nan])
    """
    first, second = as_matrix(predicted, "predicted"), as_matrix(recorded, "recorded", missing=True)
    if first.shape != second.shape:
        raise ValueError(
            "Expected predicted and recorded responses of one shape (image, neuron), got "
            f"{first.shape} and {second.shape}: pass the same images and neurons in both."
        )
    enough = (~np.isnan(second)).sum(axis=0) >= FEWEST_IMAGES
    products = unit_columns(np.where(np.isnan(second), np.nan, first)) * unit_columns(second)
    known = enough & ~np.isnan(products).all(axis=0)
    return same_kind(np.where(known, np.clip(np.nansum(products, axis=0), -1, 1), np.nan), recorded)


def group_labels(groups: Groups, n_images: int, *, fewest: int = 1) -> Labels:
    """Return the groups of images, one label an image.

    Args:
        groups: one label an image.
        n_images: how many images there are.
        fewest: how many distinct groups are needed.

    Returns:
        The labels.

    Raises:
        ValueError: if they are not one an image, or too few are distinct.

    Example:
        >>> group_labels(["cup", "cup", "hand"], 3).tolist()
        ['cup', 'cup', 'hand']
    """
    labels: npt.NDArray[Any] = np.asarray(groups)
    if labels.shape != (n_images,):
        raise ValueError(f"Expected groups to hold one label for each of {n_images} images, got shape {labels.shape}.")
    if len(np.unique(labels)) < fewest:
        raise ValueError(
            f"Expected images of {fewest} or more groups to choose penalties by, got {n_images} images of one group to "
            "fit to: pass more groups, or an estimator with a penalty of its own."
        )
    return labels


def unit_columns(responses: Numbers) -> Numbers:
    """Centre the responses of every neuron and bring them to unit length, over the images recorded for it.

    Args:
        responses: (image, neuron), NaN where nothing was recorded.

    Returns:
        Numbers of the same shape, whose products sum to a correlation; NaN where nothing was recorded, and for neurons
        whose responses do not vary.

    Example:
        >>> unit_columns(np.array([[1.0, 5.0], [np.nan, 5.0], [3.0, 5.0]])).round(4)
        array([[-0.7071,     nan],
               [    nan,     nan],
               [ 0.7071,     nan]])
    """
    recorded = ~np.isnan(responses)
    lowest, highest = extremes(responses)
    means = np.sum(responses, axis=0, where=recorded) / np.maximum(recorded.sum(axis=0), 1)
    spans = np.where(varies(responses), highest - lowest, np.nan)  # by which first: nothing under- or overflows
    centered = (responses - means) / spans
    units: Numbers = centered / np.sqrt(np.sum(centered**2, axis=0, where=recorded))
    return units
