"""How much more a neuron responds to the preferred category than to others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from captum_shared.study.result import NeuronResult, StudyResult


@final
@dataclass(frozen=True)
class Selectivity:
    """How selective every neuron is, and by what measure.

    Attributes:
        title: what to call the measure.
        note: how it is defined.
        values: by name of the neuron; NaN where it is not known.
    """

    title: str
    note: str
    values: Mapping[str, float]


def selectivities(result: StudyResult) -> Selectivity:
    r"""Tell how selective the neurons of a study are for its preferred category.

    Where the responses to all images are known, by d', the difference of the two means in units of the scatter from
    image to image:

    .. math:: d' = (\mu_+ - \mu_-) / \sqrt{(\sigma_+^2 + \sigma_-^2) / 2}

    In studies of an older version, which know the means alone, by the index
    :math:`(\mu_+ - \mu_-) / (|\mu_+| + |\mu_-|)`.

    Args:
        result: the study.

    Returns:
        The selectivities.

    Example:
        >>> from pathlib import Path
        >>> neuron = NeuronResult("A", "IT", "", "", 0.6, 0.4, 0.8, 0.7, 30.0, 10.0)
        >>> study = StudyResult({"preferred": "body"}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (neuron,), Path("maps.npz"))
        >>> selectivities(study).title, selectivities(study).values
        ('selectivity index', {'A': 0.5})
    """
    responses = result.responses if result.neurons and result.map_file.is_file() else None
    if responses is None:
        return Selectivity(
            "selectivity index",
            "the difference of the mean responses to the preferred category and to the others, as a share of the sum "
            "of their sizes, between \N{MINUS SIGN}1 and 1",
            {neuron.name: index_of(neuron) for neuron in result.neurons},
        )
    inside = np.asarray(responses.categories) == result.settings.get("preferred")
    values = d_prime(responses.mean[inside].astype(np.float64), responses.mean[~inside].astype(np.float64))
    return Selectivity(
        "selectivity d'",
        "d', the difference of the mean responses to the preferred category and to the others, in units of the root of "
        "the mean of their two variances over images",
        {neuron.name: float(value) for neuron, value in zip(result.neurons, values, strict=True)},
    )


def index_of(neuron: NeuronResult) -> float:
    """Compare the mean responses of a neuron.

    Args:
        neuron: the neuron.

    Returns:
        The index, between -1 and 1; NaN if a mean is not known or both are 0.

    Example:
        >>> index_of(NeuronResult("A", "IT", "", "", 0.6, 0.4, 0.8, 0.7, 10.0, 30.0))
        -0.5
    """
    total = abs(neuron.preferred_mean) + abs(neuron.ooc_mean)
    return (neuron.preferred_mean - neuron.ooc_mean) / total if total else math.nan


def d_prime(
    preferred: Float[ndarray, "preferred_image neuron"], others: Float[ndarray, "other_image neuron"]
) -> Float[ndarray, " neuron"]:
    """Compare responses to two sets of images, in units of their scatter.

    Args:
        preferred: responses to images of the preferred category; NaN where none was recorded.
        others: to those of the others.

    Returns:
        d' of every neuron; NaN where one set has fewer than two responses, or neither scatters.

    Example:
        >>> d_prime(np.array([[4.0], [6.0]]), np.array([[1.0], [3.0]])).round(3)
        array([2.121])
    """
    means, variances = [], []
    for responses in (preferred, others):
        known = ~np.isnan(responses)
        count = known.sum(0)
        some = np.where(count > 1, count, 2)
        mean = np.where(known, responses, 0).sum(0) / some
        squares = np.where(known, (responses - mean) ** 2, 0).sum(0)
        means.append(np.where(count > 1, mean, np.nan))
        variances.append(squares / (some - 1))
    scatter = np.sqrt((variances[0] + variances[1]) / 2)
    values: ndarray = (means[0] - means[1]) / np.where(scatter > 0, scatter, np.nan)
    return values
