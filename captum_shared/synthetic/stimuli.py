"""Images of two categories drawn from one vocabulary of parts, with a mask of visible pixels for every part.

Creatures and artefacts share parts: a chair stands on limbs, an aeroplane has wings, a lamp's cord is a tail.
Colour, texture, light and background are drawn at random and tell nothing of category or part.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from captum_shared._progress import Progress
from captum_shared.synthetic.parts import PARTS, PartShape, check_part
from captum_shared.synthetic.placement import Layer, Placement, rasterise
from captum_shared.synthetic.sketches import CATEGORIES, assemble, check_category

__all__ = [
    "CATEGORIES",
    "MINIMUM_VISIBLE_AREA",
    "PARTS",
    "PartShape",
    "Placement",
    "Stimulus",
    "compose",
    "draw_stimuli",
    "draw_stimulus",
    "visible_area",
]

MINIMUM_VISIBLE_AREA = 0.004
"""A part that shows on less than this fraction of the image (50 of 112 x 112 pixels) counts as absent."""


_PALE = (0.0, 0.5)


@dataclass(frozen=True)
class Stimulus:
    """One drawn image and what is visible in it.

    Args:
        image: RGB in [0, 1], float32.
        masks: For every part present, its visible pixels: occlusion is resolved, so masks never overlap, and
            several instances of one part share a mask. Only parts of at least ``MINIMUM_VISIBLE_AREA``.
        category: "creature" or "artefact".

    Example:
        >>> stimulus = draw_stimulus("artefact", np.random.default_rng(3))
        >>> stimulus.image.shape, sorted(stimulus.masks)
        (torch.Size([3, 112, 112]), ['head', 'pole', 'tail', 'torso', 'wheel'])
    """

    image: Float[Tensor, "channel height width"]
    masks: dict[str, Bool[Tensor, "height width"]]
    category: str


def visible_area(stimulus: Stimulus, part: str) -> float:
    """Fraction of the image on which a part is visible.

    Args:
        stimulus: A drawn image.
        part: A name in ``PARTS``.

    Returns:
        A number in [0, 1]; 0 if the part is absent.

    Raises:
        ValueError: If the part is unknown.

    Example:
        >>> visible_area(draw_stimulus("artefact", np.random.default_rng(3)), "wing")
        0.0
    """
    check_part(part)
    return float(stimulus.masks[part].double().mean()) if part in stimulus.masks else 0.0


def draw_stimuli(category: str, n: int, *, seed: int, size: int = 112, progress: bool = False) -> list[Stimulus]:
    """Draw n images of a category.

    Args:
        category: "creature" or "artefact".
        n: How many, at least 1. The first images do not change when more are asked for.
        seed: Not negative; the same seed gives the same images.
        size: Side of the square images in pixels, 96 to 128.
        progress: Whether to show a progress bar.

    Returns:
        The stimuli.

    Raises:
        ValueError: If the category is unknown, or n, seed or size is out of range.

    Example:
        >>> creatures = draw_stimuli("creature", 2, seed=0)
        >>> torch.equal(creatures[1].image, draw_stimuli("creature", 3, seed=0)[1].image)
        True
    """
    check_category(category)
    if n < 1:
        raise ValueError(f"Expected n, the number of stimuli, to be at least 1, got {n}. Ask for one or more.")
    if seed < 0:
        raise ValueError(f"Expected a seed of at least 0, got {seed}. Use a non-negative integer.")
    streams = ([seed, CATEGORIES.index(category), index] for index in range(n))
    shown = Progress(streams, total=n, desc=f"drawing {category}s", unit="image", disable=not progress)
    return [draw_stimulus(category, np.random.default_rng(stream), size=size) for stream in shown]


def draw_stimulus(category: str, rng: np.random.Generator, *, size: int = 112) -> Stimulus:
    """Draw one image of a category.

    Args:
        category: "creature" or "artefact".
        rng: Source of every choice.
        size: Side of the square image in pixels, 96 to 128.

    Returns:
        The stimulus.

    Raises:
        ValueError: If the category is unknown or the size out of range.

    Example:
        >>> draw_stimulus("creature", np.random.default_rng(0), size=96).image.shape
        torch.Size([3, 96, 96])
    """
    image, masks = compose(assemble(category, rng), rng, size=size)
    return Stimulus(image, masks, category)


def compose(
    placements: Sequence[Placement], rng: np.random.Generator, *, size: int = 112
) -> tuple[Float[Tensor, "channel height width"], dict[str, Bool[Tensor, "height width"]]]:
    """Draw given parts at given spots, in random colours on a random background.

    Args:
        placements: The parts from back to front; none gives a background.
        rng: Source of colours, textures, light and background.
        size: Side of the square image in pixels, 96 to 128.

    Returns:
        The image, RGB in [0, 1], and the masks as in ``Stimulus``: a pixel belongs to the part that covers more
        than half of it in sight.

    Raises:
        ValueError: If the size is out of range.

    Example:
        >>> wheel, box = Placement("wheel", 0.3, 0.7, 0.3), Placement("box", 0.6, 0.4, 0.4)
        >>> image, masks = compose([wheel, box], np.random.default_rng(0))
        >>> sorted(masks), bool((masks["wheel"] & masks["box"]).any())
        (['box', 'wheel'], False)
    """
    if not 96 <= size <= 128:
        raise ValueError(f"Expected a size of 96 to 128 pixels, got {size}. Draw within and resize afterwards.")
    layers = [layer for placement in placements if (layer := rasterise(placement, size=size)) is not None]
    light = rng.uniform(0, 2 * np.pi)
    canvas = _background(rng, size) * _shadow(layers, light, size=size)
    palette = [_colour(rng, purity=(0.25, 0.95)) for _ in range(3)]
    for layer in layers:
        beneath = canvas[layer.window]
        beneath += layer.alpha[:, :, None] * (_surface(layer, palette, light=light, rng=rng) - beneath)
    canvas *= _illumination(rng, light, size=size)
    canvas += rng.uniform(0, 0.025) * rng.standard_normal(canvas.shape, dtype=np.float32)
    image = torch.from_numpy(canvas.clip(0, 1)).permute(2, 0, 1).contiguous()
    return image, _visible(layers, size)


def _visible(layers: Sequence[Layer], size: int) -> dict[str, Bool[Tensor, "height width"]]:
    """Pixels of which a part covers more than half in sight: shares of a pixel sum to at most 1."""
    shares: dict[str, Float[ndarray, "height width"]] = {}
    for layer in layers:
        for share in shares.values():
            share[layer.window] *= 1 - layer.alpha
        own = shares.setdefault(layer.part, np.zeros((size, size), np.float32))
        own[layer.window] += layer.alpha
    masks = {part: share > 0.5 for part, share in shares.items()}
    return {part: torch.from_numpy(mask) for part, mask in masks.items() if mask.mean() >= MINIMUM_VISIBLE_AREA}


def _colour(rng: np.random.Generator, *, purity: tuple[float, float]) -> Float[ndarray, " channel"]:
    """Random colour of a saturation between the two of `purity`."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*purity), rng.uniform(0.45, 1)), np.float32)


