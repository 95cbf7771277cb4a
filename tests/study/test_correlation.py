"""Whether the maps of two networks agree, as a number and as a figure."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata
from toy_study import SIZE, neuron, overlays, points, study, texts

from captum_shared.figures import architectures_figure
from captum_shared.study.correlation import common_pairs, foreground, map_correlation, pair_correlation
from captum_shared.study.result import StudyResult


def agreeing(tmp_path: Path, name: str, maps: Callable[[int], np.ndarray], size: int = SIZE) -> StudyResult:
    (tmp_path / name).mkdir()
    return study(tmp_path / name, [neuron(0, ("strong", "weak")), neuron(1, ("strong",))], size=size, maps=maps)


def test_the_rank_correlation_is_that_of_the_maps_of_one_method(tmp_path: Path) -> None:
    random = np.random.default_rng(0).random((2, 2, 2, 3, SIZE, SIZE)).astype(np.float32)
    first = agreeing(tmp_path, "first", lambda at: random[0, :1, :, :] if at else random[0])
    second = agreeing(tmp_path, "second", lambda at: random[1, :1, :, :] if at else random[1])
    found = map_correlation(first, second, "paper")
    assert [len(values) for values in found.values()] == [2, 1]
    for pair, value in enumerate(found["n0"]):
        ranks = [[rankdata(random[study_, pair, side, 1]).ravel() for study_ in (0, 1)] for side in (0, 1)]
        assert value == pytest.approx(np.mean([np.corrcoef(*both)[0, 1] for both in ranks]))


def test_maps_are_compared_at_the_size_of_the_smaller_map(tmp_path: Path) -> None:
    small = np.random.default_rng(0).random((1, 2, 1, 4, 4)).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 5, small.shape)
    checkerboard = np.kron(noise, [[1, -1], [-1, 1]]).astype(np.float32)  # has mean zero over every area
    large = np.kron(small, np.ones((2, 2), np.float32)) + checkerboard
    first, second = agreeing(tmp_path, "large", lambda _: large), agreeing(tmp_path, "small", lambda _: -small, size=4)
    assert map_correlation(first, second, "paper")["n0"] == pytest.approx([-1, -1])
    assert map_correlation(second, first, "paper")["n1"] == pytest.approx([-1])


def test_the_correlation_with_a_constant_map_is_unknown(tmp_path: Path) -> None:
    first = study(tmp_path, [neuron(0, ("strong",))], maps=lambda _: np.float32(0))
    assert np.isnan(map_correlation(first, first, "paper")["n0"]).all()


def test_pairs_are_matched_by_their_images(tmp_path: Path) -> None:
    first = study(tmp_path, [neuron(0), neuron(1), neuron(2)])
    turned = dataclasses.replace(first.neurons[0], pairs=first.neurons[0].pairs[:0:-1])
    other = tuple(dataclasses.replace(pair, reference="another") for pair in first.neurons[1].pairs)
    second = dataclasses.replace(first, neurons=(dataclasses.replace(first.neurons[1], pairs=other), turned))
    assert common_pairs([first, second]) == {"n0": [(1, 2), (2, 1), (3, 0)]}
    with pytest.raises(ValueError, match="none in common: explain the pairs of one study"):
        common_pairs([first, dataclasses.replace(second, neurons=second.neurons[:1])])


def test_networks_are_compared_each_on_its_own_scale(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    results = [
        agreeing(tmp_path, "first", lambda at: (at + 1) * ramp),
        agreeing(tmp_path, "second", lambda at: 5 * (at + 1) * ramp**2),
        agreeing(tmp_path, "third", lambda at: 7 * (at + 1) * (1 - ramp)),
    ]
    figure = architectures_figure(results, ["one", "two", "three"], method="paper")
    shown = overlays(figure)
    assert [norm.vmax for _, norm in shown] == [1.5, 7.5, 10.5] * 4
    assert [heat.max() for heat, _ in shown] == [2, 10, 14] * 2 + [1, 5, 7] * 2
    assert "n1: rank correlation (1 vs. 2) 1.00, (1 vs. 3) -1.00, (2 vs. 3) -1.00" in texts(figure)
    assert {"network 1: one", "network 2: two", "network 3: three"} <= set(texts(figure))
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel()]
    np.testing.assert_allclose(points(axes), [[1, 1, 1], [-1, -1, -1], [-1, -1, -1]])


def test_figures_of_networks_need_a_name_for_each(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(0)])
    for results, names in (([result], ["one"]), ([result] * 2, ["one"])):
        with pytest.raises(ValueError, match=f"got {len(results)} studies and 1 names"):
            architectures_figure(results, names)


def test_only_pixels_inside_are_compared() -> None:
    first, second = np.random.default_rng(0).random((2, 2, 5, 6)).astype(np.float32)
    inside = np.random.default_rng(1).random((2, 5, 6)) < 0.5
    expected = [
        np.corrcoef(rankdata(a[b]), rankdata(c[b]))[0, 1] for a, b, c in zip(first, inside, second, strict=True)
    ]
    assert pair_correlation(first, second, inside) == pytest.approx(np.mean(expected))
    background = np.where(inside, first, 0), np.where(inside, second, 0)
    assert pair_correlation(*background, inside) == pytest.approx(np.mean(expected))
    assert pair_correlation(*background) > pair_correlation(*background, inside) + 0.2


def test_an_object_is_told_from_a_ground_with_texture() -> None:
    noise = np.random.default_rng(0).integers(-20, 21, (60, 80, 3))
    picture = (np.array([90, 120, 150]) + noise).astype(np.uint8)
    object_ = np.zeros((60, 80), dtype=bool)
    object_[20:45, 30:60] = True
    picture[object_] = 255 - picture[object_]
    found = foreground(picture)
    assert found[object_].mean() > 0.99
    assert found[~object_].mean() < 0.08
    assert foreground(np.full((60, 80, 3), 7, dtype=np.uint8)).all()
