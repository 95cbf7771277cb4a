"""What the features could tell if no cell of an image saw another: a ceiling, not a method."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr.pairs import Pair
from captum_shared.attr.places import corresponding
from captum_shared.attr.population import Population
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import mid_grey, takes
from captum_shared.encoders.windows import WINDOW, local_features
from captum_shared.methods.explained import cut_at_positions
from captum_shared.methods.method import Method


def cells_alone(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute the maps of :class:`~captum_shared.SharedCorrespondence` from the features of every quadrant alone.

    Neither the network nor the window, which is as large as it is there, reaches from one quadrant into another. A
    network that takes no smaller images sees every quadrant where it is, with mid-grey in place of the others.

    Args:
        similarity: encoder and readout.
        inputs: the pair, each image of four cells.
        target: the neuron of each pair.

    Returns:
        Maps at the cut, (image, 1, row, column), to be compared with those of the correspondence at the cut.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> encoder = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU()), "1")
        >>> similarity = NeuronSimilarity(encoder, LinearReadout.uniform(2))
        >>> cells_alone(similarity, (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)), torch.tensor([0]))[0].shape
        torch.Size([1, 1, 8, 8])
    """
    encoder = cut_at_positions(similarity.image_features, inputs[0])
    with torch.no_grad():
        first, second = (_alone(encoder, images) for images in inputs)
    mean, population = similarity.readout.feature_mean.to(first[0]), Population.of(similarity.readout, first[0])
    places = [torch.cat([local_features(cell, mean, 2 * WINDOW) for cell in cells], 1) for cells in (first, second)]
    compared = corresponding(places[0], places[1], population, target.to(first[0].device))
    return _put_together(compared.sum(2), first), _put_together(compared.sum(1), second)


def _alone(encoder: LatentFeatures, images: Tensor) -> list[Tensor]:
    """The activation of every quadrant."""
    cells = _quadrants(images)
    if all(takes(encoder, cell) for cell in cells):
        return [encoder.activation(cell) for cell in cells]
    activations = []
    for number in range(4):
        canvas = mid_grey(encoder, images).clone()
        _quadrants(canvas)[number].copy_(cells[number])
        activations.append(_quadrants(encoder.activation(canvas))[number])
    return activations


def _quadrants(images: Float[Tensor, "image channel height width"]) -> list[Tensor]:
    return [cell for row in images.chunk(2, dim=2) for cell in row.chunk(2, dim=3)]


def _put_together(values: Float[Tensor, "image position"], cells: list[Tensor]) -> Float[Tensor, "image 1 row column"]:
    """Lay the values of all positions, quadrant by quadrant, where they belong."""
    counts = [cell.shape[2:].numel() for cell in cells]
    quadrants = [
        each.reshape(-1, 1, *cell.shape[2:]) for each, cell in zip(torch.split(values, counts, 1), cells, strict=True)
    ]
    return torch.cat([torch.cat(quadrants[:2], 3), torch.cat(quadrants[2:], 3)], 2)


CEILING: Final = Method("ceiling", "ceiling", cells_alone, kind="layer")
"""What the features could tell, as a row beside the methods."""
