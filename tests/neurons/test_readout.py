import copy
import json
import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn import linear_model
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVR, LinearSVR
from toys import stable_name

from captum_shared.neurons.readout import LinearReadout

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from himalaya import backend as himalaya_backend
    from himalaya import kernel_ridge as himalaya_kernel
    from himalaya import ridge as himalaya

ALPHAS = np.logspace(-2, 2, 5)


def recording(n_images=40, n_features=6, n_neurons=3, seed=0):
    """Features with very different means and scales, and noisy linear responses."""
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((n_images, n_features)) * np.geomspace(0.01, 100, n_features) + 3
    weight = generator.standard_normal((n_neurons, n_features)) / np.geomspace(0.01, 100, n_features)
    return features, features @ weight.T + 5 + generator.standard_normal((n_images, n_neurons))


def check_predictions(estimator, features, *, rtol=1e-8, **options):
    readout = LinearReadout.from_estimator(estimator, **options)
    assert readout.weight.dtype == readout.bias.dtype == readout.feature_mean.dtype == torch.float64
    new = np.random.default_rng(1).standard_normal((9, features.shape[1])) * features.std(axis=0) + features.mean(
        axis=0
    )
    expected = np.asarray(torch.as_tensor(estimator.predict(new)).double()).reshape(len(new), -1)
    np.testing.assert_allclose(readout(torch.from_numpy(new)), expected, rtol=rtol, atol=rtol * np.abs(expected).max())
    return readout


# what a readout is


def test_prediction_by_hand():
    readout = LinearReadout([[1.0, 2.0], [0.0, -1.0]], [0.5, 0.0], [9.0, 9.0])
    assert readout(torch.tensor([[1.0, 3.0], [2.0, 0.0]])).tolist() == [[7.5, -3.0], [2.5, 0.0]]
    assert (readout.n_neurons, readout.n_features, readout.neuron_names) == (2, 2, ("0", "1"))
    assert repr(readout) == "LinearReadout(n_neurons=2, n_features=2, origin=not recorded)"


def test_defaults_and_one_neuron():
    readout = LinearReadout(np.array([1.0, 2.0]), 3.0)
    assert readout.weight.tolist() == [[1, 2]]
    assert (readout.bias.tolist(), readout.feature_mean.tolist()) == ([3], [0, 0])
    assert LinearReadout(torch.ones(2, 3)).bias.tolist() == [0, 0]


