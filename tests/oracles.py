"""What held-out correlations are, in their slowest form."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.stats import pearsonr


def within_folds(predicted: np.ndarray, recorded: np.ndarray, folds: Iterable[tuple[Any, Any]]) -> list[float]:
    """For each neuron its correlations within folds, averaged with the number of images less one as weights."""
    means = []
    held_out = [images for _, images in folds]
    for one, other in zip(predicted.T, recorded.T, strict=True):
        known = [images[~np.isnan(other[images])] for images in map(np.asarray, held_out)]
        judged = [images for images in known if len(images) > 1 and np.ptp(other[images]) > 0]
        values = [pearsonr(one[images], other[images])[0] if np.ptp(one[images]) > 0 else 0.0 for images in judged]
        means.append(np.average(values, weights=[len(images) - 1 for images in judged]) if judged else np.nan)
    return means
