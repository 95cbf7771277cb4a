"""One pair of photographs from files to maps."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import captum.attr
import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr.heatmaps import Kind
from captum_shared.attr.layer import LayerSharedAttribution
from captum_shared.attr.parallel import ParallelSharedAttribution
from captum_shared.attr.references import ReferenceBank
from captum_shared.attr.similarity import NeuronSimilarity

_GRADIENTS: Final = ("gradient", "Saliency", "GuidedBackprop", "Deconvolution", "GuidedGradCam")
"""Jacobians whose sign alternates along every edge; those of Captum's other classes give contributions."""


@dataclass(frozen=True)
class PairExplanation:
    """The maps of an image and of the reference that suits it best.

    Attributes:
        reference: position of the best reference among those given.
        similarities: neuron-specific similarity of the image with every reference given.
        maps: signed maps of the image and of the reference by name of the method, as its ``attribute`` gives them.
        kinds: what the maps of each method are, which decides how they are drawn (:func:`~captum_shared.attr.heatmap`).
        size: height and width of the images in pixels.
    """

    reference: int
    similarities: Float[Tensor, " reference"]
    maps: dict[str, tuple[Tensor, Tensor]]
    kinds: dict[str, Kind]
    size: tuple[int, int]


def explain_pair(
    similarity: NeuronSimilarity,
    image: Float[Tensor, "1 channel height width"],
    references: Float[Tensor, "reference channel height width"],
    *,
    target: int,
    jacobian: str = "gradient",
    **options: Any,
) -> PairExplanation:
    """Find the reference that is most similar to the image for a neuron, and what the two share.

    Args:
        similarity: encoder and readout.
        image: the image to explain.
        references: one or more references to choose from.
        target: the neuron.
        jacobian: ``"gradient"``, ``"integrated_gradients"`` or the name of an attribution class in ``captum.attr``.
        **options: what that method takes, such as ``n_steps``.

    Returns:
        Maps of the pixels and, where the cut has positions in rows and columns, of the cut layer.

    Raises:
        ValueError: if ``jacobian`` is unknown, or the images do not fit the encoder.

    Example:
        >>> from captum_shared import LinearReadout
        >>> from captum_shared.encoders import encoder_by_name
        >>> features = encoder_by_name("embedded", "features")
        >>> similarity = NeuronSimilarity(features, LinearReadout.uniform(features.feature_shape[0]))
        >>> images = torch.rand(3, 3, 112, 112)
        >>> explain_pair(similarity, images[:1], images[[2, 0]], target=0).reference
        1
    """
    bank = ReferenceBank(similarity, references, driver_fraction=1.0)
    match = bank.search(image, target, top_k=len(references))
    best = int(match.indices[0, 0])
    pair = (image, references[best : best + 1])
    method = ParallelSharedAttribution(similarity, _jacobian(jacobian, options))
    name = f"shared, {jacobian.replace('_', ' ')}"
    maps = {name: method.attribute(pair, target, **options)}
    kinds: dict[str, Kind] = {name: "gradient" if jacobian in _GRADIENTS else "contribution", "shared, layer": "layer"}
    layer_maps = LayerSharedAttribution(similarity).attribute(pair, target)
    if layer_maps[0].ndim == 4 and not getattr(similarity.image_features, "channels_last", False):
        maps["shared, layer"] = layer_maps
    similarities = torch.empty(len(references)).scatter_(0, match.indices[0].cpu(), match.similarities[0].cpu().float())
    return PairExplanation(best, similarities, maps, kinds, (image.shape[2], image.shape[3]))


def _jacobian(name: str, options: Mapping[str, Any]) -> Any:
    method = getattr(captum.attr, name, name)
    if isinstance(method, type) and hasattr(method, "attribute"):
        parameters = list(inspect.signature(method.attribute).parameters.values())[2:]
        missing = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        if set(missing) - set(options):
            raise ValueError(f"{name} needs {', '.join(missing)}, for which there is no option here. Use it in Python.")
    return method