def test_uniform_is_all_ones():
    readout = LinearReadout.uniform(4)
    assert (readout.weight.tolist(), readout.bias.tolist()) == ([[1] * 4], [0])
    with pytest.raises(ValueError, match="n_features of at least 1, got 0"):
        LinearReadout.uniform(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    for weight in (torch.ones(2, 3, dtype=dtype), torch.ones(2, 3, dtype=dtype).numpy()):
        readout = LinearReadout(weight, np.ones(2), torch.ones(3))
        assert {buffer.dtype for buffer in readout.buffers()} == {dtype}


@pytest.mark.parametrize("weight", [torch.ones(1, 2, dtype=torch.int64), np.ones((1, 2), dtype=np.uint8), [[1, 1]]])
def test_integers_become_the_default_dtype(weight):
    assert LinearReadout(weight).weight.dtype == torch.get_default_dtype()


def test_prediction_in_the_wider_dtype():
    features = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    wide, narrow = LinearReadout(torch.full((1, 3), 1 / 3).double()), LinearReadout(torch.full((1, 3), 1 / 3))
    assert wide(features).dtype == narrow(features.double()).dtype == torch.float64
    assert narrow(features).dtype == torch.float32
    torch.testing.assert_close(wide(features), wide(features.double()), rtol=0, atol=0)


def test_it_is_fitted_not_trained_and_owns_its_numbers():
    weight = torch.ones(1, 2, requires_grad=True)
    array = np.ones(2)
    readout = LinearReadout(weight, feature_mean=array)
    with torch.no_grad():
        weight.zero_()
    array[:] = 0
    assert not list(readout.parameters())
    assert not any(buffer.requires_grad for buffer in readout.buffers())
    assert set(readout.state_dict()) == {"weight", "bias", "feature_mean"}
    assert (readout.weight.tolist(), readout.feature_mean.tolist()) == ([[1, 1]], [1, 1])
    assert copy.deepcopy(readout).neuron_names == readout.neuron_names


def test_read_only_and_reversed_arrays():
    weight = np.broadcast_to(np.array([3.0, 2.0, 1.0]), (2, 3))[:, ::-1]
    assert LinearReadout(weight).weight.tolist() == [[1, 2, 3]] * 2


def test_gradients_pass_through_to_the_features():
    features = torch.zeros(1, 2, requires_grad=True)
    LinearReadout([[1.0, 2.0], [3.0, 4.0]])(features)[0, 1].backward()
    assert features.grad.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.ones((1, 1, 1)),), r"weight of shape \(neuron, feature\).*got \(1, 1, 1\)"),
        ((np.array(1.0),), r"weight of shape .*got \(\)"),
        ((np.ones((0, 3)),), r"none of them empty, got \(0, 3\)"),
        ((np.ones((2, 3)), np.ones(3)), r"bias of shape \(2,\), one number per neuron of weight, got \(3,\)"),
        ((np.ones((2, 3)), 1.0), r"bias of shape \(2,\).*got \(1,\)"),
        ((np.ones((2, 3)), None, np.ones(2)), r"feature_mean of shape \(3,\), one number per feature"),
        ((np.array([1, np.nan]),), "weight with finite numbers, got NaN or infinity"),
        ((np.ones(2), np.inf), "bias with finite numbers"),
        ((np.ones(2), None, np.array([1, -np.inf])), "feature_mean with finite numbers"),
    ],
)
def test_wrong_numbers(arguments, text):
    with pytest.raises(ValueError, match=text):
        LinearReadout(*arguments)


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        ("weights", "weight as a tensor or array of numbers, got str"),
        (np.array([{}]), "array of numbers, got ndarray"),
        (torch.ones(2, dtype=torch.complex64), r"real numbers, got torch\.complex64"),
    ],
)
def test_wrong_types(weight, text):
    with pytest.raises(TypeError, match=text):
        LinearReadout(weight)


def test_wrong_names():
    weight = np.ones((3, 2))
    with pytest.raises(ValueError, match="Expected 3 neuron_names, one per row of weight, got 2"):
        LinearReadout(weight, neuron_names=["a", "b"])
    with pytest.raises(ValueError, match="distinct neuron_names, got more than once: a, b"):
        LinearReadout(np.ones((5, 2)), neuron_names=["b", "a", "b", "a", "c"])
    with pytest.raises(TypeError, match="neuron_names as a sequence of strings, got 'abc'"):
        LinearReadout(weight, neuron_names="abc")


def test_wrong_number_of_features():
    with pytest.raises(ValueError, match=r"features of shape \(image, 2\), got \(5, 3\): use the network"):
        LinearReadout(np.ones((1, 2)))(torch.ones(5, 3))


def test_neuron_index():
    readout = LinearReadout(np.ones((3, 2)), neuron_names=["IT-1", "IT-2", "PL-1"])
    assert [readout.neuron_index(neuron) for neuron in ("PL-1", 0, np.int64(1))] == [2, 0, 1]
    with pytest.raises(ValueError, match="No neuron is named 'PL_1' among 3; close: PL-1"):
        readout.neuron_index("PL_1")
    with pytest.raises(ValueError, match="No neuron is named 'xyz' among 3; close: IT-1, IT-2, PL-1"):
        readout.neuron_index("xyz")
    for outside in (3, -1):
        with pytest.raises(ValueError, match=f"neuron from 0 to 2, or its name, got {outside}"):
            readout.neuron_index(outside)


def test_neuron_index_of_another_type(as_installed):
    with pytest.raises(TypeError, match=r"neuron's name or its position, got 1\.5"):
        LinearReadout.uniform(2).neuron_index(1.5)


# fitted estimators

