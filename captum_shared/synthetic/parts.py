"""The vocabulary of part shapes that every synthetic image is assembled from.

A shape lives in its own frame: x to the right, y downwards, the origin where the part is attached (or its centre),
the longest side about 1. Figures face right; wings, horns, poles and blades point up, limbs down, tails left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_Number = int | float  # run-time type checks tell them apart
_Points = Sequence[tuple[_Number, _Number]]
_Curve = Float[ndarray, "point 2"]


@dataclass(frozen=True)
class PartShape:
    """Outline of one part, in its own frame.

    Args:
        outline: Closed polygon, (point, 2), in units of the part's scale.
        holes: Closed polygons cut out of it.
        lines: Open strokes drawn on it in dark ink.
        dots: Centres (x, y) and radius of dark dots.

    Example:
        >>> PARTS["wheel"].outline.shape[1], len(PARTS["wheel"].holes)
        (2, 5)
    """

    outline: Float[ndarray, "point 2"]
    holes: tuple[Float[ndarray, "_ 2"], ...] = ()
    lines: tuple[Float[ndarray, "_ 2"], ...] = ()
    dots: tuple[tuple[_Number, _Number, float], ...] = ()


def _smooth(points: _Points, *, closed: bool = True, samples: int = 6) -> _Curve:
    """Catmull-Rom curve through the points."""
    knots = np.asarray(points, dtype=np.float64)
    count = len(knots)
    steps = np.arange(count if closed else count - 1)
    around = steps[:, None] + np.arange(-1, 3)
    around = around % count if closed else around.clip(0, count - 1)
    before, start, end, after = np.moveaxis(knots[around], 1, 0)[:, :, None]
    t = np.linspace(0, 1, samples, endpoint=False)[:, None]
    curve = start + t * (end - before) / 2
    curve = curve + t**2 * (before - 2.5 * start + 2 * end - after / 2)
    curve = curve + t**3 * (1.5 * (start - end) + (after - before) / 2)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-1:]])


def _ribbon(spine: _Points, widths: Sequence[float]) -> _Curve:
    """Band of the given widths around a smooth spine."""
    centre = _smooth(spine, closed=False)
    positions = np.linspace(0, 1, len(centre))
    half = np.interp(positions, np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    along = np.gradient(centre, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    return np.concatenate([centre + half * normal, (centre - half * normal)[::-1]])


def _arc(radius: float, degrees: tuple[int, int], *, count: int) -> _Curve:
    """Points on a circle about the origin between two angles, clockwise on the screen."""
    angle = np.deg2rad(np.linspace(*degrees, count))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _strokes(*lines: _Points) -> tuple[Float[ndarray, "_ 2"], ...]:
    return tuple(np.asarray(line, dtype=np.float64) for line in lines)


def _polygon(points: _Points) -> _Curve:
    return np.asarray(points, dtype=np.float64)


def _wheel() -> PartShape:
    """A rim, a hub and five spokes."""
    holes = []
    for spoke in range(5):
        first, last = 72 * spoke + 10, 72 * spoke + 62
        holes.append(np.concatenate([_arc(0.37, (first, last), count=10), _arc(0.16, (last - 8, first + 8), count=4)]))
    return PartShape(_arc(0.5, (0, 350), count=36), tuple(holes), dots=((0, 0, 0.06),))


_HEAD = PartShape(
    _smooth(
        [
            (-0.06, 0.16),
            (-0.1, -0.2),
            (0.02, -0.46),
            (0, -0.82),
            (0.22, -0.58),
            (0.42, -0.54),
            (0.62, -0.34),
            (0.92, -0.24),
            (1, -0.08),
            (0.9, 0.06),
            (0.6, 0.08),
            (0.38, 0.14),
            (0.26, 0.3),
        ]
    ),
    lines=_strokes([(0.98, -0.04), (0.82, -0.06), (0.66, -0.12)], [(0.06, -0.44), (0.07, -0.66), (0.18, -0.54)]),
    dots=((0.4, -0.33, 0.075), (0.93, -0.15, 0.05)),
)
_TORSO = PartShape(
    _smooth(
        [
            (-0.5, 0),
            (-0.44, -0.2),
            (-0.2, -0.27),
            (0.1, -0.24),
            (0.34, -0.27),
            (0.5, -0.08),
            (0.47, 0.14),
            (0.25, 0.27),
            (0, 0.23),
            (-0.3, 0.24),
            (-0.47, 0.14),
        ]
    ),
    lines=_strokes([(0.3, -0.12), (0.24, 0.02), (0.28, 0.14)], [(-0.3, -0.12), (-0.22, 0.0), (-0.28, 0.14)]),
)
_LIMB = PartShape(
    _smooth(
        [
            (-0.2, -0.02),
            (0, -0.08),
            (0.2, -0.02),
            (0.17, 0.28),
            (0.07, 0.5),
            (0.09, 0.72),
            (0.12, 0.84),
            (0.32, 0.9),
            (0.34, 1),
            (0.1, 1),
            (-0.1, 1),
            (-0.07, 0.75),
            (-0.12, 0.5),
            (-0.21, 0.25),
        ]
    ),
    lines=_strokes([(0.15, 0.9), (0.17, 1)], [(0.24, 0.9), (0.26, 1)], [(-0.06, 0.5), (0.02, 0.52)]),
)
_TAIL = PartShape(
    _ribbon(
        [(0, 0), (-0.26, 0.1), (-0.48, -0.1), (-0.6, -0.42), (-0.84, -0.5), (-1, -0.3)],
        [0.15, 0.12, 0.1, 0.09, 0.08, 0.09, 0.26, 0.02],
    ),
    lines=_strokes([(-0.86, -0.46), (-0.97, -0.34)]),
)
_WING = PartShape(
    _polygon(
        [
            (0.14, 0),
            (0.14, -0.3),
            (0.02, -0.62),
            (-0.28, -0.9),
            (-0.8, -1),
            (-0.62, -0.82),
            (-0.8, -0.74),
            (-0.54, -0.6),
            (-0.68, -0.48),
            (-0.42, -0.4),
            (-0.52, -0.24),
            (-0.26, -0.2),
            (-0.3, -0.02),
            (-0.1, 0.03),
        ]
    ),
    lines=_strokes(
        [(0, -0.5), (-0.54, -0.82)],
        [(0, -0.36), (-0.5, -0.62)],
        [(0, -0.22), (-0.38, -0.4)],
        [(0, -0.1), (-0.22, -0.2)],
    ),
)
_HORN = PartShape(
    _ribbon([(0, 0), (0.1, -0.3), (0.04, -0.66), (-0.28, -0.98)], [0.36, 0.3, 0.2, 0.01]),
    lines=_strokes(
        [(-0.1, -0.13), (0.22, -0.19)], [(-0.05, -0.3), (0.24, -0.35)], [(-0.04, -0.5), (0.2, -0.52)],
        [(-0.08, -0.66), (0.1, -0.72)],
    ),
)  # fmt: skip
_BOX = PartShape(
    _polygon([(-0.5, -0.24), (-0.3, -0.42), (0.5, -0.42), (0.5, 0.22), (0.3, 0.4), (-0.5, 0.4)]),
    lines=_strokes([(-0.5, -0.24), (0.3, -0.24), (0.5, -0.42)], [(0.3, -0.24), (0.3, 0.4)]),
)
_DOME = PartShape(
    np.concatenate([_arc(0.5, (180, 360), count=20), _polygon([(0.58, 0), (0.58, 0.1), (-0.58, 0.1), (-0.58, 0)])]),
    lines=_strokes([(-0.5, 0), (0.5, 0)]),
)
_HANDLE = PartShape(
    _ribbon([(0.02, -0.42), (-0.28, -0.5), (-0.5, -0.24), (-0.48, 0.2), (-0.26, 0.44), (0.02, 0.4)], [0.17, 0.16, 0.17])
)
_SPOUT = PartShape(
    _ribbon([(-0.05, 0.1), (0.28, 0.06), (0.46, -0.2), (0.52, -0.52), (0.8, -0.66)], [0.5, 0.38, 0.24, 0.16, 0.32]),
    lines=_strokes([(0.62, -0.72), (0.72, -0.48)]),
)
_BLADE = PartShape(
    _polygon([(-0.13, 0), (0.11, 0), (0.16, -0.2), (0.18, -0.5), (0.13, -0.75), (0.02, -0.92), (-0.13, -1.02)]),
    lines=_strokes([(-0.06, -0.06), (-0.06, -0.84)]),
)
_SHADE = PartShape(
    _polygon(
        [
            (-0.2, -0.36),
            (0.2, -0.36),
            (0.5, 0.36),
            (0.33, 0.42),
            (0.17, 0.36),
            (0, 0.42),
            (-0.17, 0.36),
            (-0.33, 0.42),
            (-0.5, 0.36),
        ]
    ),
    lines=_strokes([(-0.07, -0.34), (-0.17, 0.36)], [(0.07, -0.34), (0.17, 0.36)], [(-0.2, -0.3), (0.2, -0.3)]),
)
_POLE = PartShape(
    _ribbon([(0, 0.02), (0, -1)], [0.13, 0.08, 0.08, 0.08, 0.12, 0.08, 0.08, 0.08, 0.13]),
)

PARTS: dict[str, PartShape] = {
    "head": _HEAD,
    "torso": _TORSO,
    "limb": _LIMB,
    "tail": _TAIL,
    "wing": _WING,
    "horn": _HORN,
    "box": _BOX,
    "dome": _DOME,
    "wheel": _wheel(),
    "handle": _HANDLE,
    "spout": _SPOUT,
    "blade": _BLADE,
    "shade": _SHADE,
    "pole": _POLE,
}
"""Every part shape by name; the order is the order of the embedded network's outputs."""


def check_part(part: str) -> None:
    """Refuse a name that is not in ``PARTS``.

    Raises:
        ValueError: With the names there are.

    Example:
        >>> check_part("wheel")
    """
    if part not in PARTS:
        raise ValueError(f"Expected one of the parts {', '.join(PARTS)}; got {part!r}. Choose a name from PARTS.")
