"""The table of the images of a recording: identifier, file and category."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from captum_shared._files import write_atomically
from captum_shared.recordings.formats.contents import Contents, chosen
from captum_shared.recordings.formats.csv_files import read_csv, write_csv
from captum_shared.recordings.formats.identifiers import check_distinct, first_ten


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
            raise FileNotFoundError(f"Expected a table stimulus_id,filename,category, got no file at {path}.")
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
            if candidate.is_file() and not _is_long_table(candidate):
                return cls.read(candidate)
        return None

    def describe(self, contents: Contents) -> Contents:
        """Add what the table knows of the images to a recording.

        Args:
            contents: of a file, with some or all of the images of the table.

        Returns:
            The same images in the order of the table, with its file names and categories where it has them.

        Raises:
            ValueError: if the recording has images that the table does not know (the first ten are listed), an image
                twice, or no identifiers and not as many images as the table.
        """
        identifiers = self._checked(contents)
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

    def _checked(self, contents: Contents) -> tuple[str, ...]:
        n_images = contents.responses.shape[1]
        if contents.stimulus_ids is None:
            if n_images != len(self.stimulus_ids):
                raise ValueError(
                    f"Expected responses to the {len(self.stimulus_ids)} images of {self.source}, row by row, got "
                    f"{n_images} rows: say which images they are with the array stimulus_id in an .npz file."
                )
            return self.stimulus_ids
        check_distinct(contents.stimulus_ids, "stimulus_id in the recording")
        known = set(self.stimulus_ids)
        unknown = [identifier for identifier in contents.stimulus_ids if identifier not in known]
        if unknown:
            raise ValueError(
                f"Expected every image of the recording in the table {self.source}, unknown: {first_ten(unknown)}. "
                "Add them, or give another table (stimuli=)."
            )
        return contents.stimulus_ids

    def write(self) -> None:
        """Write the table to ``source``, all of it or nothing."""
        columns = {"stimulus_id": self.stimulus_ids, "filename": self.filenames, "category": self.categories}
        table = pd.DataFrame({name: column for name, column in columns.items() if column is not None})
        with write_atomically(self.source) as temporary:
            write_csv(table, temporary)


def _is_long_table(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return "neuroid_id" in file.readline()
