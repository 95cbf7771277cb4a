"""The image files of a recording, by the names that it gives or by the identifiers of the images."""

import os
from collections.abc import Sequence
from pathlib import Path

from captum_shared.images import image_folder
from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.identifiers import first_ten


def image_files(
    contents: Contents, folder: Path | None, named_from: Path
) -> tuple[tuple[Path, ...] | None, tuple[str, ...]]:
    """Find the files of the images, by their names where the recording has them, otherwise by their identifiers.

    Args:
        contents: of the recording.
        folder: where the images are; None: unknown.
        named_from: the folder that the file names are relative to where ``folder`` is unknown.

    Returns:
        One path per image, and the category that its folder tells, ``""`` where it tells none. No paths where
        ``folder`` is unknown, and none of the files is there.

    Raises:
        FileNotFoundError: if some of the files are missing.
        ValueError: if an identifier has no file, or two.
    """
    unknown = ("",) * contents.responses.shape[1]
    if contents.filenames is not None and any(contents.filenames):
        inside = [os.path.normpath(named_from / filename) for filename in contents.filenames]
        if folder is None and not any(map(os.path.isfile, inside)):
            return None, unknown
        return named_files(contents.filenames, folder or named_from), unknown
    return (None, unknown) if folder is None else identified_files(contents.stimulus_ids or (), folder)


def named_files(filenames: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Find files by their names.

    Args:
        filenames: one per image, absolute or relative to ``folder``. If the folder was moved, the leading folders of
            the names no longer fit; then as many of them are dropped, of all names alike, as makes all files found.
        folder: where they are.

    Returns:
        One path per name.

    Raises:
        FileNotFoundError: if some are missing; the first ten are listed.

    Example:
        >>> named_files(["cup.png"], Path("nowhere"))
        Traceback (most recent call last):
        FileNotFoundError: Expected a file for each of the 1 images in nowhere, missing: 'cup.png'. Check the folder of
        the images (images=) and the file names.
    """
    names = [Path(filename).parts for filename in filenames]
    for dropped in range(max(len(parts) for parts in names)):
        paths = tuple(Path(os.path.normpath(folder.joinpath(*parts[dropped:]))) for parts in names)
        if all(path.is_file() for path in paths):
            return paths
    missing = [name for name in filenames if not (name and (folder / name).is_file())]
    raise FileNotFoundError(
        f"Expected a file for each of the {len(names)} images in {folder}, missing: {first_ten(missing)}. Check the "
        "folder of the images (images=) and the file names."
    )


def identified_files(stimulus_ids: Sequence[str], folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Find files by the identifiers of the images: the path below the folder, the name of the file, or its stem.

    Args:
        stimulus_ids: one per image.
        folder: where they are, at any depth.

    Returns:
        One path per image, and the name of the sub-folder each is in as its category.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if an identifier has no file, or two; the first ten are listed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "bodies").mkdir()
        ...     Image.new("L", (4, 3)).save(folder + "/bodies/hand.png")
        ...     paths, categories = identified_files(["hand"], Path(folder))
        >>> paths[0].name, categories
        ('hand.png', ('bodies',))
    """
    paths, categories = image_folder(folder)
    best: list[str] | None = None
    for names in (
        [path.relative_to(folder).as_posix() for path in paths],
        [path.name for path in paths],
        [path.stem for path in paths],
    ):
        files: dict[str, list[int]] = {}
        for position, name in enumerate(names):
            files.setdefault(name, []).append(position)
        unknown = [identifier for identifier in stimulus_ids if identifier not in files]
        if not unknown:
            return _single([files[identifier] for identifier in stimulus_ids], stimulus_ids, paths, categories)
        best = unknown if best is None or len(unknown) < len(best) else best
    raise ValueError(
        f"Expected an image file in {folder} named as each identifier, unknown: {first_ten(best or [])}. Give a "
        "table stimulus_id,filename,category of the images (stimuli=)."
    )


def _single(
    positions: list[list[int]], stimulus_ids: Sequence[str], paths: Sequence[Path], categories: Sequence[str]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    several = [identifier for identifier, files in zip(stimulus_ids, positions, strict=True) if len(files) > 1]
    if several:
        raise ValueError(
            f"Expected one image file for each identifier, got several for {first_ten(several)}: give a table "
            "stimulus_id,filename,category of the images (stimuli=)."
        )
    return tuple(paths[only] for (only,) in positions), tuple(categories[only] for (only,) in positions)