MANY_NEURONS = [
    linear_model.LinearRegression(),
    linear_model.LinearRegression(fit_intercept=False),
    linear_model.Ridge(),
    linear_model.Ridge(alpha=np.array([1.0, 2.0, 3.0])),
    linear_model.RidgeCV(alphas=ALPHAS, alpha_per_target=True),
    linear_model.Lasso(alpha=0.1),
    linear_model.ElasticNet(alpha=0.1),
    linear_model.MultiTaskLasso(alpha=0.1),
    linear_model.MultiTaskElasticNet(alpha=0.1),
    linear_model.Lars(),
    linear_model.OrthogonalMatchingPursuit(),
    PLSRegression(n_components=2),
    PLSRegression(n_components=2, scale=False),
    MultiOutputRegressor(linear_model.ElasticNetCV(alphas=3)),
    MultiOutputRegressor(make_pipeline(StandardScaler(), linear_model.BayesianRidge())),
    MultiOutputRegressor(GridSearchCV(make_pipeline(PCA(3), LinearSVR()), {"linearsvr__C": [0.1, 1]})),
    GridSearchCV(linear_model.Ridge(), {"alpha": ALPHAS}),
    RandomizedSearchCV(
        make_pipeline(StandardScaler(), linear_model.Ridge()), {"ridge__alpha": ALPHAS}, n_iter=2, random_state=0
    ),
    himalaya.Ridge(alpha=2.0, fit_intercept=True),
    himalaya.Ridge(alpha=2.0, fit_intercept=False),
    himalaya.RidgeCV(alphas=ALPHAS, fit_intercept=True),
    make_pipeline(StandardScaler(), himalaya.RidgeCV(alphas=ALPHAS)),
    make_pipeline(StandardScaler(), PCA(3, whiten=True), himalaya.Ridge(fit_intercept=True)),
]
ONE_NEURON = [
    linear_model.LinearRegression(),
    linear_model.RidgeCV(),
    linear_model.LassoCV(alphas=3),
    linear_model.ElasticNetCV(alphas=3),
    linear_model.LarsCV(),
    linear_model.BayesianRidge(),
    linear_model.ARDRegression(),
    linear_model.HuberRegressor(),
    linear_model.SGDRegressor(random_state=0),
    linear_model.TweedieRegressor(power=0, link="identity"),
    LinearSVR(),
    SVR(kernel="linear"),
    PLSRegression(n_components=2),
    himalaya.Ridge(fit_intercept=True),
    himalaya.RidgeCV(alphas=ALPHAS, fit_intercept=False),
]
STEPS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    StandardScaler(with_mean=False, with_std=False),
    RobustScaler(),
    RobustScaler(with_centering=False, with_scaling=False),
    MinMaxScaler(feature_range=(-2, 3)),
    MaxAbsScaler(),
    PCA(4),
    PCA(4, whiten=True),
    IncrementalPCA(4),
    IncrementalPCA(4, whiten=True),
    TruncatedSVD(4, random_state=0),
    VarianceThreshold(1.0),
    SelectKBest(lambda features, responses: f_regression(features, responses[:, 0])[0], k=4),
    make_pipeline(StandardScaler(), PCA(4), MinMaxScaler()),
    "passthrough",
]


def fit(estimator, features, responses):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is not the subject
        return estimator.fit(features, responses)


@pytest.mark.parametrize("estimator", MANY_NEURONS, ids=stable_name)
def test_many_neurons_predict_what_the_estimator_predicts(estimator):
    features, responses = recording()
    features = (features - 3) / np.geomspace(0.01, 100, 6) + 1  # solvers without a scaler need one scale
    readout = check_predictions(fit(estimator, features, responses), features)
    assert readout.n_neurons == 3


@pytest.mark.parametrize("estimator", ONE_NEURON, ids=stable_name)
@pytest.mark.parametrize("scaled", [False, True])
def test_one_neuron_predicts_what_the_estimator_predicts(estimator, scaled):
    features, responses = recording()
    features = (features - 3) / np.geomspace(0.01, 100, 6) + 1
    estimator = make_pipeline(StandardScaler(), estimator) if scaled else estimator
    assert check_predictions(fit(estimator, features, responses[:, 0]), features).n_neurons == 1


@pytest.mark.parametrize("step", STEPS, ids=stable_name)
@pytest.mark.parametrize("regressor", [linear_model.Ridge(), himalaya.Ridge(fit_intercept=True)], ids=stable_name)
def test_steps_are_folded(step, regressor):
    features, responses = recording()
    estimator = Pipeline([("step", step), ("regressor", regressor)]).fit(features, responses)
    assert check_predictions(estimator, features).n_features == 6


