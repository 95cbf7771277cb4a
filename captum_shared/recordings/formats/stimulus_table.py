"""The table of the images of a recording: identifier, file and category."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from captum_shared._files import write_atomically
from captum_shared.recordings.formats.contents import Contents, chosen
from captum_shared.recordings.formats.csv_files import read_csv, write_csv
from captum_shared.recordings.formats.identifiers import check_distinct, first_ten
from captum_shared.recordings.formats.table import format_of


@dataclass(frozen=True)
class StimulusTable:
    """The images of an experiment; a recording may have responses to some of them only.

    Attributes:
        source: the file.
        stimulus_ids: distinct, one per image.
        filenames: one per image, relative to the folder of the images; None: the table has no such column.
        categories: one per image, ``""`` where unknown; None: the table has no such column.
    """

    source: Path
    stimulus_ids: tuple[str, ...]
    filenames: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None

    @classmethod
    def read(cls, path: Path) -> StimulusTable:
        """Read a CSV file with the columns ``stimulus_id`` and, optionally, ``filename`` and ``category``.

        Args:
            path: the file; other columns are left out.

        Returns:
            The table, in the order of the file.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no such file, or an identifier is empty or repeated.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     StimulusTable(Path(folder, "stimuli.csv"), ("7", "8"), ("a.png", "b.png")).write()
            ...     StimulusTable.read(Path(folder, "stimuli.csv")).filenames
            ('a.png', 'b.png')
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected a table stimulus_id,filename,category, got no file at {path}: check the path."
            )
        if is_long_table(path):
            raise ValueError(
                f"Expected a table stimulus_id,filename,category of the images at {path}, got a recording, as it has a "
                "column neuroid_id: give the table of its images."
            )
        table = read_csv(path, ["stimulus_id"], ["filename", "category"])
        identifiers, filenames, categories = (
            tuple(table[name]) if name in table else None for name in ("stimulus_id", "filename", "category")
        )
        check_distinct(identifiers or (), f"stimulus_id in {path}")
        return cls(path, identifiers or (), filenames, categories)

    @classmethod
    def beside(cls, recording: Path, images: Path | None, *, namesake: bool = False) -> StimulusTable | None:
        """Find the table of a recording.

        Args:
            recording: the file of the recording.
            images: the folder of the images; None: unknown.
            namesake: whether it may be the CSV file of the same name.

        Returns:
            The first there is of ``stimuli.csv`` in ``images``, the CSV file of the same name if that may be, and
            ``stimuli.csv`` beside the recording; None if there is none. A long table of responses is none.
        """
        candidates = [] if images is None else [images / "stimuli.csv"]
        if namesake:
            candidates.append(recording.with_suffix(".csv"))
        for candidate in (*candidates, recording.with_name("stimuli.csv")):
            if candidate.is_file() and not is_long_table(candidate):
                return cls.read(candidate)
        return None

    def describe(self, contents: Contents, recording: Path, *, by_row: bool = False) -> Contents:
        """Add what the table knows of the images to a recording.

        Args:
            contents: of a file, with some or all of the images of the table.
            recording: the file, for messages.
            by_row: whether rows without identifiers are those of the table, one after the other.

        Returns:
            The same images in the order of the table, with its file names and categories where it has them.

        Raises:
            ValueError: if the recording has images that the table does not know (the first ten are listed), an image
                twice, no identifiers although rows are not to be matched by their order, or not as many as the table.
        """
        identifiers = self._checked(contents, recording, by_row)
        row = {identifier: position for position, identifier in enumerate(identifiers)}
        known = [position for position, identifier in enumerate(self.stimulus_ids) if identifier in row]
        order = [row[self.stimulus_ids[position]] for position in known]
        told = {
            name: tuple(values[position] for position in known)
            for name, values in (("categories", self.categories), ("filenames", self.filenames))
            if values is not None
        }
        named = replace(contents, stimulus_ids=identifiers)
        return Contents(**{**chosen(named, images=np.array(order)), **told})

    def _checked(self, contents: Contents, recording: Path, by_row: bool) -> tuple[str, ...]:
        if contents.stimulus_ids is None:
            return self._by_row(contents, recording, by_row)
        check_distinct(contents.stimulus_ids, f"stimulus_id in {recording}")
        known = set(self.stimulus_ids)
        unknown = [identifier for identifier in contents.stimulus_ids if identifier not in known]
        if unknown:
            raise ValueError(
                f"Expected every image of {recording} in the table {self.source}, unknown: {first_ten(unknown)}. Add "
                "them, or give another table (stimuli=)."
            )
        return contents.stimulus_ids

    def _by_row(self, contents: Contents, recording: Path, by_row: bool) -> tuple[str, ...]:
        if not by_row:
            raise ValueError(
                f"Expected stimulus_id in {recording}, to find its images in {self.source}, got none: add the array "
                "stimulus_id to an .npz file, or, if the rows are in the order of the table, say so (by_row=True, "
                "--by-row)."
            )
        n_images = contents.responses.shape[1]
        if n_images != len(self.stimulus_ids):
            raise ValueError(
                f"Expected responses to the {len(self.stimulus_ids)} images of {self.source}, row by row, got "
                f"{n_images} rows in {recording}: say which images they are with the array stimulus_id in an .npz file."
            )
        return self.stimulus_ids

    def write(self) -> None:
        """Write the table to ``source``, all of it or nothing."""
        columns = {"stimulus_id": self.stimulus_ids, "filename": self.filenames, "category": self.categories}
        table = pd.DataFrame({name: column for name, column in columns.items() if column is not None})
        with write_atomically(self.source) as temporary:
            write_csv(table, temporary)


