"""Inputs that a network does not take, told by a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def check_is_tensor(inputs: object, name: str = "images") -> None:
    """Raise a TypeError unless inputs are a tensor.

    Args:
        inputs: what the caller gave.
        name: what they are, for the message.

    Raises:
        TypeError: if they are anything else, such as an array.

    Example:
        >>> check_is_tensor([[1.0]])
        Traceback (most recent call last):
        TypeError: images must be a tensor, but are a list. Convert them, as with torch.as_tensor(images).
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"{name} must be a tensor, but are a {type(inputs).__name__}. Convert them, as with "
            f"torch.as_tensor({name})."
        )


def check_images(images: object) -> None:
    """Raise an error unless images are a tensor with four axes.

    Args:
        images: what the caller gave.

    Raises:
        TypeError: if they are no tensor.
        ValueError: if they have other than four axes.
    """
    check_is_tensor(images)
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(
            f"Expected images of shape (image, channel, height, width), but got {tuple(images.shape)}. For one "
            "image use image[None]."
        )


@contextmanager
def inputs_told(network: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Say what is wrong with inputs, where a network fails on them and they are not like its weights.

    Args:
        network: what runs meanwhile.
        inputs: what it is given.

    Yields:
        Nothing.

    Raises:
        TypeError: if the inputs have another dtype than the weights.
        ValueError: if they are on another device.

    Example:
        >>> import torch
        >>> network = nn.Linear(2, 1)
        >>> with inputs_told(network, torch.zeros(1, 2).half()):
        ...     network(torch.zeros(1, 2).half())
        Traceback (most recent call last):
        TypeError: The images are torch.float16, but the network's weights torch.float32. Convert the images with ...
    """
    try:
        yield
    except (RuntimeError, TypeError, NotImplementedError) as error:
        like = next((tensor for tensor in network.parameters() if tensor.is_floating_point()), None)
        if like is None:
            raise
        if inputs.device != like.device:
            raise ValueError(
                f"The images are on {inputs.device}, but the network on {like.device}. Move the images with "
                f".to({str(like.device)!r}), or the network."
            ) from error
        if inputs.dtype != like.dtype:
            whole = "" if inputs.is_floating_point() else ", in the range that it takes"
            raise TypeError(
                f"The images are {inputs.dtype}, but the network's weights {like.dtype}. Convert the images with "
                f".to({like.dtype}){whole}, or the network."
            ) from error
        raise
