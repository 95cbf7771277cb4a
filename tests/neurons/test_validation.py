import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import ElasticNet, Lasso, LassoCV, LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toys import seeded, small_net

from captum_shared import LayerFeatures, cross_validate, fit_readout, generalise, select_layer
from captum_shared.neurons.encoding import correlation
from captum_shared.neurons.validation import cross_validated_prediction


def recording(n_images: int = 60, n_features: int = 8, n_neurons: int = 4, seed: int = 0) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    features = np.maximum(generator.standard_normal((n_images, n_features)) * np.geomspace(0.3, 3, n_features), 0)
    weight = generator.standard_normal((n_features, n_neurons))
    return features, features @ weight + 5 + 2 * generator.standard_normal((n_images, n_neurons))


def pearson(predicted: np.ndarray, recorded: np.ndarray) -> list[float]:
    return [np.corrcoef(one, other)[0, 1] for one, other in zip(predicted.T, recorded.T, strict=True)]


DEFAULT = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True))
JOINT = [DEFAULT, PLSRegression(2), PLSRegression(2, scale=False), ElasticNet(0.1), make_pipeline(PCA(4), Ridge())]
SINGLE = [Lasso(0.1), LassoCV(alphas=5), make_pipeline(StandardScaler(), LassoCV(alphas=5))]


def named(estimator: object) -> str:
    return "".join(repr(estimator).split())[:40]


@pytest.mark.parametrize("estimator", JOINT, ids=named)
@pytest.mark.parametrize("seed", [0, 5])
def test_equals_scikit_learn(estimator: object, seed: int) -> None:
    features, responses = recording()
    folds = KFold(10, shuffle=True, random_state=seed)
    expected = cross_val_predict(copy.deepcopy(estimator), features, responses, cv=folds)
    given_estimator = None if estimator is DEFAULT else estimator
    result = cross_validate(features, responses, estimator=given_estimator, seed=seed)
    np.testing.assert_allclose(result, pearson(expected, responses), rtol=0, atol=1e-8)
    predicted = cross_validated_prediction(features, responses, estimator=given_estimator, seed=seed)
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


@pytest.mark.parametrize("estimator", SINGLE, ids=named)
def test_equals_scikit_learn_neuron_by_neuron(estimator: object) -> None:
    features, responses = recording()
    folds = KFold(4, shuffle=True, random_state=1)
    expected = [cross_val_predict(copy.deepcopy(estimator), features, one, cv=folds) for one in responses.T]
    result = cross_validate(features, responses, estimator=estimator, folds=4, seed=1)
    np.testing.assert_allclose(result, pearson(np.stack(expected, axis=1), responses), rtol=0, atol=1e-8)


def test_equals_scikit_learn_with_groups() -> None:
    features, responses = recording()
    objects = np.array([f"object {index // 4}" for index in range(60)])
    folds = GroupKFold(5, shuffle=True, random_state=2)
    expected = cross_val_predict(Ridge(), features, responses, cv=folds, groups=objects)
    for groups in (objects, list(objects)):
        result = cross_validate(features, responses, estimator=Ridge(), folds=5, groups=groups, seed=2)
        np.testing.assert_allclose(result, pearson(expected, responses), rtol=0, atol=1e-8)


def test_equals_scikit_learn_with_gaps() -> None:
    features, responses = recording(n_neurons=3)
    gaps = responses.copy()
    gaps[3:20, 0] = np.nan
    gaps[::4, 2] = np.nan
    result = cross_validate(features, gaps, estimator=Ridge())
    for neuron in range(3):
        seen = ~np.isnan(gaps[:, neuron])
        predicted = np.empty(60)
        for fitted, held_out in KFold(10, shuffle=True, random_state=0).split(features):
            fitted = fitted[seen[fitted]]
            predicted[held_out] = Ridge().fit(features[fitted], gaps[fitted, neuron]).predict(features[held_out])
        expected = np.corrcoef(predicted[seen], gaps[seen, neuron])[0, 1]
        assert result[neuron].item() == pytest.approx(expected, abs=1e-8)


