"""What a study keeps on its way, and what it writes at the end."""

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy import ndarray

from captum_shared._resuming import ResumableFolder
from captum_shared.study.result import AXES, SIDES, PairResult, StudyResult

STUDY: Final = "study.json"
MAPS: Final = "maps.npz"
READOUT: Final = "readout.safetensors"


def packed(pairs: Iterable[PairResult], maps: ndarray) -> dict[str, ndarray]:
    """Pack the pairs and maps of a neuron into arrays.

    Args:
        pairs: the pairs.
        maps: their maps, along ``AXES``.

    Returns:
        Arrays to be kept.
    """
    return {"maps": maps, "pairs": np.array(json.dumps([asdict(pair) for pair in pairs]))}


def pairs_in(kept: Mapping[str, ndarray]) -> tuple[PairResult, ...]:
    """Return the pairs of a neuron that is done.

    Args:
        kept: what :func:`packed` made of them.

    Returns:
        The pairs.
    """
    return tuple(PairResult.read(pair) for pair in json.loads(str(kept["pairs"])))


def part_of(neuron: int) -> str:
    """Name the part of a study that is a neuron's.

    Args:
        neuron: its index.

    Returns:
        The name.

    Example:
        >>> part_of(3)
        'neuron_00003'
    """
    return f"neuron_{neuron:05d}"


def write_study(folder: ResumableFolder, result: StudyResult, pictures: Iterable[tuple[str, ndarray]]) -> None:
    """Write maps, pictures and, last, the study.

    Args:
        folder: where to, with the parts of all neurons.
        result: the study.
        pictures: identifiers and pixels of the images in pairs.
    """

    def write_maps(path: Path) -> None:
        explained = {neuron.name: index for index, neuron in enumerate(result.neurons) if neuron.pairs}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, neuron in enumerate(explained.values()):
                _add(archive, f"maps/{member:05d}", folder.once(part_of(neuron), _gone)["maps"])
            names = []
            for member, (name, picture) in enumerate(pictures):
                _add(archive, f"pictures/{member:05d}", picture)
                names.append(name)
            labels = {"axes": AXES, "sides": SIDES, "methods": result.methods}
            for label, values in {**labels, "maps_names": tuple(explained), "pictures_names": names}.items():
                _add(archive, label, np.array(values, dtype=str))

    folder.add(result.map_file.name, write_maps)
    folder.finish(result.save)


def _gone() -> dict[str, ndarray]:
    raise OSError("A part of the study went while it was put together: resume it.")


def _add(archive: zipfile.ZipFile, name: str, array: ndarray) -> None:
    """Add an array under a name; the bytes depend on nothing else, such as the time."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
