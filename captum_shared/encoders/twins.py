"""Copies of a module tree over one set of weights."""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any, Final, TypeVar, final

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)

TIED: Final = "tied"
"""Key by which ``copy.deepcopy`` tells what it copies, in its memo, that the copy will be tied to the original."""

_OWN: Final = {"_compiled_call_impl", *vars(nn.Module())}
_HOOKS: Final = tuple(name for name, value in vars(nn.Module()).items() if "hook" in name and isinstance(value, dict))
_VALUES: Final = (
    *(bool, int, float, complex, str, bytes, NoneType, FunctionType, BuiltinFunctionType),
    *(torch.dtype, torch.device),
)


def tied_copy(module: ModuleT, tie: Callable[[Tensor], Tensor] | None = None) -> ModuleT:
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
    tensors = itertools.chain(module.parameters(), module.buffers())
    memo: dict[Any, Any] = {id(tensor): tensor if tie is None else tie(tensor) for tensor in tensors}
    computed = (value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor))
    memo.update({id(tensor): tensor.detach() for tensor in computed if id(tensor) not in memo})  # as of weight_norm
    if tie is None:
        memo[TIED] = True
    twin = copy.deepcopy(module, memo)
    for ours, theirs in zip(module.modules(), twin.modules(), strict=True):
        theirs.training = ours.training  # which a traced network does not hand on
    return twin


def tie_again(module: nn.Module, twin: nn.Module, *, hooks: bool = False) -> None:
    """Give a tied copy whatever parameters, buffers, plain attributes and modes the original has by now.

    Args:
        module: the original.
        twin: its tied copy.
        hooks: whether it gets the hooks of the original too.

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
        source, target = vars(ours), vars(theirs)
        target["training"] = source["training"]
        for kind in ("_parameters", "_buffers"):
            if source[kind]:
                target[kind] = source[kind].copy()
        if hooks:
            target["_is_full_backward_hook"] = source["_is_full_backward_hook"]
        for kind in _HOOKS if hooks else ():
            if source[kind] or target[kind]:  # of those that the copy has already it has its own
                target[kind] = type(source[kind])(
                    (key, target[kind].get(key, hook)) for key, hook in source[kind].items()
                )
        for name, value in source.items():
            if name not in _OWN and target.get(name, _OWN) is not value and _is_plain(value):
                target[name] = _plain(value)


@final
class Spares:
    """Tied copies of a module, each lent to one call at a time, which can do to it what it likes.

    So calls in several threads do not see each other's hooks, and the original stays as it is, whatever happens.

    Example:
        >>> original, spares = nn.Dropout(), Spares()
        >>> with spares.lent(original) as copy:
        ...     copy.training, original.training
        (False, True)
    """

    def __init__(self) -> None:
        self._free: list[nn.Module] = []

    @contextlib.contextmanager
    def lent(self, module: ModuleT) -> Iterator[ModuleT]:
        """Lend a copy in evaluation mode, with the weights and hooks that the original has by now.

        Args:
            module: the original, always the same one.

        Yields:
            The copy. It is not used again if the call fails, as hooks may have been left in it.
        """
        spare = self._spare_of(module)
        for part in spare.modules():
            part.training = False
        yield spare
        self._free.append(spare)

    def _spare_of(self, module: ModuleT) -> ModuleT:
        with contextlib.suppress(IndexError, ValueError):  # none is free, or modules were replaced
            free: ModuleT = self._free.pop()  # type: ignore[assignment]  # of this module
            return self._tied_again(module, free)
        self._free.clear()
        return self._tied_again(module, tied_copy(module))

    @staticmethod
    def _tied_again(module: ModuleT, spare: ModuleT) -> ModuleT:
        tie_again(module, spare, hooks=True)
        return spare

    def __reduce__(self) -> tuple[Any, ...]:
        return Spares, ()


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


def _is_plain(value: object) -> bool:
    """Whether an attribute can be handed on as it is: no part of a module tree."""
    if isinstance(value, list):  # as a recurrent network lists its weights
        return all(isinstance(each, Tensor) for each in value)
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (*_VALUES, Tensor))


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.is_leaf else value.detach()  # as of weight_norm, which computes it before each pass
    return list(value) if isinstance(value, list) else value
