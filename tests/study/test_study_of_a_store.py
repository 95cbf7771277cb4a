"""A study of features in a store: the same as one that computes them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_choice_of_layer import layers
from toy_experiment import contents, encoder, study

from captum_shared.encoders import extraction
from captum_shared.encoders.store import FeatureStore
from captum_shared.encoders.writing import Extraction, write_features
from captum_shared.recordings.recording import Recording


def stored(recording: Recording, folder: Path, features: Any, **options: Any) -> FeatureStore:
    return write_features(folder, features, recording.paths or (), progress=False, **options)


@pytest.mark.parametrize("several", [False, True], ids=["one layer", "auto"])
def test_the_study_is_the_same_and_computes_no_features(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    features = layers() if several else encoder()
    study(recording, tmp_path / "out", features=features)
    store = stored(recording, tmp_path / "store", layers())
    monkeypatch.setattr(extraction, "image_blocks", None)
    study(recording, tmp_path / "of a store", features=features, store=store)
    assert contents(tmp_path / "of a store") == contents(tmp_path / "out")


def test_images_may_lie_in_another_order_among_others(recording: Recording, tmp_path: Path) -> None:
    """What is gathered over images is of those of the store then."""
    own = study(recording, tmp_path / "out")
    order = np.random.default_rng(1).permutation(recording.n_images)
    store = stored(recording.select(images=order), tmp_path / "store", encoder())
    result = study(recording, tmp_path / "of a store", store=store)
    for one, other in zip(own.neurons, result.neurons, strict=True):
        assert one.heldout_correlation == pytest.approx(other.heldout_correlation, abs=1e-5)
        assert [pair.image for pair in one.pairs] == [pair.image for pair in other.pairs]
    few = dataclasses.replace(recording.select(images=np.arange(4, 22)))
    part = study(few, tmp_path / "few of a store", store=store)
    assert part.neurons[0].heldout_correlation == pytest.approx(
        study(few, tmp_path / "few").neurons[0].heldout_correlation, abs=1e-5
    )


def test_half_precision_is_another_study(recording: Recording, tmp_path: Path) -> None:
    own = study(recording, tmp_path / "out")
    store = stored(recording, tmp_path / "store", encoder(), extraction=Extraction("float16"))
    with pytest.raises(ValueError, match="it differs in features"):
        study(recording, tmp_path / "out", store=store, resume=True)
    half = study(recording, tmp_path / "half", store=store)
    assert half.settings == {**own.settings, "features": "float16"}
    assert half.neurons[0].heldout_correlation == pytest.approx(own.neurons[0].heldout_correlation, abs=1e-2)


def test_a_stale_store_is_refused(recording: Recording, tmp_path: Path) -> None:
    store = stored(recording, tmp_path / "store", encoder())
    with pytest.raises(ValueError, match="store holds features of another encoder: expected weights"):
        study(recording, tmp_path / "out", features=encoder(1), store=store)
    with pytest.raises(ValueError, match="expected one of the layers 3, but got 0"):
        study(recording, tmp_path / "out of layers", features=layers(), store=store)
    paths = recording.paths or ()
    paths[2].write_bytes(paths[3].read_bytes())
    study(recording, tmp_path / "same content", store=store)
    with paths[2].open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"1 whose content has changed since \(.*body2\.png\)"):
        study(recording, tmp_path / "changed", store=store)
