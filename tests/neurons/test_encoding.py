import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn import linear_model
from sklearn.cross_decomposition import PLSRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR
from toys import stable_name

from captum_shared import LinearReadout, heldout_correlation
from captum_shared.neurons.encoding import correlation, fit_readout
from captum_shared.neurons.fitting import varies

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from himalaya import backend as himalaya_backend
    from himalaya import ridge as himalaya


def recording(n_images=60, n_features=8, n_neurons=3, noise=0.5):
    generator = np.random.default_rng(0)
    features = np.maximum(generator.standard_normal((n_images, n_features)) * np.geomspace(0.1, 10, n_features), 0)
    weight = generator.standard_normal((n_neurons, n_features)) / np.geomspace(0.1, 10, n_features)
    return features, features @ weight.T + 5 + noise * generator.standard_normal((n_images, n_neurons)), weight


def test_default_is_ridge_with_one_strength_per_neuron():
    features, responses, _ = recording()
    readout = fit_readout(features, responses)
    for neuron in range(3):
        alone = make_pipeline(StandardScaler(), linear_model.RidgeCV(alphas=np.logspace(-2, 6, 17)))
        expected = alone.fit(features, responses[:, neuron]).predict(features)
        np.testing.assert_allclose(readout(torch.from_numpy(features))[:, neuron], expected, rtol=1e-8)


def test_planted_weights_are_found():
    features, responses, weight = recording(noise=1e-4)
    readout = fit_readout(features, responses)
    np.testing.assert_allclose(readout.weight, weight, rtol=5e-3, atol=5e-3)
    np.testing.assert_allclose(readout.bias, 5, rtol=5e-3)


def test_noise_is_shrunk_and_signal_is_not():
    features, responses, _ = recording()
    noise = np.random.default_rng(5).standard_normal(len(features))
    readout = fit_readout(features, np.stack([responses[:, 0], noise], axis=1))
    spread = readout(torch.from_numpy(features)).std(dim=0) / torch.tensor([responses[:, 0].std(), noise.std()])
    assert spread[0] > 0.9
    assert spread[1] < 0.5


def test_tensors_arrays_and_single_neurons_are_alike():
    features, responses, _ = recording()
    expected = fit_readout(features, responses)
    tensors = fit_readout(torch.from_numpy(features).requires_grad_(), torch.from_numpy(responses).requires_grad_())
    one = fit_readout(features, responses[:, 1])
    torch.testing.assert_close(tensors.weight, expected.weight, rtol=0, atol=0)
    torch.testing.assert_close(one.weight, expected.weight[1:2])
    assert fit_readout(torch.from_numpy(features).bfloat16(), responses).weight.dtype == torch.float64


def test_centering_sets_the_mean_and_nothing_else():
    features, responses, _ = recording()
    plain, centered = fit_readout(features, responses), fit_readout(features, responses, center=True)
    np.testing.assert_array_equal(centered.feature_mean, features.mean(axis=0))
    np.testing.assert_array_equal(plain.feature_mean, np.zeros(8))
    torch.testing.assert_close(plain.weight, centered.weight, rtol=0, atol=0)
    torch.testing.assert_close(plain.bias, centered.bias, rtol=0, atol=0)


def test_names_carry_over():
    features, responses, _ = recording()
    assert fit_readout(features, responses, neuron_names=["a", "b", "c"]).neuron_names == ("a", "b", "c")


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.Ridge(),
        linear_model.MultiTaskLasso(alpha=0.1),
        PLSRegression(n_components=2),
        himalaya.RidgeCV(fit_intercept=True),
        make_pipeline(StandardScaler(), himalaya.Ridge()),
        GridSearchCV(make_pipeline(StandardScaler(), linear_model.Ridge()), {"ridge__alpha": [0.1, 10]}),
    ],
    ids=stable_name,
)
def test_estimators_for_many_neurons(estimator):
    features, responses, _ = recording()
    before = copy.deepcopy(estimator)
    readout = fit_readout(features, responses, estimator=estimator)
    assert vars(estimator).keys() == vars(before).keys()  # a clone was fitted
    expected = before.fit(features, responses).predict(features)
    np.testing.assert_allclose(readout(torch.from_numpy(features)), expected, rtol=1e-8)


