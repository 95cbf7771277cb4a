"""What a study keeps on its way, and what it writes at the end."""

import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy import ndarray

from captum_shared._resuming import ResumableFolder
from captum_shared.study.result import AXES, SIDES, PairResult, StudyResult


def packed(pairs: Iterable[PairResult], maps: ndarray) -> dict[str, ndarray]:
    """Pack the pairs and maps of a neuron into arrays.

    Args:
        pairs: the pairs.
        maps: their maps, along ``AXES``.

    Returns:
        Arrays to be kept.
    """
    return {"maps": maps, "pairs": np.array(json.dumps([asdict(pair) for pair in pairs]))}


def kept_pairs(folder: ResumableFolder, neuron: int) -> tuple[PairResult, ...]:
    """Return the pairs of a neuron that is done.

    Args:
        folder: where they are kept.
        neuron: its index.

    Returns:
        Its pairs.
    """
    with np.load(folder.part(part_of(neuron))) as kept:
        return tuple(PairResult(**pair) for pair in json.loads(str(kept["pairs"])))


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
                with np.load(folder.part(part_of(neuron))) as kept:
                    _add(archive, f"maps/{member:05d}", kept["maps"])
            names = []
            for member, (name, picture) in enumerate(pictures):
                _add(archive, f"pictures/{member:05d}", picture)
                names.append(name)
            labels = {"axes": AXES, "sides": SIDES, "methods": result.methods}
            for label, values in {**labels, "maps_names": tuple(explained), "pictures_names": names}.items():
                _add(archive, label, np.array(values, dtype=str))

    folder.add(result.map_file.name, write_maps)
    folder.finish(result.save)


def _add(archive: zipfile.ZipFile, name: str, array: ndarray) -> None:
    """Add an array under a name; the bytes depend on nothing else, such as the time."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
