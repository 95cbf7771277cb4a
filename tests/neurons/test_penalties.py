import copy
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from oracles import within_folds
from sklearn.linear_model import HuberRegressor, Lasso, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, RandomizedSearchCV, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toys import stable_name

from captum_shared import fit_readout, heldout_correlation, ooc_correlation
from captum_shared.neurons.ridge import PENALTIES, DecomposedFeatures

N_VIEWS = 5


def views(n_objects: int = 24, n_features: int = 30, n_neurons: int = 6, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Near-duplicates: views of objects to which neurons respond by three features, and by what no feature tells."""
    generator = np.random.default_rng(seed)
    weight = np.random.default_rng(99).standard_normal((3, n_neurons))
    objects = generator.standard_normal((n_objects, n_features))
    rates = objects[:, :3] @ weight + 2 * generator.standard_normal((n_objects, n_neurons))
    labels = np.repeat(np.arange(n_objects), N_VIEWS)
    features = objects[labels] + 0.05 * generator.standard_normal((len(labels), n_features))
    return features, rates[labels] + 0.1 * generator.standard_normal((len(labels), n_neurons)), labels


def grouped_penalties(features: np.ndarray, responses: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return DecomposedFeatures(features).penalties(responses, labels)


def slow_penalties(features: np.ndarray, responses: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each group predicted by a fit without it, one penalty after the other; features standardised as for the fit."""
    standardised = StandardScaler().fit_transform(features)
    errors = []
    for penalty in np.logspace(-2, 6, 17):
        predicted = cross_val_predict(Ridge(penalty), standardised, responses, cv=LeaveOneGroupOut(), groups=labels)
        errors.append(((predicted - responses) ** 2).sum(axis=0))
    return np.logspace(-2, 6, 17)[np.argmin(errors, axis=0)]


@pytest.mark.parametrize("n_features", [4, 60], ids=["few features", "many features"])
@pytest.mark.parametrize("seed", range(3))
def test_penalties_are_those_of_fits_without_each_group(n_features: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((40, n_features)) * np.geomspace(0.1, 10, n_features) + 3
    responses = features[:, :1] + generator.standard_normal((40, 5)) * [0.1, 1, 3, 10, 100]
    labels = generator.integers(0, 7, 40)
    expected = slow_penalties(features, responses, labels)
    assert len(set(expected)) > 1
    assert grouped_penalties(features, responses, labels).tolist() == expected.tolist()
    named = np.array([f"object {label}" for label in labels])
    assert grouped_penalties(features, responses, named).tolist() == expected.tolist()
    order = generator.permutation(40)
    assert grouped_penalties(features[order], responses[order], labels[order]).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_groups_of_one_image_change_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((30, 8))
    responses = features @ generator.standard_normal((8, 4)) + generator.standard_normal((30, 4)) * [0.1, 1, 5, 50]
    alone = RidgeCV(PENALTIES, alpha_per_target=True).fit(StandardScaler().fit_transform(features), responses)
    assert grouped_penalties(features, responses, np.arange(30)).tolist() == alone.alpha_.tolist()
    readout, expected = fit_readout(features, responses, groups=range(30)), fit_readout(features, responses)
    torch.testing.assert_close(readout.weight, expected.weight, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(readout.bias, expected.bias, rtol=1e-8, atol=1e-10)


def test_near_duplicates_do_not_make_penalties_too_small() -> None:
    features, responses, labels = views()
    alone = RidgeCV(PENALTIES, alpha_per_target=True).fit(StandardScaler().fit_transform(features), responses)
    apart = grouped_penalties(features, responses, labels)
    assert (apart > alone.alpha_).all()
    assert np.median(apart / alone.alpha_) >= 10
    others, recorded, _ = views(seed=1)  # other objects
    split, kept = (
        ooc_correlation(fit_readout(features, responses, groups=groups), others, recorded) for groups in (None, labels)
    )
    assert kept.mean() > split.mean() + 0.03
    expected = make_pipeline(StandardScaler(), Ridge(slow_penalties(features, responses, labels)))
    predicted = expected.fit(features, responses).predict(others)
    readout = fit_readout(features, responses, groups=labels, center=True)
    np.testing.assert_allclose(readout(torch.from_numpy(others)), predicted, rtol=1e-8)


def test_held_out_groups_are_predicted_with_penalties_of_groups() -> None:
    features, responses, labels = views()
    predicted = np.empty_like(responses)
    for fitted, held_out in GroupKFold(4, shuffle=True, random_state=0).split(features, groups=labels):
        penalties = slow_penalties(features[fitted], responses[fitted], labels[fitted])
        model = make_pipeline(StandardScaler(), Ridge(penalties)).fit(features[fitted], responses[fitted])
        predicted[held_out] = model.predict(features[held_out])
    folds = GroupKFold(4, shuffle=True, random_state=0).split(features, groups=labels)
    expected = within_folds(predicted, responses, folds)
    result = heldout_correlation(features, responses, cv=4, groups=labels)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-8)


def test_neurons_have_penalties_by_the_groups_recorded_for_them() -> None:
    features, responses, labels = views()
    responses[::3, 1] = np.nan
    responses[60:, 2] = np.nan
    responses[N_VIEWS:, 3] = np.nan  # one group only
    readout = fit_readout(features, responses, groups=list(labels))
    for neuron in (1, 2):
        seen = ~np.isnan(responses[:, neuron])
        alone = fit_readout(features[seen], responses[seen, neuron], groups=labels[seen])
        torch.testing.assert_close(readout.weight[[neuron]], alone.weight, rtol=1e-9, atol=1e-9)
    assert readout.weight[3].abs().sum() == 0
    assert readout.bias[3].item() == pytest.approx(responses[:N_VIEWS, 3].mean(), abs=1e-12)
    assert fit_readout(features, responses, estimator=Ridge(), groups=labels).weight[3].abs().sum() > 0


def test_groups_are_checked() -> None:
    features, responses, labels = views()
    with pytest.raises(ValueError, match=r"groups to hold one label for each of 120 images, got shape \(119,\)"):
        fit_readout(features, responses, groups=labels[1:])
    with pytest.raises(ValueError, match="2 or more groups to choose penalties by, got 120 images of one group"):
        fit_readout(features, responses, groups=0 * labels)
    one = fit_readout(features, responses, estimator=Ridge(), groups=0 * labels)
    np.testing.assert_allclose(one.weight, Ridge().fit(features, responses).coef_, rtol=1e-8, atol=1e-10)


class Watched(GroupKFold):
    """Keeps the groups that it is handed."""

    handed: ClassVar[list[list[int]]] = []

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:  # noqa: N803
        self.handed.append(groups.tolist())
        return super().split(X, y, groups)


ALPHAS = {"alpha": [0.01, 0.1, 10.0]}
SEARCHES = {  # and the argument of their fit
    "groups": GridSearchCV(Ridge(), ALPHAS, cv=Watched(4)),
    "groups ": RandomizedSearchCV(Ridge(), ALPHAS, n_iter=2, random_state=0, cv=Watched(3)),
    "pipeline__gridsearchcv__groups": make_pipeline(
        StandardScaler(), make_pipeline("passthrough", GridSearchCV(Ridge(), ALPHAS, cv=Watched()))
    ),
    "gridsearchcv__groups": MultiOutputRegressor(
        make_pipeline(StandardScaler(), GridSearchCV(Lasso(), ALPHAS, cv=Watched()))
    ),
}


@pytest.mark.parametrize("argument", SEARCHES)
def test_a_search_is_handed_the_groups(argument: str) -> None:
    features, responses, labels = views()
    expected = copy.deepcopy(SEARCHES[argument]).fit(features, responses, **{argument.strip(): labels})
    Watched.handed.clear()
    readout = fit_readout(features, responses, estimator=SEARCHES[argument], groups=labels)
    assert len(Watched.handed) > 0
    assert all(groups == labels.tolist() for groups in Watched.handed)
    np.testing.assert_allclose(readout(torch.from_numpy(features)), expected.predict(features), rtol=1e-8)


def test_a_search_over_a_single_target_is_handed_the_groups_for_each_neuron() -> None:
    features, responses, labels = views()
    search = GridSearchCV(HuberRegressor(max_iter=1000), {"alpha": [0.01, 10.0, 1000.0]}, cv=GroupKFold(4))
    readout = fit_readout(features, responses, estimator=search, groups=labels)
    for neuron in range(6):
        expected = search.fit(features, responses[:, neuron], groups=labels)
        np.testing.assert_allclose(readout.weight[neuron], expected.best_estimator_.coef_, rtol=1e-8)
    alone = fit_readout(features, responses[:, 2], estimator=search, groups=labels)
    torch.testing.assert_close(alone.weight, readout.weight[2:3])


@pytest.mark.parametrize("estimator", [RidgeCV(), make_pipeline(StandardScaler(), RidgeCV())], ids=stable_name)
def test_other_estimators_are_fitted_as_without_groups(estimator: object) -> None:
    features, responses, labels = views()
    readout, expected = (
        fit_readout(features, responses, estimator=estimator, groups=groups) for groups in (labels, None)
    )
    assert torch.equal(readout.weight, expected.weight)
