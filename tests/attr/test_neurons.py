"""Maps of many neurons, against one call for each and against the whole Jacobian."""

import gc
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn
from toys import Pair, hooks, pair, readout, seeded, small_net

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
)
from captum_shared.attr.twin_pass import occurrences

CLASSES: dict[str, tuple[Callable[[NeuronSimilarity], Any], list[str]]] = {
    "gradient": (ParallelSharedAttribution, ["backward", "jacobian"]),
    "gradient x input": (
        lambda similarity: ParallelSharedAttribution(similarity, multiply_by_inputs=True),
        ["backward", "jacobian"],
    ),
    "saliency": (lambda similarity: ParallelSharedAttribution(similarity, Saliency), []),
    "integrated": (
        lambda similarity: ParallelSharedAttribution(similarity, "integrated_gradients"),
        ["backward", "jacobian"],
    ),
    "layer": (LayerSharedAttribution, ["backward", "jacobian"]),
    "inner layer": (lambda similarity: LayerSharedAttribution(similarity, "features.0"), ["backward"]),
    "correspondence": (SharedCorrespondence, []),
    "refined": (PixelSharedCorrespondence, []),
    "places": (lambda similarity: PixelSharedCorrespondence(similarity, refine=False), []),
}
CASES = [(name, choice) for name, (_, choices) in CLASSES.items() for choice in [None, *choices]]


def many_neurons(n_neurons: int = 12) -> NeuronSimilarity:
    """Neurons that outnumber the five features."""
    names = [f"cell {neuron}" for neuron in range(n_neurons)]
    weights = LinearReadout(seeded(5, n_neurons, 5), feature_mean=seeded(6, 5).abs() / 10, neuron_names=names)
    return NeuronSimilarity(LatentFeatures(small_net(), "features"), weights, any_encoder=True)


def repeated_pairs() -> Pair:
    """Five pairs: one image stands in three, another in two; one reference in two."""
    images, references = pair(n=4)
    return images[[0, 1, 0, 1, 0]], references[[2, 0, 1, 3, 1]]


def all_maps(method: Any, inputs: Pair, neurons: Any = None, **choices: Any) -> tuple[str, list[Pair]]:
    maps = method.attribute_neurons(inputs, neurons, **choices)
    return maps.strategy, [each for _, each in maps]


@pytest.mark.parametrize(("name", "strategy"), CASES)
def test_maps_of_many_neurons_are_those_of_single_calls(name: str, strategy: str | None) -> None:
    method = CLASSES[name][0](many_neurons())
    neurons = [3, 11, 3, *range(9)]
    choices = {} if strategy is None else {"strategy": strategy}
    made, maps = all_maps(method, pair(), neurons, **choices)
    assert strategy in (None, made)
    for neuron, each in zip(neurons, maps, strict=True):
        torch.testing.assert_close(each, method.attribute(pair(), neuron), rtol=1e-10, atol=1e-13)
        assert all(one.is_contiguous() and not one.requires_grad for one in each)


@pytest.mark.parametrize("strategy", ["backward", "jacobian"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"baselines": (0.3, seeded(1, 1, 3, 10, 10)), "internal_batch_size": 6},
        {"n_steps": 7, "method": "riemann_trapezoid"},
    ],
)
@pytest.mark.parametrize("multiply", [None, False])
def test_integrated_gradients_of_many_neurons_are_captums(strategy: str, arguments: Any, multiply: bool | None) -> None:
    similarity, inputs = many_neurons(), (pair(n=2)[0], pair(n=2)[1][[0, 0]])
    method = ParallelSharedAttribution(similarity, "integrated_gradients", multiply_by_inputs=multiply)
    arguments = {"n_steps": 5, **arguments}
    neurons = [7, *range(11)] * 2  # more than there are in a block
    made, maps = all_maps(method, inputs, neurons, strategy=strategy, arguments=arguments)
    assert made == strategy
    for neuron, each in zip(neurons, maps, strict=True):
        torch.testing.assert_close(each, method.attribute(inputs, neuron, **arguments), rtol=1e-10, atol=1e-13)


def test_the_path_is_run_once_where_neurons_outnumber_features() -> None:
    method = ParallelSharedAttribution(many_neurons(), "integrated_gradients")
    with mock.patch("torch.autograd.grad", wraps=torch.autograd.grad) as grad:
        made, maps = all_maps(method, pair(), arguments={"n_steps": 4})
    assert (made, len(maps), grad.call_count) == ("jacobian", 12, 2 * 5)


def test_integrated_gradients_with_steps_as_needed_are_single_calls() -> None:
    method = ParallelSharedAttribution(many_neurons(), "integrated_gradients")
    made, maps = all_maps(method, pair(), [2, 3], arguments={"n_steps": "auto"})
    assert made == "calls"
    torch.testing.assert_close(maps[1], method.attribute(pair(), 3, n_steps="auto"), rtol=1e-10, atol=1e-13)
    with pytest.raises(TypeError, match="take no return_convergence_delta"):
        method.attribute_neurons(pair(), arguments={"return_convergence_delta": True})


