"""One photograph and its references, from inputs to maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr.chance import Significance
from captum_shared.attr.correspondence import activations_at_cut, compared
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.methods.explanation import Explanation, explain
from captum_shared.methods.method import Method
from captum_shared.methods.registry import DEFAULT_METHODS
from captum_shared.study.evidence import PairEvidence
from captum_shared.study.evidencing import evidence_of

_BATCH = 16


@final
@dataclass(frozen=True)
class PairExplanation:
    """The maps of an image and of the reference that suits it best.

    Attributes:
        reference: index of the best reference.
        similarities: neuron-specific similarity of the image with every reference.
        explanations: the maps by name of the method.
    """

    reference: int
    similarities: Float[Tensor, " reference"]
    explanations: Mapping[str, Explanation]


def explain_pair(
    similarity: NeuronSimilarity,
    image: Float[Tensor, "1 channel height width"],
    references: Float[Tensor, "reference channel height width"],
    *,
    target: int = 0,
    methods: Sequence[str | Method] = DEFAULT_METHODS,
    similarities: Float[Tensor, " reference"] | None = None,
) -> PairExplanation:
    """Find the reference that is most similar to the image for a neuron, and what the two share.

    Args:
        similarity: encoder and readout.
        image: the image to explain.
        references: one or more references to choose from.
        target: the neuron.
        methods: names of methods, and methods of one's own, as for :func:`~captum_shared.explain`.
        similarities: by which the reference is chosen, if they are known already, or are others than those that
            ``similarity`` gives, such as the plain cosine whose features are not centred.

    Returns:
        The chosen reference and the maps.

    Raises:
        ImportError: if a method's package is not installed.
        TypeError: if the encoder does not suit a method.
        ValueError: if a method is unknown or given twice, or the images do not fit the encoder.

    Example:
        >>> from captum_shared.encoders import encoder_by_name
        >>> from captum_shared.neurons import LinearReadout
        >>> similarity = NeuronSimilarity(encoder_by_name("embedded", "features"), LinearReadout.uniform(128))
        >>> images = torch.rand(3, 3, 112, 112)
        >>> explain_pair(similarity, images[:1], images[[2, 0]], methods=["paper"]).reference
        1
    """
    if similarities is None:
        inputs = zip(similarity.encoders, (image, references), strict=True)
        own, others = (similarity.checked(_latent(encoder, images)) for encoder, images in inputs)
        similarities = similarity.of_features(own.expand_as(others), others)[:, target]
    best = int(similarities.argmax())
    pair = image, references[best : best + 1]
    return PairExplanation(best, similarities.cpu(), explain(similarity, pair, target, methods=methods))


@torch.no_grad()
def pair_evidence(
    similarity: NeuronSimilarity, inputs: Pair, target: int, tested: Significance | None = None
) -> PairEvidence | None:
    """Tell why the maps of a pair are what they are, as a study keeps it of all of its pairs.

    Args:
        similarity: encoder and readout.
        inputs: one pair (image, reference), each (1, channel, height, width).
        target: the neuron.
        tested: the maps of the pair against chance (:func:`~captum_shared.attr.significance`), if they are tested.

    Returns:
        The evidence; None if the layer has no positions, or they are not averaged.

    Example:
        >>> from captum_shared.encoders import encoder_by_name
        >>> from captum_shared.neurons import LinearReadout
        >>> readout = LinearReadout.uniform(128, [0.1] * 128)
        >>> similarity = NeuronSimilarity(encoder_by_name("embedded", "features"), readout)
        >>> pair = torch.rand(1, 3, 112, 112), torch.rand(1, 3, 112, 112)
        >>> pair_evidence(similarity, pair, 0).correspondence.shape
        (14, 14, 14, 14)
    """
    features = similarity.image_features
    if not isinstance(features, LatentFeatures) or features.pool != "average":
        return None
    cuts = activations_at_cut(similarity, inputs)
    if any(cut.ndim != 4 for cut in cuts):
        return None
    whole = compared(similarity, cuts, target)[0].double().cpu().numpy()
    grids = [(cut.shape[2], cut.shape[3]) for cut in cuts]
    pixels, p_values = None, None
    if tested is not None:
        first, second = ((each.shape[2], each.shape[3]) for each in inputs)
        pixels = torch.cat(tested.of_pixels(first, second)).cpu().numpy()
        p_values = float(tested.p_values[0, 0]), float(tested.p_values[0, 1])
    return evidence_of(whole.reshape(*grids[0], *grids[1]), pixels, p_values)


@torch.no_grad()
def _latent(features: torch.nn.Module, images: Tensor) -> Float[Tensor, "image feature"]:
    return torch.cat([features(batch) for batch in torch.split(images, _BATCH)])