def _surface(
    layer: Layer, palette: Sequence[Float[ndarray, " channel"]], *, light: float, rng: np.random.Generator
) -> Float[ndarray, "row column channel"]:
    """Colour of a part: a pattern of two colours, shaded by the slope towards the light, under the ink."""
    first = palette[int(rng.integers(len(palette)))] * np.float32(rng.uniform(0.85, 1.1))
    second = palette[int(rng.integers(len(palette)))] * np.float32(rng.uniform(0.5, 1.0))
    pattern = _pattern(rng, layer.alpha.shape)[:, :, None]
    padded = np.pad(layer.relief, 1, mode="edge")
    rightwards = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    downwards = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    slope = -0.16 * layer.length * (rightwards * np.cos(light) + downwards * np.sin(light))
    shading = (0.85 + 0.55 * slope.clip(-1, 1)) * (1 - rng.uniform(0.55, 0.9) * layer.ink)
    painted: ndarray = ((first + pattern * (second - first)) * shading[:, :, None]).astype(np.float32)
    return painted


def _pattern(rng: np.random.Generator, shape: tuple[int, ...]) -> Float[ndarray, "row column"]:
    """Plain, stripes, dots or mottles, in [0, 1]."""
    kind = rng.choice(["plain", "stripes", "dots", "mottles"])
    if kind == "plain":
        return np.zeros(shape, np.float32)
    if kind == "mottles":
        return np.float32(rng.uniform(0.3, 0.8)) * _clouds(rng, shape, cells=int(rng.integers(4, 9)))
    angle, pitch = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(5, 12)
    y, x = np.ogrid[: shape[0], : shape[1]]
    wave = np.sin(pitch * (x * np.cos(angle) + y * np.sin(angle)))
    if kind == "dots":
        wave = 1.6 * wave * np.sin(pitch * (y * np.cos(angle) - x * np.sin(angle))) - 0.4
    pattern: ndarray = (rng.uniform(0.4, 0.9) * (0.5 + 1.5 * wave).clip(0, 1)).astype(np.float32)
    return pattern


