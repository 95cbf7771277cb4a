"""Judge an encoding model on images that it was not fitted to, and choose a layer by it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, final

import numpy as np
import torch
from jaxtyping import Float64

from captum_shared.neurons.arrays import Array, ArrayT, Features, Numbers, as_matrix, same_kind
from captum_shared.neurons.encoding import Groups, correlation, group_labels, unit_columns
from captum_shared.neurons.fitting import fitted
from captum_shared.neurons.folds import CV, Indices, Split, check_held_out_once, judged_folds, splits
from captum_shared.neurons.noise import exclusions
from captum_shared.neurons.readout import LinearReadout


def heldout_correlation(
    features: Features,
    responses: ArrayT,
    *,
    cv: CV = 10,
    groups: Groups | None = None,
    estimator: Any = None,
    random_state: int | None = 0,
) -> Float64[ArrayT, " neuron"]:
    r"""Correlate predicted and recorded responses on images held out from the fit, neuron by neuron.

    The images are dealt into folds. A readout fitted to all folds but one predicts that one:

    .. math:: r_k = \frac{\sum_F (m_F - 1) \, \rho(p_{Fk}, y_{Fk})}{\sum_F (m_F - 1)}

    with :math:`\rho` the correlation of predicted with recorded responses to the :math:`m_F` images of fold F. Of a
    neuron that nothing predicts it is zero on average, whatever the estimator: held-out responses know nothing of a fit
    that has not seen them. (One correlation over the images of all folds would be below zero then, near
    :math:`-\sqrt{(\text{folds} - 1) / (\text{images} - 1)}`: a fold with high responses leaves a low mean to the
    others.) A true correlation :math:`\rho` comes out too small by about :math:`\rho (1 - \rho^2) / 2m`. What chance
    alone gives is told by ``heldout_null_interval``; measured in ``benchmarks/heldout_bias.py``.

    The features of each fold are decomposed once for all neurons (:func:`fit_readout`): every fold takes the time of a
    fit, one after the other, and all together the memory of one.

    Args:
        features: latent features :math:`f(x)`, (image, feature).
        responses: recorded responses :math:`y`, (image, neuron), or (image,) for one neuron; NaN where nothing was
            recorded.
        cv: number of folds, from 2 to half the number of images, or to that of groups, which are dealt at random; or
            any splitter of scikit-learn, or its splits, which may hold an image out several times, or never.
        groups: one label an image, such as the object it shows; images of one group are never split between fit and
            judgement, nor in the choice of a penalty, as in ``fit_readout``.
        estimator: as for ``fit_readout``; whatever it chooses by itself, such as a penalty, is chosen within the fit.
        random_state: how folds are dealt where ``cv`` is their number; a splitter has its own.

    Returns:
        One correlation in [-1, 1] per neuron, in float64, as a tensor on the CPU or an array, as ``responses`` are; NaN
        for neurons that ``exclusions`` names (silent, constant, recorded for fewer than half of the images or none).
        Folds in which the responses are constant, or fewer than two are recorded, do not count; folds in which the
        prediction is constant count as zero (choice).

    Raises:
        TypeError: if the estimator is not supported.
        ValueError: if there are fewer images, or groups, than folds, ``cv`` splits a group, no fold holds out two
            images, too few images are left to fit, a feature is not finite, a response is infinite, or a shape does not
            fit.

    Example:
        >>> features = torch.arange(12.0)[:, None]
        >>> heldout_correlation(features, torch.cat([2 * features + 1, 0 * features], dim=1), cv=4).round(decimals=4)
        tensor([1., nan], dtype=torch.float64)

    Held-out images of the preferred category, as in Lappe et al. (NeurIPS 2024, arXiv 2405.09827).
    """
    usable = judgeable(responses)
    folds = judged_folds(len(usable), cv, groups, random_state)
    return same_kind(mean_within(usable, predictions(features, usable, folds, groups, estimator))[0], responses)


def cross_validated_prediction(
    features: Features,
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
        cv: number of folds, a splitter or splits, as for ``heldout_correlation``, but each image has to be held out
            once, and may be alone in its fold.
        groups: as for ``heldout_correlation``.
        estimator: as for ``heldout_correlation``.
        random_state: as for ``heldout_correlation``.

    Returns:
        Held-out predictions for all images, recorded or not, in float64, as a tensor on the CPU or an array, as
        ``responses`` are. A neuron that cannot be fitted is predicted by its mean, as in ``fit_readout``.

    Raises:
        TypeError: as for ``heldout_correlation``.
        ValueError: as for ``heldout_correlation``, and if an image is held out in no fold, or in several.

    Example:
        >>> features = torch.arange(12.0)[:, None]
        >>> cross_validated_prediction(features, 2 * features[:, 0] + 1, cv=4)[5].round(decimals=1)
        tensor([11.], dtype=torch.float64)
    """
    recorded = as_matrix(responses, "responses", missing=True)
    folds = splits(len(recorded), cv, groups, random_state)
    check_held_out_once(folds, len(recorded))
    together = np.empty(recorded.shape)
    for held_out, predicted in predictions(features, recorded, folds, groups, estimator):
        together[held_out] = predicted
    return same_kind(together, responses)


