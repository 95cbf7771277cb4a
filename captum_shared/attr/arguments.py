"""Arguments of ``attribute``: which were given, and what they mean for a pair."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from captum_shared.attr.pairs import Pair

Baseline: TypeAlias = Tensor | int | float
Baselines: TypeAlias = Baseline | tuple[Baseline, Baseline] | Callable[..., Any] | None
"""One baseline for both images, or one of each; or what else a class of Captum takes."""

DEFAULTS: Final = {
    "baselines": None,
    "n_steps": 50,
    "method": "gausslegendre",
    "internal_batch_size": None,
    "return_convergence_delta": False,
}
"""As in ``captum.attr.IntegratedGradients``."""


def refuse(arguments: Mapping[str, Any]) -> None:
    """Raise a TypeError if there are arguments, of which plain gradients take none.

    Args:
        arguments: by name.

    Raises:
        TypeError: if there are any.
    """
    if arguments:
        raise TypeError(f"Plain gradients take no {', '.join(arguments)}. Choose another jacobian, or leave it out.")


def merged(chosen: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that differ from their defaults, and others.

    Args:
        chosen: those of ``attribute``.
        others: of ``jacobian_arguments``.

    Returns:
        Both, with a pair of baselines.

    Raises:
        TypeError: if one is in both.

    Example:
        >>> merged({"n_steps": 50, "baselines": 0.5}, {"distribution": "uniform"})
        {'baselines': (0.5, 0.5), 'distribution': 'uniform'}
    """
    arguments = {
        name: value for name, value in chosen.items() if isinstance(value, (Tensor, tuple)) or value != DEFAULTS[name]
    }
    twice = sorted(arguments.keys() & others.keys())
    if twice:
        raise TypeError(f"Expected each argument once, but got {', '.join(twice)} in jacobian_arguments too.")
    arguments.update(others)
    if "baselines" in arguments:
        arguments["baselines"] = pair_of(arguments["baselines"])
    return arguments


def pair_of(baselines: Any) -> Any:
    """Use one baseline for both images; leave pairs, functions and None to Captum.

    Args:
        baselines: as of ``attribute``.

    Returns:
        A pair, where they are one number or tensor.

    Example:
        >>> pair_of(0.5)
        (0.5, 0.5)
    """
    return (baselines, baselines) if isinstance(baselines, (Tensor, int, float)) else baselines


def starts_of(baselines: Any, pair: Pair) -> Pair:
    """Return where the path of each image starts.

    Args:
        baselines: as of ``attribute``: numbers, images, or one image for all, one for both sides or a pair.
        pair: the pair.

    Returns:
        Tensors with the shapes of the pair.

    Raises:
        TypeError: if they are anything else.
        ValueError: if an image has another shape.

    Example:
        >>> starts_of((1.0, None), (torch.zeros(2, 1), torch.zeros(2, 1)))[0].flatten()
        tensor([1., 1.])
    """
    both = (None, None) if baselines is None else pair_of(baselines)
    if not (isinstance(both, tuple) and len(both) == 2):
        raise TypeError(
            f"Expected baselines to be a number, a tensor, or a pair, but got a {type(baselines).__name__}."
        )
    first, second = (_start(one, images.detach()) for one, images in zip(both, pair, strict=True))
    return first, second


def _start(baseline: Any, images: Tensor) -> Tensor:
    if baseline is None or isinstance(baseline, (int, float)):
        return torch.full_like(images, baseline or 0.0)
    if not isinstance(baseline, Tensor):
        raise TypeError(f"Expected a baseline to be a number or a tensor, but got a {type(baseline).__name__}.")
    if baseline.shape[1:] != images.shape[1:] or len(baseline) not in (1, len(images)):
        raise ValueError(
            f"Expected baselines of shape {tuple(images.shape)}, or one of them, but got {tuple(baseline.shape)}."
        )
    return baseline.detach().to(images).expand_as(images)
