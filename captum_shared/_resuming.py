"""Folders of long work: what is done already survives an interruption, and nothing else is overwritten."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy import ndarray

from captum_shared._files import half_written, sweep, write_atomically
from captum_shared._occupied import LOCK, occupied
from captum_shared._record import ASIDE, RECORD, Record, put_aside

_PROGRESS: Final = ".progress"


@final
class ResumableFolder:
    """A folder with one piece of work, begun or finished, that one process at a time works on.

    While the work goes on, its parts lie in a hidden folder in it, each with its digest in its name; the file that the
    work ends with comes last. What is damaged is put aside, named in a warning, and made anew.

    Args:
        path: the folder; made if absent.
        description: what the work is, ready for JSON: the same work has the same description.
        result: name of the file that the work ends with, JSON that holds the description in its ``settings`` and
            ``versions``.
        work: what messages call it.
        files: names of the other files of the finished work.
        resume: whether to go on with the work that the folder holds.

    Attributes:
        path: the folder.
        finished: whether the work in it is complete, and every file of it whole.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path, ResumableFolder(path, {"seed": 0}, result="sum.json") as folder:
        ...     folder.once("part", lambda: {"sum": np.arange(5).sum()})["sum"]
        array(10)
    """

    def __init__(
        self,
        path: str | Path,
        description: Mapping[str, Any],
        *,
        result: str,
        files: Sequence[str] = (),
        work: str = "work",
        resume: bool = False,
    ) -> None:
        self.path = Path(path)
        self.finished = False
        self._progress = self.path / _PROGRESS
        self._description: dict[str, Any] = json.loads(json.dumps(description))
        self._result, self._files, self._work, self._resume = result, files, work, resume
        self._held = ExitStack()

    def __enter__(self) -> ResumableFolder:
        """Take the folder for oneself.

        Returns:
            The folder.

        Raises:
            BlockingIOError: if another process works on it.
            NotADirectoryError: if there is a file at ``path``.
            ValueError: if the folder holds other work or other files, or this work and ``resume`` is not set.
        """
        self._check_is_folder()
        with ExitStack() as held:
            held.enter_context(occupied(self.path))
            self._record = Record(self.path)
            self._check()
            sweep(self.path)
            sweep(self._progress)
            if not self._record.description:
                self._begin()
            self.finished = all(map(self._record.intact, (*self._files, self._result)))
            if self.finished:
                self.clear()
            elif self._result in self._record.names and not self._progress.exists():
                self._tell_missing()
            self._held = held.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        """Let others have the folder."""
        self._held.close()

    def look(self) -> str:
        """Tell whether nothing of the work is there, or it is begun or finished, without a change to the folder."""
        self._check_is_folder()
        self._record = Record(self.path)
        if self.path.exists():
            self._check()
        if self.holds(*self._files, self._result):
            return "finished"
        return "begun" if self._record.description or self._of_result() else "nothing"

    def once(self, name: str, compute: Callable[[], Mapping[str, ndarray]]) -> dict[str, ndarray]:
        """Return arrays that are computed once and kept.

        Args:
            name: of this part of the work.
            compute: computes the arrays, if they are not there.

        Returns:
            The arrays by name.
        """
        if (kept := self.kept(name)) is not None:
            return kept
        content = io.BytesIO()
        np.savez(content, **compute())  # type: ignore[arg-type]
        with write_atomically(self._progress / f"{name}.{_digest(content.getvalue())}.npz") as file:
            file.write_bytes(content.getvalue())
        return _arrays(content.getvalue())

    def kept(self, name: str) -> dict[str, ndarray] | None:
        """Return a part of the work, if it is done and whole.

        Args:
            name: of the part.

        Returns:
            Its arrays by name, or None.
        """
        for file in sorted(self._progress.glob(f"{name}.*.npz")):
            content = file.read_bytes()
            if file.name == f"{name}.{_digest(content)}.npz":
                return _arrays(content)
            put_aside(file, self._progress / ASIDE)
        return None

    def inner(self, name: str) -> Path:
        """Return a folder for a part of the work that is more than some arrays; it goes when the work is finished.

        Args:
            name: of the part.

        Returns:
            Its path; it need not be there.
        """
        return self._progress / name

    def parts(self, beginning: str) -> list[str]:
        """Name the parts of the work that are done, whole or not.

        Args:
            beginning: of their names.

        Returns:
            The names, sorted.
        """
        return sorted(file.name.split(".")[0] for file in self._progress.glob(f"{beginning}*.npz"))

    def drop(self, name: str) -> None:
        """Forget a part of the work.

        Args:
            name: of the part.
        """
        for file in self._progress.glob(f"{name}.*.npz"):
            file.unlink()

    def add(self, name: str, write: Callable[[Path], object]) -> Path:
        """Write a file of the result once, whole or not at all.

        Args:
            name: of the file.
            write: writes it to a path, if the file is not there or damaged.

        Returns:
            The file.
        """
        if not self._record.intact(name):
            self._record.write(name, write)
        return self.path / name

    def holds(self, *names: str) -> bool:
        """Tell whether files of the result are there and whole.

        Args:
            *names: of the files.

        Returns:
            Whether they are.
        """
        return all(map(self._record.intact, names))

    def finish(self, write: Callable[[Path], object]) -> None:
        """Write the file that the work ends with, and clear away what was kept on the way.

        Args:
            write: writes it to a path.
        """
        self.add(self._result, write)
        self.clear()

    def clear(self) -> None:
        """Clear away what was kept on the way."""
        shutil.rmtree(self._progress, ignore_errors=True)

    def _check_is_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            message = f"Expected a folder for the {self._work}, got the file {self.path}: choose another."
            raise NotADirectoryError(message)

    def _check(self) -> None:
        held = self._record.description or self._of_result()
        if held is None:
            if any(not self._own(entry) for entry in self.path.iterdir()):
                raise ValueError(
                    f"Expected an empty folder or one with this {self._work}, but {self.path} holds other files: "
                    "choose another."
                )
            return
        description = self._description
        different = sorted(name for name in {*held, *description} if held.get(name) != description.get(name))
        if different:
            raise ValueError(
                f"{self.path} holds a different {self._work}: it differs in {', '.join(different)}. Choose another "
                "output, or the same settings, inputs and package versions."
            )
        if not self._resume:
            raise ValueError(f"{self.path} holds this {self._work} already: resume it, or choose another output.")

    def _own(self, entry: Path) -> bool:
        """Whether a file or folder is what is left of work that was killed before it had begun."""
        left = entry.name in (LOCK, RECORD) or half_written(entry)
        return left or (entry.name == _PROGRESS and entry.is_dir() and not any(entry.iterdir()))

    def _begin(self) -> None:
        """Write down what the work is; of a finished one that lost its record, the files are taken as they are."""
        self._record.describe(self._description)
        if self._of_result() is not None:
            for name in (*self._files, self._result):
                if (self.path / name).is_file():
                    self._record.adopt(name)

    def _tell_missing(self) -> None:
        missing = [name for name in (*self._files, self._result) if not (self.path / name).exists()]
        if missing:
            warnings.warn(
                f"{self.path} holds a finished {self._work}, but {', '.join(missing)} is missing: it is made anew.",
                stacklevel=4,
            )

    def _of_result(self) -> dict[str, Any] | None:
        """The description of the finished work that the folder holds; None if there is none."""
        try:
            content = json.loads((self.path / self._result).read_text(encoding="utf-8"))
            return {**content["settings"], **content["versions"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _arrays(content: bytes) -> dict[str, ndarray]:
    with np.load(io.BytesIO(content)) as kept:
        return dict(kept)


def digest(parts: Iterable[bytes]) -> str:
    """Sum up content, so that a description can hold what files or weights are in place of where they lie.

    Args:
        parts: the content, in order; where one part ends and the next begins counts.

    Returns:
        SHA-256, in hexadecimal.

    Example:
        >>> digest([b"ab", b"c"])[:8], digest([b"a", b"bc"])[:8]
        ('43ee6555', '9a8acca1')
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages, to be part of a description.

    Args:
        packages: their names.

    Returns:
        Version by name; ``"not installed"`` for those that are not.

    Example:
        >>> versions("no-such-package")
        {'no-such-package': 'not installed'}
    """
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
