"""One pair of images under the maps of any number of methods."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray
from torch import Tensor

from captum_shared.attr.heatmaps import heatmap
from captum_shared.figures.overlay import colour_bar, draw_overlay, draw_picture, scale
from captum_shared.study.pair import PairExplanation


@dataclass(frozen=True)
class Panel:
    """One image of a pair: the image itself, its maps by method, and the outline of a region in it.

    Attributes:
        title: what stands above the image.
        image: RGB between 0 and 1.
        heatmaps: non-negative maps of the image's size, by name of the method.
        region: pixels to outline, or None.
    """

    title: str
    image: Float[Tensor, "3 height width"]
    heatmaps: Mapping[str, Float[Tensor, "height width"]]
    region: Bool[Tensor, "height width"] | None = None


def pair_panels(
    explanation: PairExplanation, images: Float[Tensor, "2 3 height width"], titles: tuple[str, str]
) -> tuple[Panel, Panel]:
    """Make the panels of an explanation.

    Args:
        explanation: the maps of an image and of its reference.
        images: the image and the reference as RGB between 0 and 1.
        titles: what stands above each.

    Returns:
        Panels for :func:`pair_figure`, on the CPU.
    """
    first, second = (
        Panel(
            titles[side],
            images[side],
            {
                name: heatmap(pair[side].cpu(), explanation.size, kind=explanation.kinds[name])[0]
                for name, pair in explanation.maps.items()
            },
        )
        for side in (0, 1)
    )
    return first, second


def pair_figure(image: Panel, reference: Panel, *, title: str = "", vmax: Mapping[str, float] | None = None) -> Figure:
    """Draw an image above its reference, and beside each the maps of every method.

    The two maps of a method share one scale from zero, written on its colour bar, so that their strengths can be
    compared (:func:`~captum_shared.figures.overlay.draw_overlay`).

    Args:
        image: the image.
        reference: its reference, with maps of the same methods.
        title: what stands above the figure.
        vmax: upper end of the scale of a method, to compare several figures; by default the maximum of the pair.

    Returns:
        The figure; save it with :func:`~captum_shared.figures.save_figure`.

    Raises:
        ValueError: if the methods of the two panels differ.

    Example:
        >>> import torch
        >>> panel = Panel("image", torch.rand(3, 8, 8), {"gradient": torch.rand(8, 8)})
        >>> len(pair_figure(panel, panel).axes)
        5
    """
    methods = list(image.heatmaps)
    if methods != list(reference.heatmaps):
        raise ValueError(f"Expected maps of the same methods, but got {methods} and {list(reference.heatmaps)}.")
    figure = Figure(figsize=(2.3 * (1 + len(methods)), 5.3), layout="constrained", dpi=120)
    grid = np.asarray(figure.subplots(2, 1 + len(methods), squeeze=False))
    for row, panel in zip(grid, (image, reference), strict=True):
        draw_picture(row[0], _picture(panel))
        _outline(row[0], panel)
        row[0].set_title(panel.title, fontsize=9)
    for column, method in enumerate(methods, start=1):
        pair = (image.heatmaps[method], reference.heatmaps[method])
        norm = scale((vmax or {}).get(method) or max(float(heat.max()) for heat in pair))
        for row, panel, heat in zip(grid, (image, reference), pair, strict=True):
            draw_overlay(row[column], _picture(panel), _array(heat), norm)
            _outline(row[column], panel)
        grid[0, column].set_title(method, fontsize=9)
        colour_bar(figure, norm, ax=grid[:, column], shrink=0.85, pad=0.02)
    figure.supxlabel(
        "colour: attribution, for both images of a method on one scale; line: half of the scale", fontsize=7
    )
    figure.suptitle(title, fontsize=10)
    return figure


def _picture(panel: Panel) -> Float[ndarray, "height width 3"]:
    return _array(panel.image.permute(1, 2, 0))


def _outline(axes: Axes, panel: Panel) -> None:
    if panel.region is not None and 0 < int(panel.region.sum()) < panel.region.numel():
        for width, colour in ((2.2, "black"), (1.1, "cyan")):
            axes.contour(_array(panel.region), levels=[0.5], colors=colour, linewidths=width)


def _array(tensor: Tensor) -> ndarray:
    return tensor.detach().float().cpu().numpy()
