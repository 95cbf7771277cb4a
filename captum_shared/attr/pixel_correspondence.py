"""Shared-feature maps from the correspondence of positions, at the size of the images."""

from typing import Any, final

import torch
from captum.attr import GradientAttribution
from captum.log import log_usage
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.correspondence import activations_at_cut, check_reads_positions, compared, maps_of, weights_of
from captum_shared.attr.heatmaps import smoothed
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.places import refined, shared_places
from captum_shared.attr.similarity import NeuronSimilarity, warn_if_uncentered
from captum_shared.encoders.positions import is_channels_last


@final
class PixelSharedCorrespondence(GradientAttribution):
    """Where two images share what drives a neuron: maps from the correspondence of their positions, of the pixels.

    The correspondence is that of :class:`~captum_shared.SharedCorrespondence`. Its layer maps are refined by the
    relevance of the last module called of every higher resolution (:func:`~captum_shared.attr.places.refined`),
    smoothed at that of the images as all maps of pixels are (:func:`~captum_shared.attr.heatmap`); or the shared
    features of each position, weighted by its correspondence, are backpropagated to the pixels
    (:func:`~captum_shared.attr.places.shared_places`).

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
        check_reads_positions(similarity)
        warn_if_uncentered(similarity.readout, "PixelSharedCorrespondence")
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
            target: the neuron, as anywhere in Captum.

        Returns:
            The maps of the images and of the references: refined (image, 1, height, width), not negative, with the sum
            of the layer maps; or backpropagated (image, channel, height, width), signed.

        Raises:
            TypeError: as :meth:`SharedCorrespondence.correspondence`.
            ValueError: as :meth:`SharedCorrespondence.correspondence`.
            RuntimeError: in inference mode.
        """
        similarity: NeuronSimilarity = self.forward_func
        pair = checked_pair(inputs)
        with torch.enable_grad():
            first, second = activations_at_cut(similarity, pair, earlier=self._refine)
        cuts = first[-1].detach(), second[-1].detach()
        correspondence = compared(similarity, cuts, target)
        weight, _ = weights_of(similarity, cuts[0], target)
        mean = similarity.readout.feature_mean.to(cuts[0])
        shared = shared_places(correspondence, cuts, weight, mean, excitatory=similarity.excitatory)
        if not self._refine:
            maps = torch.autograd.grad((first[-1], second[-1]), pair, shared)
            return maps[0].contiguous(), maps[1].contiguous()
        layer_maps = maps_of(correspondence, cuts)
        image_maps = _refined(layer_maps[0], first, pair[0], shared[0])
        return image_maps, _refined(layer_maps[1], second, pair[1], shared[1])

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        """There is none: refined maps sum to the agreement that they show."""
        raise NotImplementedError("PixelSharedCorrespondence has no convergence delta.")


def _refined(layer_map: Tensor, activations: list[Tensor], images: Tensor, shared: Tensor) -> Tensor:
    return refined(layer_map, _relevances(activations, images, shared), (images.shape[2], images.shape[3]))


def _relevances(activations: list[Tensor], images: Tensor, shared: Tensor) -> list[Tensor]:
    """Gradient times activation of V·a at the last module of every resolution, from the images' to above the cut's."""
    *earlier, cut = activations
    higher = [each for each in (images, *earlier) if each.requires_grad and _is_higher(cut, each, images)]
    gradients = torch.autograd.grad(cut, higher, shared, allow_unused=True) if higher else ()
    last: dict[torch.Size, Tensor] = {}
    for activation, gradient in zip(higher, gradients, strict=True):
        if gradient is not None:  # as it is off the way to the cut, in a network that could not be traced
            relevance = _channels_first(activation.detach() * gradient, images).sum(1, keepdim=True).clamp(min=0)
            last[relevance.shape[2:]] = relevance
    size = images.shape[2:]
    if size in last:
        last[size] = smoothed(last[size][:, 0])[:, None]
    return list(last.values())


def _is_higher(cut: Tensor, activation: Tensor, images: Tensor) -> bool:
    if activation.ndim != 4:
        return False
    n_positions = _channels_first(activation, images).shape[2:].numel()
    return cut.shape[2:].numel() < n_positions <= images.shape[2:].numel()


def _channels_first(activation: Tensor, images: Tensor) -> Tensor:
    return activation.movedim(-1, 1) if is_channels_last(activation, images) else activation
