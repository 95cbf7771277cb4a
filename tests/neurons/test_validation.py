import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import within_folds
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import ElasticNet, Lasso, LassoCV, Ridge, RidgeCV
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toys import seeded, small_net, stable_name

from captum_shared import (
    LayerFeatures,
    fit_readout,
    heldout_correlation,
    heldout_null_interval,
    ooc_correlation,
    select_layer,
)
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


@pytest.mark.parametrize("estimator", JOINT, ids=stable_name)
@pytest.mark.parametrize("seed", [0, 5])
def test_equals_scikit_learn(estimator: object, seed: int) -> None:
    features, responses = recording()
    folds = KFold(10, shuffle=True, random_state=seed)
    expected = cross_val_predict(copy.deepcopy(estimator), features, responses, cv=folds)
    given_estimator = None if estimator is DEFAULT else estimator
    result = heldout_correlation(features, responses, estimator=given_estimator, random_state=seed)
    np.testing.assert_allclose(result, within_folds(expected, responses, folds.split(features)), rtol=0, atol=1e-8)
    predicted = cross_validated_prediction(features, responses, estimator=given_estimator, random_state=seed)
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


@pytest.mark.parametrize("estimator", SINGLE, ids=stable_name)
def test_equals_scikit_learn_neuron_by_neuron(estimator: object) -> None:
    features, responses = recording()
    folds = KFold(4, shuffle=True, random_state=1)
    expected = [cross_val_predict(copy.deepcopy(estimator), features, one, cv=folds) for one in responses.T]
    result = heldout_correlation(features, responses, estimator=estimator, cv=4, random_state=1)
    means = within_folds(np.stack(expected, axis=1), responses, folds.split(features))
    np.testing.assert_allclose(result, means, rtol=0, atol=1e-8)


def test_equals_scikit_learn_with_groups() -> None:
    features, responses = recording()
    objects = np.array([f"object {index // 4}" for index in range(60)])
    folds = GroupKFold(5, shuffle=True, random_state=2)
    predicted = cross_val_predict(Ridge(), features, responses, cv=folds, groups=objects)
    expected = within_folds(predicted, responses, folds.split(features, groups=objects))
    for groups in (objects, list(objects)):
        result = heldout_correlation(features, responses, estimator=Ridge(), cv=5, groups=groups, random_state=2)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-8)


SPLITTERS = [
    KFold(4),
    LeaveOneOut(),
    PredefinedSplit(np.arange(60) % 7),
    list(KFold(5, shuffle=True, random_state=9).split(np.empty((60, 1)))),
    list(StratifiedKFold(3).split(np.empty((60, 1)), np.arange(60) < 30)),
]


@pytest.mark.parametrize("cv", SPLITTERS, ids=["KFold", "LeaveOneOut", "PredefinedSplit", "splits", "of categories"])
def test_equals_scikit_learn_with_any_splitter(cv: Any) -> None:
    features, responses = recording()
    expected = cross_val_predict(Ridge(), features, responses, cv=cv)
    for random_state in (0, 1):  # the splitter has its own
        options = {"cv": cv, "estimator": Ridge(), "random_state": random_state}
        np.testing.assert_allclose(cross_validated_prediction(features, responses, **options), expected, rtol=1e-8)
        if not isinstance(cv, LeaveOneOut):
            result = heldout_correlation(features, responses, **options)
            folds = cv if isinstance(cv, list) else cv.split(features)
            np.testing.assert_allclose(result, within_folds(expected, responses, folds), rtol=0, atol=1e-8)


