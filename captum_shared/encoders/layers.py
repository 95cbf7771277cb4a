"""Latent features of several layers in one pass through the network."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from captum_shared._progress import Progress
from captum_shared.encoders.catalogue import layer_outputs
from captum_shared.encoders.cutting import check_layer
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.pooling import Pool
from captum_shared.encoders.twins import Spares

_N_DEPTHS = 6


@final
class LayerFeatures(nn.Module):
    """Several layers of a network at once: images in, the latent features of each layer out.

    Each layer's features are those of ``LatentFeatures(model, layer, pool=pool)``, bit for bit. The network is cut at
    the deepest of the layers, so that nothing after it runs (where the model cannot be traced, all of it runs).

    Args:
        model: a network as for ``LatentFeatures``; it is left as it is.
        layers: names of its layers; quickest to prepare with the deepest last.
        pool: how positions are summarised, as for ``LatentFeatures``.

    Attributes:
        layers: the names of the layers.
        pool: the pooling.
        deepest: the network, cut at the deepest layer; its ``preprocess`` is that of all layers.
        cuts: for each layer an identity whose output is the activation there, as ``cut`` of ``LatentFeatures``.

    Raises:
        TypeError: if ``layers`` is a single name.
        ValueError: if there is no such layer (close matches are listed), none is named, the pooling is unknown, or none
            of the layers comes after all the others, as in parallel branches.

    Example:
        >>> import torchvision
        >>> features = LayerFeatures(torchvision.models.squeezenet1_1(), ["features.3", "features.6"])
        >>> {layer: tuple(values.shape) for layer, values in features(torch.zeros(2, 3, 64, 64)).items()}
        {'features.3': (2, 128), 'features.6': (2, 256)}
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], *, pool: Pool = "average") -> None:
        super().__init__()
        if isinstance(layers, str):
            raise TypeError(f"Expected a sequence of names of layers, got {layers!r}: pass [{layers!r}].")
        if len(layers) == 0:
            raise ValueError("Expected the name of at least one layer, got none.")
        self.layers: tuple[str, ...] = tuple(layers)
        self.pool: Pool = pool
        self.deepest: LatentFeatures = _cut_after_all(model, self.layers, pool)
        self.cuts = nn.ModuleList(nn.Identity() for _ in self.layers)
        self._model = [model]  # in a list, so that it is no part of the features
        self._spares = Spares()

    def forward(self, images: Float[Tensor, "image channel height width"]) -> dict[str, Float[Tensor, "image _"]]:
        """Compute the latent features of all layers.

        Args:
            images: network inputs.

        Returns:
            For each layer one row of features an image.

        Raises:
            ValueError: if a layer's output is not a tensor, cannot be pooled as asked, or is never computed.
        """
        latent: dict[str, Tensor] = {}

        def keep(layer: str, cut: nn.Module) -> Callable[[nn.Module, Any, object], None]:
            pooling = replace(self.deepest.pooling, layer=layer)

            def hook(module: nn.Module, inputs: Any, output: object) -> None:
                activation = cut(pooling.activation(output, images))
                last = isinstance(output, Tensor) and pooling.positions.are_before_channels(output, images)
                features = pooling.features(activation, channels_last=last)
                latent[layer] = features.flatten(1).clone()  # what comes after may overwrite it

            return hook

        self.deepest.follow(images)
        with self._spares.lent(self.deepest) as deepest:  # where hooks are seen by this call only
            hooks = [
                deepest.layer_module(layer).register_forward_hook(keep(layer, cut))
                for layer, cut in zip(self.layers, self.cuts, strict=True)
            ]
            _network(deepest)(images)
            for hook in hooks:
                hook.remove()
        missing = [layer for layer in self.layers if layer not in latent]
        if missing:
            raise ValueError(f"The model never calls {', '.join(map(repr, missing))}. Choose other layers.")
        return {layer: latent[layer] for layer in self.layers}

    @torch.no_grad()
    def compute(
        self, images: Float[Tensor, "image channel height width"], *, batch_size: int = 32, progress: bool = False
    ) -> dict[str, Float[Tensor, "image _"]]:
        """Compute the latent features of many images, batch by batch and without gradients.

        Args:
            images: network inputs, on the network's device.
            batch_size: how many pass through the network at a time.
            progress: whether to show a progress bar.

        Returns:
            For each layer one row of features an image.

        Example:
            >>> features = LayerFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), ["0", "1"])
            >>> features.compute(torch.zeros(5, 3, 8, 8), batch_size=2)["1"].shape
            torch.Size([5, 4])
        """
        batches = Progress(
            torch.split(images, batch_size), desc="features of the layers", unit="batch", disable=not progress
        )
        computed = [self(batch) for batch in batches]
        return {layer: torch.cat([features[layer] for features in computed]) for layer in self.layers}

    def at(self, layer: str) -> LatentFeatures:
        """Cut the network at one layer.

        Args:
            layer: one of the layers.

        Returns:
            Its features, on the same device and with the same ``preprocess``.

        Raises:
            ValueError: if it is none of the layers.

        Example:
            >>> LayerFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), ["0", "1"]).at("0").layer
            '0'
        """
        check_layer(layer, list(self.layers), "these features")
        features = LatentFeatures(self._model[0], layer, pool=self.pool)
        features.preprocess, features.name = self.deepest.preprocess, self.deepest.name
        like = next((each for each in self.deepest.parameters() if each.is_floating_point()), None)
        return features if like is None else features.to(like.device, like.dtype)


