"""The mathematics of correspondence against loops over images, positions, windows, features and neurons."""

import math
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import hand_weights, seeded

from captum_shared import LatentFeatures
from captum_shared.attr.cosines import shared_weights
from captum_shared.attr.embedding import embedding_readout
from captum_shared.attr.places import (
    SHARPNESS,
    agreement,
    corresponding,
    local_drive,
    shared_places,
)
from captum_shared.attr.population import Population
from captum_shared.encoders.twins import tied_copy
from captum_shared.encoders.windows import WINDOW, LocalScatter, local_features
from captum_shared.neurons.readout import LinearReadout

seeds = st.integers(0, 10_000)


def nearest_odd(number: float) -> int:
    return min(range(1, 99, 2), key=lambda odd: (abs(odd - number), -odd))


def slow_window(activation: Tensor, mean: Tensor, window: float) -> list[Tensor]:
    """x_p of every position of one activation (feature, row, column), row by row."""
    _, rows, columns = activation.shape
    above, beside = nearest_odd(window * rows) // 2, nearest_odd(window * columns) // 2
    found = []
    for row in range(rows):
        for column in range(columns):
            inside = [
                activation[:, i, j] - mean
                for i in range(max(0, row - above), min(rows, row + above + 1))
                for j in range(max(0, column - beside), min(columns, column + beside + 1))
            ]
            found.append(sum(inside, torch.zeros_like(mean)) / len(inside))
    return found


def slow_cosine(first: Tensor, second: Tensor) -> float:
    norms = math.sqrt(float(first @ first)) * math.sqrt(float(second @ second))
    return float(first @ second) / norms if norms > 0 else 0.0


@dataclass
class Slow:
    """All of one pair and one neuron, in plain loops; activations (feature, row, column)."""

    first: Tensor
    second: Tensor
    weight: Tensor
    mean: Tensor
    population: Tensor
    window: float = WINDOW
    sharpness: float = SHARPNESS

    def drive(self, activation: Tensor) -> list[float]:
        each = [max(0.0, float(self.weight @ x)) for x in slow_window(activation, self.mean, self.window)]
        return [one / sum(each) if sum(each) > 0 else 0.0 for one in each]

    def agreement(self, x: Tensor, y: Tensor) -> float:
        answers = [torch.stack([neuron @ one for neuron in self.population]) for one in (x, y)]
        return (max(0.0, slow_cosine(x, y)) * max(0.0, slow_cosine(answers[0], answers[1])) ** 2) ** self.sharpness

    def correspondence(self) -> list[list[float]]:
        first, second = (slow_window(a, self.mean, self.window) for a in (self.first, self.second))
        ours, theirs = self.drive(self.first), self.drive(self.second)
        return [
            [ours[p] * self.agreement(first[p], second[q]) * theirs[q] for q in range(len(second))]
            for p in range(len(first))
        ]

    def maps(self) -> tuple[Tensor, Tensor]:
        c = self.correspondence()
        ours = [sum(row) for row in c]
        theirs = [sum(row[q] for row in c) for q in range(len(c[0]))]
        return (
            torch.tensor(ours, dtype=torch.float64).reshape(1, *self.first.shape[1:]),
            torch.tensor(theirs, dtype=torch.float64).reshape(1, *self.second.shape[1:]),
        )

    def shared(self) -> tuple[Tensor, Tensor]:
        """V and V'."""
        c = self.correspondence()
        ours, theirs = torch.zeros_like(self.first), torch.zeros_like(self.second)
        columns, other_columns = self.first.shape[2], self.second.shape[2]
        for p, row in enumerate(c):
            for q, one in enumerate(row):
                here, there = divmod(p, columns), divmod(q, other_columns)
                h = hand_weights(
                    self.first[:, here[0], here[1]], self.second[:, there[0], there[1]], self.weight, self.mean
                )
                ours[:, here[0], here[1]] += one * h
                theirs[:, there[0], there[1]] += one * h
        return ours, theirs


def fast(pair: tuple[Tensor, Tensor], weight: Tensor, mean: Tensor, population: Tensor) -> Tensor:
    """C from the functions under test."""
    first, second = (local_features(activation, mean) for activation in pair)
    drives = drive_of(first, weight)[:, :, None] * drive_of(second, weight)[:, None]
    return drives * agree(first, second, population)


def drive_of(features: Tensor, weight: Tensor) -> Tensor:
    """D of the neuron of each pair, given by its weights."""
    return local_drive(features @ weight[:, :, None], torch.zeros(len(weight), dtype=torch.long))


