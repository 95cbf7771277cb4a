"""Photographs as an encoder sees them, and their latent features."""

import os
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from captum_shared._progress import Progress
from captum_shared.encoders.features import LatentFeatures
from captum_shared.images import load_images

_BATCH = 32
_MID_GREY = 128


def load_inputs(
    features: LatentFeatures, paths: Sequence[str | os.PathLike[str]]
) -> Float[Tensor, "image channel height width"]:
    """Read photographs as the encoder wants them.

    Args:
        features: the encoder, with its ``preprocess`` set.
        paths: image files, at least one.

    Returns:
        Inputs of the network, on its device and in its precision.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if ``preprocess`` is not set, or a file cannot be read.
    """
    like = next((each for each in features.parameters() if each.is_floating_point()), torch.empty(0))
    return load_images(paths, needed_preprocess(features)).to(like)


def needed_preprocess(features: LatentFeatures) -> Callable[[Image.Image], Tensor]:
    """Return how a photograph becomes the input of a network.

    Args:
        features: the encoder.

    Returns:
        Its ``preprocess``.

    Raises:
        ValueError: if it is not set.

    Example:
        >>> needed_preprocess(LatentFeatures(nn.Sequential(nn.Identity()), "0"))
        Traceback (most recent call last):
        ValueError: Expected features that know how a photograph becomes their input, ...
    """
    if features.preprocess is None:
        raise ValueError(
            "Expected features that know how a photograph becomes their input, but features.preprocess is None. Set "
            "it, or build them with LatentFeatures.from_torchvision."
        )
    return features.preprocess


@torch.no_grad()
def latent_features(
    features: LatentFeatures, paths: Sequence[str | os.PathLike[str]], *, progress: bool = False
) -> Float[Tensor, "image feature"]:
    """Compute the latent features of photographs, of which one batch at a time is in memory.

    Args:
        features: the encoder, with its ``preprocess`` set.
        paths: image files, at least one.
        progress: whether to show a progress bar.

    Returns:
        Features, in the order of the files, on the encoder's device.

    Raises:
        FileNotFoundError: as :func:`load_inputs`.
        ValueError: as :func:`load_inputs`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from captum_shared.images import rgb_preprocess
        >>> features = LatentFeatures(torch.nn.Sequential(torch.nn.Identity()), "0")
        >>> features.preprocess = rgb_preprocess(8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8), (0, 51, 255)).save(f"{folder}/blue.png")
        ...     latent_features(features, [f"{folder}/blue.png"])
        tensor([[0.0000, 0.2000, 1.0000]])
    """
    starts = Progress(range(0, len(paths), _BATCH), desc="features", unit="batch", disable=not progress)
    return torch.cat([features(load_inputs(features, paths[start : start + _BATCH])) for start in starts])


def takes(features: LatentFeatures, images: Float[Tensor, "image channel height width"]) -> bool:
    """Tell whether a network takes images of a size, which those with a fixed number of tokens do not.

    Args:
        features: the encoder.
        images: of that size, at least one.

    Returns:
        Whether it runs on the first of them.

    Example:
        >>> takes(LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 5)), "0"), torch.zeros(1, 3, 4, 4))
        False
    """
    try:
        with torch.no_grad():
            features(images[:1])
    except Exception:  # networks check their input in any way
        return False
    return True


def mid_grey(encoder: nn.Module, images: Tensor) -> Float[Tensor, "image channel height width"]:
    """Return a mid-grey photograph as the network sees it: where paths start, and what hides a window.

    From black, paths through bright images are poor. Grey is what the ``preprocess`` of the encoder makes of a grey
    photograph; where it has none, pixels are taken to lie between 0 and 1, so that it is 0.5.

    Args:
        encoder: the encoder.
        images: its inputs.

    Returns:
        A grey image for each of them.

    Example:
        >>> mid_grey(nn.Flatten(), torch.rand(1, 3, 1, 1)).flatten()
        tensor([0.5000, 0.5000, 0.5000])
    """
    preprocess = getattr(encoder, "preprocess", None)
    if preprocess is None:
        return torch.full_like(images, 0.5, requires_grad=False)
    colour: Tensor = preprocess(Image.new("RGB", (64, 64), (_MID_GREY,) * 3)).mean((1, 2))
    return colour.to(images)[:, None, None].expand(images.shape)