def _clouds(rng: np.random.Generator, shape: tuple[int, ...], *, cells: int) -> Float[ndarray, "row column"]:
    """Smooth noise in [0, 1] with so many independent cells along each side."""
    grains = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return np.asarray(grains.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32) / 255


def _background(rng: np.random.Generator, size: int) -> Float[ndarray, "height width channel"]:
    """A gradient of two pale colours, clutter that is none of the parts, and a texture."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle, first, second = rng.uniform(0, 2 * np.pi), _colour(rng, purity=_PALE), _colour(rng, purity=_PALE)
    ramp = (0.5 + x * np.cos(angle) + y * np.sin(angle))[:, :, None]
    ground = (255 * (first + ramp * (second - first))).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(ground)
    _scatter_clutter(picture, ground, rng=rng)
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.6)))
    texture = np.sum([_clouds(rng, (size, size), cells=cells) - 0.5 for cells in (5, 14, 40)], axis=0)
    canvas: ndarray = np.asarray(blurred, np.float32) / 255
    canvas += np.float32(rng.uniform(0.03, 0.14)) * texture[:, :, None]
    return canvas


def _scatter_clutter(picture: Image.Image, ground: ndarray, *, rng: np.random.Generator) -> None:
    """Draw jagged blobs and crooked lines in colours near those of the ground."""
    size, pen = picture.width, ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 9)):
        centre, reach = rng.uniform(0, size, 2), rng.uniform(0.05, 0.2) * size
        beneath = ground[int(centre[1]), int(centre[0])]
        red, green, blue = (0.4 * beneath + 0.6 * 255 * _colour(rng, purity=_PALE)).astype(int).tolist()
        if rng.random() < 0.6:
            around = np.sort(rng.uniform(0, 2 * np.pi, 7))
            spokes = reach * rng.uniform(0.4, 1.2, (7, 1)) * np.stack([np.cos(around), np.sin(around)], axis=1)
            pen.polygon([(x, y) for x, y in (centre + spokes).tolist()], fill=(red, green, blue))
        else:
            bends = np.cumsum(np.vstack([centre, rng.normal(0, reach, (4, 2))]), axis=0)
            corners = [(x, y) for x, y in bends.tolist()]
            pen.line(corners, fill=(red, green, blue), width=int(rng.integers(1, 4)), joint="curve")


def _shadow(layers: Sequence[Layer], light: float, *, size: int) -> Float[ndarray, "height width 1"]:
    """What is left of the light on the ground beside the parts."""
    cover = np.zeros((size, size), np.float32)
    for layer in layers:
        cover[layer.window] = np.maximum(cover[layer.window], layer.alpha)
    right, down = round(-0.045 * size * np.cos(light)), round(-0.045 * size * np.sin(light))
    moved = Image.new("L", (size, size))
    moved.paste(Image.fromarray((255 * cover).astype(np.uint8)), (right, down))
    soft = np.asarray(moved.filter(ImageFilter.GaussianBlur(0.03 * size)), np.float32)
    return 1 - soft[:, :, None] / 510


def _illumination(rng: np.random.Generator, light: float, *, size: int) -> Float[ndarray, "height width 1"]:
    """More light on the side that it comes from."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    fall = np.float32(rng.uniform(0, 0.35)) * (x * np.float32(np.cos(light)) + y * np.float32(np.sin(light)))
    field: ndarray = 1 + fall[:, :, None]
    return field
