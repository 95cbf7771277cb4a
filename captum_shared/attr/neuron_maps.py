"""Maps of many neurons for the same pairs, one neuron after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.attr.twin_pass import Sink

Neuron: TypeAlias = int | str
"""A neuron by its index or name."""

Neurons: TypeAlias = Sequence[int] | Sequence[str] | Tensor | None
"""Several neurons; None for all."""

Reduce: TypeAlias = Callable[[Pair], Any]
"""What is made of the maps of each neuron."""

Strategy: TypeAlias = Literal["auto", "backward", "jacobian"]
"""How gradients of many neurons are made, as a choice."""

Made: TypeAlias = Literal["forward", "backward", "jacobian", "calls"]
"""How maps of many neurons were made."""

JACOBIAN_BYTES: Final = 4 * 2**30
"""The largest Jacobian of a batch of pairs that is made without being asked for."""

BLOCK: Final = 16
"""Neurons in one product with the Jacobian, enough for the speed of a product of matrices."""


@final
class NeuronMaps(Iterator[tuple[Neuron, Any]]):
    """Maps of one neuron after the other, each made when it is asked for.

    What is held meanwhile, a graph or the Jacobian, is let go after the last neuron, or with the iterator.

    Args:
        neurons: the neurons, as they are named beside their maps.
        maps: their maps.
        strategy: how they are made.
        reduce: what is made of the maps of each; None for the maps themselves.

    Attributes:
        strategy: ``"forward"``: one forward pass of all pairs for all neurons; ``"backward"``: one forward pass, and a
            backward pass a neuron; ``"jacobian"``: one forward pass, a backward pass a feature, and products with the
            Jacobian; ``"calls"``: each neuron by itself.

    Example:
        >>> maps = NeuronMaps(["A", "B"], iter([(torch.ones(1), torch.zeros(1))] * 2), "calls", lambda maps: maps[0])
        >>> list(maps)
        [('A', tensor([1.])), ('B', tensor([1.]))]
    """

    def __init__(
        self, neurons: Sequence[Neuron], maps: Iterator[Pair], strategy: Made, reduce: Reduce | None = None
    ) -> None:
        self._neurons, self._maps, self._reduce = iter(neurons), maps, reduce
        self.strategy = strategy

    def __next__(self) -> tuple[Neuron, Any]:
        with torch.inference_mode(False), torch.no_grad():  # whatever holds where it is asked for
            maps = next(self._maps)
        return next(self._neurons), maps if self._reduce is None else self._reduce(maps)


def listed_neurons(similarity: NeuronSimilarity, neurons: Neurons) -> list[Neuron]:
    """Return neurons as a list, each of which there is.

    Args:
        similarity: whose.
        neurons: indices or names; None for all.

    Returns:
        The same, as they are.

    Raises:
        TypeError: if they are no sequence.
        ValueError: if there are none, or no neuron has a name.
        IndexError: if an index is out of range.

    Example:
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> listed_neurons(NeuronSimilarity(torch.nn.Flatten(), LinearReadout([[1.0], [2.0]])), None)
        [0, 1]
    """
    if neurons is None:
        return list(range(similarity.readout.n_neurons))
    listed = neurons.tolist() if isinstance(neurons, Tensor) else neurons
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise TypeError(f"neurons must be a list of indices or names, but got {neurons!r}. For one, use attribute.")
    if not listed:
        raise ValueError("Expected at least one neuron, but got none. Leave neurons out for all of them.")
    for neuron in listed:
        similarity.neurons(1, neuron)
    return list(listed)


def gradient_maps(
    passed: PairPass,
    similarity: NeuronSimilarity,
    neurons: Sequence[Neuron],
    sink: Sink = "images",
    *,
    strategy: Strategy = "auto",
    separable: bool = True,
) -> tuple[Made, Iterator[Pair]]:
    r"""Backpropagate the shared weights of many neurons from one pass of the pairs.

    .. math:: (J_f(x)^\top h_1, J_f(x)^\top h_2, \ldots) = J_f(x)^\top (h_1, h_2, \ldots)

    Either side costs what it has columns: the left a backward pass a neuron, the right a backward pass a feature, once,
    and memory for the Jacobian. ``"auto"`` takes the cheaper one, unless the Jacobian is larger than
    :data:`JACOBIAN_BYTES`.

    Args:
        passed: the pass.
        similarity: whose shared weights.
        neurons: the neurons.
        sink: to where.
        strategy: which side.
        separable: whether each entry of the first axis of the sink belongs to one pair, without which there is no
            Jacobian of several pairs.

    Returns:
        Which side it is, and the gradients of each neuron.

    Raises:
        ValueError: if the strategy is unknown, or there is no Jacobian.
    """
    size = sum(twin.jacobian_bytes(sink) for twin in passed.twins)
    made = chosen_strategy(strategy, len(neurons), similarity.readout.n_features, size, separable=separable)
    if made == "jacobian":
        return made, _of_pass(passed, similarity, neurons, sink)
    return made, (passed.gradients(similarity, neuron, sink) for neuron in neurons)


def chosen_strategy(
    strategy: Strategy, n_neurons: int, n_features: int, size: int, *, separable: bool = True
) -> Literal["backward", "jacobian"]:
    """Choose by cost how gradients of many neurons are made, where that is left open.

    Args:
        strategy: what is asked for.
        n_neurons: as many backward passes has the one.
        n_features: as many has the other.
        size: of the Jacobian, in bytes.
        separable: whether there is a Jacobian.

    Returns:
        The strategy.

    Raises:
        ValueError: if it is unknown, or there is no Jacobian.

    Example:
        >>> chosen_strategy("auto", 6, 5, 10**6), chosen_strategy("auto", 6, 5, 10**12)
        ('jacobian', 'backward')
    """
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy must be one of {', '.join(get_args(Strategy))}, but got {strategy!r}.")
    if strategy == "jacobian" and not separable:
        raise ValueError("There is no Jacobian of several pairs at a layer inside. Give one pair, or another strategy.")
    if strategy != "auto":
        return strategy
    return "jacobian" if separable and n_neurons > n_features and size <= JACOBIAN_BYTES else "backward"


def products(
    similarity: NeuronSimilarity,
    features: Pair,
    neurons: Sequence[Neuron],
    jacobians: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]],
) -> Iterator[Pair]:
    """Multiply the shared weights of many neurons by Jacobians.

    Args:
        similarity: whose shared weights.
        features: f(x) and f(r).
        neurons: the neurons.
        jacobians: of both images: the rows of each group of images (time, image), and their Jacobians (image, feature,
            ...).

    Yields:
        The products of each neuron.
    """
    for start in range(0, len(neurons), BLOCK):
        weights = torch.stack([similarity.weigh(*features, neuron) for neuron in neurons[start : start + BLOCK]])
        first, second = (_times(weights, *each) for each in jacobians)
        for maps in zip(first, second, strict=True):
            yield maps[0].clone(), maps[1].clone()  # none holds the memory of its block


def _of_pass(passed: PairPass, similarity: NeuronSimilarity, neurons: Sequence[Neuron], sink: Sink) -> Iterator[Pair]:
    jacobians = [([group.rows for group in twin.groups], twin.jacobians(sink)) for twin in passed.twins]
    return (yield from products(similarity, passed.features, neurons, jacobians))


def _times(
    weights: Float[Tensor, "neuron image feature"], rows: Sequence[Tensor], jacobians: Sequence[Tensor]
) -> Float[Tensor, "neuron image *pixels"]:
    """Multiply weights by the Jacobian of each pair's image."""
    n_neurons, n_images, _ = weights.shape
    shape = jacobians[0].shape[2:]
    maps = jacobians[0].new_empty((n_neurons, n_images, *shape))
    for index, jacobian in zip(rows, jacobians, strict=True):
        of_images = weights.to(jacobian)[:, index.to(weights.device)].movedim(2, 0).flatten(1, 2)
        with torch.autocast(jacobian.device.type, enabled=False):  # of sums over many features
            product = of_images @ jacobian.flatten(2)
        maps[:, index.to(maps.device)] = product.reshape(-1, n_neurons, len(index), *shape).movedim(0, 2)
    return maps
