"""Responses to single presentations of the images, and their mean over repetitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray

from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.identifiers import check_distinct, first_ten, in_order


@dataclass(frozen=True, eq=False)
class Presentations:
    """Responses to single presentations, as formats with repetitions have them.

    Attributes:
        responses: (presentation, neuron), NaN where nothing was recorded.
        stimulus_ids: one per presentation.
        neuron_names: one per neuron.
        regions: one per neuron, ``""`` where unknown.
        subjects: one per neuron, ``""`` where unknown.
        phases: one per presentation; None: all in one phase.
        repetitions: one per presentation; None: counted in the order of the presentations.
        categories: one per presentation, of its image; None: unknown.
        filenames: one per presentation, of its image; None: unknown.
    """

    responses: Float64[ndarray, "presentation neuron"]
    stimulus_ids: tuple[str, ...]
    neuron_names: tuple[str, ...]
    regions: tuple[str, ...]
    subjects: tuple[str, ...]
    phases: tuple[str, ...] | None = None
    repetitions: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    filenames: tuple[str, ...] | None = None

    def averaged(self) -> Contents:
        r"""Average over the repetitions of every image in every phase.

        .. math:: y_{pik} = \frac{1}{n_{pik}} \sum_r y_{pikr}

        over the :math:`n_{pik}` repetitions :math:`r` in which neuron :math:`k` was recorded, added in the order of
        ``repetitions``: the same presentations give the same result to the last bit, whatever file they come from.
        Phases are in the order of their labels, images in the order of their first presentation. Halves are the means
        over the first, third, ... and over the second, fourth, ... presentation of an image.

        Returns:
            The means.

        Raises:
            ValueError: if there is no presentation or no neuron, an identifier or a name is empty, two neurons have
                the same name, two presentations have the same image, phase and repetition, or an image has two
                categories or two files.

        Example:
            >>> responses = np.array([[1.0], [2.0], [9.0], [np.nan]])
            >>> means = Presentations(responses, ("a", "a", "a", "b"), ("A",), ("",), ("",)).averaged()
            >>> means.responses.tolist(), means.halves.tolist()
            ([[[4.0], [nan]]], [[[5.0], [nan]], [[2.0], [nan]]])
        """
        self._check()
        image, stimulus_ids = pd.factorize(np.array(self.stimulus_ids, dtype=object))
        (phase, n_phases), (repetition, _) = (_ranks(labels, len(image)) for labels in (self.phases, self.repetitions))
        order = np.lexsort((repetition, image, phase))
        n_images = len(stimulus_ids)
        group, responses = (phase * n_images + image)[order], self.responses[order]
        half = _turns(group) % 2
        return Contents(
            responses=_means(responses, group, n_phases * n_images).reshape(n_phases, n_images, -1),
            stimulus_ids=tuple(stimulus_ids),
            neuron_names=self.neuron_names,
            regions=self.regions,
            subjects=self.subjects,
            categories=one_each(self.stimulus_ids, self.categories, "category"),
            filenames=one_each(self.stimulus_ids, self.filenames, "filename"),
            halves=np.stack([_means(responses[half == k], group[half == k], n_images) for k in (0, 1)])
            if n_phases == 1 and half.any()
            else None,
        )

    def _check(self) -> None:
        if self.responses.size == 0:
            raise ValueError(
                f"Expected at least one presentation and one neuron, got {self.responses.shape}: check the file."
            )
        check_distinct(self.neuron_names, "neuron names")
        if "" in self.stimulus_ids:
            gap = self.stimulus_ids.index("")
            raise ValueError(f"Expected an identifier of the image in every presentation, got none at position {gap}.")
        if self.repetitions is not None:
            labels = {"image": self.stimulus_ids, "phase": self.phases, "repetition": self.repetitions}
            check_once(pd.DataFrame({name: label for name, label in labels.items() if label}, dtype=object))


def check_once(presentations: pd.DataFrame) -> None:
    """Refuse a numbered repetition that occurs twice.

    Args:
        presentations: one row each, of what tells them apart, as text.

    Raises:
        ValueError: if a row occurs more than once; the first ten are listed.

    Example:
        >>> check_once(pd.DataFrame({"image": ["hand", "hand", "hand"], "repetition": ["1", "2", "1"]}))
        Traceback (most recent call last):
        ValueError: Expected every repetition once, got more than once (image repetition): 'hand 1'. Number the
        repetitions, or leave their numbers out to count every presentation as one more repetition.
    """
    again = presentations[presentations.duplicated()].drop_duplicates()
    if len(again):
        names = (" ".join(row) for row in again.itertuples(index=False))
        raise ValueError(
            f"Expected every repetition once, got more than once ({' '.join(presentations)}): {first_ten(names)}. "
            "Number the repetitions, or leave their numbers out to count every presentation as one more repetition."
        )


def one_each(keys: Iterable[str], values: Iterable[str] | None, what: str) -> tuple[str, ...] | None:
    """The one value that belongs to each key.

    Args:
        keys: identifiers, repeated.
        values: one per key; None: there are none.
        what: what the values are, for the message.

    Returns:
        One value per distinct key, in the order in which the keys first occur; None where there are none.

    Raises:
        ValueError: if a key has two different values; the first ten such keys are listed.

    Example:
        >>> one_each(["hand", "cup", "hand"], ["body", "object", "body"], "category")
        ('body', 'object')
    """
    if values is None:
        return None
    first: dict[str, str] = {}
    conflicts = [key for key, value in zip(keys, values, strict=True) if first.setdefault(key, value) != value]
    if conflicts:
        raise ValueError(
            f"Expected one {what} for each identifier, got different ones for {first_ten(dict.fromkeys(conflicts))}: "
            "correct it, or make the identifiers distinct."
        )
    return tuple(first.values())


def _ranks(labels: tuple[str, ...] | None, n: int) -> tuple[Int[ndarray, " presentation"], int]:
    if labels is None:
        return np.zeros(n, dtype=np.int64), 1
    rank = {label: position for position, label in enumerate(in_order(labels))}
    return np.array([rank[label] for label in labels], dtype=np.int64), len(rank)


def _turns(group: Int[ndarray, " presentation"]) -> Int[ndarray, " presentation"]:
    """How many presentations of the same group come before each."""
    turns: ndarray = pd.Series(group).groupby(group).cumcount().to_numpy()
    return turns


def _means(
    responses: Float64[ndarray, "presentation neuron"], group: Int[ndarray, " presentation"], n_groups: int
) -> Float64[ndarray, "group neuron"]:
    """Mean of the rows of each group, added one by one; NaN where there is none."""
    total = np.full((n_groups, responses.shape[1]), np.nan)
    count = np.zeros(total.shape, dtype=np.int64)
    turn = _turns(group)
    for repetition in range(turn.max() + 1):
        values, into = responses[turn == repetition], group[turn == repetition]
        so_far, recorded = total[into], ~np.isnan(values)
        total[into] = np.where(count[into] == 0, values, np.where(recorded, so_far + values, so_far))
        count[into] += recorded
    means: ndarray = total / np.maximum(count, 1)
    return means