def test_none_is_passthrough_and_constant_features_are_fine():
    features, responses = recording()
    features[:, 2] = 7
    estimator = Pipeline([("none", None), ("scale", StandardScaler()), ("fit", linear_model.Ridge())])
    check_predictions(estimator.fit(features, responses), features)


def test_rank_deficient_whitening_is_clipped_as_in_scikit_learn():
    features, responses = recording()
    features[:, 3:] = features[:, :3]
    check_predictions(
        make_pipeline(PCA(whiten=True), linear_model.Ridge()).fit(features, responses), features, rtol=1e-6
    )


scalers = st.sampled_from([StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler])
projections = st.integers(2, 5).flatmap(lambda n: st.sampled_from([PCA(n), PCA(n, whiten=True), TruncatedSVD(n)]))


@given(first=scalers, projection=projections, last=scalers, seed=st.integers(0, 99), n_neurons=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_random_pipelines_are_folded(first, projection, last, seed, n_neurons):
    features, responses = recording(20, 6, n_neurons, seed)
    inner = make_pipeline(copy.deepcopy(projection), last())
    estimator = make_pipeline(first(), inner, linear_model.Ridge()).fit(features, responses)
    check_predictions(estimator, features)


def test_as_many_neurons_as_features():
    features, responses = recording(40, 3, 3)
    for regressor in (linear_model.LinearRegression(), himalaya.Ridge(fit_intercept=True)):
        check_predictions(regressor.fit(features, responses), features)


def test_torch_backend_and_float32_of_himalaya():
    features, responses = recording()
    before = himalaya_backend.get_backend()
    try:
        himalaya_backend.set_backend("torch")
        estimator = make_pipeline(StandardScaler(), himalaya.RidgeCV(alphas=ALPHAS, fit_intercept=True))
        estimator.fit(features.astype(np.float32), responses.astype(np.float32))
        assert isinstance(estimator[-1].coef_, torch.Tensor)
        check_predictions(estimator, features, rtol=1e-5)
    finally:
        himalaya_backend.set_backend(before)


def test_sparse_coefficients():
    features, responses = recording()
    check_predictions(linear_model.Lasso(alpha=5).fit(features, responses[:, 0]), features)
    estimator = fit(linear_model.SGDRegressor(random_state=0), features / 100, responses[:, 0])
    check_predictions(estimator.sparsify(), features)


def test_estimators_fitted_on_named_columns_do_not_warn():
    features, responses = recording()
    estimator = make_pipeline(StandardScaler(), linear_model.Ridge()).fit(features, responses)
    estimator[0].feature_names_in_ = np.array(list("abcdef"), dtype=object)  # as after a fit to a data frame
    with pytest.warns(UserWarning, match="valid feature names"):
        expected = estimator.predict(features)
    np.testing.assert_allclose(LinearReadout.from_estimator(estimator)(torch.from_numpy(features)), expected)


def test_names_mean_and_estimator_are_kept():
    features, responses = recording()
    estimator = make_pipeline(StandardScaler(), linear_model.Ridge()).fit(features, responses)
    before = copy.deepcopy(estimator[-1].coef_)
    options = {"feature_mean": features.mean(axis=0), "neuron_names": ["a", "b", "c"]}
    readout = check_predictions(estimator, features, **options)
    assert readout.neuron_names == ("a", "b", "c")
    np.testing.assert_array_equal(readout.feature_mean, features.mean(axis=0))
    np.testing.assert_array_equal(estimator[-1].coef_, before)


@pytest.mark.parametrize(
    "estimator", [linear_model.Ridge(), make_pipeline(StandardScaler(), himalaya.RidgeCV())], ids=stable_name
)
def test_unfitted(estimator):
    with pytest.raises(ValueError, match=r"Expected a fitted estimator, got .* before fit"):
        LinearReadout.from_estimator(estimator)


def test_search_without_refit():
    estimator = GridSearchCV(linear_model.Ridge(), {"alpha": ALPHAS}, refit=False).fit(*recording())
    with pytest.raises(ValueError, match="Expected a refitted search, got GridSearchCV: use refit=True"):
        LinearReadout.from_estimator(estimator)


@pytest.mark.parametrize(
    ("estimator", "text"),
    [
        (KernelRidge(), "got the estimator KernelRidge"),
        (SVR(kernel="rbf"), "got the estimator SVR"),
        (himalaya_kernel.KernelRidge(), "got the estimator KernelRidge"),
        (linear_model.RidgeClassifier(), "got the estimator RidgeClassifier"),
        (TransformedTargetRegressor(linear_model.Ridge(), func=np.log, inverse_func=np.exp), "Transformed"),
        (make_pipeline(PolynomialFeatures(), linear_model.Ridge()), "got the step PolynomialFeatures"),
        (make_pipeline(FunctionTransformer(np.tanh), linear_model.Ridge()), "got the step FunctionTransformer"),
        (StandardScaler(), "got the estimator StandardScaler"),
        (make_pipeline(StandardScaler(), "passthrough"), "got the estimator str"),
        (object(), "got object"),
    ],
    ids=stable_name,
)
def test_unsupported(estimator, text):
    features, responses = recording()
    response = (responses[:, 0] > responses[:, 0].mean()) + 1
    if hasattr(estimator, "fit"):
        fit(estimator, features, response)
    with pytest.raises(TypeError, match=f"(?s)Expected a linear regressor of scikit-learn or himalaya.*{text}"):
        LinearReadout.from_estimator(estimator)


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.PoissonRegressor(max_iter=5),
        linear_model.GammaRegressor(),
        make_pipeline(MinMaxScaler(clip=True), linear_model.Ridge()),
    ],
    ids=stable_name,
)
def test_what_is_not_linear_is_found_out(estimator):
    features, responses = recording()
    fit(estimator, features / 100, np.exp(responses[:, 0] / 10))
    with pytest.raises(ValueError, match=r"predicts features @ weight\.T \+ bias, got .*, which does not"):
        LinearReadout.from_estimator(estimator)


