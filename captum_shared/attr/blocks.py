"""Features of many images, read a block at a time, so that they may be larger than memory."""

from collections.abc import Iterator
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from captum_shared.neurons.arrays import LazyArray

_AT_ONCE: Final = 2**22
"""Features of a block: 16 MiB in float32."""

_LONGEST: Final = 2**14
"""Images of a block, where they have few features."""


@final
class FeatureBlocks:
    """Features of images, (image, feature), of which one block at a time is in memory unless they are a tensor.

    Args:
        features: a tensor, or an array that is read as it is sliced.
        n_features: how many features an image should have.
        device: of the blocks that are read; those of a tensor stay on its own.

    Raises:
        TypeError: if the features are no array of real floating-point numbers.
        ValueError: if their shape does not fit.

    Example:
        >>> blocks = FeatureBlocks(np.ones((3, 2), dtype=np.float32), 2, torch.device("cpu"))
        >>> len(blocks), list(blocks)
        (3, [(0, tensor([[1., 1.],
                [1., 1.],
                [1., 1.]]))])
    """

    def __init__(self, features: Tensor | LazyArray, n_features: int, device: torch.device) -> None:
        if not isinstance(features, Tensor | LazyArray):
            raise TypeError(
                f"features must be a tensor, or an array that can be sliced by rows, but got {type(features).__name__}."
            )
        shape = tuple(features.shape)
        if len(shape) != 2 or shape[1] != n_features:
            raise ValueError(
                f"The readout expects features of shape (image, feature) with {n_features} features, but got {shape}. "
                "Use the layer and the pooling with which the readout was fitted."
            )
        if not _is_floating(features):
            raise TypeError(
                f"features must be floating-point numbers, but are {features.dtype}. Convert them to float32, as a "
                "difference or square of integers may leave their range."
            )
        self._features = features.detach() if isinstance(features, Tensor) else features
        self._device = features.device if isinstance(features, Tensor) else device
        self._n_rows = rows_of_a_block(features)
        self._checked = False

    def __len__(self) -> int:
        return int(self._features.shape[0])

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Read the blocks in their order, each with the index of its first image.

        Raises:
            ValueError: if a feature is not finite.
        """
        for first in range(0, len(self), self._n_rows):
            block = _as_tensor(self._features[first : first + self._n_rows]).to(self._device)
            if not self._checked:
                _check_finite(block, first)
            yield first, block
            del block  # before the next is read
        self._checked = isinstance(self._features, Tensor)  # while a file may change

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Of the blocks."""
        return _as_tensor(self._features[:0]).dtype


def rows_of_a_block(features: Tensor | LazyArray) -> int:
    """Return how many images are read at once: whole chunks, where an array is stored in chunks.

    Args:
        features: of images, (image, feature).

    Returns:
        A number of images, at least 1.

    Example:
        >>> rows_of_a_block(np.ones((10, 512)))
        8192
    """
    rows = max(1, min(_LONGEST, _AT_ONCE // max(1, features.shape[1])))
    chunks = getattr(features, "chunks", None)
    length = chunks[0] if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int) else 1
    return rows // length * length if length <= rows else rows


def _is_floating(features: Tensor | LazyArray) -> bool:
    if isinstance(features, Tensor):
        return features.is_floating_point()
    dtype: Any = features.dtype
    return bool(np.dtype(dtype).kind == "f")


def _as_tensor(block: Any) -> Tensor:
    """A block in memory, in the byte order of the machine; torch wants what may be written to."""
    if isinstance(block, Tensor):
        return block
    numbers: np.ndarray = np.asarray(block)
    native: np.dtype[Any] = numbers.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(numbers, native, ["C", "W"]))


def _check_finite(block: Tensor, first: int) -> None:
    finite = block.isfinite().all(1)
    if not bool(finite.all()):
        row = first + int((~finite).nonzero()[0])
        raise ValueError(
            f"The features in row {row} are not finite (NaN or infinite). Expected finite numbers: look at image "
            f"{row}, and compute its features again."
        )
