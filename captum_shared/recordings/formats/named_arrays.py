"""Arrays with agreed names: what NumPy archives, HDF5 files and our own netCDF files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from captum_shared.recordings.formats.contents import Contents, Neurons, attributes
from captum_shared.recordings.formats.identifiers import Choice, as_text, chosen_positions, first_ten, meant

NAMES: dict[str, str] = {each.name: each.metadata["name"] for each in fields(Contents)}
"""What files call each attribute of their contents."""

AXES: dict[str, tuple[str, ...]] = {each.metadata["name"]: each.metadata["axes"] for each in fields(Contents)}
"""The axes of each array, by the name that files have for it."""

_NUMBERS = ("responses", "halves", "reliability")
_PART = 2**17  # numbers in double precision in a part of a file: a megabyte


def from_arrays(arrays: Mapping[str, Any], path: Path, *, required: Sequence[str]) -> Contents:
    """Read named arrays.

    Args:
        arrays: ``responses`` (image, neuron) or (phase, image, neuron), and any of ``stimulus_id``, ``category``,
            ``filename`` (one per image), ``neuroid_id``, ``region``, ``subject``, ``reliability`` (one per neuron) and
            ``halves`` (2, image, neuron). The values of others may be None.
        path: the file they are from, for messages.
        required: names that have to be there.

    Returns:
        What they say; neurons without names are called ``"0"``, ``"1"``, ...

    Raises:
        ValueError: if one is missing or unknown, is not made of numbers, or does not fit.

    Example:
        >>> from_arrays({"responses": np.ones((2, 3))}, Path("a.npz"), required=["responses"]).neuron_names
        ('0', '1', '2')
    """
    _check_names([*arrays], path, required)
    responses = as_numbers(arrays["responses"], f"responses in {path}")
    responses = responses[None] if responses.ndim == 2 else responses
    if responses.ndim != 3 or responses.size == 0:
        raise ValueError(
            "Expected responses of shape (image, neuron) or (phase, image, neuron), none of them empty, in "
            f"{path}, got {np.shape(arrays['responses'])}: average what is more than that, or transpose it."
        )
    n_neurons = responses.shape[2]
    unknown = {
        "stimulus_ids": None,
        "neuron_names": tuple(str(index) for index in range(n_neurons)),
        "regions": ("",) * n_neurons,
        "subjects": ("",) * n_neurons,
    }
    text = {
        attribute: as_text(np.atleast_1d(arrays[name]), f"{name} in {path}")
        for attribute, name in NAMES.items()
        if name in arrays and name not in _NUMBERS
    }
    numbers = {
        name: as_numbers(arrays[name], f"{name} in {path}") for name in ("halves", "reliability") if name in arrays
    }
    return Contents(**{**unknown, **text, **numbers, "responses": responses})


def list_neurons(arrays: Mapping[str, Any], path: Path) -> Neurons:
    """List the neurons of named arrays.

    Args:
        arrays: as of :func:`from_arrays`; those with more than one axis may still be in the file.
        path: the file they are from, for messages.

    Returns:
        What is known of the neurons; those without names are called ``"0"``, ``"1"``, ...

    Raises:
        ValueError: if an array is missing or unknown.
    """
    _check_names([*arrays], path, ["responses"])
    unknown = {
        "neuron_names": tuple(str(index) for index in range(arrays["responses"].shape[-1])),
        "regions": ("",) * arrays["responses"].shape[-1],
        "subjects": ("",) * arrays["responses"].shape[-1],
    }
    text = {
        attribute: as_text(np.atleast_1d(arrays[NAMES[attribute]][()]), f"{NAMES[attribute]} in {path}")
        for attribute in unknown
        if NAMES[attribute] in arrays
    }
    reliability = as_numbers(arrays["reliability"], f"reliability in {path}") if "reliability" in arrays else None
    return Neurons(**{**unknown, **text}, reliability=reliability)


def some_neurons(arrays: Mapping[str, Any], path: Path, neurons: Choice) -> dict[str, Any]:
    """Read the responses of some neurons only.

    Args:
        arrays: as of :func:`from_arrays`, still in the file; all that goes along neurons has them on the last axis.
        path: the file they are from, for messages.
        neurons: which ones: a mask, positions or names.

    Returns:
        The arrays of these neurons.

    Raises:
        ValueError: if one does not exist, or an array is missing or unknown.

    Example:
        >>> some_neurons({"responses": np.array([[1.0, 2.0]]), "region": np.array(["V4", "IT"])}, Path("a.h5"), [1])
        {'neuroid_id': array(['1'], dtype=object), 'responses': array([[2.]]), 'region': array(['IT'], dtype='<U2')}
    """
    names = list_neurons(arrays, path).neuron_names
    positions = chosen_positions(neurons, names, "neuron")
    arrays = {"neuroid_id": np.array(names, dtype=object), **arrays}
    return {
        name: array[()] if "neuron" not in AXES.get(name, ()) else last_axis(array, positions)
        for name, array in arrays.items()
    }


def last_axis(array: Any, positions: Int[ndarray, " chosen"]) -> ndarray:
    """Read some positions of the last axis, in the order asked for, in as few parts as they lie in.

    Args:
        array: a dataset of HDF5, or any array.
        positions: distinct.

    Returns:
        Their values.

    Example:
        >>> last_axis(np.array([10, 11, 12, 13]), np.array([3, 0, 2]))
        array([13, 10, 12])
    """
    order = np.argsort(positions)
    runs = np.split(positions[order], np.flatnonzero(np.diff(positions[order]) > 1) + 1)
    parts = [np.asarray(array[..., run[0] : run[-1] + 1]) for run in runs]
    values: ndarray = np.concatenate(parts, axis=-1)[..., np.argsort(order)]
    return values


def to_arrays(contents: Contents) -> dict[str, Float64[ndarray, "..."] | tuple[str, ...]]:
    """Name what a file holds, so that :func:`from_arrays` gives it back.

    Args:
        contents: of a recording.

    Returns:
        Arrays and tuples of text by name; what is unknown is left out.
    """
    return {NAMES[attribute]: value for attribute, value in attributes(contents).items() if value is not None}


def chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How numbers are cut into parts of a megabyte at most, so that some neurons can be read without the others.

    Args:
        shape: of the array; neurons are its last axis.

    Returns:
        The shape of a part: all images of as many neurons as fit.

    Example:
        >>> chunks((2, 20_000, 1000)), chunks((3,))
        ((1, 20000, 6), (3,))
    """
    images = min(shape[-2], _PART) if len(shape) > 1 else 1
    return (*(1 for _ in shape[:-2]), *((images,) if len(shape) > 1 else ()), max(1, min(shape[-1], _PART // images)))


def as_numbers(array: Any, where: str) -> Float64[ndarray, "..."]:
    """Real numbers, in double precision.

    Args:
        array: integers, floating-point numbers or booleans.
        where: what it is and what it is in, for the message.

    Returns:
        The array in float64.

    Raises:
        ValueError: if it is made of anything else.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"Expected numbers as {where}, got values of the type {values.dtype}: write float64.")
    return values.astype(np.float64)


def _check_names(names: Sequence[str], path: Path, required: Sequence[str]) -> None:
    """Refuse names that nobody reads: what they hold would be missing in silence."""
    if set(required) <= set(names) <= set(NAMES.values()):
        return
    optional = [name for name in NAMES.values() if name not in required]
    unknown = sorted(set(names).difference(NAMES.values()))
    close = meant(unknown, [name for name in NAMES.values() if name not in names])
    remedy = ", ".join(f"rename {name!r} to {right}" for name, right in close.items())
    if {"stimulus", "neuroid"} <= {*unknown}:
        remedy = "this is one of our netCDF files, whose extension is .nc"
    raise ValueError(
        f"Expected {', '.join(required)} (and optionally {', '.join(optional)}, nothing else) in {path}, got "
        f"{first_ten(sorted(names)) if names else 'nothing'}: {remedy or 'rename them, or leave the others out'}."
    )
