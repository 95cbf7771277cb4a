"""What a folder holds: of every file that was written to it the digest, and what it was made of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, final

from captum_shared._files import digest_of, move, sweep, write_atomically
from captum_shared._occupied import occupied

RECORD: Final = ".captum-shared.json"
ASIDE: Final = "damaged"


@final
class Record:
    """The files that were written to a folder, kept in a hidden file of it.

    Whether a file is whole is told by its digest. One that is not, or that was put there by somebody else, is never
    written over: it is put aside, into a folder ``damaged``, and a warning names it.

    Args:
        folder: the folder; only one process at a time may write to it (:func:`~captum_shared._occupied.occupied`).

    Attributes:
        description: what the work in the folder is, ready for JSON; empty if nobody has said.
        asked: what the command that made all of it was asked for, ready for JSON; empty if nobody has said.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path:
        ...     record = Record(Path(path))
        ...     record.write("answer.txt", lambda file: file.write_text("42"))
        ...     Record(Path(path)).intact("answer.txt"), Record(Path(path)).intact("question.txt")
        (True, False)
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / RECORD
        content = self._read()
        self.description: dict[str, Any] = content.get("description", {})
        self.asked: dict[str, Any] = content.get("asked", {})
        self._files: dict[str, dict[str, str]] = content.get("files", {})

    @property
    def names(self) -> tuple[str, ...]:
        """The files that were written, whether they are still there or not."""
        return tuple(self._files)

    def intact(self, name: str, of: str = "") -> bool:
        """Tell whether a file is there and whole.

        Args:
            name: of the file.
            of: what it should be made of.

        Returns:
            Whether it is.
        """
        entry, file = self._files.get(name), self._folder / name
        return entry is not None and entry["of"] == of and file.is_file() and digest_of(file) == entry["sha256"]

    def faults(self) -> list[str]:
        """Name the files that are no longer there, or no longer what was written.

        Returns:
            Their names.
        """
        return [name for name, entry in self._files.items() if not self.intact(name, entry["of"])]

    def describe(self, description: Mapping[str, Any] | None = None, *, asked: Mapping[str, Any] | None = None) -> None:
        """Write down what the work in the folder is, or what was asked for.

        Args:
            description: what it is, ready for JSON; None to leave what was written.
            asked: what was asked for, likewise.
        """
        self.description = self.description if description is None else dict(description)
        self.asked = self.asked if asked is None else dict(asked)
        self._save()

    def adopt(self, name: str) -> None:
        """Take a file for whole as it is.

        Args:
            name: of the file.
        """
        self._files[name] = {"sha256": digest_of(self._folder / name), "of": "", "before": ""}
        self._save()

    def write(self, name: str, write: Callable[[Path], object], of: str = "") -> None:
        """Write a file, whole or not at all; what it should have been, or somebody else's, is put aside.

        Args:
            name: of the file.
            write: writes it to a path.
            of: what it is made of.
        """
        file = self._folder / name
        with write_atomically(file) as temporary:
            write(temporary)
            self._make_way(name)
            known, total = self._files.get(name, {}), digest_of(temporary)
            before = known.get("before" if known.get("sha256") == total else "sha256", "")
            self._files[name] = {"sha256": total, "of": of, "before": before}
            self._save()

    def _make_way(self, name: str) -> None:
        entry, file = self._files.get(name, {}), self._folder / name
        if file.is_file() and digest_of(file) in (entry.get("sha256"), entry.get("before")):
            return  # replaced at once
        put_aside(file, self._folder / ASIDE)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            known = all(
                isinstance(each["sha256"], str) and isinstance(each["of"], str) for each in content["files"].values()
            )
            return content if known and isinstance(content["description"], dict) else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _save(self) -> None:
        content = {"description": self.description, "asked": self.asked, "files": self._files}
        with write_atomically(self._file) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def keep(folder: Path, files: Mapping[str, Callable[[Path], object]], *, of: str) -> None:
    """Write files to a folder, but those that are there, whole and of the same.

    Args:
        folder: the folder; made if absent.
        files: what writes each to a path, by name.
        of: what they are made of.
    """
    with occupied(folder):
        sweep(folder)
        record = Record(folder)
        for name, write in files.items():
            if not record.intact(name, of):
                record.write(name, write, of)


def put_aside(file: Path, folder: Path) -> None:
    """Move a damaged file out of the way, and name it in a warning.

    Args:
        file: the file; nothing happens if it is not there.
        folder: where to; made if absent.
    """
    if not file.exists() and not file.is_symlink():
        return
    number, aside = 1, folder / file.name
    while aside.exists():
        number, aside = number + 1, folder / f"{file.stem}-{number + 1}{file.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    move(file, aside)
    warnings.warn(f"{file} is not as it was written: it was put aside as {aside}, and is made anew.", stacklevel=3)
