"""The network and the device of a command."""

import torch

from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.pooling import Pool


def available(device: str) -> torch.device:
    """Return the device of a name.

    Args:
        device: its name.

    Returns:
        The device.

    Raises:
        ValueError: if it is not available.

    Example:
        >>> available("cpu")
        device(type='cpu')
    """
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"The device {device!r} is not available here ({str(error).splitlines()[0]}). Use --device cpu."
        ) from error


def encoder(model: str, layer: str | None, weights: str | None, *, pool: Pool = "average") -> LatentFeatures:
    """Return the network of a name, cut at a layer.

    Args:
        model: its name.
        layer: where to cut it; None for the last layer that has positions.
        weights: its weights; None for the embedded network.
        pool: how the positions of the layer are summarised.

    Returns:
        The encoder, on the CPU.

    Raises:
        ValueError: if weights are missing, or as :func:`~captum_shared.encoders.encoder_by_name`.
    """
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
    return encoder_by_name(model, layer, weights=weights, pool=pool)
