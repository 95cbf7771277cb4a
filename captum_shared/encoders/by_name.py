"""Encoders by the name of their network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import Tensor, nn

from captum_shared.encoders.checkpoints import load_torchvision
from captum_shared.encoders.embedded import load_embedded
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.pooling import Pool

EMBEDDED: Final = "embedded"
"""The name of the network that ships with the package."""

Load: TypeAlias = Callable[[str, str | Path | None], tuple[nn.Module, Callable[[Any], Tensor]]]
"""From the name and the weights of a network to the network and its preprocessing, from a photograph to its input."""

FAMILIES: Final[dict[str, Load]] = {EMBEDDED: load_embedded}
"""What loads a network, by what stands before the colon of its name, if there is one; torchvision loads all others."""


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
    load = FAMILIES.get(model.partition(":")[0], load_torchvision)
    network, preprocess = load(model, weights)
    features = LatentFeatures(network, layer, pool=pool)
    features.preprocess = preprocess
    return features
