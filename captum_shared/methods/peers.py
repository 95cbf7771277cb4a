"""Methods of other packages, run by these packages themselves; they come with the extra ``peers``."""

import importlib
import warnings
from types import ModuleType
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.methods.explained import cut_at_positions
from captum_shared.methods.method import Method


def peer(module: str) -> ModuleType:
    """Import a module of a package that only some methods need.

    Args:
        module: its dotted name.

    Returns:
        The module.

    Raises:
        ImportError: if the package is not installed.

    Example:
        >>> peer("captum.attr").__name__
        'captum.attr'
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This method is run by the package {module.partition('.')[0]}, which is not installed. Install it with: "
            "pip install 'captum-shared[peers]'."
        ) from error


@final
class SimilarityToConcept:
    """The target that pytorch-grad-cam's tutorial on embeddings defines: cosine with the embedding of a concept.

    Args:
        concept: features of the other image.

    Source:
        Gildenblat et al., pytorch-grad-cam, tutorial "Pixel Attribution for embeddings".

    Example:
        >>> SimilarityToConcept(torch.tensor([3.0, 4.0]))(torch.tensor([1.0, 0.0]))
        tensor(0.6000)
    """

    def __init__(self, concept: Float[Tensor, " feature"]) -> None:
        self.concept = concept

    def __call__(self, features: Float[Tensor, " feature"]) -> Float[Tensor, ""]:
        """Compute the cosine."""
        return torch.cosine_similarity(features, self.concept, dim=0)


def embedding_similarity_cam(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute pytorch-grad-cam's Grad-CAM of the cosine of embeddings, each image in turn being the other's concept.

    The neuron has no part in it. The package rectifies its maps and stretches each from 0 to 1, so that they do not
    tell how much a pair shares.

    Args:
        similarity: twins of :class:`~captum_shared.LatentFeatures`.
        inputs: the pair (images, references).
        target: the neuron of each pair; not used.

    Returns:
        Maps (image, 1, height, width) of the images and of the references, of the size of each.

    Raises:
        ImportError: if pytorch-grad-cam is not installed.
        TypeError: if the encoder has no cut.
        ValueError: if it is cut at a layer without positions, or references have an encoder of their own.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> encoder = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), "1")
        >>> pair = torch.rand(1, 3, 6, 6, requires_grad=True), torch.rand(1, 3, 6, 6, requires_grad=True)
        >>> similarity = NeuronSimilarity(encoder, LinearReadout.uniform(2))
        >>> embedding_similarity_cam(similarity, pair, torch.tensor([0]))[0].shape
        torch.Size([1, 1, 6, 6])
    """
    encoder, other = similarity.encoders
    if encoder is not other:
        raise ValueError("pytorch-grad-cam's similarity of embeddings is for two images by one encoder, but got two.")
    cam = peer("pytorch_grad_cam").GradCAM(encoder, [cut_at_positions(encoder, inputs[0]).cut])
    try:
        with torch.no_grad():
            image_features, reference_features = similarity.latent_features(*inputs)
        maps = [
            torch.from_numpy(cam(images, [SimilarityToConcept(concept) for concept in concepts]))[:, None].to(images)
            for images, concepts in zip(inputs, (reference_features, image_features), strict=True)
        ]
    finally:
        cam.activations_and_grads.release()
    return maps[0], maps[1]


PEERS: Final = (
    Method(
        "cosine-pytorch-grad-cam",
        "similarity",
        embedding_similarity_cam,
        kind="layer",
        title="pytorch-grad-cam of the plain cosine",
        passes=(2, 1),
        package="pytorch_grad_cam",
    ),
)
"""Of the plain cosine, without a neuron."""
