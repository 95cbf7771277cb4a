"""Shared-feature maps from the correspondence of places."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from captum.attr import GradientAttribution, LayerAttribution
from captum.log import log_usage
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.attr._captum import TargetType, select_neurons
from captum_shared.attr.heatmaps import smoothed
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.places import corresponding, local_features, refined, shared_places
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.pooling import is_channels_last
from captum_shared.encoders.twins import evaluation_mode

Resolution: TypeAlias = Literal["layer", "refined", "pixels"]


@final
class SharedCorrespondence(LayerAttribution, GradientAttribution):
    r"""Where two images share what drives a neuron: maps from the correspondence of their places.

    .. math:: \mathrm{map}(p) = \sum_q C(p, q), \qquad \mathrm{map}'(q) = \sum_p C(p, q)

    with C the correspondence (:mod:`captum_shared.attr.places`): a place lights up if it drives the neuron, and the
    other image has a place that agrees with it and drives the neuron too. Both maps sum to the same number, the
    agreement to expect between a place that drives the neuron in one image and one in the other: 0 if nothing is
    shared, at most 1, whatever the unit of the responses, so that maps of different pairs compare.

    It goes beyond the paper, whose h compares features that are pooled already, so that it cannot tell which place of
    one image matches which of the other. The features should be centred (``fit_readout(..., center=True)``).
    Memory grows with the square of the number of positions: with 14 × 14 the correspondence of a pair takes 0.15 MB,
    with 56 × 56 39 MB.

    Args:
        similarity: encoder, cut at a layer with positions and with ``pool="average"``, and readout. With other
            poolings neither the weights nor the mean of the readout are made for single places.

    Raises:
        TypeError: if ``similarity`` is not a :class:`NeuronSimilarity`, or its encoder has no cut.
        ValueError: if the encoder pools in another way.

    Example:
        >>> from captum_shared import LinearReadout
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> similarity = NeuronSimilarity(LatentFeatures(network, "1"), LinearReadout(torch.randn(5, 4)))
        >>> method = SharedCorrespondence(similarity)
        >>> images, references = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
        >>> method.correspondence((images, references), target=3).shape
        torch.Size([2, 36, 36])
        >>> image_maps, reference_maps = method.attribute((images, references), target=3)
        >>> method.interpolate(image_maps, (8, 8), "bilinear").shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, similarity: NeuronSimilarity) -> None:
        if not isinstance(similarity, NeuronSimilarity):
            raise TypeError(f"similarity must be a NeuronSimilarity, but got {type(similarity).__name__}.")
        encoder = similarity.image_features
        if not isinstance(encoder, LatentFeatures):
            raise TypeError(
                f"SharedCorrespondence needs LatentFeatures, whose cut is a layer, but the encoder is a "
                f"{type(encoder).__name__}. Cut the network with LatentFeatures."
            )
        if encoder.pool != "average":
            raise ValueError(
                f"SharedCorrespondence reads out single places, which needs pool='average', but the encoder has "
                f"pool={encoder.pool!r}. Fit the readout on features with pool='average'."
            )
        super().__init__(similarity, similarity.layer_modules())

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold the activations as a factor."""
        return True

    @torch.no_grad()
    def correspondence(
        self, inputs: Pair, target: TargetType = None
    ) -> Float[Tensor, "image position reference_position"]:
        """Compute how much every place of the image shares with every place of the reference, for the neuron.

        Args:
            inputs: the pair (images, references), each (image, channel, height, width).
            target: the neuron, as anywhere in Captum.

        Returns:
            C, not negative, with a sum of at most 1 a pair; positions row by row, as many as the cut has.

        Raises:
            TypeError: if ``inputs`` is not a pair of floating-point tensors.
            ValueError: if the pair is empty, of unequal lengths or not finite, does not fit the readout, or the
                activation at the cut has no positions in rows and columns.
            RuntimeError: in inference mode.
        """
        first, second = self._activations(*checked_pair(inputs))
        return self._compared(first[-1], second[-1], target)

    @log_usage()
    def attribute(self, inputs: Pair, target: TargetType = None, *, resolution: Resolution = "layer") -> Pair:
        """Compute the two maps.

        Args:
            inputs: the pair (images, references), as for :meth:`correspondence`.
            target: the neuron, as anywhere in Captum.
            resolution: ``"layer"``, at the cut; ``"refined"``, at the size of the images, by the relevance of the last
                module called of every higher resolution (:func:`~captum_shared.attr.places.refined`), smoothed at that
                of the images as all maps of pixels are (:func:`~captum_shared.attr.heatmap`); or
                ``"pixels"``, the gradient of the shared features of each position, weighted by its correspondence
                (:func:`~captum_shared.attr.places.shared_places`).

        Returns:
            The maps of the images and of the references: (image, 1, row, column) at the cut or (image, 1, height,
            width) refined, neither negative; or (image, channel, height, width) and signed, of the pixels.

        Raises:
            TypeError: as :meth:`correspondence`.
            ValueError: as :meth:`correspondence`, or if ``resolution`` is unknown.
            RuntimeError: in inference mode.
        """
        if resolution not in get_args(Resolution):
            raise ValueError(f"resolution must be one of {', '.join(get_args(Resolution))}, but got {resolution!r}.")
        images, references = checked_pair(inputs)
        with torch.set_grad_enabled(resolution != "layer"):
            first, second = self._activations(images, references, earlier=resolution == "refined")
        cuts = first[-1].detach(), second[-1].detach()
        compared = self._compared(*cuts, target)
        image_map = compared.sum(2).reshape(-1, 1, *cuts[0].shape[2:])
        reference_map = compared.sum(1).reshape(-1, 1, *cuts[1].shape[2:])
        if resolution == "layer":
            return image_map, reference_map
        weight, mean, _ = self._readout(cuts[0], target)
        shared = shared_places(compared, cuts, weight, mean, excitatory=self.forward_func.excitatory)
        if resolution == "pixels":
            maps = torch.autograd.grad((first[-1], second[-1]), (images, references), shared)
            return maps[0].contiguous(), maps[1].contiguous()
        return _refined(image_map, first, images, shared[0]), _refined(reference_map, second, references, shared[1])

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        """There is none: the maps sum to the agreement that they show."""
        raise NotImplementedError("SharedCorrespondence has no convergence delta: its maps sum to their agreement.")

    def _activations(
        self, images: Tensor, references: Tensor, *, earlier: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Activations of both twins: that at the cut, after those of all modules before it where they are needed."""
        similarity: Any = self.forward_func
        with evaluation_mode(similarity), ExitStack() as stack:
            first, second = (
                stack.enter_context(_recorded([*(twin.network.modules() if earlier else ()), twin.cut]))
                for twin in (similarity.image_features, similarity.reference_features)
            )
            similarity.latent_features(images, references)
        shape = tuple(first[-1].shape)
        if len(shape) != 4:
            raise ValueError(
                f"SharedCorrespondence needs an activation (image, channel, row, column), but layer "
                f"{similarity.image_features.layer!r} gives shape {shape}. Cut the network at a convolution."
            )
        return first, second

    def _compared(self, image: Tensor, reference: Tensor, target: TargetType) -> Tensor:
        weight, mean, population = self._readout(image, target)
        first, second = (local_features(activation, mean) for activation in (image, reference))
        return corresponding(first, second, weight, population)

    def _readout(self, activation: Tensor, target: TargetType) -> tuple[Tensor, Tensor, Tensor]:
        """Weights of each pair's neuron, the mean, and the weights of all neurons, whose unit has no effect."""
        readout = self.forward_func.readout
        neurons = select_neurons(len(activation), readout.n_neurons, target)
        largest = readout.weight.abs().max()
        population = (readout.weight / torch.where(largest > 0, largest, 1)).to(activation)
        return population[neurons.to(activation.device)], readout.feature_mean.to(activation), population


@contextmanager
def _recorded(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """The outputs of modules, in the order of their calls."""
    outputs: list[Tensor] = []

    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append(output)

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(record).remove)
        yield outputs


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
