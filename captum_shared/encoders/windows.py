r"""Features of single places of an image, and how they scatter about those of the whole image.

.. math::
    x_p &= \text{mean of } a - m \text{ over a window around } p \\
    S &= \operatorname{mean}_{i, p} \, (x_{ip} - v_i)(x_{ip} - v_i)^\top, \qquad v_i = f(x_i) - m

with a the activation at the cut, f the latent features, m their mean. It takes images alone, no responses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from captum_shared.encoders.features import LatentFeatures

WINDOW = 1 / 3
"""Side of the window, as a share of that of the activation: chosen on data on which nothing is reported
(``benchmarks/ablation.py``), where 1/5 and 1/2 do about as well."""

_MOST_ROWS = 9
"""Of more rows or columns every second, third ... counts for the scatter: windows of neighbours overlap."""


def local_features(
    activation: Float[Tensor, "image feature row column"], mean: Float[Tensor, " feature"], window: float = WINDOW
) -> Float[Tensor, "image position feature"]:
    r"""Average the centred activation over a window around each position: :math:`x_p`.

    Args:
        activation: at the cut, a.
        mean: m, in the unit of the activation.
        window: side of the window as a share of the activation's, at least 0; rounded to the nearest odd number of
            positions (up where there are two), and cut off at the border.

    Returns:
        Features of every position, row by row.

    Example:
        >>> local_features(torch.tensor([[[[1.0, 2.0, 6.0]]]]), torch.zeros(1), window=1.0)[0, :, 0]
        tensor([1.5000, 3.0000, 4.0000])
    """
    return window_means(activation - mean[:, None, None], window).flatten(2).mT


def window_means(
    values: Float[Tensor, "image channel row column"], window: float = WINDOW
) -> Float[Tensor, "image channel row column"]:
    """Average values over a window around each position.

    Args:
        values: any.
        window: as for :func:`local_features`.

    Returns:
        The means.

    Example:
        >>> window_means(torch.tensor([[[[1.0, 2.0, 6.0]]]]), window=1.0)
        tensor([[[[1.5000, 3.0000, 4.0000]]]])
    """
    rows, columns = (int(window * side / 2) for side in values.shape[2:])  # to each side, one axis after the other
    of_rows = functional.avg_pool2d(values, (2 * rows + 1, 1), 1, (rows, 0), count_include_pad=False)
    return functional.avg_pool2d(of_rows, (1, 2 * columns + 1), 1, (0, columns), count_include_pad=False)


@final
class LocalScatter:
    """Gathers S batch by batch, in float64: feature x feature numbers, however many images there are.

    Attributes:
        total: the sum over places, on the device of the activations; None if there were none.
        n_places: how many places there were.

    Example:
        >>> gathered = LocalScatter()
        >>> gathered.add(torch.tensor([[[[1.0, 5.0]]]]))  # windows of one position
        >>> gathered.add(torch.tensor([[[[2.0, 2.0]]]]))
        >>> gathered.mean
        tensor([[2.]], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.n_places = 0

    def add(self, activation: Tensor) -> None:
        """Add images.

        Args:
            activation: at the cut, (image, feature, row, column); one without positions is passed over.
        """
        if activation.ndim != 4 or len(activation) == 0:
            return
        rows, columns = (-(-side // _MOST_ROWS) for side in activation.shape[2:])
        whole = activation.mean((2, 3))
        places = local_features(activation, torch.zeros_like(whole[0])).mT.reshape(activation.shape)
        apart = (places[:, :, ::rows, ::columns].flatten(2).mT - whole[:, None]).flatten(0, 1).double()
        added = apart.mT @ apart
        self.total = added if self.total is None else self.total + added
        self.n_places += len(apart)

    @property
    def mean(self) -> Float[Tensor, "feature feature"] | None:
        """S, on the device of the activations; None if there were no places."""
        return None if self.total is None else self.total / self.n_places


@contextmanager
def local_scatter(features: LatentFeatures) -> Iterator[LocalScatter]:
    """Gather S of all images that an encoder sees meanwhile, for :meth:`~captum_shared.LinearReadout.with_examples`.

    Args:
        features: the encoder.

    Yields:
        What is gathered; nothing, if the layer has no positions.

    Example:
        >>> features = LatentFeatures(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), "0")
        >>> with local_scatter(features) as scatter:
        ...     latent = features(torch.rand(5, 3, 12, 12))
        >>> scatter.mean.shape
        torch.Size([4, 4])
    """
    with scatter_at(features.cut) as scatter:
        yield scatter


@contextmanager
def scatter_at(cut: nn.Module) -> Iterator[LocalScatter]:
    """Gather S of all activations that pass through a cut meanwhile.

    Args:
        cut: ``cut`` of :class:`LatentFeatures`, or one of ``cuts`` of several layers.

    Yields:
        What is gathered.
    """
    scatter = LocalScatter()
    hook = cut.register_forward_hook(lambda cut, inputs, activation: scatter.add(activation.detach()))
    try:
        yield scatter
    finally:
        hook.remove()
