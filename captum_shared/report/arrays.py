"""Maps as a page carries them: in few bytes, each with its scale."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray
from torch.nn import functional

LONGEST: Final = 96
"""Rows or columns that a map on a page has at most."""


def packed(arrays: Mapping[str, Shaped[ndarray, "..."]]) -> dict[str, Any]:
    """Pack arrays that are not negative, each number as the root of its share of the largest in 8 bits.

    A number is right to 0.4 % of the largest where it is large, and to a 65,000th where it is small. ``arrays.js``
    unpacks them.

    Args:
        arrays: by name, of two or more axes.

    Returns:
        The bytes of all, and for each its shape, its largest value and where its bytes begin, ready for JSON.

    Example:
        >>> told = packed({"map": np.array([[0.0, 1.0], [4.0, 4.0]])})
        >>> told["arrays"]
        {'map': {'shape': [2, 2], 'top': 4.0, 'start': 0}}
        >>> list(zlib.decompress(base64.b64decode(told["bytes"])))
        [0, 128, 255, 128]
    """
    told, start, parts = {}, 0, []
    for name, array in arrays.items():
        top = float(array.max(initial=0))
        told[name] = {"shape": list(array.shape), "top": top, "start": start}
        parts.append(_differences(_levels(array, top)).tobytes())
        start += array.size
    return {"bytes": base64.b64encode(zlib.compress(b"".join(parts), 9)).decode(), "arrays": told}


def reduced(heat: Float[ndarray, "row column"], longest: int = LONGEST) -> Float[ndarray, "few_rows few_columns"]:
    """Bring a map to the size at which pages carry it, by means over its pixels.

    Args:
        heat: the map.
        longest: rows or columns that it may have.

    Returns:
        The same if it is small enough.

    Example:
        >>> reduced(np.arange(8.0).reshape(2, 4), 2)
        array([[2.5, 4.5]])
    """
    rows, columns = heat.shape
    share = longest / max(rows, columns)
    if share >= 1:
        return heat
    size = max(1, round(rows * share)), max(1, round(columns * share))
    few: ndarray = functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(heat))[None], size)[0].numpy()
    return few


def _levels(array: Shaped[ndarray, "*axis"], top: float) -> UInt8[ndarray, "*axis"]:
    if top <= 0:
        return np.zeros(array.shape, np.uint8)
    levels: ndarray = np.rint(255 * np.sqrt(array.astype(np.float64) / top)).astype(np.uint8)
    return levels


def _differences(levels: UInt8[ndarray, "*axis"]) -> UInt8[ndarray, "*axis"]:
    """Differences of neighbours along the last two axes, modulo 256: smooth maps become mostly zeros."""
    zero = np.uint8(0)
    differences: ndarray = np.diff(np.diff(levels, axis=-1, prepend=zero), axis=-2, prepend=zero)
    return differences
