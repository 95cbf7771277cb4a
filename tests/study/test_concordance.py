"""Groups of neurons compared: against loops over all pairs, with known answers, and how often chance passes for one."""

import itertools
import json
import math

import numpy as np
import pytest

from captum_shared.study.concordance import Concordance
from captum_shared.study.grouping import by_chance, concordance, interval, likeness, mean_likeness, p_differ

N_FEATURES = 12


def drawn(rng: np.random.Generator, sizes: tuple[int, ...], centres: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Likeness of neurons whose tuning scatters about the centre of their group."""
    groups = [name for name, size in zip("ABCDE", sizes, strict=False) for _ in range(size)]
    tuning = rng.standard_normal((len(groups), N_FEATURES)) + np.repeat(centres, sizes, axis=0)
    return likeness(np.corrcoef(tuning)), groups


def compared(alike: np.ndarray, groups: list[str], **options: object) -> Concordance:
    return Concordance.of({"tuning": alike}, groups, by="subject", **options)


@pytest.fixture
def toy() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    alike, groups = drawn(rng, (4, 3, 5), rng.standard_normal((3, N_FEATURES)))
    return alike, np.unique(groups, return_inverse=True)[1]


def slow(alike: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """L by its definition, pair by pair."""
    n_groups = labels.max() + 1
    means = np.empty((n_groups, n_groups))
    for one, other in itertools.product(range(n_groups), repeat=2):
        pairs = [
            alike[k, m]
            for k, m in itertools.product(range(len(labels)), repeat=2)
            if labels[k] == one and labels[m] == other and k != m
        ]
        means[one, other] = sum(pairs) / len(pairs)
    return means


def slow_concordance(alike: np.ndarray, labels: np.ndarray) -> np.ndarray:
    means = slow(alike, labels)
    return np.array(
        [[means[a, b] / math.sqrt(means[a, a] * means[b, b]) for b in range(len(means))] for a in range(len(means))]
    )


def test_likeness_and_concordance_are_what_they_are_defined_as(toy: tuple[np.ndarray, np.ndarray]) -> None:
    alike, labels = toy
    np.testing.assert_allclose(mean_likeness(alike, labels[None])[0], slow(alike, labels), rtol=1e-12)
    np.testing.assert_allclose(concordance(alike, labels[None])[0], slow_concordance(alike, labels), rtol=1e-12)
    rho = np.array([[1, 0.8, 0.2], [0.8, 1, -0.4], [0.2, -0.4, 1]])
    assert likeness(rho)[0] == pytest.approx([1, math.exp(-2 * 0.2 / 0.8), math.exp(-2)])
    assert (likeness(np.ones((3, 3))) == 1).all()


def test_the_interval_is_the_jackknife(toy: tuple[np.ndarray, np.ndarray]) -> None:
    alike, labels = toy
    low, high = interval(alike, labels)
    for one, other in itertools.combinations(range(3), 2):
        variance = 0.0
        for group in (one, other):
            own = np.flatnonzero(labels == group)
            without = []
            for neuron in own:
                kept = np.delete(np.arange(len(labels)), neuron)
                without.append(slow_concordance(alike[np.ix_(kept, kept)], labels[kept])[one, other])
            variance += (len(own) - 1) / len(own) * sum((each - np.mean(without)) ** 2 for each in without)
        centre, reach = slow_concordance(alike, labels)[one, other], 1.96 * math.sqrt(variance)
        assert (low[one, other], high[one, other]) == pytest.approx((centre - reach, centre + reach))


def test_dealing_keeps_what_is_kept() -> None:
    """Neurons of two regions, each of one subject: nothing can be dealt anew, so nothing differs."""
    rng = np.random.default_rng(0)
    alike, groups = drawn(rng, (10, 10), np.array([[2.0], [-2.0]]) * np.eye(2, N_FEATURES))
    labels = np.repeat([0, 1], 10)
    observed = concordance(alike, labels[None])[0]
    for each in itertools.islice(by_chance(alike, labels, labels, 0), 60):
        np.testing.assert_allclose(each, observed)
    assert p_differ(alike, labels, labels, 0)[0, 1] == 1
    assert compared(alike, groups).differ("A", "B")
    assert not compared(alike, groups, strata=groups).differ("A", "B")


@pytest.mark.parametrize("pair", ["AB", "AC", "BC"])
def test_the_two_that_share_are_told(pair: str) -> None:
    rng = np.random.default_rng(3)
    shared, own = 2 * rng.standard_normal((2, N_FEATURES))
    centres = np.array([shared if name in pair else own for name in "ABC"])
    result = compared(*drawn(rng, (12, 20, 15), centres))
    (third,) = set("ABC") - set(pair)
    assert result.closest == result.sharing == tuple(pair)
    assert not result.differ(*pair)
    assert result.differ(pair[0], third)
    assert result.told.startswith(f"{pair[0]} and {pair[1]} agree more with each other than with {third} (")
    assert result.told.endswith("Between the two no difference goes beyond noise.")
    assert result.n_neurons == (12, 20, 15)


def test_of_two_groups_it_says_whether_they_differ() -> None:
    rng = np.random.default_rng(0)
    alike, groups = drawn(rng, (20, 25), np.zeros((2, N_FEATURES)))
    same = compared(alike, groups)
    assert same.sharing == ("A", "B")
    assert same.told.startswith("A and B agree as far as noise lets one tell (")
    assert math.isnan(same.p_closest)
    other = compared(*drawn(rng, (20, 25), 2 * rng.standard_normal((2, N_FEATURES))))
    assert other.sharing is None
    assert other.told.startswith("A and B differ beyond noise (")


def test_where_all_differ_none_share() -> None:
    rng = np.random.default_rng(0)
    result = compared(*drawn(rng, (20, 20, 20), 3 * np.eye(3, N_FEATURES)))
    assert result.sharing is None
    assert all(result.differ(*pair) for pair in itertools.combinations("ABC", 2))


def test_by_chance_few_are_said_to_differ_or_to_share() -> None:
    rng = np.random.default_rng(0)
    results = [compared(*drawn(rng, (8, 12, 10), np.zeros((3, N_FEATURES))), seed=seed) for seed in range(60)]
    assert sum(result.p_closest < 0.05 for result in results) <= 7  # 3 expected; more once in 100 times
    assert sum(any(result.differ(*pair) for pair in itertools.combinations("ABC", 2)) for result in results) <= 7
    assert sum(result.sharing is not None for result in results) <= 3


def test_numbers_of_neurons_make_no_difference() -> None:
    """The mean of many draws is 1 for the same kinds of neurons, however many of each there are."""
    rng = np.random.default_rng(0)
    values = [
        concordance(drawn(rng, (4, 40), np.ones((2, N_FEATURES)))[0], np.repeat([[0, 1]], (4, 40), 1))[0, 0, 1]
        for _ in range(300)
    ]
    assert np.mean(values) == pytest.approx(1, abs=0.03)


def test_what_json_holds_is_read_again(toy: tuple[np.ndarray, np.ndarray]) -> None:
    alike, labels = toy
    for groups in (["ABC"[label] for label in labels], ["AB"[min(label, 1)] for label in labels]):
        result = compared(alike, groups, left_out={"D": 2}, matched=False)
        entry = json.loads(json.dumps(vars(result)).replace("NaN", "null"))
        assert repr(Concordance.read(entry)) == repr(result)  # NaN equals no NaN
        assert result.left_out == {"D": 2}


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two groups or more, of at least 3 neurons each, got \{'A': 2, 'B': 4\}"):
        compared(np.ones((6, 6)), ["A", "A", "B", "B", "B", "B"])