def test_a_splitter_is_handed_the_groups() -> None:
    features, responses = recording()
    objects = np.array([f"object {index % 9}" for index in range(60)])
    for cv in (LeaveOneGroupOut(), GroupKFold(4)):
        predicted = cross_val_predict(Ridge(), features, responses, cv=cv, groups=objects)
        expected = within_folds(predicted, responses, cv.split(features, groups=objects))
        result = heldout_correlation(features, responses, cv=cv, groups=objects, estimator=Ridge())
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-8)
    kept_together = PredefinedSplit(np.arange(60) % 3)  # does not ask for groups, and splits none
    expected = cross_val_predict(Ridge(), features, responses, cv=kept_together)
    result = heldout_correlation(features, responses, cv=kept_together, groups=objects, estimator=Ridge())
    np.testing.assert_allclose(result, within_folds(expected, responses, kept_together.split()), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "cv", [KFold(4), RepeatedKFold(n_splits=5, n_repeats=3, random_state=1), ShuffleSplit(7, random_state=2)], ids=str
)
def test_with_gaps_and_any_number_of_times_held_out(cv: Any) -> None:
    features, responses = recording()
    responses[3:20, 0] = np.nan
    totals, weights = np.zeros(4), np.zeros(4)
    for fitted, held_out in cv.split(features):
        for neuron in range(4):
            seen = fitted[~np.isnan(responses[fitted, neuron])]
            judged = held_out[~np.isnan(responses[held_out, neuron])]
            if len(judged) > 1:
                predicted = Ridge().fit(features[seen], responses[seen, neuron]).predict(features[judged])
                totals[neuron] += (len(judged) - 1) * np.corrcoef(predicted, responses[judged, neuron])[0, 1]
                weights[neuron] += len(judged) - 1
    result = heldout_correlation(features, responses, cv=cv, estimator=Ridge())
    np.testing.assert_allclose(result, totals / weights, rtol=0, atol=1e-8)


def test_folds_that_cannot_be_judged_do_not_count() -> None:
    features, responses = recording(n_neurons=5)
    responses[:, 1] = 0
    responses[:31, 2] = np.nan
    responses[:10, 3] = 3  # constant in the first fold
    result = heldout_correlation(features, responses, cv=KFold(6), estimator=Ridge())
    assert np.isnan(result).tolist() == [False, True, True, False, False]
    predicted = cross_val_predict(Ridge(), features, responses[:, 3], cv=KFold(6))
    within = [np.corrcoef(predicted[one], responses[one, 3])[0, 1] for one in np.arange(60).reshape(6, 10)[1:]]
    assert result[3] == pytest.approx(np.mean(within), abs=1e-8)
    alone = heldout_correlation(features, responses[:, 4], cv=KFold(6), estimator=Ridge())
    np.testing.assert_allclose(alone, result[4:], rtol=0, atol=1e-12)


def test_folds_whose_prediction_is_constant_count_as_zero() -> None:
    features, responses = recording(n_neurons=1)
    features[:40] = 1  # nothing to fit to in the last of three folds
    predicted = cross_val_predict(Ridge(), features, responses, cv=KFold(3))
    last = np.corrcoef(predicted[40:, 0], responses[40:, 0])[0, 1] if np.ptp(predicted[40:]) else 0.0
    assert np.ptp(predicted[:40]) < 30
    result = heldout_correlation(features, responses, cv=KFold(3), estimator=Ridge())
    assert result[0] == pytest.approx(last / 3, abs=1e-12)
    assert heldout_correlation(0 * features, responses, cv=KFold(3), estimator=Ridge()).tolist() == [0]


def test_equals_scikit_learn_with_gaps() -> None:
    features, responses = recording(n_neurons=3)
    gaps = responses.copy()
    gaps[3:20, 0] = np.nan
    gaps[::4, 2] = np.nan
    result = heldout_correlation(features, gaps, estimator=Ridge())
    for neuron in range(3):
        seen = ~np.isnan(gaps[:, neuron])
        predicted = np.empty(60)
        for fitted, held_out in KFold(10, shuffle=True, random_state=0).split(features):
            fitted = fitted[seen[fitted]]
            predicted[held_out] = Ridge().fit(features[fitted], gaps[fitted, neuron]).predict(features[held_out])
        folds = KFold(10, shuffle=True, random_state=0).split(features)
        assert [result[neuron]] == pytest.approx(within_folds(predicted[:, None], gaps[:, [neuron]], folds), abs=1e-8)


