"""What a readout is made of, looked at before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: Any, name: str, *, like: Tensor | None) -> Tensor:
    """Return a detached copy with finite numbers.

    Args:
        array: numbers.
        name: what they are, for the message.
        like: a tensor of the dtype and on the device to have; None for the dtype as it is, or torch's default for
            integers.

    Returns:
        The copy.

    Raises:
        TypeError: if they are not real numbers.
        ValueError: if one is not finite.

    Example:
        >>> as_tensor([1, 2], "weight", like=None)
        tensor([1., 2.])
    """
    try:
        tensor = torch.as_tensor(array.copy() if isinstance(array, np.ndarray) else array).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"Expected {name} as a tensor or array of numbers, got {type(array).__name__}.") from error
    if tensor.is_complex():
        raise TypeError(f"Expected {name} with real numbers, got {tensor.dtype}.")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"Expected {name} with finite numbers, got NaN or infinity: refit on clean responses.")
    if like is not None:
        return tensor.to(device=like.device, dtype=like.dtype, copy=True)
    return tensor.to(dtype=tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype(), copy=True)


def check_length(vector: Tensor, length: int, name: str, axis: str) -> None:
    """Make sure that there is one number for each neuron or feature.

    Args:
        vector: the numbers.
        length: how many there should be.
        name: what they are, for the message.
        axis: of what there should be one.

    Raises:
        ValueError: if it is not so.
    """
    if vector.shape != (length,):
        raise ValueError(
            f"Expected {name} of shape ({length},), one number per {axis} of weight, got {tuple(vector.shape)}."
        )


def check_square(scatter: Tensor, side: int) -> None:
    """Make sure that there is one number for each pair of neurons or features.

    Args:
        scatter: the numbers.
        side: how many neurons or features there are.

    Raises:
        ValueError: if it is not so.
    """
    if scatter.shape != (side, side):
        raise ValueError(f"Expected scatter of {side} by itself, got shape {tuple(scatter.shape)}.")


def checked_names(names: Sequence[str] | None, n_neurons: int) -> tuple[str, ...]:
    """Return one distinct name per neuron.

    Args:
        names: the names, an array of them with one axis that is longer than 1; None for numbers.
        n_neurons: how many neurons there are.

    Returns:
        The names.

    Raises:
        TypeError: if they are not strings.
        ValueError: if they are repeated, or too few or many.

    Example:
        >>> checked_names(None, 2)
        ('0', '1')
    """
    if names is None:
        return tuple(str(index) for index in range(n_neurons))
    listed = [names] if isinstance(names, str) else list(names)
    if isinstance(names, np.ndarray) and names.size == max(names.shape, default=0):
        listed = names.reshape(-1).tolist()  # also of a column or a row, as other programs write lists
    if isinstance(names, str) or not all(isinstance(name, str) for name in listed):
        raise TypeError(f"Expected neuron_names as a sequence of strings, got {names!r}.")
    if len(listed) != n_neurons:
        raise ValueError(f"Expected {n_neurons} neuron_names, one per row of weight, got {len(listed)}.")
    repeated = sorted({name for name in listed if listed.count(name) > 1})
    if repeated:
        raise ValueError(f"Expected distinct neuron_names, got more than once: {', '.join(repeated)}.")
    return tuple(str(name) for name in listed)
