"""The hardest pairs of a benchmark on its page: pictures under the maps of every method, with the true regions."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from matplotlib.colors import Normalize
from numpy import ndarray
from PIL import Image
from scipy.ndimage import binary_erosion

from captum_shared.evaluation.hardest import HardPair
from captum_shared.figures.overlay import ABSOLUTE_TOP, COLOURS, absolute_scale, density, pale, scale
from captum_shared.methods.registry import METHODS
from captum_shared.report.page import Part, number

_SIDES: Final = ("image", "reference")
_QUALITY: Final = 72
_OPACITY: Final = 0.85
_OUTLINE: Final = (0, 255, 255)


def pairs_part(pairs: Sequence[HardPair], families: Mapping[str, str]) -> Part:
    """Make the part of a page that shows the hardest pairs.

    Args:
        pairs: the pairs, the hardest first.
        families: the family of every method by its name, the best method first.

    Returns:
        Every pair with the maps of all methods.
    """
    shown = [_pair(pair, rank, families) for rank, pair in enumerate(pairs, 1)]
    context = {"pairs": shown, "top": ABSOLUTE_TOP, "bar": address(colour_bar(), quality=90)}
    return Part("hard_pairs.html.jinja", context, styles=("hard_pairs.css",))


def _pair(pair: HardPair, rank: int, families: Mapping[str, str]) -> dict[str, Any]:
    bare = [
        {
            "address": address(outlined(picture, region)),
            "text": f"{side}, what it shares with the other outlined: {pair.answer}",
        }
        for side, picture, region in zip(_SIDES, pair.pictures, pair.regions, strict=True)
    ]
    return {
        "rank": rank,
        "index": pair.index,
        "neuron": pair.neuron,
        "answer": pair.answer,
        "pictures": bare,
        "methods": [_method(pair, name, family) for name, family in families.items()],
    }


def _method(pair: HardPair, name: str, family: str) -> dict[str, Any]:
    absolute = name in METHODS and METHODS[name].absolute
    heats, norm = pair.maps[name], absolute_scale()
    if not absolute:
        norm = scale(float(heats.max()))
    mass, drawn = number(pair.mass[name]), [density(heat) if absolute else heat for heat in heats]
    return {
        "name": name,
        "family": family,
        "mass": mass,
        "top": "" if absolute else f"{float(norm.vmax or 1):.2g}",
        "sides": [
            {
                "address": address(under(picture, heat, region, norm=norm)),
                "text": f"{side} under the map of {name}; {mass} of its maps lies on {pair.answer}",
            }
            for side, picture, heat, region in zip(_SIDES, pair.pictures, drawn, pair.regions, strict=True)
        ],
    }


def under(
    picture: UInt8[ndarray, "row column 3"],
    heat: Float[ndarray, "row column"],
    region: Bool[ndarray, "row column"],
    *,
    norm: Normalize,
) -> UInt8[ndarray, "row column 3"]:
    """Lay a map over a pale picture, as the figures do, with a line around what is known to be shared.

    Args:
        picture: RGB.
        heat: the map, not negative.
        region: the true region.
        norm: the scale of the map.

    Returns:
        RGB.

    Example:
        >>> picture, nothing = np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2), bool)
        >>> under(picture, np.zeros((1, 2)), nothing, norm=Normalize(0, 1))[0].tolist()
        [[89, 89, 89], [89, 89, 89]]
    """
    grey = pale(picture.astype(np.float32) / 255)[..., None]
    share = np.asarray(norm(heat), dtype=np.float64)
    opacity = _OPACITY * np.clip(2 * share, 0, 1)[..., None]
    mixed = (1 - opacity) * grey + opacity * colormaps[COLOURS](share)[..., :3]
    return outlined(np.rint(255 * mixed).astype(np.uint8), region)


def outlined(
    picture: UInt8[ndarray, "row column 3"], region: Bool[ndarray, "row column"]
) -> UInt8[ndarray, "row column 3"]:
    """Draw a line around a region, cyan within it and black without.

    Args:
        picture: RGB.
        region: pixels.

    Returns:
        RGB.

    Example:
        >>> picture = np.full((5, 5, 3), 9, np.uint8)
        >>> region = np.zeros((5, 5), bool); region[1:4, 1:4] = True
        >>> outlined(picture, region)[2].tolist()
        [[0, 0, 0], [0, 255, 255], [9, 9, 9], [0, 255, 255], [0, 0, 0]]
    """
    drawn = picture.copy()
    if region.any() and not region.all():
        drawn[region & ~binary_erosion(region, border_value=1)] = _OUTLINE
        drawn[~region & binary_erosion(~region, border_value=1) ^ ~region] = 0
    return drawn


def colour_bar() -> UInt8[ndarray, "1 level 3"]:
    """Draw the colours of maps from the lowest to the highest.

    Returns:
        A picture of one row.
    """
    colours: ndarray = np.rint(255 * colormaps[COLOURS](np.linspace(0, 1, 256))[None, :, :3]).astype(np.uint8)
    return colours


def address(picture: UInt8[ndarray, "row column 3"], quality: int = _QUALITY) -> str:
    """Write a picture so that a page can hold it.

    Args:
        picture: RGB.
        quality: of WebP, up to 100.

    Returns:
        A ``data:`` address.
    """
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
