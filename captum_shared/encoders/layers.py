"""Latent features of several layers in one pass through the network."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from tqdm import tqdm

from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.pooling import Pool


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
        deepest: the network, cut at the deepest layer.

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

        def keep(layer: str) -> Callable[[nn.Module, Any, object], None]:
            pooling = replace(self.deepest.pooling, layer=layer)

            def hook(module: nn.Module, inputs: Any, output: object) -> None:
                activation = pooling.activation(output, images)
                last = isinstance(output, Tensor) and pooling.positions.are_before_channels(output, images)
                features = pooling.features(activation, channels_last=last)
                latent[layer] = features.flatten(1).clone()  # what comes after may overwrite it

            return hook

        with contextlib.ExitStack() as hooks:
            for layer in self.layers:
                hooks.enter_context(self.deepest.layer_module(layer).register_forward_hook(keep(layer)))
            self._network(images)
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
        batches = tqdm(torch.split(images, batch_size), desc="features of the layers", disable=not progress)
        computed = [self(batch) for batch in batches]
        return {layer: torch.cat([features[layer] for features in computed]) for layer in self.layers}

    @property
    def _network(self) -> nn.Module:
        """What has to run; all of a model that cannot be traced, as only then the last call of each layer is seen."""
        cut = self.deepest.network
        return self.deepest if isinstance(cut, fx.GraphModule) else cut.get_submodule("model")


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
