"""Which part of an image matches which part of its reference: every component in a colour of its own."""

from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy import ndarray
from torch import Tensor

from captum_shared.attr.decomposition import Components
from captum_shared.attr.heatmaps import heatmap, smoothed
from captum_shared.attr.pairs import Pair
from captum_shared.figures.overlay import (
    OPACITY,
    absolute_scale,
    density,
    draw_outline,
    draw_picture,
    pale,
    told_share,
)
from captum_shared.figures.page import BLUE, GREEN, ORANGE, SKY, VERMILLION, plain_text, shortened

COLOURS: Final = (VERMILLION, BLUE, GREEN, "#CC79A7", ORANGE, SKY)
"""Of the components, the strongest first, by Okabe and Ito."""

_N_NEURONS: Final = 3
_LEAST: Final = 0.001  # agreement, below which two images are said to share nothing
_WORTH_NAMING: Final = 0.2  # of the strongest
_HEIGHT, _MARGIN, _GAP = 2.9, 0.08, 0.1  # inches, like all that follow
_ABOVE, _LINE, _SWATCH = 0.24, 0.2, 0.12
_HALO: Final = withStroke(linewidth=2.4, foreground="white")


@plain_text
def components_figure(
    images: tuple[Float[Tensor, "3 height width"], Float[Tensor, "3 reference_height reference_width"]],
    components: Components,
    *,
    maps: Pair | None = None,
    regions: tuple[Bool[Tensor, "height width"], Bool[Tensor, "reference_height reference_width"]] | None = None,
    titles: tuple[str, str] = ("image", "reference"),
    title: str = "",
) -> Figure:
    """Draw an image beside its reference, every part of the one and what it matches in the other in one colour.

    Opacity is on the absolute scale of all figures (:func:`~captum_shared.figures.absolute_scale`), so that what is
    shared weakly is pale; the line around a component is at half of its own maximum in each image, so that it is found
    nevertheless. The legend tells the share of each in what the two images have in common, and the neurons that it
    drives in both. A pair with an agreement below 0.001 is left bare.

    Args:
        images: the image and the reference as RGB between 0 and 1.
        components: of this pair (:func:`~captum_shared.attr.components`).
        maps: maps of the pixels of image and reference, (1, 1, height, width) each, to share out among the components,
            such as :class:`~captum_shared.PixelSharedCorrespondence`'s; None for the components at the layer.
        regions: pixels of image and reference to outline, as those that are significant
            (:meth:`Significance.of_pixels <captum_shared.attr.Significance.of_pixels>`); None for no outline.
        titles: what stands above each.
        title: what stands above the figure.

    Returns:
        The figure; save it with :func:`~captum_shared.figures.save_figure`.

    Example:
        >>> maps, image = torch.rand(2, 1, 4, 4), torch.rand(3, 32, 32)
        >>> parts = Components(torch.rand(2, 16, 16), maps, maps, torch.ones(2, 2), ("A", "B"), 0.0, 0.0)
        >>> figure = components_figure((image, image), parts)
        >>> len(figure.axes), figure.texts[-1].get_text().split(", ", 1)[1]
        (2, 'drives A, B')
    """
    pictures = [image.detach().float().cpu().permute(1, 2, 0).numpy() for image in images]
    own = (components.image_maps, components.reference_maps) if maps is None else components.of_pixels(maps)
    sides = [
        heatmap(each.detach().float().cpu(), (picture.shape[0], picture.shape[1]), kind="layer").numpy()
        for each, picture in zip(own, pictures, strict=True)
    ]
    entries = _legend(components)
    figure, axes = _canvas(pictures, len(entries), title)
    for one, picture, side, region, name in zip(axes, pictures, sides, regions or (None, None), titles, strict=True):
        shown = side if len(entries) > 1 else side[:0]
        draw_picture(one, _tinted(picture, shown))
        _draw_marks(one, shown)
        draw_outline(one, region)
        one.set_title(name, fontsize=8, pad=3)
    _write_legend(figure, entries)
    return figure


