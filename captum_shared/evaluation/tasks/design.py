"""The 2 x 2 factorial design: pairs of images of which it is known what they share for a neuron."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.evaluation.tasks.ceiling import CEILING
from captum_shared.methods.method import Method


@final
@dataclass(frozen=True, eq=False)
class Trial:
    """One pair of known answer, and a control.

    Attributes:
        images: the image, its reference and a control reference, which drives the neuron too but shares no driver with
            the image; inputs of the network.
        regions: of the image and of the reference, one region of each of
            :data:`~captum_shared.evaluation.scores.KINDS`.
        contents: for each of the three images what is in its four regions.
        neuron: the neuron.

    Example:
        >>> import torch
        >>> Trial(torch.rand(3, 3, 8, 8), torch.zeros(2, 4, 8, 8).bool(), (("wing",) * 4,) * 3, neuron=0).neuron
        0
    """

    images: Float[Tensor, "3 channel height width"]
    regions: Bool[Tensor, "2 4 height width"]
    contents: tuple[tuple[str, ...], ...]
    neuron: int


@final
@dataclass(frozen=True, eq=False)
class Task:
    """Neurons with readouts that were estimated, and as many pairs as one likes.

    Attributes:
        name: of the task.
        similarity: encoder and readouts.
        trial: from the position of a pair to the pair, the same each time.
        settings: what the task was made with, ready for JSON; a benchmark is resumed if they are the same.
        ceilings: what could be told by who knows more than a method does, as rows beside the methods.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LinearReadout
        >>> Task("mine", NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(3)), lambda place: None, {}).name
        'mine'
    """

    name: str
    similarity: NeuronSimilarity
    trial: Callable[[int], Trial]
    settings: Mapping[str, Any]
    ceilings: tuple[Method, ...] = (CEILING,)


def factorial_design(
    drivers: Sequence[str], shared: Sequence[str], strangers: Sequence[str], rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Choose what is in the four regions of the image, of the reference and of the control.

    With drivers a, b and c, a non-driver s and strangers m and n, the image holds a (the answer), b (its own driver), s
    (shared, no driver) and m (neither), the reference a, c, s and n, and the control c, c, s and n.

    Args:
        drivers: three or more contents that drive the neuron.
        shared: contents that do not.
        strangers: two or more contents that do not drive it, none of them in ``shared``.
        rng: source of every choice.

    Returns:
        Four contents for each of the three images, in the order of
        :data:`~captum_shared.evaluation.scores.KINDS`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> factorial_design(["a", "b", "c"], ["s"], ["m", "n"], rng)
        (('c', 'a', 's', 'n'), ('c', 'b', 's', 'm'), ('b', 'b', 's', 'm'))
    """
    a, b, c = rng.permutation(np.asarray(drivers))[:3].tolist()
    s = str(rng.choice(np.asarray(shared)))
    m, n = rng.permutation(np.asarray(strangers))[:2].tolist()
    return (a, b, s, m), (a, c, s, n), (c, c, s, n)


def shared_drivers_design(
    drivers: Sequence[str], others: Sequence[str], n_shared: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Choose what is in the four regions of the image, of the reference and of the control, with several answers.

    The first ``n_shared`` regions of image and reference hold the same drivers, all others what is in no other region.
    The control holds a driver that is in neither, if there is one, in place of the shared ones.

    Args:
        drivers: contents that drive the neuron.
        others: contents that do not, enough for all other regions.
        n_shared: how many drivers the two images share.
        rng: source of every choice.

    Returns:
        Four contents for each of the three images.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shared_drivers_design(["a", "b", "c"], ["m", "n", "o", "p"], 2, rng)
        (('c', 'a', 'p', 'o'), ('c', 'a', 'n', 'm'), ('b', 'b', 'n', 'm'))
    """
    driving = rng.permutation(np.asarray(drivers)).tolist()
    strangers = rng.permutation(np.asarray(others)).tolist()
    shared, left, n_own = tuple(driving[:n_shared]), driving[n_shared:], 4 - n_shared
    own, others_own = tuple(strangers[:n_own]), tuple(strangers[n_own : 2 * n_own])
    control = tuple(left[:1] * n_shared) or tuple(strangers[2 * n_own : 2 * n_own + n_shared])
    return (*shared, *own), (*shared, *others_own), (*control, *others_own)


def one_shared_design(
    shared: Sequence[str], contents: Sequence[str], rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Choose what is in the four regions of each image where there are no neurons: one content is shared, six are not.

    Args:
        shared: contents of which one is shared: the answer.
        contents: all contents, seven or more.
        rng: source of every choice.

    Returns:
        Four contents for each of the three images, the answer first; in place of it the control has another of its own.

    Raises:
        ValueError: if there are too few contents.

    Example:
        >>> one_shared_design(["a"], ["a", "b", "c", "d", "e", "f", "g"], np.random.default_rng(0))
        (('a', 'e', 'd', 'g'), ('a', 'f', 'b', 'c'), ('f', 'f', 'b', 'c'))
    """
    answer = str(rng.choice(np.asarray(shared)))
    others = rng.permutation([content for content in contents if content != answer]).tolist()
    if len(others) < 6:
        raise ValueError(f"Expected 7 or more contents for pairs that share one, got {len(others) + 1}. Add some.")
    return (answer, *others[:3]), (answer, *others[3:6]), (others[3], *others[3:6])
