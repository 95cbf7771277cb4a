"""Maps that know nothing of networks: what any method has to beat."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.methods.method import Method
from captum_shared.methods.sampling import pair_by_pair

_WIDTH = 0.25


def random(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Draw each pixel uniformly between 0 and 1, from a seed that the images make.

    Args:
        similarity: not used.
        inputs: the pair (images, references).
        target: not used.

    Returns:
        Maps (image, 1, height, width).
    """

    def draw(pair: tuple[Tensor, ...], _: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.rand(each[:, :1].shape, dtype=each.dtype, device=each.device) for each in pair)

    maps = pair_by_pair(draw, inputs, target)
    return maps[0], maps[1]


def centre_gaussian(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Draw a Gaussian in the middle, with a standard deviation of a quarter of each side.

    Args:
        similarity: not used.
        inputs: the pair (images, references).
        target: not used.

    Returns:
        Maps (image, 1, height, width), 1 in the centre.
    """
    first, second = (
        gaussian(images.shape[2], images.shape[3]).to(images).expand(len(images), 1, -1, -1) for images in inputs
    )
    return first, second


def edge_energy(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute the strength of the edges in the grey image.

    Args:
        similarity: not used.
        inputs: the pair (images, references).
        target: not used.

    Returns:
        Maps (image, 1, height, width) of :func:`sobel_magnitude`.
    """
    first, second = (sobel_magnitude(images.detach().mean(1))[:, None] for images in inputs)
    return first, second


def gaussian(height: int, width: int) -> Float[Tensor, "height width"]:
    """Return a Gaussian around the centre, with a standard deviation of a quarter of each side.

    Args:
        height: pixels.
        width: pixels.

    Returns:
        Values up to 1.

    Example:
        >>> gaussian(1, 4)
        tensor([[0.3247, 0.8825, 0.8825, 0.3247]])
    """
    profiles = []
    for side in (height, width):
        away = (torch.arange(side) - (side - 1) / 2) / (_WIDTH * side)
        profiles.append(torch.exp(-0.5 * away.square()))
    return torch.outer(*profiles)


def sobel_magnitude(grey: Float[Tensor, "image height width"]) -> Float[Tensor, "image height width"]:
    """Compute the length of Sobel's gradient; beyond its border an image is mirrored.

    Args:
        grey: grey images, at least 2 x 2 pixels.

    Returns:
        Lengths in the unit of the image, eight times what a brightness that grows by one a pixel has.

    Example:
        >>> sobel_magnitude(torch.tensor([[[0.0, 1.0, 2.0]] * 3]))[0, 1]
        tensor([0., 8., 0.])
    """
    slope = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(grey)
    padded = nn.functional.pad(grey[:, None], (1, 1, 1, 1), mode="reflect")
    gradient = nn.functional.conv2d(padded, torch.stack((slope, slope.mT))[:, None])
    return gradient.square().sum(1).sqrt()


TRIVIAL: Final = (
    Method("random", "trivial", random, kind="layer", title="random", passes=(0, 0)),
    Method("centre-gaussian", "trivial", centre_gaussian, kind="layer", title="Gaussian in the centre", passes=(0, 0)),
    Method("edge-energy", "trivial", edge_energy, kind="layer", title="edges of the image", passes=(0, 0)),
)
