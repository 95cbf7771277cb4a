"""One pass of a pair through the twins, and the shared weights backpropagated from its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from captum_shared.attr._captum import TargetType
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import LayerNames, NeuronSimilarity


@final
@dataclass(frozen=True, eq=False)
class PairPass:
    """The pass of a pair through the twins, from which any number of gradients can be taken.

    Attributes:
        inputs: the pair.
        features: f(x) and f(r), with their graph.
        activations: outputs of the layer that was asked for, in both twins, with their graph.
    """

    inputs: Pair
    features: Pair
    activations: tuple[Tensor, ...]

    @classmethod
    def of(cls, similarity: NeuronSimilarity, inputs: Pair, layer: LayerNames | Literal[False] = False) -> PairPass:
        """Run the twins once.

        Args:
            similarity: the twins.
            inputs: the pair, checked (:func:`~captum_shared.attr.pairs.checked_pair`).
            layer: as of :func:`features_and_activations`.

        Returns:
            The pass.

        Raises:
            ValueError: as :func:`features_and_activations`.

        Example:
            >>> from captum_shared.neurons.readout import LinearReadout
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
            >>> from captum_shared.attr.pairs import checked_pair
            >>> pair = checked_pair((torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])))
            >>> PairPass.of(similarity, pair).gradients(similarity, 0, pair)
            (tensor([[0.4800, 0.4800]]), tensor([[0.4800, 0.4800]]))
        """
        with torch.enable_grad():
            return cls(inputs, *features_and_activations(similarity, inputs, layer))

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


def features_and_activations(
    similarity: NeuronSimilarity, inputs: Pair, layer: LayerNames | Literal[False] = None
) -> tuple[Pair, tuple[Tensor, ...]]:
    """Run the twins once, on modules that no other call sees.

    Args:
        similarity: the twins.
        inputs: the pair.
        layer: a layer of each, as of :meth:`NeuronSimilarity.layer_modules`; False for none.

    Returns:
        f(x) and f(r), and the outputs of the layer in both: of several calls the last.

    Raises:
        ValueError: if the features do not fit the readout, or the layer is not called or gives no tensor.
    """
    with similarity.own() as own, ExitStack() as stack:
        modules = () if layer is False else own.layer_modules(layer)
        kept = [stack.enter_context(_last_output(module)) for module in modules]
        features = own.latent_features(*inputs)
    return features, tuple(_tensor(outputs, at) for outputs, at in zip(kept, modules, strict=True))


@contextmanager
def _last_output(module: nn.Module) -> Iterator[list[object]]:
    """The output of the last call of a module; if it has gradients, guarded against what is done to it in place."""
    outputs: list[object] = []

    def keep(module: nn.Module, inputs: Any, output: object) -> object:
        outputs[:] = [output]
        if not (isinstance(output, Tensor) and torch.is_grad_enabled()):
            return output
        if output.is_floating_point() and not output.requires_grad:
            output.requires_grad_()  # as that of a frozen embedding, whose inputs have no gradient
        return output.clone()

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
