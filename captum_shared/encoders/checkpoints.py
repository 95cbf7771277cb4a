"""Networks of torchvision with weights from torchvision or from a file."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn


def load_torchvision(name: str, weights: str | Path | None) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """Load a network of torchvision and the preprocessing that belongs to it.

    Args:
        name: a classification model of ``torchvision.models.list_models()``.
        weights: the name of one of its weights entries (``"DEFAULT"``: the best one, which torchvision downloads
            once), the path of a ``.safetensors`` or state-dict file (read with ``weights_only=True``; prefixes
            such as ``module.`` are taken off), or None for random weights.

    Returns:
        The network in evaluation mode, and the transform from a photograph to its input: that of the entry, of
        the default entry for a file or random weights.

    Raises:
        ValueError: if the model or the entry is unknown, or the file cannot be read or does not fit.
        FileNotFoundError: if ``weights`` is neither an entry nor a file.

    Example:
        >>> network, preprocess = load_torchvision("squeezenet1_1", None)
        >>> preprocess(torch.zeros(3, 300, 400, dtype=torch.uint8)).shape
        torch.Size([3, 224, 224])
    """
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = ", ".join(difflib.get_close_matches(name, names, n=5)) or ", ".join(names)
        raise ValueError(f"torchvision has no classification model {name!r}. Did you mean: {close}?")
    entries = torchvision.models.get_model_weights(name)
    entry = entries["DEFAULT"]
    if isinstance(weights, str) and weights in entries.__members__:
        entry = entries[weights]
        with torch.random.fork_rng(devices=[]):
            return torchvision.models.get_model(name, weights=entry).eval(), entry.transforms()
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        network = torchvision.models.get_model(name, weights=None, **options).eval()
    if weights is not None:
        _load_file(network, name, Path(weights), list(entries.__members__))
    return network, entry.transforms()


def _load_file(network: nn.Module, name: str, path: Path, entries: list[str]) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"weights={str(path)!r} is neither a file nor one of torchvision's entries for {name} "
            f"({', '.join(dict.fromkeys(['DEFAULT', *entries]))})."
        )
    state = _unprefixed(_read(path), network.state_dict())
    _check_keys(state, network.state_dict(), name, path)
    network.load_state_dict(state, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make anything of an unpickler
        raise ValueError(
            f"{path} could not be read as weights: expected a .safetensors file or a state dict saved by torch.save, "
            f"whole and without other Python objects ({type(error).__name__}: {' '.join(str(error).splitlines()[:1])})."
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}; expected a state dict, name to tensor.")
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


def _unprefixed(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the shortest prefix under which the first expected key is found, such as ``module.model.``."""
    first = next(iter(expected))
    prefixes = [key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}")]
    prefix = min(prefixes, key=len, default="")
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _check_keys(state: dict[str, Tensor], expected: dict[str, Tensor], name: str, path: Path) -> None:
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    differences = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    told = [
        f"{len(keys)} {kind} ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"
        for kind, keys in differences.items()
        if keys
    ]
    if told:
        raise ValueError(f"{path} does not hold the weights of {name}: {'; '.join(told)}. Is it another model's file?")
