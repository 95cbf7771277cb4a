"""The study, against the steps of METHOD.md written out in a loop; wrong input."""

import dataclasses
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray
from oracles import within_folds
from PIL import Image
from scipy.stats import spearmanr, t
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toy_experiment import N_BODIES, N_OBJECTS, SETTINGS, SIZE, encoder, study, with_responses

from captum_shared import (
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
)
from captum_shared._record import RECORD
from captum_shared.attr.heatmaps import heatmap
from captum_shared.images import load_images, rgb_preprocess
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study.correlation import foreground
from captum_shared.study.result import StudyResult


def uncentred(readout: LinearReadout) -> LinearReadout:
    """The same neurons in the paper's setting, by which references are searched."""
    return LinearReadout(readout.weight, readout.bias, neuron_names=readout.neuron_names)


def test_correlations_are_those_of_scikit_learn(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out")
    with torch.no_grad():
        latent = encoder()(load_images(recording.paths, rgb_preprocess(SIZE))).double().numpy()
    mean = recording.responses.mean(0)
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True))
    held_out = cross_val_predict(
        model, latent[:N_BODIES], mean[:N_BODIES], cv=KFold(3, shuffle=True, random_state=SETTINGS.seed)
    )
    objects = model.fit(latent[:N_BODIES], mean[:N_BODIES]).predict(latent[N_BODIES:])
    folds = KFold(3, shuffle=True, random_state=SETTINGS.seed).split(latent[:N_BODIES])
    expected = within_folds(held_out, mean[:N_BODIES], folds)
    for k, neuron in enumerate(result.neurons):
        assert neuron.heldout_correlation == pytest.approx(expected[k], abs=1e-8)
        assert neuron.ooc_correlation == pytest.approx(np.corrcoef(objects[:, k], mean[N_BODIES:, k])[0, 1], abs=1e-8)
        for name, rows in (("reliability", slice(N_BODIES)), ("ooc_reliability", slice(N_BODIES, None))):
            first, second = recording.responses[:, rows, k]
            assert getattr(neuron, name) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)
        assert neuron.preferred_mean == pytest.approx(mean[:N_BODIES, k].mean())
        assert neuron.ooc_mean == pytest.approx(mean[N_BODIES:, k].mean())
        for prefix in ("", "ooc_"):
            of_one = max(getattr(neuron, f"{prefix}reliability"), 0)
            assert getattr(neuron, f"{prefix}ceiling") == pytest.approx(math.sqrt(2 * of_one / (1 + of_one)))
        assert neuron.null_interval == result.null_interval
    critical = t.ppf(0.975, N_OBJECTS - 2)
    bound = critical / math.sqrt(N_OBJECTS - 2 + critical**2)
    assert result.ooc_null_interval == pytest.approx((-bound, bound), abs=1e-12)
    one = math.sqrt(1 / (N_BODIES - 3))  # of folds that know nothing of each other, and at most twice that variance
    low, high = (abs(end) / (1.96 * one) for end in result.null_interval)
    assert 0.9 < min(low, high) <= max(low, high) < 1.5


