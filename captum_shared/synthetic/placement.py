"""Where a part goes, and how it becomes coverage, ink and relief there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFilter

from captum_shared.synthetic.parts import PARTS, check_part

_SUPERSAMPLING = 4
_DISC = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=1)


@dataclass(frozen=True)
class Placement:
    """One part at one spot of an image.

    Args:
        part: A name in ``PARTS``.
        x: Where the part's origin goes, in fractions of the image's width from the left; may lie outside.
        y: The same from the top, in fractions of the height.
        scale: Length of the part's longest side in fractions of the image, above 0 and at most 2.
        rotation: Degrees, clockwise on the screen.
        mirrored: Whether left and right of the shape are exchanged before it is rotated.

    Raises:
        ValueError: If the part is unknown or the scale out of range.

    Example:
        >>> Placement("wheel", 0.5, 0.5, 0.3)
        Placement(part='wheel', x=0.5, y=0.5, scale=0.3, rotation=0.0, mirrored=False)
    """

    part: str
    x: float
    y: float
    scale: float
    rotation: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        check_part(self.part)
        if not 0 < self.scale <= 2:
            raise ValueError(
                f"scale is a fraction of the image in (0, 2], got {self.scale}; divide pixels by the image's size."
            )

    def to_pixels(self, points: Float[ndarray, "point 2"], *, size: int) -> Float[ndarray, "point 2"]:
        """Carry points (x, y) from the part's frame into the image's pixels.

        Args:
            points: Points in the frame of the part's shape.
            size: Side of the image in pixels.

        Returns:
            The same points in pixels from the top left corner.

        Example:
            >>> Placement("wheel", 0.5, 0.25, 0.5, rotation=90.0).to_pixels(np.array([[0.5, 0.0]]), size=100).round(6)
            array([[50., 50.]])
        """
        angle = np.deg2rad(self.rotation)
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        if self.mirrored:
            axes[0] *= -1
        pixels: ndarray = (points @ axes * self.scale + [self.x, self.y]) * size
        return pixels


@dataclass(frozen=True)
class Layer:
    """One drawn part before it is coloured: what ``rasterise`` returns.

    Args:
        part: Its name.
        window: Rows and columns of the image that the arrays cover.
        alpha: Coverage of each pixel, in [0, 1].
        ink: Darkness of outline and inner strokes, in [0, 1].
        relief: Smoothed coverage, in [0, 1]; its slope is what the light plays on.
        length: Scale of the part in pixels.
    """

    part: str
    window: tuple[slice, slice]
    alpha: Float[ndarray, "row column"]
    ink: Float[ndarray, "row column"]
    relief: Float[ndarray, "row column"]
    length: float


def rasterise(placement: Placement, *, size: int) -> Layer | None:
    """Draw one part, without colour.

    Args:
        placement: Which part, and where.
        size: Side of the image in pixels.

    Returns:
        Coverage, ink and relief inside the part's bounding box, or None if that lies outside the image.

    Example:
        >>> layer = rasterise(Placement("box", 0.5, 0.5, 0.5), size=112)
        >>> layer.alpha.shape == layer.ink.shape, rasterise(Placement("box", 5.0, 5.0, 0.5), size=112)
        (True, None)
    """
    corners = placement.to_pixels(PARTS[placement.part].outline, size=size)
    low = np.floor(corners.min(axis=0) - 2).astype(int).clip(0, size)
    high = np.ceil(corners.max(axis=0) + 2).astype(int).clip(0, size)
    if (high <= low).any():
        return None
    cover, ink = (picture.reduce(_SUPERSAMPLING) for picture in _draw(placement, low, extent=high - low, size=size))
    length = float(placement.scale * size)
    relief = cover.filter(ImageFilter.GaussianBlur(max(1.0, 0.07 * length)))
    alpha, ink_, relief_ = (np.asarray(picture, np.float32) / 255 for picture in (cover, ink, relief))
    return Layer(placement.part, (slice(low[1], high[1]), slice(low[0], high[0])), alpha, ink_, relief_, length)


def _draw(placement: Placement, low: ndarray, *, extent: ndarray, size: int) -> tuple[Image.Image, Image.Image]:
    """Supersampled coverage and ink of a part inside the window that starts at (x, y) = low."""
    shape = PARTS[placement.part]
    dots = [radius * _DISC + np.array([x, y]) for x, y, radius in shape.dots]
    curves = [shape.outline, *shape.holes, *shape.lines, *dots]
    corners = (placement.to_pixels(np.concatenate(curves), size=size) - low) * _SUPERSAMPLING
    ends = np.cumsum([len(curve) for curve in curves])[:-1]
    drawn = [[(x, y) for x, y in piece.tolist()] for piece in np.split(corners, ends)]
    edges, strokes = 1 + len(shape.holes), 1 + len(shape.holes) + len(shape.lines)

    width, height = (extent * _SUPERSAMPLING).tolist()
    cover, ink = Image.new("L", (width, height)), Image.new("L", (width, height))
    brush, pen = ImageDraw.Draw(cover), ImageDraw.Draw(ink)
    thickness = max(2, round(_SUPERSAMPLING * size * (0.008 + 0.012 * placement.scale)))
    for index, edge in enumerate(drawn[:edges]):
        brush.polygon(edge, fill=0 if index else 255)  # the holes follow the outline
        pen.line([*edge, edge[0]], fill=255, width=thickness)
    for line in drawn[edges:strokes]:
        pen.line(line, fill=200, width=thickness, joint="curve")
    for dot in drawn[strokes:]:
        pen.polygon(dot, fill=255)
    return cover, ink
