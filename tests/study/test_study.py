"""The study, against the steps of METHOD.md written out in a loop; interruptions; wrong input."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray
from PIL import Image
from scipy.stats import spearmanr, t
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from toys import Randomised

from captum_shared import LatentFeatures, NeuronSimilarity, ParallelSharedAttribution
from captum_shared import _resuming as resuming
from captum_shared.attr.heatmaps import heatmap
from captum_shared.encoders.photographs import latent_features
from captum_shared.images import load_images, rgb_preprocess
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study import experiment, run
from captum_shared.study.result import StudyResult
from captum_shared.study.run import run_study
from captum_shared.study.settings import StudySettings

N_BODIES, N_OBJECTS, N_NEURONS, SIZE = 12, 10, 4, 16
SETTINGS = StudySettings("body", folds=3, n_steps=4)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU())


def encoder(seed: int = 0) -> LatentFeatures:
    features = LatentFeatures(Randomised(seed)(network).float(), "3")
    features.preprocess = rgb_preprocess(SIZE)
    return features


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Twelve bodies and ten objects of random blobs, and two phases of four neurons that see some of the features."""
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    names = [f"body{i}" for i in range(N_BODIES)] + [f"object{i}" for i in range(N_OBJECTS)]
    paths = tuple(images / f"{name}.png" for name in names)
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((SIZE, SIZE)).save(path)
    with torch.no_grad():
        features = encoder()(load_images(paths, rgb_preprocess(SIZE))).double().numpy()
    signal = features @ rng.standard_normal((features.shape[1], N_NEURONS))
    noise = 0.3 * signal.std(0) * rng.standard_normal((2, *signal.shape))
    return Recording(
        responses=signal + noise,
        stimulus_ids=tuple(names),
        categories=("body",) * N_BODIES + ("object",) * N_OBJECTS,
        neuron_names=("A", "B", "C", "D"),
        regions=("anterior", "anterior", "posterior", "posterior"),
        subjects=("M1",) * N_NEURONS,
        paths=paths,
    )


def study(recording: Recording, output: Path, settings: StudySettings = SETTINGS, **kwargs: object) -> StudyResult:
    return run_study(recording, encoder(), settings, output=output, model="toy", progress=False, **kwargs)


def with_responses(recording: Recording, change: Callable[[ndarray], None]) -> Recording:
    responses = recording.responses.copy()
    change(responses)
    return dataclasses.replace(recording, responses=responses)


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
    for k, neuron in enumerate(result.neurons):
        assert neuron.heldout_correlation == pytest.approx(
            np.corrcoef(held_out[:, k], mean[:N_BODIES, k])[0, 1], abs=1e-8
        )
        assert neuron.ooc_correlation == pytest.approx(np.corrcoef(objects[:, k], mean[N_BODIES:, k])[0, 1], abs=1e-8)
        for name, rows in (("reliability", slice(N_BODIES)), ("ooc_reliability", slice(N_BODIES, None))):
            first, second = recording.responses[:, rows, k]
            assert getattr(neuron, name) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)
        assert neuron.preferred_mean == pytest.approx(mean[:N_BODIES, k].mean())
        assert neuron.ooc_mean == pytest.approx(mean[N_BODIES:, k].mean())
    critical = t.ppf(0.975, N_BODIES - 2)
    bound = critical / math.sqrt(N_BODIES - 2 + critical**2)
    assert result.null_interval == pytest.approx((-bound, bound), abs=1e-12)


