"""Responses of a neuron to all images, a row of points for each category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

WIDTH: Final = 400
"""Units from the lowest to the highest response."""

_MOST_ROWS: Final = 16
_MOST_POINTS: Final = 1200
_HEIGHT: Final = 12  # of the points of a row


@final
@dataclass(frozen=True)
class Mark:
    """An image that stands out among the points.

    Attributes:
        x: where it is.
        kind: ``"image"`` if it is explained, ``"reference"`` if it is one of the references.
        name: of the image.
        response: to it.
    """

    x: float
    kind: str
    name: str
    response: float


@final
@dataclass(frozen=True)
class Strip:
    """The responses to the images of a category.

    Attributes:
        category: its name.
        count: how many images with a response it has.
        mean: of the responses.
        mean_x: where that is.
        points: a path through all points, for SVG.
        marks: images that stand out.
        preferred: whether it is the preferred category.
    """

    category: str
    count: int
    mean: float
    mean_x: float
    points: str
    marks: tuple[Mark, ...]
    preferred: bool


@final
@dataclass(frozen=True)
class Strips:
    """Rows of responses on one axis.

    Attributes:
        rows: the preferred category first, then by mean response.
        ticks: positions on the axis, and numbers.
        left_out: how many further categories there are.
        thinned: whether some points are left out, evenly over the ranks of each category.
    """

    rows: tuple[Strip, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int
    thinned: bool


def strips(
    responses: Float[ndarray, " image"],
    images: Sequence[str],
    categories: Sequence[str],
    *,
    preferred: str,
    marked: Mapping[str, str],
) -> Strips | None:
    """Lay out the responses of a neuron.

    Args:
        responses: mean responses; NaN are left out.
        images: identifiers.
        categories: of the images.
        preferred: the preferred category.
        marked: by identifier the kind of images that stand out (:class:`Mark`).

    Returns:
        The rows; None if there are no responses.

    Example:
        >>> laid = strips(np.array([1.0, 3.0]), ["mug", "hand"], ["object", "body"], preferred="body", marked={})
        >>> [(row.category, row.mean, row.mean_x) for row in laid.rows]
        [('body', 3.0, 400.0), ('object', 1.0, 0.0)]
    """
    known, values = np.flatnonzero(np.isfinite(responses)), np.asarray(responses, dtype=np.float64)
    if not len(known):
        return None
    low, high = float(values[known].min()), float(values[known].max())
    span = (high - low) or 1.0
    groups: dict[str, list[int]] = {}
    for image in known.tolist():
        groups.setdefault(categories[image], []).append(image)
    means = {name: float(values[group].mean()) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: (name != preferred, -means[name]))
    most = _MOST_POINTS // min(len(order), _MOST_ROWS)
    rows = []
    for name in order[:_MOST_ROWS]:
        group = groups[name]
        shown = _thinned(sorted(group, key=lambda image: float(values[image])), most)
        marks = tuple(
            Mark(round(WIDTH * (values[image] - low) / span, 1), marked[images[image]], images[image], values[image])
            for image in group
            if images[image] in marked
        )
        points, mean_x = _path(WIDTH * (values[shown] - low) / span), round(WIDTH * (means[name] - low) / span, 1)
        rows.append(Strip(name, len(group), means[name], mean_x, points, marks, name == preferred))
    thinned = any(len(groups[row.category]) > most for row in rows)
    return Strips(tuple(rows), _ticks(low, high, span), len(order) - len(rows), thinned)


def _ticks(low: float, high: float, span: float) -> tuple[tuple[float, str], ...]:
    values = [float(value) for value in MaxNLocator(5).tick_values(low, high)]
    return tuple((round(WIDTH * (value - low) / span, 1), f"{value:g}") for value in values if low <= value <= high)


def _thinned(ordered: Sequence[int], most: int) -> list[int]:
    """At most so many, evenly over their ranks, the first and the last among them."""
    return [
        ordered[rank]
        for rank in np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), most)).round().astype(int))
    ]


def _path(places: Float[ndarray, " point"]) -> str:
    """Points as lines of no length, which round ends make visible; the golden ratio keeps neighbours apart."""
    heights = (np.arange(len(places)) * 0.618) % 1 * _HEIGHT
    return "".join(f"M{x:.0f} {y:.0f}h0" for x, y in zip(places, heights, strict=True))
