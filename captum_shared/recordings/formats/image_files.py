"""The image files of a recording, by the names that it gives or by the identifiers of the images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captum_shared.images import image_folder
from captum_shared.recordings.formats.contents import Contents, chosen
from captum_shared.recordings.formats.identifiers import first_ten

_SKIPPING = ", or leave them out with skip_missing=True (--skip-missing)"


def with_files(
    contents: Contents,
    folder: Path | None,
    named_from: Path,
    *,
    skip_missing: bool = False,
    allow_outside: bool = False,
) -> tuple[Contents, tuple[Path, ...] | None]:
    """Find the files of the images, by their names where the recording has them, otherwise by their identifiers.

    Args:
        contents: of the recording, with identifiers.
        folder: where the images are; None: unknown.
        named_from: the folder that the file names are relative to where ``folder`` is unknown.
        skip_missing: whether images without a file are left out.
        allow_outside: whether file names may lead out of ``folder``.

    Returns:
        The images that are kept, of the category that their folder tells where none is known, and one path for each.
        No paths where ``folder`` is unknown, and none of the files is there.

    Raises:
        FileNotFoundError: if some of the files are missing and not skipped.
        ValueError: if a name leads out of the folder, two names lead to one file, or an identifier has no file or two.

    Warns:
        UserWarning: if images are left out, with their number.
    """
    identifiers, filenames = contents.stimulus_ids or (), contents.filenames
    categories: tuple[str, ...] | None = None
    if filenames is not None and any(filenames):
        if folder is None and not any(_is_file(named_from / filename) for filename in filenames if filename):
            return contents, None
        outside = allow_outside or folder is None
        paths = named_files(
            filenames, folder or named_from, identifiers, allow_outside=outside, skip_missing=skip_missing
        )
    elif folder is not None:
        paths, categories = identified_files(identifiers, folder, skip_missing=skip_missing)
    else:
        return contents, None
    kept = [index for index, path in enumerate(paths) if path is not None]
    told = {**chosen(contents, images=np.array(kept))}
    if contents.categories is None and categories is not None:
        told["categories"] = tuple(categories[index] for index in kept)
    if len(kept) < len(paths):
        missing = [name for name, path in zip(identifiers, paths, strict=True) if path is None]
        warnings.warn(
            f"{len(missing)} of {len(paths)} images have no file in {folder or named_from} and are left out: "
            f"{first_ten(missing)}.",
            stacklevel=3,
        )
    return Contents(**told), tuple(path for path in paths if path is not None)


def named_files(
    filenames: Sequence[str],
    folder: Path,
    stimulus_ids: Sequence[str] = (),
    *,
    allow_outside: bool = False,
    skip_missing: bool = False,
) -> tuple[Path | None, ...]:
    """Find files by their names.

    Args:
        filenames: one per image, absolute or relative to ``folder``. If the folder was moved, the leading folders of
            the names no longer fit; then as many of them are dropped, of all names alike, as makes all files found.
        folder: where they are.
        stimulus_ids: one per image, for messages; by default the names.
        allow_outside: whether a name may lead out of ``folder``.
        skip_missing: whether some may be missing; as many leading folders are dropped as finds most files.

    Returns:
        One path per name, None where its file is missing.

    Raises:
        FileNotFoundError: if some are missing and not skipped, or all; the first ten are listed.
        ValueError: if names lead to files outside of the folder, or different names to one file.

    Example:
        >>> named_files(["cup.png"], Path("nowhere"))
        Traceback (most recent call last):
        FileNotFoundError: Expected a file for each of the 1 images in nowhere, missing: 'cup.png'. Check the folder of
        the images (images=) and the file names, or drop the rows of 'cup.png'.
    """
    names = [Path(os.path.normpath(filename)).parts if filename else () for filename in filenames]
    climbing = [
        name
        for name, parts in zip(filenames, names, strict=True)
        if _file(folder, parts, allow_outside) is None and _file(folder, parts, allow_outside=True)
    ]
    if climbing:
        raise ValueError(
            f"Expected images in {folder}, got names that lead out of it: {first_ten(climbing)}. Give the folder that "
            "has all of them (images=), or say that they may (allow_outside=True, --allow-outside)."
        )
    depths = range(max(len(parts) for parts in names))
    tried = [[_file(folder, parts[dropped:], allow_outside) for parts in names] for dropped in depths]
    files = min(tried, key=lambda files: files.count(None))
    missing = [index for index, file in enumerate(files) if file is None]
    if missing and not (skip_missing and len(missing) < len(files)):
        rows = first_ten((stimulus_ids or filenames)[index] for index in missing)
        raise FileNotFoundError(
            f"Expected a file for each of the {len(names)} images in {folder}, missing: "
            f"{first_ten(filenames[index] for index in missing)}. Check the folder of the images (images=) and the "
            f"file names, or drop the rows of {rows}{_SKIPPING * (len(missing) < len(files))}."
        )
    _check_own(names, filenames, files)
    return tuple(files)


def all_files(filenames: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Find files by their names, none of them missing.

    Args:
        filenames: as of :func:`named_files`.
        folder: where they are.

    Returns:
        One path per name.

    Raises:
        FileNotFoundError: if some are missing; the first ten are listed.
        ValueError: as there.
    """
    return tuple(file for file in named_files(filenames, folder) if file is not None)


