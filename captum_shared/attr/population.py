"""All neurons of a readout, as they read single places (:mod:`captum_shared.attr.places`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from captum_shared.neurons.readout import LinearReadout

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
