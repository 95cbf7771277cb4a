"""Neurons that prefer a category of photographs: which categories, which photographs to fit to, and their responses."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

_N_NEURONS = 6
_FEWEST = 10
_UNSORTED = ("", "other")
_BASELINE, _GAIN = 4.0, 24.0  # spikes/s
_EXPOSURE = 8 * 0.2  # seconds: repetitions times window


def preferred_categories(labels: Sequence[str]) -> list[str]:
    """Choose the categories to prefer: the six largest of those with at least ten photographs.

    Photographs in the folder itself, or in a subfolder named ``other``, are of no category that could be preferred,
    though they can drive a neuron.

    Args:
        labels: category of each photograph, ``""`` for those in the folder itself.

    Returns:
        Two to six categories, the largest first, and of equally large ones the first by name.

    Raises:
        ValueError: if fewer than two are large enough.

    Example:
        >>> preferred_categories(["other"] * 30 + ["dog"] * 10 + ["cat"] * 12 + ["fish"] * 9)
        ['cat', 'dog']
    """
    sizes = {label: size for label, size in sorted(Counter(labels).items()) if label.lower() not in _UNSORTED}
    large = [label for label in sorted(sizes, key=lambda label: -sizes[label]) if sizes[label] >= _FEWEST]
    if len(large) < 2:
        counted = ", ".join(f"{label} ({size})" for label, size in sizes.items()) or "none"
        raise ValueError(
            f"Expected at least two categories with {_FEWEST} or more photographs each, got {counted}. Sort the "
            "photographs into one subfolder a category, or add some."
        )
    return large[:_N_NEURONS]


def fitting_half(labels: Sequence[str], *, seed: int) -> Bool[ndarray, " photograph"]:
    """Draw half of the photographs of every category, the larger half where their number is odd.

    Args:
        labels: category of each photograph.
        seed: of the draw, not negative.

    Returns:
        Which photographs are for fitting.

    Raises:
        ValueError: if the seed is negative.

    Example:
        >>> fitting_half(["dog", "dog", "dog", "cat"], seed=0)
        array([ True, False,  True,  True])
    """
    if seed < 0:
        raise ValueError(f"Expected a seed of at least 0, got {seed}.")
    rng = np.random.default_rng(seed)
    fitting = np.zeros(len(labels), dtype=bool)
    for label in sorted(set(labels)):
        members = rng.permutation(np.flatnonzero(np.asarray(labels) == label))
        fitting[members[: (len(members) + 1) // 2]] = True
    return fitting


def simulated_responses(
    labels: Sequence[str], categories: Sequence[str], *, seed: int
) -> Float64[ndarray, "photograph neuron"]:
    r"""Record neurons that fire at 28 spikes/s at photographs of their category, and at 4 spikes/s at all others.

    .. math:: y_{ik} = n_{ik} / T, \qquad n_{ik} \sim \mathrm{Poisson}((4 + 24\,[c_i = k])\,T)

    with the exposure T = 1.6 s, eight presentations of 0.2 s, as in :func:`captum_shared.synthetic.neurons.record`.

    Args:
        labels: category c of each photograph.
        categories: the one that each neuron prefers.
        seed: of the spikes, not negative.

    Returns:
        Mean rates, spikes/s.

    Example:
        >>> simulated_responses(["dog", "cat", "food"], ["dog", "cat"], seed=0)
        array([[29.375,  0.625],
               [ 4.375, 33.125],
               [ 3.75 ,  6.25 ]])
    """
    preferred = np.asarray(labels)[:, None] == np.asarray(categories)
    rates = np.where(preferred, _BASELINE + _GAIN, _BASELINE)
    responses: ndarray = np.random.default_rng(seed).poisson(rates * _EXPOSURE) / _EXPOSURE
    return responses
