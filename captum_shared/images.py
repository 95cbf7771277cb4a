"""Image files and folders to tensors, and tensors back to something to look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from captum_shared._image_files import FORMATS, check_size, opened_image
from captum_shared._progress import Progress

_EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read one image file as 8-bit RGB, the way up it was taken.

    The rotation in the EXIF data is applied. Transparent images are composited on white (choice). 16-bit grey is
    scaled to 8 bit, value / 257 rounded, where Pillow alone would clip it. Colour profiles are ignored; of an
    animation the first frame is taken.

    Args:
        path: a BMP, GIF, JPEG, PNG, PPM or PGM, TIFF or WebP file, whatever its extension, with 8 bits per channel or
            16-bit grey. It may have as many pixels as ``PIL.Image.MAX_IMAGE_PIXELS`` says (89 million, unless changed),
            and a side that is at most 50 times the other; both are told before it is decoded.

    Returns:
        The image, in mode ``"RGB"``, 0 to 255.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image, damaged, too large or elongated, or has another bit depth.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("LA", (4, 3), (0, 0)).save(folder + "/transparent.png")
        ...     load_image(folder + "/transparent.png").getpixel((0, 0))
        (255, 255, 255)
    """
    with opened_image(path):
        with Image.open(path, formats=FORMATS) as file:
            check_size(*file.size)
            file.verify()  # the checksums of PNG, which decoding leaves out; the file has to be opened anew then
        with Image.open(path, formats=FORMATS) as file:
            file.load()
            return _as_rgb(ImageOps.exif_transpose(file))


def set_max_pixels(number: int) -> int:
    """Set how many pixels an image file may have, for this process: ``PIL.Image.MAX_IMAGE_PIXELS``.

    Args:
        number: at least 1.

    Returns:
        The number.

    Raises:
        ValueError: if it is below 1.

    Example:
        >>> set_max_pixels(Image.MAX_IMAGE_PIXELS)
        89478485
    """
    if number < 1:
        raise ValueError(f"Expected at least 1 pixel, got {number}.")
    Image.MAX_IMAGE_PIXELS = number
    return number