@pytest.mark.parametrize(
    "estimator",
    [
        LinearSVR(random_state=0, max_iter=100_000),
        linear_model.BayesianRidge(),
        make_pipeline(StandardScaler(), linear_model.LassoCV(alphas=5)),
        GridSearchCV(
            make_pipeline(StandardScaler(), linear_model.BayesianRidge()), {"bayesianridge__alpha_1": [0.1, 1]}
        ),
    ],
    ids=stable_name,
)
def test_estimators_for_one_neuron_are_fitted_neuron_by_neuron(estimator):
    features, responses, _ = recording()
    readout = fit_readout(features, responses, estimator=estimator)
    predicted = readout(torch.from_numpy(features))
    for neuron in range(3):
        expected = copy.deepcopy(estimator).fit(features, responses[:, neuron]).predict(features)
        np.testing.assert_allclose(predicted[:, neuron], expected, rtol=1e-8)
    one = fit_readout(features, responses[:, 0], estimator=estimator)
    torch.testing.assert_close(one.weight, readout.weight[:1])


def test_himalaya_with_its_torch_backend():
    """As on a GPU, but for the device."""
    features, responses, _ = recording()
    estimator = make_pipeline(StandardScaler(), himalaya.RidgeCV(alphas=[0.1, 10, 1000], fit_intercept=True))
    expected = fit_readout(features, responses, estimator=estimator)
    judged = heldout_correlation(features, responses, estimator=estimator, cv=4)
    before = himalaya_backend.get_backend()
    try:
        himalaya_backend.set_backend("torch")
        readout = fit_readout(features, responses, estimator=estimator)
        again = heldout_correlation(features, responses, estimator=estimator, cv=4)
    finally:
        himalaya_backend.set_backend(before)
    torch.testing.assert_close(readout.weight, expected.weight, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(again, judged, rtol=0, atol=1e-8)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_silent_neurons_and_constant_features(value):
    features, responses, _ = recording()
    features[:, 2], responses[:, 1] = 7.0, value
    readout = fit_readout(features, responses, center=True)
    assert readout.weight[1].tolist() == [0] * 8
    assert readout.bias[1].item() == value
    assert readout.weight[[0, 2]][:, 2].abs().max() < 1e-12
    alone = fit_readout(features, responses[:, 1])
    assert (alone.weight.abs().sum().item(), alone.bias.tolist()) == (0, [value])
    assert fit_readout(np.ones((5, 2)), np.arange(5.0)).bias.item() == pytest.approx(2)


def test_more_features_than_images():
    features, responses, _ = recording(n_images=12, n_features=50)
    expected = linear_model.RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True)
    expected = make_pipeline(StandardScaler(), expected).fit(features, responses).predict(features[:5] / 2)
    np.testing.assert_allclose(
        fit_readout(features, responses)(torch.from_numpy(features[:5] / 2)), expected, rtol=1e-8
    )


@pytest.mark.parametrize("order", ["C", "F"])
def test_complete_responses_are_one_fit_to_the_last_bit(order):
    features, responses = (np.asarray(array, order=order) for array in recording(n_neurons=40)[:2])
    for estimator in (linear_model.Ridge(), PLSRegression(2)):
        expected = LinearReadout.from_estimator(copy.deepcopy(estimator).fit(features, responses))
        readout = fit_readout(features, responses, estimator=estimator)
        assert torch.equal(readout.weight, expected.weight)
        assert torch.equal(readout.bias, expected.bias)


def with_gaps():
    """Neurons 0 and 3 lack the same images, 1 lacks others, 2 none."""
    features, responses, _ = recording(n_neurons=4)
    responses[5:20, [0, 3]] = np.nan
    responses[::3, 1] = np.nan
    return features, responses, [[0, 3], [1], [2]]


