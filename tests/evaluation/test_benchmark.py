"""Methods on pairs of known answer: scores, intervals and interruptions."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_photographs import draw_photographs
from toys import Pair, seeded, small_net, small_similarity

from captum_shared import LatentFeatures
from captum_shared._record import RECORD
from captum_shared._resuming import versions
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.evaluation import run as benchmarks
from captum_shared.evaluation import table
from captum_shared.evaluation.run import PACKAGES, Extent, run_benchmark
from captum_shared.evaluation.scores.faithfulness import PairFaithfulness, unexplained_share
from captum_shared.evaluation.scores.intervals import bootstrap, bootstrap_auroc
from captum_shared.evaluation.scores.recovery import recovery_scores, total_mass
from captum_shared.evaluation.scores.sanity import network_agreement, readout_agreement, reference_agreement
from captum_shared.evaluation.tasks.design import Task, Trial
from captum_shared.evaluation.tasks.grid import grid_task
from captum_shared.evaluation.tasks.parts import parts_task
from captum_shared.images import rgb_preprocess
from captum_shared.methods.method import Method
from captum_shared.methods.registry import METHODS, methods_by_name

SIZE = 10
NAMES = ["random", "paper", "neuron-saliency"]
RECOVERY = {
    "answer_largest",
    "mass",
    "pixel_ap",
    "pixel_auroc",
    *(f"{score}_{kind}" for score in ("answer_vs", "auroc") for kind in ("own_driver", "shared_nondriver", "neither")),
    "pointing",
}
SANITY = ["network_randomised", "readout_replaced", "reference_swapped"]


def trial(index: int) -> Trial:
    """Noise, with the kinds of region in the quadrants in an order of their own."""
    orders = [np.random.default_rng([index, side]).permutation(4) for side in (0, 1)]
    cells = torch.arange(4).reshape(2, 2).repeat_interleave(SIZE // 2, 0).repeat_interleave(SIZE // 2, 1)
    regions = torch.stack([torch.stack([cells == int(kind) for kind in order]) for order in orders])
    images = seeded(index, 3, 3, SIZE, SIZE, dtype=torch.float32)
    return Trial(images, regions, (("a", "b", "s", "m"), ("a", "c", "s", "n"), ("c", "c", "s", "n")), index % 4)


@pytest.fixture(scope="module")
def task() -> Task:
    return Task("toy", small_similarity(), trial, {"seed": 0})


def run(task: Task, output: Path, chosen: list[Any] | None = None, *, resume: bool = False, **extent: int) -> Any:
    how_many = Extent(**{"pairs": 11, **extent})
    return run_benchmark(task, chosen or NAMES, extent=how_many, output=output, resume=resume, progress=False)


def entry(result: Any, name: str) -> Any:
    (found,) = (each for each in result["methods"] if each["name"] == name)
    return found


def untimed(result: Any) -> Any:
    kept = [{key: value for key, value in each.items() if key != "seconds_per_pair"} for each in result["methods"]]
    return {**result, "methods": kept}


def inputs(n: int) -> tuple[Pair, Pair, Tensor, Tensor]:
    """The pairs, the same with controls, regions and neurons of the first trials."""
    trials = [trial(index) for index in range(n)]
    images, references, controls = torch.stack([each.images for each in trials], 1).double()
    regions, neurons = torch.stack([each.regions for each in trials]), torch.tensor([each.neuron for each in trials])
    return (images, references), (images, controls), regions, neurons


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_interval(found: Any, expected: Any) -> None:
    np.testing.assert_allclose([found[name] for name in ("value", "low", "high")], expected, rtol=1e-9, atol=1e-12)


def loudest(similarity: NeuronSimilarity, pair: Pair, target: Tensor) -> Pair:
    """A method of one's own."""
    return pair[0].detach().abs(), pair[1].detach().abs()


def upside_down(similarity: NeuronSimilarity, pair: Pair, target: Tensor) -> Pair:
    """Another one."""
    return pair[0].detach().flip(2), pair[1].detach().flip(2)


