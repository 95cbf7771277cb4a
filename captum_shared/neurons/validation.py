"""Judge an encoding model on images that it was not fitted to, and choose a layer by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64
from sklearn.model_selection import GroupKFold, KFold
from torch import Tensor

from captum_shared.neurons.encoding import FEWEST_IMAGES, Array, as_matrix, correlation, fit_readout
from captum_shared.neurons.noise import exclusions
from captum_shared.neurons.readout import LinearReadout

Indices = npt.NDArray[np.intp]


def cross_validate(
    features: Array,
    responses: Array,
    *,
    estimator: Any = None,
    folds: int = 10,
    groups: Sequence[Any] | Array | None = None,
    seed: int = 0,
) -> Float64[Tensor, " neuron"]:
    r"""Correlate predicted and recorded responses on images held out from the fit, neuron by neuron.

    The images are dealt into folds at random. A readout fitted to all folds but one predicts that one; the predictions
    of all folds are pooled, and one correlation is taken over all images (choice: with folds of few images a
    correlation within each is too noisy to average). Pooling has a known bias: a held-out fold with high responses
    leaves a low mean to the others, so a neuron that nothing predicts has a correlation below zero, near

    .. math:: -\sqrt{(\text{folds} - 1) / (\text{images} - 1)}

    if its weights shrink to nothing. It is no evidence for a negative relation, and vanishes as soon as features
    predict the neuron.

    Args:
        features: latent features :math:`f(x)`, (image, feature).
        responses: recorded responses :math:`y`, (image, neuron), or (image,) for one neuron; NaN where nothing was
            recorded.
        estimator: as for ``fit_readout``; whatever it chooses by itself, such as a penalty, is chosen within the fit.
        folds: how many, from 2 to the number of images, or of groups.
        groups: one label an image, such as the object it shows; images of one group are never split between fit and
            judgement.
        seed: of the folds.

    Returns:
        One correlation in [-1, 1] per neuron, in float64 and on the CPU; NaN for neurons that ``exclusions`` names
        (silent, constant, recorded for fewer than half of the images or none) and where the prediction is constant.

    Raises:
        TypeError: if the estimator is not supported.
        ValueError: if there are fewer images, or groups, than folds, a feature is not finite, a response is infinite,
            or a shape does not fit.

    Example:
        >>> features = torch.arange(12.0)[:, None]
        >>> cross_validate(features, torch.cat([2 * features + 1, 0 * features], dim=1), folds=4).round(decimals=4)
        tensor([1., nan], dtype=torch.float64)

    Held-out images of the preferred category, as in Lappe et al. (NeurIPS 2024, arXiv 2405.09827).
    """
    recorded = as_matrix(responses, "responses", missing=True)
    excluded = np.array([reason != "" for reason in exclusions(recorded[None])])
    usable = np.where(excluded, np.nan, recorded)
    predicted = cross_validated_prediction(features, usable, estimator=estimator, folds=folds, groups=groups, seed=seed)
    return correlation(predicted, usable)


def cross_validated_prediction(
    features: Array,
    responses: Array,
    *,
    estimator: Any = None,
    folds: int = 10,
    groups: Sequence[Any] | Array | None = None,
    seed: int = 0,
) -> Float64[Tensor, "image neuron"]:
    """Predict the responses to each image from a readout fitted without its fold.

    Args:
        features: as for ``cross_validate``.
        responses: as for ``cross_validate``.
        estimator: as for ``cross_validate``.
        folds: as for ``cross_validate``.
        groups: as for ``cross_validate``.
        seed: as for ``cross_validate``.

    Returns:
        Held-out predictions for all images, recorded or not, in float64 and on the CPU. A neuron that cannot be fitted
        is predicted by its mean, as in ``fit_readout``.

    Raises:
        TypeError: as for ``cross_validate``.
        ValueError: as for ``cross_validate``.

    Example:
        >>> features = torch.arange(12.0)[:, None]
        >>> cross_validated_prediction(features, 2 * features[:, 0] + 1, folds=4)[5].round(decimals=1)
        tensor([11.], dtype=torch.float64)
    """
    inputs, outputs = as_matrix(features, "features"), as_matrix(responses, "responses", missing=True)
    if len(inputs) != len(outputs):
        raise ValueError(
            f"Expected features and responses of the same images, got {len(inputs)} and {len(outputs)} images: pass "
            "one row per image in both."
        )
    predicted = torch.empty(outputs.shape, dtype=torch.float64)
    for fitted, held_out in _splits(len(inputs), folds, groups, seed):
        readout = fit_readout(inputs[fitted], outputs[fitted], estimator=estimator)
        predicted[held_out] = readout(torch.from_numpy(inputs[held_out]))
    return predicted


def generalise(readout: LinearReadout, features: Array, responses: Array) -> Float64[Tensor, " neuron"]:
    """Correlate predicted and recorded responses on images of other categories, which the readout was not fitted to.

    Args:
        readout: fitted to the preferred category.
        features: latent features of the other images, (image, feature).
        responses: recorded responses to them, (image, neuron), or (image,) for one neuron; NaN where nothing was
            recorded.

    Returns:
        One correlation in [-1, 1] per neuron, in float64 and on the CPU; NaN where fewer than 3 images were recorded,
        and where responses or predictions are constant.

    Raises:
        ValueError: if a feature is not finite, a response is infinite, or a shape does not fit.

    Example:
        >>> readout = fit_readout(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1.0, 3.0, 5.0]))
        >>> generalise(readout, torch.tensor([[7.0], [8.0], [9.0]]), torch.tensor([1.0, 3.0, 2.0])).round(decimals=4)
        tensor([0.5000], dtype=torch.float64)
    """
    return correlation(readout(torch.tensor(as_matrix(features, "features"))), responses)


@final
@dataclass(frozen=True, eq=False)
class LayerChoice:
    """The layer whose features predict held-out images best, and how well each layer does.

    Attributes:
        layer: the layer with the highest mean.
        means: for each layer the mean correlation over the neurons that can be judged.
        correlations: for each layer the correlation of each neuron, as ``cross_validate`` gives it.
    """

    layer: str
    means: Mapping[str, float]
    correlations: Mapping[str, Float64[Tensor, " neuron"]]


def select_layer(
    features: Mapping[str, Array],
    responses: Array,
    *,
    estimator: Any = None,
    folds: int = 10,
    groups: Sequence[Any] | Array | None = None,
    seed: int = 0,
) -> LayerChoice:
    """Choose the layer of a network whose features predict held-out images best, on the mean over neurons.

    All layers are judged on the same folds and over the same neurons: those that can be judged in any layer. Where a
    layer's prediction is constant it explains nothing, and counts as zero (choice). The mean of the chosen layer is a
    little optimistic, being the best of several: judge the choice on other images.

    Args:
        features: for each layer its latent features, (image, feature), such as ``LayerFeatures`` computes in one pass
            through the network.
        responses: as for ``cross_validate``.
        estimator: as for ``cross_validate``.
        folds: as for ``cross_validate``.
        groups: as for ``cross_validate``.
        seed: as for ``cross_validate``.

    Returns:
        The layer, the first of equals, and the correlations of all layers.

    Raises:
        TypeError: as for ``cross_validate``.
        ValueError: as for ``cross_validate``, and if there is no layer, or no neuron that can be judged.

    Example:
        >>> early, late = torch.rand(2, 20, 4, generator=torch.Generator().manual_seed(0))
        >>> select_layer({"early": early, "late": late}, late[:, :3]).layer
        'late'
    """
    if not features:
        raise ValueError("Expected the features of at least one layer, got none.")
    correlations = {
        layer: cross_validate(values, responses, estimator=estimator, folds=folds, groups=groups, seed=seed)
        for layer, values in features.items()
    }
    judged = torch.stack(list(correlations.values()))
    usable = ~judged.isnan().all(dim=0)
    if not usable.any():
        raise ValueError(
            "Expected at least one neuron with responses that vary, recorded for half of the images or more, and with "
            "features that predict it, got none: see exclusions(responses)."
        )
    means = dict(zip(correlations, judged[:, usable].nan_to_num(nan=0.0).mean(dim=1).tolist(), strict=True))
    return LayerChoice(max(means, key=means.__getitem__), means, correlations)


def _splits(n_images: int, folds: int, groups: Any, seed: int) -> list[tuple[Indices, Indices]]:
    """Images to fit and images held out, fold by fold."""
    labels = None if groups is None else np.asarray(groups)
    if labels is not None and labels.shape != (n_images,):
        raise ValueError(f"Expected groups to hold one label for each of {n_images} images, got shape {labels.shape}.")
    n_units, units = (n_images, "images") if labels is None else (len(np.unique(labels)), "groups")
    if not 2 <= folds <= n_units:
        raise ValueError(
            f"Expected from 2 folds to as many as there are {units} ({n_units}), got {folds}: pass other folds, or "
            f"more {units}."
        )
    dealer = (KFold if labels is None else GroupKFold)(folds, shuffle=True, random_state=seed)
    splits = list(dealer.split(np.empty((n_images, 0)), groups=labels))
    fewest = min(len(fitted) for fitted, _ in splits)
    if fewest < FEWEST_IMAGES:
        raise ValueError(
            f"Expected {FEWEST_IMAGES} or more images to fit to in each of {folds} folds, got {fewest}: pass more "
            "images, or smaller groups."
        )
    return splits
