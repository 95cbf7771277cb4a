"""The file of a study with its maps, pictures and evidence, opened once."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy import ndarray

from captum_shared._reading import opened

AGAIN: Final = "Run the study again, into a new folder, or resume it where it is."
"""What to do about a study that cannot be read."""


@final
class Archive:
    """Arrays by what they are and whose; whatever is wrong with the file is told in a sentence.

    Args:
        path: ``maps.npz`` of a study.

    Raises:
        ValueError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "maps.npz")
        ...     np.savez(file, maps_names=["A"], **{"maps/00000": np.arange(3)})
        ...     archive = Archive(file)
        ...     archive.of("maps", "A"), archive.names("pictures", optional=True)
        ...     archive.close()
        (array([0, 1, 2]), None)
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            archive = np.load(path)
            self.close = weakref.finalize(self, archive.close)
            self._archive, self._held = archive, frozenset(archive.files)
        self._members: dict[str, dict[str, str]] = {}

    def names(self, what: str, *, optional: bool = False) -> tuple[str, ...] | None:
        """Return whose arrays of a kind there are.

        Args:
            what: the kind, such as ``"maps"``.
            optional: whether there may be no such kind, as in a file of an older version.

        Returns:
            The names; None if there is no such kind.

        Raises:
            ValueError: if there has to be one, or the file is damaged.
        """
        if optional and f"{what}_names" not in self._held:
            return None
        if what not in self._members:
            names = self.array(f"{what}_names").tolist()
            self._members[what] = {name: f"{member:05d}" for member, name in enumerate(names)}
        return tuple(self._members[what])

    def of(self, what: str, name: str) -> ndarray:
        """Read an array.

        Args:
            what: its kind.
            name: whose.

        Returns:
            The array.

        Raises:
            ValueError: if there is none, or the file is damaged.
        """
        names = self.names(what) or ()
        if name not in names:
            raise ValueError(
                f"Expected {what} of {name!r} in {self._path}, beside {self._path.with_name('study.json')}, got "
                f"those of {len(names)} others: it is of another study, or nothing of that name was explained."
            )
        return self.array(f"{what}/{self._members[what][name]}")

    def all_of(self, kinds: Sequence[str], name: str) -> dict[str, ndarray]:
        """Read the arrays of several kinds that have the names of the first in common.

        Args:
            kinds: the kinds.
            name: whose.

        Returns:
            The arrays, by kind.

        Raises:
            ValueError: if there are none, or the file is damaged.
        """
        arrays = {kinds[0]: self.of(kinds[0], name)}
        member = self._members[kinds[0]][name]
        return arrays | {kind: self.array(f"{kind}/{member}") for kind in kinds[1:]}

    def array(self, member: str) -> ndarray:
        """Read an array by its name in the file.

        Args:
            member: the name.

        Returns:
            The array.

        Raises:
            ValueError: if there is none, or the file is damaged.
        """
        with self._told():
            array: ndarray = self._archive[member]
        return array

    def _told(self) -> AbstractContextManager[None]:
        return opened(self._path, "file of the maps of a study", AGAIN)
