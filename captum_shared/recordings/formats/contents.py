"""What a recording file holds, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float64
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Contents:
    """Mean responses, and what the file knows of images and neurons: what every reader gives and every writer takes.

    Attributes:
        responses: (phase, image, neuron), NaN where nothing was recorded.
        stimulus_ids: one per image; None: the file has none, its rows are those of a table of the images.
        neuron_names: one per neuron.
        regions: one per neuron, ``""`` where unknown.
        subjects: one per neuron, ``""`` where unknown.
        categories: one per image, ``""`` where unknown; None: all unknown.
        filenames: one per image, relative to the folder of the recording; None: unknown.
        halves: (2, image, neuron), means over odd and over even repetitions; None: unknown.

    Raises:
        ValueError: if the number of something is not that of the images or neurons of ``responses``.
    """

    responses: Float64[ndarray, "phase image neuron"]
    stimulus_ids: tuple[str, ...] | None
    neuron_names: tuple[str, ...]
    regions: tuple[str, ...]
    subjects: tuple[str, ...]
    categories: tuple[str, ...] | None = None
    filenames: tuple[str, ...] | None = None
    halves: Float64[ndarray, "half image neuron"] | None = None

    def __post_init__(self) -> None:
        check_axes(
            self.responses,
            images={"stimulus_ids": self.stimulus_ids, "categories": self.categories, "filenames": self.filenames},
            neurons={"neuron_names": self.neuron_names, "regions": self.regions, "subjects": self.subjects},
            halves=self.halves,
        )


def check_axes(
    responses: ndarray,
    *,
    images: Mapping[str, Sequence[object] | None],
    neurons: Mapping[str, Sequence[object] | None],
    halves: ndarray | None,
) -> None:
    """Refuse responses without axes, and anything that is not as long as the axis it belongs to.

    Args:
        responses: (phase, image, neuron).
        images: what there is one of per image, by name; None where there is none.
        neurons: what there is one of per neuron, by name.
        halves: (2, image, neuron).

    Raises:
        ValueError: with the name and both numbers.

    Example:
        >>> import numpy as np
        >>> check_axes(np.zeros((1, 2, 3)), images={"categories": ["body"]}, neurons={}, halves=None)
        Traceback (most recent call last):
        ValueError: Expected 2 categories, one per image of responses (1, 2, 3), got 1.
    """
    if responses.ndim != 3 or responses.size == 0:
        raise ValueError(
            f"Expected responses of shape (phase, image, neuron), none of them empty, got {responses.shape}: write "
            "responses[None] where there is only one phase."
        )
    for axis, length, values in (("image", responses.shape[1], images), ("neuron", responses.shape[2], neurons)):
        for name, value in values.items():
            if value is not None and len(value) != length:
                raise ValueError(
                    f"Expected {length} {name}, one per {axis} of responses {responses.shape}, got {len(value)}."
                )
    if halves is not None and halves.shape != (2, *responses.shape[1:]):
        raise ValueError(
            f"Expected halves of shape {(2, *responses.shape[1:])}, as responses {responses.shape}, got {halves.shape}."
        )
