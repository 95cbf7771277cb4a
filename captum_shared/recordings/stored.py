"""Recordings larger than memory, whose responses are read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from captum_shared.recordings.formats.identifiers import Choice, check_distinct, chosen_positions
from captum_shared.recordings.formats.table import neurons_in
from captum_shared.recordings.recording import Recording

Numbers: TypeAlias = tuple[Float64[ndarray, "phase image chosen"], Float64[ndarray, "half image chosen"] | None]
"""What is read of some neurons: their responses, and the means over odd and even repetitions."""


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class StoredRecording:
    """A recording that stays where it is stored: names are known, responses are read for the neurons asked for.

    What is read is an ordinary :class:`Recording`, with all the checks of one. Attributes mean what they mean there.

    Attributes:
        stimulus_ids: one per image.
        categories: one per image.
        paths: the file of each image; None: no image files are known.
        neuron_names: one per neuron.
        regions: one per neuron.
        subjects: one per neuron.
        reliability: one per neuron; None: nothing was published.
        read: reads all responses of some neurons: from their positions, at least one, to ``responses`` and ``halves``
            of a recording of these.

    Raises:
        ValueError: if two neurons have the same name.

    Example:
        >>> import tempfile
        >>> names = ("A", "B", "C")
        >>> recording = Recording(np.arange(6.0).reshape(1, 2, 3), ("a", "b"), ("", ""), names, ("V4",) * 3, ("",) * 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     recording.save(folder + "/recording.h5")
        ...     stored = StoredRecording.open(folder + "/recording.h5")
        ...     print(stored.n_neurons, stored.select(neurons=["C", "A"]).mean.tolist())
        ...     [block.neuron_names for block in stored.blocks(2)]
        3 [[2.0, 0.0], [5.0, 3.0]]
        [('A', 'B'), ('C',)]
    """

    stimulus_ids: tuple[str, ...]
    categories: tuple[str, ...]
    paths: tuple[Path, ...] | None
    neuron_names: tuple[str, ...]
    regions: tuple[str, ...]
    subjects: tuple[str, ...]
    reliability: Float64[ndarray, " neuron"] | None
    read: Callable[[Int[ndarray, " chosen"]], Numbers]

    def __post_init__(self) -> None:
        check_distinct(self.neuron_names, "neuron_names")

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        stimuli: str | os.PathLike[str] | None = None,
        skip_missing: bool = False,
        allow_outside: bool = False,
        follow_links: bool = False,
    ) -> StoredRecording:
        """Find out what there is in a recording, and its images, without reading more than one neuron's responses.

        Args:
            path: a file of a format that can be read in parts: netCDF, HDF5, Parquet or zarr.
            images: as of :meth:`Recording.load`, like all that follows.
            stimuli: as there.
            skip_missing: as there.
            allow_outside: as there.
            follow_links: as there.

        Returns:
            The recording.

        Raises:
            FileNotFoundError: if the recording, the table, the folder or some of the images are missing.
            ImportError: if the format needs a package that is not installed; the extra that has it is named.
            ValueError: if the format cannot be read in parts, or as :meth:`Recording.load`.

        Example:
            >>> StoredRecording.open("neurons.h5")
            Traceback (most recent call last):
            FileNotFoundError: Expected a recording, got no file at neurons.h5: check the path.
        """
        load = partial(
            Recording.load,
            path,
            images=images,
            stimuli=stimuli,
            skip_missing=skip_missing,
            allow_outside=allow_outside,
            follow_links=follow_links,
        )
        known = neurons_in(Path(path), follow_links=follow_links)
        first = load(neurons=[0])
        return cls(
            stimulus_ids=first.stimulus_ids,
            categories=first.categories,
            paths=first.paths,
            neuron_names=known.neuron_names,
            regions=known.regions,
            subjects=known.subjects,
            reliability=known.reliability,
            read=partial(_read, load, known.neuron_names, first.stimulus_ids),
        )

    @property
    def n_images(self) -> int:
        """Number of images, at least 1."""
        return len(self.stimulus_ids)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, at least 1."""
        return len(self.neuron_names)

    def select(self, *, images: Choice | None = None, neurons: Choice | None = None) -> Recording:
        """Read the responses of some of the neurons to some of the images.

        Args:
            images: a mask (image,), or positions from 0 to ``n_images - 1``, or identifiers; None: all.
            neurons: a mask (neuron,), or positions from 0 to ``n_neurons - 1``, or names; None: all.

        Returns:
            The recording of these, in the order asked for.

        Raises:
            TypeError: if a choice is none of these.
            ValueError: if one does not exist (the first ten are listed), is chosen twice, or none is chosen; or if what
                is stored cannot be read, or is no longer what it was.
        """
        positions = chosen_positions(neurons, self.neuron_names, "neuron")
        check_distinct([self.neuron_names[index] for index in positions], "neuron_names")
        rows = chosen_positions(images, self.stimulus_ids, "image")
        responses, halves = self.read(positions)
        whole = Recording(
            responses=responses,
            stimulus_ids=self.stimulus_ids,
            categories=self.categories,
            neuron_names=tuple(self.neuron_names[index] for index in positions),
            regions=tuple(self.regions[index] for index in positions),
            subjects=tuple(self.subjects[index] for index in positions),
            paths=self.paths,
            halves=halves,
            reliability=None if self.reliability is None else self.reliability[positions],
        )
        return whole if images is None else whole.select(images=rows)

    def blocks(self, n_neurons: int = 100) -> Iterator[Recording]:
        """Read the recording block by block.

        Args:
            n_neurons: in a block, at least 1; the last one may have fewer.

        Yields:
            Recordings of the neurons, one after the other; only one block is in memory at a time.

        Raises:
            ValueError: if ``n_neurons`` is below 1, or as :meth:`select`.
        """
        if n_neurons < 1:
            raise ValueError(f"Expected blocks of at least 1 neuron, got {n_neurons}.")
        for start in range(0, self.n_neurons, n_neurons):
            yield self.select(neurons=np.arange(start, min(start + n_neurons, self.n_neurons)))


def _read(
    load: Callable[..., Recording],
    neuron_names: tuple[str, ...],
    stimulus_ids: tuple[str, ...],
    positions: Int[ndarray, " chosen"],
) -> Numbers:
    """Load some neurons of a file, which should be what it was when it was opened."""
    part, expected = load(neurons=positions), tuple(neuron_names[index] for index in positions)
    if (part.neuron_names, part.stimulus_ids) != (expected, stimulus_ids):
        raise ValueError(
            f"Expected the {len(stimulus_ids)} images and the neurons {', '.join(expected[:10])} of the recording as "
            f"it was opened, got {part.n_images} images and {', '.join(part.neuron_names[:10])}: open it again."
        )
    return part.responses, part.halves