def test_pairs_and_maps_are_those_of_the_steps_in_a_loop(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out")
    similarity = NeuronSimilarity(encoder(), LinearReadout.load(tmp_path / "out" / "readout.safetensors"))
    images = load_images(recording.paths, rgb_preprocess(SIZE))
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
        maps = result.maps(neuron.name)
        assert maps.shape == (3, 2, 2, SIZE, SIZE)
        for pair, own in zip(neuron.pairs, maps, strict=True):
            place = names.index(pair.image)
            expected, reference = best(place)
            assert pair.reference == names[reference]
            assert pair.similarity == pytest.approx(expected, abs=1e-6)
            assert (pair.response, pair.reference_response) == (mean[place, k], mean[reference, k])
            inputs = images[[place]], images[[reference]]
            gradient = ParallelSharedAttribution(similarity).attribute(inputs, k)
            integrated = ParallelSharedAttribution(similarity, "integrated_gradients").attribute(
                inputs, k, baselines=128 / 255, n_steps=4
            )
            for side in (0, 1):
                for jacobian, attributions in enumerate((gradient, integrated)):
                    drawn = heatmap(attributions[side], (SIZE, SIZE))[0]
                    np.testing.assert_allclose(own[side, jacobian], drawn, rtol=1e-3, atol=1e-6 * float(drawn.max()))
            assert pair.intensity == pytest.approx(own[:, 0].mean(), rel=1e-5)
            ranks = [spearmanr(*side.reshape(2, -1)).statistic for side in own]
            assert pair.gradient_ig_correlation == pytest.approx(np.mean(ranks), abs=1e-6)
        np.testing.assert_array_equal(
            result.picture(neuron.pairs[0].image), np.asarray(Image.open(recording.paths[ranked[0]]))
        )


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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stop", ["features", "keep", "save", "rmtree"])
def test_an_interrupted_study_resumes_to_the_same_files(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    whole = study(recording, tmp_path / "whole")
    calls = {"n": 0}

    def interrupt(original: Callable[..., object], after: int) -> Callable[..., object]:
        def wrapper(*args: object, **kwargs: object) -> object:
            calls["n"] += 1
            if calls["n"] > after:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        return wrapper

    places = {
        "features": (experiment, "_images", 0),
        "keep": (run, "packed", 2),
        "save": (StudyResult, "save", 0),
        "rmtree": (resuming.shutil, "rmtree", 0),
    }
    owner, name, after = places[stop]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupt(getattr(owner, name), after))
        with pytest.raises(KeyboardInterrupt):
            study(recording, tmp_path / "out")
    computed = []
    original = experiment.Experiment.explained
    monkeypatch.setattr(
        experiment.Experiment, "explained", lambda self, k, pairs: (computed.append(k), original(self, k, pairs))[1]
    )
    resumed = study(recording, tmp_path / "out", resume=True)
    assert computed == {"features": [0, 1, 2, 3], "keep": [2, 3]}.get(stop, [])
    assert resumed == whole
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(contents(tmp_path / "out")) == ["maps.npz", "readout.safetensors", "study.json"]


def test_a_finished_study_is_returned_and_loaded(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert study(recording, tmp_path / "out", resume=True) == result == StudyResult.load(tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert StudyResult.load(tmp_path / "out" / "study.json").maps("B").shape == (3, 2, 2, SIZE, SIZE)


def test_features_of_an_image_are_computed_once(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = LatentFeatures.forward

    def counted(self: LatentFeatures, images: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            seen.append(len(images))
        return forward(self, images)

    features = encoder()
    features(torch.rand(1, 3, SIZE, SIZE))
    monkeypatch.setattr(LatentFeatures, "forward", counted)
    kept = resuming.ResumableFolder(tmp_path / "out", {}, result="study.json")
    for _ in range(2):
        kept.once("features", lambda: {"latent": latent_features(features, recording.paths or ()).numpy()})
    assert sum(seen) == recording.n_images


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
    with pytest.raises(KeyError, match="no maps of 'A'"):
        result.maps("A")


def test_the_same_pairs_are_explained_with_another_network(recording: Recording, tmp_path: Path) -> None:
    first = study(recording, tmp_path / "first")
    second = run_study(
        recording, encoder(1), SETTINGS, output=tmp_path / "second", model="other", pairs_of=first, progress=False
    )
    for one, other in zip(first.neurons, second.neurons, strict=True):
        assert [(p.kind, p.image, p.reference) for p in one.pairs] == [
            (p.kind, p.image, p.reference) for p in other.pairs
        ]
    assert second.neurons[0].pairs[0].similarity != first.neurons[0].pairs[0].similarity
    assert not np.allclose(first.maps("A"), second.maps("A"))


@pytest.mark.usefixtures("as_installed")
class TestRefused:
    def test_another_study_in_the_folder(self, recording: Recording, tmp_path: Path) -> None:
        study(recording, tmp_path / "out")
        before = contents(tmp_path / "out")
        changed = with_responses(recording, lambda responses: responses.__setitem__((0, 0, 0), 1.0))
        with pytest.raises(ValueError, match=r"holds a different study: it differs in recording\. Choose another"):
            study(changed, tmp_path / "out", resume=True)
        with pytest.raises(ValueError, match="differs in folds, n_steps"):
            study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, folds=4, n_steps=5), resume=True)
        with pytest.raises(ValueError, match="holds this study already: resume it"):
            study(recording, tmp_path / "out")
        assert contents(tmp_path / "out") == before

    def test_other_files_in_the_folder(self, recording: Recording, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("years of work")
        with pytest.raises(ValueError, match="holds other files"):
            study(recording, tmp_path / "out", resume=True)
        assert contents(tmp_path / "out") == {"thesis.txt": b"years of work"}
        with pytest.raises(NotADirectoryError, match=r"got the file .*thesis.txt"):
            study(recording, tmp_path / "out" / "thesis.txt")

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

    @pytest.mark.parametrize("change", [{"n_strong": 0}, {"folds": 1}, {"driver_fraction": 0.0}, {"n_steps": 0}])
    def test_settings_out_of_range(self, change: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=rf"^Expected .*{next(iter(change))}.*, got [01]"):
            dataclasses.replace(SETTINGS, **change)

    def test_no_finished_study(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="Expected a finished study"):
            StudyResult.load(tmp_path)
        (tmp_path / "study.json").write_text('{"neurons": [{}]}')
        with pytest.raises(ValueError, match="Expected a study written by captum-shared"):
            StudyResult.load(tmp_path)