@pytest.mark.parametrize(
    "estimator",
    [None, PLSRegression(2), linear_model.LassoCV(alphas=5), linear_model.MultiTaskElasticNet(alpha=0.1)],
    ids=stable_name,
)
def test_neurons_are_fitted_to_the_images_recorded_for_them(estimator):
    features, responses, together = with_gaps()
    readout = fit_readout(features, responses, estimator=estimator, center=True)
    for neurons in together:
        seen = ~np.isnan(responses[:, neurons[0]])
        alone = fit_readout(features[seen], responses[seen][:, neurons], estimator=estimator)
        torch.testing.assert_close(readout.weight[neurons], alone.weight, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(readout.bias[neurons], alone.bias, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(readout.feature_mean, features.mean(axis=0))


def test_neurons_that_lack_the_same_images_are_one_fit():
    features, responses, _ = with_gaps()
    fits = []

    class Counted(linear_model.Ridge):
        def fit(self, inputs, outputs):
            fits.append(outputs.shape)
            return super().fit(inputs, outputs)

    fit_readout(features, responses, estimator=Counted())
    assert fits == [(45, 2), (40, 1), (60, 1)]


@pytest.mark.parametrize("estimator", [None, PLSRegression(5), linear_model.LassoCV(alphas=5)], ids=stable_name)
def test_neurons_that_cannot_be_fitted_are_kept_with_their_mean(estimator):
    features, responses, _ = recording(n_neurons=6)
    responses[:, 0] = np.nan
    responses[:, 1], responses[7:, 1] = 0.1, np.nan
    responses[2:, 2], responses[:2, 2] = np.nan, [3, 4]
    responses[1:, 3] = np.nan
    responses[:, 4] = 0
    readout = fit_readout(features, responses, estimator=estimator)
    assert readout.weight[:5].abs().sum() == 0
    assert readout.bias[:5].tolist() == [0, 0.1, 3.5, responses[0, 3], 0]
    alone = fit_readout(features, responses[:, 5], estimator=estimator)
    torch.testing.assert_close(readout.weight[5:], alone.weight, rtol=1e-12, atol=1e-12)
    none = fit_readout(features, responses[:, :5], estimator=estimator, neuron_names=list("abcde"))
    assert none.weight.abs().sum() == 0
    assert none.bias.tolist() == readout.bias[:5].tolist()
    assert none.neuron_names == tuple("abcde")


@pytest.mark.parametrize(
    ("features", "responses", "text"),
    [
        (np.ones((4, 2)), np.ones(5), "same 3 or more images, got 4 and 5 images"),
        (np.ones((2, 2)), np.ones(2), "same 3 or more images, got 2 and 2 images"),
        (np.ones(4), np.ones(4), r"features of shape \(image, feature\), none of them empty, got \(4,\)"),
        (np.ones((4, 0)), np.ones(4), r"features of shape .*got \(4, 0\)"),
        (np.ones((4, 2, 1)), np.ones(4), r"features of shape .*got \(4, 2, 1\)"),
        (np.ones((4, 2)), np.ones((4, 2, 1)), r"responses of shape \(image, neuron\).*got \(4, 2, 1\)"),
        (
            np.array([[1, 2], [3, np.nan], [4, np.inf]]),
            np.ones(3),
            "finite features, .* 2 times, first at row 1, column 1",
        ),
        (
            np.ones((3, 2)),
            np.array([np.nan, np.inf, 2]),
            "finite responses, got infinity 1 times, first at row 1, column 0: write NaN where nothing was recorded",
        ),
    ],
)
def test_wrong_recordings(features, responses, text):
    with pytest.raises(ValueError, match=text):
        fit_readout(features, responses)


def test_three_images_are_enough_to_fit():
    features, responses, _ = recording(n_images=9)
    expected = linear_model.Ridge().fit(features[:3], responses[:3])
    readout = fit_readout(features[:3], responses[:3], estimator=linear_model.Ridge())
    np.testing.assert_allclose(readout.weight, expected.coef_, rtol=1e-8)
    responses[3:, 1], responses[2:, 2] = np.nan, np.nan
    readout = fit_readout(features, responses, estimator=linear_model.Ridge())
    np.testing.assert_allclose(readout.weight[1], expected.coef_[1], rtol=1e-8)
    assert readout.weight[2].abs().sum() == 0  # two are not


@pytest.mark.parametrize("scale", [1e-100, -1.0, 1e100], ids=str)
def test_what_differs_by_rounding_only_does_not_vary(scale):
    differing = np.linspace(0, 1, 20)
    for difference, expected in ((0, False), (1e-13, False), (0.9e-12, False), (1.1e-12, True), (1e-11, True)):
        responses = scale * (1 + difference * differing)
        assert varies(responses[:, None]).tolist() == [expected]
        readout = fit_readout(differing[:, None], responses, estimator=linear_model.LinearRegression())
        assert (readout.weight.item() != 0) is expected
        assert np.isnan(correlation(differing, responses).item()) != expected
    assert not varies(np.zeros((3, 1))).any()
    assert varies(np.array([[0.0], [1e-300]])).all()


def test_wrong_estimators_and_names():
    features, responses, _ = recording()
    with pytest.raises(TypeError, match="got the estimator KernelRidge"):
        fit_readout(features, responses, estimator=KernelRidge())
    with pytest.raises(ValueError, match="Expected 3 neuron_names"):
        fit_readout(features, responses, neuron_names=["a"])


def test_correlation_by_hand():
    recorded = np.array([[1.0, 1.0, 3.0], [2.0, 2.0, 3.0], [3.0, 3.0, 3.0]])
    predicted = np.array([[2.0, 1.0, 1.0], [4.0, 0.0, 2.0], [6.0, 1.0, 3.0]])
    result = correlation(predicted, recorded)
    np.testing.assert_allclose(result, [1, 0, np.nan], atol=1e-15)
    np.testing.assert_allclose(correlation(recorded, predicted), result, atol=1e-15)


@given(st.integers(0, 10_000), st.integers(3, 20), st.sampled_from([1e-200, 1.0, 1e200]), st.sampled_from([0, 1e3]))
@settings(max_examples=40, deadline=None)
def test_correlation_equals_scipy(seed, n_images, scale, offset):
    generator = np.random.default_rng(seed)
    predicted, recorded = generator.standard_normal((2, n_images, 3)) + offset
    expected = [pearsonr(one, other).statistic for one, other in zip(predicted.T, recorded.T, strict=True)]
    result = correlation(scale * predicted, torch.from_numpy(recorded))
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
    assert result.dtype == torch.float64
    assert result.abs().max() <= 1


def test_correlation_of_constant_neurons_is_nan():
    rising, constant = np.arange(4.0), np.full(4, 0.1)
    rounded = np.array([0.3, 0.1 + 0.2, 0.3, 0.3])
    for flat in (constant, rounded):
        for predicted, recorded in [(rising, flat), (flat, rising), (flat, flat)]:
            assert np.isnan(correlation(predicted, recorded)).all()
    assert correlation(rising, 1e9 + 0.1 * rising).item() == pytest.approx(1)


def test_correlation_of_fewer_than_three_images_is_nan():
    rising = np.arange(4.0)
    assert np.isnan(correlation(rising[:2], rising[:2])).all()
    recorded = np.array([[0.0, 0.0], [1.0, 2.0], [5.0, np.nan], [np.nan, np.nan]])
    result = correlation(np.stack([rising, rising], axis=1), recorded)
    np.testing.assert_allclose(result, [5 / 28**0.5, np.nan], rtol=1e-12)  # of 0, 1, 2 with 0, 1, 5


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_correlation_leaves_missing_images_out_and_knows_no_unit_and_no_order(seed, scale, offset):
    generator = np.random.default_rng(seed)
    predicted, recorded = generator.standard_normal((2, 30, 4))
    recorded[generator.random(recorded.shape) < 0.3] = np.nan
    result = correlation(predicted, recorded)
    for neuron, seen in enumerate(~np.isnan(recorded).T):
        expected = pearsonr(predicted[seen, neuron], recorded[seen, neuron]).statistic
        assert result[neuron].item() == pytest.approx(expected, abs=1e-12)
    order = generator.permutation(30)
    np.testing.assert_allclose(correlation(predicted[order], offset + scale * recorded[order]), result, atol=1e-9)
    np.testing.assert_allclose(correlation(offset - scale * predicted, recorded), -result, atol=1e-9)


def test_correlation_refuses():
    with pytest.raises(ValueError, match=r"one shape \(image, neuron\), got \(3, 2\) and \(3, 1\)"):
        correlation(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ValueError, match="finite recorded, got infinity 1 times, first at row 0, column 0"):
        correlation(np.ones(2), np.array([np.inf, 1]))
    with pytest.raises(ValueError, match="finite predicted, got NaN or infinity 1 times, first at row 0, column 0"):
        correlation(np.array([np.nan, 1]), np.ones(2))
