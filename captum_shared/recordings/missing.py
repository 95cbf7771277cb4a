"""Arithmetic where responses are missing."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray


def nanmean(values: Float64[ndarray, "..."], axis: int) -> Float64[ndarray, "..."]:
    """Mean along an axis of what is there, as :func:`numpy.nanmean`, but without a warning where nothing is.

    Args:
        values: any unit, NaN where missing.
        axis: to average over.

    Returns:
        The means, NaN where everything is missing.

    Example:
        >>> nanmean(np.array([[1.0, np.nan], [4.0, np.nan]]), axis=0)
        array([2.5, nan])
    """
    recorded = ~np.isnan(values)
    total, count = np.where(recorded, values, 0.0).sum(axis=axis), recorded.sum(axis=axis)
    mean: ndarray = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return mean
