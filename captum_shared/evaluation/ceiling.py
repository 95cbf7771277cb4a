"""What the features could tell if no cell of an image saw another: a ceiling, not a method."""

from typing import cast, final

import torch
from torch import Tensor, nn

from captum_shared.correspondence import SharedCorrespondence
from captum_shared.evaluation.first_order import cut_at_positions
from captum_shared.pairs import Pair
from captum_shared.similarity import NeuronSimilarity
from captum_shared.twins import tied_copy


@final
class CellsAlone(nn.Module):
    """A network that sees the four quadrants of an image each alone, and lays what it makes of them side by side.

    Args:
        network: from images to activations (image, channel, row, column).

    Example:
        >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> CellsAlone(nn.AvgPool2d(2))(image)
        tensor([[[[ 2.5000,  4.5000],
                  [10.5000, 12.5000]]]])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Compute the activation.

        Args:
            images: of even height and width.

        Returns:
            The four activations as one.
        """
        halves = [half.chunk(2, dim=3) for half in images.chunk(2, dim=2)]
        rows = [torch.cat([self.network(cell) for cell in row], dim=3) for row in halves]
        return torch.cat(rows, dim=2)


def cells_alone(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute the maps of :class:`~captum_shared.SharedCorrespondence` from features of every quadrant alone.

    Args:
        similarity: encoder and readout.
        inputs: the pair, each image of four cells.
        target: the neuron of each pair.

    Returns:
        Maps at the cut.
    """
    alone = tied_copy(cut_at_positions(similarity.image_features, inputs[0]))
    alone.network = CellsAlone(cast(nn.Module, alone.network))
    first, second = SharedCorrespondence(NeuronSimilarity(alone, similarity.readout)).attribute(inputs, target)
    return first, second
