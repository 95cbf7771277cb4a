"""Other methods under the call of ours: a pair of images in, a pair of maps out."""

from captum.attr import LayerGradCam, Saliency
from torch import Tensor, nn

from captum_shared._captum import TargetType
from captum_shared.features import LatentFeatures
from captum_shared.similarity import NeuronSimilarity


def neuron_gradcam(
    similarity: NeuronSimilarity, inputs: tuple[Tensor, Tensor], target: TargetType = None
) -> tuple[Tensor, Tensor]:
    """Compute Grad-CAM of the neuron's response at the cut, for each image alone.

    Args:
        similarity: encoder (:class:`~captum_shared.features.LatentFeatures`) and readout.
        inputs: the pair (images, references).
        target: the neuron, as in Captum.

    Returns:
        Maps at the cut layer, (image, 1, height, width), of the images and of the references; not rectified.

    Raises:
        TypeError: if the encoder has no cut.

    Example:
        >>> import torch
        >>> from captum_shared import LinearReadout
        >>> encoder = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), "1")
        >>> images = torch.rand(2, 3, 6, 6)
        >>> similarity = NeuronSimilarity(encoder, LinearReadout(torch.ones(1, 2)))
        >>> neuron_gradcam(similarity, (images, images))[0].shape
        torch.Size([2, 1, 4, 4])
    """
    features = similarity.image_features
    if not isinstance(features, LatentFeatures):
        raise TypeError(f"Grad-CAM needs LatentFeatures, whose cut is a layer, but got {type(features).__name__}.")
    method = LayerGradCam(nn.Sequential(features, similarity.readout), features.cut)
    first, second = (method.attribute(images, target).detach() for images in inputs)
    return first, second


def neuron_saliency(
    similarity: NeuronSimilarity, inputs: tuple[Tensor, Tensor], target: TargetType = None
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of the neuron's response with respect to the pixels, for each image alone.

    Args:
        similarity: encoder and readout.
        inputs: the pair (images, references).
        target: the neuron, as in Captum.

    Returns:
        Signed maps of the images and of the references, each of the shape of its input.

    Example:
        >>> import torch
        >>> from captum_shared import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[2.0, 0.0, -1.0]]))
        >>> images = torch.zeros(1, 3, 1, 1)
        >>> neuron_saliency(similarity, (images, images))[0].flatten()
        tensor([ 2.,  0., -1.])
    """
    method = Saliency(nn.Sequential(similarity.image_features, similarity.readout))
    first, second = (
        method.attribute(images.detach().clone().requires_grad_(), target, abs=False).detach() for images in inputs
    )
    return first, second
