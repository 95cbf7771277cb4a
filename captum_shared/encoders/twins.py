"""Copies of a module tree over one set of weights."""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator

from torch import Tensor, nn


def tied_copy(module: nn.Module, tie: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> nn.Module:
    """Copy a module tree over one set of parameters and buffers.

    Hooks, and with them every layer method of Captum, see the calls of the copy and of the original apart,
    while no weight is held twice.

    Args:
        module: any module.
        tie: what stands in the copy for each parameter and buffer; by default the tensor itself.

    Returns:
        A deep copy that shares its parameters and buffers with ``module``.

    Example:
        >>> original = nn.Linear(2, 1)
        >>> tied_copy(original).weight is original.weight
        True
    """
    memo = {id(tensor): tie(tensor) for tensor in itertools.chain(module.parameters(), module.buffers())}
    computed = (value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor))
    memo.update({id(tensor): tensor.detach() for tensor in computed if id(tensor) not in memo})  # as of weight_norm
    return copy.deepcopy(module, memo)


def tie_again(module: nn.Module, twin: nn.Module) -> None:
    """Give a tied copy whatever parameters, buffers and modes the original has by now.

    Args:
        module: the original.
        twin: its tied copy.

    Raises:
        ValueError: if modules were replaced by others.

    Example:
        >>> original = nn.Linear(2, 1)
        >>> twin = tied_copy(original)
        >>> original.weight = nn.Parameter(-original.weight.detach())
        >>> tie_again(original, twin)
        >>> twin.weight is original.weight
        True
    """
    for ours, theirs in itertools.zip_longest(module.modules(), twin.modules()):
        if type(ours).__qualname__ != type(theirs).__qualname__:  # by name: each traced network has a class of its own
            raise ValueError(
                f"The encoder's modules changed after its twin was made (now {type(ours).__name__} where the twin has "
                f"{type(theirs).__name__}). Build the NeuronSimilarity anew."
            )
        theirs.training = ours.training
        theirs._parameters.update(ours._parameters)
        theirs._buffers.update(ours._buffers)


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Hold a module in evaluation mode, and give every part its own mode back.

    Args:
        module: any module.

    Yields:
        Nothing.

    Example:
        >>> layer = nn.Dropout()
        >>> with evaluation_mode(layer):
        ...     layer.training
        False
        >>> layer.training
        True
    """
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
