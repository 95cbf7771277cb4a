"""Numbers of neurons and features as tensors or arrays: in as either, out as the same."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor


@runtime_checkable
class LazyArray(Protocol):
    """Numbers that are read as they are sliced by contiguous ranges: a memory-mapped or zarr array, an HDF5 dataset."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of images and features."""

    @property
    def dtype(self) -> Any:
        """NumPy's dtype of the numbers, or its name."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Read a range of images."""


Array = Tensor | npt.NDArray[Any]
Features = Array | LazyArray
ArrayT = TypeVar("ArrayT", Tensor, np.ndarray)
Numbers = npt.NDArray[np.float64]


@runtime_checkable
class Table(Protocol):
    """Numbers that know names: a DataFrame or a Series of pandas or polars."""

    def to_numpy(self) -> Any:
        """The numbers alone."""


def column_names(table: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a table, as text.

    Args:
        table: a DataFrame or a Series, or numbers of any kind.

    Returns:
        One name per column; those of several levels are joined with blanks. None where there are no names.

    Example:
        >>> import pandas as pd
        >>> column_names(pd.DataFrame({"A": [1.0], 7: [2.0]})), column_names(np.ones((1, 2)))
        (('A', '7'), None)
    """
    if not isinstance(table, Table):
        return None
    columns = getattr(table, "columns", None)
    if columns is None:
        columns = [name for name in [getattr(table, "name", None)] if name not in (None, "")]
    return tuple(" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in columns) or None


def check_same_rows(features: Any, responses: Any) -> None:
    """Refuse two tables with the same row labels in another order: rows are taken one after the other.

    Args:
        features: a DataFrame of pandas, or numbers of any kind.
        responses: a DataFrame or a Series, or numbers of any kind.

    Raises:
        ValueError: if both have labels, the same ones, and they are in another order.

    Example:
        >>> import pandas as pd
        >>> features, responses = pd.Series({"hand": 1, "cup": 2}), pd.Series({"cup": 2, "hand": 1})
        >>> check_same_rows(features, responses)
        Traceback (most recent call last):
        ValueError: Expected features and responses with their rows in one order, got the same labels in another one:
        write responses.loc[features.index].
    """
    one, other = (list(getattr(each, "index", [])) if isinstance(each, Table) else [] for each in (features, responses))
    if one != other and len(one) == len(other) and set(one) == set(other):
        raise ValueError(
            "Expected features and responses with their rows in one order, got the same labels in another one: write "
            "responses.loc[features.index]."
        )


def as_numbers(array: Features | Table) -> Numbers:
    """Return float64 numbers on the CPU.

    Args:
        array: of any shape and any dtype of real numbers, a tensor on any device, or read as it is sliced.

    Returns:
        The numbers; the caller's own memory where nothing had to change.

    Example:
        >>> as_numbers(torch.tensor([1, 2]))
        array([1., 2.])
    """
    values = array.detach().cpu().double().numpy() if isinstance(array, Tensor) else array
    return np.asarray(values, dtype=np.float64)


def as_matrix(array: Features | Table, name: str, *, missing: bool = False) -> Numbers:
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
