"""Encoders by the name of their network."""

from pathlib import Path
from typing import Final

from captum_shared.encoders.embedded import embedded_network
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.pooling import Pool
from captum_shared.images import rgb_preprocess

EMBEDDED: Final = "embedded"
"""The name of the network that ships with the package."""

_EMBEDDED_SIZE: Final = 112  # pixels


def encoder_by_name(
    model: str, layer: str, *, weights: str | Path | None = None, pool: Pool = "average"
) -> LatentFeatures:
    """Build the encoder that a command line or a notebook names.

    Args:
        model: ``"embedded"`` for the network of the package, or a model of torchvision.
        layer: name of the layer.
        weights: for torchvision, a weights entry or a file; None for random weights. The embedded network has its own.
        pool: the pooling.

    Returns:
        The features, with the ``preprocess`` that belongs to them.

    Raises:
        FileNotFoundError: if ``weights`` is neither an entry nor a file.
        ValueError: if model, weights, layer or pooling do not fit.

    Example:
        >>> encoder_by_name("embedded", "features").feature_shape
        (128,)
    """
    if model != EMBEDDED:
        return LatentFeatures.from_torchvision(model, weights=weights, layer=layer, pool=pool)
    if weights is not None:
        raise ValueError("The embedded network comes with its weights: leave out the weights, or name another model.")
    features = LatentFeatures(embedded_network(), layer, pool=pool)
    features.preprocess = rgb_preprocess(_EMBEDDED_SIZE)
    return features