def test_images_of_one_group_are_never_split() -> None:
    generator = np.random.default_rng(0)
    features = np.repeat(generator.standard_normal((30, 40)), 4, axis=0)  # four images of each of 30 objects
    responses = np.repeat(generator.standard_normal((30, 5)), 4, axis=0)  # nothing that the features tell
    apart = heldout_correlation(features, responses, estimator=Ridge(0.1), groups=np.arange(120) // 4)
    split = heldout_correlation(features, responses, estimator=Ridge(0.1))
    assert split.min() > 0.9  # known by heart
    assert apart.max() < 0.5


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-10, 10))
@settings(max_examples=10)
def test_units_and_missing_images_do_not_matter(seed: int, scale: float, offset: float) -> None:
    features, responses = recording(30, seed=seed)
    groups = np.arange(30) % 6
    result = heldout_correlation(features, responses, cv=3, groups=groups, random_state=seed)
    rescaled = heldout_correlation(features, offset + scale * responses, cv=3, groups=groups, random_state=seed)
    np.testing.assert_allclose(rescaled, result, rtol=1e-6, atol=1e-6)
    responses[6:10] = np.nan
    left_out = [np.delete(array, range(6, 10), axis=0) for array in (features, responses, groups)]
    with_gaps = heldout_correlation(features, responses, cv=3, groups=groups, random_state=seed)
    without = heldout_correlation(*left_out[:2], cv=3, groups=left_out[2], random_state=seed)
    np.testing.assert_allclose(with_gaps, without, rtol=1e-9, atol=1e-9)


def test_tensors_and_single_neurons_are_alike() -> None:
    features, responses = recording()
    expected = heldout_correlation(features, responses)
    result = heldout_correlation(torch.from_numpy(features).requires_grad_(), torch.from_numpy(responses), groups=None)
    assert torch.equal(result, torch.from_numpy(expected))
    np.testing.assert_allclose(heldout_correlation(features, responses[:, 1]), expected[1:2])
    assert not np.array_equal(heldout_correlation(features, responses, random_state=1), expected)


@pytest.mark.parametrize("estimator", [None, PLSRegression(3), LassoCV(alphas=5)], ids=stable_name)
def test_neurons_that_cannot_be_judged_are_nan_and_change_nothing(estimator: object) -> None:
    features, responses = recording(n_neurons=7)
    expected = heldout_correlation(features, responses[:, :2], estimator=estimator)
    responses[:, 2] = 0
    responses[:, 3] = 3.3
    responses[:, 4] = np.nan
    responses[4:, 5] = np.nan
    responses[:29, 6] = np.nan
    result = heldout_correlation(features, responses, estimator=estimator)
    assert np.isnan(result).tolist() == [False] * 2 + [True] * 4 + [False]
    np.testing.assert_allclose(result[:2], expected, rtol=1e-9, atol=1e-9)


def test_a_neuron_that_answers_one_image_only_does_not_crash() -> None:
    features, responses = recording(n_neurons=2)
    responses[:, 0] = 0
    responses[17, 0] = 9
    predicted = cross_validated_prediction(features, responses)
    held_out = next(test for _, test in KFold(10, shuffle=True, random_state=0).split(features) if 17 in test)
    assert predicted[held_out, 0].tolist() == [0] * 6  # constant where it was fitted
    assert np.isfinite(heldout_correlation(features, responses)).all()


@pytest.mark.parametrize("estimator", [None, Ridge(1e9), Ridge(0.1)], ids=stable_name)
@pytest.mark.parametrize("skewed", [False, True])
def test_of_neurons_that_nothing_predicts_the_correlation_is_zero_on_average(estimator: Any, skewed: bool) -> None:
    generator = np.random.default_rng(0)
    features, responses = generator.standard_normal((100, 20)), generator.standard_normal((100, 400))
    responses = np.exp(responses) if skewed else responses
    result = heldout_correlation(features, responses, estimator=estimator)
    assert result.mean() == pytest.approx(0, abs=4 * 0.15 / np.sqrt(400))  # their standard deviation is 0.15 or less
    pooled = correlation(cross_validated_prediction(features, responses, estimator=estimator), responses)
    assert pooled.mean() < result.mean()


