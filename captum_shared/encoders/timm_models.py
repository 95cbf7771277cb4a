"""Networks of timm."""

import contextlib
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_shared.encoders.checkpoints import DEFAULT
from captum_shared.encoders.packages import download_told, imported


def load_timm(name: str, weights: str | Path | None) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """Load a network of timm and the preprocessing that belongs to it.

    Args:
        name: ``"timm:"`` and a model of ``timm.list_models()``, or a local folder with ``config.json`` and weights.
        weights: ``"DEFAULT"`` for those that belong to the name (downloaded once, or those of the local folder), a
            local folder, or None for random weights.

    Returns:
        The network in evaluation mode, and the transform from a photograph to its input.

    Raises:
        ImportError: if timm is not installed.
        ValueError: if there is no such model.
        FileNotFoundError: if the weights are neither.
        OSError: if they cannot be downloaded.

    Example:
        >>> network, preprocess = load_timm("timm:resnet10t", None)  # doctest: +SKIP
    """
    timm: Any = imported("timm", "timm")
    model = name.partition(":")[2]
    folder = next((str(each) for each in (weights, model) if each is not None and Path(each).is_dir()), None)
    if weights not in (None, DEFAULT) and (folder is None or folder == model):
        raise FileNotFoundError(f"weights={str(weights)!r} is neither {DEFAULT}, a file nor a folder.")
    known = timm.list_models() + timm.list_pretrained()
    if folder is None and model not in known:
        close = ", ".join(difflib.get_close_matches(model, known, n=5)) or "those of timm.list_models()"
        raise ValueError(f"timm has no model {model!r}. Did you mean: {close}?")
    source = model if folder is None else f"local-dir:{folder}"
    told = download_told(name) if folder is None and weights is not None else contextlib.nullcontext()
    with torch.random.fork_rng(devices=[]), told:
        network = timm.create_model(source, pretrained=weights is not None).eval()
    settings = imported("timm.data", "timm").resolve_model_data_config(network)
    return network, imported("timm.data", "timm").create_transform(**settings, is_training=False)
