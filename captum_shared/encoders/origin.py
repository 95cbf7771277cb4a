"""Which encoder features come from, so that a readout is not used on those of another."""

import hashlib
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, fx, nn

from captum_shared._resuming import versions
from captum_shared.encoders.catalogue import starting_later

_PACKAGES: Final = ("captum-shared", "torch", "torchvision")
_TOLD: Final = {
    "network": "network",
    "weights": "weights",
    "layer": "layer",
    "pool": "pooling",
    "preprocess": "preprocessing",
}
_DIGITS: Final = 12
_GRID, _AXES, _TOLERANCE = 8, 3, 0.02
_KNOWN: Final[weakref.WeakKeyDictionary[nn.Module, tuple[object, str]]] = weakref.WeakKeyDictionary()


def origin_of(encoder: nn.Module) -> dict[str, Any]:
    """Describe an encoder, for :meth:`~captum_shared.LinearReadout.with_origin`.

    Weights are told by the SHA-256 of their numbers (those up to the cut, of
    :class:`~captum_shared.LatentFeatures`), whatever their names, their device and, as long as no number changes, their
    dtype. It is computed once, and again after a change in place; a network of 100 million weights takes a second.
    Preprocessing is told by some numbers of what it makes of a test card.

    Args:
        encoder: any module from images to features.

    Returns:
        Ready for JSON: class of the network, its name where it was built by name, digest of its weights, layer,
        pooling, preprocessing and package versions; what an encoder does not have is None.

    Example:
        >>> origin = origin_of(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))
        >>> origin["network"], len(origin["weights"]), origin["layer"]
        ('Sequential', 64, None)
    """
    preprocess = getattr(encoder, "preprocess", None)
    return {
        "network": _text(encoder, "network_class") or type(encoder).__name__,
        "name": _text(encoder, "name"),
        "weights": _weights(encoder),
        "layer": _text(encoder, "layer"),
        "pool": _text(encoder, "pool"),
        "preprocess": None if preprocess is None else _sample(preprocess(draw_card())),
        "versions": versions(*_PACKAGES),
    }


def check_origin(origin: Mapping[str, Any] | None, encoders: Iterable[nn.Module]) -> None:
    """Refuse a readout of another encoder.

    Args:
        origin: of the readout; None if it is not recorded, so that nothing can be told.
        encoders: of which one has to be that of the readout.

    Raises:
        ValueError: if all differ, in the network, the weights, the layer, the pooling or the preprocessing, as far as
            both are known. Names and package versions may differ.

    Example:
        >>> check_origin({"network": "SqueezeNet", "layer": "features"}, [nn.Flatten()])
        Traceback (most recent call last):
        ValueError: The readout was fitted to features of another encoder: expected network SqueezeNet, but got Flatten.
        Use the encoder of the readout, fit a readout to this one, or allow it with any_encoder (--any-encoder).
    """
    if origin is None:
        return
    told = [differences(origin, origin_of(encoder)) for encoder in encoders]
    if all(told):
        raise ValueError(
            f"The readout was fitted to features of another encoder: expected {'; '.join(told[0])}. Use the "
            "encoder of the readout, fit a readout to this one, or allow it with any_encoder (--any-encoder)."
        )


def draw_card() -> Image.Image:
    """Draw an image of many colours and edges that is wider than high.

    Returns:
        RGB.

    Example:
        >>> draw_card().size
        (480, 360)
    """
    row, column = np.indices((360, 480))
    return Image.fromarray(np.stack([row * column, row ^ column, 7 * row + 3 * column], axis=2).astype(np.uint8))


def _text(encoder: nn.Module, name: str) -> str | None:
    value = getattr(encoder, name, None)
    return value if isinstance(value, str) else None


def differences(expected: Mapping[str, Any], got: Mapping[str, Any], *, tolerance: float = _TOLERANCE) -> list[str]:
    """Tell in what two encoders differ, as far as it is known of both. Names and package versions may differ.

    Args:
        expected: the origin of one.
        got: that of the other.
        tolerance: how much numbers of the preprocessing may differ, as a share of their range: a little, as they may
            between machines and versions.

    Returns:
        What differs, in words.

    Example:
        >>> differences({"layer": "conv1", "pool": None}, {"layer": "conv2", "pool": "max"})
        ['layer conv1, but got conv2']
    """
    told = []
    for name, label in _TOLD.items():
        one, other = expected.get(name), got.get(name)
        if one is not None and other is not None and not _same(one, other, tolerance):
            told.append(f"{label} {_shown(name, one)}, but got {_shown(name, other)}")
    return told


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        margin = tolerance * np.ptp(one[_AXES:])
        return one[:_AXES] == other[:_AXES] and np.allclose(one[_AXES:], other[_AXES:], rtol=0, atol=margin)
    return bool(one == other)


def _shown(name: str, value: Any) -> str:
    if name == "weights":
        return f"{value[:_DIGITS]}..."
    return f"to {value[1]:g} x {value[2]:g} pixels ({value[3]:.2f}, ...)" if name == "preprocess" else str(value)


def _sample(inputs: Tensor) -> list[float]:
    """The shape of a network input, and numbers of it from a grid."""
    channels, height, width = inputs.shape
    rows, columns = (((2 * torch.arange(_GRID) + 1) * side) // (2 * _GRID) for side in (height, width))
    numbers = inputs.detach().cpu().float()[:, rows][:, :, columns].flatten().tolist()
    return [float(side) for side in (channels, height, width)] + [round(number, 4) for number in numbers]


def _weights(encoder: nn.Module) -> str:
    """Digest of the numbers that an encoder computes with, kept until they change."""
    tensors = [tensor for tensor in _reached(encoder) if tensor.is_floating_point() or tensor.is_complex()]
    state = [
        (tensor.data_ptr(), tensor.dtype, None if tensor.is_inference() else tensor._version) for tensor in tensors
    ]
    kept = _KNOWN.get(encoder)
    if kept is None or kept[0] != state:
        each = sorted({_digest(tensor) for tensor in tensors})  # sorted and each once: names and copies do not matter
        kept = _KNOWN[encoder] = state, hashlib.sha256(b"".join(each)).hexdigest()
    return kept[1]


def _reached(encoder: nn.Module) -> Iterable[Tensor]:
    """The weights up to the cut; of a network that could not be traced, those of modules that start before it."""
    network: Any = getattr(encoder, "network", encoder)
    preprocess = getattr(encoder, "preprocess", None)
    if network is encoder or isinstance(network, fx.GraphModule) or preprocess is None:
        return encoder.state_dict(keep_vars=True).values()
    like = next((each for each in encoder.parameters() if each.is_floating_point()), torch.empty(0))
    later = starting_later(network.model, network.layer, preprocess(draw_card())[None].to(like))
    modules = [module for path, module in network.model.named_modules() if path not in later]
    return [
        tensor for module in modules for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    ]


def _digest(tensor: Tensor) -> bytes:
    numbers = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    wide = numbers.cpu().to(torch.float64 if numbers.dtype == torch.float64 else torch.float32)
    narrow = wide.float()
    exact = narrow if torch.equal(narrow.to(wide.dtype), wide) else wide
    content = np.ascontiguousarray(exact.numpy()).astype(exact.numpy().dtype.newbyteorder("<"), copy=False)
    total = hashlib.sha256(repr(tuple(tensor.shape)).encode())
    total.update(content.data)
    return total.digest()
