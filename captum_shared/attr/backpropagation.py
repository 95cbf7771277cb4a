"""One pass of a pair through the twins, and the shared weights backpropagated from its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from captum_shared.attr._captum import TargetType
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.similarity import LayerNames, NeuronSimilarity
from captum_shared.encoders.twins import evaluation_mode


@final
@dataclass(frozen=True, eq=False)
class PairPass:
    """The pass of a pair through the twins, from which any number of gradients can be taken.

    Attributes:
        inputs: the pair.
        features: f(x) and f(r), with their graph.
        activations: outputs of the modules that were asked for, in their order, with their graph.
    """

    inputs: Pair
    features: Pair
    activations: tuple[Tensor, ...]

    @classmethod
    def of(cls, similarity: NeuronSimilarity, inputs: Pair, modules: Sequence[nn.Module] = ()) -> PairPass:
        """Run the twins once.

        Args:
            similarity: the twins.
            inputs: the pair, checked (:func:`~captum_shared.attr.pairs.checked_pair`).
            modules: of the twins, whose outputs to keep: of several calls the last.

        Returns:
            The pass.

        Raises:
            ValueError: if the features do not fit the readout, or a module is not called or gives no tensor.

        Example:
            >>> from captum_shared.neurons.readout import LinearReadout
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
            >>> pair = checked_pair((torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])))
            >>> PairPass.of(similarity, pair).gradients(similarity, 0, pair)
            (tensor([[0.4800, 0.4800]]), tensor([[0.4800, 0.4800]]))
        """
        with evaluation_mode(similarity), torch.enable_grad(), ExitStack() as stack:
            kept = [stack.enter_context(_last_output(module)) for module in modules]
            features = similarity.latent_features(*inputs)
        return cls(inputs, features, tuple(_tensor(outputs, at) for outputs, at in zip(kept, modules, strict=True)))

    def gradients(
        self, similarity: NeuronSimilarity, target: TargetType, tensors: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Backpropagate the shared weights h, held constant, from the features of both images.

        Args:
            similarity: whose shared weights; of the same encoders, but maybe another readout or mean.
            target: the neuron, as in Captum.
            tensors: images, references or activations.

        Returns:
            The gradient of h·f(x) + h·f(r) at each of them.
        """
        weights = similarity.weigh(self.features[0].detach(), self.features[1].detach(), target)
        return torch.autograd.grad(self.features, tensors, (weights, weights), retain_graph=True)


@final
@dataclass(frozen=True)
class Backpropagation:
    """Maps of a pair that come from the same pass.

    Attributes:
        features: f(x) and f(r), not centred: with them the similarity costs nothing
            (:meth:`NeuronSimilarity.of_features`).
        pixel_maps: as of ``ParallelSharedAttribution(similarity)``.
        layer_maps: as of ``LayerSharedAttribution(similarity, layer)``.
    """

    features: Pair
    pixel_maps: Pair
    layer_maps: Pair


def backpropagate(
    similarity: NeuronSimilarity, inputs: Pair, target: TargetType = None, *, layer: LayerNames = None
) -> Backpropagation:
    """Compute the plain-gradient maps of the pixels and the maps at a layer in one forward and one backward pass.

    Args:
        similarity: encoder and readout.
        inputs: the pair (images, references).
        target: the neuron, as in :meth:`ParallelSharedAttribution.attribute`.
        layer: name of a layer as for :class:`~captum_shared.LayerSharedAttribution`; None for the cut.

    Returns:
        The maps of :class:`~captum_shared.ParallelSharedAttribution` and of
        :class:`~captum_shared.LayerSharedAttribution`, and the features.

    Raises:
        TypeError: if ``inputs`` is not a pair of floating-point tensors.
        ValueError: if the pair is empty, of unequal lengths or not finite, or does not fit the readout, or there is no
            such layer.
        RuntimeError: in inference mode.

    Example:
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> similarity = NeuronSimilarity(LatentFeatures(network, "1"), LinearReadout(torch.randn(5, 4)))
        >>> images, references = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
        >>> maps = backpropagate(similarity, (images, references), target=3)
        >>> maps.pixel_maps[0].shape, maps.layer_maps[0].shape
        (torch.Size([2, 3, 8, 8]), torch.Size([2, 4, 6, 6]))
    """
    pair = checked_pair(inputs)
    result = PairPass.of(similarity, pair, similarity.layer_modules(layer))
    first, second, *at_layer = result.gradients(similarity, target, (*pair, *result.activations))
    layer_maps = [gradient * activation for gradient, activation in zip(at_layer, result.activations, strict=True)]
    return Backpropagation(
        (result.features[0].detach(), result.features[1].detach()),
        (first.contiguous(), second.contiguous()),
        (layer_maps[0].detach().contiguous(), layer_maps[1].detach().contiguous()),
    )


@contextmanager
def _last_output(module: nn.Module) -> Iterator[list[object]]:
    """The output of the last call of a module, guarded against what is done to it in place afterwards."""
    outputs: list[object] = []

    def keep(module: nn.Module, inputs: Any, output: object) -> object:
        if isinstance(output, Tensor) and output.is_floating_point() and not output.requires_grad:
            output.requires_grad_()  # as that of a frozen embedding, whose inputs have no gradient
        outputs[:] = [output]
        return output.clone() if isinstance(output, Tensor) else output

    handle = module.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


def _tensor(outputs: list[object], module: nn.Module) -> Tensor:
    output = outputs[0] if outputs else None
    if not isinstance(output, Tensor):
        got = f"gives a {type(output).__name__}" if outputs else "is never called"
        raise ValueError(
            f"Expected a layer with one tensor as its output, but the {type(module).__name__} {got}. Choose another "
            "layer, such as the block around it."
        )
    return output
