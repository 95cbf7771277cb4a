"""How the positions of a layer's output are summarised."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from torch import Tensor

from captum_shared.encoders.outputs import names_of_tensors
from captum_shared.encoders.positions import Positions

Pool: TypeAlias = Literal["average", "max", "none", "class_token"]


@final
@dataclass(frozen=True)
class Pooling:
    """From the output of a layer to its activation in rows and columns, and to one row of features an image.

    Attributes:
        layer: name of the layer, for the messages.
        pool: ``"average"`` or ``"max"`` of the positions, ``"none"`` (kept) or the ``"class_token"`` alone.
        positions: what the network tells about the positions of its layers.

    Example:
        >>> import torch
        >>> images, output = torch.zeros(1, 3, 8, 16), torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]])
        >>> pooling = Pooling("conv", "average", Positions())
        >>> pooling.features(pooling.activation(output, images), channels_last=False)
        tensor([[2., 5.]])
    """

    layer: str
    pool: Pool
    positions: Positions

    def activation(self, output: object, images: Tensor) -> Tensor:
        """Bring a layer's output into the order that is pooled: (image, feature, row, column) where it has positions.

        Tokens stay tokens where they are not pooled, with ``"none"`` and ``"class_token"``, or where there is no
        telling their rows and columns.

        Args:
            output: what the layer gives.
            images: inputs of the network, (image, channel, height, width).

        Returns:
            A view of the output.

        Raises:
            ValueError: if it is not one tensor with a row for each image.
        """
        if not isinstance(output, Tensor):
            names = names_of_tensors(output, self.layer)
            remedy = f"Pick one: {', '.join(names)}" if names else "Choose another, such as the block around it"
            raise ValueError(f"Layer {self.layer!r} gives a {type(output).__name__} instead of one tensor. {remedy}.")
        if output.ndim < 2 or len(output) != len(images):
            raise ValueError(
                f"Layer {self.layer!r} gives shape {tuple(output.shape)} for {len(images)} images, which should be its "
                "first axis. Choose another layer, such as the block around it."
            )
        kept = output.ndim == 3 and self.pool in ("none", "class_token")
        laid_out = None if kept else self.positions.laid_out(output, images)
        return output if laid_out is None else laid_out

    def features(self, activation: Tensor, *, channels_last: bool) -> Tensor:
        """Summarise the positions.

        Args:
            activation: as :meth:`activation` gives it.
            channels_last: whether the layer has its channels last, which ``"none"`` keeps there.

        Returns:
            (image, feature), or with ``"none"`` the activation as the layer has it.

        Raises:
            ValueError: if it cannot be pooled as asked.
        """
        tokens, n_in_front = activation.ndim == 3, self.positions.n_in_front
        if self.pool == "class_token" and not (tokens and self.positions.has_class_token):
            raise ValueError(
                f"pool='class_token' needs (image, token, feature) of a model with a class token, but layer "
                f"{self.layer!r} gives shape {tuple(activation.shape)}. Use pool='average'."
            )
        if self.pool == "none" or activation.ndim == 2:
            return activation.movedim(1, -1) if channels_last else activation
        if self.pool == "class_token":
            return activation[:, 0]
        pooled = activation[:, n_in_front:].mT if tokens else activation
        axes = tuple(range(2, pooled.ndim))
        return pooled.mean(axes) if self.pool == "average" else pooled.amax(axes)
