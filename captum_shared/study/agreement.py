"""How far the maps of two networks agree on the same pairs."""

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import LayerAttribution
from jaxtyping import Float32
from numpy import ndarray

from captum_shared.attr.heatmaps import rank_correlation
from captum_shared.study.result import NeuronResult, StudyResult


def map_agreement(first: StudyResult, second: StudyResult) -> dict[str, list[float]]:
    """Compare the gradient maps of two studies of the same pairs, such as two networks on one recording.

    Spearman's rank correlation over pixels, mean of image and reference. Where the maps differ in size, the larger is
    brought to the size of the smaller by averaging over areas: each network sees the whole image (choice).

    Args:
        first: a study.
        second: another.

    Returns:
        By neuron, one correlation for every pair that is in both studies (:func:`common_pairs`), between -1 and 1; NaN
        where a map is constant.

    Raises:
        ValueError: if the studies have no pair in common.

    Example:
        >>> from pathlib import Path
        >>> study = StudyResult({}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (), Path("maps.npz"))
        >>> map_agreement(study, study)
        Traceback (most recent call last):
        ValueError: Expected studies of the same pairs, got none in common: explain the pairs of one study with the
        other network.
    """
    return {
        neuron: [agreement(*(maps[index] for maps, index in zip(both, pair, strict=True))) for pair in pairs]
        for neuron, pairs in common_pairs([first, second]).items()
        for both in [(_gradients(first, neuron), _gradients(second, neuron))]
    }


def common_pairs(results: Sequence[StudyResult]) -> dict[str, list[tuple[int, ...]]]:
    """Find the pairs that all studies explain.

    Args:
        results: the studies.

    Returns:
        By neuron, for each pair of the same image and reference its index in every study, in the order of the first.

    Raises:
        ValueError: if the studies have no pair in common.
    """
    first, *others = [{neuron.name: _indices(neuron) for neuron in result.included} for result in results]
    shared = {
        name: [
            (index, *(other[name][pair] for other in others))
            for pair, index in indices.items()
            if all(pair in other.get(name, {}) for other in others)
        ]
        for name, indices in first.items()
    }
    common = {name: pairs for name, pairs in shared.items() if pairs}
    if not common:
        raise ValueError(
            "Expected studies of the same pairs, got none in common: explain the pairs of one study with the other "
            "network."
        )
    return common


def agreement(
    first: Float32[ndarray, "side row column"], second: Float32[ndarray, "side other_row other_column"]
) -> float:
    """Compare the two maps of a pair with those of another network.

    Args:
        first: maps of image and reference.
        second: the same of the other network, of any size.

    Returns:
        Their rank correlation at the size of the smaller, mean of image and reference; NaN where a map is constant.

    Example:
        >>> maps = np.random.default_rng(0).random((2, 4, 4), dtype=np.float32)
        >>> agreement(maps, np.kron(maps, np.ones((1, 2, 2), dtype=np.float32)))
        1.0
    """
    size = (min(first.shape[1], second.shape[1]), min(first.shape[2], second.shape[2]))
    sides = zip(_resized(first, size), _resized(second, size), strict=True)
    return float(np.mean([rank_correlation(*maps) for maps in sides]))


def _indices(neuron: NeuronResult) -> dict[tuple[str, str], int]:
    """Index of each pair by image and reference; of the first, where one comes twice."""
    indices: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(neuron.pairs):
        indices.setdefault((pair.image, pair.reference), index)
    return indices


def _gradients(result: StudyResult, neuron: str) -> Float32[ndarray, "pair side row column"]:
    return result.maps(neuron)[:, :, 0]


def _resized(maps: ndarray, size: tuple[int, int]) -> ndarray:
    if maps.shape[1:] == size:
        return maps
    resized: ndarray = LayerAttribution.interpolate(torch.from_numpy(maps)[None], size, "area")[0].numpy()
    return resized
