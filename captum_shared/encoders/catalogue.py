"""The layers of a network, in the order of their calls, and which of them have positions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.encoders.outputs import names_of_tensors, picked, split_name
from captum_shared.encoders.positions import Positions
from captum_shared.encoders.twins import tied_copy


@final
@dataclass(frozen=True)
class LayerOutput:
    """What a layer gives for one image.

    Attributes:
        name: by which a network is cut there.
        shape: of the output, without the axis of images.
        grid: rows and columns of its positions; None where it has none, or one only.
        content: tells outputs apart that have the same shape.
    """

    name: str
    shape: tuple[int, ...]
    grid: tuple[int, int] | None
    content: tuple[float, float]


def layer_outputs(network: nn.Module, images: Float[Tensor, "image channel height width"]) -> list[LayerOutput]:
    """List the layers of a network.

    Args:
        network: the network, left as it is.
        images: inputs of it, one or more.

    Returns:
        Every tensor that a module gives, in the order in which modules end; of several calls the last. Modules without
        a name are left out, as is what has no row for each image.

    Raises:
        ValueError: if the network does not take the images.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
        >>> [(layer.name, layer.shape, layer.grid) for layer in layer_outputs(network, torch.zeros(1, 3, 8, 8))]
        [('0', (4, 6, 6), (6, 6)), ('1', (144,), None), ('2', (2,), None)]
    """
    positions = Positions.of(network)
    found: dict[str, LayerOutput] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, object], None]:
        def hook(module: nn.Module, inputs: Any, output: object) -> None:
            for name in names_of_tensors(output, path):
                tensor = picked(output, name)
                if name and tensor.ndim > 1 and len(tensor) == len(images):
                    found.pop(name, None)
                    found[name] = _described(name, tensor, positions.laid_out(tensor, images))

        return hook

    copy = tied_copy(network).eval()
    for path, module in copy.named_modules():
        module.register_forward_hook(keep(path))
    with torch.no_grad():
        try:
            copy(images)
        except Exception as error:  # networks check their input in any way
            raise ValueError(
                f"{type(network).__name__} does not take images of shape {tuple(images.shape[1:])} "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__}). Choose another size."
            ) from error
    return list(found.values())


def last_layer_with_positions(network: nn.Module, images: Float[Tensor, "image channel height width"]) -> str:
    """Choose the layer to cut a network at: the last that has positions.

    Of layers with the same output that with the shortest path is chosen, such as ``"layer4"`` of a ResNet rather than
    the ReLU that it ends with.

    Args:
        network: the network.
        images: inputs of it, one or more.

    Returns:
        The name of the layer.

    Raises:
        ValueError: if no layer has positions.

    Example:
        >>> import torchvision
        >>> last_layer_with_positions(torchvision.models.resnet18(), torch.rand(1, 3, 64, 64))
        'layer4'
    """
    layers = [layer for layer in layer_outputs(network, images) if layer.grid is not None]
    if not layers:
        raise ValueError(
            f"No layer of {type(network).__name__} has positions that can be told. Name a layer, and by layout how its "
            "positions are laid out."
        )
    last = layers[-1]
    same = [layer.name for layer in layers if (layer.grid, layer.content) == (last.grid, last.content)]
    return min(same, key=lambda name: (name.count(".") + name.count(":"), same.index(name)))


def starting_later(network: nn.Module, layer: str, images: Float[Tensor, "image channel height width"]) -> set[str]:
    """Name the modules that run, but only after a layer has given its last output.

    Args:
        network: the network.
        layer: name of the layer.
        images: inputs of the network, one or more.

    Returns:
        Names of modules.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> sorted(starting_later(network, "1", torch.zeros(1, 3, 8, 8)))
        ['2', '3']
    """
    started: dict[str, None] = {}
    before: set[str] = set()

    def start(path: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, inputs: started.setdefault(path)

    copy = tied_copy(network).eval()
    for path, module in copy.named_modules():
        module.register_forward_pre_hook(start(path))
    copy.get_submodule(split_name(layer)[0]).register_forward_hook(lambda *_: before.update(started))
    with torch.no_grad():
        copy(images)
    return set(started) - before


def _described(name: str, output: Tensor, laid_out: Tensor | None) -> LayerOutput:
    grid = None if laid_out is None or laid_out[0, 0].numel() < 2 else (laid_out.shape[2], laid_out.shape[3])
    sums = float(output.sum(dtype=torch.float64)), float(output.double().square().sum())
    first, second = (float(f"{each:.9g}") for each in sums)  # the order of summation does not matter
    return LayerOutput(name, tuple(output.shape[1:]), grid, (first, second))