def test_three_images_are_enough_to_fit_and_to_judge() -> None:
    features, responses = recording(6)
    predicted = cross_val_predict(Ridge(), features, responses, cv=KFold(2))
    within = np.array([pearson(predicted[half], responses[half]) for half in (slice(3), slice(3, 6))])
    result = heldout_correlation(features, responses, cv=KFold(2), estimator=Ridge())
    np.testing.assert_allclose(result, within.mean(axis=0), rtol=0, atol=1e-8)
    features, responses = features[:4], responses[:4]
    expected = cross_val_predict(Ridge(), features, responses, cv=LeaveOneOut())
    result = cross_validated_prediction(features, responses, cv=4, estimator=Ridge())  # three are fitted
    np.testing.assert_allclose(result, expected, rtol=1e-8)


def test_tensors_in_tensors_out_and_arrays_in_arrays_out() -> None:
    features, responses = recording(30)
    readout = fit_readout(features, responses)
    for function in (
        heldout_correlation,
        partial(heldout_correlation, cv=4),
        lambda first, second: heldout_null_interval(first, second, cv=3)[1],
        cross_validated_prediction,
        partial(ooc_correlation, readout),
        lambda first, second: correlation(first[:, :4], second),
        lambda first, second: select_layer({"a": first}, second).correlations["a"],
    ):
        of_array = function(torch.from_numpy(features), responses)
        of_tensor = function(features, torch.from_numpy(responses).requires_grad_())
        assert (type(of_array), of_array.dtype) == (np.ndarray, np.float64)
        assert (type(of_tensor), of_tensor.requires_grad) == (torch.Tensor, False)
        assert torch.equal(of_tensor, torch.from_numpy(of_array))
        assert function(features, torch.from_numpy(responses).float()).dtype == torch.float64


