"""Where one point of an image is found in the reference."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.correspondence import SharedCorrespondence, activations_at_cut, compared
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.similarity import NeuronSimilarity


@final
@dataclass(frozen=True, eq=False)
class Counterpart:
    """Where a point is found.

    Attributes:
        map: how much every position of the reference shares with the point, in the unit of the correspondence.
        strength: what the point shares with the reference altogether, as a share of what the strongest position of the
            image does; 0 if it does not drive the neuron, or is not found.

    Example:
        >>> Counterpart(torch.tensor([[[[0.1, 0.0]]]]), 1.0).strength
        1.0
    """

    map: Float[Tensor, "1 1 row column"]
    strength: float


@torch.no_grad()
def counterpart(
    similarity: NeuronSimilarity, inputs: Pair, target: TargetType = None, *, point: tuple[float, float]
) -> Counterpart:
    """Find the counterpart of one point of the image in the reference, as a neuron sees it.

    It is the row of the correspondence that belongs to the position of the layer around the point: summed over all
    points these maps are the map of the reference.

    Args:
        similarity: encoder and readout, as for :class:`~captum_shared.SharedCorrespondence`.
        inputs: one pair (image, reference), each (1, channel, height, width).
        target: the neuron, as anywhere in Captum.
        point: x and y in pixels of the image as the network takes it, from its upper left corner.

    Returns:
        The counterpart.

    Raises:
        TypeError: as :class:`~captum_shared.SharedCorrespondence` and its ``correspondence``.
        ValueError: likewise, or if there is more than one pair, or the point lies outside of the image.
        RuntimeError: in inference mode.

    Warns:
        UserWarning: if the ``feature_mean`` of the readout is zero.

    Example:
        >>> from torch import nn
        >>> from captum_shared.encoders.features import LatentFeatures
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> features = LatentFeatures(nn.Sequential(nn.Identity()), "0")
        >>> similarity = NeuronSimilarity(features, LinearReadout(torch.eye(2), feature_mean=[0.1, 0.1]))
        >>> image = torch.eye(2).reshape(1, 2, 1, 2)  # one feature on the left, the other on the right
        >>> counterpart(similarity, (image, image.flip(3)), target=0, point=(0.5, 0.5)).map.argmax()
        tensor(1)
    """
    method = SharedCorrespondence(similarity)
    pair = checked_pair(inputs)
    if len(pair[0]) != 1:
        raise ValueError(f"Expected one pair, of shape (1, channel, height, width) each, got {len(pair[0])} pairs.")
    x, y = point
    height, width = pair[0].shape[2:]
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"The point {x:g},{y:g} lies outside of the image, which is {width} x {height} pixels.")
    cuts = activations_at_cut(method.forward_func, pair)
    rows, columns = cuts[0].shape[2:]
    correspondence = compared(similarity, cuts, target)[0]
    row = correspondence[int(y * rows / height) * columns + int(x * columns / width)]
    strongest = float(correspondence.sum(1).max())
    strength = float(row.sum()) / strongest if strongest > 0 else 0.0
    return Counterpart(row.reshape(1, 1, *cuts[1].shape[2:]), strength)
