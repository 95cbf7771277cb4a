"""Shared-feature maps from the correspondence of positions, at the layer."""

from typing import Any, final

import torch
from captum.attr import GradientAttribution, LayerAttribution
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from captum_shared.attr._captum import TargetType, log_usage
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.neuron_maps import NeuronMaps, Neurons, Reduce, listed_neurons
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.places import Places, compared_places
from captum_shared.attr.population import Population
from captum_shared.attr.preconditions import warn_if_uncentered
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.windows import local_features


@final
class SharedCorrespondence(LayerAttribution, GradientAttribution):
    r"""Where two images share what drives a neuron: maps from the correspondence of their positions, at the layer.

    .. math:: \mathrm{map}(p) = \sum_q C(p, q), \qquad \mathrm{map}'(q) = \sum_p C(p, q)

    with C the correspondence (:mod:`captum_shared.attr.places`): a position lights up if it drives the neuron, and the
    other image has a position that agrees with it and drives the neuron too. Both maps sum to the same number, the
    agreement to expect between a position that drives the neuron in one image and one in the other: 0 if nothing is
    shared, at most 1, whatever the unit of the responses, so that maps of different pairs compare.

    It goes beyond the paper, whose h compares features that are pooled already, so that it cannot tell which position
    of one image matches which of the other. The features should be centred (``fit_readout(..., center=True)``).
    Memory grows with the square of the number of positions: with 14 × 14 the correspondence of a pair takes 0.15 MB,
    with 56 × 56 39 MB. Maps at the size of the images are :class:`~captum_shared.PixelSharedCorrespondence`'s.

    Args:
        similarity: encoder, cut at a layer with positions (:class:`~captum_shared.LatentFeatures`: of a convolution,
            or the tokens of a transformer) and with ``pool="average"``, and readout. With other poolings neither the
            weights nor the mean of the readout are made for single positions.

    Raises:
        TypeError: if ``similarity`` is not a :class:`NeuronSimilarity`, or its encoder has no cut.
        ValueError: if the encoder pools in another way.

    Warns:
        UserWarning: if the ``feature_mean`` of the readout is zero.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LinearReadout
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> readout = LinearReadout(torch.randn(5, 4), feature_mean=torch.rand(4))
        >>> similarity = NeuronSimilarity(LatentFeatures(network, "1"), readout)
        >>> method = SharedCorrespondence(similarity)
        >>> images, references = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
        >>> method.correspondence((images, references), target=3).shape
        torch.Size([2, 36, 36])
        >>> image_maps, reference_maps = method.attribute((images, references), target=3)
        >>> method.interpolate(image_maps, (8, 8), "bilinear").shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, similarity: NeuronSimilarity) -> None:
        check_corresponds(similarity, "SharedCorrespondence")
        super().__init__(similarity, similarity.layer_modules())

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold the activations as a factor."""
        return True

    @torch.no_grad()
    def correspondence(
        self, inputs: Pair, target: TargetType = None
    ) -> Float[Tensor, "image position reference_position"]:
        """Compute how much every position of the image shares with every position of the reference, for the neuron.

        Args:
            inputs: the pair (images, references), each (image, channel, height, width).
            target: the neuron, as anywhere in Captum, or its name.

        Returns:
            C, not negative, with a sum of at most 1 a pair, in float32 or more; positions row by row, as many as the
            cut has.

        Raises:
            TypeError: if ``inputs`` is not a pair of floating-point tensors.
            ValueError: if the pair is empty, of unequal lengths or not finite, does not fit the readout, or the
                activation at the cut has no positions in rows and columns.
            RuntimeError: in inference mode.
        """
        return compared(self.forward_func, activations_at_cut(self.forward_func, checked_pair(inputs)), target)

    @log_usage()
    @torch.no_grad()
    def attribute(self, inputs: Pair, target: TargetType = None) -> Pair:
        """Compute the two maps, in one forward pass of both images.

        Args:
            inputs: the pair (images, references), as for :meth:`correspondence`.
            target: the neuron, as anywhere in Captum, or its name.

        Returns:
            The maps of the images and of the references, (image, 1, row, column) at the cut, not negative.

        Raises:
            TypeError: as :meth:`correspondence`.
            ValueError: as :meth:`correspondence`.
            RuntimeError: in inference mode.
        """
        cuts = activations_at_cut(self.forward_func, checked_pair(inputs))
        return maps_of(compared(self.forward_func, cuts, target), cuts)

    @log_usage()
    def attribute_neurons(self, inputs: Pair, neurons: Neurons = None, *, reduce: Reduce | None = None) -> NeuronMaps:
        """Compute the maps of many neurons, one after the other, from one forward pass of the pairs.

        Args:
            inputs: the pair, as for :meth:`correspondence`: the same for all neurons.
            neurons: indices or names; None for all.
            reduce: what is made of the maps (images, references) of each neuron.

        Returns:
            An iterator of (neuron, maps).

        Raises:
            TypeError: as :meth:`correspondence`, or if ``neurons`` is no list.
            ValueError: as :meth:`correspondence`, or if there are no neurons, or none has a name.
            IndexError: if an index is out of range.
            RuntimeError: in inference mode.

        Example:
            >>> from torch import nn
            >>> from captum_shared import LatentFeatures, LinearReadout
            >>> features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1")
            >>> readout = LinearReadout(torch.rand(5, 4), feature_mean=torch.full((4,), 0.1))
            >>> pair = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
            >>> method = SharedCorrespondence(NeuronSimilarity(features, readout))
            >>> maps = method.attribute_neurons(pair, [3, 1], reduce=lambda maps: maps[0].shape)
            >>> maps.strategy, dict(maps)
            ('forward', {3: torch.Size([1, 1, 6, 6]), 1: torch.Size([1, 1, 6, 6])})
        """
        similarity, listed = self.forward_func, listed_neurons(self.forward_func, neurons)
        cuts = activations_at_cut(similarity, checked_pair(inputs))
        maps = (maps_of(compared(similarity, cuts, neuron), cuts) for neuron in listed)
        return NeuronMaps(listed, maps, "forward", reduce)

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        """There is none: the maps sum to the agreement that they show."""
        raise NotImplementedError("SharedCorrespondence has no convergence delta: its maps sum to their agreement.")


