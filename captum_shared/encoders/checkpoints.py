"""Networks of torchvision with weights from torchvision or from a file."""

import difflib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
import torchvision
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from captum_shared.encoders.catalogue import starting_later
from captum_shared.encoders.packages import download_told

DEFAULT: Final = "DEFAULT"
"""The weights that belong to the name of a network."""

_FOLDER: Final = 0x10  # of the attributes of a file in an archive


def load_torchvision(
    name: str, weights: str | Path | None, *, layer: str | None = None
) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """Load a network of torchvision and the preprocessing that belongs to it.

    Args:
        name: a classification model of ``torchvision.models.list_models()``.
        weights: the name of one of its weights entries (``"DEFAULT"``: the best one, which torchvision downloads
            once), the path of a ``.safetensors`` or state-dict file (read with ``weights_only=True``; prefixes
            such as ``module.`` are taken off), or None for random weights.
        layer: where the network will be cut; of a file, what runs after it need not fit. None if all has to.

    Returns:
        The network in evaluation mode, and the transform from a photograph to its input: that of the entry, of
        the default entry for a file or random weights.

    Raises:
        ValueError: if the model or the entry is unknown, or the file cannot be read or does not fit.
        FileNotFoundError: if ``weights`` is neither an entry nor a file.
        OSError: if an entry cannot be downloaded.

    Example:
        >>> network, preprocess = load_torchvision("squeezenet1_1", None)
        >>> preprocess(torch.zeros(3, 300, 400, dtype=torch.uint8)).shape
        torch.Size([3, 224, 224])
    """
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = ", ".join(difflib.get_close_matches(name, names, n=5) or names[:: len(names) // 8])
        raise ValueError(f"torchvision has no classification model {name!r}. Did you mean: {close}?")
    entries = torchvision.models.get_model_weights(name)
    entry = entries[DEFAULT]
    if isinstance(weights, str) and weights in entries.__members__:
        entry = entries[weights]
        with torch.random.fork_rng(devices=[]), download_told(name):
            return torchvision.models.get_model(name, weights=entry).eval(), entry.transforms()
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        network = torchvision.models.get_model(name, weights=None, **options).eval()
    if weights is not None:
        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"weights={str(weights)!r} is neither a file nor one of torchvision's entries for {name} "
                f"({', '.join(dict.fromkeys([DEFAULT, *entries.__members__]))}): check the name or the path."
            )
        images = None if layer is None else example_input(entry.transforms())
        load_weights(network, Path(weights), name=name, layer=layer, images=images)
    return network, entry.transforms()


def load_weights(
    network: nn.Module,
    path: Path,
    *,
    name: str,
    layer: str | None = None,
    images: Float[Tensor, "image channel height width"] | None = None,
) -> None:
    """Load the weights of a network from a file.

    Args:
        network: the network.
        path: a ``.safetensors`` or state-dict file (read with ``weights_only=True``); prefixes such as ``module.`` are
            taken off.
        name: of the network, for the messages.
        layer: where the network will be cut; what runs after it need not fit. None if all has to.
        images: inputs of the network, with which to find out what runs after the layer.

    Raises:
        ValueError: if the file cannot be read or does not fit.

    Example:
        >>> import tempfile
        >>> network = nn.Sequential(nn.Conv2d(2, 1, 1), nn.Conv2d(1, 3, 1))
        >>> state, images = {"0.weight": torch.ones(1, 2, 1, 1), "0.bias": torch.zeros(1)}, torch.zeros(1, 2, 4, 4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(state, f"{folder}/weights.pt")
        ...     load_weights(network, Path(folder, "weights.pt"), name="mine", layer="0", images=images)
        >>> network[0].weight.data.flatten()
        tensor([1., 1.])
    """
    expected = network.state_dict()
    state = _unprefixed(read_weights(path), expected)
    differences = _differences(state, expected)
    if any(differences.values()) and layer is not None and images is not None:
        later = starting_later(network, layer, images)
        known = {path for path, _ in network.named_modules()}
        differences = {
            kind: [key for key in keys if _is_needed(key, later, known)] for kind, keys in differences.items()
        }
    _check(differences, state, expected, f"{path} does not hold the weights of {name}")
    fitting = {key: value for key, value in state.items() if key in expected and value.shape == expected[key].shape}
    network.load_state_dict(fitting, strict=False)


def example_input(preprocess: Callable[[Any], Tensor]) -> Tensor:
    """Preprocess a photograph of noise, which tells the size of a network's inputs.

    Args:
        preprocess: what belongs to the network.

    Returns:
        One input, (1, channel, height, width).

    Example:
        >>> example_input(load_torchvision("squeezenet1_1", None)[1]).shape
        torch.Size([1, 3, 224, 224])
    """
    pixels = torch.randint(256, (480, 640, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return preprocess(Image.fromarray(pixels.numpy()))[None]


def _is_needed(key: str, later: set[str], known: set[str]) -> bool:
    """Whether a parameter belongs to what runs up to the cut, as far as its name tells."""
    parts = key.split(".")
    owners = [".".join(parts[: n + 1]) for n in range(len(parts) - 1)]
    return (not owners or owners[0] in known) and later.isdisjoint(owners)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights.

    Args:
        path: a ``.safetensors`` or state-dict file (read with ``weights_only=True``).

    Returns:
        The tensors by their names.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        _check_archive(path)
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


def _check_archive(path: Path) -> None:
    """Compare the checksums of an archive, which torch leaves out; of a folder in it, torch gives what memory held."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            folders = [member.filename for member in archive.infolist() if member.external_attr & _FOLDER]
        if damaged is not None or folders:
            raise ValueError(f"{damaged or folders[0]} in it is damaged")


def _unprefixed(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the shortest prefix under which the first expected key is found, such as ``module.model.``."""
    first = next(iter(expected))
    prefixes = [key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}")]
    prefix = min(prefixes, key=len, default="")
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _differences(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, list[str]]:
    """Keys that do not fit, by how."""
    return {
        "missing": [key for key in expected if key not in state and not key.endswith("num_batches_tracked")],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [key for key in expected if key in state and state[key].shape != expected[key].shape],
    }


def _check(
    differences: dict[str, list[str]], state: dict[str, Tensor], expected: dict[str, Tensor], problem: str
) -> None:
    def shown(kind: str, key: str) -> str:
        both = kind == "of another shape"
        return f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}" if both else key

    told = [
        f"{len(keys)} {kind} ({', '.join(shown(kind, key) for key in keys[:5])}{', ...' if len(keys) > 5 else ''})"
        for kind, keys in differences.items()
        if keys
    ]
    if told:
        raise ValueError(f"{problem}: {'; '.join(told)}. Is it another model's file?")
