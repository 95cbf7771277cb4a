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


Kind: TypeAlias = Literal["gradient", "contribution", "layer"]
"""What the numbers of an attribution are: gradients by pixels, contributions of pixels, or maps of a layer."""


def heatmap(
    attribution: Float[Tensor, "image channel height width"],
    size: tuple[int, int],
    *,
    kind: Kind,
    smoothing: float = SMOOTHING,
) -> Float[Tensor, "image pixel_height pixel_width"]:
    """Reduce an attribution to how much of it falls on each pixel, as it suits its kind.

    - ``"gradient"``: the sign of a pixel's gradient tells whether brighter or darker would help, which alternates along
      every edge. So magnitudes are summed over channels and smoothed.
    - ``"contribution"``, as of Integrated Gradients, DeepLift or occlusion: the sign tells what speaks for and what
      against. So channels are summed and smoothed with their sign, and what remains negative is left out.
    - ``"layer"``, maps of a layer or with one number a position: channels are summed, brought to the size of the
      images, and what is negative is left out. Nothing is smoothed.

    Args:
        attribution: signed; of ``size`` unless it is of a layer.
        size: height and width of the images, in pixels.
        kind: what the attribution is.
        smoothing: of maps of pixels, as :data:`SMOOTHING`; 0 for none.

    Returns:
        Non-negative maps in the unit of the attribution, not normalised.

    Raises:
        ValueError: if ``kind`` is unknown, ``smoothing`` negative, or an attribution of pixels of another size.

    Example:
        >>> attribution = torch.tensor([[[[1.0]], [[2.0]]], [[[1.0]], [[-2.0]]]])
        >>> heatmap(attribution, (1, 1), kind="gradient").flatten()
        tensor([3., 3.])
        >>> heatmap(attribution, (2, 2), kind="layer")[:, 0, 0]
        tensor([3., 0.])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, but got {kind!r}.")
    if smoothing < 0:
        raise ValueError(f"smoothing is a share of the longer side and cannot be negative, but is {smoothing}.")
    if kind == "layer":
        summed = attribution.sum(1, keepdim=True)
        resized: Tensor = LayerAttribution.interpolate(summed, size, "bilinear")
        return resized[:, 0].clamp(min=0)
    if attribution.shape[-2:] != size:
        raise ValueError(
            f"Expected an attribution of pixels of the size {tuple(size)}, but got {tuple(attribution.shape[-2:])}. "
            'Give kind="layer" for maps of a layer.'
        )
    if kind == "contribution":
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


def rank_correlation(first: Shaped[ndarray, "*pixels"], second: Shaped[ndarray, "*pixels"]) -> float:
    """Compute Spearman's rank correlation of two maps over their pixels.

    Args:
        first: a map, or some pixels of it.
        second: the same of another.

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