def several_depths(network: nn.Module, images: Float[Tensor, "image channel height width"]) -> list[str]:
    """Choose layers to compare: six depths, or as many as there are, in the later half of a network up to the last.

    They have positions, and are named on the highest level that has so many of them, such as the stages of a ResNet or
    the blocks of a SqueezeNet (choice). Of layers with the same output the one with the shortest name counts.

    Args:
        network: the network.
        images: inputs of it, one or more.

    Returns:
        Names of layers, the deepest last.

    Raises:
        ValueError: if no layer has positions.

    Example:
        >>> import torchvision
        >>> several_depths(torchvision.models.resnet18(), torch.rand(1, 3, 64, 64))
        ['relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    by_content: dict[tuple[float, float], str] = {}
    for output in layer_outputs(network, images):
        if output.grid is not None:
            names = (by_content.pop(output.content, output.name), output.name)
            by_content[output.content] = min(names, key=_level)
    if not by_content:
        raise ValueError(f"No layer of {type(network).__name__} has positions that can be told. Name a layer.")
    layers = list(by_content.values())
    levels = [[layer for layer in layers if _level(layer) <= level] for level in range(1 + max(map(_level, layers)))]
    named = next((level for level in levels if len(level) >= _N_DEPTHS), layers)
    later = named[-max(_N_DEPTHS, len(named) // 2) :]
    return [later[round(index)] for index in np.linspace(0, len(later) - 1, min(_N_DEPTHS, len(later)))]


def _network(features: LatentFeatures) -> nn.Module:
    """What has to run; all of a model that cannot be traced, as only then the last call of each layer is seen."""
    return features if isinstance(features.network, fx.GraphModule) else features.network.get_submodule("model")


def _level(layer: str) -> int:
    return layer.count(".") + layer.count(":")


def _cut_after_all(model: nn.Module, layers: tuple[str, ...], pool: Pool) -> LatentFeatures:
    """Cut the network at the layer that comes after all others."""
    for layer in reversed(layers):
        features = LatentFeatures(model, layer, pool=pool)
        if set(layers) <= set(features.layers):
            return features
    raise ValueError(
        f"Expected one of the layers {', '.join(map(repr, layers))} to come after all the others, but none does: "
        "name one more that does, such as the block around them, or take them one at a time."
    )