def _canvas(pictures: list[ndarray], n_lines: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with axes of one height, and room for the legend beneath."""
    widths = [_HEIGHT * picture.shape[1] / picture.shape[0] for picture in pictures]
    above = _ABOVE * (1 + bool(title))
    width = sum(widths) + 2 * _MARGIN + _GAP
    height = above + _HEIGHT + 2 * _MARGIN + n_lines * _LINE
    figure = Figure(figsize=(width, height), dpi=150)
    figure.text(_MARGIN / width, 1 - 0.06 / height, title, fontsize=9, weight="bold", va="top")
    lefts = (_MARGIN, _MARGIN + widths[0] + _GAP)
    bottom = (height - above - _HEIGHT) / height
    boxes = [(left / width, bottom, side / width, _HEIGHT / height) for left, side in zip(lefts, widths, strict=True)]
    return figure, [figure.add_axes(box) for box in boxes]


def _tinted(
    picture: Float[ndarray, "row column channel"], maps: Float[ndarray, "component row column"]
) -> Float[ndarray, "row column channel"]:
    """A pale grey image in the colours of its components, most opaque at the end of the scale."""
    grey = np.repeat(pale(picture)[:, :, None], 3, 2)
    if not len(maps):
        return grey
    colours = np.asarray([to_rgb(_colour(index)) for index in range(len(maps))], np.float32)
    total = maps.sum(0)
    mixed = np.einsum("krc,kl->rcl", maps / np.where(total > 0, total, 1), colours)
    opacity = OPACITY * np.asarray(absolute_scale()(density(total)))[:, :, None]
    tinted: ndarray = (1 - opacity) * grey + opacity * mixed * (0.45 + 0.55 * grey)
    return tinted


def _draw_marks(axes: Axes, maps: Float[ndarray, "component row column"]) -> None:
    """A line around every component at half of its maximum, and its number within."""
    smooth = smoothed(torch.from_numpy(maps)).numpy()
    total = smooth.sum(0)
    for index, one in enumerate(smooth):
        if one.min() < one.max() / 2:
            lines = axes.contour(one, levels=[one.max() / 2], colors=[_colour(index)], linewidths=1.3)
            lines.set_path_effects([_HALO])
        own = (one >= one.max() / 2) * one**2 / np.where(total > 0, total, 1)  # where it is strong and others are not
        peak = np.unravel_index(int(own.argmax()), one.shape)
        row, column = (np.clip(at, 0.05 * side, 0.95 * side) for at, side in zip(peak, one.shape, strict=True))
        style = {"fontsize": 10, "weight": "bold", "color": _colour(index), "path_effects": [_HALO]}
        axes.text(float(column), float(row), str(index + 1), ha="center", va="center", **style)  # type: ignore[arg-type]


def _legend(components: Components) -> list[str]:
    """A line for what is shared, and one for each component: its share and its neurons."""
    if components.agreement < _LEAST:
        return ["nothing shared"]
    lines = [f"{told_share(components.agreement)}, of which"]
    for index, share in enumerate(components.shares.tolist()):
        strengths = components.drivers(index, _N_NEURONS)
        least = _WORTH_NAMING * max(strengths.values(), default=0.0)
        names = [shortened(name, 24) for name, strength in strengths.items() if strength >= least]
        lines.append(f"{index + 1}:  {100 * share:.0f} %" + (f", drives {', '.join(names)}" if names else ""))
    return lines


def _write_legend(figure: Figure, lines: list[str]) -> None:
    """The first line, and the others each with its colour."""
    width, height = figure.get_size_inches()
    for index, line in enumerate(lines):
        bottom = _MARGIN + (len(lines) - 1 - index) * _LINE
        left = _MARGIN
        if index:
            box = (left / width, bottom / height), _SWATCH / width, _SWATCH / height
            figure.add_artist(Rectangle(*box, color=_colour(index - 1), transform=figure.transFigure))
            left += 1.6 * _SWATCH
        figure.text(left / width, (bottom - 0.01) / height, line, fontsize=8, va="bottom")


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
