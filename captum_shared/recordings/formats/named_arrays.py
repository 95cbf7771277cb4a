"""Arrays with agreed names: what NumPy archives, HDF5 files and our own netCDF files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.identifiers import as_text

PER_IMAGE = ("stimulus_id", "category", "filename")
PER_NEURON = ("neuroid_id", "region", "subject")
KNOWN = ("responses", *PER_IMAGE, *PER_NEURON, "halves")


def from_arrays(arrays: Mapping[str, Any], path: Path, *, required: Sequence[str]) -> Contents:
    """Read named arrays.

    Args:
        arrays: ``responses`` (image, neuron) or (phase, image, neuron), and any of ``stimulus_id``, ``category``,
            ``filename`` (one per image), ``neuroid_id``, ``region``, ``subject`` (one per neuron) and ``halves``
            (2, image, neuron). Others are left out, and may be None.
        path: the file they are from, for messages.
        required: names that have to be there.

    Returns:
        What they say; neurons without names are called ``"0"``, ``"1"``, ...

    Raises:
        ValueError: if one is missing, is not made of numbers, or does not fit.

    Example:
        >>> from_arrays({"responses": np.ones((2, 3))}, Path("a.npz"), required=["responses"]).neuron_names
        ('0', '1', '2')
    """
    missing = [name for name in required if name not in arrays]
    if missing:
        optional = [name for name in KNOWN if name not in required]
        raise ValueError(
            f"Expected {', '.join(required)} (and optionally {', '.join(optional)}) in {path}, got "
            f"{', '.join(sorted(arrays)) or 'nothing'}: rename them."
        )
    responses = as_numbers(arrays["responses"], f"responses in {path}")
    responses = responses[None] if responses.ndim == 2 else responses
    if responses.ndim != 3 or responses.size == 0:
        raise ValueError(
            "Expected responses of shape (image, neuron) or (phase, image, neuron), none of them empty, in "
            f"{path}, got {np.shape(arrays['responses'])}: average what is more than that, or transpose it."
        )
    text = {name: as_text(np.atleast_1d(arrays[name])) for name in (*PER_IMAGE, *PER_NEURON) if name in arrays}
    n_neurons = responses.shape[2]
    return Contents(
        responses=responses,
        stimulus_ids=text.get("stimulus_id"),
        neuron_names=text.get("neuroid_id", tuple(str(index) for index in range(n_neurons))),
        regions=text.get("region", ("",) * n_neurons),
        subjects=text.get("subject", ("",) * n_neurons),
        categories=text.get("category"),
        filenames=text.get("filename"),
        halves=as_numbers(arrays["halves"], f"halves in {path}") if "halves" in arrays else None,
    )


def to_arrays(contents: Contents) -> dict[str, Float64[ndarray, "..."] | tuple[str, ...]]:
    """Name what a file holds, so that :func:`from_arrays` gives it back.

    Args:
        contents: of a recording.

    Returns:
        Arrays and tuples of text by name; what is unknown is left out.
    """
    named = {
        "responses": contents.responses,
        "stimulus_id": contents.stimulus_ids,
        "category": contents.categories,
        "filename": contents.filenames,
        "neuroid_id": contents.neuron_names,
        "region": contents.regions,
        "subject": contents.subjects,
        "halves": contents.halves,
    }
    return {name: value for name, value in named.items() if value is not None}


def as_numbers(array: Any, where: str) -> Float64[ndarray, "..."]:
    """Real numbers, in double precision.

    Args:
        array: integers, floating-point numbers or booleans.
        where: what it is and where it was found, for the message.

    Returns:
        The array in float64.

    Raises:
        ValueError: if it is made of anything else.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"Expected numbers as {where}, got values of the type {values.dtype}: write float64.")
    return values.astype(np.float64)