# files


@given(data=st.data(), n_neurons=st.integers(1, 4), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=30, deadline=None)
def test_round_trip_is_exact(tmp_path_factory, data, n_neurons, dtype):
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
    draw = lambda n: np.array(data.draw(st.lists(numbers, min_size=n, max_size=n)), dtype=dtype)  # noqa: E731
    names = data.draw(st.lists(st.text(), min_size=n_neurons, max_size=n_neurons, unique=True))
    readout = LinearReadout(draw(n_neurons * 3).reshape(-1, 3), draw(n_neurons), draw(3), neuron_names=names)
    path = tmp_path_factory.mktemp("readout") / "r.safetensors"
    readout.save(path)
    again = LinearReadout.load(str(path))
    assert again.neuron_names == tuple(names)
    for before, after in zip(readout.buffers(), again.buffers(), strict=True):
        assert before.dtype == after.dtype
        assert torch.equal(before, after)


def test_names_that_cannot_be_encoded_are_kept_too(tmp_path):
    LinearReadout(np.ones(2), neuron_names=["\ud800"]).save(tmp_path / "r")
    assert LinearReadout.load(tmp_path / "r").neuron_names == ("\ud800",)


def test_saving_replaces_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "r.safetensors"
    LinearReadout.uniform(2).save(path)
    LinearReadout.uniform(3).save(path)
    assert LinearReadout.load(path).n_features == 3
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        LinearReadout.uniform(4).save(path)
    assert LinearReadout.load(path).n_features == 3
    assert os.listdir(tmp_path) == ["r.safetensors"]  # noqa: PTH208


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"existing folder for .*r\.safetensors: create .*absent first"):
        LinearReadout.uniform(2).save(tmp_path / "absent" / "r.safetensors")


def test_the_same_readout_is_the_same_file(tmp_path):
    readout = LinearReadout(torch.rand(3, 5), neuron_names=["a", "b", "c"])
    for place in range(8):
        readout.save(tmp_path / str(place))
    assert len({(tmp_path / str(place)).read_bytes() for place in range(8)}) == 1


def test_damaged_files(tmp_path):
    path = tmp_path / "r.safetensors"
    with pytest.raises(FileNotFoundError, match=r"got no file at .*r\.safetensors"):
        LinearReadout.load(path)
    LinearReadout.uniform(100).save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:20], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"r\.safetensors to be a readout saved by LinearReadout\.save, got"):
            LinearReadout.load(path)