@pytest.mark.parametrize("strategy", ["backward", "jacobian"])
def test_maps_are_the_whole_jacobian_times_shared_weights(strategy: str) -> None:
    similarity, inputs = many_neurons(), repeated_pairs()
    network = small_net().features
    _, maps = all_maps(ParallelSharedAttribution(similarity), inputs, strategy=strategy)
    for side in range(2):
        jacobians = [
            torch.autograd.functional.jacobian(lambda x: network(x[None]).mean((2, 3))[0], image)
            for image in inputs[side]
        ]
        for neuron, each in enumerate(maps):
            v = [network(x).mean((2, 3)).detach() - similarity.readout.feature_mean for x in inputs]
            w = similarity.readout.weight[neuron]
            h = (w * v[0]) * (w * v[1]) / ((w * v[0]).norm(dim=1) * (w * v[1]).norm(dim=1))[:, None]
            expected = torch.stack(
                [torch.tensordot(one, jacobian, 1) for one, jacobian in zip(h, jacobians, strict=True)]
            )
            torch.testing.assert_close(each[side], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("n_neurons", "strategy"), [(5, "backward"), (6, "jacobian")])
def test_the_jacobian_is_made_where_neurons_outnumber_features(n_neurons: int, strategy: str) -> None:
    method = ParallelSharedAttribution(many_neurons())
    with mock.patch("torch.autograd.grad", wraps=torch.autograd.grad) as grad:
        made, maps = all_maps(method, pair(), range(n_neurons))
    assert (made, len(maps), grad.call_count) == (strategy, n_neurons, 2 * 5)


def test_a_jacobian_that_is_too_large_is_made_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * 5 * pair()[0].numel() * 8  # both images, every feature, every pixel, float64
    method = ParallelSharedAttribution(many_neurons())
    monkeypatch.setattr("captum_shared.attr.neuron_maps.JACOBIAN_BYTES", size)
    assert method.attribute_neurons(pair()).strategy == "jacobian"
    monkeypatch.setattr("captum_shared.attr.neuron_maps.JACOBIAN_BYTES", size - 1)
    assert method.attribute_neurons(pair()).strategy == "backward"
    assert method.attribute_neurons(pair(), strategy="jacobian").strategy == "jacobian"


def test_one_forward_pass_serves_all_neurons() -> None:
    calls: list[int] = []
    similarity = many_neurons()
    similarity.image_features.network.register_forward_hook(lambda *_: calls.append(1))
    for name in ("gradient", "layer", "correspondence", "refined"):
        calls.clear()
        assert len(list(CLASSES[name][0](similarity).attribute_neurons(pair()))) == 12
        assert len(calls) == 1, name


