"""Scores of maps, as functions of maps and regions: usable on anybody's maps."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def positive_mass(
    maps: Float[Tensor, "image height width"], regions: Bool[Tensor, "image height width"]
) -> Float[Tensor, " image"]:
    """Compute the share of each map's positive mass that lies in a region.

    Args:
        maps: one map an image, in any unit.
        regions: the region of each image; an empty one has a share of 0.

    Returns:
        Shares, between 0 and 1; NaN where a map has no positive value.

    Example:
        >>> maps = torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]])
        >>> positive_mass(maps, maps == 3.0)
        tensor([0.7500])
    """
    positive = maps.clamp(min=0).flatten(1)
    total = positive.sum(1)
    inside = torch.where(regions.flatten(1), positive, 0).sum(1)
    return torch.where(total > 0, inside / total, torch.nan)