def test_images_of_one_group_are_never_split() -> None:
    generator = np.random.default_rng(0)
    features = np.repeat(generator.standard_normal((30, 40)), 4, axis=0)  # four images of each of 30 objects
    responses = np.repeat(generator.standard_normal((30, 5)), 4, axis=0)  # nothing that the features tell
    apart = cross_validate(features, responses, estimator=Ridge(0.1), groups=np.arange(120) // 4)
    split = cross_validate(features, responses, estimator=Ridge(0.1))
    assert split.min() > 0.9  # known by heart
    assert apart.max() < 0.5


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-10, 10))
@settings(max_examples=10)
def test_units_and_missing_images_do_not_matter(seed: int, scale: float, offset: float) -> None:
    features, responses = recording(30, seed=seed)
    groups = np.arange(30) % 6
    result = cross_validate(features, responses, folds=3, groups=groups, seed=seed)
    rescaled = cross_validate(features, offset + scale * responses, folds=3, groups=groups, seed=seed)
    torch.testing.assert_close(rescaled, result, rtol=1e-6, atol=1e-6)
    responses[6:10] = np.nan
    left_out = [np.delete(array, range(6, 10), axis=0) for array in (features, responses, groups)]
    with_gaps = cross_validate(features, responses, folds=3, groups=groups, seed=seed)
    without = cross_validate(*left_out[:2], folds=3, groups=left_out[2], seed=seed)
    torch.testing.assert_close(with_gaps, without, rtol=1e-9, atol=1e-9)


def test_tensors_and_single_neurons_are_alike() -> None:
    features, responses = recording()
    expected = cross_validate(features, responses)
    result = cross_validate(torch.from_numpy(features).requires_grad_(), torch.from_numpy(responses), groups=None)
    assert torch.equal(result, expected)
    torch.testing.assert_close(cross_validate(features, responses[:, 1]), expected[1:2])
    assert not torch.equal(cross_validate(features, responses, seed=1), expected)


@pytest.mark.parametrize("estimator", [None, PLSRegression(3), LassoCV(alphas=5)], ids=named)
def test_neurons_that_cannot_be_judged_are_nan_and_change_nothing(estimator: object) -> None:
    features, responses = recording(n_neurons=7)
    expected = cross_validate(features, responses[:, :2], estimator=estimator)
    responses[:, 2] = 0
    responses[:, 3] = 3.3
    responses[:, 4] = np.nan
    responses[4:, 5] = np.nan
    responses[:29, 6] = np.nan
    result = cross_validate(features, responses, estimator=estimator)
    assert result.isnan().tolist() == [False] * 2 + [True] * 4 + [False]
    torch.testing.assert_close(result[:2], expected, rtol=1e-9, atol=1e-9)


def test_a_neuron_that_answers_one_image_only_does_not_crash() -> None:
    features, responses = recording(n_neurons=2)
    responses[:, 0] = 0
    responses[17, 0] = 9
    predicted = cross_validated_prediction(features, responses)
    held_out = next(test for _, test in KFold(10, shuffle=True, random_state=0).split(features) if 17 in test)
    assert predicted[held_out, 0].tolist() == [0] * 6  # constant where it was fitted
    assert cross_validate(features, responses).isfinite().all()


def test_the_bias_of_pooling_is_as_stated() -> None:
    generator = np.random.default_rng(0)
    responses = generator.standard_normal((400, 200))
    features = np.ones((400, 1))
    predicted = cross_val_predict(DummyRegressor(), features, responses, cv=KFold(10, shuffle=True, random_state=0))
    result = cross_validate(features, responses, estimator=LinearRegression())
    np.testing.assert_allclose(result, pearson(predicted, responses), atol=1e-8)
    assert result.mean().item() == pytest.approx(-np.sqrt(9 / 399), abs=0.01)
    assert result.max() < 0


