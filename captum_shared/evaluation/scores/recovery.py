"""Scores of maps, as functions of maps and regions: usable on anybody's maps.

Each image of a pair has a map and regions of its own. Leading axes are free: one map, a batch, or (pair, side).

- Scores of mass (``positive_mass``, ``outweighs``, ``answer_largest``, ``total_mass``) read the positive part of a
  map: what is negative speaks against, and an all-negative map shows as little as an all-zero one. Scores of rank
  (:mod:`~captum_shared.evaluation.scores.ranks`) read the values, sign included, and do not change under a monotone
  transform.
- Ties share: equal values count half, and of n largest each counts 1 / n.
- In ``recovery_scores`` a map that shows nothing has no mass in the answer, and otherwise gets what guessing gets:
  nobody gains by showing nothing. NaN appears only where the regions leave a question open, whatever the map.
"""

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_shared.evaluation.scores.ranks import check_maps, pixel_ap, pixel_auroc, pointing, region_auroc

KINDS: Final = ("answer", "own_driver", "shared_nondriver", "neither")
"""The kinds of region, in the order of the kind axis: a part that drives the neuron and is in both images; one that
drives it and is in this image only; one that is in both but does not drive it; one that is neither."""

_ROUNDING = 1e-9


def positive_mass(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image height width"]
) -> Float[Tensor, "*image"]:
    """Compute the share of each map's positive mass that lies in a region.

    Args:
        maps: one map an image, in any unit.
        regions: the region of each image; an empty one has a share of 0.

    Returns:
        Shares, between 0 and 1; NaN where a map has no positive value.

    Raises:
        ValueError: if the maps are not finite or the regions are of another shape.

    Example:
        >>> maps = torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]])
        >>> positive_mass(maps, maps == 3.0)
        tensor([0.7500])
    """
    check_maps(maps, regions)
    positive = maps.clamp(min=0)
    total = positive.sum((-2, -1))
    inside = torch.where(regions, positive, 0).sum((-2, -1))
    return torch.where(total > 0, inside / total, torch.nan)


def total_mass(maps: Float[Tensor, "*image height width"]) -> Float[Tensor, "*image"]:
    """Compute the intensity of each map: its positive mass.

    The intensity of a pair is that of both its maps. Whether it tells pairs that share a driver from pairs that do
    not is judged by :func:`~captum_shared.evaluation.scores.bootstrap_auroc`.

    Args:
        maps: one map an image.

    Returns:
        Sums of the positive values, in the unit of the maps, at least 0, in float64.

    Raises:
        ValueError: if the maps are not finite.

    Example:
        >>> total_mass(torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]]))
        tensor([4.], dtype=torch.float64)
    """
    check_maps(maps)
    return maps.clamp(min=0).sum((-2, -1), dtype=torch.float64)


def region_densities(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image kind height width"]
) -> Float[Tensor, "*image kind"]:
    """Compute the positive mass per pixel of each region, so that regions of different sizes compare.

    Args:
        maps: one map an image.
        regions: any number of regions an image.

    Returns:
        Densities in the unit of the maps, at least 0, in float64; NaN for an empty region.

    Raises:
        ValueError: if the maps are not finite or the regions are of another height or width.

    Example:
        >>> maps = torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]])
        >>> region_densities(maps, torch.stack((maps >= 1, maps < 1), 1))
        tensor([[2., 0.]], dtype=torch.float64)
    """
    check_maps(maps, regions[..., 0, :, :])
    positive = maps.clamp(min=0)
    masses = [torch.where(kind, positive, 0).sum((-2, -1), dtype=torch.float64) for kind in regions.unbind(-3)]
    return torch.stack(masses, -1) / regions.sum((-2, -1))


