"""Neuron-specific similarity of latent features, and the features that make it up."""

import functools

import torch
from jaxtyping import Float
from torch import Tensor


def shared_weights(
    image_features: Float[Tensor, "image feature"],
    reference_features: Float[Tensor, "image feature"],
    weight: Float[Tensor, "#image feature"],
    *,
    excitatory: bool = False,
) -> Float[Tensor, "image feature"]:
    r"""Weigh each feature by what it adds to the neuron-specific similarity of a pair.

    .. math:: h = \frac{w^2 \circ v(x) \circ v(r)}{\lVert w \circ v(x) \rVert \; \lVert w \circ v(r) \rVert}

    Features that are present in both images and used by the neuron are enhanced, all others attenuated. The sum
    over features is the neuron-specific similarity. Where either norm is zero, all of h is zero (a choice: the
    paper leaves it open).

    Squared, w loses its sign: features that inhibit the neuron in both images count like those that drive it. With
    ``excitatory`` only features with w v > 0 in both images keep their h, and the sum is no longer the similarity.

    Args:
        image_features: centred features v(x) of the images.
        reference_features: centred features v(r) of their references.
        weight: the neuron's readout weights w, one row for all pairs or one row a pair. Its scale has no effect.
        excitatory: whether features that do not drive the neuron in both images get zero; not in the paper.

    Returns:
        h, dimensionless, between -1 and 1, with row sums between -1 and 1.

    Source:
        Lappe et al., Parallel Backpropagation for Shared-Feature Visualization, NeurIPS 2024.

    Example:
        >>> v = torch.tensor([[3.0, 4.0]])
        >>> shared_weights(v, v, torch.ones(1, 2))
        tensor([[0.3600, 0.6400]])
        >>> shared_weights(v, v, torch.tensor([[1.0, -1.0]]), excitatory=True)
        tensor([[0.3600, 0.0000]])
    """
    image, reference = weighted(weight, image_features), weighted(weight, reference_features)
    shared = image.clamp(min=0) * reference.clamp(min=0) if excitatory else image * reference
    return shared.to(_dtype_of(image_features, reference_features, weight))


def neuron_similarity(
    image_features: Float[Tensor, "image feature"],
    reference_features: Float[Tensor, "image feature"],
    weight: Float[Tensor, "neuron feature"],
) -> Float[Tensor, "image neuron"]:
    r"""Compute the similarity of each pair as each neuron sees it.

    .. math:: s_k(x, r) = \cos(w_k \circ v(x), w_k \circ v(r))

    Args:
        image_features: centred features v(x) of the images.
        reference_features: centred features v(r) of their references.
        weight: readout weights, a row a neuron.

    Returns:
        Cosines, between -1 and 1; zero where the neuron uses nothing of one of the images.

    Source:
        Lappe et al., Parallel Backpropagation for Shared-Feature Visualization, NeurIPS 2024.

    Example:
        >>> v, r = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, -4.0]])
        >>> neuron_similarity(v, r, torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 2.0]]))
        tensor([[-0.2800,  1.0000, -1.0000]])
    """
    squared = rescaled(wide(weight)).square().mT
    image, reference = rescaled(wide(image_features)), rescaled(wide(reference_features))
    product = (image * reference) @ squared
    power = torch.stack((image.square() @ squared, reference.square() @ squared))
    norms = torch.where(power > 0, power, 1).sqrt()
    cosines = torch.where((power > 0).all(0), product / norms.prod(0), 0)
    return cosines.to(_dtype_of(image_features, reference_features, weight))


def pairwise_similarity(
    image_features: Float[Tensor, "image feature"],
    reference_features: Float[Tensor, "reference feature"],
    weight: Float[Tensor, " feature"],
) -> Float[Tensor, "image reference"]:
    """Compute the similarity of every image with every reference as one neuron sees it.

    Args:
        image_features: centred features v(x) of the images.
        reference_features: centred features v(r) of the references.
        weight: the neuron's readout weights.

    Returns:
        Cosines as of :func:`neuron_similarity`.

    Example:
        >>> v = torch.eye(2)
        >>> pairwise_similarity(v, v, torch.ones(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    cosines = weighted(weight[None], image_features) @ weighted(weight[None], reference_features).mT
    return cosines.to(_dtype_of(image_features, reference_features, weight))


def rescaled(rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
    """Divide each row by its largest magnitude, which no cosine notices, so that squares stay in range.

    Args:
        rows: weights or features.

    Returns:
        Rows between -1 and 1; those of zeros as they are.

    Example:
        >>> rescaled(torch.tensor([[2.0, -4.0], [0.0, 0.0]]))
        tensor([[ 0.5000, -1.0000],
                [ 0.0000,  0.0000]])
    """
    largest = rows.detach().abs().amax(-1, keepdim=True)
    return rows / torch.where(largest > 0, largest, 1)


def wide(tensor: Tensor) -> Tensor:
    """Return numbers in float64, or in float32 on a device that has no more.

    Args:
        tensor: weights or features.

    Returns:
        The same numbers, whose squares and products do not leave the range.

    Example:
        >>> wide(torch.tensor([1.0], dtype=torch.float16)).dtype
        torch.float64
    """
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def weighted(
    weight: Float[Tensor, "#row feature"], features: Float[Tensor, "row feature"]
) -> Float[Tensor, "row feature"]:
    """Return vectors w v of length 1: neither the unit of the weights nor that of the features has an effect.

    Args:
        weight: readout weights w.
        features: centred features v.

    Returns:
        The vectors in :func:`wide` precision; zeros where the neuron uses nothing of an image.

    Example:
        >>> weighted(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]]))
        tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    return _unit(rescaled(wide(weight)) * rescaled(wide(features)))


def _dtype_of(*tensors: Tensor) -> torch.dtype:
    return functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def _unit(rows: Tensor) -> Tensor:
    """Divide each row by its norm; rows of zeros stay zeros, with zero gradient."""
    rows = rescaled(rows)
    power = rows.square().sum(-1, keepdim=True)
    return rows / torch.where(power > 0, power, 1).sqrt()