def load_images(
    paths: Sequence[str | os.PathLike[str]],
    preprocess: Callable[[Image.Image], Tensor],
    *,
    progress: bool = False,
) -> Float[Tensor, "image channel height width"]:
    """Read and preprocess image files into one tensor.

    Args:
        paths: the files, at least one.
        preprocess: from an RGB image to a floating-point tensor (channel, height, width), for instance
            ``weights.transforms()`` of torchvision or ``rgb_preprocess(224)``.
        progress: whether to show a progress bar.

    Returns:
        The images, in the order of ``paths`` and in the units of ``preprocess``.

    Raises:
        FileNotFoundError: if a file is missing.
        TypeError: if ``paths`` is a single path, or ``preprocess`` does not return a floating-point tensor.
        ValueError: if there are no paths, a file cannot be read, or two images differ in shape after ``preprocess``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (40, 30), 255).save(folder + "/white.png")
        ...     load_images([folder + "/white.png"], rgb_preprocess(2))[0, 0]
        tensor([[1., 1.],
                [1., 1.]])
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"Expected a sequence of paths, got the single path {paths}: pass [path].")
    if not paths:
        raise ValueError("Expected at least one path, got none.")
    batch = torch.empty(0)
    for index, path in enumerate(Progress(paths, desc="images", unit="image", disable=not progress)):
        image = to_input(path, preprocess)
        if index == 0:
            batch = torch.empty(len(paths), *image.shape, dtype=image.dtype, device=image.device)
        if image.shape != batch.shape[1:]:
            raise ValueError(
                f"Expected preprocessed images of one shape, got {tuple(batch.shape[1:])} for {paths[0]} and "
                f"{tuple(image.shape)} for {path}: resize and crop in preprocess."
            )
        batch[index] = image
    return batch


def to_input(
    path: str | os.PathLike[str], preprocess: Callable[[Image.Image], Tensor]
) -> Float[Tensor, "channel height width"]:
    """Read and preprocess one image file.

    Args:
        path: the file.
        preprocess: as for :func:`load_images`.

    Returns:
        The image, in the units of ``preprocess``.

    Raises:
        FileNotFoundError: if it is missing.
        TypeError: if ``preprocess`` does not return a floating-point tensor.
        ValueError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (40, 30), 255).save(folder + "/white.png")
        ...     to_input(folder + "/white.png", rgb_preprocess(2)).shape
        torch.Size([3, 2, 2])
    """
    image = preprocess(load_image(path))
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"Expected preprocess to return a floating-point tensor, got {got}: end with ToDtype.")
    if image.ndim != 3:
        raise ValueError(
            f"Expected preprocess to return (channel, height, width), got {tuple(image.shape)} for {path}."
        )
    return image


def image_folder(directory: str | os.PathLike[str]) -> tuple[list[Path], list[str]]:
    """All image files below a folder, and the category of each.

    Files are told by their extension; hidden files and folders are left out.

    Args:
        directory: the folder, searched at any depth.

    Returns:
        The paths, sorted by folder and name, and for each the name of the subfolder of ``directory`` it is in,
        ``""`` where it lies in ``directory`` itself.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if no image is below it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "bodies").mkdir()
        ...     Image.new("L", (4, 3)).save(folder + "/bodies/hand.png")
        ...     paths, categories = image_folder(folder)
        >>> paths[0].name, categories
        ('hand.png', ['bodies'])
    """
    root = Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(f"Expected a folder of images, got no folder at {directory}: check the path.")
    inside = [path.relative_to(root).parts for path in root.rglob("*") if path.suffix.lower() in _EXTENSIONS]
    visible = sorted(parts for parts in inside if not any(part.startswith(".") for part in parts))
    found = [parts for parts in visible if root.joinpath(*parts).is_file()]
    if not found:
        raise ValueError(
            f"Expected images ({', '.join(sorted(_EXTENSIONS))}) below {directory}, got none: check the folder."
        )
    return [root.joinpath(*parts) for parts in found], [parts[0] if len(parts) > 1 else "" for parts in found]


def to_display(
    images: Float[Tensor, "*batch channel height width"], preprocess: Any
) -> Float[Tensor, "*batch channel height width"]:
    r"""Undo the normalisation of a preprocess, for looking at its images.

    .. math:: \min(\max(x_c \sigma_c + \mu_c, 0), 1)

    Args:
        images: preprocessed images, (image, channel, height, width) or one image (channel, height, width).
        preprocess: what they went through: a torchvision preset or ``Normalize`` with ``mean`` :math:`\mu` and
            ``std`` :math:`\sigma`, or a ``Compose`` that ends with one. Anything else leaves them as they are.

    Returns:
        RGB images in [0, 1], in the same shape, dtype and on the same device; values outside are clamped.

    Raises:
        ValueError: if the images have another shape, or another number of channels than ``mean``.

    Example:
        >>> to_display(torch.full((1, 1, 1), -2.0), v2.Normalize(mean=[0.5], std=[0.125]))
        tensor([[[0.2500]]])
    """
    last = (getattr(preprocess, "transforms", None) or [preprocess])[-1]
    if images.ndim not in (3, 4):
        raise ValueError(f"Expected images of shape (image, channel, height, width), got {tuple(images.shape)}.")
    if getattr(last, "mean", None) is None or getattr(last, "std", None) is None:
        return images.clamp(0, 1)
    mean, std = (torch.as_tensor(values).to(images).reshape(-1, 1, 1) for values in (last.mean, last.std))
    if len(mean) not in (1, images.shape[-3]):
        raise ValueError(
            f"Expected images with {len(mean)} channels, as many as preprocess.mean, got {images.shape[-3]}."
        )
    return (images * std + mean).clamp(0, 1)


def rgb_preprocess(size: int) -> Callable[[Image.Image], Tensor]:
    """Preprocess for a network that takes RGB in [0, 1]: shorter side to ``size``, then the central square.

    Args:
        size: height and width of the result in pixels, at least 1.

    Returns:
        A torchvision transform from an image to a float32 tensor (channel, height, width) in [0, 1].

    Raises:
        ValueError: if ``size`` is below 1.

    Example:
        >>> rgb_preprocess(2)(Image.new("RGB", (20, 10), (0, 51, 255)))[:, 0, 0]
        tensor([0.0000, 0.2000, 1.0000])
    """
    if size < 1:
        raise ValueError(f"Expected a size of at least 1 pixel, got {size}.")
    steps = [v2.Resize(size, antialias=True), v2.CenterCrop(size), v2.PILToTensor()]
    preprocess: Callable[[Image.Image], Tensor] = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
    return preprocess


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, of unknown range, where 8 bits or 16-bit grey are needed")
    if image.mode.startswith("I"):  # 16-bit grey, which older versions of Pillow open as 32-bit integers
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"pixels from {grey.min()} to {grey.max()}, where 16 bits (0 to 65535) are the most")
        grey = np.where(grey == image.info.get("transparency", -1), 65535, grey)
        image = Image.fromarray(np.rint(grey / 257).astype(np.uint8))
    if image.mode.endswith(("A", "a")) or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")
