"""One pass of a pair through the twins, and the shared weights backpropagated from its features."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal, final

import torch
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import LayerNames, NeuronSimilarity
from captum_shared.attr.twin_pass import Sink, Source, TwinPass
from captum_shared.neurons.readout import LinearReadout


@final
@dataclass(frozen=True, eq=False)
class PairPass:
    """The pass of a pair through the twins, from which any number of gradients can be taken.

    Pairs that share an image share its forward pass.

    Attributes:
        inputs: the pair.
        twins: the pass through either twin, with its graph.
        features: f(x) and f(r).
        activations: outputs of the layer that was asked for, in both twins; none if none was.
        compared: correspondences that were computed from it, by readout and neurons.
    """

    inputs: Pair
    twins: tuple[TwinPass, TwinPass]
    features: Pair
    activations: tuple[Tensor, ...]
    compared: dict[tuple[LinearReadout, tuple[int, ...]], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, similarity: NeuronSimilarity, inputs: Pair, layer: LayerNames | Literal[False] = False) -> PairPass:
        """Run the twins once, on modules that no other call sees.

        Args:
            similarity: the twins.
            inputs: the pair, checked (:func:`~captum_shared.attr.pairs.checked_pair`).
            layer: a layer of each, as of :meth:`NeuronSimilarity.layer_modules`; False for none.

        Returns:
            The pass.

        Raises:
            ValueError: if the features do not fit the readout, or the layer is not called or gives no tensor.

        Example:
            >>> from torch import nn
            >>> from captum_shared.neurons.readout import LinearReadout
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
            >>> from captum_shared.attr.pairs import checked_pair
            >>> pair = checked_pair((torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])))
            >>> PairPass.of(similarity, pair).gradients(similarity, 0)
            (tensor([[0.4800, 0.4800]]), tensor([[0.4800, 0.4800]]))
        """
        with torch.enable_grad():
            return cls._run(similarity, inputs, layer)

    @classmethod
    def without_gradients(
        cls, similarity: NeuronSimilarity, inputs: Pair, layer: LayerNames | Literal[False] = False
    ) -> PairPass:
        """Run the twins as :meth:`of` does, where only the features and activations are needed."""
        with torch.no_grad():
            return cls._run(similarity, inputs, layer)

    @classmethod
    def _run(cls, similarity: NeuronSimilarity, inputs: Pair, layer: LayerNames | Literal[False]) -> PairPass:
        images_first = layer is False or layer is None  # which the output of a layer inside need not be
        with similarity.own() as own:
            twins = own.image_features, own.reference_features
            modules = (None, None) if layer is False else own.layer_modules(layer)
            first, second = (
                TwinPass.of(partial(own.encoded, twin), images, module, shared=images_first)
                for twin, images, module in zip(twins, inputs, modules, strict=True)
            )
        activations = (activation for twin in (first, second) if (activation := twin.activation()) is not None)
        return cls(inputs, (first, second), (first.features(), second.features()), tuple(activations))

    def gradients(self, similarity: NeuronSimilarity, target: TargetType, sink: Sink = "images") -> Pair:
        """Backpropagate the shared weights h, held constant, from the features of both images.

        Args:
            similarity: whose shared weights; of the same encoders, but maybe another readout or mean.
            target: the neuron, as in Captum.
            sink: to where.

        Returns:
            The gradient of h·f(x) + h·f(r) at the images, or at the layer.
        """
        weights = similarity.weigh(*self.features, target)
        return self.backpropagated((weights, weights), "features", sink)

    def backpropagated(self, cotangents: Pair, source: Source, sink: Sink = "images") -> Pair:
        """Backpropagate whatever one likes, in both twins.

        Args:
            cotangents: with the shape of the features or of the activations.
            source: from where.
            sink: to where.

        Returns:
            Gradients in both twins.
        """
        first, second = (
            twin.backpropagated(cotangent, source, sink) for twin, cotangent in zip(self.twins, cotangents, strict=True)
        )
        return first, second
