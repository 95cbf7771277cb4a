"""Numbers that are not known: NaN in results, null in JSON, which has no other word for them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def with_nan(entry: Mapping[str, Any], but: Sequence[str] = ()) -> dict[str, Any]:
    """Put NaN in the place of None.

    Args:
        entry: values by name.
        but: names whose values may be None.

    Returns:
        The same with NaN.

    Example:
        >>> with_nan({"reliability": None, "agreement": None}, but=["agreement"])
        {'reliability': nan, 'agreement': None}
    """
    return {name: math.nan if value is None and name not in but else value for name, value in entry.items()}


def with_null(value: Any) -> Any:
    """Put None in the place of NaN, anywhere in what is to become JSON.

    Args:
        value: dictionaries, lists and tuples of values.

    Returns:
        The same with None, and lists for tuples.

    Example:
        >>> with_null({"ceiling": (math.nan, 1.0)})
        {'ceiling': [None, 1.0]}
    """
    if isinstance(value, dict):
        return {key: with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def interval(ends: Sequence[float | None]) -> tuple[float, float]:
    """Read an interval.

    Args:
        ends: lowest and highest value, None where they are not known.

    Returns:
        The same with NaN.

    Example:
        >>> interval([None, 0.2])
        (nan, 0.2)
    """
    low, high = (math.nan if end is None else end for end in ends)
    return low, high
