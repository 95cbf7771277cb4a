"""What a readout may know besides its weights: examples, how well it predicts, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from captum_shared.neurons.arrays import Array
from captum_shared.neurons.checks import as_tensor, check_length, check_square

KNOWN: Final = ("examples", "scatter", "heldout_correlation", "null_interval")
"""The names of its tensors."""

_LIKE_WEIGHT: Final = KNOWN[:2]
_MOST_EXAMPLES: Final = 1000


def examples_and_scatter(weight: Tensor, mean: Tensor, features: Array, scatter: Array) -> tuple[Tensor, Tensor]:
    """Predict examples, and how predictions for places scatter, as ``LinearReadout.with_examples`` has it.

    Args:
        weight: (neuron, feature).
        mean: (feature,).
        features: (image, feature), at least one image.
        scatter: (feature, feature).

    Returns:
        (example, neuron) and (neuron, neuron).

    Raises:
        TypeError: if an array is not made of real numbers.
        ValueError: if a shape does not fit, or a number is not finite.

    Example:
        >>> examples_and_scatter(torch.tensor([[2.0, 0.0]]), torch.ones(2), torch.tensor([[3.0, 5.0]]), torch.eye(2))
        (tensor([[4.]], dtype=torch.float64), tensor([[4.]], dtype=torch.float64))
    """
    wide, n_features = weight.double(), weight.shape[1]
    images, covariance = (
        as_tensor(each, name, like=wide) for each, name in ((features, "features"), (scatter, "scatter"))
    )
    if images.shape != (len(images), n_features) or len(images) == 0:
        raise ValueError(f"Expected features of shape (image, {n_features}), got {tuple(images.shape)}.")
    check_square(covariance, n_features)
    kept = torch.arange(min(len(images), _MOST_EXAMPLES)) * len(images) // min(len(images), _MOST_EXAMPLES)
    examples = (images[kept.to(images.device)] - mean.double()) @ wide.mT
    return examples, wide @ covariance @ wide.mT


def heldout(n_neurons: int, correlation: Any, low: Any, high: Any) -> tuple[Tensor, Tensor]:
    """Check held-out correlations and their null intervals, as of ``LinearReadout.with_heldout``.

    Args:
        n_neurons: how many neurons there are.
        correlation: (neuron,), NaN where it is not known.
        low: (neuron,).
        high: (neuron,).

    Returns:
        Correlations, (neuron,), and intervals, (neuron, end).

    Raises:
        TypeError: if an array is not made of real numbers.
        ValueError: if a shape does not fit.

    Example:
        >>> heldout(1, [0.5], [-0.25], [0.25])[1]
        tensor([[-0.2500,  0.2500]], dtype=torch.float64)
    """
    columns = {"correlation": correlation, "low": low, "high": high}
    known = [as_tensor(values, name, like=None, missing=True).double() for name, values in columns.items()]
    for name, values in zip(columns, known, strict=True):
        check_length(values, n_neurons, name, "neuron")
    return known[0], torch.stack(known[1:], dim=1)


def checked(known: Mapping[str, Tensor | None], weight: Tensor) -> dict[str, Tensor | None]:
    """Check what a readout knows, and copy it.

    Args:
        known: tensors by name.
        weight: of the readout.

    Returns:
        The copies, of ``KNOWN``, on the device of the weight and, but for correlations, in its dtype.

    Raises:
        ValueError: if a shape does not fit.
    """
    n_neurons, n_features = weight.shape
    examples, scatter = known.get("examples"), known.get("scatter")
    if examples is not None and (examples.shape[1:] != (n_neurons,) or len(examples) == 0):
        raise ValueError(f"its examples have shape {tuple(examples.shape)}, not a column for each neuron")
    if scatter is not None:
        check_square(scatter, n_features if examples is None else n_neurons)
    for name, shape in (("heldout_correlation", (n_neurons,)), ("null_interval", (n_neurons, 2))):
        values = known.get(name)
        if values is not None and values.shape != shape:
            raise ValueError(f"its {name} has shape {tuple(values.shape)}, not {shape}")
    return {
        name: None if values is None else _copied(values, name, weight)
        for name, values in ((name, known.get(name)) for name in KNOWN)
    }


def _copied(values: Tensor, name: str, weight: Tensor) -> Tensor:
    if name in _LIKE_WEIGHT:
        return as_tensor(values, name, like=weight)
    return as_tensor(values, name, like=None, missing=True).to(weight.device)


def told_origin(origin: Mapping[str, Any] | None) -> str:
    """Tell the encoder of a readout in a few words.

    Args:
        origin: of the readout; None if it is not recorded.

    Returns:
        Its network and layer.

    Example:
        >>> told_origin({"network": "ResNet", "name": "resnet18", "layer": "layer3"}), told_origin(None)
        ('resnet18, layer3', 'not recorded')
    """
    if origin is None:
        return "not recorded"
    network = origin.get("name") or origin.get("network")
    return ", ".join(str(part) for part in (network, origin.get("layer")) if part)
