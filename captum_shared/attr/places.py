r"""The mathematics of correspondence: which place of one image shares what with which place of the other.

Pooling hides where a shared feature is. Here the two images are compared place by place, with a and a' the
activations at the cut of image and reference, m the readout's ``feature_mean``, w the weights of the neuron and W
those of all neurons of the readout:

.. math::
    x_p &= \text{mean of } a - m \text{ over a window around } p \\
    D(p) &= [w \cdot x_p]_+ \,/\, \textstyle\sum_{q} [w \cdot x_q]_+ \\
    A(p, q) &= \big[\cos_+(x_p, x'_q) \, \cos_+(W x_p, W x'_q)\big]^\gamma \\
    C(p, q) &= D(p) \, A(p, q) \, D'(q)

D is the share of the neuron's drive that comes from a place; A, between 0 and 1, how well two places agree, in their
features and in what the whole population makes of them; C their correspondence.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WINDOW = 1 / 3
"""Side of the window, as a share of that of the activation: chosen on data on which nothing is reported
(``benchmarks/ablation.py``), where 1/5 and 1/2 do about as well."""

SHARPNESS = 3.0
"""Exponent of the agreement: chosen on data on which nothing is reported (``benchmarks/ablation.py``), where 2 to 6 do
about as well. More of it makes maps sharper, and what is shared but drives weakly stronger in them."""


def local_features(
    activation: Float[Tensor, "image feature row column"], mean: Float[Tensor, " feature"], window: float = WINDOW
) -> Float[Tensor, "image position feature"]:
    r"""Average the centred activation over a window around each position: :math:`x_p`.

    Args:
        activation: at the cut, a.
        mean: m, in the unit of the activation.
        window: side of the window as a share of the activation's, at least 0; rounded to the nearest odd number of
            positions (up where there are two), and cut off at the border.

    Returns:
        Features of every position, row by row.

    Example:
        >>> local_features(torch.tensor([[[[1.0, 2.0, 6.0]]]]), torch.zeros(1), window=1.0)[0, :, 0]
        tensor([1.5000, 3.0000, 4.0000])
    """
    sides = [2 * int(window * side / 2) + 1 for side in activation.shape[2:]]
    halves = [side // 2 for side in sides]
    centered = activation - mean[:, None, None]
    return functional.avg_pool2d(centered, sides, 1, halves, count_include_pad=False).flatten(2).mT


def local_drive(
    features: Float[Tensor, "image position feature"], weight: Float[Tensor, "image feature"]
) -> Float[Tensor, "image position"]:
    r"""Tell which share of the neuron's drive comes from each position: D.

    Args:
        features: of every position, :math:`x_p`.
        weight: the readout weights w, one row a pair.

    Returns:
        Shares, which sum to 1; all 0 where no position drives the neuron.

    Example:
        >>> local_drive(torch.tensor([[[3.0], [1.0], [-2.0]]]), torch.ones(1, 1))
        tensor([[0.7500, 0.2500, 0.0000]])
    """
    return _shares((features @ weight[:, :, None])[:, :, 0].clamp(min=0))


def agreement(
    image_features: Float[Tensor, "image position feature"],
    reference_features: Float[Tensor, "image reference_position feature"],
    population: Float[Tensor, "neuron feature"],
    *,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "image position reference_position"]:
    r"""Compare every position of the image with every position of the reference: A.

    Args:
        image_features: :math:`x_p`.
        reference_features: :math:`x'_q`.
        population: readout weights W of all neurons.
        sharpness: the exponent γ, above 0.

    Returns:
        Agreements between 0 and 1; 0 where a position has no features, or none that a neuron answers to. With one
        neuron the second cosine is but a sign.

    Example:
        >>> x = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
        >>> agreement(x[:, :1], x, torch.eye(2), sharpness=1.0)
        tensor([[[1.0000, 0.5000, 0.0000]]])
    """
    alike = _cosine(image_features, reference_features)
    answered_alike = _cosine(image_features @ population.T, reference_features @ population.T)
    return (alike * answered_alike) ** sharpness


def corresponding(
    image_features: Float[Tensor, "image position feature"],
    reference_features: Float[Tensor, "image reference_position feature"],
    weight: Float[Tensor, "image feature"],
    population: Float[Tensor, "neuron feature"],
) -> Float[Tensor, "image position reference_position"]:
    """Compute how much every position of the image shares with every position of the reference: C.

    Args:
        image_features: :math:`x_p`.
        reference_features: :math:`x'_q`.
        weight: the readout weights w, one row a pair.
        population: readout weights W of all neurons.

    Returns:
        The correspondence, not negative, with a sum of at most 1 a pair.

    Example:
        >>> x = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
        >>> corresponding(x, x, torch.ones(1, 2), torch.eye(2))
        tensor([[[0.5625, 0.0000],
                 [0.0000, 0.0625]]])
    """
    first, second = (local_drive(features, weight) for features in (image_features, reference_features))
    return first[:, :, None] * agreement(image_features, reference_features, population) * second[:, None]


def shared_places(
    correspondence: Float[Tensor, "image position reference_position"],
    activations: tuple[Float[Tensor, "image feature row column"], Float[Tensor, "image feature row2 column2"]],
    weight: Float[Tensor, "image feature"],
    mean: Float[Tensor, " feature"],
    *,
    excitatory: bool = False,
) -> tuple[Float[Tensor, "image feature row column"], Float[Tensor, "image feature row2 column2"]]:
    r"""Weigh the shared features of every position by its correspondence.

    .. math:: V_p = \sum_q C(p, q) \, h(p, q), \qquad V'_q = \sum_p C(p, q) \, h(p, q), \qquad
        h(p, q) = \frac{(w \circ v_p) \circ (w \circ v'_q)}{\|w \circ v_p\| \, \|w \circ v'_q\|}, \qquad v_p = a_p - m

    the shared weights h of the paper (:func:`~captum_shared.shared_weights`), for two places in place of
    two images; 0 where a place has no features that the neuron uses.

    Args:
        correspondence: C.
        activations: of image and reference, a and a'.
        weight: the readout weights w, one row a pair.
        mean: m.
        excitatory: whether features that do not drive the neuron in both places get zero.

    Returns:
        V and V', to be backpropagated from the cut.

    Example:
        >>> place = torch.tensor([[[[2.0]], [[0.0]]]])
        >>> shared_places(torch.ones(1, 1, 1), (place, place), torch.ones(1, 2), torch.zeros(2))[0].flatten()
        tensor([1., 0.])
    """
    first, second = (
        _unit((activation - mean[:, None, None]).flatten(2).mT * weight[:, None]) for activation in activations
    )
    if excitatory:
        first, second = first.clamp(min=0), second.clamp(min=0)
    weighed = first * (correspondence @ second), second * (correspondence.mT @ first)
    image, reference = (each.mT.reshape(like.shape) for each, like in zip(weighed, activations, strict=True))
    return image, reference


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return (_unit(first) @ _unit(second).mT).clamp(0, 1)  # rounding can bring it above 1


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 on the last axis; zero vectors stay."""
    largest = vectors.abs().amax(-1, keepdim=True)  # divided by it first, so that squares stay in range
    return functional.normalize(vectors / torch.where(largest > 0, largest, 1), dim=-1)


def _shares(values: Tensor) -> Tensor:
    """Non-negative values that sum to 1 over all axes but the first; where all are zero they stay."""
    total = values.sum(tuple(range(1, values.ndim)), keepdim=True)
    return values / torch.where(total > 0, total, 1)
