"""What a readout is made of, looked at before it is taken."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: Any, name: str, *, like: Tensor | None, missing: bool = False) -> Tensor:
    """Return a detached copy with finite numbers.

    Args:
        array: numbers.
        name: what they are, for the message.
        like: a tensor of the dtype and on the device to have; None for the dtype as it is, or torch's default for
            integers.
        missing: whether numbers may be NaN.

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
    if (tensor.isinf() if missing else ~tensor.isfinite()).any():
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


def checked_parts(weight: Any, bias: Any, feature_mean: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight, bias and mean of a readout, as its constructor takes them.

    Args:
        weight: (neuron, feature), or (feature,) for one neuron.
        bias: (neuron,), a number for one neuron, or None for zeros.
        feature_mean: (feature,), or None for zeros.

    Returns:
        Copies, in the dtype and on the device of the weight.

    Raises:
        TypeError: if an array is not made of real numbers.
        ValueError: if a shape does not fit, or a number is not finite.

    Example:
        >>> checked_parts([1.0, 2.0], 3.0, None)
        (tensor([[1., 2.]]), tensor([3.]), tensor([0., 0.]))
    """
    matrix = as_tensor(weight, "weight", like=None)
    matrix = matrix[None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or matrix.numel() == 0:
        raise ValueError(
            "Expected weight of shape (neuron, feature), or (feature,) for one neuron, none of them empty, "
            f"got {tuple(matrix.shape)}: pass one row of weights per neuron."
        )
    n_neurons, n_features = matrix.shape
    offset = torch.zeros_like(matrix[:, 0]) if bias is None else as_tensor(bias, "bias", like=matrix)
    offset = offset[None] if offset.ndim == 0 else offset
    mean = torch.zeros_like(matrix[0]) if feature_mean is None else as_tensor(feature_mean, "feature_mean", like=matrix)
    check_length(offset, n_neurons, "bias", "neuron")
    check_length(mean, n_features, "feature_mean", "feature")
    return matrix, offset, mean


def index_of(neuron: str | SupportsIndex, names: Sequence[str]) -> int:
    """Return the position of a neuron.

    Args:
        neuron: its name, or its position from 0.
        names: of all neurons.

    Returns:
        The position.

    Raises:
        TypeError: if it is neither a string nor an integer.
        ValueError: if there is no such neuron; close matches are listed.

    Example:
        >>> index_of("cup", ["hand", "cup"])
        1
    """
    if isinstance(neuron, str):
        if neuron in names:
            return list(names).index(neuron)
        close = difflib.get_close_matches(neuron, names) or names[:3]
        raise ValueError(f"No neuron is named {neuron!r} among {len(names)}; close: {', '.join(close)}.")
    if not isinstance(neuron, SupportsIndex):
        raise TypeError(f"Expected a neuron's name or its position, got {neuron!r}.")
    index = operator.index(neuron)
    if not 0 <= index < len(names):
        raise ValueError(f"Expected a neuron from 0 to {len(names) - 1}, or its name, got {index}.")
    return index