FORMAT = "captum_shared.LinearReadout, version 3"
NAMES = {"neuron_names": ["a"]}
TENSORS = {"weight": torch.ones(1, 2), "bias": torch.zeros(1), "feature_mean": torch.zeros(2)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "text"),
    [
        (TENSORS, None, "its format is None"),
        (TENSORS, {"format": FORMAT.replace("3", "4")}, "version 4', not 'captum_shared.LinearReadout, version 3'"),
        (TENSORS | {"null_interval": torch.ones(1, 2)}, NAMES, "likewise with heldout_correlation and null_interval"),
        (
            TENSORS | {"heldout_correlation": torch.ones(2), "null_interval": torch.ones(1, 2)},
            NAMES,
            r"its heldout_correlation has shape \(2,\), not \(1,\)",
        ),
        (
            TENSORS | {"heldout_correlation": torch.ones(1), "null_interval": torch.full((1, 2), torch.inf)},
            NAMES,
            "null_interval with finite numbers",
        ),
        (TENSORS, NAMES | {"origin": "SqueezeNet"}, "its origin is 'SqueezeNet'"),
        (
            TENSORS | {"heldout_correlation": torch.ones(1), "null_interval": torch.ones(1, 2)},
            NAMES | {"format": FORMAT.replace("3", "2")},
            "it holds .*heldout_correlation",
        ),
        (TENSORS | {"scatter": torch.ones(1, 1)}, NAMES, r"Expected scatter of 2 by itself, got shape \(1, 1\)"),
        (TENSORS | {"examples": torch.ones(3, 1)}, NAMES, "with examples and scatter or without"),
        (
            TENSORS | {"examples": torch.ones(3, 2), "scatter": torch.ones(1, 1)},
            NAMES,
            r"its examples have shape \(3, 2",
        ),
        ({"weight": torch.ones(1, 2)}, NAMES, r"it holds \['format', 'neuron_names', 'weight'\], not weight, bias"),
        (TENSORS | {"more": torch.ones(1)}, NAMES, "it holds .*more"),
        (TENSORS | {"bias": torch.ones(2)}, NAMES, r"bias of shape \(1,\)"),
        (TENSORS, "[", "Expecting"),
        (TENSORS, {"neuron_names": ["a", "b"]}, "Expected 1 neuron_names"),
        (TENSORS, {}, "it holds .* not weight, bias, feature_mean and neuron_names"),
        (TENSORS, {"neuron_names": "a"}, "sequence of strings, got 'a'"),
    ],
)
def test_other_files(tmp_path, tensors, metadata, text):
    if isinstance(metadata, dict):
        metadata = json.dumps({"format": FORMAT} | metadata)
    save_file(tensors, tmp_path / "other.safetensors", None if metadata is None else {"readout": metadata})
    with pytest.raises(ValueError, match=rf"other\.safetensors to be a readout .*{text}"):
        LinearReadout.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_earlier_versions_are_read_and_their_origin_is_not_recorded(tmp_path, version):
    metadata = json.dumps({"format": f"captum_shared.LinearReadout, version {version}", **NAMES})
    more = {"examples": torch.ones(3, 1), "scatter": torch.ones(1, 1)} if version == 2 else {}
    save_file(TENSORS | more, tmp_path / "old.safetensors", {"readout": metadata})
    readout = LinearReadout.load(tmp_path / "old.safetensors")
    assert torch.equal(readout.weight, TENSORS["weight"])
    assert (readout.examples is None) == (readout.scatter is None) == (version == 1)
    assert readout.heldout_correlation is readout.null_interval is readout.origin is None
    assert readout.predicted == (None,)
    assert repr(readout).endswith("origin=not recorded)")


def test_what_is_known_of_the_neurons_is_saved_and_kept(tmp_path):
    origin = {"network": "SqueezeNet", "layer": "features", "weights": "ab", "preprocess": [1, 0.5], "pool": "average"}
    r, low, high = np.array([0.6, 0.1, np.nan]), np.array([-0.2, -0.3, np.nan]), torch.tensor([0.2, 0.3, torch.nan])
    readout = LinearReadout(torch.rand(3, 2), neuron_names=["a", "b", "c"]).with_heldout(r, low, high)
    readout = readout.with_origin(origin).with_examples(torch.rand(4, 2), torch.eye(2))
    readout.save(tmp_path / "r")
    for known in (readout, LinearReadout.load(tmp_path / "r"), copy.deepcopy(readout), readout.double()):
        np.testing.assert_array_equal(known.heldout_correlation, r)
        np.testing.assert_array_equal(known.null_interval, np.stack([low, high.double()], axis=1))
        assert known.origin == origin
        assert known.predicted == (True, False, False)
        assert "SqueezeNet, features" in repr(known)
    with pytest.raises(ValueError, match=r"low of shape \(3,\).*got \(2,\)"):
        readout.with_heldout(r, low[:2], high)


