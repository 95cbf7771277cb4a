"""Encoders by the name of their network."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import Tensor, nn

from captum_shared.encoders.catalogue import last_layer_with_positions
from captum_shared.encoders.checkpoints import example_input, load_torchvision, load_weights
from captum_shared.encoders.embedded import load_embedded
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.huggingface_models import load_huggingface
from captum_shared.encoders.layers import LayerFeatures, several_depths
from captum_shared.encoders.pooling import Pool
from captum_shared.encoders.timm_models import load_timm

EMBEDDED: Final = "embedded"
"""The name of the network that ships with the package."""

EMBEDDED_LAYER: Final = "features"
"""The last of its layers that has positions."""

Load: TypeAlias = Callable[[str, str | Path | None], tuple[nn.Module, Callable[[Any], Tensor]]]
"""From the name and the weights of a network to the network and its preprocessing, from a photograph to its input."""

FAMILIES: Final[dict[str, Load]] = {EMBEDDED: load_embedded, "timm": load_timm, "hf": load_huggingface}
"""What loads a network, by what stands before the colon of its name, if there is one; torchvision loads all others."""


def encoder_by_name(
    model: str, layer: str | None = None, *, weights: str | Path | None = None, pool: Pool = "average"
) -> LatentFeatures:
    """Build the encoder that a command line or a notebook names.

    Args:
        model: ``"embedded"`` for the network of the package, a model of torchvision, ``"timm:"`` and a model of timm,
            or ``"hf:"`` and a vision model of Hugging Face.
        layer: name of the layer; None for the last that has positions (:func:`last_layer_with_positions`).
        weights: ``"DEFAULT"`` for those that belong to the name, another weights entry of torchvision, a file, of timm
            and Hugging Face also a local folder; None for random weights. The embedded network has its own. Of a file,
            what runs after the layer need not fit.
        pool: the pooling.

    Returns:
        The features, with the ``preprocess`` that belongs to them.

    Raises:
        FileNotFoundError: if ``weights`` is neither an entry nor a file.
        ImportError: if the package of the network is not installed.
        ValueError: if model, weights, layer or pooling do not fit.

    Example:
        >>> encoder_by_name("embedded").layer
        'features'
    """
    network, preprocess, file = network_by_name(model, weights)
    if layer is None:
        own = model == EMBEDDED
        layer = EMBEDDED_LAYER if own else last_layer_with_positions(network, example_input(preprocess))
    features = LatentFeatures(network, layer, pool=pool)
    features.preprocess, features.name = preprocess, model
    if file is not None:  # into the memory that the features share
        load_weights(network, file, name=model, layer=layer, images=example_input(preprocess))
    return features


def layers_by_name(
    model: str, layers: Sequence[str] | None = None, *, weights: str | Path | None = None, pool: Pool = "average"
) -> LayerFeatures:
    """Build the features of several layers of a network, to choose among them.

    Args:
        model: as for :func:`encoder_by_name`.
        layers: names of the layers; None for :func:`~captum_shared.encoders.layers.several_depths`.
        weights: as for :func:`encoder_by_name`.
        pool: the pooling.

    Returns:
        The features of the layers, with the ``preprocess`` that belongs to them.

    Raises:
        FileNotFoundError: as :func:`encoder_by_name`.
        ImportError: as :func:`encoder_by_name`.
        ValueError: as :func:`encoder_by_name`, or if no layer has positions.

    Example:
        >>> layers_by_name("embedded", ["features.9", "features"]).deepest.layer
        'features'
    """
    network, preprocess, file = network_by_name(model, weights)
    images = example_input(preprocess)
    features = LayerFeatures(network, layers or several_depths(network, images), pool=pool)
    features.deepest.preprocess, features.deepest.name = preprocess, model
    if file is not None:  # into the memory that the features share
        load_weights(network, file, name=model, layer=features.deepest.layer, images=images)
    return features


def network_by_name(
    model: str, weights: str | Path | None = None
) -> tuple[nn.Module, Callable[[Any], Tensor], Path | None]:
    """Load a network.

    Args:
        model: its name, as for :func:`encoder_by_name`.
        weights: as for :func:`encoder_by_name`.

    Returns:
        The network, its preprocessing, and the file of its weights if they are in one and are not loaded yet.

    Raises:
        FileNotFoundError: if ``weights`` is neither an entry nor a file.
        ImportError: if the package of the network is not installed.
        ValueError: if model or weights do not fit.

    Example:
        >>> type(network_by_name("resnet18")[0]).__name__
        'ResNet'
    """
    family = model.partition(":")[0]
    load = FAMILIES.get(family, load_torchvision)
    by_itself = family in (EMBEDDED, "hf")  # the one has its own weights, the other renames them
    file = Path(weights) if weights is not None and not by_itself and Path(weights).is_file() else None
    network, preprocess = load(model, weights if file is None else None)
    return network, preprocess, file
