"""What people look at: pairs of images under the maps of what they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from torch import Tensor

from captum_shared.files import write_atomically

_COLOURS = "inferno"
_GREY_FLOOR = 0.35


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


def pair_figure(image: Panel, reference: Panel, *, title: str = "", vmax: Mapping[str, float] | None = None) -> Figure:
    """Draw an image above its reference, and beside each the maps of every method.

    The two maps of a method share one scale from zero, written on its colour bar, so that their strengths can be
    compared. Colour grows with the map, and opacity up to half of the scale, where a thin line is drawn, so that the
    figure can be read without colour.

    Args:
        image: the image.
        reference: its reference, with maps of the same methods.
        title: what stands above the figure.
        vmax: upper end of the scale of a method, to compare several figures; by default the maximum of the pair.

    Returns:
        The figure; save it with :func:`save_figure`.

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
        _draw_image(row[0], panel)
    for column, method in enumerate(methods, start=1):
        pair = (image.heatmaps[method], reference.heatmaps[method])
        top = (vmax or {}).get(method) or max(float(heat.max()) for heat in pair)
        for row, panel, heat in zip(grid, (image, reference), pair, strict=True):
            drawn = _draw_overlay(row[column], panel, heat, top)
        grid[0, column].set_title(method, fontsize=9)
        bar = figure.colorbar(drawn, ax=grid[:, column], location="bottom", shrink=0.85, pad=0.02)
        bar.locator = MaxNLocator(4)
        bar.ax.tick_params(labelsize=7)
        bar.formatter.set_powerlimits((-2, 3))  # type: ignore[attr-defined]
        bar.ax.xaxis.get_offset_text().set_fontsize(7)
    figure.supxlabel(
        "colour: attribution, for both images of a method on one scale; line: half of the scale", fontsize=7
    )
    figure.suptitle(title, fontsize=10)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure under a temporary name first, so that no half-written file is left.

    Args:
        figure: the figure.
        path: where to; the extension decides the format (png, pdf, svg, ...).

    Raises:
        ValueError: if the extension is not a format that matplotlib writes.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_figure(Figure(), Path(folder.name) / "empty.png")
        >>> [path.name for path in Path(folder.name).iterdir()]
        ['empty.png']
        >>> folder.cleanup()
    """
    check_output(path)
    with write_atomically(path) as temporary:
        figure.savefig(temporary)


def check_output(path: str | Path) -> None:
    """Raise an error if no figure can be written to a path, before there is one.

    Args:
        path: where a figure is to go.

    Raises:
        ValueError: if its extension is not a format that matplotlib writes, or it is a folder.

    Example:
        >>> check_output("pair.pdf")
    """
    formats = Figure().canvas.get_supported_filetypes()
    if Path(path).is_dir() or Path(path).suffix.lstrip(".").lower() not in formats:
        raise ValueError(f"Cannot write a figure to {path}: give it one of the extensions {', '.join(formats)}.")


def _draw_image(axes: Axes, panel: Panel) -> None:
    axes.imshow(_array(panel.image.permute(1, 2, 0)))
    _outline(axes, panel)
    axes.set_title(panel.title, fontsize=9)
    axes.set_axis_off()


def _draw_overlay(axes: Axes, panel: Panel, heat: Tensor, top: float) -> Any:
    """Draw the map over a pale grey image; a map of zeros leaves the image bare."""
    grey = _GREY_FLOOR + (1 - _GREY_FLOOR) * _array(panel.image.mean(0))
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
    values = _array(heat)
    norm = Normalize(0, top if top > 0 else 1, clip=True)
    drawn = axes.imshow(values, cmap=_COLOURS, norm=norm, alpha=0.85 * np.clip(2 * np.asarray(norm(values)), 0, 1))
    if values.max() > 0.5 * norm.vmax > 0:  # type: ignore[operator]
        axes.contour(values, levels=[0.5 * norm.vmax], colors="white", linewidths=0.7)  # type: ignore[operator]
    _outline(axes, panel)
    axes.set_axis_off()
    # the bar shows the colours without their transparency
    return type(drawn)(axes, cmap=_COLOURS, norm=norm)


def _outline(axes: Axes, panel: Panel) -> None:
    if panel.region is not None and 0 < int(panel.region.sum()) < panel.region.numel():
        for width, colour in ((2.2, "black"), (1.1, "cyan")):
            axes.contour(_array(panel.region), levels=[0.5], colors=colour, linewidths=width)


def _array(tensor: Tensor) -> ndarray:
    return tensor.detach().float().cpu().numpy()
