"""Integrated Gradients with as many steps as it takes, against Captum's with very many."""

import warnings
from typing import Any
from unittest import mock

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import Pair, pair, seeded, small_net, small_similarity

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, ParallelSharedAttribution
from captum_shared.attr import AutoSteps


class Sevenths(nn.Module):
    """A pixel to the seventh power, and another as it is: the integral of its gradient is known."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack((images[:, 0] ** 7, images[:, 1]), 1)


def bent() -> tuple[NeuronSimilarity, Pair]:
    similarity = NeuronSimilarity(Sevenths(), LinearReadout([[1.0, 1.0]]).double())
    return similarity, (
        torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double(),
        torch.tensor([[1.0, 1.0], [0.0, 3.0]]).double(),
    )


def kinked() -> NeuronSimilarity:
    """ReLUs whose kinks lie all along the path."""
    weights = LinearReadout(seeded(5, 4, 5), feature_mean=seeded(6, 5).abs() / 10)
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), weights, any_encoder=True)


def integrated(similarity: NeuronSimilarity, **choices: Any) -> ParallelSharedAttribution:
    return ParallelSharedAttribution(similarity, "integrated_gradients", **choices)


def test_each_pair_takes_the_steps_that_it_needs_and_sums_to_its_goal() -> None:
    similarity, inputs = bent()
    steps = AutoSteps(tolerance=1e-4)
    maps, delta, n_steps = integrated(similarity).attribute(
        inputs, n_steps=steps, return_convergence_delta=True, return_n_steps=True
    )
    # h of the first pair is (1, 2) / sqrt(5 * 2), of features (1, 2) and (1, 1); the second pair is linear
    goal = torch.tensor([(1 + 1 + 2 * (2 + 1)) / 10**0.5, 1.0 + 3.0], dtype=torch.float64)
    torch.testing.assert_close(maps[0].sum(1) + maps[1].sum(1), goal, rtol=1e-4, atol=0)
    torch.testing.assert_close(delta, maps[0].sum(1) + maps[1].sum(1) - goal, rtol=1e-6, atol=1e-14)
    assert n_steps.tolist()[1] == 9
    assert 20 < n_steps[0] <= 256
    torch.testing.assert_close(delta, integrated(similarity).compute_convergence_delta(maps, 0, inputs))


@pytest.mark.filterwarnings("ignore:Integrated Gradients of")  # the maps are compared, however far they get
@pytest.mark.parametrize("baselines", [None, 0.3, (0.1, seeded(1, 2, 3, 10, 10)), (seeded(2, 1, 3, 10, 10), 0)])
@pytest.mark.parametrize("multiply", [True, False])
def test_maps_are_captums_with_many_steps(baselines: Any, multiply: bool) -> None:
    method = integrated(kinked(), multiply_by_inputs=multiply)
    right = method.attribute(pair(), [0, 2], baselines=baselines, n_steps=200)
    steps = AutoSteps(tolerance=1e-3, max_steps=400)
    for one, exact in zip(method.attribute(pair(), [0, 2], baselines=baselines, n_steps=steps), right, strict=True):
        assert (one - exact).norm() < 0.05 * exact.norm()


def test_maps_are_the_trapezoidal_rule_where_no_interval_is_halved() -> None:
    method, inputs = integrated(kinked()), pair()
    maps, n_steps = method.attribute(inputs, [0, 2], n_steps=AutoSteps(tolerance=10.0), return_n_steps=True)
    assert n_steps.tolist() == [9, 9]
    plain = ParallelSharedAttribution(kinked())
    weights = plain.forward_func.shared_weights(*inputs, [0, 2])
    for side in range(2):
        total = torch.zeros_like(inputs[side])
        for step in range(9):
            point = (inputs[side] * step / 8).requires_grad_()
            value = (plain.forward_func.image_features(point) * weights).sum()
            total += torch.autograd.grad(value, point)[0] * (0.5 if step in (0, 8) else 1) / 8
        torch.testing.assert_close(maps[side], total * inputs[side], rtol=1e-10, atol=1e-14)


@settings(max_examples=15)
@given(tolerance=st.floats(1e-4, 0.1), seed=st.integers(0, 50))
def test_the_delta_is_below_the_tolerance_or_there_is_a_warning(tolerance: float, seed: int) -> None:
    method, inputs = integrated(kinked()), pair(seed, n=3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        maps, delta, n_steps = method.attribute(
            inputs, [0, 1, 3], n_steps=AutoSteps(tolerance, 64), return_convergence_delta=True, return_n_steps=True
        )
    features = [small_net().features(x).mean((2, 3)).detach() for x in (*inputs, torch.zeros_like(inputs[0]))]
    h = method.forward_func.shared_weights(*inputs, [0, 1, 3])
    parts = torch.cat([h * (features[0] - features[2]), h * (features[1] - features[2])], 1)
    allowed = tolerance * torch.maximum(parts.sum(1).abs(), 0.1 * parts.abs().sum(1))
    torch.testing.assert_close(delta, sum(one.sum((1, 2, 3)) for one in maps) - parts.sum(1), rtol=1e-8, atol=1e-12)
    missed = (delta.abs() > allowed + 1e-12).sum()
    assert bool(missed) == bool(told)
    assert (n_steps <= 64).all()
    if missed:
        assert f"of {missed} of 3 pairs" in str(told[0].message)


def test_a_miss_is_told_with_figures() -> None:
    similarity, inputs = bent()
    with pytest.warns(UserWarning, match=r"of 1 of 2 pairs .* more than 0.01% after 12 steps, by up to \d"):
        integrated(similarity).attribute(inputs, n_steps=AutoSteps(tolerance=1e-4, max_steps=12))


def test_no_step_is_taken_twice() -> None:
    similarity, inputs = bent()
    seen: list[Tensor] = []

    class Watched(Sevenths):
        def forward(self, images: Tensor) -> Tensor:
            if images.requires_grad:
                seen.extend(images.detach())
            return super().forward(images)

    watched = NeuronSimilarity(Watched(), similarity.readout)
    one = inputs[0][:1], inputs[1][:1] * 1.01
    _, n_steps = integrated(watched).attribute(one, n_steps=AutoSteps(1e-4), return_n_steps=True)
    assert len(seen) == 2 * n_steps
    assert len({tuple(each.tolist()) for each in seen[1:]} - {(0.0, 0.0)}) == 2 * (n_steps - 1)


def test_pairs_batches_and_step_batches_change_nothing() -> None:
    method, inputs, target = integrated(kinked()), pair(n=2), [0, 2]
    steps = AutoSteps(5e-3)
    maps = method.attribute(inputs, target, n_steps=steps)
    in_batches = method.attribute(inputs, target, n_steps=steps, internal_batch_size=3)
    torch.testing.assert_close(in_batches, maps, rtol=1e-10, atol=1e-14)
    for row in range(2):
        alone = method.attribute((inputs[0][[row]], inputs[1][[row]]), target[row], n_steps=steps)
        torch.testing.assert_close(alone, (maps[0][[row]], maps[1][[row]]), rtol=1e-10, atol=1e-14)


def test_a_pair_that_shares_nothing_or_goes_nowhere_has_maps_of_zeros() -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]).double())
    apart = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    for baselines in (None, apart):
        maps, n_steps = integrated(similarity).attribute(
            apart, baselines=baselines, n_steps="auto", return_n_steps=True
        )
        assert all((one == 0).all() for one in maps)
        assert n_steps.tolist() == [9]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_ends_as_well(dtype: torch.dtype) -> None:
    similarity = kinked().to(dtype)
    inputs = tuple(x.to(dtype) for x in pair())
    maps = integrated(similarity).attribute(inputs, [0, 2], n_steps=AutoSteps(0.02))
    right = integrated(kinked()).attribute(pair(), [0, 2], n_steps=200)
    for one, exact in zip(maps, right, strict=True):
        assert one.dtype == dtype
        assert (one.double() - exact).norm() < (0.2 if dtype == torch.bfloat16 else 0.1) * exact.norm()


def test_captum_integrates_where_the_steps_are_a_number() -> None:
    with mock.patch.object(IntegratedGradients, "attribute", side_effect=RuntimeError("Captum's")):
        with pytest.raises(RuntimeError, match="Captum's"):
            integrated(small_similarity()).attribute(pair(), 1, n_steps=10)
        integrated(small_similarity()).attribute(pair(), 1, n_steps="auto")


def test_the_class_itself_integrates_automatically_too_also_under_noise() -> None:
    method = ParallelSharedAttribution(kinked(), IntegratedGradients)
    maps = method.attribute(pair(), 1, n_steps="auto")
    torch.testing.assert_close(maps, integrated(kinked()).attribute(pair(), 1, n_steps="auto"), rtol=0, atol=0)
    torch.manual_seed(0)
    noisy = NoiseTunnel(method).attribute(pair(), nt_samples=2, stdevs=1e-9, target=1, n_steps="auto")
    torch.testing.assert_close(noisy, maps, rtol=1e-5, atol=1e-7)


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("gradient", {"n_steps": "auto"}, TypeError, "is for jacobian='integrated_gradients'"),
    ("integrated_gradients", {"n_steps": "many"}, TypeError, "number, 'auto' or AutoSteps, but got 'many'"),
    ("integrated_gradients", {"n_steps": "auto", "method": "riemann_left"}, TypeError, "takes no method"),
    ("integrated_gradients", {"return_n_steps": True}, TypeError, "return_n_steps is for n_steps='auto'"),
    ("integrated_gradients", {"n_steps": "auto", "baselines": seeded(1, 2, 3, 4, 4)}, ValueError, "baselines of shape"),
    ("integrated_gradients", {"n_steps": "auto", "baselines": "grey"}, TypeError, "got a str"),
    ("integrated_gradients", {"n_steps": "auto", "baselines": ("grey", 0)}, TypeError, "got a str"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_makes_no_sense_is_refused(as_installed: None, case: int) -> None:
    jacobian, choices, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        ParallelSharedAttribution(small_similarity(), jacobian).attribute(pair(), 1, **choices)


def test_settings_that_make_no_sense_are_refused(as_installed: None) -> None:
    with pytest.raises(ValueError, match="above 0"):
        AutoSteps(tolerance=0.0)
    with pytest.raises(ValueError, match="at least 9"):
        AutoSteps(max_steps=8)
