"""A small CNN that names the parts in a synthetic image, with its weights."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from captum_shared.images import rgb_preprocess

EMBEDDED_WEIGHTS: Final = Path(__file__).with_name("embedded.safetensors")
"""The weights that ship with the package."""

_SIZE: Final = 112  # pixels
_N_PARTS: Final = 14  # the names that the weights were trained to tell, as ``weights_metadata`` lists them


def embedded_network(weights: str | Path | None = "embedded") -> nn.Sequential:
    """Build the network that names parts.

    Three stages of convolution, batch normalisation and ReLU (strides 2, 4, 8), together ``features``, then global
    average pooling and a linear ``classifier`` with one logit for every part of the drawn world. A position of
    ``features`` sees 57 x 57 pixels. Input normalisation is the first module, so images go in as they are drawn.

    Args:
        weights: "embedded" for the weights that ship with the package, a safetensors file written by the command
            of this module, or None for random ones (from torch's global generator).

    Returns:
        The network in evaluation mode: RGB in [0, 1], (image, 3, height, width), to logits, (image, part).

    Raises:
        ValueError: If the file does not exist or holds other weights.

    Example:
        >>> network = embedded_network()
        >>> images = torch.rand(2, 3, 112, 112)
        >>> network(images).shape, network.features(network.normalise(images)).shape
        (torch.Size([2, 14]), torch.Size([2, 128, 14, 14]))
    """
    if weights is None:
        return _build().eval()
    path = EMBEDDED_WEIGHTS if weights == "embedded" else Path(weights)
    if not path.is_file():
        raise ValueError(f'Expected "embedded", None or a safetensors file, got {str(path)!r}, which is no file.')
    with torch.device("meta"):
        network = _build()
    try:
        network.load_state_dict(load_file(path), assign=True)
    except Exception as error:
        raise ValueError(
            f"Expected the weights of this network in {str(path)!r}, but they do not fit: {error}. "
            "Write them with python -m captum_shared.synthetic.network."
        ) from error
    return network.eval()


def load_embedded(name: str, weights: str | Path | None) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """Load the network that ships with the package, and the preprocessing that belongs to it.

    Args:
        name: not used, there is one.
        weights: None, as it has its own.

    Returns:
        The network in evaluation mode, and the transform from a photograph to its input: RGB in [0, 1], 112 x 112.

    Raises:
        ValueError: if there are weights.

    Example:
        >>> load_embedded("embedded", None)[1](torch.zeros(3, 300, 400, dtype=torch.uint8)).shape
        torch.Size([3, 112, 112])
    """
    if weights is not None:
        raise ValueError("The embedded network comes with its weights: leave out the weights, or name another model.")
    return embedded_network(), rgb_preprocess(_SIZE)


def weights_metadata(path: str | Path = EMBEDDED_WEIGHTS) -> dict[str, str]:
    """Read how a weights file came about.

    Args:
        path: A file written by the command of this module.

    Returns:
        Seed, number of images and epochs, parts, mean average precision on held-out images, package versions.

    Example:
        >>> weights_metadata()["parts"].split(",")[:3]
        ['head', 'torso', 'limb']
    """
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _build() -> nn.Sequential:
    features = nn.Sequential(
        *_block(3, 24, size=5, stride=2),
        *_block(24, 48, stride=2),
        *_block(48, 48),
        *_block(48, 96, stride=2),
        *_block(96, 128),
        *_block(128, 128),
    )
    modules: list[tuple[str, nn.Module]] = [
        ("normalise", nn.BatchNorm2d(3, affine=False)),
        ("features", features),
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("classifier", nn.Linear(128, _N_PARTS)),
    ]
    return nn.Sequential(OrderedDict(modules))


def _block(entering: int, leaving: int, *, size: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(entering, leaving, size, stride=stride, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(leaving), nn.ReLU()]
