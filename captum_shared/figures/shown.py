"""Which method the figures of a study show, and on what scale."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.colors import Normalize
from numpy import ndarray

from captum_shared.figures.overlay import ABSOLUTE_TOP, absolute_scale, density, scale, told_share
from captum_shared.methods.method import Method
from captum_shared.methods.registry import DEFAULT_METHODS, METHODS
from captum_shared.study.result import NeuronResult, PairResult, StudyResult


@dataclass(frozen=True)
class PairMaps:
    """The maps of one pair of a neuron by one method, read when they are needed.

    Attributes:
        result: the study.
        neuron: the neuron.
        index: of the pair among its pairs.
        method: what made the maps.
    """

    result: StudyResult
    neuron: NeuronResult
    index: int
    method: Method

    @property
    def pair(self) -> PairResult:
        """What was measured of the pair."""
        return self.neuron.pairs[self.index]

    def heats(self) -> Float32[ndarray, "side row column"]:
        """Read the two maps, as densities where their sums are shares."""
        maps = self.result.maps(self.neuron.name, self.method.name)[self.index]
        return np.stack([density(heat) for heat in maps]) if self.method.absolute else maps

    def picture(self, side: str) -> UInt8[ndarray, "row column channel"]:
        """Read the image or the reference."""
        return self.result.picture(getattr(self.pair, side))

    def told_strength(self) -> str:
        """Tell how strong the maps are: how much the pair shares, or how intense they are."""
        value = strength(self.pair, self.method)
        return told_share(value) if self.method.absolute else f"intensity {value:.2g}"


def strength(pair: PairResult, method: Method) -> float:
    """Tell how strong the maps of a pair are.

    Args:
        pair: the pair.
        method: what made the maps.

    Returns:
        How much the pair shares, between 0 and 1, by methods that tell; else the mean of the maps.

    Example:
        >>> pair = PairResult("strong", "mug", "hand", 21.0, 30.0, 0.6, 0.31, {"recommended": 2e-5, "paper": 1e-4})
        >>> strength(pair, METHODS["recommended"]), strength(pair, METHODS["paper"])
        (0.31, 0.0001)
    """
    return pair.agreement if method.absolute and pair.agreement is not None else pair.intensity[method.name]


def method_shown(result: StudyResult, name: str | None) -> Method:
    """Tell which method a figure shows.

    Args:
        result: the study.
        name: the method asked for; None for the recommended one or, if that is not in the study, its first.

    Returns:
        The method.

    Raises:
        ValueError: if the study has no maps by this method.

    Example:
        >>> from pathlib import Path
        >>> study = StudyResult({"methods": ["paper"]}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (), Path("maps.npz"))
        >>> method_shown(study, None).name
        'paper'
    """
    for each in [name] if name else [*DEFAULT_METHODS[:1], *result.methods]:
        if each in result.methods:
            return METHODS[each]
    raise ValueError(
        f"Expected a method of the study to show, got {name!r}: it has {', '.join(result.methods) or 'none'}. Run the "
        "study with the method that you want to see."
    )


def unit(method: Method) -> str:
    """Tell what the numbers of maps are, as they are drawn.

    Args:
        method: what made the maps.

    Returns:
        A label.

    Example:
        >>> unit(METHODS["paper"])
        "map, similarity per unit of the network's input"
    """
    if method.absolute:
        return "map, the share of 1 that falls on 1 % of the image"
    quantity = "response" if method.family == "neuron" else "similarity"
    return f"map, {quantity} per unit of the network's input" if method.kind == "gradient" else f"map, {quantity}"


def scale_note(method: Method) -> str:
    """Describe the scale of :func:`common_scale`.

    Args:
        method: what made the maps.

    Returns:
        What comes after "on one scale".
    """
    if method.absolute:
        return (
            f"the same in every study, from zero to {ABSOLUTE_TOP:g} by the square root, white lines at a quarter of it"
        )
    return "from zero to the median of the neurons' maxima, with white lines at half of it"


def common_scale(neurons: Iterable[Sequence[PairMaps]], method: Method) -> Normalize:
    """Make one scale for all maps of these neurons.

    Args:
        neurons: the pairs of every neuron.
        method: what made the maps.

    Returns:
        The absolute scale, for methods whose maps have one. Else a scale from zero to the median over neurons of their
        largest values, so that one neuron with strong maps does not hide all others (choice). Neurons whose maps are
        zero do not count.
    """
    if method.absolute:
        return absolute_scale()
    largest = np.asarray([max(float(pair.heats().max()) for pair in pairs) for pairs in neurons])
    return scale(float(np.median(largest[largest > 0])) if (largest > 0).any() else 0.0)
