"""Several layers of a network, of which a study takes the one that predicts best."""

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import within_folds
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from toy_experiment import N_BODIES, SETTINGS, SIZE, contents, encoder, network, study
from toys import Randomised

from captum_shared import LatentFeatures, LayerFeatures
from captum_shared.images import load_images, rgb_preprocess
from captum_shared.recordings.recording import Recording
from captum_shared.study import run
from captum_shared.study.result import StudyResult

LAYERS = ("0", "1", "3")


def layers(names: tuple[str, ...] = LAYERS) -> LayerFeatures:
    features = LayerFeatures(Randomised(0)(network).float(), names)
    features.deepest.preprocess = rgb_preprocess(SIZE)
    return features


def test_the_layer_that_predicts_held_out_bodies_best_is_taken(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out", features=layers())
    bodies = recording.responses.mean(0)[:N_BODIES]
    expected = {}
    for name in LAYERS:
        cut = LatentFeatures(Randomised(0)(network).float(), name)
        with torch.no_grad():
            latent = cut(load_images(recording.paths[:N_BODIES], rgb_preprocess(SIZE))).double().numpy()
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True))
        predicted = cross_val_predict(model, latent, bodies, cv=KFold(3, shuffle=True, random_state=SETTINGS.seed))
        folds = KFold(3, shuffle=True, random_state=SETTINGS.seed).split(latent)
        expected[name] = np.mean(within_folds(predicted, bodies, folds))
    assert result.layers == pytest.approx(expected, abs=1e-6)
    assert result.layer == max(expected, key=expected.__getitem__) == "3"  # which the responses are made of
    assert result.settings["layer"] == list(LAYERS)
    assert StudyResult.load(tmp_path / "out") == result
    named = study(recording, tmp_path / "named", features=encoder())
    assert named.neurons == result.neurons
    assert (named.layers, named.layer) == ({}, "3")
    for file in ("maps.npz", "readout.safetensors"):
        assert contents(tmp_path / "named")[file] == contents(tmp_path / "out")[file]


def test_the_layer_is_chosen_once(recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = study(recording, tmp_path / "whole", features=layers())

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "preferred_readout", stop)
        with pytest.raises(KeyboardInterrupt):
            study(recording, tmp_path / "out", features=layers())
    monkeypatch.setattr(run, "layer_correlations", stop)
    assert study(recording, tmp_path / "out", features=layers(), resume=True) == whole
    with pytest.raises(ValueError, match="it differs in layer"):
        study(recording, tmp_path / "out", features=layers(("1", "3")), resume=True)