def identified_files(
    stimulus_ids: Sequence[str], folder: Path, *, skip_missing: bool = False
) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """Find files by the identifiers of the images: the path below the folder, the name of the file, or its stem.

    Args:
        stimulus_ids: one per image.
        folder: where they are, at any depth.
        skip_missing: whether some may be missing.

    Returns:
        One path per image, None where its file is missing, and the name of the sub-folder each is in as its category.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if an identifier has no file and is not skipped, or two; the first ten are listed.

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
    best: list[list[int]] = []
    for names in (
        [path.relative_to(folder).as_posix() for path in paths],
        [path.name for path in paths],
        [path.stem for path in paths],
    ):
        files: dict[str, list[int]] = {}
        for position, name in enumerate(names):
            files.setdefault(name, []).append(position)
        positions = [files.get(identifier, []) for identifier in stimulus_ids]
        if not best or positions.count([]) < best.count([]):
            best = positions
    unknown = [identifier for identifier, files in zip(stimulus_ids, best, strict=True) if not files]
    if unknown and not (skip_missing and len(unknown) < len(stimulus_ids)):
        raise ValueError(
            f"Expected an image file in {folder} named as each identifier, unknown: {first_ten(unknown)}. Give a "
            f"table stimulus_id,filename,category of the images (stimuli=), or drop their rows"
            f"{_SKIPPING * (len(unknown) < len(stimulus_ids))}."
        )
    several = [identifier for identifier, files in zip(stimulus_ids, best, strict=True) if len(files) > 1]
    if several:
        raise ValueError(
            f"Expected one image file for each identifier, got several for {first_ten(several)}: give a table "
            "stimulus_id,filename,category of the images (stimuli=)."
        )
    only = [files[0] if files else None for files in best]
    return tuple(None if one is None else paths[one] for one in only), tuple(
        "" if one is None else categories[one] for one in only
    )


def relative_name(file: Path, folder: Path) -> str:
    """Name a file as it is seen from a folder.

    Args:
        file: the file, which need not exist.
        folder: where it is named.

    Returns:
        The name, as both are written; absolute where there is no way from one to the other (other drives).
    """
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        return file.absolute().as_posix()


def _file(folder: Path, parts: Sequence[str], allow_outside: bool) -> Path | None:
    """The file that a name leads to, as it is written; None if it is missing, or outside and may not be."""
    path = Path(os.path.normpath(folder.joinpath(*parts)))
    inside = path.absolute().is_relative_to(os.path.normpath(folder.absolute()))
    return path if parts and (inside or allow_outside) and _is_file(path) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # of a name that no file can have, such as one of 300 letters
        return False


def _check_own(names: Sequence[Sequence[str]], filenames: Sequence[str], files: Sequence[Path | None]) -> None:
    """Refuse different names that lead to one file, as they do where folders are missing or capitals are ignored."""
    first: dict[str, int] = {}
    for index, file in enumerate(files):
        if file is None:
            continue
        other = first.setdefault(str(file).casefold(), index)
        if names[other] != names[index] and file.samefile(str(files[other])):
            raise ValueError(
                f"Expected a file of its own for each name, got {file} for {filenames[other]!r} and "
                f"{filenames[index]!r}: put the images into folders as the names say, or correct the names."
            )
