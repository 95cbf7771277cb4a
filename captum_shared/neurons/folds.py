"""Which images a fit sees and which it is judged on, fold by fold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold, check_cv

from captum_shared.neurons.encoding import Groups, group_labels
from captum_shared.neurons.fitting import FEWEST_IMAGES

Indices = npt.NDArray[np.intp]
Split = tuple[Indices, Indices]


@runtime_checkable
class Splitter(Protocol):
    """A cross-validation splitter, as scikit-learn has them."""

    def split(self, features: Any, responses: Any = None, groups: Any = None, /) -> Iterator[tuple[Any, Any]]:
        """Deal images into those to fit to and those held out, fold by fold."""
        ...


CV: TypeAlias = int | Splitter | Iterable[Any]
"""Number of folds, a splitter, or its splits: what scikit-learn calls ``cv``."""


def splits(n_images: int, cv: CV, groups: Groups | None, random_state: int | None) -> list[Split]:
    """Deal images into those to fit to and those held out.

    Args:
        n_images: how many images there are.
        cv: number of folds dealt at random, a splitter, or splits.
        groups: one label an image; images of one group stay together.
        random_state: how folds are dealt where ``cv`` is their number.

    Returns:
        For each fold the images to fit to, at least 3, and the images held out.

    Raises:
        ValueError: if there are fewer images, or groups, than folds, too few images to fit to, or an image or a group
            is fitted and held out in one fold.

    Example:
        >>> [held_out.tolist() for _, held_out in splits(6, 2, ["cup", "cup", "hand", "hand", "hand", "cup"], 0)]
        [[2, 3, 4], [0, 1, 5]]
    """
    labels = None if groups is None else group_labels(groups, n_images)
    dealer = _dealer(n_images, int(cv), labels, random_state) if isinstance(cv, Integral) else check_cv(cv)
    with warnings.catch_warnings():  # that a splitter ignores the groups; whether it keeps them together is seen below
        warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)
        dealt = list(dealer.split(np.empty((n_images, 0)), None, labels))
    images = np.arange(n_images)
    folds = [(images[fitted], images[held_out]) for fitted, held_out in dealt]
    fewest = min(len(fitted) for fitted, _ in folds)
    if fewest < FEWEST_IMAGES:
        raise ValueError(
            f"Expected {FEWEST_IMAGES} or more images to fit to in each of {len(folds)} folds, got {fewest}: pass more "
            "images, or smaller groups."
        )
    _check_apart(folds, images if labels is None else labels, "image" if labels is None else "group")
    return folds


def judged_folds(n_images: int, cv: CV, groups: Groups | None, random_state: int | None) -> list[Split]:
    """Deal images as :func:`splits` does, into folds within which predictions can be judged.

    Args:
        n_images: as for :func:`splits`.
        cv: as for :func:`splits`.
        groups: as for :func:`splits`.
        random_state: as for :func:`splits`.

    Returns:
        The folds.

    Raises:
        ValueError: as :func:`splits`, or if all folds hold out a single image.

    Example:
        >>> judged_folds(6, 6, None, 0)
        Traceback (most recent call last):
        ValueError: Expected 2 or more images held out in a fold, to correlate within it, got 1 in each of 6 folds: pass
        a smaller cv, or correlate what cross_validated_prediction gives.
    """
    folds = splits(n_images, cv, groups, random_state)
    if max(len(held_out) for _, held_out in folds) < 2:
        raise ValueError(
            f"Expected 2 or more images held out in a fold, to correlate within it, got 1 in each of {len(folds)} "
            "folds: pass a smaller cv, or correlate what cross_validated_prediction gives."
        )
    return folds


def check_held_out_once(folds: Iterable[Split], n_images: int) -> None:
    """Refuse folds that cannot be pooled.

    Args:
        folds: images to fit to and images held out.
        n_images: how many images there are.

    Raises:
        ValueError: if an image is held out in no fold, or in several.

    Example:
        >>> check_held_out_once([(np.array([0, 1]), np.array([2])), (np.array([2]), np.array([0, 1]))], 3)
    """
    times = np.bincount(np.concatenate([held_out for _, held_out in folds]), minlength=n_images)
    if (times != 1).any():
        raise ValueError(
            f"Expected each image to be held out in one fold, to pool the folds, got {np.sum(times == 0)} images held "
            f"out in none and {np.sum(times > 1)} in several: use a splitter such as KFold; heldout_correlation takes "
            "any splitter."
        )


def _dealer(n_images: int, n_folds: int, labels: Any, random_state: int | None) -> KFold | GroupKFold:
    n_units, units = (n_images, "images") if labels is None else (len(np.unique(labels)), "groups")
    if not 2 <= n_folds <= n_units:
        raise ValueError(
            f"Expected from 2 folds to as many as there are {units} ({n_units}), got {n_folds}: pass another cv, or "
            f"more {units}."
        )
    return (KFold if labels is None else GroupKFold)(n_folds, shuffle=True, random_state=random_state)


def _check_apart(folds: Iterable[Split], labels: Any, unit: str) -> None:
    for fold, (fitted, held_out) in enumerate(folds):
        shared = np.intersect1d(labels[fitted], labels[held_out])
        if len(shared):
            raise ValueError(
                f"Expected each {unit} to be fitted or held out in a fold, got {len(shared)} in both in fold {fold}, "
                f"first {shared[0]!r}: pass a splitter that keeps them apart, such as "
                f"{'KFold' if unit == 'image' else 'GroupKFold'}."
            )
