"""Captum's methods, on the neuron's response to one image or on the similarity of a pair."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import mid_grey
from captum_shared.methods.sampling import N_SAMPLES, noise_levels, pair_by_pair
from captum_shared.neurons.readout import LinearReadout

Call: TypeAlias = Callable[[NeuronSimilarity, Pair, Tensor], Pair]
"""From a similarity, a pair (images, references) and the neuron of each to signed maps of both."""

_WINDOWS: Final = 8
BATCH: Final = 64
"""Images in one pass of a method that makes many of one."""


@final
@dataclass(frozen=True)
class Score:
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


Explain: TypeAlias = Callable[[Score], Sequence[Tensor]]


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
    activation = LayerActivation(encoder, encoder.cut).attribute(images[:1].detach())
    if activation.ndim != 4:
        raise ValueError(
            f"Layer {encoder.layer!r} gives shape {tuple(activation.shape)}, without positions in rows and columns. "
            "Cut the network at a convolution, or leave out methods that work at the cut."
        )
    return encoder


def of_the_neuron(explain: Explain) -> Call:
    """Explain the neuron's response w·f(x) + b to each image alone; no map sees the other image.

    Args:
        explain: one of :data:`EXPLANATIONS`.

    Returns:
        The method.

    Example:
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[2.0, 0.0, -1.0]]))
        >>> images = torch.zeros(1, 3, 1, 1, requires_grad=True)
        >>> of_the_neuron(saliency)(similarity, (images, images), torch.tensor([0]))[0].flatten()
        tensor([ 2.,  0., -1.])
    """

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        encoder = similarity.image_features
        network = nn.Sequential(encoder, similarity.readout)
        first, second = (
            explain(Score(network, (encoder,), (images,), (mid_grey(encoder, images),), target))[0] for images in inputs
        )
        return first, second

    return call


def of_the_similarity(explain: Explain) -> Call:
    """Explain the neuron-specific similarity s(x, r) through the twins.

    Args:
        explain: one of :data:`EXPLANATIONS`.

    Returns:
        The method.

    Example:
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(2))
        >>> image, reference = torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[1.0]], [[1.0]]]])
        >>> pair = image.requires_grad_(), reference.requires_grad_()
        >>> of_the_similarity(saliency)(similarity, pair, torch.tensor([0]))[0].flatten()
        tensor([0.0000, 0.7071])
    """

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        twins = similarity.image_features, similarity.reference_features
        grey = tuple(mid_grey(similarity.image_features, images) for images in inputs)
        first, second = explain(Score(similarity, twins, inputs, grey, target))
        return first, second

    return call


def of_the_cosine(explain: Explain) -> Call:
    """Explain the plain cosine of the two images' features, unweighted and not centred: no neuron at all.

    Args:
        explain: one of :data:`EXPLANATIONS`.

    Returns:
        The method.

    Example:
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[9.0, 0.0]]))
        >>> image, reference = torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[1.0]], [[1.0]]]])
        >>> pair = image.requires_grad_(), reference.requires_grad_()
        >>> of_the_cosine(saliency)(similarity, pair, torch.tensor([0]))[0].flatten()
        tensor([0.0000, 0.7071])
    """

    def call(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        plain = NeuronSimilarity(similarity.image_features, LinearReadout.uniform(similarity.readout.n_features))
        return of_the_similarity(explain)(plain, inputs, torch.zeros_like(target))

    return call


def saliency(score: Score) -> Sequence[Tensor]:
    """Compute the gradient."""
    return _tensors(Saliency(score.network).attribute(score.inputs, score.target, abs=False))


def input_x_gradient(score: Score) -> Sequence[Tensor]:
    """Compute input times gradient."""
    return _tensors(InputXGradient(score.network).attribute(score.inputs, score.target))


def integrated_gradients(score: Score) -> Sequence[Tensor]:
    """Integrate the gradient from mid-grey; the path of a pair takes both images there."""
    return _tensors(
        IntegratedGradients(score.network).attribute(
            score.inputs,
            score.grey,
            score.target,
            n_steps=N_SAMPLES,
            internal_batch_size=max(BATCH, len(score.target)),
        )
    )


def grad_cam(score: Score) -> Sequence[Tensor]:
    """Compute Grad-CAM at the cut of each input, not rectified."""
    return [LayerGradCam(score.network, cut).attribute(score.inputs, score.target) for cut in score.cuts()]


def guided_grad_cam(score: Score) -> Sequence[Tensor]:
    """Compute guided backpropagation times Grad-CAM, each input with the Grad-CAM at its own cut.

    Captum takes one layer and multiplies the gradients of all inputs by the map found there, so that the map of one
    twin would end up on the other's image. Here it runs once a twin, and of each run only that twin's map is kept.
    """
    return [
        _tensors(GuidedGradCam(score.network, cut).attribute(score.inputs, score.target))[side]
        for side, cut in enumerate(score.cuts())
    ]


def deeplift(score: Score) -> Sequence[Tensor]:
    """Compute DeepLift from mid-grey."""
    return _tensors(DeepLift(score.network).attribute(score.inputs, score.grey, score.target))


def gradient_shap(score: Score) -> Sequence[Tensor]:
    """Compute GradientShap from mid-grey, with noise as of SmoothGrad."""
    grey = tuple(each[:1] for each in score.grey)

    def explain(inputs: tuple[Tensor, ...], target: Tensor) -> tuple[Tensor, ...]:
        maps = GradientShap(score.network).attribute(
            inputs, grey, n_samples=N_SAMPLES, stdevs=noise_levels(inputs), target=target
        )
        return tuple(maps)

    return pair_by_pair(explain, score.inputs, score.target)


def occlusion(score: Score) -> Sequence[Tensor]:
    """Hide windows of an eighth of each side, one beside the other, behind mid-grey."""
    windows = tuple(
        (channels, math.ceil(height / _WINDOWS), math.ceil(width / _WINDOWS))
        for channels, height, width in (each.shape[1:] for each in score.inputs)
    )
    with torch.no_grad(), score.inputs[0].device:  # where Captum makes its masks
        maps = Occlusion(score.network).attribute(
            score.inputs,
            windows,
            strides=windows,
            baselines=score.grey,
            target=score.target,
            perturbations_per_eval=max(1, BATCH // (2 * len(score.target))),
        )
    return _tensors(maps)


EXPLANATIONS: Final[dict[str, Explain]] = {
    "saliency": saliency,
    "input-x-gradient": input_x_gradient,
    "integrated-gradients": integrated_gradients,
    "grad-cam": grad_cam,
    "guided-grad-cam": guided_grad_cam,
    "deeplift": deeplift,
    "gradient-shap": gradient_shap,
    "occlusion": occlusion,
}
"""The methods of Captum that a user would pick, by name; signed maps, one an input."""


def product_of_grad_cams(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Multiply Grad-CAM of the neuron by Grad-CAM of the plain cosine, both rectified: what drives and is shared.

    Args:
        similarity: the twins.
        inputs: the pair.
        target: the neuron of each pair.

    Returns:
        Maps at the cut, not negative.
    """
    calls = of_the_neuron(grad_cam), of_the_cosine(grad_cam)
    neuron, cosine = (call(similarity, inputs, target) for call in calls)
    first, second = (one.clamp(min=0) * other.clamp(min=0) for one, other in zip(neuron, cosine, strict=True))
    return first, second


def _tensors(maps: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (maps,) if isinstance(maps, Tensor) else maps
