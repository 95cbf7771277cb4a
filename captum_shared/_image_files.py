"""What an image file may be, told before it is decoded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from captum_shared._reading import opened

MOST_ELONGATED = 50
"""How many times longer than the other a side of an image may be: its shorter side is what an encoder resizes."""

_REPLACE = "Replace it, convert it to PNG or JPEG if it is of another kind, or leave it out."
_TOO_LARGE = (
    "Expected an image of at most {:,} pixels, got more ({}): make it smaller, or allow more with --max-pixels "
    "(captum_shared.images.set_max_pixels)."
)
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow would run Ghostscript for others


@contextmanager
def opened_image(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say in a sentence what is wrong with an image file, whatever is raised while it is read.

    Args:
        path: the file.

    Yields:
        Nothing; the file is read in the block.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if anything is raised in the block.

    Example:
        >>> with opened_image("nowhere.png"):
        ...     pass
        Traceback (most recent call last):
        FileNotFoundError: Expected an image file, got no file at nowhere.png: check the path.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"Expected an image file, got no file at {path}: check the path.")
    with opened(path, "image file", _REPLACE), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Image.DecompressionBombError as error:  # of more than twice as many as there may be
            raise ValueError(_TOO_LARGE.format(Image.MAX_IMAGE_PIXELS, path)) from error


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read how large an image is, without decoding it.

    Args:
        path: as for :func:`captum_shared.images.load_image`.

    Returns:
        Width and height in pixels, as they are stored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image, too large or elongated.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 3)).save(folder + "/grey.png")
        ...     image_size(folder + "/grey.png")
        (4, 3)
    """
    with opened_image(path), Image.open(path, formats=FORMATS) as file:
        check_size(*file.size)
        return file.size


def check_size(width: int, height: int) -> None:
    """Refuse an image that is too large or elongated.

    Args:
        width: in pixels.
        height: in pixels.

    Raises:
        ValueError: if it is.
    """
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(_TOO_LARGE.format(Image.MAX_IMAGE_PIXELS, f"{width} x {height}"))
    if max(width, height) > MOST_ELONGATED * min(width, height):
        raise ValueError(
            f"Expected an image with a side at most {MOST_ELONGATED} times the other, got {width} x {height} pixels: "
            "crop it, or leave it out."
        )
