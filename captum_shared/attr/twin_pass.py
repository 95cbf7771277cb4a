"""One pass of a batch through one of the twins: each distinct image once, and gradients of every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Source: TypeAlias = Literal["features", "activation"]
"""From where a gradient is taken."""

Sink: TypeAlias = Literal["images", "activation"]
"""To where a gradient is taken."""


@final
@dataclass(frozen=True, eq=False)
class _Group:
    """Images that stand equally often in the batch, with the graph of their pass."""

    rows: Int[Tensor, "time image"]
    images: Tensor
    features: Tensor
    activation: Tensor | None

    def end(self, name: Source | Sink) -> Tensor:
        end: Tensor = getattr(self, name)
        return end

    def gradient(self, cotangent: Tensor, source: Source, sink: Sink) -> Tensor:
        return torch.autograd.grad(self.end(source), self.end(sink), cotangent, retain_graph=True)[0]


@final
@dataclass(frozen=True, eq=False)
class TwinPass:
    """The pass of a batch through one encoder, in which every image runs once, however many rows have it.

    Attributes:
        groups: images that stand once, twice ... in the batch.

    Example:
        >>> images = torch.tensor([[1.0], [2.0], [1.0]], requires_grad=True)
        >>> passed = TwinPass.of(lambda x: x**2, images)
        >>> passed.features(), passed.backpropagated(torch.ones(3, 1), "features", "images")
        (tensor([[1.],
                [4.],
                [1.]]), tensor([[2.],
                [4.],
                [2.]]))
        >>> [len(group.images) for group in passed.groups]
        [1, 1]
    """

    groups: tuple[_Group, ...]

    @classmethod
    def of(
        cls,
        encode: Callable[[Tensor], Float[Tensor, "image feature"]],
        images: Tensor,
        layer: nn.Module | None = None,
        *,
        shared: bool = True,
    ) -> TwinPass:
        """Run an encoder, with gradients.

        Args:
            encode: from images to features.
            images: the batch, image first: leaves.
            layer: a layer that it runs, whose output is kept: of several calls the last.
            shared: whether rows with the same image share its pass.

        Returns:
            The pass.

        Raises:
            ValueError: if the layer is not called or gives no tensor.
        """
        indices = occurrences(images) if shared else [torch.arange(len(images))[None]]
        groups = []
        for rows in indices:
            own = images if rows.numel() == len(images) == rows.shape[1] else _leaves(images, rows[0])
            if layer is None:
                groups.append(_Group(rows, own, encode(own), None))
                continue
            with last_output(layer) as outputs:
                features = encode(own)
            groups.append(_Group(rows, own, features, _tensor(outputs, layer)))
        return cls(tuple(groups))

    def features(self) -> Float[Tensor, "image feature"]:
        """Return the features of every row, without their graph."""
        return self._of_rows([group.features.detach() for group in self.groups])

    def activation(self) -> Tensor | None:
        """Return the output of the layer for every row, without its graph; None if none was asked for."""
        activations = [group.activation.detach() for group in self.groups if group.activation is not None]
        return self._of_rows(activations) if activations else None

    def backpropagated(self, cotangents: Tensor, source: Source, sink: Sink) -> Tensor:
        """Compute the gradient of source · cotangent for every row, as often as one likes.

        Args:
            cotangents: one a row, with the shape of the source.
            source: where it starts.
            sink: where it ends.

        Returns:
            The gradient, with the shape of the sink of every row.
        """
        parts = []
        for group in self.groups:
            whole = len(self.groups) == 1 and len(group.rows) == 1  # no row has to be looked up
            each = [cotangents] if whole else [cotangents[rows] for rows in group.rows]
            parts.append([group.gradient(cotangent, source, sink) for cotangent in each])
        if len(parts) == len(parts[0]) == 1:
            return parts[0][0]
        return self._of_rows([torch.cat(times) for times in parts])

    def jacobians(self, sink: Sink) -> list[Float[Tensor, "image feature *pixels"]]:
        """Compute the Jacobian of the features of each image, in one backward pass a feature.

        Args:
            sink: by what.

        Returns:
            One a group, with the images of its ``rows``.
        """
        jacobians = []
        for group in self.groups:
            end, n_features = group.end(sink), group.features.shape[1]
            exact = torch.promote_types(end.dtype, torch.float32)  # sums over many features are taken of it
            jacobian = end.new_empty((len(end), n_features, *end.shape[1:]), dtype=exact)
            for feature in range(n_features):
                one = torch.zeros_like(group.features)
                one[:, feature] = 1
                jacobian[:, feature] = group.gradient(one, "features", sink)
            jacobians.append(jacobian)
        return jacobians

    def jacobian_bytes(self, sink: Sink) -> int:
        """Return the memory that :meth:`jacobians` take."""
        ends = [(group.features.shape[1], group.end(sink)) for group in self.groups]
        return sum(n_features * end.numel() * max(4, end.element_size()) for n_features, end in ends)

    def _of_rows(self, values: Sequence[Tensor]) -> Tensor:
        """Put what each group has, once for every image or once for every row, in the order of the batch."""
        if len(self.groups) == 1 and len(self.groups[0].rows) == 1:
            return values[0]
        rows = [group.rows for group in self.groups]
        repeated = [
            value if len(value) == index.numel() else value.repeat(len(index), *[1] * (value.ndim - 1))
            for value, index in zip(values, rows, strict=True)
        ]
        order = torch.cat([index.flatten() for index in rows]).argsort()
        return torch.cat(repeated)[order.to(repeated[0].device)]


def occurrences(images: Tensor) -> list[Int[Tensor, "time image"]]:
    """Tell which rows of a batch hold the same image.

    Args:
        images: the batch, image first.

    Returns:
        For images that occur once, those that occur twice ...: the rows of each, a column an image.

    Example:
        >>> occurrences(torch.tensor([[1.0], [2.0], [1.0]]))
        [tensor([[1]]), tensor([[0],
                [2]])]
    """
    rows_of: dict[float, list[list[int]]] = {}
    for row, total in enumerate(images.detach().reshape(len(images), -1).sum(1).tolist()):
        alike = rows_of.setdefault(total, [])
        same = next((rows for rows in alike if torch.equal(images[rows[0]], images[row])), None)
        if same is None:
            alike.append([row])
        else:
            same.append(row)
    of_count: dict[int, list[list[int]]] = {}
    for rows in (rows for alike in rows_of.values() for rows in alike):
        of_count.setdefault(len(rows), []).append(rows)
    return [torch.tensor(sorted(rows)).T for _, rows in sorted(of_count.items())]


@contextmanager
def last_output(module: nn.Module) -> Iterator[list[object]]:
    """Keep the output of the last call of a module; if it has gradients, guarded against what is done to it in place.

    Args:
        module: one that no other call sees.

    Yields:
        A list that will hold the output.
    """
    outputs: list[object] = []

    def keep(module: nn.Module, inputs: Any, output: object) -> object:
        outputs[:] = [output]
        if not (isinstance(output, Tensor) and torch.is_grad_enabled()):
            return output
        if output.is_floating_point() and not output.requires_grad:
            output.requires_grad_()  # as that of a frozen embedding, whose inputs have no gradient
        return output.clone()

    handle = module.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


def _leaves(images: Tensor, rows: Tensor) -> Tensor:
    own = images.detach()[rows.to(images.device)]
    return own.requires_grad_(images.requires_grad)


def _tensor(outputs: list[object], module: nn.Module) -> Tensor:
    output = outputs[0] if outputs else None
    if not isinstance(output, Tensor):
        got = f"gives a {type(output).__name__}" if outputs else "is never called"
        raise ValueError(
            f"Expected a layer with one tensor as its output, but the {type(module).__name__} {got}. Choose another "
            "layer, such as the block around it."
        )
    return output
