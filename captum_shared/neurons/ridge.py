"""Ridge regression of many neurons on the same images, a penalty for each, from one decomposition of the features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Shaped
from sklearn.preprocessing import StandardScaler

from captum_shared.neurons.arrays import Numbers

PENALTIES = np.logspace(-2, 6, 17)
"""The penalties of ridge regression on standardised features among which one is chosen for each neuron."""

_BLOCK = 2**22
"""How many numbers one intermediate result holds: 32 MiB."""


@final
class DecomposedFeatures:
    r"""Latent features of some images, standardised and decomposed once, for ridge regression of any number of neurons.

    Of more images than features the covariance is decomposed, otherwise the products of images, in the space of
    responses without their mean:

    .. math:: Z^\top Z = V \Lambda V^\top, \quad w = V \frac{1}{\Lambda + \alpha} (Z V)^\top y
        \qquad\text{or}\qquad Z Z^\top = U \Lambda U^\top, \quad w = Z^\top U \frac{1}{\Lambda + \alpha} U^\top y

    All neurons and penalties are products with these matrices then, in blocks of neurons. What comes out is what
    ``StandardScaler`` and ``RidgeCV`` of scikit-learn give, but for rounding: eigenvalues are known to
    :math:`10^{-16}` of the largest, which is much less than the smallest penalty.

    Memory: one copy of the features in float64, which becomes :math:`Z V`; about four matrices of as many rows and
    columns as there are features, or images if these are fewer; and a few blocks of 32 MiB.

    Args:
        features: (image, feature).
        images: which of them, a mask or indices. Default: all.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> decomposed, responses = DecomposedFeatures(features), 2 * features + 1
        >>> penalties = decomposed.penalties(responses)
        >>> weight, bias = decomposed.ridge(responses, penalties)
        >>> penalties, weight.round(2), bias.round(2)
        (array([0.01]), array([[2.]]), array([1.01]))
    """

    def __init__(
        self, features: Float64[np.ndarray, "image feature"], images: Shaped[np.ndarray, " _"] | None = None
    ) -> None:
        standardised = np.array(features) if images is None else features[images]
        self._mean, self._scale = _standardise(standardised)
        n_images, n_features = standardised.shape
        self._few_images = n_images <= n_features
        if self._few_images:
            products = standardised @ standardised.T
            products += 2 * (np.linalg.norm(products) or 1) / n_images  # the mean becomes the last eigenvector
            energies, vectors = np.linalg.eigh(products)
            self._energies, self._scores, self._axes = energies[:-1], vectors[:, :-1], standardised.T
        else:
            self._energies, self._axes = np.linalg.eigh(standardised.T @ standardised)
            for rows in _blocks(n_images, n_features):
                standardised[rows] = standardised[rows] @ self._axes
            self._scores = standardised
        self._energies = np.maximum(self._energies, 0)

    def penalties(
        self, responses: Float64[np.ndarray, "image neuron"], groups: Shaped[np.ndarray, " image"] | None = None
    ) -> Float64[np.ndarray, " neuron"]:
        r"""Choose for each neuron the penalty that predicts images best, each left out of the fit.

        The errors of a fit without group G follow from one fit to all images:

        .. math:: e_G = (I - H_{GG})^{-1} (y - H y)_G, \qquad
            H = \frac{1 1^\top}{n} + Z V \frac{1}{\Lambda + \alpha} (Z V)^\top

        Args:
            responses: to the images, without NaN.
            groups: one label an image, of two groups or more, which are left out together. Default: each image alone,
                as in ``RidgeCV`` of scikit-learn.

        Returns:
            One of ``PENALTIES`` for each neuron: the one with the least sum of squared errors, the smallest of equals.

        Example:
            >>> features = np.repeat([[0.0], [1.0], [2.0], [9.0]], 5, axis=0)  # five images each of four objects
            >>> responses = np.repeat([[4.0], [1.0], [6.0], [1.0]], 5, axis=0)  # of which the feature tells nothing
            >>> decomposed = DecomposedFeatures(features)
            >>> decomposed.penalties(responses, np.arange(20) // 5), decomposed.penalties(responses)
            (array([1000000.]), array([0.01]))
        """
        chosen = np.empty(responses.shape[1])
        members = None if groups is None else _members(groups)
        leverage = self._leverage() if members is None else None
        for neurons in _blocks(responses.shape[1], len(responses)):
            centered = responses[:, neurons] - responses[:, neurons].mean(axis=0)
            products = self._scores.T @ centered
            errors = np.empty((len(PENALTIES), products.shape[1]))
            for row, penalty in enumerate(PENALTIES):
                residuals = self._residuals(centered, products, penalty)
                if leverage is None:
                    errors[row] = self._grouped(residuals, penalty, members)
                else:
                    residuals /= leverage[:, [row]]
                    errors[row] = np.einsum("in,in->n", residuals, residuals)
            chosen[neurons] = PENALTIES[np.argmin(errors, axis=0)]
        return chosen

    def ridge(
        self, responses: Float64[np.ndarray, "image neuron"], penalties: Float64[np.ndarray, " neuron"]
    ) -> tuple[Float64[np.ndarray, "neuron feature"], Float64[np.ndarray, " neuron"]]:
        """Fit every neuron with its penalty.

        Args:
            responses: to the images, without NaN.
            penalties: one for each neuron.

        Returns:
            Weight and bias for features that are not standardised.
        """
        means = responses.mean(axis=0)
        weight = np.empty((len(means), len(self._scale)))
        for neurons in _blocks(len(means), max(responses.shape[0], weight.shape[1])):
            shares = self._scores.T @ (responses[:, neurons] - means[neurons])
            shares /= self._energies[:, None] + penalties[neurons]
            standardised = self._axes @ (self._scores @ shares if self._few_images else shares)
            weight[neurons] = (standardised / self._scale[:, None]).T
        return weight, means - weight @ self._mean

    def _residuals(self, centered: Numbers, products: Numbers, penalty: float) -> Numbers:
        """What a fit leaves of the responses; divided by the penalty where images are few, so that nothing cancels."""
        shares = self._scores @ (products / (self._energies + penalty)[:, None])
        residuals: Numbers = shares if self._few_images else np.subtract(centered, shares, out=shares)
        return residuals

    def _leverage(self) -> Numbers:
        """By what each image's residual is to be divided, for every penalty: (image, penalty)."""
        weights = 1 / (self._energies[:, None] + PENALTIES)
        rows = _blocks(*self._scores.shape)
        hat: Numbers = np.concatenate([self._scores[own] ** 2 @ weights for own in rows])
        return hat if self._few_images else 1 - 1 / len(hat) - hat

    def _grouped(self, residuals: Numbers, penalty: float, members: Any) -> Numbers:
        """Sum of squared errors for each neuron, over groups of images each left out of the fit."""
        errors = np.zeros(residuals.shape[1])
        for own in members:
            hat = (self._scores[own] / (self._energies + penalty)) @ self._scores[own].T
            left = hat if self._few_images else np.eye(len(own)) - hat - 1 / len(residuals)
            errors += (np.linalg.solve(left, residuals[own]) ** 2).sum(axis=0)
        return errors


def _standardise(features: Numbers) -> tuple[Numbers, Numbers]:
    """Standardise features in their own memory, a block of them at a time; their means and scales."""
    mean, scale = np.empty((2, features.shape[1]))
    for block in _blocks(features.shape[1], len(features)):
        own = features[:, block]
        scaler = StandardScaler().fit(own)
        own -= scaler.mean_
        rest = own.mean(axis=0)  # of large numbers rounding leaves a mean, which RidgeCV takes away too
        own -= rest
        own /= scaler.scale_
        mean[block], scale[block] = scaler.mean_ + rest, scaler.scale_
    return mean, scale


def _members(groups: npt.NDArray[Any]) -> list[npt.NDArray[np.intp]]:
    """The images of each group."""
    _, indices, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.split(np.argsort(indices, kind="stable"), np.cumsum(sizes)[:-1])


def _blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Ranges of rows that together make up all of them."""
    size = max(1, _BLOCK // n_columns)
    return (slice(start, start + size) for start in range(0, n_rows, size))
