r"""Rank correlations within categories, and how probable they are by chance.

.. math:: r = \frac{\sum_i u_i v_i}{\sqrt{\sum_i u_i^2 \, \sum_i v_i^2}}

with u and v the ranks of an image among those of its category, less their mean, over the number of images in it: what
categories differ in has no part in it. Under the hypothesis that the two have nothing to do with each other within
categories, one may be dealt anew among the images of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float64, Shaped
from numpy import ndarray

FEWEST: Final = 8
"""Fewest images for a rank correlation to be told."""

_PERMUTATIONS: Final = 2000
_AT_ONCE: Final = 100


@final
@dataclass(frozen=True)
class Relation:
    """How a measure of neurons goes with a measure of behaviour.

    Attributes:
        measure: what is measured of the neurons.
        of: of which neurons.
        n_images: how many images (or images with references) have both.
        correlation: rank correlation within categories; NaN if there are too few images, or either is constant.
        p: how probable one as far from 0 is by chance, both signs.
        p_all: how probable it is that the largest of several, of which this is one, is as far from 0.
    """

    measure: str
    of: str
    n_images: int
    correlation: float
    p: float
    p_all: float

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Relation:
        """Make one of what JSON holds of it.

        Args:
            entry: its attributes, None in place of NaN.

        Returns:
            The same as was written.
        """
        values: dict[str, Any] = {name: math.nan if value is None else value for name, value in entry.items()}
        return cls(**values)

    @property
    def told_p(self) -> str:
        """The probability among all that are tried, in words."""
        return "p < 0.001" if self.p_all < 0.001 else f"p = {self.p_all:.3f}"


def related(
    measures: Mapping[tuple[str, str], Float64[ndarray, " image"]],
    behaviour: Float64[ndarray, " image"],
    categories: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[Relation, ...]:
    """Correlate measures of neurons with behaviour, and correct for their number.

    Args:
        measures: by what is measured, and of which neurons; NaN where it is not known.
        behaviour: NaN where it is not known.
        categories: of the images.
        seed: of the dealing.

    Returns:
        The relations, in this order. ``p_all`` is by the largest of all correlations, each in units of what it varies
        by chance (max statistic).

    Example:
        >>> image = np.arange(20.0)
        >>> (relation,) = related({("response", "all"): image}, image**3, ["body"] * 20)
        >>> round(relation.correlation, 3), relation.p < 0.001
        (1.0, True)
    """
    kept = [~np.isnan(values) & ~np.isnan(behaviour) for values in measures.values()]
    labels = np.unique(np.asarray(categories), return_inverse=True)[1]
    tests: dict[bytes, list[int]] = {}
    for index, images in enumerate(kept):
        tests.setdefault(images.tobytes(), []).append(index)
    observed, chance = np.full(len(kept), np.nan), np.full((_PERMUTATIONS, len(kept)), np.nan)
    all_values = np.array(list(measures.values())).reshape(len(kept), -1)
    for columns in tests.values():  # of the same images
        images = kept[columns[0]]
        if images.sum() >= FEWEST:
            ranks = ranks_within(all_values[columns][:, images], labels[images])
            own = ranks_within(behaviour[None, images], labels[images])[0]
            observed[columns], chance[:, columns] = _tested(ranks, own, labels[images], seed)
    scale = chance.std(axis=0)
    known = np.isfinite(observed)
    largest = np.max(np.abs(chance[:, known]) / scale[known], axis=1, initial=0)
    return tuple(
        Relation(
            *name,
            n_images=int(kept[index].sum()),
            correlation=_rounded(observed[index]),
            p=_p(np.abs(chance[:, index]), abs(observed[index])),
            p_all=_p(largest, abs(observed[index]) / scale[index]),
        )
        for index, name in enumerate(measures)
    )


def ranks_within(
    values: Float64[ndarray, "measure image"], labels: Shaped[ndarray, " image"]
) -> Float64[ndarray, "measure image"]:
    """Rank images among those of their category, less the mean rank, over the number of images in it.

    Args:
        values: measures of the images.
        labels: their categories.

    Returns:
        Between -1/2 and 1/2.

    Example:
        >>> ranks_within(np.array([[1.0, 5.0, 9.0, 7.0]]), np.array([0, 0, 1, 1]))
        array([[-0.25,  0.25,  0.25, -0.25]])
    """
    from scipy.stats import rankdata  # slow to import, and help is to come at once

    ranks = np.empty_like(values)
    for label in np.unique(labels):
        own = labels == label
        ranks[:, own] = (rankdata(values[:, own], axis=1) - (own.sum() + 1) / 2) / own.sum()
    return ranks


def _tested(
    ranks: Float64[ndarray, "measure image"],
    behaviour: Float64[ndarray, " image"],
    labels: Shaped[ndarray, " image"],
    seed: int,
) -> tuple[Float64[ndarray, " measure"], Float64[ndarray, "dealing measure"]]:
    """The correlations, and what they are where behaviour is dealt anew; NaN where one is constant."""
    length = np.linalg.norm(ranks, axis=1) * np.linalg.norm(behaviour)
    scaled = np.divide(ranks, length[:, None], out=np.full_like(ranks, np.nan), where=length[:, None] > 0)
    rng, categories = np.random.default_rng(seed), [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chance = []
    for _ in range(_PERMUTATIONS // _AT_ONCE):
        dealt = np.tile(behaviour, (_AT_ONCE, 1))
        for own in categories:
            dealt[:, own] = rng.permuted(dealt[:, own], axis=1)
        chance.append(dealt @ scaled.T)
    return scaled @ behaviour, np.concatenate(chance)


def _p(chance: Float64[ndarray, " dealing"], observed: float) -> float:
    if math.isnan(observed):
        return math.nan
    return float((1 + (chance >= observed * (1 - 1e-12)).sum()) / (1 + len(chance)))


def _rounded(correlation: float) -> float:
    """Within [-1, 1], which sums may leave by a rounding; NaN as one and the same."""
    return math.nan if math.isnan(correlation) else float(np.clip(correlation, -1, 1))
