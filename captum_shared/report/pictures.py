"""Pictures as a page carries them: each once, as WebP."""

import base64
import io
from collections.abc import Callable
from typing import Final, final

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

LARGE: Final = 224
"""Pixels of the longer side of a picture beneath maps."""

SMALL: Final = 72
"""The same of a reference in a list."""

_QUALITY: Final = 80


@final
class Pictures:
    """The pictures of a page; each is kept once, however often it is shown.

    Args:
        read: from an identifier to the picture, RGB between 0 and 255.

    Attributes:
        addresses: ``data:`` addresses of the pictures, in the order of their keys.

    Example:
        >>> pictures = Pictures(lambda image: np.zeros((8, 8, 3), np.uint8))
        >>> pictures.key("mug", LARGE), pictures.key("hand", SMALL), pictures.key("mug", LARGE)
        (0, 1, 0)
        >>> pictures.addresses[0][:23]
        'data:image/webp;base64,'
    """

    def __init__(self, read: Callable[[str], UInt8[ndarray, "row column channel"]]) -> None:
        self._read = read
        self._keys: dict[tuple[str, int], int] = {}
        self.addresses: list[str] = []

    def key(self, image: str, longest: int) -> int:
        """Keep a picture.

        Args:
            image: its identifier.
            longest: pixels that its longer side may have.

        Returns:
            Its key.
        """
        if (image, longest) not in self._keys:
            self._keys[image, longest] = len(self.addresses)
            self.addresses.append(_address(self._read(image), longest))
        return self._keys[image, longest]


def _address(picture: UInt8[ndarray, "row column channel"], longest: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
