"""Numbers of neurons and features as tensors or arrays: in as either, out as the same."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

Array = Tensor | npt.NDArray[Any]
ArrayT = TypeVar("ArrayT", Tensor, np.ndarray)
Numbers = npt.NDArray[np.float64]


def as_numbers(array: Array) -> Numbers:
    """Return float64 numbers on the CPU.

    Args:
        array: of any shape and any dtype of real numbers, a tensor on any device.

    Returns:
        The numbers; the caller's own memory where nothing had to change.

    Example:
        >>> as_numbers(torch.tensor([1, 2]))
        array([1., 2.])
    """
    values = array.detach().cpu().double().numpy() if isinstance(array, Tensor) else array
    return np.asarray(values, dtype=np.float64)


def as_matrix(array: Array, name: str, *, missing: bool = False) -> Numbers:
    """Return float64 numbers along (image, neuron) or (image, feature), on the CPU.

    Args:
        array: numbers; where it has one axis, and is not of features, it becomes one column.
        name: what it holds, for the message; ``"features"`` has features for columns, all others neurons.
        missing: whether it may hold NaN.

    Returns:
        The numbers; the caller's own memory where nothing had to change.

    Raises:
        ValueError: if it is empty, has too many axes, or holds infinity or NaN that may not be missing.

    Example:
        >>> as_matrix(torch.tensor([1, 2]), "responses")
        array([[1.],
               [2.]])
    """
    values = as_numbers(array)
    matrix = values[:, None] if values.ndim == 1 and name != "features" else values
    if matrix.ndim != 2 or matrix.size == 0:
        columns = "feature" if name == "features" else "neuron"
        raise ValueError(f"Expected {name} of shape (image, {columns}), none of them empty, got {values.shape}.")
    wrong = np.argwhere(np.isinf(matrix) if missing else ~np.isfinite(matrix))
    if len(wrong):
        row, column = wrong[0]
        got, remedy = (
            ("infinity", "write NaN where nothing was recorded")
            if missing
            else ("NaN or infinity", "drop these images, or fill the gaps")
        )
        raise ValueError(
            f"Expected finite {name}, got {got} {len(wrong)} times, first at row {row}, column {column}: {remedy}."
        )
    return matrix


def same_kind(numbers: Numbers, array: ArrayT) -> Shaped[ArrayT, "..."]:
    """Return numbers as a tensor if they were computed from a tensor, as an array if from an array.

    Args:
        numbers: the result.
        array: what the caller gave.

    Returns:
        The result in float64, on the CPU where it is a tensor.

    Example:
        >>> same_kind(np.array([0.5]), torch.tensor([1, 2])), same_kind(np.array([0.5]), np.array([1, 2]))
        (tensor([0.5000], dtype=torch.float64), array([0.5]))
    """
    return torch.from_numpy(numbers) if isinstance(array, Tensor) else numbers