def ooc_correlation(readout: LinearReadout, features: Features, responses: ArrayT) -> Float64[ArrayT, " neuron"]:
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
        >>> from captum_shared.neurons.encoding import fit_readout
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
    features: Mapping[str, Features],
    responses: ArrayT,
    *,
    cv: CV = 10,
    groups: Groups | None = None,
    estimator: Any = None,
    random_state: int | None = 0,
) -> LayerChoice[ArrayT]:
    """Choose the layer of a network whose features predict held-out images best, on the mean over neurons.

    All layers are judged on the same folds and over the same neurons. The mean of the chosen layer is a little
    optimistic, being the best of several: judge the choice on other images.

    Args:
        features: for each layer its latent features, (image, feature), such as ``LayerFeatures`` computes in one pass
            through the network.
        responses: as for ``heldout_correlation``.
        cv: as for ``heldout_correlation``.
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
    folds = judged_folds(len(responses), cv, groups, random_state)  # the same for all: a splitter may deal anew
    correlations = {
        layer: heldout_correlation(values, responses, cv=folds, groups=groups, estimator=estimator)
        for layer, values in features.items()
    }
    means = {layer: float(torch.as_tensor(values).nanmean()) for layer, values in correlations.items()}
    if any(math.isnan(mean) for mean in means.values()):
        raise ValueError(
            "Expected at least one neuron with responses that vary, recorded for half of the images or more, got none: "
            "see exclusions(responses)."
        )
    return LayerChoice(max(means, key=means.__getitem__), means, correlations)


def judgeable(responses: Array) -> Numbers:
    """Return the responses of the neurons that can be judged, and NaN for all others.

    Args:
        responses: (image, neuron), or (image,) for one neuron.

    Returns:
        Numbers along (image, neuron).

    Raises:
        ValueError: if a response is infinite, or the shape does not fit.

    Example:
        >>> judgeable(torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
        array([[ 1., nan],
               [ 2., nan]])
    """
    recorded = as_matrix(responses, "responses", missing=True)
    return np.where([reason != "" for reason in exclusions(recorded)], np.nan, recorded)


def predictions(
    features: Features, recorded: Numbers, folds: Iterable[Split], groups: Groups | None, estimator: Any
) -> Iterator[tuple[Indices, Numbers]]:
    """Yield the images held out, and what a readout fitted without them predicts for them, fold by fold.

    Args:
        features: as for ``heldout_correlation``.
        recorded: responses along (image, neuron).
        folds: images to fit to and images held out.
        groups: as for ``heldout_correlation``.
        estimator: as for ``heldout_correlation``.

    Yields:
        Images held out, and their predictions along (image, neuron).

    Raises:
        ValueError: if features and responses are not of the same images, or a feature is not finite.
    """
    inputs = as_matrix(features, "features")
    if len(inputs) != len(recorded):
        raise ValueError(
            f"Expected features and responses of the same images, got {len(inputs)} and {len(recorded)} images: pass "
            "one row per image in both."
        )
    labels = None if groups is None else group_labels(groups, len(inputs))
    fewest = 2 if estimator is None else 1
    for images, held_out in folds:
        own = None if labels is None else group_labels(labels[images], len(images), fewest=fewest)
        weight, bias = fitted(inputs, recorded[images], images=images, estimator=estimator, labels=own)
        yield held_out, inputs[held_out] @ weight.T + bias


def mean_within(recorded: Numbers, predicted: Iterable[tuple[Indices, Numbers]]) -> tuple[Numbers, Numbers]:
    """Correlate predicted and recorded responses within each fold, and average.

    Args:
        recorded: responses along (image, neuron).
        predicted: of :func:`predictions`.

    Returns:
        For each neuron the mean correlation of ``heldout_correlation``, and the degrees of freedom that it rests on:
        the sum of the weights of the folds, by whose square root correlations of chance alone shrink.

    Example:
        >>> recorded = np.array([[1.0], [2.0], [3.0], [5.0], [4.0]])
        >>> folds = [(np.arange(3), recorded[:3]), (np.arange(3, 5), np.array([[0.0], [1.0]]))]
        >>> mean_within(recorded, folds)  # one of weight 2 and minus one of weight 1
        (array([0.33333333]), array([3.]))
    """
    total, weights = np.zeros(recorded.shape[1]), np.zeros(recorded.shape[1])
    for held_out, prediction in predicted:
        own = recorded[held_out]
        weight = np.maximum((~np.isnan(own)).sum(axis=0) - 1.0, 0.0)
        responses, known = unit_columns(own), unit_columns(np.where(np.isnan(own), np.nan, prediction))
        weight[np.isnan(responses).all(axis=0)] = 0
        total += weight * np.clip((np.nan_to_num(responses) * np.nan_to_num(known)).sum(axis=0), -1, 1)
        weights += weight
    mean: Numbers = np.divide(total, weights, out=np.full_like(total, np.nan), where=weights > 0)
    return mean, weights