class TestScores:
    def test_they_are_those_of_all_pairs_at_once(self, task: Task, tmp_path: Path) -> None:
        result = run(task, tmp_path / "out")
        pairs, _, regions, neurons = inputs(11)
        for name in NAMES:
            maps = METHODS[name].maps(task.similarity, pairs, neurons)
            expected = recovery_scores(torch.stack(maps, 1), regions)
            found = entry(result, name)["scores"]
            assert set(found) == set(expected) == RECOVERY
            for score, values in expected.items():
                assert_interval(found[score], bootstrap(values))

    def test_some_pairs_are_for_more(self, task: Task, tmp_path: Path) -> None:
        name = "paper"
        method = METHODS[name].maps
        result = run(task, tmp_path / "out", [name], controls=10, faithful=9, sanity=9)
        found = entry(result, name)["scores"]
        pairs, controls, _, neurons = inputs(10)
        shown, unshown = (sum(map(total_mass, method(task.similarity, each, neurons))) for each in (pairs, controls))
        assert_interval(found["intensity"], bootstrap_auroc(shown, unshown))
        pairs, _, _, neurons = inputs(9)
        judge, maps = PairFaithfulness(task.similarity, pairs, neurons), method(task.similarity, pairs, neurons)
        assert_interval(found["deletion"], bootstrap(judge.deletion(maps)))
        assert_interval(found["insertion"], bootstrap(judge.insertion(maps)))
        given = {"inputs": pairs, "target": neurons}
        attributions = METHODS[name].attribute(task.similarity, pairs, neurons)
        unexplained = unexplained_share(task.similarity, attributions=attributions, **given)
        assert_interval(found["infidelity"], bootstrap(unexplained))
        network = network_agreement(method, task.similarity, **given, shares=[1 / 3])[0]
        assert_interval(found["network_randomised"], bootstrap(network))
        assert_interval(found["readout_replaced"], bootstrap(readout_agreement(method, task.similarity, **given)))
        pairs, _, _, neurons = inputs(8)  # the ninth has nobody to swap its reference with
        swapped = reference_agreement(method, task.similarity, inputs=pairs, target=neurons)
        assert_interval(found["reference_swapped"], bootstrap(torch.cat([swapped, torch.tensor([torch.nan])])))
        assert set(found) == RECOVERY | {"intensity", "deletion", "insertion", "infidelity", *SANITY}

    def test_maps_that_are_known_are_not_made_again(self, task: Task, tmp_path: Path) -> None:
        calls: list[int] = []

        def counted(similarity: NeuronSimilarity, pair: Pair, target: Tensor) -> Pair:
            calls.append(len(target))
            return loudest(similarity, pair, target)

        run(task, tmp_path / "out", [Method("own", "ours", counted, kind="gradient")], pairs=8, sanity=2)
        # the pairs; a wrong network, a wrong readout, a wrong reference; each of the hardest pairs once more
        assert calls == [8, 2, 2, 2] + 8 * [1]

    def test_one_pair_has_no_other_reference(self, task: Task, tmp_path: Path) -> None:
        found = entry(run(task, tmp_path / "out", ["paper"], sanity=1), "paper")["scores"]
        assert found["reference_swapped"] == {"value": None, "low": None, "high": None}
        assert -1 <= found["network_randomised"]["value"] < 1

    def test_more_than_all_pairs_are_all(self, task: Task, tmp_path: Path) -> None:
        many, all_pairs = (
            run(task, tmp_path / str(number), ["paper"], pairs=3, controls=number, sanity=number) for number in (50, 3)
        )
        assert untimed(many)["methods"] == untimed(all_pairs)["methods"]

    def test_batches_do_not_change_them(self, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = run(task, tmp_path / "whole", controls=7)
        monkeypatch.setattr(benchmarks, "_BATCH", 3)
        parts = run(task, tmp_path / "parts", controls=7)
        for name in NAMES:
            for score, interval in entry(whole, name)["scores"].items():
                assert_interval(entry(parts, name)["scores"][score], tuple(interval.values()))

    def test_a_method_of_ones_own_joins(self, task: Task, tmp_path: Path) -> None:
        own = [
            Method("mine", "ours", loudest, kind="gradient"),
            Method("mine/too", "trivial", upside_down, kind="gradient"),
        ]
        result = run(task, tmp_path / "out", ["random", *own], controls=3)
        assert {each["name"]: each["family"] for each in result["methods"]} == {
            "mine": "ours",
            "mine/too": "trivial",
            "random": "trivial",
        }
        pairs, _, regions, neurons = inputs(11)
        for method in own:
            expected = recovery_scores(torch.stack(method.maps(task.similarity, pairs, neurons), 1), regions)
            assert_interval(entry(result, method.name)["scores"]["mass"], bootstrap(expected["mass"]))

    def test_where_a_question_is_open_there_is_no_score(self, task: Task, tmp_path: Path) -> None:
        def without_neither(index: int) -> Trial:
            whole = trial(index)
            return dataclasses.replace(whole, regions=whole.regions & (torch.arange(4) < 3)[:, None, None])

        result = run(dataclasses.replace(task, trial=without_neither), tmp_path / "out")
        nothing = {"value": None, "low": None, "high": None}
        for name in NAMES:
            scores = entry(result, name)["scores"]
            assert scores["answer_largest"] == scores["answer_vs_neither"] == scores["auroc_neither"] == nothing
            assert 0 < scores["mass"]["value"] < 1
        assert "| - |" in table(result)
        assert "NaN" not in (tmp_path / "out" / "results.json").read_text()

    def test_every_other_method_is_compared_with_the_recommended(self, task: Task, tmp_path: Path) -> None:
        result = run(task, tmp_path / "out", ["random", "recommended", "paper"])
        assert list(entry(result, "recommended")) == ["name", "family", "scores", "seconds_per_pair"]
        pairs, _, regions, neurons = inputs(11)
        recommended, *others = (
            recovery_scores(torch.stack(METHODS[name].maps(task.similarity, pairs, neurons), 1), regions)
            for name in ("recommended", "random", "paper")
        )
        for name, scores in zip(("random", "paper"), others, strict=True):
            differences = entry(result, name)["differences"]
            assert list(differences) == ["answer_largest", "mass"]
            for score, found in differences.items():
                difference = (scores[score] - recommended[score]).mean(1)
                assert found["value"] == pytest.approx(float(difference.mean()), abs=1e-9)
                means = [float(difference[neurons == neuron].mean()) for neuron in range(4)]
                assert min(means) - 1e-9 <= found["low"] <= found["high"] <= max(means) + 1e-9
        assert "| Δ answer largest | Δ mass | s per pair |" in table(result)

    def test_the_recommended_method_has_to_be_there(self, task: Task, tmp_path: Path) -> None:
        own = Method("recommended", "ours", loudest, kind="gradient")  # by its name alone
        result = run(task, tmp_path / "out", ["random", own])
        assert not any("differences" in each for each in result["methods"])

    def test_nothing_of_the_network_changes(self, task: Task, tmp_path: Path) -> None:
        state = {name: value.clone() for name, value in task.similarity.state_dict().items()}
        run(task, tmp_path / "out", controls=2, faithful=2, sanity=2)
        assert all(torch.equal(value, state[name]) for name, value in task.similarity.state_dict().items())


class TestResults:
    def test_they_are_written_as_they_are_returned(self, task: Task, tmp_path: Path) -> None:
        result = run(task, tmp_path / "out", controls=2)
        assert json.loads((tmp_path / "out" / "results.json").read_text()) == result
        assert sorted(contents(tmp_path / "out")) == [RECORD, "maps.npz", "results.json"]
        assert list(result) == ["task", "settings", "versions", "methods"]
        assert result["task"] == "toy"
        extent = {"pairs": 11, "controls": 2, "faithful": 0, "sanity": 0}
        assert result["settings"] == {"task": "toy", "seed": 0, **extent, "methods": NAMES}
        assert result["versions"] == versions(*PACKAGES)
        assert result["versions"]["torch"] == importlib.metadata.version("torch")
        for method in result["methods"]:
            assert list(method) == ["name", "family", "scores", "seconds_per_pair"]
            assert method["seconds_per_pair"] > 0
            for interval in method["scores"].values():
                assert list(interval) == ["value", "low", "high"]
                assert interval["low"] <= interval["value"] + 1e-9
                assert interval["value"] <= interval["high"] + 1e-9
        ranks = [method["scores"]["answer_largest"]["value"] for method in result["methods"]]
        assert ranks == sorted(ranks, reverse=True)
        assert len(set(ranks)) > 1

    def test_an_interrupted_benchmark_resumes_to_the_same(self, task: Task, tmp_path: Path) -> None:
        calls: list[int] = []

        def stopping_at(limit: int) -> Callable[..., Pair]:
            def call(similarity: NeuronSimilarity, pair: Pair, target: Tensor) -> Pair:
                calls.append(len(target))
                if len(calls) > limit:
                    raise KeyboardInterrupt
                return loudest(similarity, pair, target)

            return call

        chosen = {limit: ["random", Method("own", "ours", stopping_at(limit), kind="gradient")] for limit in (1, 99)}
        extent = {"pairs": 19, "controls": 2}
        whole = run(task, tmp_path / "whole", chosen[99], **extent)
        assert calls == [8, 2, 8, 3] + 12 * [1]
        calls.clear()
        with pytest.raises(KeyboardInterrupt):  # at the controls of the first batch
            run(task, tmp_path / "out", chosen[1], **extent)
        calls.clear()
        limited = ["random", Method("own", "ours", stopping_at(3), kind="gradient")]
        with pytest.raises(KeyboardInterrupt):  # in the third batch
            run(task, tmp_path / "out", limited, resume=True, **extent)
        assert not (tmp_path / "out" / "results.json").exists()
        calls.clear()
        resumed = run(task, tmp_path / "out", chosen[99], resume=True, **extent)
        assert calls == [3] + 12 * [1]
        assert untimed(resumed) == untimed(whole)
        assert sorted(contents(tmp_path / "out")) == [RECORD, "maps.npz", "results.json"]

    def test_a_finished_one_is_returned(self, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        result = run(task, tmp_path / "out")
        before = contents(tmp_path / "out")
        monkeypatch.setattr(benchmarks, "_scored", None)
        assert run(task, tmp_path / "out", resume=True) == result
        assert contents(tmp_path / "out") == before

    @pytest.mark.usefixtures("as_installed")
    def test_another_one_is_refused(self, task: Task, tmp_path: Path) -> None:
        run(task, tmp_path / "out", ["random"], pairs=2)
        before = contents(tmp_path / "out")
        with pytest.raises(
            ValueError, match=r"out holds a different benchmark: it differs in methods, pairs, sanity\."
        ):
            run(task, tmp_path / "out", ["paper"], resume=True, pairs=3, sanity=1)
        other = dataclasses.replace(task, settings={"seed": 1})
        with pytest.raises(ValueError, match=r"differs in seed\."):
            run(other, tmp_path / "out", ["random"], resume=True, pairs=2)
        with pytest.raises(ValueError, match="holds this benchmark already: resume it"):
            run(task, tmp_path / "out", ["random"], pairs=2)
        assert contents(tmp_path / "out") == before

    @pytest.mark.usefixtures("as_installed")
    def test_wrong_methods_and_numbers_are_refused_before_anything_is_written(self, task: Task, tmp_path: Path) -> None:
        for chosen, sentence in (
            (["papr"], "no method 'papr'. Did you mean paper"),
            ([METHODS["random"], Method("random", "ours", loudest, kind="gradient")], "got more than once: random"),
        ):
            with pytest.raises(ValueError, match=sentence):
                run(task, tmp_path / "out", chosen)
        for wrong in ({"pairs": 0}, {"controls": -1}, {"faithful": -1}, {"sanity": -1}):
            with pytest.raises(ValueError, match="at least one pair and no negative number, got Extent"):
                Extent(**wrong)
        assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photographs(tmp_path_factory.mktemp("photographs"))


def test_the_design_is_valid(photographs: Path, tmp_path: Path) -> None:
    features = LatentFeatures(small_net(), "features")
    features.preprocess = rgb_preprocess(12)
    chosen = ["random", "neuron-saliency", "neuron-grad-cam", "edge-energy"]
    result = run(grid_task(photographs, features), tmp_path / "out", chosen, pairs=96)
    for name in chosen:
        own = entry(result, name)["scores"]["answer_vs_own_driver"]
        assert abs(own["value"] - 0.5) < 0.13, name  # 3.6 standard errors of 192 images
    largest, mass = (entry(result, "random")["scores"][score] for score in ("answer_largest", "mass"))
    assert largest["low"] <= 0.25 <= largest["high"]
    assert abs(mass["value"] - 0.25) < 0.02
    assert largest["high"] - largest["low"] < 0.2


def test_drawn_parts_are_recovered_and_only_where_the_design_allows_it(tmp_path: Path) -> None:
    task = parts_task(n_neurons=8, n_fitted=100)
    single, blind = ("neuron-grad-cam", "neuron-saliency"), ("cosine-grad-cam", "cosine-pytorch-grad-cam")
    chosen = ["recommended", "ours-correspondence-pixels", "paper", *single, *blind, "edge-energy"]
    result = run(task, tmp_path / "out", chosen, pairs=48, controls=48, sanity=8)
    scores = {name: {score: at["value"] for score, at in entry(result, name)["scores"].items()} for name in chosen}
    best, *others = (scores[name] for name in chosen)
    assert best["answer_largest"] > 0.7
    assert best["mass"] > max(other["mass"] for other in others) + 0.1
    assert best["intensity"] > 0.8
    assert best["network_randomised"] < 0.3
    assert scores["ours-correspondence-pixels"]["answer_largest"] > 0.6
    for name in single:
        assert scores[name]["answer_largest"] < best["answer_largest"] - 0.15
        assert abs(scores[name]["answer_vs_own_driver"] - 0.5) < 0.18  # 3.6 standard errors of 96 images
        assert scores[name]["reference_swapped"] == pytest.approx(1)
    for name in blind:
        assert scores[name]["answer_largest"] < best["answer_largest"] - 0.15
        assert scores[name]["answer_vs_shared_nondriver"] < 0.68
        assert scores[name]["readout_replaced"] == pytest.approx(1)


def test_names_of_methods_are_looked_up(task: Task, tmp_path: Path) -> None:
    by_name, by_method = run(task, tmp_path / "a", ["random"]), run(task, tmp_path / "b", methods_by_name(["random"]))
    assert untimed(by_name) == untimed(by_method)