class TestExamples:
    def test_by_hand(self):
        readout = LinearReadout([[1.0, 2.0], [0.0, -1.0]], [5.0, 5.0], [1.0, 1.0])
        known = readout.with_examples(torch.tensor([[1.0, 1.0], [2.0, 4.0]]), torch.tensor([[2.0, 1.0], [1.0, 3.0]]))
        assert known.examples.tolist() == [[0, 0], [7, -3]]
        assert known.scatter.tolist() == [[2 + 4 + 12, -1 - 6], [-7, 3]]

    def test_nothing_else_changes(self):
        readout = LinearReadout(torch.rand(3, 4), torch.rand(3), torch.rand(4), neuron_names=["a", "b", "c"])
        known = readout.with_examples(torch.rand(5, 4), torch.eye(4))
        assert readout.examples is None
        features = torch.rand(6, 4)
        assert torch.equal(known(features), readout(features))
        assert known.neuron_names == readout.neuron_names
        assert torch.equal(known.feature_mean, readout.feature_mean)

    def test_of_many_images_a_thousand_are_kept_evenly(self):
        features = torch.arange(2500.0)[:, None]
        known = LinearReadout([1.0]).with_examples(features, torch.eye(1))
        assert known.examples[:, 0].tolist() == [int(2.5 * row) for row in range(1000)]

    def test_arrays_do_too(self):
        features, scatter = np.random.default_rng(0).random((3, 2)), np.eye(2)
        known, same = (
            LinearReadout([[1.0, 2.0]]).with_examples(*each)
            for each in ((features, scatter), (torch.from_numpy(features), torch.from_numpy(scatter)))
        )
        assert torch.equal(known.examples, same.examples)
        assert known.examples.dtype == torch.float32

    def test_they_are_saved(self, tmp_path):
        known = LinearReadout(torch.rand(3, 4).double()).with_examples(torch.rand(5, 4), torch.eye(4))
        known.save(tmp_path / "r")
        loaded = LinearReadout.load(tmp_path / "r")
        for name, buffer in known.named_buffers():
            assert torch.equal(buffer, loaded.get_buffer(name))
            assert buffer.dtype == loaded.get_buffer(name).dtype
        assert {"examples", "scatter"} < set(known.state_dict())

    def test_where_no_place_is_known_nothing_changes(self):
        readout = LinearReadout.uniform(2)
        assert readout.with_examples(torch.rand(3, 2), None) is readout

    @pytest.mark.parametrize(
        ("features", "scatter", "text"),
        [
            (torch.rand(3, 3), torch.eye(2), r"features of shape \(image, 2\), got \(3, 3\)"),
            (torch.rand(0, 2), torch.eye(2), r"got \(0, 2\)"),
            (torch.rand(3, 2), torch.eye(3), r"scatter of 2 by itself, got shape \(3, 3\)"),
            (torch.full((3, 2), torch.nan), torch.eye(2), "features with finite numbers"),
        ],
    )
    def test_what_does_not_fit(self, features, scatter, text):
        with pytest.raises(ValueError, match=text):
            LinearReadout.uniform(2).with_examples(features, scatter)


def test_a_number_that_changed_in_the_file_is_told(tmp_path):
    path = tmp_path / "r.safetensors"
    LinearReadout(torch.tensor([[1.5, 2.5]])).save(path)
    content = path.read_bytes()
    numbers = np.array([1.5, 2.5], np.float32).tobytes()
    assert content.count(numbers) == 1
    path.write_bytes(content.replace(numbers, np.array([1.5, 3.5], np.float32).tobytes()))
    with pytest.raises(ValueError, match=r"r\.safetensors .* its content is not what was written"):
        LinearReadout.load(path)
