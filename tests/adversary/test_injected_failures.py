"""Calls that fail anywhere leave the caller's things as they were, and the next call is right."""

import contextlib
import itertools
import random
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from test_threads import attributions, functions, methods
from torch import Tensor, nn
from toys import Pair, Randomised, hooks, pair, readout

from captum_shared import LatentFeatures, NeuronSimilarity
from captum_shared.methods import METHODS

pytestmark = [pytest.mark.adversary, pytest.mark.filterwarnings("ignore:Setting")]

N_CALLS = 12
N_POINTS = 1  # of each call; 100 with --budget 100


class Trained(nn.Module):
    """A network as callers have them, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


class Encoder(Trained):
    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean((2, 3))


def with_a_cut() -> tuple[nn.Module, NeuronSimilarity]:
    model = Randomised(0)(Trained).train()
    return model, NeuronSimilarity(LatentFeatures(model, "features"), readout(5))


def without_a_cut() -> tuple[nn.Module, NeuronSimilarity]:
    model = Randomised(0)(Encoder).train()
    return model, NeuronSimilarity(model, readout(5))


def calls_of(similarity: NeuronSimilarity, budget: int) -> dict[str, Callable[[Pair, int], Any]]:
    """All classes, functions and methods; some of them where it has to be short."""
    calls = {**attributions(similarity), **functions(similarity), **methods(similarity)}
    names = list(calls) if budget > 1 else random.Random(1).sample(list(calls), N_CALLS)
    return {name: calls[name] for name in names}


def state(model: nn.Module, similarity: NeuronSimilarity, inputs: Pair) -> list[Any]:
    """All that a call has to leave alone."""
    tensors = {f"{number}": tensor for number, tensor in enumerate((*model.parameters(), *model.buffers(), *inputs))}
    return [
        [(name, tensor.requires_grad, tensor.grad is None, tensor.tolist()) for name, tensor in tensors.items()],
        [part.training for tree in (model, similarity) for part in tree.modules()],
        hooks(model, similarity),
        [sorted(vars(part)) for tree in (model, similarity) for part in tree.modules()],
        torch.random.get_rng_state().tolist(),
        [str(part) for part in np.random.get_state()],
        (torch.is_grad_enabled(), torch.get_default_dtype()),
    ]


def flat(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [tensor for part in result for tensor in flat(part)]


def assert_right(call: Callable[[Pair, int], Any], inputs: Pair, expected: list[Tensor], name: str) -> None:
    """In another thread, which any lock still held would keep waiting."""
    with ThreadPoolExecutor(1) as thread:
        found = flat(thread.submit(call, inputs, 1).result(timeout=60))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=name)


class InjectedError(Exception):
    pass


class Raising:
    """A layer that raises on one of its next calls, forward or backward."""

    def __init__(self, forward: Callable[..., Tensor], number: int, *, backward: bool) -> None:
        self.forward, self.number, self.backward, self.has_failed = forward, number, backward, False

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        self.number -= 1
        output = self.forward(*args, **options)
        if self.number != 0:
            return output
        if not (self.backward and output.requires_grad):
            self.has_failed = True
            raise InjectedError
        output.register_hook(self.fail)
        return output

    def fail(self, gradient: Tensor) -> None:
        self.has_failed = True
        raise InjectedError


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("build", [with_a_cut, without_a_cut])
def test_a_layer_that_raises(
    build: Callable[[], tuple[nn.Module, NeuronSimilarity]], backward: bool, budget: int
) -> None:
    model, similarity = build()
    inputs, failed = pair(n=1), 0
    calls = (
        calls_of(similarity, budget)
        if build is with_a_cut
        else {
            name: call
            for name, call in functions(similarity).items()
            if name in ("similarity", "shared weights", "bank")
        }
    )
    for name, call in calls.items():
        expected = flat(call(inputs, 1))
        before = state(model, similarity, inputs)
        for number in range(2, 3 + min(budget - 1, 4)):
            raising = Raising(nn.functional.conv2d, number, backward=backward)
            with mock.patch("torch.nn.functional.conv2d", raising), contextlib.suppress(InjectedError):
                call(inputs, 1)
            failed += raising.has_failed
            assert state(model, similarity, inputs) == before, name
        assert_right(call, inputs, expected, name)
    assert failed >= len(calls) // 2  # some make one pass only, or none backward


class Interrupting:
    """Raises KeyboardInterrupt before one of the lines that run, of this package, Captum or PyTorch's modules."""

    def __init__(self, line: int) -> None:
        self.line = line

    def __call__(self, frame: FrameType, event: str, argument: object) -> "Interrupting | None":
        if not any(part in frame.f_code.co_filename for part in ("captum_shared", "captum/", "torch/nn/")):
            return None
        if event == "line":
            self.line -= 1
            if self.line == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def lines_of(call: Callable[[Pair, int], Any], inputs: Pair) -> int:
    counter = Interrupting(-1)
    sys.settrace(counter)
    try:
        call(inputs, 1)
    finally:
        sys.settrace(None)
    return -1 - counter.line


@pytest.mark.parametrize("build", [with_a_cut])
def test_an_interrupt_anywhere(build: Callable[[], tuple[nn.Module, NeuronSimilarity]], budget: int) -> None:
    model, similarity = build()
    inputs, chosen, interrupted = pair(n=1), random.Random(0), 0
    points, n_filters = itertools.count(), len(warnings.filters)
    for name, call in calls_of(similarity, budget).items():
        expected = flat(call(inputs, 1))
        before, n_lines = state(model, similarity, inputs), lines_of(call, inputs)
        for _ in range(N_POINTS * budget):
            line = chosen.randint(1, n_lines)
            next(points)
            sys.settrace(Interrupting(line))
            try:
                call(inputs, 1)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                sys.settrace(None)
            assert state(model, similarity, inputs) == before, f"{name}, line {line} of {n_lines}"
        assert_right(call, inputs, expected, name)
    METHODS["random"].attribute(similarity, inputs, 1)  # an interrupted end is made up for at the next
    assert len(warnings.filters) == n_filters
    assert interrupted > 0.9 * next(points)
