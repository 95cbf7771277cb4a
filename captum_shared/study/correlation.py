"""How far maps are correlated that should show the same: of two networks, or of two methods."""

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import LayerAttribution
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray

from captum_shared.attr.heatmaps import rank_correlation
from captum_shared.study.result import NeuronResult, StudyResult


def map_correlation(first: StudyResult, second: StudyResult, method: str) -> dict[str, list[float]]:
    """Compare the maps of two studies of the same pairs, such as two networks on one recording.

    Spearman's rank correlation over pixels, mean of image and reference. Where the maps differ in size, the larger is
    brought to the size of the smaller by averaging over areas: each network sees the whole image (choice).

    Args:
        first: a study.
        second: another.
        method: the method that made the maps.

    Returns:
        By neuron, one correlation for every pair that is in both studies (:func:`common_pairs`), between -1 and 1; NaN
        where a map is constant.

    Raises:
        KeyError: if one of the studies has no maps by this method.
        ValueError: if the studies have no pair in common.

    Example:
        >>> from pathlib import Path
        >>> study = StudyResult({}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (), Path("maps.npz"))
        >>> map_correlation(study, study, "recommended")
        Traceback (most recent call last):
        ValueError: Expected studies of the same pairs, got none in common: explain the pairs of one study with the
        other network.
    """
    return {
        neuron: [pair_correlation(*(maps[index] for maps, index in zip(both, pair, strict=True))) for pair in pairs]
        for neuron, pairs in common_pairs([first, second]).items()
        for both in [(first.maps(neuron, method), second.maps(neuron, method))]
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


def pair_correlation(
    first: Float32[ndarray, "side row column"],
    second: Float32[ndarray, "side other_row other_column"],
    inside: Bool[ndarray, "side row column"] | None = None,
) -> float:
    """Compare the two maps of a pair with others of the same pair.

    Args:
        first: maps of image and reference.
        second: others, of any size; of the size of the first, if ``inside`` is given.
        inside: which pixels to compare; None for all.

    Returns:
        Their rank correlation at the size of the smaller, mean of image and reference; NaN where a map is constant.

    Example:
        >>> maps = np.random.default_rng(0).random((2, 4, 4), dtype=np.float32)
        >>> pair_correlation(maps, np.kron(maps, np.ones((1, 2, 2), dtype=np.float32)))
        1.0
    """
    size = (min(first.shape[1], second.shape[1]), min(first.shape[2], second.shape[2]))
    compared = np.ones((len(first), *size), dtype=bool) if inside is None else inside
    sides = zip(_resized(first, size), _resized(second, size), compared, strict=True)
    return float(np.mean([rank_correlation(one[pixels], other[pixels]) for one, other, pixels in sides]))


def foreground(picture: UInt8[ndarray, "row column channel"]) -> Bool[ndarray, "row column"]:
    """Tell an object from the ground before which it lies, by its colour (choice).

    The ground is what the frame of the image shows, a twentieth of the image wide: a pixel is of the object if its
    colour differs from the median colour of the frame by more than that of 95 % of the frame's pixels does. Of a
    photograph that an object fills, or with a varied ground, it tells no more than what stands out.

    Args:
        picture: RGB.

    Returns:
        The pixels of the object; all of them if fewer than 1 % are.

    Example:
        >>> picture = np.zeros((20, 20, 3), dtype=np.uint8)
        >>> picture[5:10, 5:15] = 255, 128, 0
        >>> int(foreground(picture).sum()), int(foreground(picture[:4, :4]).sum())
        (50, 16)
    """
    rows, columns, _ = picture.shape
    frame, width = np.ones((rows, columns), dtype=bool), max(1, round(min(rows, columns) / 20))
    frame[width:-width, width:-width] = False
    difference = np.linalg.norm(picture - np.median(picture[frame], axis=0), axis=2)
    inside: ndarray = difference > np.quantile(difference[frame], 0.95)
    return inside if inside.mean() >= 0.01 else np.ones_like(inside)


def _indices(neuron: NeuronResult) -> dict[tuple[str, str], int]:
    """Index of each pair by image and reference; of the first, where one comes twice."""
    indices: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(neuron.pairs):
        indices.setdefault((pair.image, pair.reference), index)
    return indices


def _resized(maps: ndarray, size: tuple[int, int]) -> ndarray:
    if maps.shape[1:] == size:
        return maps
    resized: ndarray = LayerAttribution.interpolate(torch.from_numpy(maps)[None], size, "area")[0].numpy()
    return resized