def check_corresponds(similarity: NeuronSimilarity, method: str) -> None:
    """Make sure that a method can compare the positions of two images, and warn if it will not do so well.

    Args:
        similarity: what may be a similarity.
        method: what compares them, for the message.

    Raises:
        TypeError: as :func:`check_reads_positions`.
        ValueError: as :func:`check_reads_positions`.
    """
    check_reads_positions(similarity)
    warn_if_uncentered(similarity.readout, method, stacklevel=4)


def check_reads_positions(similarity: object) -> None:
    """Make sure that a similarity can be read out at single positions.

    Args:
        similarity: what may be one.

    Raises:
        TypeError: if it is not a :class:`NeuronSimilarity`, or its encoder has no cut.
        ValueError: if the encoder does not average positions.
    """
    if not isinstance(similarity, NeuronSimilarity):
        raise TypeError(f"similarity must be a NeuronSimilarity, but got {type(similarity).__name__}.")
    for encoder in (similarity.image_features, similarity.reference_features):
        if not isinstance(encoder, LatentFeatures):
            raise TypeError(
                f"The correspondence of positions needs LatentFeatures, whose cut is a layer, but the encoder is a "
                f"{type(encoder).__name__}. Cut the network with LatentFeatures, or take LayerSharedAttribution."
            )
        if encoder.pool != "average":
            raise ValueError(
                f"The correspondence reads out single positions, which needs pool='average', but the encoder has "
                f"pool={encoder.pool!r}. Fit the readout on features with pool='average'."
            )