def outweighs(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image kind height width"]
) -> Float[Tensor, "*image other"]:
    """Tell whether the answer outweighs each other kind of region, per unit area.

    The mean over images is the probability that it does; chance is 1/2.

    Args:
        maps: one map an image.
        regions: the answer, then the others (see ``KINDS``).

    Returns:
        1 where the answer has the greater density, 0 where it has the smaller, 1/2 where they are equal up to
        rounding (1e-9); NaN where either region is empty.

    Raises:
        ValueError: as :func:`region_densities`.

    Example:
        >>> maps = torch.tensor([[3.0, 0.0, 5.0, 3.0]])
        >>> outweighs(maps, torch.eye(4).bool()[:, None])
        tensor([1.0000, 0.0000, 0.5000], dtype=torch.float64)
    """
    densities = region_densities(maps, regions)
    answer, others = densities[..., :1], densities[..., 1:]
    wins = torch.where(torch.isclose(answer, others, rtol=_ROUNDING, atol=0), 0.5, (answer > others).double())
    return torch.where((answer + others).isnan(), torch.nan, wins)


def answer_largest(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image kind height width"]
) -> Float[Tensor, "*image"]:
    """Tell whether the answer outweighs all other kinds of region at once, per unit area.

    The mean over images is the probability that it does; chance is one over the number of kinds.

    Args:
        maps: one map an image.
        regions: the answer, then the others (see ``KINDS``).

    Returns:
        1 / n where the answer is one of n regions of the greatest density (up to rounding, 1e-9), otherwise 0; NaN
        where any region is empty, so that chance is the same for all images.

    Raises:
        ValueError: as :func:`region_densities`.

    Example:
        >>> answer_largest(torch.tensor([[3.0, 0.0, 1.0, 3.0]]), torch.eye(4).bool()[:, None])
        tensor(0.5000, dtype=torch.float64)
    """
    densities = region_densities(maps, regions)
    tied = torch.isclose(densities, densities.amax(-1, keepdim=True), rtol=_ROUNDING, atol=0)
    return torch.where(densities.isnan().any(-1), torch.nan, tied[..., 0].double() / tied.sum(-1))


def recovery_scores(
    maps: Float[Tensor, "*image height width"], regions: Bool[Tensor, "*image 4 height width"]
) -> dict[str, Float[Tensor, "*image"]]:
    """Compute every score of how well maps recover the answer, by the names of the benchmark.

    Args:
        maps: one map an image.
        regions: the four ``KINDS`` of region of each image; they should not overlap.

    Returns:
        ``answer_largest``, ``mass``, ``pixel_ap``, ``pixel_auroc``, ``answer_vs_own_driver`` and so on,
        ``auroc_own_driver`` and so on, and ``pointing``, each between 0 and 1 in float64, higher for better maps.
        ``mass`` is 0 for a map without positive mass, the least that any map can get. NaN where a region that the score
        needs is empty, for every map alike.

    Raises:
        ValueError: if the maps are not finite or the regions are of another height or width.

    Example:
        >>> maps = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
        >>> regions = torch.eye(4).bool().reshape(1, 4, 2, 2)
        >>> scores = recovery_scores(maps, regions)
        >>> float(scores["mass"]), float(scores["answer_largest"])
        (0.4..., 1.0)
    """
    answer = regions[..., 0, :, :]
    asked = answer.any(-1).any(-1)
    mass = positive_mass(maps.double(), answer).nan_to_num(0)
    against = zip(KINDS[1:], outweighs(maps, regions).unbind(-1), strict=True)
    areas = zip(KINDS[1:], region_auroc(maps, regions).unbind(-1), strict=True)
    return {
        "answer_largest": answer_largest(maps, regions),
        "mass": torch.where(asked, mass, torch.nan),
        "pixel_ap": pixel_ap(maps, answer),
        "pixel_auroc": pixel_auroc(maps, answer),
        **{f"answer_vs_{kind}": won for kind, won in against},
        **{f"auroc_{kind}": area for kind, area in areas},
        "pointing": torch.where(asked, pointing(maps, answer), torch.nan),
    }
