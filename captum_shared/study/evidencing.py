r"""Why the maps of pairs are what they are: correspondences, components, and what is more than chance.

Chance is what other images of the recording give: for the map of an image, images of the preferred category in place of
its reference; for the map of the reference, images of other categories in place of the image. Of either kind
:data:`DRAWN` are drawn once a study; for a neuron count the half that drives it least, of which the first
:data:`N_NULLS` are taken. So what a neuron finds in most images is part of chance.
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
"""Images of the preferred category, and of the others, that are drawn to be chance."""

N_NULLS: Final = 19
"""How many of them are compared with each image: the fewest for a level of 0.05."""

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
        preferred: which images are of the preferred category.
        seed: of the images that are chance.
    """

    similarity: NeuronSimilarity
    inputs: Callable[[Sequence[int]], Tensor]
    responses: Float64[ndarray, "image neuron"]
    preferred: Bool[ndarray, " image"]
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
            whole = correspondence.reshape(*image, *reference)
            coarse = blocks(whole)
            significant = None if tested is None else tested[0][index]
            p_values = None if tested is None else tested[1][index]
            maps = component_maps(whole, coarse)
            found.append(PairEvidence(coarse.astype(np.float32), maps, significant, p_values))
        return found

    def _tested(
        self, passed: PairPass, neuron: int, but: Sequence[int]
    ) -> tuple[Bool[ndarray, "pair side row column"], list[tuple[float, float]]] | None:
        """The pixels of each pair that are more than chance, and its p-values; None if too little is chance."""
        rows = self._silent(neuron, but)
        if rows is None:
            return None
        pair, nulls = self._read((passed.activations[0], passed.activations[1])), self._nulls
        found = significance_of(pair, [neuron] * len(pair[0].features), nulls=_each(nulls, rows), level=LEVEL)
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
    def _drawn(self) -> tuple[Int[ndarray, " image"], Int[ndarray, " image"]]:
        """Images of other categories, and as many of the preferred one, in no order."""
        rng, kinds = np.random.default_rng([self.seed, 2]), [np.flatnonzero(each) for each in self._kinds]
        number = min(DRAWN, *map(len, kinds))
        others, own = (rng.choice(images, number, replace=False) for images in kinds)
        return others, own

    @property
    def _kinds(self) -> tuple[ndarray, ndarray]:
        return ~self.preferred, self.preferred

    @cached_property
    def _nulls(self) -> tuple[Places, Places]:
        """What is drawn, read place by place, once in a process."""
        read = []
        for start in range(0, len(self._drawn[0]), _BATCH):
            first, second = (self.inputs(images[start : start + _BATCH].tolist()) for images in self._drawn)
            read.append(self._read(activations_at_cut(self.similarity, checked_pair((first, second)))))
        others, own = (Places.joined(each) for each in zip(*read, strict=True))
        return others, own

    def _silent(self, neuron: int, but: Sequence[int]) -> tuple[Tensor, Tensor] | None:
        """Rows of what is drawn that drive the neuron least; None if they are too few."""
        rows = []
        for images in self._drawn:
            responses = self.responses[images, neuron]
            known = np.flatnonzero(~np.isnan(responses) & ~np.isin(images, but))
            lower = np.sort(known[np.argsort(responses[known], kind="stable")][: len(known) // 2])
            rows.append(torch.from_numpy(lower[:N_NULLS]))
        return None if min(map(len, rows)) < N_NULLS else (rows[0], rows[1])


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


def _each(nulls: tuple[Places, Places], rows: tuple[Tensor, Tensor]) -> tuple[Places, Places]:
    first, second = (places[own.to(places.features.device)] for places, own in zip(nulls, rows, strict=True))
    return first, second
