r"""Integrated Gradients of x ↦ h·f(x), with as many steps as each pair needs.

With g(α) = h·f(x₀ + α(x − x₀)) + h·f(r₀ + α(r − r₀)), the maps of a pair sum to :math:`\int_0^1 g'(α)\,dα`, which is
:math:`g(1) - g(0)`. A step gives g and g′, so that of every interval between two steps it is known by how much the
trapezoidal rule misses it, and where a further step is worth most:

.. math:: \delta_{ab} = (b - a) \, \frac{g'(a) + g'(b)}{2} - (g(b) - g(a))
"""

from __future__ import annotations

import bisect
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.arguments import starts_of
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.cosines import wide
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity

_FIRST: Final = 8  # intervals, all of the same length
_CANCELLED: Final = 0.1  # of the contributions of all features: a goal below it is what those of opposite signs leave
_ROUNDING: Final = 64  # by how many units in the last place sums of features may be off


@final
@dataclass(frozen=True)
class AutoSteps:
    """As many steps along a path as bring the convergence delta of each pair below a tolerance.

    Attributes:
        tolerance: largest delta, as a share of what the maps should sum to; or of a tenth of what the features
            contribute regardless of sign, where that is more, as when they cancel.
        max_steps: after how many steps a pair is left as it is, with a warning.

    Raises:
        ValueError: if the tolerance is not above 0, or there are fewer than 9 steps.

    Example:
        >>> AutoSteps(tolerance=0.001)
        AutoSteps(tolerance=0.001, max_steps=256)
    """

    tolerance: float = 0.01
    max_steps: int = 256

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is a share of the goal and must be above 0, but is {self.tolerance}.")
        if self.max_steps <= _FIRST:
            raise ValueError(f"max_steps must be at least {_FIRST + 1}, but is {self.max_steps}.")


@final
@dataclass(frozen=True, eq=False)
class Integrated:
    """What integration gives.

    Attributes:
        maps: of the images and of the references.
        delta: by how much those of each pair miss their goal.
        n_steps: of each pair.
    """

    maps: Pair
    delta: Float[Tensor, " image"]
    n_steps: Int[Tensor, " image"]

    def told(self, *, delta: bool, n_steps: bool) -> Pair | tuple[Any, ...]:
        """Return the maps, and what else is wanted after them."""
        others = [each for each, wanted in ((self.delta, delta), (self.n_steps, n_steps)) if wanted]
        return (self.maps, *others) if others else self.maps


def automatic_steps(n_steps: object, wanted: bool, *, integrates: bool) -> AutoSteps | None:
    """Tell whether the number of steps is to be found.

    Args:
        n_steps: as of ``attribute``.
        wanted: whether the number that is found is to be returned.
        integrates: whether the method is Integrated Gradients.

    Returns:
        How it is found; None for a number.

    Raises:
        TypeError: if it is found only by Integrated Gradients, or not at all.

    Example:
        >>> automatic_steps("auto", False, integrates=True)
        AutoSteps(tolerance=0.01, max_steps=256)
    """
    automatic = isinstance(n_steps, AutoSteps) or n_steps == "auto"
    if isinstance(n_steps, str) and not automatic:
        raise TypeError(f"n_steps must be a number, 'auto' or AutoSteps, but got {n_steps!r}.")
    if automatic and not integrates:
        raise TypeError(f"n_steps={n_steps!r} is for jacobian='integrated_gradients'. Give a number, or leave it out.")
    if wanted and not automatic:
        raise TypeError("return_n_steps is for n_steps='auto', which finds their number. Leave it out.")
    return n_steps if isinstance(n_steps, AutoSteps) else AutoSteps() if automatic else None


@final
@dataclass(frozen=True, eq=False)
class _Step:
    """α, g, g′, and the gradients of g by the pixels."""

    alpha: float
    value: float
    slope: float
    gradients: Pair


