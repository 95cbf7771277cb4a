"""Scores of maps and their intervals: by hand on 4 x 4 maps, against scikit-learn and scipy, and by property."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from toys import seeded

from captum_shared.evaluation.scores.intervals import Interval, bootstrap, bootstrap_auroc
from captum_shared.evaluation.scores.ranks import (
    auroc,
    average_precision,
    pixel_ap,
    pixel_auroc,
    pointing,
    region_auroc,
)
from captum_shared.evaluation.scores.records import SCORES
from captum_shared.evaluation.scores.recovery import (
    KINDS,
    answer_largest,
    outweighs,
    positive_mass,
    recovery_scores,
    region_densities,
    total_mass,
)

QUADRANTS = torch.zeros(4, 4, 4, dtype=torch.bool)
for _kind, (_row, _column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
    QUADRANTS[_kind, _row : _row + 2, _column : _column + 2] = True

MAP = torch.tensor(
    [
        [5.0, 1.0, 2.0, 2.0],
        [0.0, -4.0, -1.0, 0.0],
        [3.0, 3.0, 1.0, 1.0],
        [-2.0, 0.0, 1.0, 1.0],
    ]
)
NOTHING = torch.zeros(4, 4)
NEGATIVE = -torch.arange(1.0, 17.0).reshape(4, 4)
QUARTERS = ("answer_largest", "pixel_ap", "pointing")
CHANCE = {name: 0.25 if name in QUARTERS else 0.5 for name in recovery_scores(MAP, QUADRANTS)}

values = st.lists(st.integers(-5, 5), min_size=16, max_size=16)
some_maps = st.lists(values, min_size=1, max_size=3).map(lambda rows: torch.tensor(rows).double().reshape(-1, 4, 4))
partitions = st.lists(st.integers(0, 4), min_size=16, max_size=16).map(
    lambda kinds: torch.stack([torch.tensor(kinds).reshape(4, 4) == kind for kind in range(4)])
)


def floats(scores: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(score) for name, score in scores.items()}


def test_every_score_of_a_map_by_hand() -> None:
    # positive mass by quadrant: 6, 4, 6, 4 of 20, in four pixels each
    assert floats(recovery_scores(MAP, QUADRANTS)) == pytest.approx(
        {
            "answer_largest": 1 / 2,  # ties with shared_nondriver
            "mass": 6 / 20,
            # answer 5, 1, 0, -4 among 5, 3, 3, 2, 2, 1 five times, 0 four times, -1, -2, -4
            "pixel_ap": (1 / 1 + 2 / 10 + 3 / 13 + 4 / 16) / 4,
            "pixel_auroc": (12 + (4 + 4 / 2) + (2 + 2 / 2) + 0) / 48,
            "answer_vs_own_driver": 1.0,
            "answer_vs_shared_nondriver": 1 / 2,
            "answer_vs_neither": 1.0,
            # answer 5, 1, 0, -4 against 2, 2, -1, 0: beats 4 + 2 + (1 + 1/2) + 0 of 16
            "auroc_own_driver": 7.5 / 16,
            # against 3, 3, -2, 0: 4 + 2 + (1 + 1/2) + 0
            "auroc_shared_nondriver": 7.5 / 16,
            # against four 1s: 4 + 4/2 + 0 + 0
            "auroc_neither": 6 / 16,
            "pointing": 1.0,
        }
    )
    assert float(total_mass(MAP)) == 20


def test_regions_of_different_sizes_compare_by_unit_area() -> None:
    regions = QUADRANTS.clone()
    regions[0] = False
    regions[0, 0, 1] = True  # one pixel of value 1 against mass 4 in four pixels, a tie, and mass 6 in four
    densities = region_densities(MAP, regions)
    assert densities.tolist() == [1.0, 1.0, 1.5, 1.0]
    assert outweighs(MAP, regions).tolist() == [0.5, 0.0, 0.5]
    assert float(answer_largest(MAP, regions)) == 0
    assert float(answer_largest(MAP, regions[[0, 1, 3]])) == pytest.approx(1 / 3)


def test_ties_survive_rounding() -> None:
    maps = torch.full((200, 200), 0.1)
    kinds = torch.arange(40_000).reshape(200, 200) % 7 % 4
    regions = torch.stack([kinds == kind for kind in range(4)])
    densities = region_densities(maps, regions)
    assert densities.max() / densities.min() < 1 + 1e-12
    assert outweighs(maps, regions).tolist() == [0.5] * 3
    assert float(answer_largest(maps, regions)) == 0.25


def test_a_map_of_nothing_has_no_mass_in_the_answer_and_otherwise_what_guessing_gets() -> None:
    assert floats(recovery_scores(NOTHING, QUADRANTS)) == {**CHANCE, "mass": 0.0}
    assert math.isnan(float(positive_mass(NOTHING, QUADRANTS[0])))
    assert float(total_mass(NOTHING)) == 0


def test_an_all_negative_map_has_no_mass_but_its_pixels_have_ranks() -> None:
    found = floats(recovery_scores(NEGATIVE, QUADRANTS))
    ranks = {
        "pixel_ap": (2 + 3 / 5 + 4 / 6) / 4,
        "pixel_auroc": 44 / 48,
        "auroc_own_driver": 12 / 16,
        "auroc_shared_nondriver": 1.0,
        "auroc_neither": 1.0,
        "pointing": 1.0,
    }
    assert found == {**CHANCE, "mass": 0.0, **ranks}  # -1, -2, -5, -6 against -3, -4, -7, -8: 4 + 4 + 2 + 2 of 16


def test_all_mass_in_the_answer_is_the_best_there_is() -> None:
    assert set(floats(recovery_scores(QUADRANTS[0].float(), QUADRANTS)).values()) == {1.0}


def test_several_highest_pixels_share_the_point() -> None:
    highest = torch.zeros(4, 4)
    highest[0, 0] = highest[3, 3] = highest[3, 2] = 2.0
    assert float(pointing(highest, QUADRANTS[0])) == pytest.approx(1 / 3)
    assert float(pointing(highest, QUADRANTS[3])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("maps", [MAP, NOTHING, NEGATIVE], ids=["map", "nothing", "negative"])
def test_an_empty_region_leaves_open_what_it_is_needed_for_whatever_the_map(maps: Tensor) -> None:
    without_other, without_answer = QUADRANTS.clone(), QUADRANTS.clone()
    without_other[1] = False
    without_answer[0] = False
    left_open = {name for name, score in recovery_scores(maps, without_other).items() if score.isnan()}
    assert left_open == {"answer_largest", "answer_vs_own_driver", "auroc_own_driver"}
    assert all(score.isnan() for score in recovery_scores(maps, without_answer).values())
    if maps is MAP:
        assert float(positive_mass(maps, without_answer[0])) == 0
    assert float(pointing(maps, without_answer[0])) == 0


def test_auroc_of_nothing_but_ties_is_a_half() -> None:
    assert auroc(torch.zeros(64), torch.zeros(1001)) == 0.5


@given(some_maps, partitions)
def test_average_precision_and_area_of_the_pixels_equal_scikit_learn(maps: Tensor, regions: Tensor) -> None:
    answers = regions[:1].expand(len(maps), -1, -1)
    for score, theirs in ((pixel_ap, average_precision_score), (pixel_auroc, roc_auc_score)):
        for one, found in zip(maps, score(maps, answers), strict=True):
            if regions[0].all() or not regions[0].any():
                assert found.isnan()
            else:
                assert float(found) == pytest.approx(theirs(regions[0].flatten().numpy(), one.flatten().numpy()))


def test_covering_a_region_is_more_precise_than_a_dot_in_it() -> None:
    dot = torch.zeros(4, 4)
    dot[0, 0] = 100.0
    covering = QUADRANTS[0] + 0.5 * torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    # the dot is right, the other three come with all that is 0
    assert float(pixel_ap(dot, QUADRANTS[0])) == pytest.approx((1 + 3 * 4 / 16) / 4)
    assert float(pixel_ap(covering, QUADRANTS[0])) == 1


@given(some_maps, partitions)
def test_area_of_two_regions_equals_scikit_learn(maps: Tensor, regions: Tensor) -> None:
    found = region_auroc(maps, regions.expand(len(maps), -1, -1, -1))
    for one, areas in zip(maps, found, strict=True):
        for other, area in zip(regions[1:], areas, strict=True):
            inside, outside = one[regions[0]], one[other]
            if len(inside) and len(outside):
                labels = [1] * len(inside) + [0] * len(outside)
                assert float(area) == pytest.approx(roc_auc_score(labels, torch.cat((inside, outside)).numpy()))
            else:
                assert area.isnan()


@given(some_maps, partitions, st.floats(1e-3, 1e3))
def test_scores_do_not_depend_on_the_unit_and_lie_between_0_and_1(maps: Tensor, kinds: Tensor, unit: float) -> None:
    regions = kinds.expand(len(maps), -1, -1, -1)
    first, second = recovery_scores(maps, regions), recovery_scores(unit * maps, regions)
    for name, score in first.items():
        torch.testing.assert_close(second[name], score, equal_nan=True)
        assert bool(((score >= 0) & (score <= 1) | score.isnan()).all())


@given(some_maps, partitions, st.permutations([1, 2, 3]))
def test_the_order_of_the_other_kinds_only_names_their_scores(maps: Tensor, kinds: Tensor, order: list[int]) -> None:
    regions = kinds.expand(len(maps), -1, -1, -1)
    first, second = recovery_scores(maps, regions), recovery_scores(maps, regions[:, [0, *order]])
    for name in ("answer_largest", "mass", "pointing"):
        torch.testing.assert_close(second[name], first[name], equal_nan=True)
    for place, kind in enumerate(order, 1):
        for score in ("answer_vs", "auroc"):
            moved, original = second[f"{score}_{KINDS[place]}"], first[f"{score}_{KINDS[kind]}"]
            torch.testing.assert_close(moved, original, equal_nan=True)


@given(some_maps, partitions)
def test_one_of_all_kinds_is_the_largest(maps: Tensor, kinds: Tensor) -> None:
    if not kinds.flatten(1).any(1).all():
        return
    regions = kinds.expand(len(maps), -1, -1, -1)
    wins = sum(answer_largest(maps, regions.roll(shift, 1)) for shift in range(4))
    torch.testing.assert_close(wins, torch.ones(len(maps), dtype=torch.float64))
    towards, back = outweighs(maps, regions[:, :2]), outweighs(maps, regions[:, :2].flip(1))
    torch.testing.assert_close(towards + back, torch.ones_like(towards))


@given(some_maps, partitions)
def test_ranks_do_not_change_under_a_monotone_transform(maps: Tensor, kinds: Tensor) -> None:
    regions = kinds.expand(len(maps), -1, -1, -1)
    torch.testing.assert_close(region_auroc(maps.exp() - 9, regions), region_auroc(maps, regions), equal_nan=True)
    for score in (pixel_ap, pixel_auroc):
        changed, expected = (score(each, regions[:, 0]) for each in (maps.exp() - 9, maps))
        torch.testing.assert_close(changed, expected, equal_nan=True)
    assert torch.equal(pointing(maps.exp() - 9, regions[:, 0]), pointing(maps, regions[:, 0]))


def test_axes_before_the_map_are_free() -> None:
    maps = seeded(0, 3, 2, 4, 4)
    regions = QUADRANTS.expand(3, 2, -1, -1, -1)
    together = recovery_scores(maps, regions)
    for pair in range(3):
        for side in range(2):
            alone = recovery_scores(maps[pair, side], QUADRANTS)
            assert {name: float(score[pair, side]) for name, score in together.items()} == floats(alone)


def test_mass_is_in_double_precision_whatever_the_maps_are_in() -> None:
    thirds = torch.ones(4, 4)
    thirds[2:, 2:] = 0  # all but the last quadrant, of which the first is the answer
    assert float(recovery_scores(thirds, QUADRANTS)["mass"]) == 1 / 3


@pytest.mark.parametrize("score", [recovery_scores, region_auroc, region_densities])
def test_maps_and_regions_that_do_not_fit_are_refused(
    score: Callable[[Tensor, Tensor], object], as_installed: None
) -> None:
    with pytest.raises(ValueError, match="Expected one region for each map"):
        score(torch.zeros(1, 2, 2), QUADRANTS[None])
    with pytest.raises(ValueError, match="Expected finite maps"):
        score(torch.full((1, 4, 4), torch.nan), QUADRANTS[None])


def test_average_precision_of_too_few_is_open() -> None:
    assert math.isnan(average_precision(torch.zeros(0), torch.ones(2)))
    assert math.isnan(average_precision(torch.ones(2), torch.zeros(0)))
    assert average_precision(torch.zeros(2), torch.zeros(3)) == pytest.approx(2 / 5)


def test_auroc_of_too_few_is_open() -> None:
    assert math.isnan(auroc(torch.zeros(0), torch.ones(2)))
    assert math.isnan(auroc(torch.ones(2), torch.zeros(0)))
    assert auroc(torch.zeros(2), torch.zeros(3)) == 0.5


def test_the_interval_of_two_pairs_by_hand() -> None:
    # the mean of a resample is 0, 1/2, 1 with probability 1/4, 1/2, 1/4
    assert bootstrap(torch.tensor([0.0, 1.0])) == Interval(0.5, 0.0, 1.0)


def test_the_interval_is_of_two_thousand_resamplings() -> None:
    scores = seeded(5, 40)
    drawn = np.random.default_rng(7).multinomial(40, np.full(40, 1 / 40), size=2000)
    low, high = np.quantile(drawn @ scores.numpy() / 40, [0.025, 0.975])
    expected = pytest.approx((float(scores.mean()), low, high), rel=1e-12)
    assert tuple(bootstrap(scores, seed=7)) == expected


def test_both_images_of_a_pair_are_drawn_together() -> None:
    scores = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert bootstrap(scores) == Interval(0.5, 0.5, 0.5)
    separately = bootstrap(scores.flatten())
    assert separately.high - separately.low > 0.5


def test_pairs_without_a_score_are_left_out() -> None:
    scores = torch.tensor([[0.0, torch.nan], [1.0, 1.0], [torch.nan, torch.nan]])
    found = bootstrap(scores)
    assert found.value == pytest.approx(2 / 3)
    assert (found.low, found.high) == (0.0, 1.0)
    assert all(math.isnan(number) for number in bootstrap(torch.full((3, 2), torch.nan)))


def test_the_interval_agrees_with_scipy() -> None:
    scores = seeded(1, 150)
    theirs = scipy_bootstrap((scores.numpy(),), np.mean, n_resamples=9999, method="percentile", rng=0)
    found = np.mean([bootstrap(scores, seed=seed) for seed in range(10)], axis=0)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found[0] == pytest.approx(float(scores.mean()))
    assert tuple(found[1:]) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02 * width)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        found = bootstrap(seeded(seed, 60), seed=seed)
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 200 <= 0.98


@given(st.integers(1, 30), st.integers(0, 3))
def test_one_seed_draws_the_same_pairs_for_all_methods(n_pairs: int, seed: int) -> None:
    scores = seeded(seed, n_pairs)
    found, moved = bootstrap(scores, seed=seed), bootstrap(2 * scores + 1, seed=seed)
    assert tuple(moved) == pytest.approx(tuple(2 * number + 1 for number in found))
    assert bootstrap(scores, seed=seed) == found


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        bootstrap(torch.zeros(0))


class TestGroups:
    def test_by_hand(self) -> None:
        """Of two groups with means 0 and 1, a quarter of all draws hold one alone."""
        scores, groups = torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([7, 7, 7, 2])
        assert bootstrap(scores, groups) == Interval(0.25, 0.0, 1.0)

    def test_a_group_brings_all_its_pairs(self) -> None:
        """Every group has the same mean, whatever is in it."""
        scores = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [torch.nan, 0.5]])
        found = bootstrap(scores, torch.tensor([0, 0, 1, 1, 2]))
        assert tuple(found) == pytest.approx((0.5, 0.5, 0.5))

    def test_every_pair_a_group_is_no_group(self) -> None:
        scores = seeded(4, 30, 2)
        assert tuple(bootstrap(scores, torch.arange(30))) == pytest.approx(tuple(bootstrap(scores)), rel=1e-12)

    def test_the_slowest_way(self) -> None:
        """Groups drawn one by one, their pairs put side by side."""
        scores, groups = seeded(6, 20), torch.arange(20) % 6
        times = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=2000)
        means = []
        for drawn in times:
            pairs = [scores[groups == group] for group in range(6) for _ in range(drawn[group])]
            means.append(float(torch.cat(pairs).mean()))
        expected = (float(scores.mean()), *np.quantile(means, [0.025, 0.975]))
        assert tuple(bootstrap(scores, groups, seed=3)) == pytest.approx(expected, rel=1e-12)

    def test_pairs_that_are_alike_widen_the_interval(self) -> None:
        groups = torch.arange(120) % 12
        scores = seeded(9, 12)[groups] + 0.1 * seeded(10, 120)
        alone, together = bootstrap(scores), bootstrap(scores, groups)
        assert together.high - together.low > 2 * (alone.high - alone.low)

    @pytest.mark.usefixtures("as_installed")
    def test_one_group_a_pair_is_needed(self) -> None:
        with pytest.raises(ValueError, match="one group for each of 3 pairs"):
            bootstrap(torch.zeros(3), torch.zeros(2).long())


def test_intensity_by_hand() -> None:
    shared, unshared = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 0.0])
    found = bootstrap_auroc(shared, unshared)
    assert found.value == pytest.approx(3.5 / 4)  # 3 > 1, 3 > 0, 1 = 1, 1 > 0
    assert (found.low, found.high) == (0.5, 1.0)  # the worst resample, of 1, 1 against 1, 1, has 1/16 of all draws
    nothing = bootstrap_auroc(torch.zeros(5), torch.zeros(7))
    assert nothing == Interval(0.5, 0.5, 0.5)
    assert all(math.isnan(number) for number in bootstrap_auroc(torch.zeros(0), torch.ones(2)))
    assert bootstrap_auroc(torch.tensor([3.0, torch.nan, 1.0]), unshared) == found


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_intensity_is_the_area_that_pixels_have(high: list[int], low: list[int]) -> None:
    positives, negatives = torch.tensor(high).double(), torch.tensor(low).double()
    found = bootstrap_auroc(positives, negatives)
    assert found.value == pytest.approx(auroc(positives, negatives))
    assert 0 <= found.low <= found.high <= 1


def test_the_intervals_of_an_area_agree_with_scipy() -> None:
    high, low = seeded(2, 80) + 1, seeded(3, 60)
    theirs = scipy_bootstrap(
        (high.numpy(), low.numpy()),
        lambda p, q: auroc(torch.tensor(p), torch.tensor(q)),
        vectorized=False,
        n_resamples=1500,
        method="percentile",
        rng=0,
    ).confidence_interval
    found = bootstrap_auroc(high, low)
    assert tuple(found[1:]) == pytest.approx(tuple(theirs), abs=0.1 * (theirs.high - theirs.low))


def test_the_records_say_what_the_scores_are() -> None:
    written = {
        name: (score.heading, score.needs, score.chance, score.tabulated)
        for name, score in SCORES.items()
        if name == score.name
    }
    assert written == {
        "answer_largest": ("answer largest", "pairs", 0.25, True),
        "mass": ("mass", "pairs", None, True),
        "pixel_ap": ("pixel average precision", "pairs", None, True),
        "pixel_auroc": ("pixel auroc", "pairs", 0.5, True),
        "answer_vs_own_driver": ("answer vs own driver", "pairs", 0.5, True),
        "answer_vs_shared_nondriver": ("answer vs shared nondriver", "pairs", 0.5, True),
        "answer_vs_neither": ("answer vs neither", "pairs", 0.5, True),
        "auroc_own_driver": ("auroc own driver", "pairs", 0.5, False),
        "auroc_shared_nondriver": ("auroc shared nondriver", "pairs", 0.5, False),
        "auroc_neither": ("auroc neither", "pairs", 0.5, False),
        "pointing": ("pointing", "pairs", None, True),
        "intensity": ("intensity", "controls", 0.5, True),
        "deletion": ("deletion", "faithful", 0.0, True),
        "insertion": ("insertion", "faithful", 0.0, True),
        "infidelity": ("infidelity ↓", "faithful", 1.0, True),
        "network_randomised": ("network randomised ↓", "sanity", None, True),
        "readout_replaced": ("readout replaced ↓", "sanity", None, True),
        "reference_swapped": ("reference swapped ↓", "sanity", None, True),
    }


def test_every_score_of_recovery_has_a_record() -> None:
    by_maps_alone = {name for name, score in SCORES.items() if score.needs == "pairs"}
    assert by_maps_alone == set(recovery_scores(MAP, QUADRANTS))
