"""How long paths are and how noise is drawn: the same for every method, so that none gains by it."""

import contextlib
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor

from captum_shared.attr.randomness import drawn_from

N_SAMPLES: Final = 16
"""Steps of a path, and noisy copies of an image, in every method that has them."""

BATCH: Final = 64
"""Images in one pass of a method that makes many of one."""

_NOISE: Final = 0.1


def noise_levels(images: tuple[Tensor, ...]) -> tuple[float, ...]:
    """Return the standard deviation of the noise to add to each image, as SmoothGrad has it: a share of its range.

    Args:
        images: one tensor an input of the network.

    Returns:
        0.1 of the difference between the brightest and the darkest value of each (the authors: 0.1 to 0.2).

    Source:
        Smilkov et al., SmoothGrad: removing noise by adding noise, 2017.

    Example:
        >>> noise_levels((torch.tensor([1.0, 3.0]),))
        (0.2,)
    """
    return tuple(_NOISE * (image.max() - image.min()).item() for image in images)


@contextlib.contextmanager
def drawn_for(*images: Tensor, numpy: bool = False) -> Iterator[None]:
    """Draw from a seed that the images make themselves, and leave the random states as they are.

    So noise neither depends on what was drawn before nor on the batch, yet differs from pair to pair.

    Args:
        *images: the images.
        numpy: whether NumPy is drawn from too (:func:`~captum_shared.attr.randomness.drawn_from`).

    Yields:
        Nothing.

    Example:
        >>> image = torch.rand(1, 3, 2, 2)
        >>> def draw() -> Tensor:
        ...     with drawn_for(image):
        ...         return torch.rand(3)
        >>> bool((draw() == draw()).all())
        True
    """
    seed = zlib.crc32(b"".join(image.detach().double().cpu().numpy().tobytes() for image in images))
    with drawn_from(seed, numpy=numpy):
        yield


def pair_by_pair(
    explain: Callable[[tuple[Tensor, ...], Tensor], tuple[Tensor, ...]],
    inputs: tuple[Tensor, ...],
    target: Tensor,
    *,
    numpy: bool = False,
) -> tuple[Tensor, ...]:
    """Run a method that draws noise on each example by itself, with :func:`drawn_for` its images.

    Args:
        explain: from the inputs and the target of one example to its maps.
        inputs: one tensor an input of the network, image first.
        target: the neuron of each example.
        numpy: whether the method draws from NumPy.

    Returns:
        The maps of all examples.

    Example:
        >>> images = torch.rand(2, 3, 1, 1)
        >>> (noise,) = pair_by_pair(lambda x, k: (torch.rand(x[0].shape),), (images,), torch.tensor([0, 0]))
        >>> bool((noise[0] == noise[1]).any())
        False
    """
    maps = []
    for row in range(len(target)):
        example = tuple(each[row : row + 1].detach().requires_grad_() for each in inputs)
        with drawn_for(*example, numpy=numpy):
            maps.append(explain(example, target[row : row + 1]))
    return tuple(torch.cat(each) for each in zip(*maps, strict=True))
