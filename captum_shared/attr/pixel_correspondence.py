"""Shared-feature maps from the correspondence of positions, at the size of the images."""

from typing import Any, final

import torch
from captum.attr import GradientAttribution
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType, log_usage
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.correspondence import check_corresponds, checked_cuts, compared_in, maps_of
from captum_shared.attr.neuron_maps import NeuronMaps, Neurons, Reduce, listed_neurons
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.places import shared_places
from captum_shared.attr.population import Population
from captum_shared.attr.refinement import refined
from captum_shared.attr.similarity import NeuronSimilarity


@final
class PixelSharedCorrespondence(GradientAttribution):
    """Where two images share what drives a neuron: maps from the correspondence of their positions, of the pixels.

    The correspondence is that of :class:`~captum_shared.SharedCorrespondence`. Its layer maps are refined: the drive
    where they lie is backpropagated, and spread over the pixels that look like those it comes from, so that the maps
    cover a part and end at its edges (:mod:`captum_shared.attr.refinement`). Or the shared features of each position,
    weighted by its correspondence, are backpropagated to the pixels
    (:func:`~captum_shared.attr.places.shared_places`), as the paper does with those of the whole image.

    Args:
        similarity: as for :class:`~captum_shared.SharedCorrespondence`.
        refine: whether to refine the layer maps (recommended), or to backpropagate shared features.

    Raises:
        TypeError: as :class:`~captum_shared.SharedCorrespondence`.
        ValueError: as :class:`~captum_shared.SharedCorrespondence`.

    Warns:
        UserWarning: if the ``feature_mean`` of the readout is zero.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> readout = LinearReadout(torch.randn(5, 4), feature_mean=torch.rand(4))
        >>> method = PixelSharedCorrespondence(NeuronSimilarity(LatentFeatures(network, "1"), readout))
        >>> image_maps, reference_maps = method.attribute((torch.rand(2, 3, 8, 8), torch.rand(2, 3, 9, 7)), target=3)
        >>> image_maps.shape, reference_maps.shape
        (torch.Size([2, 1, 8, 8]), torch.Size([2, 1, 9, 7]))
    """

    def __init__(self, similarity: NeuronSimilarity, *, refine: bool = True) -> None:
        check_corresponds(similarity, "PixelSharedCorrespondence")
        super().__init__(similarity)
        self._refine = refine

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold the activations as a factor."""
        return True

    @log_usage()
    def attribute(self, inputs: Pair, target: TargetType = None) -> Pair:
        """Compute the two maps, in one forward and one backward pass of both images.

        Args:
            inputs: the pair (images, references), each (image, channel, height, width).
            target: the neuron, as anywhere in Captum, or its name.

        Returns:
            The maps of the images and of the references: refined (image, 1, height, width), not negative, with the sum
            of the layer maps; or backpropagated (image, channel, height, width), signed.

        Raises:
            TypeError: as :meth:`SharedCorrespondence.correspondence`.
            ValueError: as :meth:`SharedCorrespondence.correspondence`.
            RuntimeError: in inference mode.
        """
        return self._of_pass(PairPass.of(self.forward_func, checked_pair(inputs), None), target)

    @log_usage()
    def attribute_neurons(self, inputs: Pair, neurons: Neurons = None, *, reduce: Reduce | None = None) -> NeuronMaps:
        """Compute the maps of many neurons, one after the other: one forward pass, and a backward pass each.

        Args:
            inputs: the pair, as for :meth:`attribute`: the same for all neurons.
            neurons: indices or names; None for all.
            reduce: what is made of the maps (images, references) of each neuron.

        Returns:
            An iterator of (neuron, maps).

        Raises:
            TypeError: as :meth:`attribute`, or if ``neurons`` is no list.
            ValueError: as :meth:`attribute`, or if there are no neurons, or none has a name.
            IndexError: if an index is out of range.
            RuntimeError: in inference mode.

        Example:
            >>> from torch import nn
            >>> from captum_shared import LatentFeatures, LinearReadout
            >>> features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1")
            >>> readout = LinearReadout(torch.rand(5, 4), feature_mean=torch.full((4,), 0.1))
            >>> pair = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
            >>> method = PixelSharedCorrespondence(NeuronSimilarity(features, readout))
            >>> maps = method.attribute_neurons(pair, [3, 1], reduce=lambda maps: maps[0].shape)
            >>> maps.strategy, dict(maps)
            ('backward', {3: torch.Size([1, 1, 8, 8]), 1: torch.Size([1, 1, 8, 8])})
        """
        similarity, listed = self.forward_func, listed_neurons(self.forward_func, neurons)
        passed = PairPass.of(similarity, checked_pair(inputs), None)
        return NeuronMaps(listed, (self._of_pass(passed, neuron) for neuron in listed), "backward", reduce)

    def _of_pass(self, passed: PairPass, target: TargetType) -> Pair:
        return (covering_maps if self._refine else backpropagated_places)(passed, self.forward_func, target)

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        """There is none: refined maps sum to the agreement that they show."""
        raise NotImplementedError("PixelSharedCorrespondence has no convergence delta.")


def covering_maps(passed: PairPass, similarity: NeuronSimilarity, target: TargetType = None) -> Pair:
    """Compute the maps of :class:`PixelSharedCorrespondence` from a pass that is done.

    Args:
        passed: the pass, with the activations at both cuts.
        similarity: the twins.
        target: the neuron, as anywhere in Captum.

    Returns:
        Refined maps (image, 1, height, width), not negative, with the sum of the layer maps.
    """
    cuts = checked_cuts(similarity, (passed.activations[0], passed.activations[1]))
    layer_maps = maps_of(compared_in(passed, similarity, target), cuts)
    driving = [_driving(*each) for each in zip(layer_maps, _driving_features(similarity, cuts, target), strict=True)]
    gradients = passed.backpropagated((driving[0], driving[1]), "activation")
    first, second = (
        refined(layer_map, images.detach(), gradient)
        for layer_map, images, gradient in zip(layer_maps, passed.inputs, gradients, strict=True)
    )
    return first, second


def backpropagated_places(passed: PairPass, similarity: NeuronSimilarity, target: TargetType = None) -> Pair:
    """Compute the maps of ``PixelSharedCorrespondence(similarity, refine=False)`` from a pass that is done.

    Args:
        passed: the pass, with the activations at both cuts.
        similarity: the twins.
        target: the neuron, as anywhere in Captum.

    Returns:
        Signed maps (image, channel, height, width).
    """
    cuts = checked_cuts(similarity, (passed.activations[0], passed.activations[1]))
    correspondence = compared_in(passed, similarity, target)
    exact = cuts[0].to(correspondence), cuts[1].to(correspondence)
    weight, _ = _weights_of(similarity, exact[0], target)
    mean = similarity.readout.feature_mean.to(correspondence)
    with torch.autocast(correspondence.device.type, enabled=False):
        shared = shared_places(correspondence, exact, weight, mean, excitatory=similarity.excitatory)
    first, second = passed.backpropagated((shared[0].to(cuts[0].dtype), shared[1].to(cuts[1].dtype)), "activation")
    return first.contiguous(), second.contiguous()


def _driving_features(similarity: NeuronSimilarity, cuts: Pair, target: TargetType) -> Pair:
    """What drives a place of each image: the neuron's weights; without neurons, what the other image looks like."""
    population = Population.of(similarity.readout, cuts[0])
    if population.weight is not None:
        weight, _ = _weights_of(similarity, cuts[0], target)
        return weight, weight
    mean = similarity.readout.feature_mean.to(cuts[0])
    first, second = (population.precise(cut.mean((2, 3)) - mean) for cut in cuts)
    return second, first


def _driving(layer_map: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the drive where a map lies, by the activation at the cut, in a unit that cannot underflow."""
    largest = layer_map.amax((2, 3), keepdim=True)
    return weight[:, :, None, None] * (layer_map / torch.where(largest > 0, largest, 1))


def _weights_of(
    similarity: NeuronSimilarity, activation: Tensor, target: TargetType
) -> tuple[Float[Tensor, "image feature"], Float[Tensor, "neuron feature"]]:
    """Return the weights of each pair's neuron and those of all neurons, whose unit has no effect.

    Args:
        similarity: the twins.
        activation: of the images, for its dtype and device.
        target: the neuron, as anywhere in Captum.

    Returns:
        w, one row a pair, and W, one row a neuron.
    """
    weight = similarity.readout.weight
    neurons = similarity.neurons(len(activation), target)
    largest = weight.abs().max()
    population = (weight / torch.where(largest > 0, largest, 1)).to(activation)
    return population[neurons.to(activation.device)], population
