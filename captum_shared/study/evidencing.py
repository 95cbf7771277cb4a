r"""Why the maps of pairs are what they are: correspondences, components, and what is more than chance.

Chance is what other images of the recording give, of whatever category: in place of the reference for the map of the
image, in place of the image for that of the reference. :data:`DRAWN` of them are drawn once a study; for a neuron count
those in the lower half of its responses to them, without the images of its own pairs, and the first :data:`N_NULLS` are
taken. So what a neuron finds in images that hardly drive it is part of chance, as is what all images have in common.
Images of the preferred category alone would be too low a bar for a reference that was searched for as the most similar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from numpy import ndarray
from torch import Tensor

from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.chance import Significance, significance_of
from captum_shared.attr.correspondence import activations_at_cut, compared_in, places_at
from captum_shared.attr.decomposition import split
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.places import Places
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.methods.explanation import pass_of
from captum_shared.study.evidence import LEVEL, MOST_ROWS, PairEvidence

DRAWN: Final = 60
"""Images that are drawn to be chance."""

N_NULLS: Final = 19
"""How many of them are compared with each image: as many as a level of 0.05 needs."""

_BATCH: Final = 16
Grid = tuple[int, int]


@final
@dataclass(frozen=True)
class Evidencing:
    """Tells why the maps of pairs are what they are, at layers with positions that are averaged.

    Attributes:
        similarity: encoder and readout, centred.
        inputs: gives images to the encoder, by their indices.
        responses: mean responses, NaN where none was recorded.
        seed: of the images that are chance.
    """

    similarity: NeuronSimilarity
    inputs: Callable[[Sequence[int]], Tensor]
    responses: Float64[ndarray, "image neuron"]
    seed: int

    def passed(self, inputs: Pair, methods: Sequence[str]) -> PairPass | None:
        """Run the twins once for evidence and maps.

        Args:
            inputs: the pair (images, references).
            methods: names of the methods that make the maps.

        Returns:
            The pass; None where there will be no evidence.
        """
        features = self.similarity.image_features
        averaged = isinstance(features, LatentFeatures) and features.pool == "average"
        return pass_of(self.similarity, inputs, methods) if averaged else None

    def of(self, passed: PairPass | None, neuron: int, images: Sequence[int]) -> list[PairEvidence]:
        """Tell why the maps of pairs are what they are.

        Args:
            passed: the pass of the pairs.
            neuron: the neuron.
            images: indices of the images of all its pairs, which are not chance.

        Returns:
            One entry a pair; none if the layer has no positions.
        """
        if passed is None or any(activation.ndim != 4 for activation in passed.activations):
            return []
        with torch.no_grad():
            correspondences = compared_in(passed, self.similarity, neuron).double().cpu().numpy()
            tested = self._tested(passed, neuron, images)
        image, reference = (_grid(activation) for activation in passed.activations)
        found = []
        for index, correspondence in enumerate(correspondences):
            significant = None if tested is None else tested[0][index]
            p_values = None if tested is None else tested[1][index]
            found.append(evidence_of(correspondence.reshape(*image, *reference), significant, p_values))
        return found

    def _tested(
        self, passed: PairPass, neuron: int, but: Sequence[int]
    ) -> tuple[Bool[ndarray, "pair side row column"], list[tuple[float, float]]] | None:
        """The pixels of each pair that are more than chance, and its p-values; None if too little is chance."""
        rows = self._silent(neuron, but)
        if len(rows) < N_NULLS:
            return None
        pair, nulls = self._read((passed.activations[0], passed.activations[1])), self._nulls
        nulls = nulls[rows.to(nulls.features.device)]
        found = significance_of(pair, [neuron] * len(pair[0].features), nulls=(nulls, nulls), level=LEVEL)
        grids = [tuple(min(MOST_ROWS, side) for side in _grid(each)) for each in passed.activations]
        image_z, reference_z = (each.reshape(-1, 1, *grid) for each, grid in zip(found.z_maps, grids, strict=True))
        shown = Significance((image_z, reference_z), found.thresholds, found.p_values, LEVEL)
        sizes = [(each.shape[2], each.shape[3]) for each in passed.inputs]
        pixels = torch.stack(shown.of_pixels(*sizes), dim=1).cpu().numpy()
        return pixels, [(float(first), float(second)) for first, second in found.p_values.tolist()]

    def _read(self, cuts: Pair) -> tuple[Places, Places]:
        first, second = (places_at(self.similarity, cut.detach(), most=MOST_ROWS) for cut in cuts)
        return first, second

    @cached_property
    def _drawn(self) -> Int[ndarray, " image"]:
        """Images of all kinds, an even number in no order."""
        number = min(DRAWN, len(self.responses) // 2 * 2)
        drawn: ndarray = np.random.default_rng([self.seed, 2]).permutation(len(self.responses))[:number]
        return drawn

    @cached_property
    def _nulls(self) -> Places:
        """What is drawn, read place by place, once in a process: half of each batch by either twin."""
        read: list[Places] = []
        for start in range(0, len(self._drawn), _BATCH):
            first, second = torch.chunk(self.inputs(self._drawn[start : start + _BATCH].tolist()), 2)
            read += self._read(activations_at_cut(self.similarity, checked_pair((first, second))))
        return Places.joined(read)

    def _silent(self, neuron: int, but: Sequence[int]) -> Int[Tensor, " row"]:
        """Rows of what is drawn that drive the neuron least, as many as are compared."""
        responses = self.responses[self._drawn, neuron]
        known = np.flatnonzero(~np.isnan(responses) & ~np.isin(self._drawn, but))
        lower = np.sort(known[np.argsort(responses[known], kind="stable")][: len(known) // 2])
        return torch.from_numpy(lower[:N_NULLS])


def evidence_of(
    correspondence: Float64[ndarray, "row column row2 column2"],
    significant: Bool[ndarray, "side height width"] | None,
    p_values: tuple[float, float] | None,
) -> PairEvidence:
    """Put together the evidence of a pair.

    Args:
        correspondence: at the layer.
        significant: the pixels that are more than chance; None if that was not tested.
        p_values: of image and reference; None if that was not tested.

    Returns:
        It, in blocks of places, with the components.
    """
    coarse = blocks(correspondence)
    maps = component_maps(correspondence, coarse)
    return PairEvidence(coarse.astype(np.float32), maps, significant, p_values)


def blocks(correspondence: Float[ndarray, "row column row2 column2"]) -> Float[ndarray, "row3 column3 row4 column4"]:
    """Sum a correspondence over blocks of places, so that neither image has more than 14 rows or columns of them.

    Args:
        correspondence: C.

    Returns:
        The sums; C itself if there are no more places.

    Example:
        >>> blocks(np.ones((28, 1, 1, 1)))[:, 0, 0, 0]
        array([2., 2., 2., 2., 2., 2., 2., 2., 2., 2., 2., 2., 2., 2.])
    """
    for axis, side in enumerate(correspondence.shape):
        if side > MOST_ROWS:
            correspondence = np.add.reduceat(correspondence, _starts(side), axis=axis)
    return correspondence


def component_maps(
    correspondence: Float[ndarray, "row column row2 column2"], coarse: Float[ndarray, "row3 column3 row4 column4"]
) -> Float32[ndarray, "component side row column"]:
    """Split a correspondence into what matches what, as its blocks are split (:func:`~captum_shared.attr.components`).

    Args:
        correspondence: C, of two images of one size.
        coarse: its :func:`blocks`.

    Returns:
        The maps of every component in image and reference, the strongest first.
    """
    n_places = coarse.shape[0] * coarse.shape[1]
    parts = split(coarse.reshape(n_places, -1))
    order = np.argsort(-parts.sum((1, 2)), kind="stable")
    total = coarse.reshape(1, n_places, -1)
    shares = np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)[order].reshape(-1, *coarse.shape)
    maps = []
    for share in shares:
        for axis, side in enumerate(correspondence.shape):
            if side > MOST_ROWS:
                share = np.repeat(share, np.diff(_starts(side), append=side), axis=axis)
        component = correspondence * share
        maps.append(np.stack([component.sum((2, 3)), component.sum((0, 1))]))
    shape = (2, *correspondence.shape[:2])
    return np.array(maps, dtype=np.float32).reshape(-1, *shape)


def _starts(side: int) -> Int[ndarray, " block"]:
    """Where blocks begin, of a side of many places."""
    starts: ndarray = np.arange(MOST_ROWS) * side // MOST_ROWS
    return starts


def _grid(activation: Tensor) -> Grid:
    return activation.shape[2], activation.shape[3]
