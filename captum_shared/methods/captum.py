"""Captum's methods, on the neuron's response to one image or on the similarity of a pair."""

import math
from collections.abc import Sequence
from typing import Final

import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    Occlusion,
    Saliency,
)
from torch import Tensor

from captum_shared.attr._captum import layer_gradients
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.methods.explained import Explained, of_the_cosine, of_the_neuron, of_the_similarity
from captum_shared.methods.method import Method
from captum_shared.methods.sampling import BATCH, N_SAMPLES, noise_levels, pair_by_pair

_WINDOWS: Final = 8


def saliency(explained: Explained) -> Sequence[Tensor]:
    """Compute the gradient."""
    return _tensors(Saliency(explained.network).attribute(explained.inputs, explained.target, abs=False))


def input_x_gradient(explained: Explained) -> Sequence[Tensor]:
    """Compute input times gradient."""
    return _tensors(InputXGradient(explained.network).attribute(explained.inputs, explained.target))


def integrated_gradients(explained: Explained) -> Sequence[Tensor]:
    """Integrate the gradient from mid-grey; the path of a pair takes both images there."""
    return _tensors(
        IntegratedGradients(explained.network).attribute(
            explained.inputs,
            explained.grey,
            explained.target,
            n_steps=N_SAMPLES,
            internal_batch_size=max(BATCH, len(explained.target)),
        )
    )


def grad_cam(explained: Explained) -> Sequence[Tensor]:
    """Compute Grad-CAM at the cut of each input, not rectified.

    As ``LayerGradCam`` at each cut alone, but in one pass of the network.
    """
    layers = layer_gradients(explained.network, explained.cuts(), explained.inputs, explained.target)
    return [(gradient.mean((2, 3), keepdim=True) * output).sum(1, keepdim=True).detach() for gradient, output in layers]


def guided_grad_cam(explained: Explained) -> Sequence[Tensor]:
    """Compute guided backpropagation times Grad-CAM, each input with the Grad-CAM at its own cut.

    ``GuidedGradCam`` takes one layer and multiplies the gradients of all inputs by the map found there, so that the map
    of one twin would end up on the other's image.
    """
    guided = _tensors(GuidedBackprop(explained.network).attribute(explained.inputs, explained.target))
    return [
        gradient * LayerAttribution.interpolate(layer_map.relu(), tuple(gradient.shape[2:]))
        for gradient, layer_map in zip(guided, grad_cam(explained), strict=True)
    ]


def deeplift(explained: Explained) -> Sequence[Tensor]:
    """Compute DeepLift from mid-grey."""
    return _tensors(DeepLift(explained.network).attribute(explained.inputs, explained.grey, explained.target))


def gradient_shap(explained: Explained) -> Sequence[Tensor]:
    """Compute GradientShap from mid-grey, with noise as of SmoothGrad."""
    grey = tuple(each[:1] for each in explained.grey)

    def explain(inputs: tuple[Tensor, ...], target: Tensor) -> tuple[Tensor, ...]:
        maps = GradientShap(explained.network).attribute(
            inputs, grey, n_samples=N_SAMPLES, stdevs=noise_levels(inputs), target=target
        )
        return tuple(maps)

    return pair_by_pair(explain, explained.inputs, explained.target)


def occlusion(explained: Explained) -> Sequence[Tensor]:
    """Hide windows of an eighth of each side, one beside the other, behind mid-grey."""
    windows = tuple(
        (channels, math.ceil(height / _WINDOWS), math.ceil(width / _WINDOWS))
        for channels, height, width in (each.shape[1:] for each in explained.inputs)
    )
    with torch.no_grad(), explained.inputs[0].device:  # where Captum makes its masks
        maps = Occlusion(explained.network).attribute(
            explained.inputs,
            windows,
            strides=windows,
            baselines=explained.grey,
            target=explained.target,
            perturbations_per_eval=max(1, BATCH // (2 * len(explained.target))),
        )
    return _tensors(maps)


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


NEURON: Final = (
    Method("neuron-saliency", "neuron", of_the_neuron(saliency), kind="gradient"),
    Method("neuron-input-x-gradient", "neuron", of_the_neuron(input_x_gradient), kind="contribution"),
    Method("neuron-integrated-gradients", "neuron", of_the_neuron(integrated_gradients), kind="contribution"),
    Method("neuron-grad-cam", "neuron", of_the_neuron(grad_cam), kind="layer"),
    Method("neuron-guided-grad-cam", "neuron", of_the_neuron(guided_grad_cam), kind="gradient"),
    Method("neuron-deeplift", "neuron", of_the_neuron(deeplift), kind="contribution"),
    Method("neuron-gradient-shap", "neuron", of_the_neuron(gradient_shap), kind="contribution"),
    Method("neuron-occlusion", "neuron", of_the_neuron(occlusion), kind="contribution"),
)
"""Of the neuron's response to one image; no map sees the other image."""

SIMILARITY: Final = (
    Method("similarity-saliency", "similarity", of_the_similarity(saliency), kind="gradient"),
    Method("similarity-input-x-gradient", "similarity", of_the_similarity(input_x_gradient), kind="contribution"),
    Method(
        "similarity-integrated-gradients", "similarity", of_the_similarity(integrated_gradients), kind="contribution"
    ),
    Method("similarity-grad-cam", "similarity", of_the_similarity(grad_cam), kind="layer"),
    Method("similarity-guided-grad-cam", "similarity", of_the_similarity(guided_grad_cam), kind="gradient"),
    Method("similarity-deeplift", "similarity", of_the_similarity(deeplift), kind="contribution"),
    Method("similarity-gradient-shap", "similarity", of_the_similarity(gradient_shap), kind="contribution"),
    Method("similarity-occlusion", "similarity", of_the_similarity(occlusion), kind="contribution"),
    Method("cosine-saliency", "similarity", of_the_cosine(saliency), kind="gradient"),
    Method("cosine-integrated-gradients", "similarity", of_the_cosine(integrated_gradients), kind="contribution"),
    Method("cosine-grad-cam", "similarity", of_the_cosine(grad_cam), kind="layer"),
    Method("grad-cam-product", "similarity", product_of_grad_cams, kind="layer"),
)
"""Of the neuron-specific similarity (centred where the readout is), and of the plain cosine, without a neuron."""