@pytest.mark.parametrize(
    ("n_images", "arguments", "text"),
    [
        (8, {}, r"from 2 folds to as many as there are images \(8\), got 10: pass other folds, or more images"),
        (8, {"folds": 1}, "from 2 folds to as many .* got 1"),
        (20, {"groups": np.arange(20) // 4}, r"as there are groups \(5\), got 10: pass other folds, or more groups"),
        (20, {"groups": np.arange(19)}, r"one label for each of 20 images, got shape \(19,\)"),
        (3, {"folds": 3}, "3 or more images to fit to in each of 3 folds, got 2"),
        (9, {"folds": 2, "groups": [0] * 8 + [1]}, "3 or more images to fit to in each of 2 folds, got 1"),
    ],
)
def test_too_few_images(n_images: int, arguments: dict[str, object], text: str) -> None:
    features, responses = recording(n_images)
    with pytest.raises(ValueError, match=text):
        cross_validate(features, responses, **arguments)


def test_refusals() -> None:
    features, responses = recording()
    with pytest.raises(ValueError, match="the same images, got 59 and 60 images"):
        cross_validate(features[:-1], responses)
    with pytest.raises(ValueError, match="finite responses, got infinity"):
        cross_validate(features, np.full(60, np.inf))
    with pytest.raises(ValueError, match="finite features, got NaN or infinity"):
        cross_validate(features * np.nan, responses)


def test_generalises_to_other_images() -> None:
    features, responses = recording(80)
    readout = fit_readout(features[:50], responses[:50], estimator=Ridge())
    expected = Ridge().fit(features[:50], responses[:50]).predict(features[50:])
    others = responses[50:].copy()
    np.testing.assert_allclose(generalise(readout, features[50:], others), pearson(expected, others), atol=1e-8)
    others[::5, 1] = np.nan
    others[:, 2] = np.nan
    others[:, 3] = 1
    result = generalise(readout, torch.from_numpy(features[50:]).float(), torch.from_numpy(others))
    seen = ~np.isnan(others[:, 1])
    assert result.isnan().tolist() == [False, False, True, True]
    assert result[1].item() == pytest.approx(np.corrcoef(expected[seen, 1], others[seen, 1])[0, 1], abs=1e-6)


def test_a_neuron_without_weights_does_not_generalise_but_is_kept() -> None:
    features, responses = recording()
    responses[:30, 1] = 4
    readout = fit_readout(features[:30], responses[:30])
    read_only = features[30:].copy()
    read_only.flags.writeable = False
    assert generalise(readout, read_only, responses[30:]).isnan().tolist() == [False, True, False, False]


def test_the_layer_that_made_the_responses_is_chosen() -> None:
    features = LayerFeatures(small_net(), ["features.0", "features.1", "features.3"]).compute(seeded(0, 60, 3, 10, 10))
    for layer, values in features.items():
        responses = values[:, :4] + 0.05 * values[:, :4].std() * seeded(1, 60, 4)
        choice = select_layer(features, responses, folds=5, seed=3)
        assert choice.layer == layer
        for name, others in features.items():
            torch.testing.assert_close(choice.correlations[name], cross_validate(others, responses, folds=5, seed=3))
            assert choice.means[name] == pytest.approx(choice.correlations[name].mean().item())


def test_layers_are_compared_over_the_same_neurons() -> None:
    features, responses = recording(n_neurons=3)
    responses[:, 2] = np.nan
    layers = {"silent": np.ones((60, 1)), "real": features, "same": features}
    choice = select_layer(layers, responses, estimator=Lasso(1.0))
    assert choice.correlations["real"].isnan().tolist() == [False, False, True]
    assert choice.means["real"] == pytest.approx(choice.correlations["real"][:2].mean().item())
    assert choice.means["silent"] == pytest.approx(correlation_of_means(responses[:, :2]))
    assert choice.layer == "real"  # the first of equals
    assert list(choice.means) == list(layers)


def correlation_of_means(responses: np.ndarray) -> float:
    folds = KFold(10, shuffle=True, random_state=0)
    predicted = cross_val_predict(DummyRegressor(), np.ones((len(responses), 1)), responses, cv=folds)
    return correlation(predicted, responses).mean().item()


def test_a_layer_whose_prediction_is_constant_counts_as_zero() -> None:
    features = np.linspace(-1, 1, 12)[:, None]
    responses = 3 * features
    groups = np.repeat([0, 1], 6)
    choice = select_layer({"a": features, "b": 0 * features}, np.tile(responses[6:], (2, 1)), folds=2, groups=groups)
    assert choice.correlations["b"].isnan().all()  # both halves have one mean
    assert choice.means["b"] == 0


def test_no_layer_can_be_chosen() -> None:
    features, _ = recording()
    with pytest.raises(ValueError, match=r"at least one neuron with responses that vary.*see exclusions"):
        select_layer({"a": features}, np.zeros((60, 2)))
    with pytest.raises(ValueError, match="at least one layer, got none"):
        select_layer({}, np.zeros((60, 2)))
