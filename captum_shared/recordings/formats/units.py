"""The columns of a table of units that hold several values each: cut apart by an index that has to fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray


def ragged_column(column: Any, n_units: int) -> list[Shaped[ndarray, "_ ..."]]:
    """The entries of an indexed column, unit by unit.

    Args:
        column: its index, as pynwb reads it: where the entries of each unit end in ``target``.
        n_units: how many units there are.

    Returns:
        The entries of each unit.

    Raises:
        ValueError: if the index does not end each unit in order, and the last one with the last entry.

    Example:
        >>> import pynwb
        >>> times = pynwb.core.VectorData(name="spike_times", description="in seconds", data=[0.5, 1.5, 0.25])
        >>> ends = pynwb.core.VectorIndex(name="spike_times_index", data=[2, 3], target=times)
        >>> ragged_column(ends, 2)
        [array([0.5, 1.5]), array([0.25])]
    """
    target = getattr(column, "target", None)
    if target is None or hasattr(target, "target"):
        raise ValueError(f"Expected {column.name} of units with one index, which says where each unit ends.")
    entries, ends = np.asarray(target.data[:]), np.asarray(column.data[:])
    if ends.shape != (n_units,) or ends.dtype.kind not in "iu":
        raise ValueError(
            f"Expected {column.name} with one whole number for each of the {n_units} units, got {ends.dtype} "
            f"{ends.shape}."
        )
    edges = np.concatenate([[0], ends.astype(np.int64)])
    if (np.diff(edges) < 0).any() or edges[-1] != len(entries):
        raise ValueError(
            f"Expected {column.name} to ascend and to end with the {len(entries)} entries of {target.name}, got "
            f"{edges[-1]} at its end{' and a decrease' * bool((np.diff(edges) < 0).any())}."
        )
    return np.split(entries, edges[1:-1])


def check_spike_times(spike_times: Sequence[Shaped[ndarray, "_ ..."]], names: Sequence[str]) -> None:
    """Refuse times that cannot be those of spikes.

    Args:
        spike_times: of each unit.
        names: of the units.

    Raises:
        ValueError: if times are no finite numbers, or do not ascend within a unit.

    Example:
        >>> check_spike_times([np.array([0.5, 1.5, 0.25])], ["A"])
        Traceback (most recent call last):
        ValueError: Expected spike_times that ascend within each unit, got 0.25 after 1.5 in 'A': sort them, if they are
        all of this unit.
    """
    for times, name in zip(spike_times, names, strict=True):
        if times.ndim != 1 or (times.size and times.dtype.kind not in "fiu"):
            raise ValueError(f"Expected spike_times as numbers, got {times.dtype} {times.shape} in {name!r}.")
        if not np.isfinite(times).all():
            raise ValueError(f"Expected finite spike_times, got {times[~np.isfinite(times)][0]} in {name!r}.")
        back = np.flatnonzero(times[1:] < times[:-1])
        if len(back):
            raise ValueError(
                f"Expected spike_times that ascend within each unit, got {times[back[0] + 1]} after {times[back[0]]} "
                f"in {name!r}: sort them, if they are all of this unit."
            )


def check_intervals(intervals: Sequence[Shaped[ndarray, "_ ..."]], names: Sequence[str]) -> None:
    """Refuse intervals that have no beginning and end.

    Args:
        intervals: in which each unit was observed.
        names: of the units; there are no intervals, or some for each unit.

    Raises:
        ValueError: if they are not pairs of numbers that ascend.

    Example:
        >>> check_intervals([np.array([[1.0, 0.5]])], ["A"])
        Traceback (most recent call last):
        ValueError: Expected obs_intervals as pairs (begin, end) of ascending numbers, got others in 'A'.
    """
    for pairs, name in zip(intervals, names, strict=False):
        of_numbers = pairs.ndim == 2 and pairs.shape[1] == 2 and pairs.dtype.kind in "fiu"
        if pairs.size and not (of_numbers and (pairs[:, 0] <= pairs[:, 1]).all()):
            raise ValueError(
                f"Expected obs_intervals as pairs (begin, end) of ascending numbers, got others in {name!r}."
            )