@final
@dataclass(eq=False)
class _Path:
    """The path of one pair: its steps so far, in the order of α."""

    starts: Pair
    spans: Pair
    weights: Tensor
    allowed: float
    steps: list[_Step] = field(default_factory=list)

    def defects(self) -> list[float]:
        return [
            (after.alpha - before.alpha) * (before.slope + after.slope) / 2 - (after.value - before.value)
            for before, after in itertools.pairwise(self.steps)
        ]

    def next_steps(self, limit: int) -> list[float]:
        """The middles of the worst quarter of the intervals, at most so many; none where the delta is small enough."""
        defects = self.defects()
        if abs(sum(defects)) <= self.allowed or limit <= 0:
            return []
        worst = sorted(range(len(defects)), key=lambda interval: -abs(defects[interval]))
        halved = worst[: min(limit, max(1, len(worst) // 4))]
        return [(self.steps[interval].alpha + self.steps[interval + 1].alpha) / 2 for interval in halved]

    def maps(self, multiplies: bool) -> Pair:
        """Integrate by the trapezoidal rule."""
        alphas = [0.0, *(step.alpha for step in self.steps), 1.0]
        sizes = [(after - before) / 2 for before, after in zip(alphas[:-2], alphas[2:], strict=True)]
        first, second = (torch.zeros_like(span) for span in self.spans)
        for size, step in zip(sizes, self.steps, strict=True):
            first += size * step.gradients[0]
            second += size * step.gradients[1]
        return (first * self.spans[0], second * self.spans[1]) if multiplies else (first, second)


def integrate(
    similarity: NeuronSimilarity,
    pair: Pair,
    target: TargetType,
    steps: AutoSteps,
    arguments: Mapping[str, Any],
    *,
    multiplies: bool = True,
) -> Integrated:
    """Integrate the gradients of h·f, with as many steps for each pair as it needs.

    Every step counts to the end: where an interval is halved, its ends are used again. So the gradients of all steps
    of the pairs that are under way are held.

    Args:
        similarity: the twins.
        pair: the pair, checked.
        target: the neuron, as in Captum.
        steps: how many.
        arguments: the others of ``attribute`` that differ from their defaults.
        multiplies: whether maps hold the inputs as a factor.

    Returns:
        The maps, and how they came about.

    Raises:
        TypeError: if there are other arguments than baselines and ``internal_batch_size``, or no such baselines.
        ValueError: if baselines have other shapes than the pair.

    Warns:
        UserWarning: if a pair misses the tolerance.
    """
    others = arguments.keys() - {"n_steps", "baselines", "internal_batch_size", "return_convergence_delta"}
    if others:
        raise TypeError(f"n_steps='auto' has its own rule, and takes no {', '.join(sorted(others))}. Leave it out.")
    starts = starts_of(arguments.get("baselines"), pair)
    first, second = (torch.zeros(each.shape).to(each) for each in pair)
    delta, n_steps = torch.zeros(len(first), dtype=torch.float64), torch.zeros(len(first), dtype=torch.long)
    paths = dict(enumerate(_paths(similarity, pair, starts, target, steps.tolerance)))
    asked = {row: [step / _FIRST for step in range(_FIRST + 1)] for row in paths}
    missed: list[float] = []
    while paths:
        _take(similarity, paths, asked, arguments.get("internal_batch_size"))
        for row, path in list(paths.items()):
            asked[row] = path.next_steps(steps.max_steps - len(path.steps))
            if not asked[row]:
                first[row], second[row] = path.maps(multiplies)
                delta[row], n_steps[row] = sum(path.defects()), len(path.steps)
                if not abs(float(delta[row])) <= path.allowed:
                    missed.append(abs(float(delta[row])) / path.allowed * steps.tolerance)
                del paths[row], asked[row]
    _warn(missed, len(first), steps)
    return Integrated((first, second), delta.to(first), n_steps.to(first.device))


def _paths(
    similarity: NeuronSimilarity, pair: Pair, starts: Pair, target: TargetType, tolerance: float
) -> Iterator[_Path]:
    images, references = pair[0].detach(), pair[1].detach()
    features, before = (
        PairPass.without_gradients(similarity, each, False).features for each in ((images, references), starts)
    )
    weights = similarity.weigh(*features, target)
    allowed = _allowed(wide(weights), features, before, tolerance)
    for row, largest in enumerate(allowed.tolist()):
        start = starts[0][row], starts[1][row]
        yield _Path(start, (images[row] - start[0], references[row] - start[1]), weights[row], largest)


def _allowed(weights: Tensor, features: Pair, before: Pair, tolerance: float) -> Tensor:
    """The largest delta of each pair, at least what rounding makes of it."""
    contributions = [weights * (wide(end) - wide(start)) for end, start in zip(features, before, strict=True)]
    goal = sum((each.sum(1) for each in contributions), torch.zeros(len(weights)).to(weights))
    regardless = sum((each.abs().sum(1) for each in contributions), torch.zeros_like(goal))
    magnitude = sum(((weights * wide(each)).abs().sum(1) for each in (*features, *before)), torch.zeros_like(goal))
    rounding = _ROUNDING * torch.finfo(features[0].dtype).eps * magnitude
    return torch.maximum(tolerance * torch.maximum(goal.abs(), _CANCELLED * regardless), rounding)


def _take(
    similarity: NeuronSimilarity,
    paths: Mapping[int, _Path],
    asked: Mapping[int, Sequence[float]],
    internal_batch_size: int | None,
) -> None:
    """Take the steps that are asked for."""
    every = [(path, alpha) for row, path in paths.items() for alpha in asked[row]]
    size = internal_batch_size or len(every)
    for batch in (every[index : index + size] for index in range(0, len(every), size)):
        first, second = (
            torch.stack([path.starts[side] + alpha * path.spans[side] for path, alpha in batch]).requires_grad_()
            for side in range(2)
        )
        weights = torch.stack([path.weights for path, _ in batch])
        passed = PairPass.of(similarity, (first, second))
        values = (wide(weights) * (wide(passed.features[0]) + wide(passed.features[1]))).sum(1).tolist()
        gradients = passed.backpropagated((weights, weights), "features")
        for (path, alpha), value, *both in zip(batch, values, *gradients, strict=True):
            slope = sum(float((wide(each) * span).sum()) for each, span in zip(both, path.spans, strict=True))
            bisect.insort(path.steps, _Step(alpha, value, slope, (both[0], both[1])), key=lambda step: step.alpha)


def _warn(missed: Sequence[float], n_pairs: int, steps: AutoSteps) -> None:
    if missed:
        warnings.warn(
            f"Integrated Gradients of {len(missed)} of {n_pairs} pairs miss what they should sum to by more than "
            f"{steps.tolerance:.2%} after {steps.max_steps} steps, by up to {max(missed):.2%}. Allow more with "
            f"AutoSteps(max_steps=...), or another tolerance.",
            UserWarning,
            stacklevel=6,
        )
