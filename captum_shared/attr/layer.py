"""Shared-feature maps at a layer."""

from typing import Any, final

from captum.attr import GradientAttribution, LayerAttribution
from torch import Tensor

from captum_shared.attr._captum import TargetType, log_usage
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.neuron_maps import NeuronMaps, Neurons, Reduce, Strategy, gradient_maps, listed_neurons
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.projection import SharedProjection
from captum_shared.attr.similarity import LayerNames, NeuronSimilarity


@final
class LayerSharedAttribution(LayerAttribution, GradientAttribution):
    r"""The shared-feature maps at a layer inside the twins: gradient of x ↦ h·f(x) times activation, at the layer.

    .. math:: \mathrm{map}(x) = \frac{\partial\, h \cdot f(x)}{\partial a(x)} \circ a(x)

    At the cut with average pooling this is h ∘ a(x) over the number of positions: which shared feature is active
    where. Summed over the layer it is then exactly h·f(x).

    Args:
        similarity: encoder and readout.
        layer: name of a layer up to the cut (as in the original model, for
            :class:`~captum_shared.LatentFeatures`; within the encoder, for any other), or None for the cut; or a pair
            of these, one of each encoder, such as ``(None, "embedding")`` for images and sentences.
        multiply_by_inputs: whether to multiply by the activation.

    Raises:
        TypeError: if ``similarity`` is not a :class:`NeuronSimilarity`.
        ValueError: if there is no such layer.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> similarity = NeuronSimilarity(LatentFeatures(network, "1"), LinearReadout(torch.randn(5, 4)))
        >>> method = LayerSharedAttribution(similarity)
        >>> images = torch.rand(2, 3, 8, 8)
        >>> image_maps, reference_maps = method.attribute((images, images.flip(0)), target=3)
        >>> method.interpolate(image_maps.sum(1, keepdim=True), (8, 8), "bilinear").shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self, similarity: NeuronSimilarity, layer: LayerNames = None, *, multiply_by_inputs: bool = True
    ) -> None:
        if not isinstance(similarity, NeuronSimilarity):
            raise TypeError(f"similarity must be a NeuronSimilarity, but got {type(similarity).__name__}.")
        super().__init__(similarity, similarity.layer_modules(layer))
        self.projection = SharedProjection(similarity)
        self._layer: LayerNames = layer
        self._multiplies_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold the activations as a factor."""
        return self._multiplies_by_inputs

    @log_usage()
    def attribute(self, inputs: Pair, target: TargetType = None) -> Pair:
        """Compute the two maps, in one forward pass of both images, and one backward pass that ends at the layer.

        Args:
            inputs: the pair (images, references); whole-number inputs such as token ids will do here.
            target: the neuron, as in :meth:`ParallelSharedAttribution.attribute`.

        Returns:
            The maps of the images and of the references, each with the shape of the layer's activation, to be
            brought to the size of the image with ``interpolate``.

        Raises:
            TypeError: if ``inputs`` is not a pair of tensors.
            ValueError: if the pair is empty, of unequal lengths or not finite, or does not fit the readout, or the
                layer is not called or gives no tensor.
            RuntimeError: in inference mode.
        """
        result = PairPass.of(self.forward_func, checked_pair(inputs, differentiable=False), self._layer)
        return self._finished(result.gradients(self.forward_func, target, "activation"), result)

    @log_usage()
    def attribute_neurons(
        self, inputs: Pair, neurons: Neurons = None, *, reduce: Reduce | None = None, strategy: Strategy = "auto"
    ) -> NeuronMaps:
        """Compute the maps of many neurons, one after the other (:meth:`ParallelSharedAttribution.attribute_neurons`).

        There is a Jacobian of one pair, or at the cut: the output of a layer inside need not have its images first.

        Args:
            inputs: the pair, as for :meth:`attribute`: the same for all neurons.
            neurons: indices or names; None for all.
            reduce: what is made of the maps (images, references) of each neuron.
            strategy: ``"backward"``, ``"jacobian"``, or ``"auto"`` for the one with fewer backward passes.

        Returns:
            An iterator of (neuron, maps), whose ``strategy`` says how they are made.

        Raises:
            TypeError: as :meth:`attribute`, or if ``neurons`` is no list.
            ValueError: as :meth:`attribute`, or if there are no neurons, or none has a name, or there is no Jacobian.
            IndexError: if an index is out of range.
            RuntimeError: in inference mode.
        """
        listed = listed_neurons(self.forward_func, neurons)
        passed = PairPass.of(self.forward_func, checked_pair(inputs, differentiable=False), self._layer)
        separable = self._layer is None or len(passed.inputs[0]) == 1
        made, gradients = gradient_maps(
            passed, self.forward_func, listed, "activation", strategy=strategy, separable=separable
        )
        return NeuronMaps(listed, (self._finished(each, passed) for each in gradients), made, reduce)

    def _finished(self, maps: Pair, result: PairPass) -> Pair:
        if self.multiplies_by_inputs:
            maps = maps[0] * result.activations[0], maps[1] * result.activations[1]
        return maps[0].contiguous(), maps[1].contiguous()

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        """There is none: away from the cut the maps have no sum to converge to."""
        raise NotImplementedError("LayerSharedAttribution has no convergence delta. See ParallelSharedAttribution.")
