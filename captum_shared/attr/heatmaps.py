"""From a signed attribution to one number a pixel, and how far two maps agree."""

from typing import Literal, TypeAlias, get_args

import numpy as np
import scipy
import torch
from captum.attr import LayerAttribution
from jaxtyping import Float, Shaped
from numpy import ndarray
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

SMOOTHING = 0.02
"""Standard deviation of the Gaussian that smoothes maps of pixels, as a share of the longer side (a choice)."""


Sign: TypeAlias = Literal["absolute_value", "positive"]
"""What is kept of maps of pixels, in the words of ``captum.attr.visualization``."""


def heatmap(
    attribution: Float[Tensor, "image channel height width"],
    size: tuple[int, int],
    *,
    sign: Sign = "absolute_value",
    smoothing: float = SMOOTHING,
) -> Float[Tensor, "image pixel_height pixel_width"]:
    """Reduce an attribution to how much of it falls on each pixel.

    The sign of a pixel's gradient tells whether brighter or darker would help, which alternates along every edge, so
    gradients are reduced to their magnitude, summed over channels and smoothed. The sign of a contribution, as
    Integrated Gradients or occlusion give it, tells whether it speaks for or against: with ``sign="positive"`` pixels
    are summed over channels and smoothed with their sign, and what remains negative is left out. So it is of maps of a
    layer, which are summed over channels and brought to the size of the image.

    Args:
        attribution: maps of pixels (of the given size) or of a layer (of any other size), signed.
        size: height and width of the images, in pixels.
        sign: what is kept of maps of pixels; of maps of a layer it is always the positive part.
        smoothing: as :data:`SMOOTHING`; 0 for none.

    Returns:
        Non-negative maps in the unit of the attribution, not normalised.

    Raises:
        ValueError: if ``smoothing`` is negative, or ``sign`` unknown.

    Example:
        >>> layer_map = torch.tensor([[[[1.0]], [[2.0]]], [[[1.0]], [[-2.0]]]])
        >>> heatmap(layer_map, (2, 2))[:, 0, 0]
        tensor([3., 0.])
    """
    if smoothing < 0:
        raise ValueError(f"smoothing is a share of the longer side and cannot be negative, but is {smoothing}.")
    if sign not in get_args(Sign):
        raise ValueError(f"sign must be one of {', '.join(get_args(Sign))}, but got {sign!r}.")
    if attribution.shape[-2:] != size:
        summed = attribution.sum(1, keepdim=True)
        resized: Tensor = LayerAttribution.interpolate(summed, size, "bilinear")
        return resized[:, 0].clamp(min=0)
    if sign == "positive":
        return smoothed(attribution.sum(1), smoothing).clamp(min=0)
    return smoothed(attribution.abs().sum(1), smoothing)


def smoothed(
    maps: Float[Tensor, "image height width"], smoothing: float = SMOOTHING
) -> Float[Tensor, "image height width"]:
    """Blur maps with a Gaussian that ends at three standard deviations, or where its mirror image at the border would.

    Args:
        maps: one map an image.
        smoothing: as :data:`SMOOTHING`; 0 for none.

    Returns:
        Maps of the same shape.

    Example:
        >>> smoothed(torch.eye(3)[None], smoothing=0.1)[0, 1]
        tensor([0.0114, 0.9847, 0.0114])
    """
    sigma = smoothing * max(maps.shape[-2:])
    if sigma == 0:
        return maps
    reach = min(round(3 * sigma), *(side - 1 for side in maps.shape[-2:]))
    return torch.Tensor(gaussian_blur(maps[:, None], [2 * reach + 1] * 2, [sigma] * 2))[:, 0]


def rank_correlation(first: Shaped[ndarray, "row column"], second: Shaped[ndarray, "row column"]) -> float:
    """Compute Spearman's rank correlation of two maps over their pixels.

    Args:
        first: a map.
        second: another of its size.

    Returns:
        Between -1 and 1; NaN if either map is constant.

    Example:
        >>> ramp = np.arange(4, dtype=np.float32).reshape(2, 2)
        >>> rank_correlation(ramp, ramp**2), rank_correlation(ramp, 0 * ramp)
        (1.0, nan)
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(scipy.stats.spearmanr(first, second, axis=None).statistic)
