"""The network and the device of a command."""

from collections.abc import Sequence
from typing import Final

import torch

from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name, layers_by_name
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.pooling import Pool

AUTO: Final = "auto"
"""Name of a layer that stands for several depths."""


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


def layered_encoder(
    model: str, layers: Sequence[str], weights: str | None, *, pool: Pool = "average"
) -> LatentFeatures | LayerFeatures:
    """Return the network of a name at one or several layers.

    Args:
        model: its name.
        layers: where to cut it; ``"auto"`` stands for several depths.
        weights: its weights; None for the embedded network.
        pool: how the positions of the layers are summarised.

    Returns:
        The encoder, on the CPU.

    Raises:
        ValueError: as :func:`encoder`, or if ``"auto"`` is one of several.
    """
    if len(layers) == 1 and layers[0] != AUTO:
        return encoder(model, layers[0], weights, pool=pool)
    _check_weights(model, weights)
    if AUTO in layers and len(layers) > 1:
        raise ValueError(f"Expected {AUTO!r} or names of layers, got both: {', '.join(layers)}.")
    return layers_by_name(model, None if AUTO in layers else layers, weights=weights, pool=pool)


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
    _check_weights(model, weights)
    return encoder_by_name(model, layer, weights=weights, pool=pool)


def _check_weights(model: str, weights: str | None) -> None:
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
