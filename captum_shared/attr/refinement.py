r"""The mathematics of refinement: from a map of the layer to one of the pixels that covers the same part.

A position of a deep layer sees far more than the part that it stands for, and gradients of pixels tell which pixels
matter, but are dots. With M the layer map, I the image, g the gradient by its pixels of the drive where the map lies,
:math:`\sum_p M(p) \, w \cdot a_p`, and means over a window of a third of the image, as the layer map has it:

.. math::
    R_i &= \textstyle\sum_c \big[(I_{ci} - \bar I_{ci}) \, g_{ci}\big] \text{, where it is above 0} \\
    M^\ast_i &\propto \big[\, \mathrm{guided}_I\big((R \cdot \mathrm{up}(M))^{1/3}\big)_i \,\big]_+^4

R is what a pixel adds to the drive by being other than its surroundings; the guided filter hands it to all pixels
near by that look like those that add, so that the map fills the part and ends where the image has an edge. It takes
the cube root, since contributions differ by orders of magnitude, and a few of them would outshine all others; and
gives back a power more than the root took, since the filter spreads what it hands on.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from captum_shared.encoders.windows import window_means

_SIDE: Final = 64  # pixels of the longer side of the image in which the filter is fitted; 32 to 112 do as well
_ROOT: Final = 3  # 2 to 4 do as well
_POWER: Final = 4  # 3 covers a little more and holds less of its mass on the part
_SMOOTHNESS: Final = 0.01  # share of the variance of the image below which it counts as flat; 0.001 to 0.03 do as well


def refined(
    layer_map: Float[Tensor, "image 1 row column"],
    images: Float[Tensor, "image channel height width"],
    gradients: Float[Tensor, "image channel height width"],
) -> Float[Tensor, "image 1 height width"]:
    r"""Bring a layer map to the pixels that it stands for: :math:`M^\ast`.

    The brightness, contrast and preprocessing of the images have no effect on it, nor has the unit of the gradients.
    Where no pixel adds to the drive, the gradients have nothing to say, and :math:`M^\ast \propto \mathrm{up}(M)`.

    Args:
        layer_map: M, not negative.
        images: I.
        gradients: g, in any unit.

    Returns:
        The refined map, not negative, with the sum of M, in the dtype of M.

    Example:
        >>> image = torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]]])
        >>> gradient = torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> refined(torch.tensor([[[[2.0]]]]), image, gradient).round(decimals=2)
        tensor([[[[0.0000, 0.0000, 0.0000, 1.9100, 0.0800, 0.0100]]]])
    """
    exact = torch.promote_types(layer_map.dtype, torch.float32)  # there is no solving of equations in less
    total = layer_map.to(exact).sum((1, 2, 3), keepdim=True)
    spread, mean = torch.std_mean(images.to(exact), (2, 3), correction=0, keepdim=True)
    guide = (images - mean) / torch.where(spread > 0, spread, 1)
    small = _shrunk(guide)
    relevance = (guide - _resized(window_means(small), guide)) * gradients * spread
    product = _shares(_shrunk(relevance.sum(1, keepdim=True).clamp(min=0))) * _resized(layer_map.to(exact), small)
    covered = guided(_shares(product) ** (1 / _ROOT), guide).clamp(min=0) ** _POWER
    plain = _resized(layer_map.to(exact), images)
    says_something = covered.sum((1, 2, 3), keepdim=True) > 0
    return (_shares(torch.where(says_something, covered, plain)) * total).to(layer_map.dtype)


def guided(
    values: Float[Tensor, "image 1 row column"],
    guide: Float[Tensor, "image channel height width"],
) -> Float[Tensor, "image 1 height width"]:
    r"""Filter values such that they have edges where an image has them, and bring them to its size.

    Within every window the values are taken for a linear function of the channels, :math:`\alpha \cdot I + \beta`, by
    ridge regression; a pixel gets what the mean function of all windows around it makes of it.

    Args:
        values: at any resolution up to that of the guide.
        guide: the image I, with a mean of 0 and a variance of 1 in each channel.

    Returns:
        The filtered values, which can be a little outside of the range of the values.

    Source:
        He et al., Guided Image Filtering, TPAMI 2013, with a color guidance image; fitted at the lower resolution, as
        in He and Sun, Fast Guided Filter, 2015.

    Example:
        >>> edge = torch.tensor([[[[-1.0, -1.0, 1.0, 1.0]]]])
        >>> guided(torch.tensor([[[[0.0, 0.0, 0.0, 1.0]]]]), edge).shape
        torch.Size([1, 1, 1, 4])
    """
    small = functional.adaptive_avg_pool2d(guide, (values.shape[2], values.shape[3]))
    n_channels = small.shape[1]
    mean, value = window_means(small), window_means(values)
    squares = window_means(_squares(small)) - _squares(mean)
    variance = squares.permute(0, 2, 3, 1).reshape(len(small), *small.shape[2:], n_channels, n_channels)
    covariance = (window_means(small * values) - mean * value).permute(0, 2, 3, 1)
    ridge = variance + _SMOOTHNESS * torch.eye(n_channels).to(variance)
    slope = torch.linalg.solve(ridge, covariance[..., None])[..., 0].permute(0, 3, 1, 2)
    intercept = value - (slope * mean).sum(1, keepdim=True)
    slope, intercept = (_resized(window_means(each), guide) for each in (slope, intercept))
    return (slope * guide).sum(1, keepdim=True) + intercept


def _squares(values: Tensor) -> Tensor:
    """Products of every two channels."""
    return (values[:, :, None] * values[:, None]).flatten(1, 2)


def _shrunk(values: Tensor) -> Tensor:
    factor = max(1.0, max(values.shape[2:]) / _SIDE)
    height, width = (max(1, round(side / factor)) for side in values.shape[2:])
    return functional.adaptive_avg_pool2d(values, (height, width))


def _resized(values: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(values, like.shape[2:], mode="bilinear", align_corners=False)


def _shares(values: Tensor) -> Tensor:
    """Non-negative values that sum to 1 over all axes but the first; where all are zero they stay."""
    total = values.sum((1, 2, 3), keepdim=True)
    return values / torch.where(total > 0, total, 1)
