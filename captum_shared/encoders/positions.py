"""Where the positions of an image are in a layer's output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final, get_args

from jaxtyping import Float
from torch import Tensor, nn

Named: TypeAlias = Literal["auto", "channels_first", "channels_last"]
Layout: TypeAlias = Named | tuple[int, int]
"""How positions are laid out: told by the network and the proportions of the images, named, or the rows and columns of
the tokens, of which the last ones are positions."""

_IN_FRONT: Final = {
    "class": ("class_token", "cls_token", "class_embedding"),
    "distillation": ("distillation_token", "dist_token"),
    "register": ("register_tokens", "reg_token"),
}
"""What networks of torchvision, timm and Hugging Face call the parameters of these tokens."""

_MOST_IN_FRONT: Final = 16
"""The most class tokens, registers and the like before the tokens of the positions."""

_MOST_MERGINGS: Final = 5
"""How often a pyramid of tokens may halve its rows and columns."""


@final
@dataclass(frozen=True)
class Positions:
    """What a network tells about the positions of its layers.

    Attributes:
        layout: how they are laid out, if that is not to be told.
        patch: height and width in pixels of what a token sees at first; None if no convolution tells.
        n_in_front: number of tokens before those of the positions: class token, registers, distillation token.
        has_class_token: whether the first of them is a class token.

    Example:
        >>> import torch, torchvision
        >>> vit = torchvision.models.VisionTransformer(32, 8, num_layers=1, num_heads=1, hidden_dim=6, mlp_dim=4)
        >>> positions = Positions.of(vit)
        >>> positions
        Positions(layout='auto', patch=(8, 8), n_in_front=1, has_class_token=True)
        >>> positions.laid_out(torch.zeros(2, 17, 6), torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 6, 4, 4])
    """

    layout: Layout = "auto"
    patch: tuple[int, int] | None = None
    n_in_front: int = 0
    has_class_token: bool = False

    @classmethod
    def of(cls, model: nn.Module, layout: Layout = "auto") -> Positions:
        """Read off a network what it tells.

        Args:
            model: the network.
            layout: how positions are laid out, if that is not to be told.

        Returns:
            What is known.

        Raises:
            ValueError: if ``layout`` is none of them.
        """
        grid = isinstance(layout, tuple) and len(layout) == 2 and all(isinstance(n, int) and n > 0 for n in layout)
        if not grid and layout not in get_args(Named):
            raise ValueError(
                f"layout must be one of {', '.join(get_args(Named))}, or the rows and columns of the tokens such as "
                f"(14, 14), but got {layout!r}."
            )
        in_front = tokens_in_front(model)
        return cls(layout, _patch(model), len(in_front), "class" in in_front)

    def laid_out(self, activation: Tensor, images: Tensor) -> Float[Tensor, "image feature row column"] | None:
        """Lay a layer's output out in rows and columns.

        Four axes are (image, feature, row, column), or (image, row, column, feature) where the proportions of the
        images say so. Of three axes, (image, token, feature), the last tokens are the positions, row by row: on the
        grid of the patches, or on that grid halved once or more, as in a pyramid; where no convolution tells the
        patches, on a grid of the proportions of the images.

        Args:
            activation: the output of a layer, image first.
            images: inputs of the network, (image, channel, height, width).

        Returns:
            A view; None where there are no positions, or no telling where they are.
        """
        if activation.ndim == 4:
            return activation.movedim(-1, 1) if self.are_before_channels(activation, images) else activation
        size = images.shape[2], images.shape[3]
        grid = self._grid(activation.shape[1], size) if activation.ndim == 3 else None
        if grid is None:
            return None
        rows, columns = grid
        tokens = activation[:, activation.shape[1] - rows * columns :].mT
        return tokens.reshape(*tokens.shape[:2], rows, columns)

    def are_before_channels(self, activation: Tensor, images: Tensor) -> bool:
        """Tell whether an activation is (image, row, column, feature).

        Args:
            activation: the output of a layer.
            images: inputs of the network.

        Returns:
            False where it has other than four axes.
        """
        if self.layout == "auto":
            return is_channels_last(activation, images)
        return activation.ndim == 4 and self.layout == "channels_last"

    def _grid(self, n_tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
        """The rows and columns of the tokens."""
        if isinstance(self.layout, tuple):
            rows, columns = self.layout
            return self.layout if 0 <= n_tokens - rows * columns <= _MOST_IN_FRONT else None
        if self.patch is None:
            return _of_proportions(n_tokens, size, (self.n_in_front, 0, 1))
        grids = list(_pyramid(self.patch, size))
        exact = (grid for grid in grids if n_tokens - math.prod(grid) in (0, self.n_in_front))
        near = (grid for grid in grids[:2] if 0 <= n_tokens - math.prod(grid) <= _MOST_IN_FRONT)
        return next(exact, next(near, None))


def tokens_in_front(model: nn.Module) -> list[str]:
    """Name the tokens that stand before those of the positions, as far as a network tells.

    Args:
        model: a network.

    Returns:
        ``"class"``, ``"distillation"`` and ``"register"``, as often as each occurs; nothing for a convolutional one.

    Example:
        >>> tokens_in_front(nn.Linear(2, 2))
        []
    """
    for module in model.modules():
        tokens = {name: getattr(module, name, None) for names in _IN_FRONT.values() for name in names}
        held = {name: token for name, token in tokens.items() if isinstance(token, Tensor)}
        if held:
            kinds = {
                kind: next((held[name] for name in names if name in held), None) for kind, names in _IN_FRONT.items()
            }
            return [kind for kind, token in kinds.items() if token is not None for _ in range(_count(kind, token))]
    return []


def is_channels_last(activation: Tensor, images: Tensor) -> bool:
    """Tell by the proportions of the images, give or take one position, whether an activation has its channels last.

    Args:
        activation: the output of a layer.
        images: inputs of the network, (image, channel, height, width).

    Returns:
        Always False where the activation has other than four axes.

    Example:
        >>> import torch
        >>> is_channels_last(torch.zeros(1, 7, 7, 96), torch.zeros(1, 3, 224, 224))
        True
    """
    if activation.ndim != 4:
        return False

    def fits(height: int, width: int) -> bool:
        return abs(height * images.shape[3] - width * images.shape[2]) <= max(images.shape[2:])

    _, first, second, third = activation.shape
    return fits(first, second) and not fits(second, third)


def _count(kind: str, token: Tensor) -> int:
    return int(token.shape[-2]) if kind == "register" else 1


def _patch(model: nn.Module) -> tuple[int, int] | None:
    """What the first convolution sees, if its windows lie side by side."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.kernel_size != first.stride or max(first.stride) == 1:
        return None
    height, width = first.stride
    return height, width


def _pyramid(patch: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Rows and columns of patches that fill the image or cover it, and of these merged two by two, once or more."""
    (height, width), (patch_height, patch_width) = size, patch
    filling = max(1, height // patch_height), max(1, width // patch_width)
    covering = -(-height // patch_height), -(-width // patch_width)
    for halvings in range(_MOST_MERGINGS + 1):
        for rows, columns in (filling, covering):
            yield -(-rows // 2**halvings), -(-columns // 2**halvings)


def _of_proportions(n_tokens: int, size: tuple[int, int], in_front: tuple[int, ...]) -> tuple[int, int] | None:
    """Rows and columns of the proportions of an image, give or take less than one position."""
    height, width = size
    for n_in_front in in_front:
        n_positions = n_tokens - n_in_front
        exact = (n_positions * height / width) ** 0.5 if n_positions > 0 else 0.0
        for rows in {int(exact), int(exact) + 1} - {0}:
            columns, rest = divmod(n_positions, rows)
            if rest == 0 and columns > 0 and abs(rows * width - columns * height) < max(size):
                return rows, columns
    return None
