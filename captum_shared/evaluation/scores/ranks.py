"""Scores of rank of maps, which do not change under a monotone transform of the values."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor


def pixel_ap(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image height width"]
) -> Float[Tensor, "*image"]:
    r"""Compute the average precision of each map as a search for the pixels of a region.

    .. math:: \mathrm{AP} = \sum_n (R_n - R_{n-1}) \, P_n

    with P and R the precision and the recall of the pixels that are at or above the n-th highest value. A map gets 1 if
    all pixels of the region are above all others, whatever their values, and so one that covers the region beats one
    that has all its mass in a few pixels of it.

    Args:
        maps: one map an image.
        regions: the region of each image.

    Returns:
        Between 0 and 1, in float64; a constant map gets the region's share of the area; NaN where a region is empty or
        the whole image.

    Raises:
        ValueError: if the maps are not finite or the regions are of another shape.

    Example:
        >>> regions = torch.tensor([[True, True], [False, False]])
        >>> pixel_ap(torch.tensor([[3.0, 1.0], [2.0, 0.0]]), regions)
        tensor(0.8333, dtype=torch.float64)
    """
    return _of_each(average_precision, maps, regions)


def pixel_auroc(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image height width"]
) -> Float[Tensor, "*image"]:
    """Compute the area under the ROC curve of the pixels of a region against all other pixels.

    Args:
        maps: one map an image.
        regions: the region of each image.

    Returns:
        The probability that a pixel of the region is above one outside, ties half, in float64; NaN where a region is
        empty or the whole image.

    Raises:
        ValueError: if the maps are not finite or the regions are of another shape.

    Example:
        >>> regions = torch.tensor([[True, True], [False, False]])
        >>> pixel_auroc(torch.tensor([[3.0, 1.0], [2.0, 0.0]]), regions)
        tensor(0.7500, dtype=torch.float64)
    """
    return _of_each(auroc, maps, regions)


def region_auroc(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image kind height width"]
) -> Float[Tensor, "*image other"]:
    """Compute the area under the ROC curve of the answer's pixels against each other kind's pixels.

    Args:
        maps: one map an image.
        regions: the answer, then the others (see ``KINDS``).

    Returns:
        The probability that a pixel of the answer is above one of the other region, ties half, in float64; NaN where
        either region is empty.

    Raises:
        ValueError: if the maps are not finite or the regions are of another height or width.

    Example:
        >>> maps = torch.tensor([[3.0, 0.0, 1.0, -1.0]])
        >>> regions = torch.tensor([[[True, True, False, False]], [[False, False, True, True]]])
        >>> region_auroc(maps, regions)
        tensor([0.7500], dtype=torch.float64)
    """
    check_maps(maps, regions[..., 0, :, :])
    images = maps.reshape(-1, *maps.shape[-2:])
    kinds = regions.reshape(-1, *regions.shape[-3:])
    areas = [
        [auroc(values[answer], values[other]) for other in others]
        for values, (answer, *others) in zip(images, kinds, strict=True)
    ]
    return maps.new_tensor(areas, dtype=torch.float64).reshape(*maps.shape[:-2], regions.shape[-3] - 1)


def average_precision(positives: Float[Tensor, " positive"], negatives: Float[Tensor, " negative"]) -> float:
    """Compute the average precision of values that ought to be high among those that ought to be low.

    Args:
        positives: values that ought to be high.
        negatives: values that ought to be low.

    Returns:
        Between 0 and 1, see :func:`pixel_ap`; NaN if there are none of one sort.

    Example:
        >>> average_precision(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0]))
        0.8333...
    """
    if len(positives) * len(negatives) == 0:
        return float("nan")
    ordered, order = torch.cat((positives, negatives)).sort(descending=True)
    last_of_ties = ordered.diff(append=ordered[-1:] - 1) != 0
    n_correct = (order < len(positives)).cumsum(0)[last_of_ties].double()
    n_chosen = last_of_ties.nonzero()[:, 0] + 1
    gained = n_correct.diff(prepend=n_correct.new_zeros(1))
    return float((gained * n_correct / n_chosen).sum() / len(positives))


def auroc(positives: Float[Tensor, " positive"], negatives: Float[Tensor, " negative"]) -> float:
    """Compute the area under the ROC curve: the probability that a positive is above a negative, ties half.

    Args:
        positives: values that ought to be high.
        negatives: values that ought to be low.

    Returns:
        Between 0 and 1; NaN where there are none of one sort.

    Example:
        >>> auroc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]))
        0.625
    """
    count = len(positives) * len(negatives)
    if count == 0:
        return float("nan")
    n_positives = len(positives)
    ranks = rankdata(torch.cat((positives, negatives)).cpu().numpy())[:n_positives]
    return (float(ranks.sum()) - n_positives * (n_positives + 1) / 2) / count  # pairs won, of all pairs


def pointing(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image height width"]
) -> Float[Tensor, "*image"]:
    """Play the pointing game: is the highest pixel of the map inside the region?

    Args:
        maps: one map an image.
        regions: the region of each image.

    Returns:
        The share of the highest pixels that lie inside, in float64: 0 or 1 but for ties. A constant map gets the
        region's share of the area, an empty region 0.

    Raises:
        ValueError: if the maps are not finite or the regions are of another shape.

    Source:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, whose tolerance of 15 pixels
        is left out.

    Example:
        >>> maps = torch.tensor([[[3.0, 1.0], [-5.0, 3.0]]])
        >>> pointing(maps, torch.tensor([[[True, True], [False, False]]]))
        tensor([0.5000], dtype=torch.float64)
    """
    check_maps(maps, regions)
    highest = maps == maps.amax((-2, -1), keepdim=True)
    return (highest & regions).sum((-2, -1)).double() / highest.sum((-2, -1))


def check_maps(maps: Tensor, regions: Tensor | None = None) -> None:
    """Refuse maps that cannot be scored.

    Args:
        maps: one map an image.
        regions: one region an image.

    Raises:
        ValueError: if the maps are not finite or the regions are of another shape.

    Example:
        >>> check_maps(torch.zeros(2, 3), torch.zeros(2, 3).bool())
    """
    if regions is not None and maps.shape != regions.shape:
        raise ValueError(
            f"Expected one region for each map, of its height and width, but got maps {tuple(maps.shape)} and a kind "
            f"of region {tuple(regions.shape)}. Bring maps to the size of the images with heatmap."
        )
    if not bool(maps.isfinite().all()):
        raise ValueError("Expected finite maps, but got NaN or infinity. Look for it in what the method computes.")


def _of_each(score: Callable[[Tensor, Tensor], float], maps: Tensor, regions: Tensor) -> Tensor:
    """A score of the values within and outside of the region of each image."""
    check_maps(maps, regions)
    images, inside = (each.reshape(-1, *each.shape[-2:]) for each in (maps, regions))
    scores = [score(values[region], values[~region]) for values, region in zip(images, inside, strict=True)]
    return maps.new_tensor(scores, dtype=torch.float64).reshape(maps.shape[:-2])
