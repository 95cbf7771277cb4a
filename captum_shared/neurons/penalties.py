"""Choose how strongly the weights of each neuron are shrunk, where images come in groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Shaped
from sklearn.preprocessing import StandardScaler

PENALTIES = np.logspace(-2, 6, 17)
"""The penalties of ridge regression on standardised features among which one is chosen for each neuron."""


def grouped_penalties(
    features: Float64[np.ndarray, "image feature"],
    responses: Float64[np.ndarray, "image neuron"],
    groups: Shaped[np.ndarray, " image"],
) -> Float64[np.ndarray, " neuron"]:
    r"""Choose the penalty of ridge regression that predicts groups of images best, each left out of the fit.

    The errors of a fit without group G follow from one fit to all images:

    .. math:: e_G = (I - H_{GG})^{-1} (y - H y)_G, \qquad
        H = \frac{1 1^\top}{n} + U \frac{S^2}{S^2 + \alpha} U^\top

    with :math:`U S V^\top` the standardised features of n images and :math:`\alpha` the penalty. Where every image is a
    group of its own, that is leave-one-out cross-validation, as in scikit-learn's ``RidgeCV``.

    Args:
        features: not standardised.
        responses: without NaN.
        groups: one label an image, of two groups or more.

    Returns:
        One of ``PENALTIES`` for each neuron: the one with the least sum of squared errors, the smallest of equals.

    Example:
        >>> features = np.repeat([[0.0], [1.0], [2.0], [9.0]], 5, axis=0)  # five images each of four objects
        >>> responses = np.repeat([[4.0], [1.0], [6.0], [1.0]], 5, axis=0)  # of which the feature tells nothing
        >>> objects = np.arange(20) // 5
        >>> grouped_penalties(features, responses, objects), grouped_penalties(features, responses, np.arange(20))
        (array([1000000.]), array([0.01]))
    """
    left, singular, _ = np.linalg.svd(StandardScaler().fit_transform(features), full_matrices=False)
    centered = responses - responses.mean(axis=0)
    names, indices = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(indices == index) for index in range(len(names))]
    errors = [_left_out(left, singular**2 / (singular**2 + penalty), centered, members) for penalty in PENALTIES]
    chosen: npt.NDArray[np.float64] = PENALTIES[np.argmin(errors, axis=0)]
    return chosen


def _left_out(left: Any, shrinkage: Any, centered: Any, members: list[npt.NDArray[np.intp]]) -> Any:
    """Sum of squared errors for each neuron, over groups of images each left out of the fit."""
    residuals = centered - (left * shrinkage) @ (left.T @ centered)
    errors = np.zeros(centered.shape[1])
    for own in members:
        hat = (left[own] * shrinkage) @ left[own].T + 1 / len(centered)
        errors += (np.linalg.solve(np.eye(len(own)) - hat, residuals[own]) ** 2).sum(axis=0)
    return errors
