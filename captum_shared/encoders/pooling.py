"""How the positions of a layer's output are summarised."""

from typing import Literal, TypeAlias

from torch import Tensor, nn

Pool: TypeAlias = Literal["average", "max", "none", "class_token"]


def pooled(activation: object, images: Tensor, *, layer: str, pool: Pool, n_class_tokens: int) -> Tensor:
    """Summarise the positions of a layer's output.

    Args:
        activation: the output of the layer: (image, channel, ...), (image, token, feature) or (image, feature).
        images: inputs of the network, (image, channel, height, width).
        layer: name of the layer, for the messages.
        pool: ``"average"`` or ``"max"`` of the positions, ``"none"`` (kept) or the ``"class_token"`` alone.
        n_class_tokens: number of tokens before those of the positions; average and maximum leave them out.

    Returns:
        (image, feature), or with ``"none"`` the activation as it is.

    Raises:
        ValueError: if it is not a tensor with an image axis, or cannot be pooled as asked.

    Example:
        >>> import torch
        >>> activation = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]])
        >>> pooled(activation, torch.zeros(1, 3, 8, 16), layer="conv", pool="average", n_class_tokens=0)
        tensor([[2., 5.]])
    """
    if not isinstance(activation, Tensor) or activation.ndim < 2:
        raise ValueError(
            f"Layer {layer!r} gives a {type(activation).__name__} instead of one tensor with an image axis. "
            "Choose a layer with a single output, such as the block around it."
        )
    tokens = activation.ndim == 3
    if pool == "class_token" and not (tokens and n_class_tokens):
        raise ValueError(
            f"pool='class_token' needs (image, token, feature) of a model with a class token, but layer "
            f"{layer!r} gives shape {tuple(activation.shape)}. Use pool='average'."
        )
    if pool != "none" and is_channels_last(activation, images):
        raise ValueError(
            f"Layer {layer!r} gives shape {tuple(activation.shape)}, channels last, so channels would be "
            "taken for positions. Choose a layer with channels first, such as 'permute' in torchvision's Swin."
        )
    if pool == "none" or activation.ndim == 2:
        return activation
    if pool == "class_token":
        return activation[:, 0]
    positions = activation[:, n_class_tokens:] if tokens else activation
    axes = (1,) if tokens else tuple(range(2, activation.ndim))
    return positions.mean(axes) if pool == "average" else positions.amax(axes)


def count_class_tokens(model: nn.Module) -> int:
    """Count the tokens that stand before those of the positions.

    Args:
        model: a network.

    Returns:
        0 where it has no class token.

    Example:
        >>> count_class_tokens(nn.Linear(2, 2))
        0
    """
    for module in model.modules():
        if any(isinstance(getattr(module, name, None), Tensor) for name in ("class_token", "cls_token")):
            return int(getattr(module, "num_prefix_tokens", 1))
    return 0


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
