r"""Subjects compared, or regions: whether their neurons respond alike, find alike references, and have alike maps.

Each of the three is a profile of a neuron that any other can be compared with, as all see the same images:

- what it is predicted to respond to the images, within the preferred category and within the others;
- its references: how similar it finds each image of the preferred category to an image of another;
- its maps: of the same pairs, at the layer, the shared features where they are active
  (:class:`~captum_shared.LayerSharedAttribution`).

The shared weights hold the square of the readout's weights, so noise does not average out of references and maps but
makes them like those of a neuron that uses all features: a subject recorded with more noise would look like another
kind of subject. So all are made equally noisy first, the quantiles of their reliabilities equal, by noise that is added
to the responses of those that are better recorded; and readouts are fitted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy import ndarray
from torch import Tensor

from captum_shared.attr.layer import LayerSharedAttribution
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.photographs import load_inputs
from captum_shared.neurons.encoding import fit_readout
from captum_shared.study.concordance import Concordance
from captum_shared.study.experiment import Experiment
from captum_shared.study.grouping import likeness
from captum_shared.study.result import NeuronResult

FEWEST: Final = 5
"""Fewest neurons of a subject or region that is compared."""

Once = Callable[[str, Callable[[], Mapping[str, ndarray]]], Mapping[str, ndarray]]
"""Computes arrays that are kept under a name, or returns what was kept."""

_COMPARED: Final = {"subject": "region", "region": "subject"}  # and what chance leaves as it is
_IMAGES, _PAIRS = 32, 8  # of other categories, that drive the neurons most
_LEAST: Final = 0.05  # what counts as the reliability of a neuron with none


def compare_groups(experiment: Experiment, neurons: Sequence[NeuronResult], once: Once) -> tuple[Concordance, ...]:
    """Compare the subjects of a study, and its regions, where there are two or more with enough neurons.

    Neurons that are predicted no better than by chance are left out.

    Args:
        experiment: the study.
        neurons: what was measured of its neurons.
        once: keeps what was computed.

    Returns:
        How far subjects agree, and how far regions do; nothing where there is nothing to compare.
    """
    known = np.array([index for index, neuron in enumerate(neurons) if not neuron.excluded and not neuron.unpredicted])
    comparisons = []
    for by, other in _COMPARED.items():
        names = np.array([getattr(neurons[index], by) for index in known])
        counts = {str(name): int((names == name).sum()) for name in dict.fromkeys(names.tolist()) if name}
        enough = [name for name, number in counts.items() if number >= FEWEST]
        if len(enough) < 2:
            continue
        chosen = known[np.isin(names, enough)]
        groups, kept = ([getattr(neurons[index], which) for index in chosen] for which in (by, other))
        reliability = np.array([neurons[index].ceiling for index in chosen]) ** 2
        profiles = once(f"compared_{by}", lambda: _profiles_of(experiment, chosen, groups, reliability))  # noqa: B023
        comparisons.append(
            Concordance.of(
                {name: likeness(correlation) for name, correlation in profiles.items()},
                groups,
                by=by,
                strata=kept,
                left_out={name: number for name, number in counts.items() if number < FEWEST},
                matched=not np.isnan(reliability).any(),
                seed=experiment.settings.seed,
            )
        )
    return tuple(comparisons)


def equally_noisy(
    responses: Float64[ndarray, "image neuron"],
    reliability: Float64[ndarray, " neuron"],
    groups: Sequence[str],
    *,
    seed: int,
) -> Float64[ndarray, "image neuron"]:
    r"""Add noise to the responses of groups of neurons, until those of all groups are equally reliable.

    The most reliable neuron of every group becomes as reliable as that of the group where it is least so, and likewise
    the median and every other quantile. Normal noise of the variance :math:`V (r / r' - 1)` takes responses of the
    variance V from the reliability r to r'.

    Args:
        responses: NaN where nothing was recorded.
        reliability: of these responses, one per neuron, at most 1; where it is not known, nothing is added to any.
        groups: the group of each neuron.
        seed: of the noise.

    Returns:
        The responses with noise.

    Example:
        >>> responses = np.random.default_rng(0).standard_normal((1000, 4))
        >>> equally_noisy(responses, np.array([0.8, 0.8, 0.2, 0.2]), ["A", "A", "B", "B"], seed=0).var(axis=0).round()
        array([4., 4., 1., 1.])
    """
    if np.isnan(reliability).any():
        return responses
    excess = _excess(reliability.clip(_LEAST, 1), np.asarray(groups))
    noise = np.random.default_rng([seed, 1]).standard_normal(responses.shape)
    noisy: ndarray = responses + noise * np.sqrt(np.nanvar(responses, axis=0) * (excess - 1))
    return noisy


def profile_correlations(
    similarity: NeuronSimilarity,
    latent: Float[Tensor, "image feature"],
    preferred: Bool[ndarray, " image"],
    inputs: Callable[[Sequence[int]], Tensor],
    groups: Sequence[str],
) -> dict[str, Float64[ndarray, "neuron neuron"]]:
    """Correlate what any two neurons respond, their references and their maps.

    References and maps are those of images of other categories that drive the neurons most, of all groups equally; of
    maps, each with the image of the preferred category that is most similar for the neurons on the whole.

    Args:
        similarity: encoder and readout, centred.
        latent: latent features of all images, not centred.
        preferred: which images are of the preferred category.
        inputs: gives images to the encoder, by their indices.
        groups: the group of each neuron.

    Returns:
        Correlations of ``"responses"``, ``"references"`` and ``"maps"``.
    """
    features, weight = latent.double().cpu().numpy(), similarity.readout.weight.double().cpu().numpy()
    share = np.array([1 / groups.count(name) for name in groups])
    predicted = weight @ features.T
    responses = [_standardised(predicted[:, images]) for images in (preferred, ~preferred)]
    strongest = np.flatnonzero(~preferred)[np.argsort(-(share @ responses[1]), kind="stable")][:_IMAGES]
    similarities = _similarities(features[strongest], features[preferred], weight)
    best = [int(np.argmax(share @ each)) for each in similarities[:_PAIRS]]
    pairs = inputs(strongest[:_PAIRS].tolist()), inputs(np.flatnonzero(preferred)[best].tolist())
    return {
        "responses": _correlation(responses),
        "references": _correlation([_standardised(each) for each in similarities]),
        "maps": _correlation(_maps(similarity, pairs)),
    }


def _profiles_of(
    experiment: Experiment, neurons: ndarray, groups: Sequence[str], reliability: Float64[ndarray, " neuron"]
) -> dict[str, ndarray]:
    """The correlations of neurons of a study, with readouts that are equally noisy."""
    inside, paths = experiment.preferred, experiment.recording.paths or ()
    responses = experiment.recording.mean[inside][:, neurons]
    noisy = equally_noisy(responses, reliability, groups, seed=experiment.settings.seed)
    readout = fit_readout(experiment.latent[inside], noisy, center=True)
    return profile_correlations(
        NeuronSimilarity(experiment.features, readout),
        experiment.latent,
        inside,
        lambda images: load_inputs(experiment.features, [paths[image] for image in images]),
        list(groups),
    )


def _excess(reliability: Float64[ndarray, " neuron"], groups: ndarray) -> Float64[ndarray, " neuron"]:
    """How many times as reliable each neuron is as that of the same rank in the group where it is least so."""
    own = {name: np.sort(reliability[groups == name]) for name in np.unique(groups)}
    excess = np.ones_like(reliability)
    for name, ordered in own.items():
        members = np.flatnonzero(groups == name)
        ranks = np.linspace(0, 1, len(ordered))
        least = np.min([np.quantile(each, ranks) for each in own.values()], axis=0)
        excess[members[np.argsort(reliability[members], kind="stable")]] = ordered / least
    more: ndarray = np.maximum(excess, 1)
    return more


def _similarities(
    images: Float64[ndarray, "image feature"],
    references: Float64[ndarray, "reference feature"],
    weight: Float64[ndarray, "neuron feature"],
) -> list[Float64[ndarray, "neuron reference"]]:
    """Neuron-specific similarities of each image, not centred, as references are searched."""
    squared = np.square(weight)
    norms = [np.sqrt(squared @ np.square(each).T) for each in (references, images)]
    products = [(squared * image) @ references.T for image in images]
    scales = [norms[0] * norm[:, None] for norm in norms[1].T]
    return [
        np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
        for product, scale in zip(products, scales, strict=True)
    ]


def _maps(similarity: NeuronSimilarity, pairs: tuple[Tensor, Tensor]) -> list[Float64[ndarray, "neuron position"]]:
    """Of every pair, and of both its images, the maps of all neurons, standardised."""
    made = LayerSharedAttribution(similarity).attribute_neurons(pairs, reduce=_positions, strategy="backward")
    maps = np.stack([of_neuron for _, of_neuron in made], axis=1)
    return [_standardised(each) for each in maps]


def _positions(maps: tuple[Tensor, Tensor]) -> Float64[ndarray, "image position"]:
    """Of images and references, summed over the features of a layer that has positions."""
    both = torch.cat(maps).double()
    flat: ndarray = (both.sum(1) if both.ndim > 2 else both).flatten(1).cpu().numpy()
    return flat


def _standardised(profiles: Float64[ndarray, "neuron point"]) -> Float64[ndarray, "neuron point"]:
    """Profiles of mean 0 and length 1; of length 0 where one is constant."""
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    varies = length > 1e-12 * np.abs(profiles).max()
    standard: ndarray = np.divide(centred, length, out=np.zeros_like(centred), where=varies)
    return standard


def _correlation(profiles: Sequence[Float64[ndarray, "neuron _"]]) -> Float64[ndarray, "neuron neuron"]:
    """Mean correlation over several profiles of each neuron."""
    correlation: ndarray = sum(each @ each.T for each in profiles) / len(profiles)
    return correlation.clip(-1, 1)
