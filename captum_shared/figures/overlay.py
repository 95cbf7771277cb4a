"""A map over its image, in colours that two maps can be compared by."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import FigureBase
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator
from numpy import ndarray
from scipy.ndimage import gaussian_filter
from torch import Tensor

COLOURS = "inferno"
"""Matplotlib's name of the colours of maps."""

OPACITY = 0.85
"""Of colours over an image."""

_GREY_FLOOR = 0.35
_LINE_SMOOTHING = 0.01  # of the longer side: a line around every hair cannot be read

ABSOLUTE_TOP = 0.02
"""Upper end of the absolute scale: the share, of 1, that falls on 1 % of an image. A pair that shares 0.1, spread over
a twentieth of the image, reaches it."""


def scale(top: float) -> Normalize:
    """Make a scale from zero, for all maps that are to be compared.

    Args:
        top: its upper end, in the unit of the maps; maps beyond it are drawn as if they ended there.

    Returns:
        The scale; it ends at 1 if all maps are zero.

    Example:
        >>> scale(0.0).vmax
        1.0
    """
    return Normalize(0.0, top if top > 0 else 1.0, clip=True)


def absolute_scale() -> Normalize:
    """Make the scale of maps that sum to a share between 0 and 1: the same for all pairs, neurons and networks.

    Returns:
        From 0 to :data:`ABSOLUTE_TOP`, for the :func:`density` of maps. Colours go by the square root, as pairs differ
        by orders of magnitude in how much they share.

    Example:
        >>> float(absolute_scale()(ABSOLUTE_TOP / 4))
        0.5
    """
    return PowerNorm(0.5, 0.0, ABSOLUTE_TOP, clip=True)


def density(heat: Float[ndarray, "row column"]) -> Float[ndarray, "row column"]:
    """Tell by how much 1 % of an image would share if all of it were like a pixel.

    Args:
        heat: a map that sums to a share between 0 and 1, whatever the number of its pixels.

    Returns:
        The map times a hundredth of the number of its pixels.

    Example:
        >>> float(density(np.full((10, 20), 0.5 / 200))[0, 0])
        0.005
    """
    return heat * (heat.size / 100)


def told_share(share: float) -> str:
    """Write how much a pair shares, so that little is not taken for nothing.

    Args:
        share: between 0 and 1.

    Returns:
        Two places, or one digit of what is less than a hundredth.

    Example:
        >>> told_share(0.314), told_share(0.0027), told_share(0.0)
        ('shared 0.31 of 1', 'shared 0.003 of 1', 'nothing shared')
    """
    if share == 0:
        return "nothing shared"
    return f"shared {share:.2f} of 1" if share >= 0.01 else f"shared {share:.1g} of 1"


def draw_picture(axes: Axes, picture: Float[ndarray, "row column channel"]) -> None:
    """Draw an image.

    Args:
        axes: where to.
        picture: RGB between 0 and 1.
    """
    axes.imshow(picture)
    axes.set_axis_off()


def pale(picture: Float[ndarray, "row column channel"]) -> Float[ndarray, "row column"]:
    """Turn an image into a pale grey one, over which colours can be told apart.

    Args:
        picture: RGB between 0 and 1.

    Returns:
        Grey between 0 and 1.
    """
    grey: ndarray = _GREY_FLOOR + (1 - _GREY_FLOOR) * picture.mean(2)
    return grey


def draw_overlay(
    axes: Axes, picture: Float[ndarray, "row column channel"], heat: Float[ndarray, "row column"], norm: Normalize
) -> None:
    """Draw a map over a pale grey image.

    Colour grows with the map, and opacity up to half of the scale, where a thin line is drawn, so that it can be read
    without colour. A map of zeros leaves the image bare.

    Args:
        axes: where to.
        picture: RGB between 0 and 1.
        heat: a non-negative map of its size.
        norm: the scale.
    """
    axes.imshow(pale(picture), cmap="gray", vmin=0, vmax=1)
    axes.imshow(heat, cmap=COLOURS, norm=norm, alpha=OPACITY * np.clip(2 * np.asarray(norm(heat)), 0, 1))
    share = gaussian_filter(np.asarray(norm(heat), dtype=np.float64), _LINE_SMOOTHING * max(heat.shape))
    if share.min() < 0.5 < share.max():
        axes.contour(share, levels=[0.5], colors="white", linewidths=0.7)
    axes.set_axis_off()


def draw_outline(axes: Axes, region: Bool[Tensor, "row column"] | None) -> None:
    """Draw a line around a region; none around nothing, or all of an image.

    Args:
        axes: where to.
        region: pixels, or None.
    """
    if region is not None and 0 < int(region.sum()) < region.numel():
        for width, colour in ((2.2, "black"), (1.1, "cyan")):
            axes.contour(region.float().cpu().numpy(), levels=[0.5], colors=colour, linewidths=width)


def ticks(norm: Normalize) -> list[float]:
    """Choose the numbers beside a scale.

    Args:
        norm: the scale.

    Returns:
        From zero to its upper end.

    Example:
        >>> ticks(scale(3.5))
        [0.0, 1.0, 2.0, 3.0]
    """
    if isinstance(norm, PowerNorm):
        return [float(value) for value in norm.inverse(np.linspace(0, 1, 5))]
    top = float(norm.vmax or 1.0)
    return [float(value) for value in MaxNLocator(4).tick_values(0, top) if value <= top]


def colour_bar(figure: FigureBase, norm: Normalize, **place: Any) -> Colorbar:
    """Draw the scale, in the colours without their transparency.

    Args:
        figure: where to.
        norm: the scale.
        **place: as in ``Figure.colorbar``.

    Returns:
        The bar.
    """
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), orientation="horizontal", **place)
    bar.locator = FixedLocator(ticks(norm))
    bar.ax.tick_params(labelsize=7)
    bar.formatter = FormatStrFormatter("%.3g")
    return bar
