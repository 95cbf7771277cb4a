"""Features into a store: what is done is kept, and one that was interrupted becomes the same as one that was not."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from captum_shared._engine import Engine, LocalEngine
from captum_shared._progress import Progress
from captum_shared._resuming import ResumableFolder, digest, versions
from captum_shared.encoders.bookkeeping import Dtype, StoreWriter
from captum_shared.encoders.extraction import BLOCK, BlockWork, ImageBlock, image_blocks
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.store import STORE, FeatureStore, origins

_PACKAGES: Final = ("captum-shared", "numpy", "pillow", "torch", "torchvision")
_WORK: Final = "store of features"


@final
@dataclass(frozen=True)
class Extraction:
    """How features are extracted.

    Attributes:
        dtype: of the numbers on disk: ``"float32"`` or ``"float16"``, which takes half the room and keeps three digits.
        skip_bad: whether images whose files are damaged, too large or no images are passed over, and noted in the
            store.
        num_workers: how many processes read images ahead; 0 for none. Without an engine only.

    Raises:
        ValueError: if a value is none of these.

    Example:
        >>> Extraction("float16").skip_bad
        False
    """

    dtype: Dtype = "float32"
    skip_bad: bool = False
    num_workers: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float16"):
            raise ValueError(f"Expected the dtype float32 or float16, got {self.dtype!r}.")
        if self.num_workers < 0:
            raise ValueError(f"Expected 0 or more workers, got {self.num_workers}.")


def write_features(
    output: str | os.PathLike[str],
    features: LatentFeatures | LayerFeatures,
    paths: Sequence[str | os.PathLike[str]],
    *,
    extraction: Extraction = Extraction(),
    engine: Engine | None = None,
    resume: bool = False,
    progress: bool = True,
) -> FeatureStore:
    """Write the features of photographs at one or several layers to a store, in one pass through the network.

    Photographs are taken in blocks of 256. Each that is done survives an interruption, and a store that was resumed, or
    made by several workers, is the same as one that was not, byte for byte.

    Args:
        output: the folder to write to.
        features: the encoder, or several layers of a network, with ``preprocess`` set.
        paths: image files, at least one.
        extraction: how.
        engine: what computes the blocks; None: this process.
        resume: whether to go on with the same store in ``output``, and mend what is damaged in it.
        progress: whether to show progress bars.

    Returns:
        The store.

    Raises:
        BlockingIOError: if another process works on the store.
        FileNotFoundError: if an image is missing.
        ValueError: if an image cannot be read, unless it is passed over, a feature is too large for float16, an image
            has changed since the store was begun, or ``output`` holds something else.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from captum_shared.encoders import layers_by_name
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (112, 112), (0, 51, 255)).save(f"{folder}/blue.png")
        ...     layers = layers_by_name("embedded", ["features.9", "features"])
        ...     store = write_features(f"{folder}/store", layers, [f"{folder}/blue.png"], progress=False)
        >>> store.layers
        ('features.9', 'features')
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("Expected at least one image, got none.")
    of = origins(features)
    names = _names(files)
    settings = {
        **_settings(of),
        "dtype": extraction.dtype,
        "block": BLOCK,
        "images": digest(name.encode(errors="surrogatepass") for name in names),
    }
    packages = versions(*_PACKAGES)
    described = {**settings, **packages}
    with ResumableFolder(Path(output), described, result=STORE, work=_WORK, resume=resume) as folder:
        writer = StoreWriter(folder, tuple(of), files, dtype=extraction.dtype)
        todo = writer.todo(progress=progress)
        for number, block in _computed(features, todo, extraction, engine, progress=progress):
            writer.keep(number, block)
        writer.finish({"settings": settings, "versions": packages, "origin": of, "images": names})
    return FeatureStore.open(output)


def _computed(
    features: LatentFeatures | LayerFeatures,
    todo: Sequence[tuple[int, tuple[str, ...]]],
    extraction: Extraction,
    engine: Engine | None,
    *,
    progress: bool,
) -> Iterator[tuple[int, ImageBlock]]:
    """The blocks that are to do, in order."""
    if engine is None or isinstance(engine, LocalEngine):
        blocks = image_blocks(
            features,
            [paths for _, paths in todo],
            skip_bad=extraction.skip_bad,
            num_workers=extraction.num_workers,
            progress=progress,
        )
        yield from zip((number for number, _ in todo), blocks, strict=True)
        return
    waiting, done = deque(number for number, _ in todo), {}
    results = engine.map(BlockWork(partial(_itself, features), extraction.skip_bad), todo)
    with Progress(
        total=sum(len(paths) for _, paths in todo), desc="features", unit="image", disable=not progress
    ) as bar:
        for (number, paths), block in results:
            done[number] = block
            bar.update(len(paths))
            while waiting and waiting[0] in done:
                yield waiting[0], done.pop(waiting.popleft())


def _itself(features: LatentFeatures | LayerFeatures) -> LatentFeatures | LayerFeatures:
    return features


def _names(files: Sequence[Path]) -> list[str]:
    """The files relative to the folder that all lie in, so that a folder that was moved makes the same store."""
    whole = [Path(os.path.abspath(file)) for file in files]  # noqa: PTH100  # links stay
    common = os.path.commonpath([file.parent for file in whole])
    return [file.relative_to(common).as_posix() for file in whole]


def _settings(of: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of which encoder the features are, by what describes the store."""
    (first, *_) = of.values()
    return {
        "layers": list(of),
        "network": first["network"],
        "weights": [origin["weights"] for origin in of.values()],
        "pool": first["pool"],
        "preprocess": first["preprocess"],
    }
