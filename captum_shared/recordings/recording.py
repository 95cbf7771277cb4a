"""Responses of many neurons to many images, matched by identifier, from and to the file formats of the field."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy import ndarray
from PIL import Image
from torch import Tensor

from captum_shared._reading import opened
from captum_shared.images import load_images
from captum_shared.recordings.formats.contents import (
    WINDOW,
    Contents,
    Window,
    along,
    attributes,
    check_axes,
    chosen,
)
from captum_shared.recordings.formats.identifiers import (
    Choice,
    as_text,
    check_distinct,
    chosen_positions,
    first_ten,
)
from captum_shared.recordings.formats.image_files import relative_name, with_files
from captum_shared.recordings.formats.named_arrays import as_numbers
from captum_shared.recordings.formats.stimulus_table import described
from captum_shared.recordings.formats.table import read_contents, write_contents
from captum_shared.recordings.missing import nanmean


@final
@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of neurons to images, with what is known of both.

    Every attribute of an image is in the order of ``stimulus_ids``, every attribute of a neuron in the order of
    ``neuron_names``. Nothing is matched by the order of rows in a file, unless that is asked for.

    Attributes:
        responses: (phase, image, neuron) in float64, read-only, the mean over the repetitions of an image in one phase;
            NaN where nothing was recorded. Any unit; spikes per second where it is read from NWB.
        stimulus_ids: one distinct identifier per image.
        categories: one per image, ``""`` where it is unknown.
        neuron_names: one distinct name per neuron.
        regions: one per neuron, ``""`` where it is unknown.
        subjects: one per neuron, ``""`` where it is unknown.
        paths: the file of each image; None: no image files are known.
        halves: (2, image, neuron), means over the odd and over the even repetitions, where there is one phase and
            an image was repeated; otherwise None.
        reliability: one per neuron, of :attr:`mean`, as it was published with the responses: the share of its variance
            over images that is no noise, at most 1, NaN where unknown; None: nothing was published.

    Raises:
        ValueError: if a shape does not fit, an identifier or a name is empty or repeated (the first ten are listed),
            a response is infinite or no number, or a reliability is above 1.

    Example:
        >>> responses = np.array([[[4.0, 1.0], [np.nan, 3.0]], [[2.0, 1.0], [np.nan, 5.0]]])
        >>> recording = Recording(responses, ("hand", "cup"), ("body", "object"), ("A", "B"), ("MSB", "MSB"), ("", ""))
        >>> recording.mean
        array([[ 3.,  1.],
               [nan,  4.]])
        >>> recording.select(images=recording.in_category("object"), neurons=["B"]).mean
        array([[4.]])
    """

    responses: Float64[ndarray, "phase image neuron"] = field(metadata=along("phase", "image", "neuron"))
    stimulus_ids: tuple[str, ...] = field(metadata=along("image"))
    categories: tuple[str, ...] = field(metadata=along("image"))
    neuron_names: tuple[str, ...] = field(metadata=along("neuron"))
    regions: tuple[str, ...] = field(metadata=along("neuron"))
    subjects: tuple[str, ...] = field(metadata=along("neuron"))
    paths: tuple[Path, ...] | None = field(default=None, metadata=along("image"))
    halves: Float64[ndarray, "half image neuron"] | None = field(
        default=None, metadata=along("half", "image", "neuron")
    )
    reliability: Float64[ndarray, " neuron"] | None = field(default=None, metadata=along("neuron"))

    def __post_init__(self) -> None:
        for name in ("stimulus_ids", "categories", "neuron_names", "regions", "subjects"):
            object.__setattr__(self, name, as_text(getattr(self, name), name))
        for name in ("responses", "halves", "reliability"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_numbers(getattr(self, name), name))
                getattr(self, name).flags.writeable = False
        check_axes(self)
        check_distinct(self.stimulus_ids, "stimulus_ids")
        check_distinct(self.neuron_names, "neuron_names")
        infinite = np.argwhere(np.isinf(self.responses if self.halves is None else [*self.responses, *self.halves]))
        if len(infinite):
            where = (f"{self.neuron_names[neuron]} to {self.stimulus_ids[image]}" for _, image, neuron in infinite)
            raise ValueError(f"Expected finite responses, NaN where missing, got infinite ones of {first_ten(where)}.")
        if self.reliability is not None and (self.reliability > 1).any():
            raise ValueError(f"Expected reliabilities of at most 1, got {np.nanmax(self.reliability)}: divide by 100?")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        neurons: Choice | None = None,
        images: str | os.PathLike[str] | None = None,
        stimuli: str | os.PathLike[str] | None = None,
        window: Window = WINDOW,
        by_row: bool = False,
        skip_missing: bool = False,
        allow_outside: bool = False,
        follow_links: bool = False,
    ) -> Recording:
        r"""Read a recording, and find its images.

        The format is told by the extension: ``captum_shared.recordings.FORMATS`` lists all, and the docstring of
        each one's ``read`` says what its files hold. Repetitions are averaged. What is known of the images comes from
        a table ``stimulus_id,filename,category``: ``stimuli``, otherwise ``stimuli.csv`` in ``images``, otherwise,
        for formats that may have no identifiers, the CSV file of the same name, otherwise ``stimuli.csv`` beside the
        recording; otherwise from the recording itself; otherwise from the names of the files below ``images``, with
        the sub-folder as the category.

        Images are in the order of the table, otherwise of their first occurrence in the recording; images that only
        the table has are left out.

        Args:
            path: the recording.
            neurons: those to read: a mask, positions or names, as of :meth:`select`. The responses of others are not
                read, where the format can be read in parts (:class:`StoredRecording`). Default: all.
            images: the folder of the image files. Default: that of the table, or of the recording; there are no
                ``paths`` then if none of the files is there.
            stimuli: the table of the images, a CSV file.
            window: seconds after the onset of an image in which spikes are counted, for formats of spikes.
            by_row: whether the rows of a file without identifiers are those of the table, one after the other. Without
                it such a file is refused.
            skip_missing: whether images without a file are left out, with a warning. Without it they are an error.
            allow_outside: whether file names may be absolute or lead out of ``images``; without ``images`` they may.
            follow_links: whether an HDF5-based file may take its data from other files.

        Returns:
            The recording.

        Raises:
            FileNotFoundError: if the recording, the table, the folder or some of the images are missing.
            ImportError: if the format needs a package that is not installed; the extra that has it is named.
            ValueError: if the file is damaged, cut short or not what its extension tells, an identifier is unknown or
                repeated (the first ten are listed), or a response is no number.

        Warns:
            UserWarning: if images are left out, or a table of text has gaps, with the numbers.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = Path(folder, "a.csv").write_text("stimulus_id,neuroid_id,response\n007,A,1.5\n")
            ...     _ = Path(folder, "stimuli.csv").write_text("stimulus_id,filename,category\n007,7.png,body\n")
            ...     recording = Recording.load(folder + "/a.csv")
            >>> recording.stimulus_ids, recording.categories, recording.mean
            (('007',), ('body',), array([[1.5]]))
        """
        source, folder = Path(path), None if images is None else Path(images)
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"Expected a folder of images, got no folder at {folder}: check the path.")
        with opened(source, "recording"):
            contents, named_from = described(
                read_contents(source, window, neurons=neurons, follow_links=follow_links),
                source,
                folder,
                stimuli=None if stimuli is None else Path(stimuli),
                by_row=by_row,
            )
            contents, paths = with_files(
                contents, folder, named_from, skip_missing=skip_missing, allow_outside=allow_outside
            )
            known = {**attributes(contents), "categories": contents.categories or ("",) * contents.responses.shape[1]}
            del known["filenames"]
            return cls(**known, paths=paths)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to a file that :meth:`load` reads back to the last bit, all of it or nothing.

        Args:
            path: a file ending in an extension of one of ``captum_shared.recordings.FORMATS`` that can be written,
                ``.nc`` (netCDF) by preference; an existing one is replaced. Image files are named in it, relative to
                its folder, not copied.

        Raises:
            ImportError: if the format needs a package that is not installed.
            ValueError: if the extension is another, or there are ``halves`` and the format has no place for them.

        Example:
            >>> import tempfile
            >>> recording = Recording(np.eye(2)[None], ("a", "b"), ("", ""), ("A", "B"), ("", ""), ("", ""))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     recording.save(folder + "/recording.nc")
            ...     Recording.load(folder + "/recording.nc").mean
            array([[1., 0.],
                   [0., 1.]])
        """
        target = Path(path)
        known = attributes(self)
        paths = known.pop("paths")
        known["categories"] = self.categories if any(self.categories) else None
        known["filenames"] = None if paths is None else tuple(relative_name(file, target.parent) for file in paths)
        write_contents(target, Contents(**known))

    @property
    def n_phases(self) -> int:
        """Number of phases, at least 1."""
        return len(self.responses)

    @property
    def n_images(self) -> int:
        """Number of images, at least 1."""
        return len(self.stimulus_ids)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, at least 1."""
        return len(self.neuron_names)

    @property
    def mean(self) -> Float64[ndarray, "image neuron"]:
        """Mean over the phases in which there is a response, (image, neuron), a copy; NaN where there is none."""
        return self._mean.copy(order="K")

    @cached_property
    def _mean(self) -> Float64[ndarray, "image neuron"]:
        return nanmean(self.responses, axis=0)

    def in_category(self, name: str) -> Bool[ndarray, " image"]:
        """Whether each image is of a category.

        Args:
            name: the category.

        Returns:
            A mask, (image,), true for at least one image.

        Raises:
            ValueError: if no image is of the category; those there are are listed.
        """
        mask = np.array([category == name for category in self.categories])
        if not mask.any():
            listed = ", ".join(
                f"{category or '(none)'} ({n} images)" for category, n in Counter(self.categories).items()
            )
            close = difflib.get_close_matches(name, [*filter(None, self.categories)], n=1)
            remedy = f" Did you mean {close[0]}?" if close else ""
            raise ValueError(f"Expected images of the category {name!r}, got none; there are: {listed}.{remedy}")
        return mask

    def select(self, *, images: Choice | None = None, neurons: Choice | None = None) -> Recording:
        """Keep some of the images or neurons, in the order asked for.

        Args:
            images: a mask (image,), or positions from 0 to ``n_images - 1``, or identifiers; None: all.
            neurons: a mask (neuron,), or positions from 0 to ``n_neurons - 1``, or names; None: all.

        Returns:
            A recording of these.

        Raises:
            TypeError: if a choice is none of these.
            ValueError: if one does not exist (the first ten are listed), is chosen twice, or none is chosen.
        """
        rows = chosen_positions(images, self.stimulus_ids, "image")
        columns = chosen_positions(neurons, self.neuron_names, "neuron")
        return Recording(**chosen(self, images=rows, neurons=columns))

    def load_images(
        self, preprocess: Callable[[Image.Image], Tensor], *, progress: bool = False
    ) -> Float[Tensor, "image channel height width"]:
        """Read and preprocess the images, as :func:`captum_shared.images.load_images` does.

        Args:
            preprocess: from an RGB image to a tensor (channel, height, width).
            progress: whether to show a progress bar.

        Returns:
            One tensor, in the order of ``stimulus_ids``.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if no image files are known, or one cannot be read.
        """
        if self.paths is None:
            raise ValueError(
                "Expected a recording with image files, got one without paths: load it with images=, the folder of "
                "the image files."
            )
        return load_images(self.paths, preprocess, progress=progress)
