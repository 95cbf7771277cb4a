"""The image files of an experiment, wherever they are told: a folder, a table, or a recording."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captum_shared.images import image_folder
from captum_shared.recordings.formats.image_files import identified_files, named_files
from captum_shared.recordings.formats.stimulus_table import StimulusTable, is_long_table
from captum_shared.recordings.formats.table import FOLDERS
from captum_shared.recordings.recording import Recording


def listed_images(
    source: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None, **options: Any
) -> tuple[Path, ...]:
    r"""List the image files that a folder, a table or a recording has.

    Args:
        source: a folder, searched at any depth; a CSV file with the column ``stimulus_id`` and, by preference,
            ``filename``; or a recording.
        images: for a table or a recording the folder of the image files; by default that of the table, or of the
            recording.
        **options: of :meth:`Recording.load`, for a recording.

    Returns:
        The files: sorted, or in the order of the table or the recording.

    Raises:
        FileNotFoundError: if there is no such folder or file, or some images are missing.
        TypeError: if there are options, and ``source`` is no recording.
        ValueError: if no image is known.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cup", "hand"):
        ...         Image.new("L", (4, 3)).save(f"{folder}/{name}.png")
        ...     _ = Path(folder, "stimuli.csv").write_text("stimulus_id,filename\n1,hand.png\n2,cup.png\n")
        ...     [[file.name for file in listed_images(each)] for each in (folder, f"{folder}/stimuli.csv")]
        [['cup.png', 'hand.png'], ['hand.png', 'cup.png']]
    """
    path = Path(source)
    if path.is_dir() and path.suffix.lower() not in FOLDERS:
        _check_none(options, path)
        if images is not None:
            raise ValueError(
                f"Expected a table or a recording besides the folder {images} of its images, got a folder."
            )
        return tuple(image_folder(path)[0])
    if path.suffix.lower() == ".csv" and path.is_file() and not is_long_table(path):
        _check_none(options, path)
        return _of_table(StimulusTable.read(path), path.parent if images is None else Path(images))
    recording = Recording.load(path, images=images, **options)
    if recording.paths is None:
        raise ValueError(f"Expected image files with {path}, got none: name their folder (images=, --images).")
    return recording.paths


def _check_none(options: Mapping[str, Any], path: Path) -> None:
    if options:
        raise TypeError(
            f"Expected {', '.join(sorted(options))} with a recording only, got {path}, which is a folder or a table of "
            "images: leave them out."
        )


def _of_table(table: StimulusTable, folder: Path) -> tuple[Path, ...]:
    if table.filenames is None:
        files = identified_files(table.stimulus_ids, folder)[0]
    else:
        files = named_files(table.filenames, folder, table.stimulus_ids)
    return tuple(file for file in files if file is not None)
