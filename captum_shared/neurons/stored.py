"""A readout as a safetensors file: all of it or nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from captum_shared._files import write_atomically
from captum_shared._reading import described
from captum_shared.neurons.known import KNOWN

_FORMAT: Final = "captum_shared.LinearReadout, version 3"
_KNOWN_IN: Final[dict[str, set[str]]] = {
    _FORMAT: {*KNOWN, "origin"},
    "captum_shared.LinearReadout, version 2": {"examples", "scatter"},
    "captum_shared.LinearReadout, version 1": set(),
}
"""By version what may be in a file besides what has to be."""
_NEEDED: Final = {"format", "neuron_names", "weight", "bias", "feature_mean"}
_TOGETHER: Final = ({"heldout_correlation", "null_interval"}, {"examples", "scatter"})


def write_tensors(
    path: str | os.PathLike[str],
    tensors: dict[str, Tensor],
    neuron_names: Sequence[str],
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write a readout; an existing file is replaced.

    Args:
        path: the file, in an existing folder.
        tensors: its buffers by name, on the CPU.
        neuron_names: its neurons.
        origin: the encoder of its features; None if it is not recorded.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"Expected an existing folder for {target}: create {target.parent} first.")
    metadata: dict[str, Any] = {"format": _FORMAT, "neuron_names": list(neuron_names)}
    if origin is not None:
        metadata["origin"] = dict(origin)
    with write_atomically(target) as temporary:
        temporary.write_bytes(_packed(tensors, {**metadata, "digest": _digest(tensors, metadata)}))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Args:
        path: the file.

    Returns:
        The buffers by name, and what is written beside them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or of another format.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"Expected a file saved by LinearReadout.save, got no file at {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("readout", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        digest = metadata.pop("digest", None)
        if metadata.get("format") not in _KNOWN_IN:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {_FORMAT!r}")
        _check_held({*tensors, *metadata}, _KNOWN_IN[metadata["format"]])
        if not isinstance(metadata.get("origin", {}), dict):
            raise ValueError(f"its origin is {metadata['origin']!r}")
        if digest is not None and digest != _digest(tensors, metadata):
            raise ValueError("its content is not what was written")
    except Exception as error:  # such as RecursionError or KeyError, of what stands in place of the metadata
        raise unreadable(path, error) from error
    return tensors, metadata


def _digest(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    return hashlib.sha256(_packed(tensors, metadata)).hexdigest()


def _packed(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> bytes:
    """Always the same bytes: one entry of metadata, as several come in an order that changes."""
    packed: bytes = to_safetensors(tensors, {"readout": json.dumps(metadata)})
    return packed


def _check_held(held: set[str], known: set[str]) -> None:
    apart = [names for names in _TOGETHER if held & names not in (set(), names) and held & names != {"scatter"}]
    if not _NEEDED <= held <= _NEEDED | known or apart:
        raise ValueError(
            f"it holds {sorted(held)}, not weight, bias, feature_mean and neuron_names, with examples and scatter or "
            "without, and likewise with heldout_correlation and null_interval"
        )


def unreadable(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """Say what is wrong with a file.

    Args:
        path: the file.
        error: what was found.

    Returns:
        The error to raise.

    Example:
        >>> unreadable("a", ValueError("it is empty"))
        ValueError('Expected a to be a readout saved by LinearReadout.save, got: it is empty. Save it again.')
    """
    return ValueError(
        f"Expected {path} to be a readout saved by LinearReadout.save, got: {described(error)}. Save it again."
    )