def test_neurons_come_by_index_or_name_with_what_is_made_of_their_maps() -> None:
    method = ParallelSharedAttribution(many_neurons())
    right = [method.attribute(pair(), neuron)[0].abs().sum() for neuron in (4, 0)]
    for neurons in (["cell 4", "cell 0"], [4, 0], torch.tensor([4, 0])):
        summed = list(method.attribute_neurons(pair(), neurons, reduce=lambda maps: maps[0].abs().sum()))
        assert [neuron for neuron, _ in summed] == (neurons.tolist() if isinstance(neurons, Tensor) else neurons)
        torch.testing.assert_close([value for _, value in summed], right)
    assert [neuron for neuron, _ in method.attribute_neurons(pair())] == list(range(12))


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "one": ("cell 1", TypeError, "must be a list .* use attribute"),
    "none": ([], ValueError, "at least one neuron"),
    "unknown": (["cell 99"], ValueError, "cell 99"),
    "out of range": ([12], IndexError, "12"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("name", CLASSES)
def test_neurons_that_there_are_not_are_refused_at_once(as_installed: None, name: str, case: str) -> None:
    neurons, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        CLASSES[name][0](many_neurons()).attribute_neurons(pair(), neurons)


def test_an_unknown_strategy_is_refused(as_installed: None) -> None:
    with pytest.raises(ValueError, match="auto, backward, jacobian, but got 'fast'"):
        ParallelSharedAttribution(many_neurons()).attribute_neurons(pair(), strategy="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no Jacobian of several pairs"):
        LayerSharedAttribution(many_neurons(), "features.0").attribute_neurons(pair(), strategy="jacobian")
    with pytest.raises(TypeError, match="take no n_steps"):
        ParallelSharedAttribution(many_neurons()).attribute_neurons(pair(), arguments={"n_steps": 3})


def test_the_jacobian_of_one_pair_serves_any_layer() -> None:
    method = LayerSharedAttribution(many_neurons(), "features.0")
    made, maps = all_maps(method, pair(n=1))
    assert made == "jacobian"
    for neuron, each in enumerate(maps):
        torch.testing.assert_close(each, method.attribute(pair(n=1), neuron), rtol=1e-10, atol=1e-13)


def state(similarity: NeuronSimilarity) -> list[object]:
    parts = list(similarity.modules())
    return [
        [part.training for part in parts],
        [len(hook) for part in parts for hook in hooks(part)],
        [(parameter.requires_grad, parameter.grad) for parameter in similarity.parameters()],
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_nothing_of_the_callers_changes_while_neurons_are_under_way(name: str) -> None:
    similarity = many_neurons().train()
    method, inputs = CLASSES[name][0](similarity), pair()
    inputs[0].requires_grad_()
    before = state(similarity)
    maps = method.attribute_neurons(inputs)
    assert state(similarity) == before
    next(maps)
    assert state(similarity) == before
    right = method.attribute(inputs, 1)  # between two neurons, with the same twins
    torch.testing.assert_close(next(maps)[1], right, rtol=1e-10, atol=1e-13)
    del maps
    failing = method.attribute_neurons(inputs, reduce=lambda maps: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(failing)
    assert state(similarity) == before
    assert inputs[0].grad is None
    assert (inputs[0].requires_grad, inputs[1].requires_grad) == (True, False)


@pytest.mark.parametrize("name", CLASSES)
def test_maps_are_the_same_whatever_mode_they_are_asked_for_in(name: str) -> None:
    method = CLASSES[name][0](many_neurons())
    maps = method.attribute_neurons(pair())
    with torch.no_grad():
        torch.testing.assert_close(next(maps)[1], method.attribute(pair(), 0))
    right = method.attribute(pair(), 1)
    with torch.inference_mode():
        _, inferred = next(maps)
    assert not inferred[0].is_inference()
    torch.testing.assert_close(inferred, right)


@pytest.mark.parametrize("strategy", ["backward", "jacobian"])
@pytest.mark.parametrize("to_the_end", [True, False])
def test_the_graph_is_let_go(strategy: str, to_the_end: bool) -> None:
    kept: list[weakref.ref[Tensor]] = []
    similarity = many_neurons()
    similarity.image_features.network.register_forward_hook(lambda module, inputs, out: kept.append(weakref.ref(out)))
    maps = ParallelSharedAttribution(similarity).attribute_neurons(pair(), strategy=strategy)
    next(maps)
    if to_the_end:
        list(maps)
    else:
        del maps
    gc.collect()
    assert kept
    assert all(ref() is None for ref in kept)


# Pairs that share an image -----------------------------------------------------------------------------------------


def test_occurrences_are_told_by_the_pixels() -> None:
    images = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0], [1.0, 2.0], [2.0, 1.0]])
    assert [rows.tolist() for rows in occurrences(images)] == [[[3]], [[1], [5]], [[0], [2], [4]]]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("target", [2, [3, 0, 1, 3, 7]])
def test_pairs_that_share_an_image_get_the_maps_that_they_get_alone(name: str, target: Any) -> None:
    method, inputs = CLASSES[name][0](many_neurons()), repeated_pairs()
    maps = method.attribute(inputs, target)
    for row, neuron in enumerate(target if isinstance(target, list) else [target] * 5):
        alone = method.attribute((inputs[0][row : row + 1], inputs[1][row : row + 1]), neuron)
        for together, single in zip(maps, alone, strict=True):
            torch.testing.assert_close(together[row : row + 1], single, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("strategy", ["backward", "jacobian"])
def test_many_neurons_of_pairs_that_share_an_image(strategy: str) -> None:
    method, inputs = ParallelSharedAttribution(many_neurons()), repeated_pairs()
    _, maps = all_maps(method, inputs, strategy=strategy)
    for neuron, each in enumerate(maps):
        torch.testing.assert_close(each, method.attribute(inputs, neuron), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["gradient", "layer", "correspondence", "refined", "places"])
def test_each_distinct_image_runs_once(name: str) -> None:
    seen: list[Tensor] = []
    similarity = many_neurons()
    similarity.image_features.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    CLASSES[name][0](similarity).attribute(repeated_pairs(), 1)
    ran = torch.cat(seen).detach()
    images = repeated_pairs()[0]
    assert sorted(float(image.sum()) for image in ran) == sorted(float(image.sum()) for image in images[:2])


def test_a_layer_whose_images_do_not_come_first_is_left_as_it_is() -> None:
    class Turned(nn.Module):
        """Tokens first, as in a recurrent network."""

        def __init__(self) -> None:
            super().__init__()
            self.turned = nn.Identity()

        def forward(self, tokens: Tensor) -> Tensor:
            return self.turned(tokens.transpose(0, 1)).square().mean(0)

    similarity = NeuronSimilarity(Turned(), readout(4))
    inputs = seeded(1, 3, 3, 4)[[0, 1, 0]], seeded(2, 3, 3, 4)
    maps = LayerSharedAttribution(similarity, "turned").attribute(inputs, 1)
    assert maps[0].shape == (3, 3, 4)
    for row in range(3):
        alone = LayerSharedAttribution(similarity, "turned").attribute((inputs[0][[row]], inputs[1][[row]]), 1)
        torch.testing.assert_close(maps[0][:, [row]], alone[0], rtol=1e-10, atol=1e-13)
