"""What a method explains, a number that a network gives: the neuron's response to one image, or a similarity of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import mid_grey
from captum_shared.methods.method import Call
from captum_shared.neurons.readout import LinearReadout


@final
@dataclass(frozen=True)
class Explained:
    """A number to be explained: the neuron's response to one image, or the similarity of two.

    Attributes:
        network: the module that gives it, one column a neuron.
        encoders: the part of the module that sees each input.
        inputs: one image, or the two of a pair.
        grey: where paths start, one an input.
        target: the neuron of each example.
    """

    network: nn.Module
    encoders: tuple[nn.Module, ...]
    inputs: tuple[Tensor, ...]
    grey: tuple[Tensor, ...]
    target: Tensor

    def cuts(self) -> list[nn.Module]:
        """Return the layer at which each input is cut; errors as of :func:`cut_at_positions`."""
        return [
            cut_at_positions(encoder, images).cut for encoder, images in zip(self.encoders, self.inputs, strict=True)
        ]


Explain: TypeAlias = Callable[[Explained], Sequence[Tensor]]
"""A method of Captum: from a number to signed maps, one an input."""


def cut_at_positions(encoder: nn.Module, images: Tensor) -> LatentFeatures:
    """Make sure that an encoder is cut at a layer with positions, for methods that need one.

    Args:
        encoder: the encoder.
        images: inputs of it, at least one.

    Returns:
        The same encoder.

    Raises:
        TypeError: if it has no cut.
        ValueError: if the layer there has no positions in rows and columns.

    Example:
        >>> cut_at_positions(LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3)), "0"), torch.rand(1, 3, 8, 8)).cut
        Identity()
    """
    if not isinstance(encoder, LatentFeatures):
        raise TypeError(
            f"Expected LatentFeatures, whose cut is a layer, but got {type(encoder).__name__}. Cut the network with "
            "LatentFeatures, or leave out methods that work at the cut."
        )
    if encoder.cut_shape is None:  # which any pass of images tells
        with torch.no_grad():
            encoder(images[:1])
    if len(encoder.cut_shape or ()) != 3:
        raise ValueError(
            f"Layer {encoder.layer!r} gives shape {encoder.cut_shape} for each image, without positions in rows and "
            "columns that could be told. Cut the network at a layer with positions, name the rows and columns of its "
            "tokens by LatentFeatures(..., layout=(rows, columns)), or leave out methods that work at the cut."
        )
    return encoder


def of_the_neuron(explain: Explain) -> Call:
    """Explain the neuron's response w·f(x) + b to each image alone; no map sees the other image.

    Args:
        explain: the method of Captum.

    Returns:
        The method.

    Example:
        >>> from captum_shared.methods.captum import saliency
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[2.0, 0.0, -1.0]]))
        >>> images = torch.zeros(1, 3, 1, 1, requires_grad=True)
        >>> of_the_neuron(saliency)(similarity, (images, images), torch.tensor([0]))[0].flatten()
        tensor([ 2.,  0., -1.])
    """

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        def alone(encoder: nn.Module, images: Tensor) -> Tensor:
            network = nn.Sequential(encoder, similarity.readout)
            return explain(Explained(network, (encoder,), (images,), (mid_grey(encoder, images),), target))[0]

        first, second = (alone(encoder, images) for encoder, images in zip(similarity.encoders, inputs, strict=True))
        return first, second

    return call


def of_the_similarity(explain: Explain) -> Call:
    """Explain the neuron-specific similarity s(x, r) through the twins.

    Args:
        explain: the method of Captum.

    Returns:
        The method.

    Example:
        >>> from captum_shared.methods.captum import saliency
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(2))
        >>> image, reference = torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[1.0]], [[1.0]]]])
        >>> pair = image.requires_grad_(), reference.requires_grad_()
        >>> of_the_similarity(saliency)(similarity, pair, torch.tensor([0]))[0].flatten()
        tensor([0.0000, 0.7071])
    """

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        twins = similarity.image_features, similarity.reference_features
        grey = tuple(mid_grey(encoder, images) for encoder, images in zip(twins, inputs, strict=True))
        first, second = explain(Explained(similarity, twins, inputs, grey, target))
        return first, second

    return call


def of_the_cosine(explain: Explain) -> Call:
    """Explain the plain cosine of the two images' features, unweighted and not centred: no neuron at all.

    Args:
        explain: the method of Captum.

    Returns:
        The method.

    Example:
        >>> from captum_shared.methods.captum import saliency
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[9.0, 0.0]]))
        >>> image, reference = torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[1.0]], [[1.0]]]])
        >>> pair = image.requires_grad_(), reference.requires_grad_()
        >>> of_the_cosine(saliency)(similarity, pair, torch.tensor([0]))[0].flatten()
        tensor([0.0000, 0.7071])
    """

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        plain = similarity.with_readout(LinearReadout.uniform(similarity.readout.n_features))
        return of_the_similarity(explain)(plain, inputs, torch.zeros_like(target))

    return call
