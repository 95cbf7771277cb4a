"""Subjects and regions of a study compared: noise that is made equal, and the profiles that are correlated."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_experiment import SETTINGS, blobs, contents, encoder, study

from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.cli.summary import print_summary
from captum_shared.figures import write_figures
from captum_shared.images import load_images, rgb_preprocess
from captum_shared.neurons.encoding import fit_readout
from captum_shared.neurons.noise import reliability
from captum_shared.recordings.recording import Recording
from captum_shared.study.result import StudyResult
from captum_shared.study.subjects import equally_noisy, profile_correlations

SUBJECTS = ("M1",) * 8 + ("M2",) * 7 + ("M3",) * 6 + ("M4",) * 2
N_BODIES, N_OBJECTS = 60, 12
QUICK = dataclasses.replace(SETTINGS, methods=("paper",), n_strong=1, n_dissimilar=0, n_weak=0, all_neurons=False)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """M1 and M3 see one half of the features, M2 the other; M1 is recorded with much more noise."""
    rng = np.random.default_rng(0)
    names, paths, features = blobs(tmp_path_factory.mktemp("images"), rng, N_BODIES, N_OBJECTS)
    features = features[:, features.std(0) > 0]
    features = (features - features.mean(0)) / features.std(0)
    seen = {"M1": [0, 1], "M2": [2, 3], "M3": [0, 1], "M4": [0]}
    tuning = np.zeros((len(SUBJECTS), features.shape[1]))
    for neuron, subject in enumerate(SUBJECTS):
        tuning[neuron, seen[subject]] = rng.uniform(0.5, 1.5, len(seen[subject]))
    signal = features @ tuning.T
    signal /= signal.std(0)
    noise = np.where(np.array(SUBJECTS) == "M1", 1.0, 0.2)
    return Recording(
        responses=signal + noise * rng.standard_normal((2, *signal.shape)),
        stimulus_ids=tuple(names),
        categories=("body",) * N_BODIES + ("object",) * N_OBJECTS,
        neuron_names=tuple(f"n{neuron}" for neuron in range(len(SUBJECTS))),
        regions=("IT",) * len(SUBJECTS),
        subjects=SUBJECTS,
        paths=paths,
    )


@pytest.fixture(scope="module")
def result(three: Recording, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return study(three, tmp_path_factory.mktemp("study") / "out", QUICK)


def test_a_study_says_which_two_share_their_tuning(result: StudyResult) -> None:
    (compared,) = result.compared
    assert compared.by == "subject"
    assert compared.groups == ("M1", "M2", "M3")
    assert compared.sharing == ("M1", "M3")
    assert compared.matched
    assert compared.left_out == {"M4": 2}
    assert list(compared.likeness) == ["responses", "references", "maps"]
    assert StudyResult.load(result.map_file.parent) == result


def test_it_is_drawn_and_printed(result: StudyResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "subjects.png" in {path.name for path in write_figures([result], ["toy"], tmp_path)}
    print_summary([result], ["toy"])
    assert f"subjects: {result.compared[0].told}\n" in capsys.readouterr().out
    assert "M1 and M3 agree more with each other than with M2 (" in result.compared[0].told


def test_it_is_the_same_again(three: Recording, result: StudyResult, tmp_path: Path) -> None:
    assert contents(study(three, tmp_path / "out", QUICK).map_file.parent) == contents(result.map_file.parent)


def test_of_one_subject_and_one_region_nothing_is_written(three: Recording, tmp_path: Path) -> None:
    one = study(three.select(neurons=np.array(SUBJECTS) == "M2"), tmp_path / "out", QUICK)
    assert one.compared == ()
    assert "compared" not in json.loads((tmp_path / "out" / "study.json").read_text())
    assert StudyResult.load(tmp_path / "out") == one


def test_where_the_noise_is_not_known_that_is_said(three: Recording, tmp_path: Path) -> None:
    once = dataclasses.replace(three, responses=three.mean[None])
    (compared,) = study(once, tmp_path / "out", QUICK).compared
    assert not compared.matched


def test_added_noise_makes_groups_equally_reliable() -> None:
    rng = np.random.default_rng(0)
    signal, noise = rng.standard_normal((20_000, 8)), np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2])
    groups = ["A", "B", "A", "A", "B", "B", "B", "A"]
    measured = 1 / (1 + noise**2)
    phases = signal + noise * rng.standard_normal((2, *signal.shape))
    made = np.stack([equally_noisy(phase, measured, groups, seed=seed) for seed, phase in enumerate(phases)])
    after = reliability(made)
    in_a = np.array(groups) == "A"
    least = np.minimum(np.sort(measured[in_a]), np.sort(measured[~in_a]))
    for own in (in_a, ~in_a):
        assert np.sort(after[own]) == pytest.approx(least, abs=0.02)
    assert (after <= measured + 0.02).all()


def test_noise_is_not_added_where_none_is_known_or_none_is_needed() -> None:
    responses = np.array([[1.0, 2.0], [np.nan, 4.0], [3.0, 1.0]])
    np.testing.assert_array_equal(equally_noisy(responses, np.array([np.nan, 0.5]), ["A", "B"], seed=0), responses)
    np.testing.assert_array_equal(equally_noisy(responses, np.array([0.5, 0.5]), ["A", "B"], seed=0), responses)
    assert np.isnan(equally_noisy(responses, np.array([0.9, 0.5]), ["A", "B"], seed=0)[1, 0])


def test_profiles_are_correlated_as_their_definitions_say(three: Recording) -> None:
    features, paths = encoder(), three.paths or ()
    images = load_images(paths, rgb_preprocess(16))
    with torch.no_grad():
        latent = features(images)
    inside = three.in_category("body")
    readout = fit_readout(latent[inside], three.mean[inside][:, :3], center=True)
    similarity = NeuronSimilarity(features, readout)
    asked: list[list[int]] = []

    def inputs(rows: list[int]) -> torch.Tensor:
        asked.append(list(rows))
        return images[rows]

    found = profile_correlations(similarity, latent, inside, inputs, ["A", "A", "B"])
    predicted = readout(latent.double()).numpy()
    expected = np.mean([np.corrcoef(predicted[rows].T) for rows in (inside, ~inside)], axis=0)
    np.testing.assert_allclose(found["responses"], expected, atol=1e-6)

    standard = (predicted[~inside] - predicted[~inside].mean(0)) / predicted[~inside].std(0)
    order = np.flatnonzero(~inside)[np.argsort(-(standard @ [0.5, 0.5, 1.0]))]
    assert asked[0] == order[:8].tolist()
    f, w = latent.double().numpy(), readout.weight.numpy()
    own = np.array(
        [[[_cosine(w[k] * f[x], w[k] * f[r]) for r in np.flatnonzero(inside)] for x in order] for k in range(3)]
    )
    expected = np.mean([np.corrcoef(own[:, x]) for x in range(len(order))], axis=0)
    np.testing.assert_allclose(found["references"], expected, atol=1e-6)
    best = [np.flatnonzero(inside)[np.argmax(own[:, x].T @ [0.5, 0.5, 1.0])] for x in range(8)]
    assert asked[1] == best

    with torch.no_grad():
        layer = features.activation(images).double().numpy()
    v, maps = f - readout.feature_mean.numpy(), []
    for x, r in zip(order[:8], best, strict=True):
        shared = [w[k] ** 2 * v[x] * v[r] for k in range(3)]
        for image in (x, r):
            maps.append(np.corrcoef([np.tensordot(h, layer[image], 1).ravel() for h in shared]))
    np.testing.assert_allclose(found["maps"], np.mean(maps, axis=0), atol=1e-4)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
