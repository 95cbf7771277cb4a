"""What neurons make of images, and how a behavioural measure of the same images goes with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from captum_shared._resuming import digest
from captum_shared.recordings.formats.csv_files import read_csv
from captum_shared.recordings.formats.identifiers import first_ten
from captum_shared.study.rank_tests import FEWEST, Relation

MEASURES: Final = {
    "response": "predicted response",
    "similarity": "similarity to the reference",
    "agreement": "agreement of the maps",
}
"""What is related to behaviour, and what to call it."""


@final
@dataclass(frozen=True)
class BehaviourTable:
    """A behavioural measure of images, or of images with their references, such as reaction times or ratings.

    Attributes:
        name: of the file.
        values: by image and reference the measure, mean over trials, in any unit; the reference is empty where the
            measure is of the image alone.

    Example:
        >>> table = BehaviourTable("times.csv", {("mug", "hand"): 0.5, ("mug", "foot"): 0.7})
        >>> table.of_images
        {'mug': 0.6}
    """

    name: str
    values: Mapping[tuple[str, str], float]

    @classmethod
    def read(cls, path: str | Path, stimulus_ids: Sequence[str]) -> BehaviourTable:
        r"""Read a CSV file with the columns ``stimulus_id`` and ``value``, and maybe ``reference`` and ``trial``.

        With a column ``trial`` an image (or pair) may have several rows, which are averaged; without, it has one. Cells
        without a value are left out.

        Args:
            path: the file.
            stimulus_ids: the images of the recording, of which it may have some or all.

        Returns:
            The measure.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no such table, an image is not in the recording (the first ten are listed), a value is
                no finite number, or a row is repeated.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = Path(folder, "a.csv").write_text("stimulus_id,trial,value\nmug,1,0.25\nmug,2,0.75\n")
            ...     BehaviourTable.read(Path(folder, "a.csv"), ["mug", "hand"]).of_images
            {'mug': 0.5}
        """
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"Expected a table stimulus_id,value of behaviour, got no file at {file}.")
        table = read_csv(file, ["stimulus_id", "value"], ["reference", "trial"])
        known = set(stimulus_ids)
        named = [name for column in ("stimulus_id", "reference") if column in table for name in table[column]]
        if unknown := [name for name in dict.fromkeys(named) if name not in known]:
            raise ValueError(
                f"Expected images of the recording in {file}, unknown: {first_ten(unknown)}. Leave them out."
            )
        _check_repeated(table.drop(columns="value"), file)
        references = table["reference"] if "reference" in table else [""] * len(table)
        trials: dict[tuple[str, str], list[float]] = {}
        for line, image, reference, cell in zip(
            table.index, table["stimulus_id"], references, table["value"], strict=True
        ):
            if cell.strip():
                trials.setdefault((image, reference), []).append(_number(cell, f"line {line} of {file}"))
        return cls(file.name, {pair: float(np.mean(values)) for pair, values in trials.items()})

    @property
    def of_images(self) -> dict[str, float]:
        """The measure of each image, mean over its references."""
        values: dict[str, list[float]] = {}
        for (image, _), value in self.values.items():
            values.setdefault(image, []).append(value)
        return {image: float(np.mean(each)) for image, each in values.items()}

    @property
    def of_pairs(self) -> bool:
        """Whether it is of images with their references."""
        return any(reference for _, reference in self.values)

    @property
    def digest(self) -> str:
        """Sum up the measure, so that a study can tell it from another."""
        return digest([json.dumps(sorted((*pair, value) for pair, value in self.values.items())).encode()])


@final
@dataclass(frozen=True)
class Behaviour:
    """How a behavioural measure goes with what neurons make of the images.

    Attributes:
        name: of the file with the measure.
        relations: of predicted responses, of the similarity to the reference and of the agreement of the maps, mean
            over all neurons and over those of each region and subject; ``p_all`` is for all of these together.
        neurons: of the predicted responses of each neuron; ``p_all`` is for all neurons together.
        points: by measure (:data:`MEASURES`), for all neurons: of each image (and reference) that has one its category,
            the neurons' measure and behaviour.

    Example:
        >>> relation = Relation("response", "all neurons", 40, 0.5, 0.001, 0.002)
        >>> print(Behaviour("times.csv", (relation,), (), {}).told[0])
        predicted response, all neurons: rank correlation with times.csv 0.50 over 40 images (p = 0.002)
    """

    name: str
    relations: tuple[Relation, ...]
    neurons: tuple[Relation, ...]
    points: Mapping[str, tuple[tuple[str, float, float], ...]]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Behaviour:
        """Make one of what JSON holds of it.

        Args:
            entry: its attributes.

        Returns:
            The same as was written.
        """
        relations, neurons = (tuple(Relation.read(each) for each in entry[name]) for name in ("relations", "neurons"))
        points = {
            name: tuple((str(c), float(x), float(y)) for c, x, y in each) for name, each in entry["points"].items()
        }
        return cls(entry["name"], relations, neurons, points)

    @property
    def told(self) -> tuple[str, ...]:
        """What it comes to, in a few lines; p is corrected for all that is told."""
        lines = [f"{MEASURES[each.measure]}, {each.of}: {self._told_of(each)}" for each in self.relations]
        if self.neurons:
            beyond = sum(each.p_all < 0.05 for each in self.neurons)
            lines.append(
                f"predicted responses of single neurons that go with {self.name}: {beyond} of {len(self.neurons)}"
            )
        return tuple(lines)

    def _told_of(self, relation: Relation) -> str:
        if math.isnan(relation.correlation):
            return f"too few images with {self.name} to tell ({relation.n_images}, of {FEWEST} or more)"
        return (
            f"rank correlation with {self.name} {relation.correlation:.2f} over {relation.n_images} images "
            f"({relation.told_p})"
        )


def _check_repeated(keys: Any, file: Path) -> None:
    repeated = keys[keys.duplicated()]
    if len(repeated):
        rows = first_ten(", ".join(row) for row in repeated.itertuples(index=False))
        raise ValueError(
            f"Expected one row for each {', '.join(keys.columns)} in {file}, got more for {rows}. Tell trials apart "
            "by a column trial, or leave the others out."
        )


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"Expected a number as the value in {where}, got {cell!r}: mend it, or leave the cell empty.")
    return value