def activations_at_cut(similarity: NeuronSimilarity, inputs: Pair) -> Pair:
    """Run the twins once.

    Args:
        similarity: the twins.
        inputs: the pair (images, references).

    Returns:
        Activations at the cuts of both twins.

    Raises:
        ValueError: if one has no positions in rows and columns.
    """
    first, second = PairPass.without_gradients(similarity, inputs, None).activations
    return checked_cuts(similarity, (first, second))


def checked_cuts(similarity: NeuronSimilarity, cuts: Pair) -> Pair:
    """Make sure that activations have positions in rows and columns.

    Args:
        similarity: the twins.
        cuts: activations at the cuts of both twins.

    Returns:
        The activations, detached.

    Raises:
        ValueError: if one has no positions in rows and columns.
    """
    twins: Any = similarity.image_features, similarity.reference_features
    for twin, activation in zip(twins, cuts, strict=True):
        if activation.ndim != 4:
            raise ValueError(
                f"The correspondence needs an activation (image, feature, row, column), but layer {twin.layer!r} gives "
                f"shape {tuple(activation.shape)}. Cut the network at a layer with positions, or, where its tokens are "
                "positions, name their rows and columns by LatentFeatures(..., layout=(rows, columns))."
            )
    return cuts[0].detach(), cuts[1].detach()


def places_at(similarity: NeuronSimilarity, cut: Tensor, *, most: int | None = None) -> Places:
    """Read images place by place, in float32 or more: shares of many places are too small for half precision.

    Args:
        similarity: the twins.
        cut: activations at the cut of one of them.
        most: rows and columns at most; of more, places are averaged.

    Returns:
        What all neurons make of every place.
    """
    readout, exact = similarity.readout, cut.to(torch.promote_types(cut.dtype, torch.float32))
    with torch.autocast(cut.device.type, enabled=False):
        features = local_features(exact, readout.feature_mean.to(exact))
        if most is not None and max(cut.shape[2:]) > most:
            images = features.mT.reshape(exact.shape)
            grid = min(most, cut.shape[2]), min(most, cut.shape[3])
            features = functional.adaptive_avg_pool2d(images, grid).flatten(2).mT
        return Places.of(features, Population.of(readout, exact))


def compared(
    similarity: NeuronSimilarity, cuts: Pair, target: TargetType
) -> Float[Tensor, "image position reference_position"]:
    """Compare the activations of a pair position by position: C.

    Args:
        similarity: the twins.
        cuts: activations at the cut.
        target: the neuron, as anywhere in Captum.

    Returns:
        The correspondence, in float32 or more.
    """
    neurons = similarity.neurons(len(cuts[0]), target).to(cuts[0].device)
    first, second = (places_at(similarity, cut) for cut in cuts)
    with torch.autocast(cuts[0].device.type, enabled=False):
        return compared_places(first, second, neurons)


def compared_in(
    passed: PairPass, similarity: NeuronSimilarity, target: TargetType
) -> Float[Tensor, "image position reference_position"]:
    """Compare the activations of a pass that is done, once however many methods ask for it.

    Args:
        passed: the pass, with the activations at both cuts.
        similarity: the twins.
        target: the neuron, as anywhere in Captum.

    Returns:
        The correspondence of :func:`compared`.
    """
    cuts = checked_cuts(similarity, (passed.activations[0], passed.activations[1]))
    asked = similarity.readout, tuple(similarity.neurons(len(cuts[0]), target).tolist())
    if asked not in passed.compared:
        passed.compared.clear()  # of other neurons, which may be many
        passed.compared[asked] = compared(similarity, cuts, target)
    return passed.compared[asked]


def maps_of(compared: Float[Tensor, "image position reference_position"], cuts: Pair) -> Pair:
    """Sum the correspondence over the positions of the other image.

    Args:
        compared: the correspondence.
        cuts: activations at the cut, for their shapes.

    Returns:
        The maps of the images and of the references, (image, 1, row, column).
    """
    image_map = compared.sum(2).reshape(-1, 1, *cuts[0].shape[2:]).to(cuts[0].dtype)
    return image_map, compared.sum(1).reshape(-1, 1, *cuts[1].shape[2:]).to(cuts[1].dtype)
