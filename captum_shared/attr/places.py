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

from dataclasses import dataclass
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from captum_shared.neurons.readout import LinearReadout

SHARPNESS = 2.0
"""Exponent of the agreement: chosen on data on which nothing is reported (``benchmarks/ablation.py``), where 1.5 to 3
do about as well. More of it makes maps sharper, and what is shared but drives weakly stronger in them."""

_WHITENINGS: Final = WeakTensorKeyDictionary()

_SHRINKAGE = 0.1
"""How far S is drawn to its diagonal."""


@final
@dataclass(frozen=True)
class Population:
    """All neurons of a readout, as they read single places.

    Attributes:
        weight: W; its unit has no effect. None without neurons, where features stand for answers.
        examples: e, or None if the readout knows none.
        whitening: :math:`S^{-1/2}` but for a rotation, or None if it is not known.
    """

    weight: Float[Tensor, "neuron feature"] | None
    examples: Float[Tensor, "example neuron"] | None = None
    whitening: Float[Tensor, "neuron neuron"] | None = None

    @classmethod
    def of(cls, readout: LinearReadout, like: Tensor) -> Population:
        """Take the neurons of a readout.

        Args:
            readout: the readout.
            like: a tensor of the dtype and on the device that it is for.

        Returns:
            The population.

        Example:
            >>> readout = LinearReadout([[2.0]]).with_examples(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.25]]))
            >>> Population.of(readout, torch.zeros(1))
            Population(weight=tensor([[1.]]), examples=tensor([[1.],
                    [3.]]), whitening=tensor([[2.]]))
        """
        largest = readout.weight.abs().max()
        largest = torch.where(largest > 0, largest, 1)
        weight = (readout.weight / largest).to(like)
        if readout.scatter is None:
            return cls(weight)
        if readout.examples is None:
            return cls(None, None, _known_whitening(readout.scatter).to(like))
        whitening = _known_whitening(readout.scatter, float(largest))
        return cls(weight, (readout.examples / largest).to(like), whitening.to(like))

    def read(self, features: Float[Tensor, "image position feature"]) -> Float[Tensor, "image position neuron"]:
        """Read every place: y.

        Args:
            features: :math:`x_p`.

        Returns:
            What all neurons make of it.

        Example:
            >>> examples, one = torch.tensor([[0.0], [9.0]]), torch.eye(1)
            >>> Population(one, examples, one).read(torch.tensor([[[8.0]]]))  # half 8, half 9
            tensor([[[8.5000]]])
        """
        predicted = features if self.weight is None else features @ self.weight.T
        if self.examples is None:
            return predicted
        known = self.whitened(self.examples)
        distances = known.square().sum(1) / 2 - self.whitened(predicted) @ known.T  # but for what all have in common
        return (predicted + torch.softmax(-distances, -1) @ self.examples) / 2

    def whitened(self, answers: Float[Tensor, "*place neuron"]) -> Float[Tensor, "*place neuron"]:
        """Measure answers in units of how local predictions scatter.

        Args:
            answers: y, or predictions.

        Returns:
            Answers whose distances and angles are those of :math:`S^{-1/2} y`.
        """
        return answers if self.whitening is None else answers @ self.whitening.T

    def precise(self, answers: Float[Tensor, "*place neuron"]) -> Float[Tensor, "*place neuron"]:
        """Weigh answers by how precise they are: :math:`S^{-1} y`, whose product with others is that of whitened ones.

        Args:
            answers: y, or predictions.

        Returns:
            Weighed answers.

        Example:
            >>> Population(None, None, torch.tensor([[2.0]])).precise(torch.tensor([3.0]))
            tensor([12.])
        """
        return answers if self.whitening is None else self.whitened(answers) @ self.whitening


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
    features = image_features, reference_features
    first, second = (population.read(each) for each in features)
    whitened = population.whitened(first), population.whitened(second)
    if population.weight is None:
        drives, agreed = (_added(*whitened), _added(*whitened[::-1])), _cosine(*features) ** SHARPNESS
    else:
        drives, agreed = (local_drive(first, neurons), local_drive(second, neurons)), agreement(features, whitened)
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


def _known_whitening(scatter: Tensor, unit: float = 1.0) -> Tensor:
    """The whitening of a readout in a unit, factored once, and again only after the scatter was changed or moved."""
    version = None if scatter.is_inference() else scatter._version
    state = unit, version, scatter.data_ptr(), scatter.dtype, scatter.device
    known: Any = _WHITENINGS.get(scatter)  # type: ignore[no-untyped-call]
    if known is None or known[0] != state:
        known = _WHITENINGS[scatter] = state, _whitening(scatter.double() / unit**2)
    whitening: Tensor = known[1]
    return whitening


def _whitening(scatter: Tensor) -> Tensor:
    """A root of the inverse of S, drawn to its diagonal; neurons that predict the same everywhere stay as they are."""
    variances = scatter.diagonal()
    diagonal = torch.diag(torch.where(variances > 0, _SHRINKAGE * variances, 1))
    factor = torch.linalg.cholesky((1 - _SHRINKAGE) * scatter + diagonal)
    whitening: Tensor = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)
    return whitening


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
