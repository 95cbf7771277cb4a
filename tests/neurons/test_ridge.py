"""One decomposition for all neurons and penalties, against a pipeline of scikit-learn for each fit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from captum_shared import fit_readout, heldout_correlation, select_layer
from captum_shared.neurons import cross_validated_prediction, ridge

Numbers = NDArray[np.float64]


def scikit_learn() -> Pipeline:
    return make_pipeline(
        StandardScaler(), RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True, gcv_mode="svd")
    )


def tall(generator: np.random.Generator) -> Numbers:
    return np.maximum(generator.standard_normal((90, 20)) * np.geomspace(0.1, 10, 20), 0)


def wide(generator: np.random.Generator) -> Numbers:
    return np.maximum(generator.standard_normal((40, 120)) * np.geomspace(0.1, 10, 120), 0)


def square(generator: np.random.Generator) -> Numbers:
    return generator.standard_normal((30, 30))


def almost_square(generator: np.random.Generator) -> Numbers:
    return generator.standard_normal((32, 30))


def rank_deficient(generator: np.random.Generator) -> Numbers:
    return generator.standard_normal((80, 6)) @ generator.standard_normal((6, 30))


def wide_and_rank_deficient(generator: np.random.Generator) -> Numbers:
    return generator.standard_normal((30, 6)) @ generator.standard_normal((6, 70))


def with_constant_features(generator: np.random.Generator) -> Numbers:
    features = tall(generator)
    features[:, 3], features[:, 7], features[:, 9] = 0.1, 0, -1e9
    features[:, 11], features[5, 11] = 0, 1  # and one that a single image has
    return features


def repeated_features(generator: np.random.Generator) -> Numbers:
    return np.repeat(tall(generator), 3, axis=1)


def near_duplicates(generator: np.random.Generator) -> Numbers:
    views = np.repeat(generator.standard_normal((20, 15)), 4, axis=0)
    return views + 1e-9 * generator.standard_normal(views.shape)


def wide_near_duplicates(generator: np.random.Generator) -> Numbers:
    views = np.repeat(generator.standard_normal((12, 60)), 3, axis=0)
    return views + 1e-9 * generator.standard_normal(views.shape)


def far_from_zero(generator: np.random.Generator) -> Numbers:
    return tall(generator) + 1e6


FEATURES = [
    tall,
    wide,
    square,
    almost_square,
    rank_deficient,
    wide_and_rank_deficient,
    with_constant_features,
    repeated_features,
    near_duplicates,
    wide_near_duplicates,
    far_from_zero,
]


def recorded(features: Numbers, generator: np.random.Generator) -> Numbers:
    """Of twelve neurons, from almost without noise to noise alone."""
    driven = features - features.mean(axis=0)
    weight = generator.standard_normal((features.shape[1], 12))
    noise = generator.standard_normal((len(features), 12)) * driven.std() * np.geomspace(0.01, 1000, 12)
    return driven @ weight + noise + 7


@pytest.mark.parametrize("made", FEATURES)
@pytest.mark.parametrize("seed", range(2))
def test_penalties_and_weights_are_those_of_scikit_learn(
    made: Callable[[np.random.Generator], Numbers], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    features = made(generator)
    responses = recorded(features, generator)
    expected = scikit_learn().fit(features, responses)
    decomposed = ridge.DecomposedFeatures(features)
    penalties = decomposed.penalties(responses)
    np.testing.assert_allclose(penalties, expected[-1].alpha_, rtol=1e-14)
    assert len(np.unique(penalties)) > 2
    readout = fit_readout(features, responses)
    weight = expected[-1].coef_ / expected[0].scale_
    largest = np.abs(weight).max(axis=1, keepdims=True)
    np.testing.assert_allclose(readout.weight.numpy() / largest, weight / largest, rtol=0, atol=1e-8)
    fresh = features[::-1] + 0.1 * features.std(axis=0) * generator.standard_normal(features.shape)
    predicted = readout(torch.from_numpy(fresh)).numpy()
    scale = responses.std(axis=0)
    np.testing.assert_allclose(predicted / scale, expected.predict(fresh) / scale, rtol=0, atol=1e-8)


@pytest.mark.parametrize("made", FEATURES)
def test_held_out_predictions_are_those_of_a_pipeline_in_every_fold(
    made: Callable[[np.random.Generator], Numbers],
) -> None:
    generator = np.random.default_rng(2)
    features = made(generator)
    responses = recorded(features, generator)
    responses[3:9, [1, 5]] = np.nan
    responses[::4, 2] = np.nan
    expected = np.empty_like(responses)
    for images, held_out in KFold(5, shuffle=True, random_state=0).split(features):
        for neuron, response in enumerate(responses.T):
            seen = images[~np.isnan(response[images])]
            fitted = scikit_learn().fit(features[seen], response[seen])
            expected[held_out, neuron] = fitted.predict(features[held_out])
    scale = np.nanstd(responses, axis=0)
    predicted = cross_validated_prediction(features, responses, cv=5)
    np.testing.assert_allclose(predicted / scale, expected / scale, rtol=0, atol=1e-8)


@pytest.mark.parametrize("made", [tall, wide, rank_deficient, wide_near_duplicates])
def test_errors_of_images_left_out_are_those_of_fits_without_them(
    made: Callable[[np.random.Generator], Numbers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The definition: another fit without each group, for every penalty."""
    generator = np.random.default_rng(3)
    features = made(generator)
    responses = recorded(features, generator)
    standardised = StandardScaler().fit_transform(features)
    for labels in (np.arange(len(features)), generator.integers(0, 5, len(features))):
        errors = np.zeros((17, 12))
        for label in np.unique(labels):
            seen = labels != label
            inputs, outputs = standardised[seen], responses[seen]
            products = (inputs - inputs.mean(axis=0)) @ (inputs - inputs.mean(axis=0)).T
            for row, penalty in enumerate(np.logspace(-2, 6, 17)):
                dual = np.linalg.solve(products + penalty * np.eye(len(inputs)), outputs - outputs.mean(axis=0))
                weight = (inputs - inputs.mean(axis=0)).T @ dual
                predicted = (standardised[~seen] - inputs.mean(axis=0)) @ weight + outputs.mean(axis=0)
                errors[row] += ((responses[~seen] - predicted) ** 2).sum(axis=0)
        expected = np.logspace(-2, 6, 17)[np.argmin(errors, axis=0)]
        for block in (2**22, 100, 1):
            monkeypatch.setattr(ridge, "_BLOCK", block)
            decomposed = ridge.DecomposedFeatures(features)
            np.testing.assert_allclose(decomposed.penalties(responses, labels), expected, rtol=1e-14)
            if label == len(features) - 1:
                np.testing.assert_allclose(decomposed.penalties(responses), expected, rtol=1e-14)


