"""One pair of photographs from files to maps."""

from dataclasses import dataclass
from typing import Any

import captum.attr
import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr.backpropagation import backpropagate
from captum_shared.attr.heatmaps import Kind
from captum_shared.attr.pairs import Pair
from captum_shared.attr.parallel import ParallelSharedAttribution
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import mid_grey
from captum_shared.neurons.readout import LinearReadout

_BATCH = 16


@dataclass(frozen=True)
class PairExplanation:
    """The maps of an image and of the reference that suits it best.

    Attributes:
        reference: index of the best reference.
        similarities: neuron-specific similarity of the image with every reference.
        maps: signed maps of the image and of the reference by name of the method, as its ``attribute`` gives them.
        kinds: what the maps of each method are, which decides how they are drawn (:func:`~captum_shared.attr.heatmap`).
        size: height and width of the images in pixels.
    """

    reference: int
    similarities: Float[Tensor, " reference"]
    maps: dict[str, Pair]
    kinds: dict[str, Kind]
    size: tuple[int, int]


def explain_pair(
    features: LatentFeatures,
    readout: LinearReadout | None,
    *,
    image: Float[Tensor, "1 channel height width"],
    references: Float[Tensor, "reference channel height width"],
    target: int = 0,
    jacobian: str = "gradient",
) -> PairExplanation:
    """Find the reference that is most similar to the image for a neuron, and what the two share.

    Args:
        features: the encoder.
        readout: the neurons; None for plain cosine similarity.
        image: the image to explain.
        references: one or more references to choose from.
        target: the neuron.
        jacobian: ``"gradient"``, ``"integrated_gradients"`` from mid-grey, or the name of an attribution class in
            ``captum.attr`` that needs nothing but a module and its inputs.

    Returns:
        Maps of the pixels and, where the cut has positions in rows and columns, of the cut layer.

    Raises:
        TypeError: if the class of ``jacobian`` needs further arguments.
        ValueError: if ``jacobian`` is unknown, or the images do not fit the encoder.

    Example:
        >>> from captum_shared.encoders import encoder_by_name
        >>> features = encoder_by_name("embedded", "features")
        >>> images = torch.rand(3, 3, 112, 112)
        >>> explain_pair(features, None, image=images[:1], references=images[[2, 0]]).reference
        1
    """
    own = _latent(features, image)
    similarity = NeuronSimilarity(features, LinearReadout.uniform(own.shape[1]).to(own) if readout is None else readout)
    best, similarities = 0, None
    if len(references) > 1:
        others = similarity.checked(_latent(features, references))
        similarities = similarity.of_features(own.expand_as(others), others)[:, target]
        best = int(similarities.argmax())
    pair = image, references[best : best + 1]
    result = backpropagate(similarity, pair, target)
    if similarities is None:
        similarities = similarity.of_features(*result.features)[:, target]
    name = f"shared, {jacobian.replace('_', ' ')}"
    maps: dict[str, Pair] = {name: result.pixel_maps}
    kinds: dict[str, Kind] = {name: "gradient"}
    if jacobian != "gradient":
        maps[name], kinds[name] = _with_captum(similarity, pair, target, jacobian)
    if result.layer_maps[0].ndim == 4 and not features.channels_last:
        maps["shared, layer"], kinds["shared, layer"] = result.layer_maps, "layer"
    return PairExplanation(best, similarities.cpu(), maps, kinds, (image.shape[2], image.shape[3]))


def _with_captum(similarity: NeuronSimilarity, pair: Pair, target: int, jacobian: str) -> tuple[Pair, Kind]:
    named: Any = getattr(captum.attr, jacobian, jacobian)
    method = ParallelSharedAttribution(similarity, named)
    arguments: dict[str, Any] = {}
    if jacobian == "integrated_gradients":
        grey = mid_grey(similarity.image_features, pair[0]), mid_grey(similarity.image_features, pair[1])
        arguments = {"baselines": grey, "internal_batch_size": _BATCH}
    maps = method.attribute(pair, target, **arguments)
    return maps, "contribution" if method.multiplies_by_inputs else "gradient"


@torch.no_grad()
def _latent(features: LatentFeatures, images: Tensor) -> Float[Tensor, "image feature"]:
    return torch.cat([features(batch) for batch in torch.split(images, _BATCH)])