def test_pairs_and_maps_are_those_of_the_steps_in_a_loop(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out")
    assert result.methods == ("recommended", "paper", "ours-ig")
    fitted = LinearReadout.load(tmp_path / "out" / "readout.safetensors")
    centred, similarity = NeuronSimilarity(encoder(), fitted), NeuronSimilarity(encoder(), uncentred(fitted))
    images = load_images(recording.paths, rgb_preprocess(SIZE))
    with torch.no_grad():
        torch.testing.assert_close(fitted.feature_mean, encoder()(images[:N_BODIES]).mean(0), check_dtype=False)
    mean, names = recording.responses.mean(0), recording.stimulus_ids
    for k, neuron in enumerate(result.neurons):
        bodies = sorted(range(N_BODIES), key=lambda i: -mean[i, k])[:3]
        assert neuron.drivers == tuple(names[i] for i in bodies)

        def best(image: int, k: int = k, bodies: list[int] = bodies) -> tuple[float, int]:
            with torch.no_grad():
                return max((float(similarity(images[[image]], images[[body]])[0, k]), body) for body in bodies)

        ranked = sorted(range(N_BODIES, N_BODIES + N_OBJECTS), key=lambda i: -mean[i, k])
        assert [(pair.kind, pair.image) for pair in neuron.pairs] == [
            ("strong", names[ranked[0]]),
            ("strong", names[ranked[1]]),
            ("weak", names[ranked[-1]]),
        ]  # a quarter of ten objects are two drivers, so that none is left that could be dissimilar
        for index, pair in enumerate(neuron.pairs):
            image = names.index(pair.image)
            expected, reference = best(image)
            assert pair.reference == names[reference]
            assert pair.similarity == pytest.approx(expected, abs=1e-6)
            assert (pair.response, pair.reference_response) == (mean[image, k], mean[reference, k])
            inputs = images[[image]], images[[reference]]
            recommended = PixelSharedCorrespondence(centred).attribute(inputs, k)
            gradient = ParallelSharedAttribution(similarity).attribute(inputs, k)
            integrated = ParallelSharedAttribution(similarity, "integrated_gradients").attribute(
                inputs, k, baselines=128 / 255, n_steps=16
            )
            drawn = {
                "recommended": torch.cat(recommended)[:, 0],
                "paper": heatmap(torch.cat(gradient), (SIZE, SIZE), kind="gradient"),
                "ours-ig": heatmap(torch.cat(integrated), (SIZE, SIZE), kind="contribution"),
            }
            for method, maps in drawn.items():
                own = result.maps(neuron.name, method)[index]
                np.testing.assert_allclose(own, maps, rtol=1e-3, atol=1e-5 * float(maps.max()))
                assert pair.intensity[method] == pytest.approx(float(maps.mean()), rel=1e-4)
            assert pair.agreement == pytest.approx(float(SharedCorrespondence(centred).attribute(inputs, k)[0].sum()))
            seen = [np.asarray(Image.open(recording.paths[each])) for each in (image, reference)]
            objects = [foreground(each) for each in seen]
            inside = [[drawn[name][side].numpy()[objects[side]] for name in ("paper", "ours-ig")] for side in (0, 1)]
            if all(np.ptp(each) > 0 for both in inside for each in both):
                ranks = [spearmanr(*both).statistic for both in inside]
                assert pair.gradient_ig_correlation == pytest.approx(np.mean(ranks), abs=1e-3)
            else:
                assert pair.gradient_ig_correlation is None
        np.testing.assert_array_equal(
            result.picture(neuron.pairs[0].image), np.asarray(Image.open(recording.paths[ranked[0]]))
        )


def test_methods_change_nothing_but_the_maps(recording: Recording, tmp_path: Path) -> None:
    whole = study(recording, tmp_path / "whole")
    alone = study(recording, tmp_path / "alone", dataclasses.replace(SETTINGS, methods=["ours-paper"]))
    assert alone.methods == ("paper",)
    for one, other in zip(whole.neurons, alone.neurons, strict=True):
        np.testing.assert_allclose(alone.maps(one.name, "paper"), whole.maps(one.name, "paper"), rtol=1e-5, atol=1e-9)
        for pair, own in zip(one.pairs, other.pairs, strict=True):
            assert own.intensity.keys() == {"paper"}
            assert own.agreement is own.gradient_ig_correlation is None
            changed = {"agreement": None, "intensity": {}, "gradient_ig_correlation": None}
            assert dataclasses.replace(own, **changed) == dataclasses.replace(pair, **changed)
    with pytest.raises(KeyError, match="no maps by 'recommended', but by paper"):
        alone.maps("A", "recommended")


def test_a_dissimilar_driver_is_the_one_whose_best_reference_is_least_similar(
    recording: Recording, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, n_strong=1, driver_fraction=0.5)
    result = study(recording, tmp_path / "out", settings)
    every = study(recording, tmp_path / "all", dataclasses.replace(settings, n_strong=N_OBJECTS, n_dissimilar=0))
    for neuron, whole in zip(result.neurons, every.neurons, strict=True):
        drivers = whole.pairs[1:5]  # half of the objects are drivers, of which the strongest is taken already
        least = min(drivers, key=lambda pair: pair.similarity)
        assert [pair.kind for pair in neuron.pairs] == ["strong", "dissimilar", "weak"]
        assert neuron.pairs[1].image == least.image
        assert neuron.pairs[2].image == whole.pairs[-1].image


def test_neurons_that_cannot_take_part_are_kept_marked_and_left_out(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(responses: ndarray) -> None:
        responses[:, :, 0] = np.nan
        responses[:, :, 1] = 0
        responses[:, N_BODIES:, 2] = np.nan
        responses[0, 3, 3] = np.nan

    result = study(with_responses(recording, spoil), tmp_path / "out")
    assert [bool(neuron.excluded) for neuron in result.neurons] == [True, True, True, False]
    assert [neuron.name for neuron in result.included] == ["D"]
    assert all(neuron.pairs == () for neuron in result.neurons[:3])
    assert "no response" in result.neurons[0].excluded
    assert math.isnan(result.neurons[0].heldout_correlation)
    assert StudyResult.load(tmp_path / "out").neurons[1].excluded == result.neurons[1].excluded
    with pytest.raises(ValueError, match=r"Expected maps of 'A' in .*maps\.npz.* got those of"):
        result.maps("A", "paper")


def test_the_same_pairs_are_explained_with_another_network(recording: Recording, tmp_path: Path) -> None:
    first = study(recording, tmp_path / "first")
    second = study(recording, tmp_path / "second", features=encoder(1), model="other", pairs_of=first)
    fitted = LinearReadout.load(tmp_path / "second" / "readout.safetensors")
    similarity = NeuronSimilarity(encoder(1), uncentred(fitted))
    image, reference = (
        load_images([tmp_path / "images" / f"{name}.png"], rgb_preprocess(SIZE))
        for name in (first.neurons[2].pairs[1].image, first.neurons[2].pairs[1].reference)
    )
    with torch.no_grad():
        assert second.neurons[2].pairs[1].similarity == pytest.approx(
            float(similarity(image, reference)[0, 2]), abs=1e-6
        )
    for one, other in zip(first.neurons, second.neurons, strict=True):
        assert [(p.kind, p.image, p.reference) for p in one.pairs] == [
            (p.kind, p.image, p.reference) for p in other.pairs
        ]
    assert second.neurons[0].pairs[0].similarity != first.neurons[0].pairs[0].similarity
    assert not np.allclose(first.maps("A", "paper"), second.maps("A", "paper"))


def test_a_study_whose_maps_were_read_can_be_sent_to_another_process(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out")
    maps = result.maps("A", "paper")
    sent = pickle.loads(pickle.dumps(result))
    assert sent == result
    np.testing.assert_array_equal(sent.maps("A", "paper"), maps)


@pytest.mark.usefixtures("as_installed")
class TestRefused:
    def test_categories_that_leave_nothing_to_do(self, recording: Recording, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"'boddy', got none.*body \(12 images\), object \(10 images\)"):
            study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, preferred="boddy"))
        with pytest.raises(ValueError, match="got 12 images and 13 folds"):
            study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, folds=13))
        bodies = recording.select(images=recording.in_category("body"))
        with pytest.raises(ValueError, match="other categories than 'body', got 0"):
            study(bodies, tmp_path / "out")
        with pytest.raises(ValueError, match="image files, got none"):
            study(dataclasses.replace(recording, paths=None), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("change", [{"n_strong": 0}, {"folds": 1}, {"driver_fraction": 0.0}])
    def test_settings_out_of_range(self, change: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=rf"^Expected .*{next(iter(change))}.*, got [01]"):
            dataclasses.replace(SETTINGS, **change)

    def test_methods_that_there_are_not(self) -> None:
        with pytest.raises(ValueError, match=r"no method 'recomended'\. Did you mean recommended"):
            dataclasses.replace(SETTINGS, methods=["recomended"])
        for methods in ("paper", []):
            with pytest.raises(ValueError, match="one or more names of methods, got"):
                dataclasses.replace(SETTINGS, methods=methods)

    def test_a_study_of_an_earlier_version(self, recording: Recording, tmp_path: Path) -> None:
        study(recording, tmp_path / "out")
        file = tmp_path / "out" / "study.json"
        content = json.loads(file.read_text())
        del content["settings"]["methods"]
        content["settings"]["n_steps"] = 24
        file.write_text(json.dumps(content))
        (tmp_path / "out" / RECORD).unlink()  # which it has none of
        with pytest.raises(
            ValueError, match=r"earlier version, whose maps have no methods\. Run the study again, into a new fol"
        ):
            StudyResult.load(tmp_path / "out")
        with pytest.raises(ValueError, match=r"differs in methods, n_steps\. Choose another output"):
            study(recording, tmp_path / "out", resume=True)

    def test_no_finished_study(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="Expected a finished study"):
            StudyResult.load(tmp_path)
        (tmp_path / "study.json").write_text('{"neurons": [{}]}')
        with pytest.raises(ValueError, match="Expected a readable study written by captum-shared at "):
            StudyResult.load(tmp_path)