def described(
    contents: Contents, recording: Path, images: Path | None, *, stimuli: Path | None, by_row: bool
) -> tuple[Contents, Path]:
    """Add to a recording what a table knows of its images.

    Args:
        contents: of the recording.
        recording: its file.
        images: the folder of the images; None: unknown.
        stimuli: the table; None: that which is beside the recording or in the folder, if there is one.
        by_row: whether rows without identifiers are those of the table, one after the other.

    Returns:
        Contents with identifiers, and the folder that its file names are relative to.

    Raises:
        FileNotFoundError: if the table is missing.
        ValueError: if it does not fit, or the images remain unknown.

    Warns:
        UserWarning: if the table has more images, and the file is of a format in which rows may be cut off.
    """
    file_format = format_of(recording)
    if by_row and contents.stimulus_ids is not None:
        raise ValueError(
            f"Expected a recording without stimulus_id where rows are matched by their order, got {recording}, which "
            "has them: leave by_row (--by-row) out."
        )
    if stimuli is not None:
        table: StimulusTable | None = StimulusTable.read(stimuli)
    else:
        table = StimulusTable.beside(recording, images, namesake=not file_format.identified)
    if table is None:
        if contents.stimulus_ids is None:
            raise ValueError(_untold(recording))
        return contents, recording.parent
    known = table.describe(contents, recording, by_row=by_row)
    n_images, n_known = known.responses.shape[1], len(table.stimulus_ids)
    if n_images < n_known and not file_format.sealed:
        warnings.warn(
            f"{recording} has responses to {n_images:,} of the {n_known:,} images of {table.source}; the others are "
            "left out. Copy or export it again if it was cut short.",
            stacklevel=3,
        )
    return known, (table.source if table.filenames else recording).parent


def _untold(recording: Path) -> str:
    """What is missing where nothing says which images the rows are of; no file that is there is to be written."""
    table = recording.with_suffix(".csv")
    table = recording.with_name("stimuli.csv") if table.exists() else table
    return (
        f"Expected stimulus_id in {recording}, as nothing else says which images its rows are of, got none: add the "
        f"array stimulus_id to an .npz file, or write the table {table} with the columns stimulus_id,filename,category "
        "in the order of the rows, and say so (by_row=True, --by-row)."
    )


def is_long_table(path: Path) -> bool:
    """Tell whether a CSV file is a recording, one response a row, and no table of images.

    Args:
        path: the file.

    Returns:
        Whether it is.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        return "neuroid_id" in file.readline()
