"""Integrated Gradients of many neurons: h·f is linear in h, so one path serves them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import quadrature
from captum_shared.attr.arguments import starts_of
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.neuron_maps import BLOCK, Made, Neuron, Strategy, chosen_strategy, products
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity


def integrated_neurons(
    similarity: NeuronSimilarity,
    pair: Pair,
    neurons: Sequence[Neuron],
    arguments: Mapping[str, Any],
    *,
    strategy: Strategy = "auto",
    multiplies: bool = True,
) -> tuple[Made, Iterator[Pair]]:
    r"""Integrate the gradients of many neurons, with a fixed number of steps.

    .. math:: (x - x_0) \circ \sum_s c_s \, J_f(x_s)^\top (h_1, h_2, \ldots)
        = (x - x_0) \circ \Big(\sum_s c_s \, J_f(x_s)\Big)^\top (h_1, h_2, \ldots)

    On the left every step has one forward pass for each block of 16 neurons, and a backward pass a neuron; on the right
    one forward pass for all, and a backward pass a feature.

    Args:
        similarity: the twins.
        pair: the pair, checked.
        neurons: the neurons.
        arguments: those of ``captum.attr.IntegratedGradients``, by name.
        strategy: which side, as of :func:`~captum_shared.attr.neuron_maps.gradient_maps`.
        multiplies: whether maps hold the inputs as a factor.

    Returns:
        Which side it is, and the maps of each neuron.

    Raises:
        TypeError: if arguments are not those of Integrated Gradients, or give a delta.
        ValueError: if the strategy or the rule is unknown, or baselines have another shape.
    """
    others = arguments.keys() - {"baselines", "n_steps", "method", "internal_batch_size"}
    if others:
        raise TypeError(f"Integrated Gradients of many neurons take no {', '.join(sorted(others))}. Leave it out.")
    images, references = pair[0].detach(), pair[1].detach()
    starts = starts_of(arguments.get("baselines"), pair)
    rule = quadrature(arguments.get("method", "gausslegendre"), arguments.get("n_steps", 50))
    features = PairPass.without_gradients(similarity, (images, references)).features
    size = features[0].shape[1] * sum(each.numel() * max(4, each.element_size()) for each in pair)
    made = chosen_strategy(strategy, len(neurons), features[0].shape[1], size)
    path = _Path(similarity, (images, references), starts, rule, arguments.get("internal_batch_size"))
    spans = (images - starts[0], references - starts[1]) if multiplies else None
    maps = path.products(features, neurons) if made == "jacobian" else path.backward(features, neurons)
    return made, (each if spans is None else (each[0] * spans[0], each[1] * spans[1]) for each in maps)


class _Path:
    """The paths of all pairs, at the steps of a rule."""

    def __init__(
        self,
        similarity: NeuronSimilarity,
        pair: Pair,
        starts: Pair,
        rule: tuple[Sequence[float], Sequence[float]],
        internal_batch_size: int | None,
    ) -> None:
        self._similarity, self._pair, self._starts = similarity, pair, starts
        self._sizes, self._alphas = rule
        n_steps = len(self._sizes)
        self._at_once = n_steps if internal_batch_size is None else max(1, internal_batch_size // len(pair[0]))

    def products(self, features: Pair, neurons: Sequence[Neuron]) -> Iterator[Pair]:
        each = torch.eye(features[0].shape[1]).to(features[0])[:, None]
        first, second = self._integrated(each.expand(-1, len(features[0]), -1))
        rows = [torch.arange(len(features[0]))[None]]
        jacobians = [(rows, [integrated.movedim(0, 1)]) for integrated in (first, second)]
        return products(self._similarity, features, neurons, jacobians)

    def backward(self, features: Pair, neurons: Sequence[Neuron]) -> Iterator[Pair]:
        for start in range(0, len(neurons), BLOCK):
            weights = [self._similarity.weigh(*features, neuron) for neuron in neurons[start : start + BLOCK]]
            first, second = self._integrated(torch.stack(weights))
            for maps in zip(first, second, strict=True):
                yield maps[0].clone(), maps[1].clone()  # none holds the memory of its block

    def _integrated(self, cotangents: Float[Tensor, "row image feature"]) -> Pair:
        """Integrate the gradients of f · cotangent, for every row of cotangents."""
        first, second = (
            torch.zeros((len(cotangents), *images.shape), dtype=torch.promote_types(images.dtype, torch.float32)).to(
                images.device
            )
            for images in self._pair
        )
        for begin in range(0, len(self._sizes), self._at_once):
            sizes = torch.tensor(self._sizes[begin : begin + self._at_once]).to(cotangents)
            alphas = self._alphas[begin : begin + self._at_once]
            points = [
                torch.cat([start + alpha * (end - start) for alpha in alphas]).requires_grad_()
                for start, end in zip(self._starts, self._pair, strict=True)
            ]
            passed = PairPass.of(self._similarity, (points[0], points[1]))
            for row, cotangent in enumerate(cotangents):
                stepped = (sizes[:, None, None] * cotangent).flatten(0, 1)
                gradients = passed.backpropagated((stepped, stepped), "features")
                for total, gradient in zip((first, second), gradients, strict=True):
                    total[row] += gradient.reshape(len(alphas), *total[row].shape).sum(0)
        return first, second
