"""A readout for those who have no neurons: what images alone tell of an encoder."""

import warnings
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.inputs import check_is_tensor
from captum_shared.encoders.windows import local_scatter
from captum_shared.neurons.readout import LinearReadout

_FEW: Final = 10


@torch.no_grad()
def embedding_readout(
    features: LatentFeatures, images: Float[Tensor, "image channel height width"], *, batch_size: int = 32
) -> LinearReadout:
    """Make the readout of plain embedding similarity, from images that show what the encoder is used for.

    The images tell the mean from which features are measured, and how the features of places differ within an image
    (:mod:`captum_shared.attr.places`). Many of all sorts are best, such as all references that there are: the mean of
    fewer than ten is about what they share, so that little or nothing is left of it.

    Args:
        features: the encoder.
        images: inputs of it, at least one.
        batch_size: how many pass through the network at a time.

    Returns:
        A readout with one neuron of equal weights, on the CPU.

    Raises:
        ValueError: if there are no images.

    Warns:
        UserWarning: if there are fewer than ten.

    Example:
        >>> from captum_shared import NeuronSimilarity, SharedCorrespondence
        >>> features = LatentFeatures(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), "1")
        >>> images = torch.rand(10, 3, 12, 12)
        >>> similarity = NeuronSimilarity(features, embedding_readout(features, images))
        >>> SharedCorrespondence(similarity).attribute((images[:1], images[1:2]))[0].shape
        torch.Size([1, 1, 10, 10])
    """
    check_is_tensor(images)
    if len(images) == 0:
        raise ValueError("Expected at least one image to take the mean of, got none.")
    if len(images) < _FEW:
        warnings.warn(
            f"Features are measured from the mean of the images, and that of {len(images)} is about what they share, "
            f"so that little or nothing of it counts as shared. Give {_FEW} or more, best of all sorts.",
            UserWarning,
            stacklevel=3,
        )
    with local_scatter(features) as scatter:
        latent = torch.cat([features(batch) for batch in torch.split(images, batch_size)]).cpu()
    known = None if scatter.mean is None else scatter.mean.cpu()
    return LinearReadout.uniform(latent.shape[1], latent.mean(0), known)
