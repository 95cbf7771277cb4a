"""One pair of images under the maps of any number of methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure, FigureBase, SubFigure
from numpy import ndarray
from torch import Tensor

from captum_shared.figures.overlay import (
    absolute_scale,
    colour_bar,
    density,
    draw_outline,
    draw_overlay,
    draw_picture,
    scale,
    told_share,
)
from captum_shared.figures.page import plain_text
from captum_shared.methods.explanation import Explanation

_COLUMN, _ROW, _STRIP = 2.3, 2.65, 1.3  # inches
_MOST = 10  # references in the strip
_LETTERS = 26  # in a line above a map
_NOTE = (
    "colour: attribution, for both images of a method on one scale; line: half of the scale. Methods that say how much "
    "is shared of 1 are on one scale in all figures: the share that falls on 1 % of the image."
)


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


@dataclass(frozen=True)
class Candidate:
    """A reference that the image was compared with.

    Attributes:
        title: what stands above it.
        image: RGB between 0 and 1.
        similarity: neuron-specific similarity to the image.
        chosen: whether it is the one that is explained.
    """

    title: str
    image: Float[Tensor, "3 height width"]
    similarity: float
    chosen: bool = field(default=False, kw_only=True)


def explanation_panels(
    explanations: Mapping[str, Explanation], images: Float[Tensor, "2 3 height width"], titles: tuple[str, str]
) -> tuple[Panel, Panel]:
    """Make the panels of one pair from its explanations.

    Args:
        explanations: of :func:`~captum_shared.explain`; of several pairs the first is drawn.
        images: the image and the reference as RGB between 0 and 1.
        titles: what stands above each.

    Returns:
        Panels for :func:`pair_figure`, on the CPU, the maps by the titles of their methods.
    """
    first, second = (
        Panel(
            titles[side],
            images[side],
            {each.method.title: each.heatmaps[side][0].cpu() for each in explanations.values()},
        )
        for side in (0, 1)
    )
    return first, second


def shared_totals(explanations: Mapping[str, Explanation]) -> dict[str, float]:
    """Tell how much a pair shares, by the methods that say so.

    Args:
        explanations: of :func:`~captum_shared.explain`; of several pairs the first counts.

    Returns:
        Shares between 0 and 1 by title of the method.
    """
    return {each.method.title: float(each.shared[0]) for each in explanations.values() if each.shared is not None}


@plain_text
def pair_figure(
    image: Panel,
    reference: Panel,
    *,
    title: str = "",
    shared: Mapping[str, float] | None = None,
    candidates: Sequence[Candidate] = (),
    vmax: Mapping[str, float] | None = None,
) -> Figure:
    """Draw an image above its reference, and beside each the maps of every method.

    The two maps of a method share one scale from zero, written on its colour bar, so that their strengths can be
    compared (:func:`~captum_shared.figures.overlay.draw_overlay`). Maps whose total is a share of 1 are on one absolute
    scale, the same in every figure, so that a pair that shares little looks faint. Maps of zeros say that nothing is
    shared.

    Args:
        image: the image.
        reference: its reference, with maps of the same methods.
        title: what stands above the figure.
        shared: how much the pair shares, by the methods that tell (:func:`shared_totals`).
        candidates: the references that the image was compared with, most similar first, for a strip beneath.
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
    height = 2 * _ROW + (_STRIP if candidates else 0)
    figure = Figure(figsize=(_COLUMN * max(1 + len(methods), 2), height), layout="constrained", dpi=120)
    above: FigureBase = figure
    if candidates:
        above, beneath = np.asarray(figure.subfigures(2, 1, height_ratios=[2 * _ROW, _STRIP]))
        _draw_candidates(beneath, candidates)
    grid = np.asarray(above.subplots(2, 1 + len(methods), squeeze=False))
    for row, panel in zip(grid, (image, reference), strict=True):
        draw_picture(row[0], _picture(panel))
        draw_outline(row[0], panel.region)
        row[0].set_title(panel.title, fontsize=9)
    for column, method in enumerate(methods, start=1):
        _draw_method(above, grid[:, column], (image, reference), method, shared=shared or {}, vmax=vmax or {})
    above.supxlabel(_NOTE, fontsize=7, wrap=True)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_method(
    figure: FigureBase,
    axes: ndarray,
    panels: tuple[Panel, Panel],
    method: str,
    *,
    shared: Mapping[str, float],
    vmax: Mapping[str, float],
) -> None:
    heats = [_array(panel.heatmaps[method]) for panel in panels]
    if method in shared:
        heats, norm = [density(heat) for heat in heats], absolute_scale()
        axes[0].set_title(f"{fill(method, _LETTERS)}\n{told_share(shared[method])}", fontsize=9)
    else:
        norm = scale(vmax.get(method) or max(float(heat.max()) for heat in heats))
        axes[0].set_title(fill(method, _LETTERS), fontsize=9)
    for each, panel, heat in zip(axes, panels, heats, strict=True):
        draw_overlay(each, _picture(panel), heat, norm)
        draw_outline(each, panel.region)
    if any(heat.any() for heat in heats):
        colour_bar(figure, norm, ax=axes, shrink=0.85, pad=0.02)
    elif method not in shared:
        axes[1].set_title("nothing shared", fontsize=9)


def _draw_candidates(figure: SubFigure, candidates: Sequence[Candidate]) -> None:
    """A strip of the references that were compared, the chosen one framed."""
    shown = candidates[:_MOST]
    axes = np.asarray(figure.subplots(1, max(len(shown), 4), squeeze=False))[0]
    for each in axes:
        each.set_axis_off()
    for each, candidate in zip(axes, shown, strict=False):
        each.imshow(_array(candidate.image.permute(1, 2, 0)))
        each.set_title(f"{candidate.title}\n{candidate.similarity:.2f}", fontsize=7)
        if candidate.chosen:
            each.set_axis_on()
            each.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
            for spine in each.spines.values():
                spine.set(color="tab:orange", linewidth=2.5)
    left_out = len(candidates) - len(shown)
    more = f"; {left_out} less similar ones are not shown" if left_out else ""
    figure.suptitle(f"references compared, with their similarity; framed: the one explained{more}", fontsize=7)


def _picture(panel: Panel) -> Float[ndarray, "height width 3"]:
    return _array(panel.image.permute(1, 2, 0))


def _array(tensor: Tensor) -> ndarray:
    return tensor.detach().float().cpu().numpy()
