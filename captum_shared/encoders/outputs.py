"""Layers that give several tensors, one of which is named: ``"encoder:last_hidden_state"``, ``"attention:0"``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor


def split_name(layer: str) -> tuple[str, tuple[str, ...]]:
    """Take the name of a layer apart.

    Args:
        layer: the name of a module and, each after a colon, what to pick from its output: the number of an element,
            or the name of an entry or attribute. Nothing before the first colon stands for the whole network.

    Returns:
        The name of the module, and what to pick.

    Example:
        >>> split_name("encoder:hidden_states:3")
        ('encoder', ('hidden_states', '3'))
    """
    module, *keys = layer.split(":")
    return module, tuple(keys)


def picked(output: Any, layer: str) -> Any:
    """Pick from the output of a layer what its name says.

    Args:
        output: a tensor, tuple, list, mapping, dataclass or any object with attributes.
        layer: the name of the layer, as of :func:`split_name`.

    Returns:
        The part, or the output itself if the name says no more than the module.

    Raises:
        ValueError: if there is no such part.

    Example:
        >>> picked(({"a": 1}, 2), "block:0:a")
        1
    """
    part = output
    for key in split_name(layer)[1]:
        try:
            part = _part(part, key)
        except (LookupError, AttributeError, TypeError) as error:
            names = ", ".join(names_of_tensors(output, layer.partition(":")[0])) or "none"
            raise ValueError(
                f"There is no {key!r} in the {type(part).__name__} that {layer!r} names. Its tensors are: {names}."
            ) from error
    return part


def names_of_tensors(output: object, layer: str) -> list[str]:
    """Name every tensor in the output of a layer.

    Args:
        output: what the layer gives.
        layer: its name.

    Returns:
        The name of the layer itself, if it gives one tensor, otherwise names to pick by.

    Example:
        >>> import torch
        >>> names_of_tensors((torch.zeros(1), {"a": torch.zeros(1)}, None), "block")
        ['block:0', 'block:1:a']
    """
    if isinstance(output, Tensor):
        return [layer]
    return [name for key, part in _parts(output) for name in names_of_tensors(part, f"{layer}:{key}")]


def _part(output: Any, key: str) -> Any:
    if isinstance(output, Mapping):
        return output[key]
    return output[int(key)] if key.lstrip("-").isdigit() else getattr(output, key)


def _parts(output: object) -> Iterator[tuple[str, object]]:
    if isinstance(output, Mapping):
        yield from ((str(key), part) for key, part in output.items())
    elif hasattr(output, "_fields"):  # a named tuple
        yield from zip(output._fields, output, strict=True)  # type: ignore[call-overload]
    elif isinstance(output, Sequence) and not isinstance(output, str):
        yield from ((str(number), part) for number, part in enumerate(output))
    elif hasattr(output, "__dataclass_fields__"):
        yield from ((name, getattr(output, name)) for name in output.__dataclass_fields__)
