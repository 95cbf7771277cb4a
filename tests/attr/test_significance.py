"""Maps against chance: a slow oracle, the exactness of the rank, planted patches, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_correspondence import toy
from torch import Tensor, nn
from toys import pair, seeded

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, SharedCorrespondence
from captum_shared.attr import Significance, significance
from captum_shared.attr.chance import against_chance

NULLS = seeded(7, 20, 3, 10, 10)


def slow(maps: np.ndarray, level: float) -> tuple[np.ndarray, float, float]:
    """The definition, position by position."""
    n_maps, n_positions = maps.shape
    spread = [np.std(maps[:, position], ddof=1) for position in range(n_positions)]
    z = np.zeros_like(maps)
    for row in range(n_maps):
        for position in range(n_positions):
            unit = spread[position] + np.mean(spread)
            z[row, position] = (maps[row, position] - np.mean(maps[:, position])) / unit
    largest = [max(row) for row in z]
    p_value = sum(each >= largest[0] for each in largest) / n_maps
    allowed = int(level * n_maps + 1e-9)  # maps that may exceed the threshold, were they all alike
    return z[0], sorted(largest[1:])[-allowed], p_value


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(3, 30), st.sampled_from([0.34, 0.5]))
def test_it_equals_the_slow_definition(seed: int, n_maps: int, level: float) -> None:
    maps = np.random.default_rng(seed).gamma(0.3, size=(n_maps, 5))
    z, threshold, p_value = against_chance(torch.from_numpy(maps), level)
    expected = slow(maps, level)
    np.testing.assert_allclose(z, expected[0])
    assert threshold == pytest.approx(expected[1])
    assert p_value == pytest.approx(expected[2])
    assert bool((z > threshold).any()) == (p_value <= level + 1e-9)


def test_a_map_like_the_others_is_significant_as_often_as_the_level_says() -> None:
    """The rank is exact however the values are distributed and depend on each other."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(3000):
        maps = np.cumsum(rng.gamma(0.1, size=(20, 12)) * rng.gamma(0.5, size=(20, 1)), axis=1)
        z, threshold, _ = against_chance(torch.from_numpy(maps), 0.05)
        found += bool((z > threshold).any())
    assert found / 3000 == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 3000) ** 0.5)


def test_maps_that_are_all_alike_are_not_significant() -> None:
    z, threshold, p_value = against_chance(torch.full((20, 4), 0.3), 0.05)
    assert (z.abs().max(), threshold, p_value) == (0, 0, 1)


def test_the_only_map_that_shows_anything_is_significant_there() -> None:
    maps = torch.zeros(20, 4)
    maps[0, 2] = 1e-6
    z, threshold, p_value = against_chance(maps, 0.05)
    assert (z > threshold).tolist() == [False, False, True, False]
    assert p_value == pytest.approx(0.05)


@pytest.mark.parametrize("null_neurons", [(), (0, 3)])
def test_null_maps_are_those_of_the_method(null_neurons: tuple[int, ...]) -> None:
    similarity, inputs = toy(), pair()
    found = significance(similarity, inputs, [2, 1], null_references=NULLS, null_neurons=null_neurons)
    method = SharedCorrespondence(similarity)
    for index, neuron in enumerate((2, 1)):
        image, reference = (side[index : index + 1] for side in inputs)
        own = method.attribute((image, reference), neuron)
        others = [method.attribute((image, reference), other) for other in null_neurons]
        images = image.expand_as(NULLS), NULLS
        references = NULLS, reference.expand_as(NULLS)
        for side, pairs in enumerate((images, references)):
            maps = torch.cat([own[side], *(each[side] for each in others), method.attribute(pairs, neuron)[side]])
            z, threshold, p_value = slow(maps.flatten(1).numpy(), 0.05)
            np.testing.assert_allclose(found.z_maps[side][index].flatten(), z, rtol=1e-9, atol=1e-12)
            assert float(found.thresholds[index, side]) == pytest.approx(threshold)
            assert float(found.p_values[index, side]) == pytest.approx(p_value)


def test_a_batch_equals_its_pairs_one_by_one() -> None:
    similarity, inputs = toy(), pair()
    found = significance(similarity, inputs, [2, 1], null_references=NULLS)
    for index, neuron in enumerate((2, 1)):
        one = significance(
            similarity, (inputs[0][index : index + 1], inputs[1][index : index + 1]), neuron, null_references=NULLS
        )
        assert one.p_values.dtype == one.thresholds.dtype == torch.float64  # rounded, 0.05 would be above 0.05
        for all_maps, maps in zip(found.z_maps, one.z_maps, strict=True):
            torch.testing.assert_close(all_maps[index], maps[0])
        torch.testing.assert_close(found.p_values[index], one.p_values[0])


def with_noise() -> tuple[NeuronSimilarity, Tensor, Tensor, Tensor]:
    """Image and reference with the same patch on other sides, null references with patches that drive nothing."""
    network = nn.Conv2d(4, 4, 1, bias=False).double()
    network.weight.data = torch.eye(4, dtype=torch.float64)[:, :, None, None]
    mean = torch.full((4,), 0.1, dtype=torch.float64)
    readout = LinearReadout(torch.eye(4, dtype=torch.float64), feature_mean=mean)
    images = 0.1 * seeded(3, 42, 4, 9, 9)
    images[0, 0, 1:4, 1:4] += 1
    images[1, 0, 1:4, 5:8] += 1
    for index in range(2, 42):
        images[index, 1 + index % 3, 1:4, 1:4] += 1
    return NeuronSimilarity(LatentFeatures(nn.Sequential(network), "0"), readout), images[:1], images[1:2], images[2:]


def test_what_is_shared_is_significant_where_it_is() -> None:
    similarity, image, reference, nulls = with_noise()
    found = significance(similarity, (image, reference), 0, null_references=nulls)
    assert found.p_values.tolist() == [[pytest.approx(1 / 41)] * 2]
    across, down = (region[0, 0] for region in found.regions)
    assert across[2, 2]
    assert down[2, 6]
    assert not across[:, 6:].any()
    assert not down[:, :3].any()


def test_a_reference_without_it_is_not() -> None:
    similarity, image, _, nulls = with_noise()
    found = significance(similarity, (image, nulls[:1]), 0, null_references=nulls[1:])
    assert found.p_values.min() > 0.05
    assert not any(region.any() for region in found.regions)


def test_significant_pixels_are_those_of_the_interpolated_z() -> None:
    z = torch.tensor([[[[0.0, 4.0]]]])
    found = Significance((z, z), torch.tensor([[1.5, 5.0]]), torch.ones(1, 2), 0.05)
    image, reference = found.of_pixels((1, 4), (2, 2))  # 0, 1, 3, 4
    assert image.tolist() == [[[False, False, True, True]]]
    assert reference.shape == (1, 2, 2)
    assert not reference.any()


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"null_references": NULLS[:18]}, "needs 19 or more null references, but there are 18"),
        ({"null_references": NULLS, "level": 0.01}, "needs 99 or more"),
        ({"null_references": NULLS, "level": 0.0}, "level is a probability"),
        ({"null_references": NULLS, "null_neurons": [1, 2]}, "null_neurons are others"),
    ],
)
def test_what_cannot_be_tested_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        significance(toy(), pair(), [2, 0], **arguments)  # type: ignore[arg-type]
