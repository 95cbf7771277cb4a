"""Captum's methods, on the neuron's response to one image or on the similarity of a pair."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

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
from captum_shared.attr.heatmaps import Kind
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.methods.explained import Explain, Explained, of_the_cosine, of_the_neuron, of_the_similarity
from captum_shared.methods.method import Call, Family, Method
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

    return pair_by_pair(explain, explained.inputs, explained.target, numpy=True)


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


@final
@dataclass(frozen=True)
class _Captum:
    """A method of Captum, whatever it explains."""

    name: str
    explain: Explain
    kind: Kind
    title: str
    passes: tuple[int, int]

    def of(self, what: str, family: Family, explained: Callable[[Explain], Call], *, title: str) -> Method:
        """The record of the method that explains the neuron, the similarity or the cosine."""
        return Method(
            f"{what}-{self.name}",
            family,
            explained(self.explain),
            kind=self.kind,
            title=f"{self.title} of the {title}",
            passes=self.passes,
        )


_N_WINDOWS: Final = _WINDOWS**2
_CAPTUM: Final = (
    _Captum("saliency", saliency, "gradient", "gradient", (1, 1)),
    _Captum("input-x-gradient", input_x_gradient, "contribution", "input times gradient", (1, 1)),
    _Captum(
        "integrated-gradients", integrated_gradients, "contribution", "Integrated Gradients", (N_SAMPLES, N_SAMPLES)
    ),
    _Captum("grad-cam", grad_cam, "layer", "Grad-CAM", (1, 0)),
    _Captum("guided-grad-cam", guided_grad_cam, "gradient", "guided Grad-CAM", (2, 1)),
    _Captum("deeplift", deeplift, "contribution", "DeepLift", (2, 2)),
    _Captum("gradient-shap", gradient_shap, "contribution", "GradientShap", (N_SAMPLES, N_SAMPLES)),
)

NEURON: Final = tuple(
    each.of("neuron", "neuron", of_the_neuron, title="neuron")
    for each in (*_CAPTUM, _Captum("occlusion", occlusion, "contribution", "occlusion", (_N_WINDOWS + 1, 0)))
)
"""Of the neuron's response to one image; no map sees the other image."""

SIMILARITY: Final = (
    *(
        each.of("similarity", "similarity", of_the_similarity, title="similarity")
        for each in (*_CAPTUM, _Captum("occlusion", occlusion, "contribution", "occlusion", (2 * _N_WINDOWS + 1, 0)))
    ),
    *(
        each.of("cosine", "similarity", of_the_cosine, title="plain cosine")
        for each in _CAPTUM
        if each.name in ("saliency", "integrated-gradients", "grad-cam")
    ),
    Method(
        "grad-cam-product",
        "similarity",
        product_of_grad_cams,
        kind="layer",
        title="Grad-CAM of the neuron times that of the cosine",
        passes=(2, 0),
    ),
)
"""Of the neuron-specific similarity (centred where the readout is), and of the plain cosine, without a neuron."""
