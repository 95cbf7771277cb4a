"""What a recording is made of: responses, and what there is one of per image and per neuron."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from jaxtyping import Float64, Int
from numpy import ndarray

Window: TypeAlias = tuple[float, float]

WINDOW: Window = (0.05, 0.25)
"""Seconds after the onset of an image in which spikes are counted, unless told otherwise."""


def along(*axes: str, name: str | None = None) -> dict[str, Any]:
    """Metadata of a field that goes along axes of the responses: :func:`check_axes` and :func:`chosen` go by it.

    Args:
        axes: "image" or "neuron" for one value each, or all axes of an array.
        name: of the field in files with named arrays.

    Returns:
        The metadata.

    Example:
        >>> along("neuron", name="region")
        {'axes': ('neuron',), 'name': 'region'}
    """
    return {"axes": axes, "name": name}


@dataclass(frozen=True, eq=False, kw_only=True)
class Neurons:
    """What a file knows of its neurons, besides their responses.

    Attributes:
        neuron_names: one per neuron.
        regions: one per neuron, ``""`` where unknown.
        subjects: one per neuron, ``""`` where unknown.
        reliability: one per neuron, as in :class:`Contents`; None: unknown.
    """

    neuron_names: tuple[str, ...]
    regions: tuple[str, ...]
    subjects: tuple[str, ...]
    reliability: Float64[ndarray, " neuron"] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Contents:
    """Mean responses, and what the file knows of images and neurons: what every reader gives and every writer takes.

    Attributes:
        responses: (phase, image, neuron), NaN where nothing was recorded.
        stimulus_ids: one per image; None: the file has none, its rows are those of a table of the images.
        categories: one per image, ``""`` where unknown; None: all unknown.
        filenames: one per image, relative to the folder of the recording; None: unknown.
        neuron_names: one per neuron.
        regions: one per neuron, ``""`` where unknown.
        subjects: one per neuron, ``""`` where unknown.
        halves: (2, image, neuron), means over odd and over even repetitions; None: unknown.
        reliability: one per neuron, of the mean over phases, as it was published; None: unknown.

    Raises:
        ValueError: if the number of something is not that of the images or neurons of ``responses``.
    """

    responses: Float64[ndarray, "phase image neuron"] = field(
        metadata=along("phase", "image", "neuron", name="responses")
    )
    stimulus_ids: tuple[str, ...] | None = field(metadata=along("image", name="stimulus_id"))
    categories: tuple[str, ...] | None = field(default=None, metadata=along("image", name="category"))
    filenames: tuple[str, ...] | None = field(default=None, metadata=along("image", name="filename"))
    neuron_names: tuple[str, ...] = field(metadata=along("neuron", name="neuroid_id"))
    regions: tuple[str, ...] = field(metadata=along("neuron", name="region"))
    subjects: tuple[str, ...] = field(metadata=along("neuron", name="subject"))
    halves: Float64[ndarray, "half image neuron"] | None = field(
        default=None, metadata=along("half", "image", "neuron", name="halves")
    )
    reliability: Float64[ndarray, " neuron"] | None = field(default=None, metadata=along("neuron", name="reliability"))

    def __post_init__(self) -> None:
        check_axes(self)


def attributes(shaped: Any, axis: str | None = None) -> dict[str, Any]:
    """What a dataclass with fields :func:`along` axes knows, by field.

    Args:
        shaped: the dataclass.
        axis: "image" or "neuron", for what there is one of each; None: everything.

    Returns:
        The values, None where they are unknown.

    Example:
        >>> import numpy as np
        >>> rates = np.ones((1, 1, 2))
        >>> contents = Contents(
        ...     responses=rates, stimulus_ids=("hand",), neuron_names=("A", "B"), regions=("", ""), subjects=("", "")
        ... )
        >>> attributes(contents, "image")
        {'stimulus_ids': ('hand',), 'categories': None, 'filenames': None}
    """
    return {
        each.name: getattr(shaped, each.name)
        for each in fields(shaped)
        if axis is None or each.metadata["axes"] == (axis,)
    }


def chosen(
    shaped: Any, *, images: Int[ndarray, " kept"] | None = None, neurons: Int[ndarray, " chosen"] | None = None
) -> dict[str, Any]:
    """Some of the images and neurons.

    Args:
        shaped: a dataclass with fields :func:`along` axes.
        images: positions; None: all.
        neurons: positions; None: all.

    Returns:
        The values of all its fields for these.

    Example:
        >>> import numpy as np
        >>> rates = np.array([[[1.0, 2.0]]])
        >>> contents = Contents(
        ...     responses=rates, stimulus_ids=("hand",), neuron_names=("A", "B"), regions=("", ""), subjects=("", "")
        ... )
        >>> chosen(contents, neurons=np.array([1]))["neuron_names"]
        ('B',)
    """
    positions = {"image": images, "neuron": neurons}
    values = attributes(shaped)
    for each in fields(shaped):
        for dimension, axis in enumerate(each.metadata["axes"]):
            value, kept = values[each.name], positions.get(axis)
            if value is not None and kept is not None:
                arrayed = isinstance(value, ndarray)
                values[each.name] = (
                    value[(slice(None),) * dimension + (kept,)] if arrayed else tuple(value[index] for index in kept)
                )
    return values


def check_axes(shaped: Any) -> None:
    """Refuse responses without axes, and anything that is not as long as the axis it belongs to.

    Args:
        shaped: a dataclass with fields :func:`along` axes, among them ``responses`` and ``halves``.

    Raises:
        ValueError: with the name and both numbers.

    Example:
        >>> import numpy as np
        >>> rates = np.ones((1, 2, 3))
        >>> Contents(responses=rates, stimulus_ids=("hand",), neuron_names=("A",), regions=("",), subjects=("",))
        Traceback (most recent call last):
        ValueError: Expected 2 stimulus_ids, one per image of responses (1, 2, 3), got 1.
    """
    responses, halves = shaped.responses, shaped.halves
    if responses.ndim != 3 or responses.size == 0:
        raise ValueError(
            f"Expected responses of shape (phase, image, neuron), none of them empty, got {responses.shape}: write "
            "responses[None] where there is only one phase."
        )
    for axis, length in (("image", responses.shape[1]), ("neuron", responses.shape[2])):
        for name, value in attributes(shaped, axis).items():
            if value is not None and len(value) != length:
                raise ValueError(
                    f"Expected {length} {name}, one per {axis} of responses {responses.shape}, got {len(value)}."
                )
    if halves is not None and halves.shape != (2, *responses.shape[1:]):
        raise ValueError(
            f"Expected halves of shape {(2, *responses.shape[1:])}, as responses {responses.shape}, got {halves.shape}."
        )
