r"""The mathematics of correspondence: which place of one image shares what with which place of the other.

Pooling hides where a shared feature is. Here the two images are compared place by place, in their features
:math:`x_p` (:mod:`captum_shared.encoders.windows`) and in what the whole population of neurons, with the weights W,
makes of them. :math:`e_i` is what the readout predicts for example i, an image that it knows, and S how local
predictions scatter about that of their image (:meth:`~captum_shared.LinearReadout.with_examples`):

.. math::
    r_p &= W x_p \\
    y_p &= \tfrac12 r_p + \tfrac12 \sum_i \pi_{pi} \, e_i, \qquad
        \pi_{pi} \propto \exp\big(-\tfrac12 (r_p - e_i)^\top S^{-1} (r_p - e_i)\big) \\
    D(p) &= [y_{pk}]_+ \,/\, \textstyle\sum_{q} [y_{qk}]_+ \\
    A(p, q) &= \big[\cos_+^2(S^{-1/2} y_p, S^{-1/2} y'_q) \, \cos_+(x_p, x'_q)\big]^\gamma \\
    C(p, q) &= D(p) \, A(p, q) \, D'(q)

A place is read half by itself and half as the images that it could be a place of, since a single place predicts
poorly (:math:`\pi` is the probability of each, given the prediction). D is the share of neuron k's drive that comes
from a place; A, between 0 and 1, how well two places agree; C their correspondence. A readout that knows no examples
has :math:`y_p = r_p` and S = 1. Without neurons (:func:`~captum_shared.attr.embedding_readout`) places agree in their
features alone, and the drive of a place is what it adds to the similarity with the other image, features whitened:

.. math::
    D(p) \propto \Big[\textstyle\sum_q x_p^\top S^{-1} x'_q\Big]_+, \qquad A(p, q) = \cos_+^\gamma(x_p, x'_q)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from captum_shared.attr.population import Population

SHARPNESS = 2.0
"""Exponent of the agreement: chosen on data on which nothing is reported (``benchmarks/ablation.py``), where 1.5 to 3
do about as well. More of it makes maps sharper, and what is shared but drives weakly stronger in them."""


@final
@dataclass(frozen=True, eq=False)
class Places:
    """Images as all neurons read them place by place, which is done once, whatever they are compared with.

    Attributes:
        features: :math:`x_p`.
        answers: of all neurons, :math:`y_p`.
        whitened: the same in units of how predictions scatter.
        without_neurons: whether features stand for answers.

    Example:
        >>> x = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
        >>> Places.of(x, Population(torch.eye(2))).drive(torch.tensor([0]))
        tensor([[0.7500, 0.2500]])
    """

    features: Float[Tensor, "image position feature"]
    answers: Float[Tensor, "image position neuron"]
    whitened: Float[Tensor, "image position neuron"]
    without_neurons: bool = False

    @classmethod
    def of(cls, features: Float[Tensor, "image position feature"], population: Population) -> Places:
        """Read images.

        Args:
            features: :math:`x_p`.
            population: all neurons.

        Returns:
            What they make of every place.
        """
        answers = population.read(features)
        return cls(features, answers, population.whitened(answers), population.weight is None)

    @classmethod
    def joined(cls, several: Sequence[Places]) -> Places:
        """Put images together that were read by the same neurons.

        Args:
            several: one or more.

        Returns:
            All of them.
        """
        of_each = [(each.features, each.answers, each.whitened) for each in several]
        features, answers, whitened = (torch.cat(parts) for parts in zip(*of_each, strict=True))
        return cls(features, answers, whitened, several[0].without_neurons)

    def __getitem__(self, images: slice | Tensor) -> Places:
        """Return some of the images."""
        return Places(self.features[images], self.answers[images], self.whitened[images], self.without_neurons)

    def expand(self, n_images: int) -> Places:
        """Return a single image as often as it is compared.

        Args:
            n_images: how often.

        Returns:
            The same image, which takes no more memory.
        """
        features, answers, whitened = (
            each.expand(n_images, -1, -1) for each in (self.features, self.answers, self.whitened)
        )
        return Places(features, answers, whitened, self.without_neurons)

    def drive(self, neurons: Int[Tensor, " image"]) -> Float[Tensor, "image position"]:
        """Tell which share of a neuron's drive comes from each place (:func:`local_drive`)."""
        return local_drive(self.answers, neurons)


