"""The folder of a study: what is done already survives an interruption, and nothing of another study is overwritten."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy import ndarray

from captum_shared.files import write_atomically
from captum_shared.study.result import AXES, JACOBIANS, SIDES, PairResult, StudyResult

_PROGRESS = ".progress"


@final
class StudyFolder:
    """A folder with one study, begun or finished.

    While the study runs, the features and the maps of each neuron that is done lie in a hidden folder in it.

    Args:
        path: the folder; made if absent.
        description: what the study is, as :func:`~captum_shared.study.settings.description` gives it.
        resume: whether to go on with the study that the folder holds.

    Attributes:
        path: the folder.
        finished: whether the study in it is complete.

    Raises:
        NotADirectoryError: if there is a file at ``path``.
        ValueError: if the folder holds another study or other files, or this study and ``resume`` is not set.
    """

    def __init__(self, path: str | Path, description: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = Path(path)
        self._progress = self.path / _PROGRESS
        _check_folder(self.path, description, resume=resume)
        begun = self._progress / "description.json"
        self.finished: bool = (self.path / "study.json").exists() and not begun.exists()
        if not self.finished:
            with write_atomically(begun) as file:
                file.write_text(json.dumps(description, indent=2), encoding="utf-8")

    def once(self, name: str, compute: Callable[[], ndarray]) -> ndarray:
        """Return an array that is computed once and kept.

        Args:
            name: what it is.
            compute: computes it, if it is not there.

        Returns:
            The array.
        """
        path = self._progress / f"{name}.npy"
        if not path.exists():
            array = compute()
            with write_atomically(path) as file:
                np.save(file, array)
        kept: ndarray = np.load(path)
        return kept

    def has(self, neuron: int) -> bool:
        """Tell whether a neuron is done.

        Args:
            neuron: its position.

        Returns:
            Whether it is.
        """
        return self._path(neuron).exists()

    def keep(self, neuron: int, pairs: Iterable[PairResult], maps: ndarray) -> None:
        """Keep the pairs and maps of a neuron.

        Args:
            neuron: its position.
            pairs: its pairs.
            maps: their maps, along ``AXES``.
        """
        with write_atomically(self._path(neuron)) as file:
            np.savez(file, maps=maps, pairs=json.dumps([asdict(pair) for pair in pairs]))

    def pairs(self, neuron: int) -> tuple[PairResult, ...]:
        """Return the pairs of a neuron that is done.

        Args:
            neuron: its position.

        Returns:
            Its pairs.
        """
        with np.load(self._path(neuron)) as kept:
            return tuple(PairResult(**pair) for pair in json.loads(str(kept["pairs"])))

    def finish(self, result: StudyResult, pictures: Iterable[tuple[str, ndarray]]) -> None:
        """Write the study, ``study.json`` last, and clear away what was kept on the way.

        Args:
            result: all that was found.
            pictures: identifiers and pixels of the images in pairs.
        """
        positions = {neuron.name: place for place, neuron in enumerate(result.neurons) if neuron.pairs}
        staged = self._progress / "maps.npz"
        with zipfile.ZipFile(staged, "w", zipfile.ZIP_DEFLATED) as archive:
            for place, neuron in enumerate(positions.values()):
                with np.load(self._path(neuron)) as kept:
                    _add(archive, f"maps/{place:05d}", kept["maps"])
            names = []
            for place, (name, picture) in enumerate(pictures):
                _add(archive, f"pictures/{place:05d}", picture)
                names.append(name)
            labels = {"axes": AXES, "sides": SIDES, "jacobians": JACOBIANS}
            for name, values in {**labels, "maps_names": tuple(positions), "pictures_names": names}.items():
                _add(archive, name, np.array(values, dtype=str))
        staged.replace(result.map_file)
        result.save(self._progress / "study.json")
        (self._progress / "study.json").replace(self.path / "study.json")
        self.clear()

    def clear(self) -> None:
        """Clear away what was kept on the way."""
        shutil.rmtree(self._progress, ignore_errors=True)

    def _path(self, neuron: int) -> Path:
        return self._progress / f"neuron_{neuron:05d}.npz"


def _add(archive: zipfile.ZipFile, name: str, array: ndarray) -> None:
    """Add an array under a name; the bytes depend on nothing else, such as the time."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _check_folder(path: Path, description: Mapping[str, Any], *, resume: bool) -> None:
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"Expected a folder for the study, got the file {path}: choose another output.")
    if not path.exists() or not any(path.iterdir()):
        return
    found = _description_in(path)
    if found is None:
        raise ValueError(
            f"Expected an empty folder or one with this study, but {path} holds other files: choose another."
        )
    same = json.loads(json.dumps(description))
    different = sorted(name for name in {*found, *same} if found.get(name) != same.get(name))
    if different:
        raise ValueError(
            f"{path} holds a different study: it differs in {', '.join(different)}. Choose another output, or the same "
            "settings, recording, images and package versions."
        )
    if not resume:
        raise ValueError(f"{path} holds this study already: resume it, or choose another output.")


def _description_in(path: Path) -> dict[str, Any] | None:
    """The description of the study that a folder holds, begun or finished; None if there is none."""
    begun, finished = path / _PROGRESS / "description.json", path / "study.json"
    file = begun if begun.exists() else finished
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found: dict[str, Any] = content if file is begun else {**content["settings"], **content["versions"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found
