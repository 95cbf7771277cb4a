"""Folders of long work: what is done already survives an interruption, and nothing else is overwritten."""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy import ndarray

from captum_shared._files import write_atomically

_PROGRESS = ".progress"


@final
class ResumableFolder:
    """A folder with one piece of work, begun or finished.

    While the work goes on, its parts lie in a hidden folder in it; the file that the work ends with comes last.

    Args:
        path: the folder; made if absent.
        description: what the work is, ready for JSON: the same work has the same description.
        result: name of the file that the work ends with, JSON that holds the description in its ``settings`` and
            ``versions``.
        work: what messages call it.
        resume: whether to go on with the work that the folder holds.

    Attributes:
        path: the folder.
        finished: whether the work in it is complete.

    Raises:
        NotADirectoryError: if there is a file at ``path``.
        ValueError: if the folder holds other work or other files, or this work and ``resume`` is not set.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path:
        ...     folder = ResumableFolder(path, {"seed": 0}, result="sum.json")
        ...     folder.once("part", lambda: {"sum": np.arange(5).sum()})["sum"]
        array(10)
    """

    def __init__(
        self, path: str | Path, description: Mapping[str, Any], *, result: str, work: str = "work", resume: bool = False
    ) -> None:
        self.path = Path(path)
        self._progress = self.path / _PROGRESS
        self._result, self._work = result, work
        self._check(json.loads(json.dumps(description)), resume=resume)
        begun = self._progress / "description.json"
        self.finished: bool = (self.path / result).exists() and not begun.exists()
        if not self.finished:
            with write_atomically(begun) as file:
                file.write_text(json.dumps(description, indent=2), encoding="utf-8")

    def once(self, name: str, compute: Callable[[], Mapping[str, ndarray]]) -> dict[str, ndarray]:
        """Return arrays that are computed once and kept.

        Args:
            name: of this part of the work.
            compute: computes the arrays, if they are not there.

        Returns:
            The arrays by name.
        """
        path = self.part(name)
        if not path.exists():
            arrays = compute()
            with write_atomically(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        with np.load(path) as kept:
            return dict(kept)

    def part(self, name: str) -> Path:
        """Return where a part of the work is kept.

        Args:
            name: of the part.

        Returns:
            The file, which exists if the part is done.
        """
        return self._progress / f"{name}.npz"

    def add(self, name: str, write: Callable[[Path], None]) -> Path:
        """Write a file of the result once, whole or not at all.

        Args:
            name: of the file.
            write: writes it to a path, if the file is not there.

        Returns:
            The file.
        """
        file = self.path / name
        if not file.exists():
            staged = self._progress / name
            write(staged)
            staged.replace(file)
        return file

    def finish(self, write: Callable[[Path], None]) -> None:
        """Write the file that the work ends with, and clear away what was kept on the way.

        Args:
            write: writes it to a path.
        """
        self.add(self._result, write)
        self.clear()

    def clear(self) -> None:
        """Clear away what was kept on the way."""
        shutil.rmtree(self._progress, ignore_errors=True)

    def _check(self, description: Mapping[str, Any], *, resume: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(
                f"Expected a folder for the {self._work}, got the file {self.path}: choose another."
            )
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        held = self._held()
        if held is None:
            raise ValueError(
                f"Expected an empty folder or one with this {self._work}, but {self.path} holds other files: choose "
                "another."
            )
        different = sorted(name for name in {*held, *description} if held.get(name) != description.get(name))
        if different:
            raise ValueError(
                f"{self.path} holds a different {self._work}: it differs in {', '.join(different)}. Choose another "
                "output, or the same settings, inputs and package versions."
            )
        if not resume:
            raise ValueError(f"{self.path} holds this {self._work} already: resume it, or choose another output.")

    def _held(self) -> dict[str, Any] | None:
        """The description of the work that the folder holds, begun or finished; None if there is none."""
        begun, finished = self._progress / "description.json", self.path / self._result
        file = begun if begun.exists() else finished
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            held: dict[str, Any] = content if file is begun else {**content["settings"], **content["versions"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return held


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
    """Return the versions of the packages that work is computed with, to be part of its description.

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
