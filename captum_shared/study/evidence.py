"""What a study keeps of its pairs besides the maps, so that a report of it needs nothing but its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

RANKED: Final = 8
"""How many of the references that a pair's was chosen among are kept."""

MOST_ROWS: Final = 14
"""Rows and columns on which a correspondence is kept at most: of more, blocks are summed."""

EVIDENCE: Final = ("evidence", "correspondences", "components", "significant")
"""Kinds of arrays in ``maps.npz``, of which the first there is for every neuron that has any."""

LEVEL: Final = 0.05
"""The probability of any significant pixel in a map where nothing is shared."""


@final
@dataclass(frozen=True)
class RankedReference:
    """An image that the reference of a pair was chosen among.

    Attributes:
        name: identifier of the image.
        similarity: neuron-specific similarity to the image of the pair, between -1 and 1.
        response: of the neuron to it, mean over phases, in the unit of the recording; NaN if none was recorded.

    Example:
        >>> RankedReference("hand", 0.6, 30.0).name
        'hand'
    """

    name: str
    similarity: float
    response: float


@final
@dataclass(frozen=True, eq=False)
class PairEvidence:
    """Why a pair's maps are what they are.

    Attributes:
        correspondence: how much every place of the image shares with every place of the reference, C of
            :class:`~captum_shared.SharedCorrespondence`, which sums to the agreement of the pair, on up to
            14 x 14 places of either (of more at the layer, blocks are summed). Each number is right to 0.1 % or to
            a millionth of the largest.
        components: what matches what (:func:`~captum_shared.attr.components`), the strongest first: maps at the layer,
            which sum to those of :class:`~captum_shared.SharedCorrespondence`; none if nothing is shared.
        significant: which pixels are more than chance, at a level of 0.05 for a whole map, against images of the
            recording that hardly drive the neuron (:func:`~captum_shared.attr.significance`): 19 of those in the lower
            half of its responses to 60 of all categories; None if there were too few.
        p_values: of the map of the image and of that of the reference; None likewise.

    Example:
        >>> components = np.array([3.0, 1.0], dtype=np.float32).reshape(2, 1, 1, 1).repeat(2, axis=1)
        >>> PairEvidence(np.full((1, 1, 1, 1), 4, dtype=np.float32), components, None, None).shares
        array([0.75, 0.25], dtype=float32)
    """

    correspondence: Float32[ndarray, "row column reference_row reference_column"]
    components: Float32[ndarray, "component side layer_row layer_column"]
    significant: Bool[ndarray, "side pixel_row pixel_column"] | None
    p_values: tuple[float, float] | None

    @property
    def shares(self) -> Float32[ndarray, " component"]:
        """The share of the agreement that is each component's."""
        sums: ndarray = self.components[:, 0].sum((1, 2))
        return sums / sums.sum() if len(sums) else sums


@final
@dataclass(frozen=True, eq=False)
class Responses:
    """What neurons responded to all images of a recording.

    Attributes:
        images: identifiers of the images.
        categories: their categories.
        mean: mean responses over phases, neurons in the order of the study, in the unit of the recording; NaN where
            none was recorded.

    Example:
        >>> responses = Responses(("mug", "hand"), ("object", "body"), np.array([[1.0], [3.0]], dtype=np.float32))
        >>> responses.mean[responses.images.index("hand")]
        array([3.], dtype=float32)
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    mean: Float32[ndarray, "image neuron"]


def packed_evidence(pairs: Sequence[PairEvidence]) -> dict[str, ndarray]:
    """Pack what is known of the pairs of a neuron into arrays.

    Args:
        pairs: one or more, either all tested for significance or none.

    Returns:
        Arrays that :func:`evidence_in` reads: correspondences in half precision, in units of the largest.
    """
    whole = np.stack([pair.correspondence for pair in pairs])
    largest = whole.max((1, 2, 3, 4), keepdims=True)
    numbers = [
        (pair.correspondence.sum(dtype=np.float64), len(pair.components), *(pair.p_values or (np.nan, np.nan)))
        for pair in pairs
    ]
    arrays = {
        "correspondences": (whole / np.where(largest > 0, largest, 1)).astype(np.float16),
        "components": np.concatenate([pair.components for pair in pairs]),
        "evidence": np.array(numbers, dtype=np.float64),
    }
    tested = [pair.significant for pair in pairs if pair.significant is not None]
    return {**arrays, "significant": np.stack(tested) if tested else np.zeros((0, 2, 0, 0), dtype=bool)}


def evidence_in(arrays: Mapping[str, ndarray]) -> tuple[PairEvidence, ...]:
    """Unpack what :func:`packed_evidence` packed.

    Args:
        arrays: by name.

    Returns:
        What is known of each pair.

    Raises:
        ValueError: if the arrays do not belong together.

    Example:
        >>> components = np.full((1, 2, 1, 1), 0.25, dtype=np.float32)
        >>> pair = PairEvidence(np.full((1, 1, 1, 1), 0.25, dtype=np.float32), components, None, None)
        >>> evidence_in(packed_evidence([pair]))[0].correspondence
        array([[[[0.25]]]], dtype=float32)
    """
    numbers, correspondences, components, significant = (arrays[name] for name in EVIDENCE)
    counts, tested = numbers[:, 1].astype(int), not np.isnan(numbers[:, 2:]).all()
    known = {len(correspondences), len(numbers), len(significant) if tested else len(numbers)}
    if len(known) > 1 or counts.sum() != len(components):
        raise ValueError(f"Expected evidence of the same pairs, got that of {', '.join(map(str, sorted(known)))}.")
    parts = np.split(components, np.cumsum(counts)[:-1])
    return tuple(
        PairEvidence(
            _of_sum(correspondences[pair], numbers[pair, 0]),
            parts[pair],
            significant[pair] if tested else None,
            (float(numbers[pair, 2]), float(numbers[pair, 3])) if tested else None,
        )
        for pair in range(len(numbers))
    )


def _of_sum(values: Float[ndarray, "*axis"], total: float) -> Float32[ndarray, "*axis"]:
    """Values with a sum; those that are all zero stay."""
    exact = values.astype(np.float64)
    scaled: ndarray = (exact * (total / (exact.sum() or 1))).astype(np.float32)
    return scaled