def agree(first: Tensor, second: Tensor, population: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """A with no examples."""
    return agreement((first, second), (first @ population.T, second @ population.T), sharpness=sharpness)


def toy(
    seed: int, n: int = 2, sizes: tuple[tuple[int, int], ...] = ((3, 4), (5, 2))
) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
    """Activations of a batch of pairs with 4 features, the weights of each pair's neuron, the mean, all 3 neurons."""
    first, second = (seeded(seed + i, n, 4, *size).relu() for i, size in enumerate(sizes))
    population = seeded(seed + 2, 3, 4)
    return (first, second), population[torch.arange(n) % 3], 0.4 * seeded(seed + 3, 4).abs(), population


# Against loops ------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(seeds, st.sampled_from([((3, 4), (5, 2)), ((1, 1), (4, 4)), ((6, 6), (6, 6)), ((9, 1), (2, 7))]))
def test_everything_equals_plain_loops(seed: int, sizes: tuple[tuple[int, int], ...]) -> None:
    pair, weight, mean, population = toy(seed, sizes=sizes)
    found = fast(pair, weight, mean, population)
    shared = shared_places(found, pair, weight, mean)
    for i in range(2):
        slow = Slow(pair[0][i], pair[1][i], weight[i], mean, population)
        torch.testing.assert_close(found[i], torch.tensor(slow.correspondence(), dtype=torch.float64))
        for one, expected in zip(shared, slow.shared(), strict=True):
            torch.testing.assert_close(one[i], expected)


@pytest.mark.parametrize("window", [0.0, 0.2, 1 / 3, 0.5, 0.9, 1.0])
def test_windows_equal_plain_loops(window: float) -> None:
    mean = seeded(1, 3)
    for rows in range(1, 10):
        activation = seeded(rows, 2, 3, rows, 7)
        found = local_features(activation, mean, window)
        for i in range(2):
            torch.testing.assert_close(found[i], torch.stack(slow_window(activation[i], mean, window)))


@pytest.mark.parametrize(("side", "expected"), [(1, 1), (5, 1), (6, 3), (8, 3), (12, 5), (13, 5), (18, 7), (27, 9)])
def test_a_third_is_the_nearest_odd_number_of_positions(side: int, expected: int) -> None:
    spot = torch.zeros(1, 1, side, 1)
    spot[0, 0, side // 2] = 1
    assert int((local_features(spot, torch.zeros(1)) > 0).sum()) == expected
    assert expected == nearest_odd(side / 3)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_agreement_equals_plain_loops_at_any_sharpness(sharpness: float) -> None:
    x, y, population = seeded(1, 2, 5, 4), seeded(2, 2, 3, 4), seeded(3, 6, 4)
    found = agree(x, y, population, sharpness=sharpness)
    slow = Slow(x, y, population[0], x[0, 0], population, sharpness=sharpness)
    expected = [[[slow.agreement(x[i, p], y[i, q]) for q in range(3)] for p in range(5)] for i in range(2)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert (found > 0).any()
    assert (found == 0).any()


# By hand ------------------------------------------------------------------------------------------------------------


def test_a_correspondence_by_hand() -> None:
    # Two features, three places in a row, no averaging at 1/3 of 3. Neuron 0 is driven by feature 0, neuron 1 by
    # feature 1. The image has (3, 0), (1, 1) and (0, 2); the reference (2, 0), (0, 5) and (-1, 0).
    first = torch.tensor([[[[3.0, 1.0, 0.0]], [[0.0, 1.0, 2.0]]]])
    second = torch.tensor([[[[2.0, 0.0, -1.0]], [[0.0, 5.0, 0.0]]]])
    eye, mean = torch.eye(2), torch.zeros(2)
    found = fast((first, second), eye[:1], mean, eye)
    # D is 3/4, 1/4 and 0; D' is 1, 0 and 0; cos of (1, 1) and (2, 0) is the root of 1/2, to the power 3 times 2
    torch.testing.assert_close(found[0], torch.tensor([[0.75, 0, 0], [0.25 / 8, 0, 0], [0, 0, 0]]))
    of_neuron_1 = fast((first, second), eye[1:], mean, eye)
    # D is 0, 1/3 and 2/3; D' is 0, 1 and 0
    torch.testing.assert_close(of_neuron_1[0], torch.tensor([[0, 0, 0], [0, 1 / 24, 0], [0, 2 / 3, 0]]))


def test_the_population_tells_apart_what_features_do_not() -> None:
    x = torch.tensor([[[4.0, 3.0]]])
    y = torch.tensor([[[4.0, -3.0]]])
    assert agree(x, y, torch.eye(2), sharpness=1.0).item() == pytest.approx(0.28**3)
    assert agree(x, y, torch.tensor([[1.0, 0.0]]), sharpness=1.0).item() == pytest.approx(0.28)
    assert agree(x, y, torch.tensor([[0.0, 1.0]]), sharpness=1.0).item() == 0


def test_shared_features_of_places_by_hand() -> None:
    # One place against two: (3, 4) against (3, 4), h = (9, 16) / 25, and against (4, -3), h = (12, -12) / 25
    first = torch.tensor([[[[3.0]], [[4.0]]]])
    second = torch.tensor([[[[3.0, 4.0]], [[4.0, -3.0]]]])
    weight, mean = torch.ones(1, 2), torch.zeros(2)
    given_c = torch.tensor([[[0.5, 0.1]]])
    ours, theirs = shared_places(given_c, (first, second), weight, mean)
    torch.testing.assert_close(ours[0, :, 0, 0], torch.tensor([4.5 + 1.2, 8.0 - 1.2]) / 25)
    torch.testing.assert_close(theirs[0, :, 0], torch.tensor([[4.5, 1.2], [8.0, -1.2]]) / 25)
    ours, theirs = shared_places(given_c, (first, second), weight, mean, excitatory=True)
    torch.testing.assert_close(ours[0, :, 0, 0], torch.tensor([4.5 + 1.2, 8.0]) / 25)
    torch.testing.assert_close(theirs[0, :, 0], torch.tensor([[4.5, 1.2], [8.0, 0.0]]) / 25)


@pytest.mark.parametrize("excitatory", [False, True])
def test_images_of_one_place_share_what_the_paper_says(excitatory: bool) -> None:
    pair, weight, mean, _ = toy(5, sizes=((1, 1), (1, 1)))
    ours, theirs = shared_places(torch.ones(2, 1, 1).double(), pair, weight, mean, excitatory=excitatory)
    v, r = (activation.flatten(1) - mean for activation in pair)
    expected = shared_weights(v, r, weight, excitatory=excitatory)
    torch.testing.assert_close(ours.flatten(1), expected)
    torch.testing.assert_close(theirs.flatten(1), expected)


# Properties ---------------------------------------------------------------------------------------------------------


@given(seeds)
def test_swapping_the_pair_transposes(seed: int) -> None:
    pair, *neuron = toy(seed)
    found, swapped = fast(pair, *neuron), fast(pair[::-1], *neuron)
    torch.testing.assert_close(swapped, found.mT)
    shared, other = (shared_places(c, p, *neuron[:2]) for c, p in ((found, pair), (swapped, pair[::-1])))
    torch.testing.assert_close(other, shared[::-1])


@given(seeds)
def test_shares_lie_between_0_and_1(seed: int) -> None:
    pair, weight, mean, population = toy(seed, n=3)
    first, second = (local_features(activation, mean) for activation in pair)
    drives = drive_of(first, weight).sum(1)
    torch.testing.assert_close(drives, (((first @ weight[:, :, None]) > 0).any(1)).double()[:, 0])
    alike = agree(first, second, population)
    assert float(alike.min()) >= 0
    assert float(alike.max()) <= 1
    found = fast(pair, weight, mean, population)
    assert float(found.min()) >= 0
    assert float(found.sum((1, 2)).max()) <= 1 + 1e-12


def test_rounding_does_not_lift_agreement_above_1() -> None:
    x = seeded(1, 1, 400, 7, dtype=torch.float32)
    population = seeded(2, 5, 7, dtype=torch.float32)
    found = agree(x, 3 * x, population)
    assert float(found.max()) == 1
    torch.testing.assert_close(found[0].diagonal(), torch.ones(400), rtol=1e-5, atol=0)


@given(seeds, st.sampled_from([1e-30, 1e-3, 7.0, 1e30]), st.sampled_from([1e-30, 1e-3, 7.0, 1e30]))
def test_units_of_responses_and_of_features_have_no_effect(seed: int, of_responses: float, of_features: float) -> None:
    (first, second), weight, mean, population = toy(seed)
    pair = first.float(), second.float()
    weight, mean, population = weight.float(), mean.float(), population.float()
    scaled = pair[0] * of_features, pair[1] * of_features
    other = weight * of_responses, mean * of_features, population * of_responses
    if 1e-30 < of_responses * of_features < 1e30:
        torch.testing.assert_close(fast(scaled, *other), fast(pair, weight, mean, population), rtol=1e-3, atol=1e-6)
    c = fast(pair, weight, mean, population)
    found, expected = shared_places(c, scaled, weight, other[1]), shared_places(c, pair, weight, mean)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


@given(seeds, st.randoms(use_true_random=False))
def test_the_order_of_positions_has_no_effect(seed: int, random: object) -> None:
    x, y, population = seeded(seed, 2, 6, 4), seeded(seed + 1, 2, 5, 4), seeded(seed + 2, 3, 4)
    order = list(range(6))
    random.shuffle(order)  # type: ignore[attr-defined]
    torch.testing.assert_close(agree(x[:, order], y, population), agree(x, y, population)[:, order])
    torch.testing.assert_close(
        drive_of(x[:, order], population[:2]), drive_of(x, population[:2])[:, order], rtol=1e-12, atol=0
    )
    c = seeded(seed + 3, 2, 6, 5).abs()
    first, second = x.mT[:, :, None], y.mT[:, :, None]
    ours, theirs = shared_places(c, (first, second), population[:2], population[2])
    moved = shared_places(c[:, order], (first[..., order], second), population[:2], population[2])
    torch.testing.assert_close(moved, (ours[..., order], theirs))


@given(seeds)
def test_a_batch_is_its_pairs_one_by_one(seed: int) -> None:
    pair, weight, mean, population = toy(seed, n=3)
    found = fast(pair, weight, mean, population)
    shared = shared_places(found, pair, weight, mean)
    for i in range(3):
        one = pair[0][i, None], pair[1][i, None]
        c = fast(one, weight[i, None], mean, population)
        torch.testing.assert_close(c[0], found[i])
        for alone, all_together in zip(shared_places(c, one, weight[i, None], mean), shared, strict=True):
            torch.testing.assert_close(alone[0], all_together[i])


@given(seeds)
def test_two_images_share_no_more_than_each_with_itself(seed: int) -> None:
    """With nothing negative A is a product of kernels, so that the inequality of Cauchy and Schwarz holds."""
    pair, _, _, population = toy(seed, sizes=((3, 4), (3, 4)))
    neuron = population.abs()[:2], torch.zeros(4).double(), population.abs()
    between = fast(pair, *neuron).sum((1, 2))
    first, second = (fast((one, one), *neuron) for one in pair)
    torch.testing.assert_close(first, first.mT)
    bound = (first.sum((1, 2)) * second.sum((1, 2))).sqrt()
    assert bool((between <= bound + 1e-12).all())
    assert bool((between > 0).all())


def test_images_that_are_alike_all_over_share_all() -> None:
    one = seeded(1, 1, 4, 1, 1).abs().expand(1, 4, 3, 3)
    population = seeded(2, 3, 4).abs()
    found = fast((one, 2 * one), population[:1], torch.zeros(4).double(), population)
    torch.testing.assert_close(found, torch.full((1, 9, 9), 1 / 81).double())


# Nothing there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", ["image", "reference", "neuron", "population", "all"])
def test_where_there_is_nothing_there_is_zero(silent: str) -> None:
    (first, second), weight, _, population = toy(3)
    mean = torch.zeros(4).double()
    first = first * (silent not in ("image", "all"))
    second = second * (silent not in ("reference", "all"))
    weight = weight * (silent not in ("neuron", "all"))
    population = population * (silent not in ("population", "all"))
    found = fast((first, second), weight, mean, population)
    assert not found.any()
    flat = torch.ones(2, 12, 10).double() / 120
    shared = shared_places(flat, (first, second), weight, mean)
    assert all(bool(one.isfinite().all()) for one in shared)
    assert any(bool(one.any()) for one in shared) == (silent == "population")


def test_places_that_inhibit_have_no_share() -> None:
    x = torch.tensor([[[1.0], [-1.0]], [[-1.0], [-2.0]]])
    assert drive_of(x, torch.ones(2, 1)).tolist() == [[1, 0], [0, 0]]


# What the population makes of a place -------------------------------------------------------------------------------


def slow_read(predicted: Tensor, examples: Tensor, scatter: Tensor) -> Tensor:
    """y of one place, from its predictions."""
    shrunk = 0.9 * scatter + 0.1 * torch.diag(scatter.diagonal())
    precision = torch.linalg.inv(shrunk)
    likelihoods = [math.exp(-0.5 * float((predicted - e) @ precision @ (predicted - e))) for e in examples]
    expected = sum(one * e for one, e in zip(likelihoods, examples, strict=True)) / sum(likelihoods)
    return 0.5 * predicted + 0.5 * expected


def known(seed: int, n_examples: int = 5) -> tuple[LinearReadout, Tensor, Tensor]:
    """A readout of 3 neurons that knows examples, their features, and S."""
    root, weight, mean = seeded(seed, 9, 4), seeded(seed + 1, 3, 4), 0.3 * seeded(seed + 2, 4).abs()
    features, scatter = seeded(seed + 3, n_examples, 4).abs(), root.mT @ root / 9
    return LinearReadout(weight, feature_mean=mean).with_examples(features, scatter), features, scatter


@settings(max_examples=15)
@given(seeds, st.integers(1, 6))
def test_with_examples_everything_equals_plain_loops(seed: int, n_examples: int) -> None:
    readout, features, scatter = known(seed, n_examples)
    weight, mean = readout.weight, readout.feature_mean
    examples = torch.stack([weight @ (each - mean) for each in features])
    own_scatter = weight @ scatter @ weight.T
    shrunk = 0.9 * own_scatter + 0.1 * torch.diag(own_scatter.diagonal())
    values, vectors = torch.linalg.eigh(shrunk)
    root = vectors @ torch.diag(values**-0.5) @ vectors.T
    pair, neurons = (seeded(seed + 4, 2, 4, 3, 4).relu(), seeded(seed + 5, 2, 4, 2, 2).relu()), torch.tensor([2, 0])
    x, z = (local_features(activation, mean) for activation in pair)
    found = corresponding(x, z, Population.of(readout, x), neurons)
    for i, neuron in enumerate(neurons):
        places = [[(one, slow_read(weight @ one, examples, own_scatter)) for one in side[i]] for side in (x, z)]
        drives = [[max(0.0, float(y[neuron])) for _, y in side] for side in places]
        shares = [[one / sum(side) if sum(side) > 0 else 0.0 for one in side] for side in drives]
        for p, (first, y) in enumerate(places[0]):
            for q, (second, other) in enumerate(places[1]):
                agreed = max(0.0, slow_cosine(root @ y, root @ other)) ** 2 * max(0.0, slow_cosine(first, second))
                assert float(found[i, p, q]) == pytest.approx(shares[0][p] * agreed**SHARPNESS * shares[1][q], abs=1e-9)


def test_a_place_is_read_half_as_the_image_that_it_could_be_of_by_hand() -> None:
    # One neuron with S = 1; what is predicted is 1, examples are 0 and 2: as likely, so that y is half 1 and half 1.
    # From 2 they are at distances 2 and 0: likelihoods exp(-2) and 1, 2 / (1 + exp(-2)) expected.
    population = Population(torch.ones(1, 1), torch.tensor([[0.0], [2.0]]), torch.ones(1, 1))
    found = population.read(torch.tensor([[[1.0], [2.0]]]))
    torch.testing.assert_close(found[0, :, 0], torch.tensor([1.0, 1 + 1 / (1 + math.exp(-2))]))


def test_with_no_examples_a_place_is_read_by_itself() -> None:
    weight, x = seeded(1, 3, 4), seeded(2, 2, 5, 4)
    plain = Population.of(LinearReadout(weight), x)
    assert plain.examples is None
    torch.testing.assert_close(plain.read(x) * weight.abs().max(), x @ weight.T)
    found = corresponding(x, x, plain, torch.tensor([0, 1]))
    expected = agree(x, x, weight) * drive_of(x, weight[:2])[:, :, None] * drive_of(x, weight[:2])[:, None]
    torch.testing.assert_close(found, expected)


@given(seeds, st.lists(st.sampled_from([1e-6, 1.0, 3.0, 1e6]), min_size=3, max_size=3))
def test_with_examples_the_unit_of_each_neuron_has_no_effect(seed: int, units: list[float]) -> None:
    readout, features, scatter = known(seed)
    scale = torch.tensor(units).double()[:, None]
    other = LinearReadout(scale * readout.weight, feature_mean=readout.feature_mean).with_examples(features, scatter)
    x, y, neurons = seeded(seed + 4, 2, 6, 4), seeded(seed + 5, 2, 5, 4), torch.tensor([0, 1])
    found, expected = (corresponding(x, y, Population.of(each, x), neurons) for each in (other, readout))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-10)


def test_the_order_of_examples_has_no_effect() -> None:
    readout, features, scatter = known(7)
    turned = readout.with_examples(features.flip(0), scatter)
    x, neurons = seeded(8, 2, 6, 4), torch.tensor([0, 1])
    found, expected = (corresponding(x, x, Population.of(each, x), neurons) for each in (turned, readout))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neurons_that_predict_the_same_everywhere_do_no_harm(dtype: torch.dtype) -> None:
    weight = torch.cat([seeded(1, 2, 4), torch.zeros(1, 4).double()])
    features, x = seeded(3, 5, 4), seeded(4, 2, 6, 4).to(dtype)
    with_silent, without = (LinearReadout(each).with_examples(features, torch.eye(4)) for each in (weight, weight[:2]))
    neurons = torch.tensor([0, 1])
    found, expected = (corresponding(x, x, Population.of(each, x), neurons) for each in (with_silent, without))
    torch.testing.assert_close(found, expected)
    assert not corresponding(x, x, Population.of(with_silent, x), torch.tensor([2, 2])).any()


def test_places_that_do_not_differ_do_no_harm() -> None:
    readout = LinearReadout(seeded(1, 2, 4)).with_examples(seeded(2, 3, 4), torch.zeros(4, 4))
    x = seeded(3, 1, 5, 4)
    assert bool(corresponding(x, x, Population.of(readout, x), torch.tensor([0])).isfinite().all())


# Without neurons ----------------------------------------------------------------------------------------------------


@given(seeds)
def test_without_neurons_places_are_compared_in_all_features(seed: int) -> None:
    root, x, z = seeded(seed, 9, 4), seeded(seed + 1, 2, 5, 4), seeded(seed + 2, 2, 3, 4)
    scatter = root.mT @ root / 9
    readout = LinearReadout.uniform(4, scatter=scatter).double()
    found = corresponding(x, z, Population.of(readout, x), torch.tensor([0, 0]))
    shrunk = 0.9 * readout.scatter + 0.1 * torch.diag(readout.scatter.diagonal())
    precision = torch.linalg.inv(shrunk)
    for i in range(2):
        sides = [
            [max(0.0, sum(float(one @ precision @ other) for other in others)) for one in own]
            for own, others in ((x[i], z[i]), (z[i], x[i]))
        ]
        drives = [[one / sum(side) if sum(side) > 0 else 0.0 for one in side] for side in sides]
        for p, first in enumerate(x[i]):
            for q, second in enumerate(z[i]):
                expected = drives[0][p] * max(0.0, slow_cosine(first, second)) ** SHARPNESS * drives[1][q]
                assert float(found[i, p, q]) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_the_readout_of_an_embedding_is_made_of_images_alone(tmp_path: Path) -> None:
    features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1")
    images = torch.rand(11, 3, 12, 12)
    readout = embedding_readout(features, images, batch_size=2)
    with torch.no_grad():
        activation = features.network(images)
    torch.testing.assert_close(readout.feature_mean, activation.mean((0, 2, 3)))
    gathered = LocalScatter()
    gathered.add(activation)
    torch.testing.assert_close(readout.scatter, gathered.mean.float())
    assert torch.equal(readout.weight, torch.ones(1, 4))
    readout.save(tmp_path / "r")
    loaded = LinearReadout.load(tmp_path / "r")
    assert loaded.examples is None
    assert torch.equal(loaded.scatter, readout.scatter)
    with pytest.raises(ValueError, match="at least one image"):
        embedding_readout(features, images[:0])
    with pytest.warns(UserWarning, match=r"that of 9 is about what they share.*Give 10 or more"):
        embedding_readout(features, images[:9])


def test_the_scatter_is_factored_once_and_again_when_it_changes() -> None:
    square = seeded(3, 4, 4)
    readout = LinearReadout(2 * torch.eye(4)).with_examples(seeded(1, 6, 4), square @ square.T)
    like = torch.zeros(1, dtype=torch.float64)
    with mock.patch("torch.linalg.cholesky", wraps=torch.linalg.cholesky) as factored:
        first = Population.of(readout, like).whitening
        assert torch.equal(Population.of(tied_copy(readout), like.float()).whitening, first.float())
        assert factored.call_count == 1
        readout.scatter *= 4
        torch.testing.assert_close(Population.of(readout, like).whitening, first / 2)
        readout.weight *= 3  # in whose unit answers are measured
        torch.testing.assert_close(Population.of(readout, like).whitening, first / 2 * 3)
        readout.double()
        Population.of(readout, like)
        assert factored.call_count == 4
