"""Arrays with agreed names: what NumPy archives, HDF5 files and our own netCDF files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.recordings.formats.contents import Contents, attributes
from captum_shared.recordings.formats.identifiers import as_text, first_ten, meant

NAMES: dict[str, str] = {each.name: each.metadata["name"] for each in fields(Contents)}
"""What files call each attribute of their contents."""

AXES: dict[str, tuple[str, ...]] = {each.metadata["name"]: each.metadata["axes"] for each in fields(Contents)}
"""The axes of each array, by the name that files have for it."""


def from_arrays(arrays: Mapping[str, Any], path: Path, *, required: Sequence[str]) -> Contents:
    """Read named arrays.

    Args:
        arrays: ``responses`` (image, neuron) or (phase, image, neuron), and any of ``stimulus_id``, ``category``,
            ``filename`` (one per image), ``neuroid_id``, ``region``, ``subject`` (one per neuron) and ``halves``
            (2, image, neuron). The values of others may be None.
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
        if name in arrays and len(AXES[name]) == 1
    }
    halves = as_numbers(arrays["halves"], f"halves in {path}") if "halves" in arrays else None
    return Contents(**{**unknown, **text, "responses": responses, "halves": halves})


def to_arrays(contents: Contents) -> dict[str, Float64[ndarray, "..."] | tuple[str, ...]]:
    """Name what a file holds, so that :func:`from_arrays` gives it back.

    Args:
        contents: of a recording.

    Returns:
        Arrays and tuples of text by name; what is unknown is left out.
    """
    return {NAMES[attribute]: value for attribute, value in attributes(contents).items() if value is not None}


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