@pytest.mark.parametrize(
    ("n_images", "arguments", "text"),
    [
        (8, {}, r"from 2 folds to as many as there are images \(8\), got 10: pass another cv, or more images"),
        (8, {"cv": 1}, "from 2 folds to as many .* got 1"),
        (20, {"groups": np.arange(20) // 4}, r"as there are groups \(5\), got 10: pass another cv, or more groups"),
        (20, {"groups": np.arange(19)}, r"one label for each of 20 images, got shape \(19,\)"),
        (3, {"cv": 3}, "3 or more images to fit to in each of 3 folds, got 2"),
        (9, {"cv": 2, "groups": [0] * 8 + [1]}, "3 or more images to fit to in each of 2 folds, got 1"),
        (
            9,
            {"cv": 2, "groups": [0] * 5 + [1] * 4},
            "2 or more groups to choose penalties by, got . images of one",
        ),
        (
            20,
            {"cv": LeaveOneOut()},
            "2 or more images held out in a fold, .* got 1 in each of 20 folds",
        ),
    ],
)
def test_too_few_images(n_images: int, arguments: dict[str, object], text: str) -> None:
    features, responses = recording(n_images)
    with pytest.raises(ValueError, match=text):
        heldout_correlation(features, responses, **arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"cv": RepeatedKFold(n_splits=5, n_repeats=2)},
            "got 0 images held out in none and 60 in several.*takes any splitter",
        ),
        (
            {"cv": ShuffleSplit(1, test_size=10)},
            "each image to be held out .* got 50 images held out in none",
        ),
        ({"cv": [(range(30), range(30, 59))]}, "got 31 images held out in none and 0 in several: use .* KFold"),
        (
            {"cv": [(range(30), range(29, 60))]},
            "each image to be fitted or held .* 1 in both in fold 0, first .*29",
        ),
        ({"cv": KFold(4), "groups": np.arange(60) // 4}, "each group to be .* got 1 in both .*first .*3.*GroupKFold"),
        ({"cv": "five"}, "as an integer, (a )?cross-validation object"),
    ],
    ids=["repeated", "random", "part", "overlapping", "split groups", "text"],
)
@pytest.mark.usefixtures("as_installed")
def test_folds_that_would_be_silently_wrong_are_refused(arguments: dict[str, Any], text: str) -> None:
    features, responses = recording()
    with pytest.raises(ValueError, match=text):
        cross_validated_prediction(features, responses, **arguments)
    if "held out in" not in text:  # within folds it does not matter how often an image is held out
        for function in (heldout_correlation, heldout_null_interval):
            with pytest.raises(ValueError, match=text):
                function(features, responses, **arguments)
        with pytest.raises(ValueError, match=text):
            select_layer({"a": features}, responses, **arguments)


def test_refusals() -> None:
    features, responses = recording()
    with pytest.raises(ValueError, match="the same images, got 59 and 60 images"):
        heldout_correlation(features[:-1], responses)
    with pytest.raises(ValueError, match="finite responses, got infinity"):
        heldout_correlation(features, np.full(60, np.inf))
    with pytest.raises(ValueError, match="finite features, got NaN or infinity"):
        heldout_correlation(features * np.nan, responses)


def test_generalises_to_other_images() -> None:
    features, responses = recording(80)
    readout = fit_readout(features[:50], responses[:50], estimator=Ridge())
    expected = Ridge().fit(features[:50], responses[:50]).predict(features[50:])
    others = responses[50:].copy()
    np.testing.assert_allclose(ooc_correlation(readout, features[50:], others), pearson(expected, others), atol=1e-8)
    others[::5, 1] = np.nan
    others[:, 2] = np.nan
    others[:, 3] = 1
    result = ooc_correlation(readout, torch.from_numpy(features[50:]).float(), torch.from_numpy(others))
    seen = ~np.isnan(others[:, 1])
    assert result.isnan().tolist() == [False, False, True, True]
    assert result[1].item() == pytest.approx(np.corrcoef(expected[seen, 1], others[seen, 1])[0, 1], abs=1e-6)


def test_a_neuron_without_weights_does_not_generalise_but_is_kept() -> None:
    features, responses = recording()
    responses[:30, 1] = 4
    readout = fit_readout(features[:30], responses[:30])
    read_only = features[30:].copy()
    read_only.flags.writeable = False
    assert np.isnan(ooc_correlation(readout, read_only, responses[30:])).tolist() == [False, True, False, False]


def test_the_layer_that_made_the_responses_is_chosen() -> None:
    features = LayerFeatures(small_net(), ["features.0", "features.1", "features.3"]).compute(seeded(0, 60, 3, 10, 10))
    for layer, values in features.items():
        responses = values[:, :4] + 0.05 * values[:, :4].std() * seeded(1, 60, 4)
        choice = select_layer(features, responses, cv=5, random_state=3)
        assert choice.layer == layer
        for name, others in features.items():
            expected = heldout_correlation(others, responses, cv=5, random_state=3)
            torch.testing.assert_close(choice.correlations[name], expected)
            assert choice.means[name] == pytest.approx(choice.correlations[name].mean().item())


def test_layers_are_compared_on_the_same_folds() -> None:
    features, responses = recording()
    choice = select_layer({"a": features, "b": features}, responses, cv=KFold(5, shuffle=True))  # dealt anew each time
    np.testing.assert_array_equal(choice.correlations["a"], choice.correlations["b"])
    groups = np.arange(60) // 4
    expected = heldout_correlation(features, responses, cv=5, groups=groups, random_state=7, estimator=Ridge())
    choice = select_layer({"a": features}, responses, cv=5, groups=groups, random_state=7, estimator=Ridge())
    np.testing.assert_array_equal(choice.correlations["a"], expected)


def test_layers_are_compared_over_the_same_neurons() -> None:
    features, responses = recording(n_neurons=3)
    responses[:, 2] = np.nan
    layers = {"silent": np.ones((60, 1)), "real": features, "same": features}
    choice = select_layer(layers, responses, estimator=Lasso(1.0))
    assert np.isnan(choice.correlations["real"]).tolist() == [False, False, True]
    assert choice.means["real"] == pytest.approx(choice.correlations["real"][:2].mean().item())
    assert choice.correlations["silent"][:2].tolist() == [0, 0]  # a constant prediction explains nothing
    assert choice.means["silent"] == 0
    assert choice.layer == "real"  # the first of equals
    assert list(choice.means) == list(layers)


def test_no_layer_can_be_chosen() -> None:
    features, _ = recording()
    with pytest.raises(ValueError, match=r"at least one neuron with responses that vary.*see exclusions"):
        select_layer({"a": features}, np.zeros((60, 2)))
    with pytest.raises(ValueError, match="at least one layer, got none"):
        select_layer({}, np.zeros((60, 2)))
