r"""How alike neurons are, and whether groups of them are of the same kinds, beyond what chance allows.

No neuron of one subject has a counterpart in another, so whole groups are compared, by how alike any two neurons are:

.. math::
    \ell_{kl} &= \exp\left(-2 \, \frac{1 - \rho_{kl}}{\operatorname{med}(1 - \rho)}\right) \\
    L_{AB} &= \operatorname{mean}_{k \in A,\, l \in B,\, k \ne l} \ell_{kl}, \qquad
    C_{AB} = \frac{L_{AB}}{\sqrt{L_{AA} L_{BB}}}

with ρ the correlation of what was measured of either neuron, and its median over all pairs of neurons. The concordance
C is about 1 if both groups hold the same kinds of neurons in the same shares, however many, and less otherwise. It is
the cosine of the mean embeddings of the groups under a Gaussian kernel (Gretton et al., A kernel two-sample test, JMLR
2012), with no neuron compared with itself: what two neurons of one group have in common is the ceiling of what neurons
of two groups can have in common.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy import ndarray

_PERMUTATIONS: Final = 1000
_AT_ONCE: Final = 50  # permutations in memory
_SHARPNESS: Final = 2.0  # a Gaussian of half the median distance (choice)


def likeness(correlation: Float64[ndarray, "neuron neuron"]) -> Float64[ndarray, "neuron neuron"]:
    r"""Tell how alike neurons are from how what was measured of them correlates: :math:`\ell`.

    Args:
        correlation: ρ, between -1 and 1, of at least two neurons.

    Returns:
        Likeness, above 0 and up to 1; 1 of all if all are perfectly correlated.

    Example:
        >>> likeness(np.array([[1.0, 0.5], [0.5, 1.0]])).round(3)
        array([[1.   , 0.135],
               [0.135, 1.   ]])
    """
    apart = np.maximum(1 - correlation, 0)
    median = np.median(apart[~np.eye(len(apart), dtype=bool)])
    return np.exp(-_SHARPNESS * apart / median) if median > 0 else np.ones_like(apart)


def mean_likeness(
    alike: Float64[ndarray, "neuron neuron"], labels: Int[ndarray, "dealing neuron"]
) -> Float64[ndarray, "dealing group group"]:
    """Average the likeness of two neurons of two groups, and within groups: L.

    Args:
        alike: of any two neurons.
        labels: the group of each neuron, from 0, for every way to deal the neurons; each has at least two neurons.

    Returns:
        The means, with no neuron compared with itself.

    Example:
        >>> alike = np.array([[1.0, 0.5, 0.1, 0.2], [0.5, 1.0, 0.3, 0.2], [0.1, 0.3, 1.0, 0.9], [0.2, 0.2, 0.9, 1.0]])
        >>> mean_likeness(alike, np.array([[0, 0, 1, 1]]))[0]
        array([[0.5, 0.2],
               [0.2, 0.9]])
    """
    member = np.eye(labels.max() + 1)[labels]
    return _means(member.swapaxes(1, 2) @ (_others(alike) @ member), member[0].sum(axis=0))


def concordance(
    alike: Float64[ndarray, "neuron neuron"], labels: Int[ndarray, "dealing neuron"]
) -> Float64[ndarray, "dealing group group"]:
    """Compare groups with what neurons of one group have in common: C.

    Args:
        alike: of any two neurons.
        labels: as for :func:`mean_likeness`.

    Returns:
        The concordance, 1 on the diagonal.
    """
    return _over_own(mean_likeness(alike, labels))


def by_chance(
    alike: Float64[ndarray, "neuron neuron"], labels: Int[ndarray, " neuron"], kept: Int[ndarray, " neuron"], seed: int
) -> Iterator[Float64[ndarray, "group group"]]:
    """Deal neurons anew among the groups, 1000 times.

    Args:
        alike: of any two neurons.
        labels: the group of each neuron.
        kept: what else is known of each neuron: only those are dealt anew among each other that have it in common.
        seed: of the dealing.

    Yields:
        The concordance.
    """
    rng, strata = np.random.default_rng(seed), [np.flatnonzero(kept == each) for each in np.unique(kept)]
    for _ in range(_PERMUTATIONS // _AT_ONCE):
        dealt = np.tile(labels, (_AT_ONCE, 1))
        for own in strata:
            dealt[:, own] = rng.permuted(dealt[:, own], axis=1)
        yield from concordance(alike, dealt)


def p_differ(
    alike: Float64[ndarray, "neuron neuron"], labels: Int[ndarray, " neuron"], kept: Int[ndarray, " neuron"], seed: int
) -> Float64[ndarray, "group group"]:
    """Tell for any two groups how probable so low a concordance is if the neurons of the two are dealt anew.

    Args:
        alike: of any two neurons.
        labels: the group of each neuron.
        kept: as for :func:`by_chance`.
        seed: of the dealing.

    Returns:
        The probability times the number of pairs of groups (Bonferroni), at most 1; 1 on the diagonal.
    """
    n_groups = int(labels.max()) + 1
    n_pairs = n_groups * (n_groups - 1) // 2
    p = np.ones((n_groups, n_groups))
    for one, other in itertools.combinations(range(n_groups), 2):
        both = np.flatnonzero((labels == one) | (labels == other))
        own, pair = alike[np.ix_(both, both)], (labels[both] == other).astype(int)
        observed = concordance(own, pair[None])[0, 0, 1]
        chance = np.array([each[0, 1] for each in by_chance(own, pair, kept[both], seed)])
        p[one, other] = p[other, one] = min(1.0, n_pairs * p_value(chance <= observed + 1e-12))
    return p


def p_value(as_extreme: Bool[ndarray, " dealing"]) -> float:
    """Tell how probable what was observed is by chance.

    Args:
        as_extreme: which of what chance alone gave is as extreme.

    Returns:
        The share of these, the observed one among them.

    Example:
        >>> p_value(np.array([False, True, False]))
        0.5
    """
    return float((1 + as_extreme.sum()) / (1 + len(as_extreme)))


def interval(
    alike: Float64[ndarray, "neuron neuron"], labels: Int[ndarray, " neuron"]
) -> tuple[Float64[ndarray, "group group"], Float64[ndarray, "group group"]]:
    """Tell how far the concordance would vary if other neurons of the same groups had been recorded.

    Args:
        alike: of any two neurons.
        labels: the group of each neuron, at least three of each.

    Returns:
        Both ends of the 95 % interval, by the jackknife over neurons.
    """
    member = np.eye(labels.max() + 1)[labels]
    sizes, shared = member.sum(axis=0), _others(alike) @ member
    lost = member[:, :, None] * shared[:, None]
    total = member.T @ shared
    without = _over_own(_means(total - lost - lost.swapaxes(1, 2), sizes - member))
    own = [without[labels == group] for group in range(len(sizes))]
    variance = sum((size - 1) * each.var(axis=0) for size, each in zip(sizes, own, strict=True))
    observed, reach = _over_own(_means(total, sizes)), 1.96 * np.sqrt(variance)
    return observed - reach, observed + reach


def closest(concordance: Float64[ndarray, "group group"]) -> tuple[tuple[int, int], float]:
    """Find the two groups that agree most.

    Args:
        concordance: of any two groups.

    Returns:
        Their indices, and how far they are ahead of what either has with a third group (of 0, if there is none).

    Example:
        >>> closest(np.array([[1.0, 0.2, 0.9], [0.2, 1.0, 0.4], [0.9, 0.4, 1.0]]))
        ((0, 2), 0.5)
    """
    groups = range(len(concordance))
    one, other = max(itertools.combinations(groups, 2), key=lambda pair: concordance[pair])
    others = [concordance[each, third] for each in (one, other) for third in groups if third not in (one, other)]
    return (one, other), float(concordance[one, other] - max(others, default=0.0))


def _others(alike: Float64[ndarray, "neuron neuron"]) -> Float64[ndarray, "neuron neuron"]:
    """Likeness with nothing of a neuron itself."""
    return alike * ~np.eye(len(alike), dtype=bool)


def _means(sums: ndarray, sizes: ndarray) -> ndarray:
    """Mean over the pairs of two neurons of two groups, or of one."""
    group = np.eye(sums.shape[-1])
    means: ndarray = sums / (sizes[..., :, None] * (sizes[..., None, :] - group))
    return means


def _over_own(means: ndarray) -> ndarray:
    own = np.sqrt(np.diagonal(means, axis1=-2, axis2=-1))
    ratio: ndarray = means / (own[..., :, None] * own[..., None, :])
    return ratio
