"""Every use of Captum's private helpers, so that a change in Captum is met in one place."""

from typing import TypeAlias

import torch
from captum._utils.common import _select_targets
from jaxtyping import Int
from torch import Tensor

TargetType: TypeAlias = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | None


def select_neurons(n_images: int, n_neurons: int, target: TargetType) -> Int[Tensor, " image"]:
    """Return the index of the neuron that a Captum ``target`` selects for each image.

    The indices are picked by Captum's own selection from a table of neuron numbers, so that every form of
    ``target`` means here what it means there and a wrong one fails in the same way.

    Args:
        n_images: number of images in the batch.
        n_neurons: number of neurons in the readout.
        target: an int or a one-element tuple for all images; a list of ints, a tensor or a list of
            one-element tuples with one entry an image; None where there is only one neuron.

    Returns:
        The neuron of each image, shape (image,), in the range 0 to ``n_neurons - 1``.

    Raises:
        AssertionError: as Captum does, if ``target`` is missing where there are several neurons, or has a
            wrong length or type.
        IndexError: as PyTorch does, if it is out of range.

    Example:
        >>> select_neurons(2, 4, [3, 0])
        tensor([3, 0])
    """
    device = target.device if isinstance(target, Tensor) else None
    neurons = torch.arange(n_neurons, device=device).expand(n_images, n_neurons)
    selected: Tensor = _select_targets(neurons, target)
    if selected[0].numel() != 1:
        raise AssertionError(
            "Target not provided when necessary, cannot take gradient with respect to multiple outputs."
        )
    return selected.reshape(n_images)
