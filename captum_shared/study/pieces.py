"""The work of a study in pieces, each of which comes to the same wherever it is done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from numpy import ndarray
from PIL import Image

from captum_shared._engine import Engine
from captum_shared._progress import Progress
from captum_shared._resuming import ResumableFolder
from captum_shared.encoders.extraction import BLOCK
from captum_shared.images import load_image
from captum_shared.recordings.formats.identifiers import first_ten
from captum_shared.recordings.recording import Recording
from captum_shared.study.experiment import Experiment
from captum_shared.study.folder import packed
from captum_shared.study.result import NeuronResult

Task = TypeVar("Task")
Block = tuple[int, tuple[str, ...]]
Arrays = Mapping[str, ndarray]


def kept_parts(
    folder: ResumableFolder,
    engine: Engine,
    build: Callable[[], Callable[[Task], Arrays]],
    tasks: Mapping[str, Task],
    *,
    bar: Progress,
) -> Iterator[tuple[str, Arrays]]:
    """Do pieces of work that are not done, and keep each as soon as it is.

    Args:
        folder: where they are kept.
        engine: what does them.
        build: as for the engine.
        tasks: the pieces, by the name under which each is kept.
        bar: a progress bar, which is moved and closed.

    Yields:
        The name of every piece and its arrays; first of those that had been done.
    """
    with bar:
        missing = {}
        for name, task in tasks.items():
            kept = folder.kept(name)
            if kept is None:
                missing[task] = name
            else:
                bar.update()
                yield name, kept
        for task, arrays in engine.map(build, missing):
            yield missing[task], _keep(folder, missing[task], arrays)
            bar.update()


def readable(recording: Recording, engine: Engine, *, progress: bool) -> tuple[Recording, tuple[str, ...]]:
    """Leave out images whose files are damaged, too large or no images.

    Args:
        recording: responses and image files.
        engine: what reads them.
        progress: whether to show a progress bar.

    Returns:
        The recording of the others, and the identifiers of those left out.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if none can be read.

    Warns:
        UserWarning: if images are left out, with the first ten identifiers.
    """
    faults: dict[int, str] = {}
    blocks = _blocks(recording.paths or ())
    with Progress(total=len(blocks), desc="images read", unit="block", disable=not progress) as bar:
        for (number, _), own in engine.map(Reading(), blocks):
            faults |= {number * BLOCK + index: fault for index, fault in own.items()}
            bar.update()
    if not faults:
        return recording, ()
    bad = tuple(recording.stimulus_ids[image] for image in sorted(faults))
    if len(bad) == recording.n_images:
        raise ValueError(f"Expected images that can be read, got none; the first: {faults[0]}")
    warnings.warn(
        f"{len(bad)} of {recording.n_images} images cannot be read and are left out: {first_ten(bad)}. The first: "
        f"{faults[min(faults)]}",
        stacklevel=3,
    )
    kept = np.ones(recording.n_images, dtype=bool)
    kept[[*faults]] = False
    return recording.select(images=kept), bad


@final
@dataclass(frozen=True)
class Reading:
    """Makes what tells which images of a block cannot be read, and why.

    Attributes:
        max_pixels: how many pixels an image may have.
    """

    max_pixels: int | None = field(default_factory=lambda: Image.MAX_IMAGE_PIXELS)

    def __call__(self) -> Callable[[Block], dict[int, str]]:
        """Prepare a process.

        Returns:
            What reads a block: the reasons, by index in it.
        """
        Image.MAX_IMAGE_PIXELS = self.max_pixels
        return _faults


@final
@dataclass(frozen=True)
class Explaining:
    """Makes what chooses and explains the pairs of a neuron.

    Attributes:
        experiment: what neurons have in common.
        same: the neurons of another study whose pairs are taken over, by name.
        max_pixels: how many pixels an image may have.
    """

    experiment: Experiment
    same: Mapping[str, NeuronResult]
    max_pixels: int | None = field(default_factory=lambda: Image.MAX_IMAGE_PIXELS)

    def __call__(self) -> Callable[[str], Arrays]:
        """Prepare a process.

        Returns:
            What explains a neuron of a name.
        """
        Image.MAX_IMAGE_PIXELS = self.max_pixels
        experiment = self.experiment

        def explained(name: str) -> Arrays:
            index = experiment.readout.neuron_index(name)
            pairs = experiment.pairs_of(self.same[name]) if name in self.same else experiment.pairs(index)
            return packed(*experiment.explained(index, pairs))

        return explained

    def __getstate__(self) -> dict[str, object]:
        """What is sent to others: without what the experiment has computed for itself."""
        return {**vars(self), "experiment": replace(self.experiment)}


def _faults(block: Block) -> dict[int, str]:
    faults = {}
    for index, path in enumerate(block[1]):
        try:
            load_image(path)
        except ValueError as error:
            faults[index] = str(error)
    return faults


def _blocks(paths: Sequence[Path]) -> list[Block]:
    starts = range(0, len(paths), BLOCK)
    return [(number, tuple(map(str, paths[start : start + BLOCK]))) for number, start in enumerate(starts)]


def _keep(folder: ResumableFolder, name: str, arrays: Arrays) -> Arrays:
    return folder.once(name, lambda: arrays)
