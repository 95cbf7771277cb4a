"""The pair of images that an attribution explains, checked."""

from typing import TypeAlias

import torch
from torch import Tensor

from captum_shared.encoders.inputs import check_is_tensor

Pair: TypeAlias = tuple[Tensor, Tensor]


def checked_pair(inputs: object, *, differentiable: bool = True) -> Pair:
    """Return leaves of our own over the caller's pair, which is left as it is.

    Args:
        inputs: what the caller gave as (images, references).
        differentiable: whether whole numbers are refused.

    Returns:
        Detached tensors over the same memory that require gradients where they can.

    Raises:
        RuntimeError: in inference mode.
        TypeError: if it is not a pair of tensors, or holds whole numbers where gradients are needed.
        ValueError: if it is empty, of unequal lengths or not finite.

    Example:
        >>> images, references = checked_pair((torch.zeros(1, 3), torch.ones(1, 3)))
        >>> images.requires_grad
        True
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "Attribution needs gradients, which torch.inference_mode() rules out. Call it outside, or under "
            "torch.no_grad() instead."
        )
    if not (isinstance(inputs, tuple) and len(inputs) == 2 and all(isinstance(part, Tensor) for part in inputs)):
        raise TypeError(
            f"inputs must be a pair of tensors (images, references), but got {_told(inputs)}. Put two tensors into a "
            "tuple; arrays become tensors with torch.as_tensor."
        )
    images, references = inputs
    check_lengths(images, references)
    return _leaf(images, "images", differentiable), _leaf(references, "references", differentiable)


def check_lengths(images: Tensor, references: Tensor) -> None:
    """Raise a ValueError unless there is one reference for each image, and at least one pair.

    Args:
        images: the images, image first.
        references: their references.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if there are more of one than of the other, or none.

    Example:
        >>> check_lengths(torch.zeros(2, 3), torch.ones(2, 3))
    """
    check_is_tensor(images)
    check_is_tensor(references, "references")
    if len(images) != len(references):
        raise ValueError(
            f"Expected one reference for each image, but got {len(images)} images and {len(references)} references. "
            "Repeat the shorter one, for example with references.expand_as(images)."
        )
    if len(images) == 0:
        raise ValueError("Expected at least one pair of images, but the batch is empty.")


def _told(inputs: object) -> str:
    if not isinstance(inputs, tuple):
        return f"a {type(inputs).__name__}"
    kinds = ", ".join(type(part).__name__ for part in inputs)
    return f"a tuple of {len(inputs)} ({kinds})" if kinds else "an empty tuple"


def _leaf(tensor: Tensor, name: str, differentiable: bool) -> Tensor:
    if not tensor.is_floating_point():
        if differentiable:
            raise TypeError(
                f"{name} must be floating point to have gradients, but are {tensor.dtype}. Convert images with "
                ".float(), in the range that the network takes; for token ids use LayerSharedAttribution at the "
                "embedding."
            )
        return tensor.clone() if tensor.is_inference() else tensor
    # the sum of finite numbers can overflow, but is quick to take, and finite only if all of them are
    if not bool(tensor.sum().isfinite()) and not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} must be finite, but hold NaN or infinite pixels.")
    leaf = tensor.clone() if tensor.is_inference() else tensor
    return leaf.detach().requires_grad_()