@pytest.mark.parametrize("made", [tall, wide])
def test_blocks_change_nothing_and_the_features_stay_as_they_are(
    made: Callable[[np.random.Generator], Numbers], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(4)
    features = made(generator)
    responses = recorded(features, generator)
    before = features.copy()
    expected = fit_readout(features, responses)
    for block in (1, 150, 1000):
        monkeypatch.setattr(ridge, "_BLOCK", block)
        readout = fit_readout(features, responses)
        largest = expected.weight.abs().amax(dim=1, keepdim=True)
        torch.testing.assert_close(readout.weight / largest, expected.weight / largest, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(features, before)
    order = np.asfortranarray(features)
    torch.testing.assert_close(fit_readout(order, responses).bias, expected.bias, rtol=1e-10, atol=1e-10)


def test_features_on_disk_are_read() -> None:
    generator = np.random.default_rng(5)
    features = tall(generator).astype(np.float32)
    responses = recorded(features, generator)
    expected, judged = fit_readout(features, responses, center=True), heldout_correlation(features, responses, cv=4)
    stored = zarr.array(features, chunks=(16, 20))
    readout = fit_readout(stored, responses, center=True)
    for name in ("weight", "bias", "feature_mean"):
        torch.testing.assert_close(getattr(readout, name), getattr(expected, name), rtol=0, atol=0)
    np.testing.assert_array_equal(heldout_correlation(stored, responses, cv=4), judged)
    assert select_layer({"one": stored}, responses, cv=4).means["one"] == pytest.approx(judged.mean(), abs=1e-12)
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="finite features, got NaN or infinity 1 times, first at row 3, column 2"):
        fit_readout(zarr.array(features), responses)


def test_features_that_do_not_vary_tell_nothing() -> None:
    responses = np.random.default_rng(0).standard_normal((20, 3))
    for n_features in (2, 40):
        readout = fit_readout(np.full((20, n_features), 0.1), responses)
        np.testing.assert_allclose(readout.weight, 0, atol=1e-12)
        np.testing.assert_allclose(readout.bias, responses.mean(axis=0), atol=1e-12)


def test_every_set_of_images_is_decomposed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many neurons are recorded for it."""
    shapes: list[tuple[int, ...]] = []
    decompose = np.linalg.eigh

    def counted(matrix: Numbers) -> object:
        shapes.append(matrix.shape)
        return decompose(matrix)

    monkeypatch.setattr(np.linalg, "eigh", counted)
    generator = np.random.default_rng(0)
    features = generator.standard_normal((60, 8))
    responses = generator.standard_normal((60, 300))
    responses[:3, 100:] = np.nan
    heldout_correlation(features, responses, cv=4)
    assert shapes == [(8, 8)] * 8  # two patterns in each of four folds
