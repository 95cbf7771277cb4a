"""What a study keeps on its way, and what it writes at the end."""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy import ndarray

from captum_shared._resuming import ResumableFolder
from captum_shared.study.evidence import EVIDENCE, PairEvidence, Responses, packed_evidence
from captum_shared.study.result import AXES, SIDES, PairResult, StudyResult

STUDY: Final = "study.json"
MAPS: Final = "maps.npz"
READOUT: Final = "readout.safetensors"


def packed(pairs: Iterable[PairResult], maps: ndarray, evidence: Sequence[PairEvidence]) -> dict[str, ndarray]:
    """Pack the pairs and maps of a neuron into arrays.

    Args:
        pairs: the pairs.
        maps: their maps, along ``AXES``.
        evidence: why these are what they are, of each pair or of none.

    Returns:
        Arrays to be kept.
    """
    known = packed_evidence(evidence) if evidence else {}
    return {**known, "maps": maps, "pairs": np.array(json.dumps([asdict(pair) for pair in pairs]))}


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


def write_study(
    folder: ResumableFolder, result: StudyResult, pictures: Iterable[tuple[str, ndarray]], responses: Responses
) -> None:
    """Write maps, evidence, pictures, responses and, last, the study.

    Args:
        folder: where to, with the parts of all neurons.
        result: the study.
        pictures: identifiers and pixels of the images in pairs, and of the ranked references.
        responses: to all images of the recording.
    """

    def write_maps(path: Path) -> None:
        names: dict[str, list[str]] = {"maps": [], "evidence": [], "pictures": []}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, neuron in enumerate(result.neurons):
                if neuron.pairs:
                    _add_neuron(archive, neuron.name, folder.once(part_of(index), _gone), names)
            for name, picture in pictures:
                _add(archive, f"pictures/{len(names['pictures']):05d}", picture)
                names["pictures"].append(name)
            _add(archive, "responses", responses.mean)
            names["responses"] = [*responses.images]
            labels = {"axes": AXES, "sides": SIDES, "methods": result.methods, "categories": responses.categories}
            for label, values in (labels | {f"{kind}_names": each for kind, each in names.items()}).items():
                _add(archive, label, np.array(values, dtype=str))

    folder.add(result.map_file.name, write_maps)
    folder.finish(result.save)


def _add_neuron(
    archive: zipfile.ZipFile, name: str, arrays: Mapping[str, ndarray], names: Mapping[str, list[str]]
) -> None:
    """Add the maps of a neuron and, where there is any, its evidence, each under a number of its own."""
    for kind, members in (("maps", ("maps",)), ("evidence", EVIDENCE)):
        if kind not in arrays:
            continue
        for member in members:
            _add(archive, f"{member}/{len(names[kind]):05d}", arrays[member])
        names[kind].append(name)


def _gone() -> dict[str, ndarray]:
    raise OSError("A part of the study went while it was put together: resume it.")


def _add(archive: zipfile.ZipFile, name: str, array: ndarray) -> None:
    """Add an array under a name; the bytes depend on nothing else, such as the time."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
