"""Photographs in a stream: read and preprocessed ahead, by processes of their own if asked for."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import parent_process
from typing import Any, Final, TypeAlias, final

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captum_shared._files import digest_of
from captum_shared.images import set_max_pixels, to_input

BATCH: Final = 32
"""How many photographs pass through a network at a time."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Paths: TypeAlias = Sequence[str | os.PathLike[str]]


@final
@dataclass(frozen=True)
class Photographs:
    """Some photographs as a network sees them, and what became of each file.

    Attributes:
        inputs: of the network, of those that could be read; None if there are none.
        digests: SHA-256 of every file.
        faults: what is wrong with those that could not be read, by their index.
    """

    inputs: Float[Tensor, "image channel height width"] | None
    digests: tuple[str, ...]
    faults: dict[int, Exception] = field(default_factory=dict)


def stream(
    batches: Sequence[Paths], preprocess: Callable[[Image.Image], Tensor], *, num_workers: int = 0, pin: bool = False
) -> Iterator[Photographs]:
    """Read photographs batch by batch, ahead of their use if there are workers.

    Args:
        batches: image files.
        preprocess: from an RGB image to a network input.
        num_workers: how many processes read; 0 to read in this one.
        pin: whether to put batches where a graphics card fetches them quickest.

    Yields:
        Every batch, in order.

    Raises:
        TypeError: if ``preprocess`` does not return a floating-point tensor.
        ValueError: if two images of a batch differ in shape after ``preprocess``.

    Example:
        >>> import tempfile
        >>> from captum_shared.images import rgb_preprocess
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8), (0, 51, 255)).save(f"{folder}/blue.png")
        ...     (batch,) = stream([[f"{folder}/blue.png", f"{folder}/none.png"]], rgb_preprocess(8))
        >>> batch.inputs.shape, batch.faults[1]
        (torch.Size([1, 3, 8, 8]), FileNotFoundError('Expected an image file, got no file at ...none.png: ...'))
    """
    loader: Any = DataLoader(
        _Batches(batches, preprocess, Image.MAX_IMAGE_PIXELS),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        worker_init_fn=_left_alone if num_workers else None,
        pin_memory=pin,
    )
    with warnings.catch_warnings(), _undisturbed():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks, in which files are read and nothing else
        batches_read = iter(loader)
    for photographs in batches_read:
        if isinstance(photographs, Exception):  # which, raised in a worker, would not be told as it is
            raise photographs
        yield photographs


@final
class _Batches(Dataset[Any]):
    """Reads one batch; what goes wrong is returned."""

    def __init__(
        self, batches: Sequence[Paths], preprocess: Callable[[Image.Image], Tensor], max_pixels: int | None
    ) -> None:
        self._batches, self._preprocess, self._max_pixels = batches, preprocess, max_pixels

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Photographs | Exception:
        if self._max_pixels is not None:
            set_max_pixels(self._max_pixels)
        try:
            return self._read(self._batches[index])
        except (TypeError, ValueError) as error:
            return error

    def _read(self, paths: Paths) -> Photographs:
        images: list[Tensor] = []
        faults: dict[int, Exception] = {}
        digests, first = [""] * len(paths), 0
        for index, path in enumerate(paths):
            try:
                image = to_input(path, self._preprocess)
                digests[index] = digest_of(os.fspath(path))
            except (ValueError, OSError) as error:
                faults[index] = error
                continue
            if images and image.shape != images[0].shape:
                raise ValueError(
                    f"Expected preprocessed images of one shape, got {tuple(images[0].shape)} for {paths[first]} and "
                    f"{tuple(image.shape)} for {path}: resize and crop in preprocess."
                )
            first = first if images else index
            images.append(image)
        return Photographs(torch.stack(images) if images else None, tuple(digests), faults)


def _as_it_is(batch: Any) -> Any:
    return batch


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put an interruption off while processes begin, which would tell of it at length."""
    if threading.current_thread() is not threading.main_thread():  # which no signal interrupts
        yield
        return
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, frame: came.append(number)) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in came[:1]:
        signal.raise_signal(number)


def _left_alone(_: int) -> None:
    """Leave an interruption to the process that reads the stream, and end when that says so, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """PyTorch asks for it every few seconds, but knows nothing of one that was killed before it began to."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
