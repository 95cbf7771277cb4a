"""Where one point of an image is found in the reference."""

from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from captum_shared.attr.heatmaps import heatmap
from captum_shared.attr.matching import Counterpart
from captum_shared.figures.overlay import draw_overlay, draw_picture, scale
from captum_shared.figures.page import VERMILLION, plain_text


@plain_text
def counterpart_figure(
    images: tuple[Float[Tensor, "3 height width"], Float[Tensor, "3 reference_height reference_width"]],
    found: Counterpart,
    point: tuple[float, float],
    *,
    titles: tuple[str, str] = ("image", "reference"),
) -> Figure:
    """Mark a point in an image, and draw where it is found in the reference.

    The scale of the map goes to the maximum of a point that is found as well as the best point of the image: a point
    that is found less well has a paler map.

    Args:
        images: the image and the reference as RGB between 0 and 1.
        found: the counterpart of the point (:func:`~captum_shared.attr.counterpart`).
        point: x and y in pixels from the upper left corner of the image.
        titles: what stands above each.

    Returns:
        The figure; save it with :func:`~captum_shared.figures.save_figure`.

    Example:
        >>> import torch
        >>> image = torch.rand(3, 32, 32)
        >>> figure = counterpart_figure((image, image), Counterpart(torch.rand(1, 1, 4, 4), 0.5), (10.0, 20.0))
        >>> figure.axes[1].get_title().splitlines()
        ['reference', 'found 50 % as well as the best point']
    """
    image, reference = (each.detach().float().cpu().permute(1, 2, 0).numpy() for each in images)
    heat = heatmap(found.map.detach().float().cpu(), (reference.shape[0], reference.shape[1]), kind="layer")[0].numpy()
    figure = Figure(figsize=(6.2, 3.5), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_picture(left, image)
    left.plot(*point, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3.5)
    left.plot(*point, "o", markersize=11, markerfacecolor="none", markeredgecolor=VERMILLION, markeredgewidth=1.8)
    left.plot(*point, "+", markersize=6, color=VERMILLION, path_effects=[withStroke(linewidth=2.5, foreground="white")])
    left.set_title(f"{titles[0]}\n{point[0]:g},{point[1]:g}", fontsize=8)
    draw_overlay(right, reference, heat, scale(float(heat.max()) / found.strength if found.strength > 0 else 0.0))
    told = f"found {found.strength:.0%} as well as the best point".replace("%", " %")
    right.set_title(f"{titles[1]}\n{told if found.strength > 0 else 'not found'}", fontsize=8)
    return figure
