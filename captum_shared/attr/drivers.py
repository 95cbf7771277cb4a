"""The images that drive a neuron most: those with the strongest responses, of equal ones those that come first."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_shared.attr.cosines import wide


@final
class Drivers:
    """The drivers of some neurons, told by the weakest of each.

    Args:
        responses: of all images, (image, neuron), without NaN.
        neurons: which neurons.
        n_drivers: how many images are drivers of each, at least 1.

    Example:
        >>> drivers = Drivers(torch.tensor([[1.0], [3.0], [1.0]]), torch.tensor([0]), 2)
        >>> drivers.among(torch.tensor([0, 1, 2])).mT
        tensor([[ True,  True, False]])
    """

    def __init__(
        self, responses: Float[Tensor, "image all_neurons"], neurons: Int[Tensor, " neuron"], n_drivers: int
    ) -> None:
        self._responses, self._neurons = responses, neurons
        weakest = [_weakest(responses[:, neuron], n_drivers) for neuron in neurons.tolist()]
        self._least, self._last = (torch.stack(part) for part in zip(*weakest, strict=True))

    def among(self, images: Int[Tensor, " image"]) -> Bool[Tensor, "image neuron"]:
        """Return which images are drivers of which neurons.

        Args:
            images: their indices.
        """
        responses = self._responses[images][:, self._neurons]
        return (responses > self._least) | ((responses == self._least) & (images[:, None] <= self._last))


def _weakest(responses: Tensor, n_drivers: int) -> tuple[Tensor, Tensor]:
    """The response to the weakest driver of a neuron, and its index."""
    least = wide(responses).kthvalue(len(responses) - n_drivers + 1).values
    equal = (responses == least).nonzero()[:, 0]
    return least, equal[n_drivers - 1 - int((responses > least).sum())]
