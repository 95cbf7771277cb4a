"""The interval that chance alone gives, against permutations in a slow loop and by its error rate."""

import numpy as np
import pytest
import torch
from oracles import within_folds
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from captum_shared import heldout_correlation, heldout_null_interval, null_interval
from captum_shared.neurons.permutations import heldout_against_chance


def unrelated(n_images: int, n_neurons: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = np.maximum(generator.standard_normal((n_images, 12)) * np.geomspace(0.3, 3, 12), 0)
    return features, generator.poisson(np.exp(generator.standard_normal((n_images, n_neurons)))).astype(float)


@pytest.mark.parametrize("folds", [3, 6])
def test_one_in_twenty_neurons_that_nothing_predicts_lies_outside(folds: int) -> None:
    n_neurons, outside, above = 250, 0, 0
    for seed in range(2):
        features, responses = unrelated(60, n_neurons, seed)
        r = heldout_correlation(features, responses, cv=folds)
        low, high = heldout_null_interval(features, responses, cv=folds)
        above += int((r > high).sum())
        outside += int(((r > high) | (r < low)).sum())
    assert outside / 500 == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 500))
    assert above / 500 == pytest.approx(0.025, abs=4 * np.sqrt(0.025 * 0.975 / 500))


def test_it_is_that_of_permutations_in_a_loop_and_wider_than_without_the_fits() -> None:
    features, responses = unrelated(60, 1)
    generator, folds, chance = np.random.default_rng(7), KFold(5, shuffle=True, random_state=0), []
    for _ in range(200):
        dealt = generator.permutation(responses)
        predicted = cross_val_predict(Ridge(50), features, dealt, cv=folds).reshape(60, 1)
        chance += within_folds(predicted, dealt, folds.split(features))
    low, high = heldout_null_interval(features, responses, cv=5, estimator=Ridge(50))
    error = 4 * np.std(chance) * np.sqrt(0.025 * 0.975 * (1 / 200 + 1 / 1000)) / 0.058  # by a normal's density there
    assert [low[0], high[0]] == pytest.approx(np.quantile(chance, [0.025, 0.975]), abs=error)
    assert high[0] > 1.1 * null_interval(60)[1]


def test_images_of_one_group_stay_alike() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(120) // 4
    features = np.repeat(generator.standard_normal((30, 6)), 4, axis=0)
    responses = np.repeat(generator.standard_normal((30, 500)), 4, axis=0)  # nothing that the features tell
    options = {"cv": GroupKFold(5), "groups": labels, "estimator": Ridge()}
    r = heldout_correlation(features, responses, **options)
    low, high = heldout_null_interval(features, responses, **options)
    assert np.mean((r < low) | (r > high)) == pytest.approx(0.05, abs=0.04)
    alone, _ = heldout_null_interval(features, responses, cv=GroupKFold(5).split(features, groups=labels))
    assert (low < 1.3 * alone).all()  # the images of a group are no independent ones


def test_neurons_recorded_for_fewer_images_have_wider_intervals() -> None:
    features, responses = unrelated(60, 4)
    responses[::2, 1] = np.nan
    responses[:, 2] = 0
    responses[:40, 3] = np.nan
    low, high = heldout_null_interval(features, torch.from_numpy(responses), cv=5)
    assert low.isnan().tolist() == high.isnan().tolist() == [False, False, True, True]
    seen = [np.bincount(np.flatnonzero(~np.isnan(responses[:, k])), minlength=60) for k in (0, 1)]
    freedom = [
        sum(max(count[held_out].sum() - 1, 0) for _, held_out in KFold(5, shuffle=True, random_state=0).split(features))
        for count in seen
    ]
    assert (high[1] / high[0]).item() == pytest.approx((freedom[0] / freedom[1]) ** 0.5)
    assert (low[1] / low[0]).item() == pytest.approx((freedom[0] / freedom[1]) ** 0.5)
    none = heldout_null_interval(features, np.zeros((60, 2)))
    assert np.isnan(none).all()


def test_it_is_the_same_each_time_and_in_any_unit() -> None:
    features, responses = unrelated(30, 3)
    first, again = (heldout_null_interval(features, responses, cv=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(heldout_null_interval(features, 7 + 3 * responses, cv=3), first, atol=1e-6)
    assert not np.array_equal(heldout_null_interval(features, responses, cv=3, random_state=1), first)


def test_together_they_are_as_each_alone_from_one_fit_in_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    features, responses = unrelated(60, 4)
    responses[:, 1] += 3 * features[:, 0]
    responses[::2, 2] = np.nan
    responses[:, 3] = 0
    expected = [
        heldout_correlation(features, responses, cv=4, random_state=3),
        *heldout_null_interval(features, responses, cv=4, random_state=3),
    ]
    decompositions, decompose = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: decompositions.append(len(matrix)) or decompose(matrix))
    together = heldout_against_chance(features, torch.from_numpy(responses), cv=4, random_state=3)
    for one, other in zip(together, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=0, atol=1e-10)
    assert decompositions == [12] * 8  # of all images and of every second one, in each fold
