"""Judge an encoding model on images that it was not fitted to, and choose a layer by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, final

import numpy as np
import torch
from jaxtyping import Float64

from captum_shared.neurons.arrays import Array, ArrayT, Numbers, as_matrix, same_kind
from captum_shared.neurons.encoding import FEWEST_IMAGES, Groups, correlation, fit_readout, group_labels
from captum_shared.neurons.folds import CV, Indices, Split, check_held_out_once, splits
from captum_shared.neurons.noise import exclusions
from captum_shared.neurons.readout import LinearReadout


def heldout_correlation(
    features: Array,
    responses: ArrayT,
    *,
    cv: CV = 10,
    groups: Groups | None = None,
    estimator: Any = None,
    random_state: int | None = 0,
    pooled: bool = True,
) -> Float64[ArrayT, " neuron"]:
    r"""Correlate predicted and recorded responses on images held out from the fit, neuron by neuron.

    The images are dealt into folds. A readout fitted to all folds but one predicts that one. ``pooled``, one
    correlation is taken over the predictions of all folds; otherwise one within each fold, and their mean returned.
    Each has a bias:

    - Pooled, a held-out fold with high responses leaves a low mean to the others, so a neuron that nothing predicts
      has a correlation below zero, near :math:`-\sqrt{(\text{folds} - 1) / (\text{images} - 1)}` if its weights shrink
      to nothing. It is no evidence for a negative relation, and fades as the features predict the neuron better.
    - Within folds, such a neuron has a correlation of zero on average; a true correlation :math:`\rho` comes out too
      small by a little more than :math:`\rho (1 - \rho^2) / 2m`, where m images are held out.

    Measured with 10 folds of 100 images and 20 features (``benchmarks/heldout_bias.py``): of true correlations of 0,
    0.37 and 0.74, pooled -0.22, 0.29 and 0.72, within folds 0.00, 0.35 and 0.72.

    Args:
        features: latent features :math:`f(x)`, (image, feature).
        responses: recorded responses :math:`y`, (image, neuron), or (image,) for one neuron; NaN where nothing was
            recorded.
        cv: number of folds, from 2 to the number of images, or of groups, which are dealt at random; or any splitter of
            scikit-learn, or its splits. Pooled, each image has to be held out once; within folds, a splitter may also
            repeat itself.
        groups: one label an image, such as the object it shows; images of one group are never split between fit and
            judgement, nor in the choice of a penalty, as in ``fit_readout``.
        estimator: as for ``fit_readout``; whatever it chooses by itself, such as a penalty, is chosen within the fit.
        random_state: how folds are dealt where ``cv`` is their number; a splitter has its own.
        pooled: whether to correlate over the images of all folds, or within each fold.

    Returns:
        One correlation in [-1, 1] per neuron, in float64, as a tensor on the CPU or an array, as ``responses`` are; NaN
        for neurons that ``exclusions`` names (silent, constant, recorded for fewer than half of the images or none) and
        where the prediction is constant. Folds in which a neuron has no correlation are left out of its mean.

    Raises:
        TypeError: if the estimator is not supported.
        ValueError: if there are fewer images, or groups, than folds, ``cv`` splits a group or does not hold images out
            as it has to, too few images are left to fit or to judge, a feature is not finite, a response is infinite,
            or a shape does not fit.

    Example:
        >>> features = torch.arange(12.0)[:, None]
        >>> heldout_correlation(features, torch.cat([2 * features + 1, 0 * features], dim=1), cv=4).round(decimals=4)
        tensor([1., nan], dtype=torch.float64)

    Held-out images of the preferred category, as in Lappe et al. (NeurIPS 2024, arXiv 2405.09827).
    """
    recorded = as_matrix(responses, "responses", missing=True)
    excluded = np.array([reason != "" for reason in exclusions(recorded)])
    usable = np.where(excluded, np.nan, recorded)
    folds = splits(len(usable), cv, groups, random_state)
    if pooled:
        predicted = cross_validated_prediction(features, usable, cv=folds, groups=groups, estimator=estimator)
        return same_kind(correlation(predicted, usable), responses)
    if max(len(held_out) for _, held_out in folds) < FEWEST_IMAGES:
        raise ValueError(
            f"Expected {FEWEST_IMAGES} or more images held out in a fold, to correlate within it, got fewer in each of "
            f"{len(folds)}: pass a smaller cv, or pooled=True."
        )
    predictions = _predictions(features, usable, folds, groups, estimator)
    within = [torch.from_numpy(correlation(predicted, usable[held_out])) for held_out, predicted in predictions]
    return same_kind(torch.stack(within).nanmean(dim=0).numpy(), responses)


def cross_validated_prediction(
    features: Array,
    responses: ArrayT,
    *,
    cv: CV = 10,
    groups: Groups | None = None,
    estimator: Any = None,
    random_state: int | None = 0,
) -> Float64[ArrayT, "image neuron"]:
    """Predict the responses to each image from a readout fitted without its fold.

    Args:
        features: as for ``heldout_correlation``.
        responses: as for ``heldout_correlation``.
        cv: as for ``heldout_correlation``, where it pools: each image has to be held out once.
        groups: as for ``heldout_correlation``.
        estimator: as for ``heldout_correlation``.
        random_state: as for ``heldout_correlation``.

    Returns:
        Held-out predictions for all images, recorded or not, in float64, as a tensor on the CPU or an array, as
        ``responses`` are. A neuron that cannot be fitted is predicted by its mean, as in ``fit_readout``.

    Raises:
        TypeError: as for ``heldout_correlation``.
        ValueError: as for ``heldout_correlation``.

    Example:
        >>> features = torch.arange(12.0)[:, None]
        >>> cross_validated_prediction(features, 2 * features[:, 0] + 1, cv=4)[5].round(decimals=1)
        tensor([11.], dtype=torch.float64)
    """
    recorded = as_matrix(responses, "responses", missing=True)
    folds = splits(len(recorded), cv, groups, random_state)
    check_held_out_once(folds, len(recorded))
    together = np.empty(recorded.shape)
    for held_out, predicted in _predictions(features, recorded, folds, groups, estimator):
        together[held_out] = predicted
    return same_kind(together, responses)


def ooc_correlation(readout: LinearReadout, features: Array, responses: ArrayT) -> Float64[ArrayT, " neuron"]:
    """Correlate predicted and recorded responses on images of other categories, which the readout was not fitted to.

    Args:
        readout: fitted to the preferred category.
        features: latent features of the other images (*ooc.*: out of category), (image, feature).
        responses: recorded responses to them, (image, neuron), or (image,) for one neuron; NaN where nothing was
            recorded.

    Returns:
        One correlation in [-1, 1] per neuron, in float64, as a tensor on the CPU or an array, as ``responses`` are; NaN
        where fewer than 3 images were recorded, and where responses or predictions are constant.

    Raises:
        ValueError: if a feature is not finite, a response is infinite, or a shape does not fit.

    Example:
        >>> readout = fit_readout(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1.0, 3.0, 5.0]))
        >>> features = torch.tensor([[7.0], [8.0], [9.0]])
        >>> ooc_correlation(readout, features, torch.tensor([1.0, 3.0, 2.0])).round(decimals=4)
        tensor([0.5000], dtype=torch.float64)
    """
    return correlation(readout(torch.tensor(as_matrix(features, "features"))), responses)


@final
@dataclass(frozen=True, eq=False)
class LayerChoice(Generic[ArrayT]):
    """The layer whose features predict held-out images best, and how well each layer does.

    Attributes:
        layer: the layer with the highest mean.
        means: for each layer the mean correlation over the neurons that can be judged.
        correlations: for each layer the correlation of each neuron, as ``heldout_correlation`` gives it.
    """

    layer: str
    means: Mapping[str, float]
    correlations: Mapping[str, Float64[ArrayT, " neuron"]]


def select_layer(
    features: Mapping[str, Array],
    responses: ArrayT,
    *,
    cv: CV = 10,
    groups: Groups | None = None,
    estimator: Any = None,
    random_state: int | None = 0,
) -> LayerChoice[ArrayT]:
    """Choose the layer of a network whose features predict held-out images best, on the mean over neurons.

    All layers are judged on the same folds and over the same neurons: those that can be judged in any layer. Where a
    layer's prediction is constant it explains nothing, and counts as zero (choice). The mean of the chosen layer is a
    little optimistic, being the best of several: judge the choice on other images.

    Args:
        features: for each layer its latent features, (image, feature), such as ``LayerFeatures`` computes in one pass
            through the network.
        responses: as for ``heldout_correlation``.
        cv: as for ``heldout_correlation``, where it pools.
        groups: as for ``heldout_correlation``.
        estimator: as for ``heldout_correlation``.
        random_state: as for ``heldout_correlation``.

    Returns:
        The layer, the first of equals, and the correlations of all layers.

    Raises:
        TypeError: as for ``heldout_correlation``.
        ValueError: as for ``heldout_correlation``, and if there is no layer, or no neuron that can be judged.

    Example:
        >>> early, late = torch.rand(2, 20, 4, generator=torch.Generator().manual_seed(0))
        >>> select_layer({"early": early, "late": late}, late[:, :3]).layer
        'late'
    """
    if not features:
        raise ValueError("Expected the features of at least one layer, got none.")
    folds = splits(len(responses), cv, groups, random_state)  # the same for all: a splitter may deal anew each time
    correlations = {
        layer: heldout_correlation(values, responses, cv=folds, groups=groups, estimator=estimator)
        for layer, values in features.items()
    }
    judged = torch.stack([torch.as_tensor(values) for values in correlations.values()])
    usable = ~judged.isnan().all(dim=0)
    if not usable.any():
        raise ValueError(
            "Expected at least one neuron with responses that vary, recorded for half of the images or more, and with "
            "features that predict it, got none: see exclusions(responses)."
        )
    means = dict(zip(correlations, judged[:, usable].nan_to_num(nan=0.0).mean(dim=1).tolist(), strict=True))
    return LayerChoice(max(means, key=means.__getitem__), means, correlations)


def _predictions(
    features: Array, recorded: Numbers, folds: list[Split], groups: Groups | None, estimator: Any
) -> Iterator[tuple[Indices, Numbers]]:
    """Images held out, and what a readout fitted without them predicts for them, fold by fold."""
    inputs = as_matrix(features, "features")
    if len(inputs) != len(recorded):
        raise ValueError(
            f"Expected features and responses of the same images, got {len(inputs)} and {len(recorded)} images: pass "
            "one row per image in both."
        )
    labels = None if groups is None else group_labels(groups, len(inputs))
    for fitted, held_out in folds:
        own = None if labels is None else labels[fitted]
        readout = fit_readout(inputs[fitted], recorded[fitted], estimator=estimator, groups=own)
        yield held_out, readout(torch.from_numpy(inputs[held_out])).numpy()