def local_drive(
    answers: Float[Tensor, "image position neuron"], neurons: Int[Tensor, " image"]
) -> Float[Tensor, "image position"]:
    r"""Tell which share of the neuron's drive comes from each position: D.

    Args:
        answers: of all neurons at every position, :math:`y_p`.
        neurons: the neuron of each pair.

    Returns:
        Shares, which sum to 1; all 0 where no position drives the neuron.

    Example:
        >>> local_drive(torch.tensor([[[3.0], [1.0], [-2.0]]]), torch.tensor([0]))
        tensor([[0.7500, 0.2500, 0.0000]])
    """
    return _shares(answers[torch.arange(len(answers)), :, neurons].clamp(min=0))


def agreement(
    features: tuple[Float[Tensor, "image position feature"], Float[Tensor, "image position2 feature"]],
    answers: tuple[Float[Tensor, "image position neuron"], Float[Tensor, "image position2 neuron"]],
    *,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "image position position2"]:
    r"""Compare every position of the image with every position of the reference: A.

    Args:
        features: of image and reference, :math:`x_p` and :math:`x'_q`.
        answers: of all neurons to either, whitened.
        sharpness: the exponent γ, above 0.

    Returns:
        Agreements between 0 and 1; 0 where a position has no features, or none that a neuron answers to. With one
        neuron the second cosine is but a sign.

    Example:
        >>> x = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
        >>> agreement((x[:, :1], x), (x[:, :1], x), sharpness=1.0)
        tensor([[[1.0000, 0.3536, 0.0000]]])
    """
    return (_cosine(*answers).square() * _cosine(*features)) ** sharpness


def corresponding(
    image_features: Float[Tensor, "image position feature"],
    reference_features: Float[Tensor, "image reference_position feature"],
    population: Population,
    neurons: Int[Tensor, " image"],
) -> Float[Tensor, "image position reference_position"]:
    """Compute how much every position of the image shares with every position of the reference: C.

    Args:
        image_features: :math:`x_p`.
        reference_features: :math:`x'_q`.
        population: all neurons.
        neurons: the neuron of each pair.

    Returns:
        The correspondence, not negative, with a sum of at most 1 a pair.

    Example:
        >>> x = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
        >>> corresponding(x, x, Population(torch.eye(2)), torch.tensor([0]))
        tensor([[[0.5625, 0.0234],
                 [0.0234, 0.0625]]])
    """
    return compared_places(Places.of(image_features, population), Places.of(reference_features, population), neurons)


def compared_places(
    first: Places, second: Places, neurons: Int[Tensor, " image"]
) -> Float[Tensor, "image position reference_position"]:
    """Compute what :func:`corresponding` does, of images that have been read.

    Args:
        first: the images.
        second: the references, as many.
        neurons: the neuron of each pair.

    Returns:
        The correspondence.
    """
    features, whitened = (first.features, second.features), (first.whitened, second.whitened)
    if first.without_neurons:
        drives, agreed = (_added(*whitened), _added(*whitened[::-1])), _cosine(*features) ** SHARPNESS
    else:
        drives, agreed = (first.drive(neurons), second.drive(neurons)), agreement(features, whitened)
    return drives[0][:, :, None] * agreed * drives[1][:, None]


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


def _added(own: Tensor, other: Tensor) -> Tensor:
    """The share of each place of one image in its similarity with the other."""
    return _shares((own @ other.mean(1)[:, :, None])[:, :, 0].clamp(min=0))


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
