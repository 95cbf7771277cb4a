"""Features of many photographs, block by block: each is a piece of work, and comes out the same wherever it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float32, Float64
from numpy import ndarray
from PIL import Image
from torch import Tensor, nn

from captum_shared._progress import Progress
from captum_shared.encoders.chunks import chunks_of
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.photographs import needed_preprocess
from captum_shared.encoders.streaming import BATCH, Paths, Photographs, stream
from captum_shared.encoders.windows import LocalScatter, scatter_at

BLOCK: Final = 8 * BATCH
"""How many photographs make a block."""


@final
@dataclass(frozen=True)
class ImageBlock:
    """What is known of a block of photographs.

    Attributes:
        features: by layer, of those that could be read; not there if there are none.
        scatter: by layer with positions, the sum of S over places (:mod:`~captum_shared.encoders.windows`).
        n_places: how many places that is, by layer.
        digests: SHA-256 of every file.
        skipped: why photographs were passed over, by their index in the block.
    """

    features: dict[str, Float32[ndarray, "image feature"]]
    scatter: dict[str, Float64[ndarray, "feature feature"]]
    n_places: dict[str, int]
    digests: tuple[str, ...]
    skipped: dict[int, str] = field(default_factory=dict)


def image_blocks(
    features: LatentFeatures | LayerFeatures,
    blocks: Sequence[Paths],
    *,
    skip_bad: bool = False,
    num_workers: int = 0,
    progress: bool = False,
) -> Iterator[ImageBlock]:
    """Compute the features of photographs at one or several layers in a single pass, block by block.

    A block is computed in batches of its own, so that what comes of it does not depend on the others.

    Args:
        features: the encoder, with its ``preprocess`` set.
        blocks: the image files.
        skip_bad: whether images whose files are damaged, too large or no images are passed over.
        num_workers: how many processes read images ahead; 0 for none.
        progress: whether to show a progress bar.

    Yields:
        Every block, in order.

    Raises:
        FileNotFoundError: if an image is missing.
        ValueError: if an image cannot be read, unless it is passed over, or ``preprocess`` is not set.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from captum_shared.images import rgb_preprocess
        >>> features = LatentFeatures(nn.Sequential(nn.Identity()), "0")
        >>> features.preprocess = rgb_preprocess(8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8), (0, 51, 255)).save(f"{folder}/blue.png")
        ...     (block,) = image_blocks(features, [[f"{folder}/blue.png"]])
        >>> block.features["0"].round(3)
        array([[0. , 0.2, 1. ]], dtype=float32)
    """
    deepest = features if isinstance(features, LatentFeatures) else features.deepest
    like = next((each for each in deepest.parameters() if each.is_floating_point()), torch.empty(0))
    cut = [[[block[row] for row in rows] for rows in chunks_of(len(block), BATCH)] for block in blocks]
    batches = stream(
        [batch for block in cut for batch in block],
        needed_preprocess(deepest),
        num_workers=num_workers,
        pin=like.device.type == "cuda",
    )
    total = sum(map(len, blocks))
    with Progress(total=total, desc="features", unit="image", disable=not progress, smoothing=0.05) as bar:
        for block in cut:
            yield _block(features, ((batch, next(batches)) for batch in block), like, bar, skip_bad=skip_bad)


@torch.no_grad()
def _block(
    features: LatentFeatures | LayerFeatures,
    batches: Iterator[tuple[Paths, Photographs]],
    like: Tensor,
    bar: Any,
    *,
    skip_bad: bool,
) -> ImageBlock:
    layers, cuts = _layers(features)
    computed: dict[str, list[ndarray]] = {layer: [] for layer in layers}
    digests: list[str] = []
    skipped: dict[int, str] = {}
    with ExitStack() as gathering:
        scatter = {layer: gathering.enter_context(scatter_at(cut)) for layer, cut in zip(layers, cuts, strict=True)}
        for paths, photographs in batches:
            for index, fault in photographs.faults.items():
                if not (skip_bad and isinstance(fault, ValueError)):
                    raise fault
                skipped[len(digests) + index] = str(fault)
            digests += photographs.digests
            if photographs.inputs is not None:
                for layer, values in _by_layer(features, photographs.inputs.to(like, non_blocking=True)).items():
                    computed[layer].append(values.float().cpu().numpy())
            bar.update(len(paths))
    return ImageBlock(
        {layer: np.concatenate(values) for layer, values in computed.items() if values},
        {layer: _sum(each) for layer, each in scatter.items() if each.total is not None},
        {layer: each.n_places for layer, each in scatter.items() if each.total is not None},
        tuple(digests),
        skipped,
    )


def _layers(features: LatentFeatures | LayerFeatures) -> tuple[tuple[str, ...], Sequence[nn.Module]]:
    """Names of the layers, and the cut at each."""
    if isinstance(features, LatentFeatures):
        return (features.layer,), [features.cut]
    return features.layers, list(features.cuts)


def _by_layer(features: LatentFeatures | LayerFeatures, images: Tensor) -> dict[str, Tensor]:
    return {features.layer: features(images)} if isinstance(features, LatentFeatures) else features(images)


def _sum(scatter: LocalScatter) -> ndarray:
    total: ndarray = (torch.empty(0) if scatter.total is None else scatter.total).cpu().numpy()
    return total


@final
@dataclass(frozen=True)
class BlockWork:
    """Makes what computes one block, for an engine: called once by every worker.

    Attributes:
        build: returns the encoder.
        skip_bad: as for :func:`image_blocks`.
        max_pixels: how many pixels an image may have.
    """

    build: Callable[[], LatentFeatures | LayerFeatures]
    skip_bad: bool = False
    max_pixels: int | None = field(default_factory=lambda: Image.MAX_IMAGE_PIXELS)

    def __call__(self) -> Callable[[tuple[int, tuple[str, ...]]], ImageBlock]:
        """Build the encoder.

        Returns:
            What computes a block of its number and paths.
        """
        Image.MAX_IMAGE_PIXELS = self.max_pixels
        features = self.build()

        def work(task: tuple[int, tuple[str, ...]]) -> ImageBlock:
            (block,) = image_blocks(features, [task[1]], skip_bad=self.skip_bad)
            return block

        return work
