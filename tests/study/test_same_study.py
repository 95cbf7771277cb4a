"""What is the same study and what is another: interruptions, preprocessing, pairs of another study."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from toy_experiment import SETTINGS, SIZE, contents, encoder, small_blocks, study, with_responses

from captum_shared._record import RECORD
from captum_shared._resuming import ResumableFolder
from captum_shared.encoders import extraction
from captum_shared.images import rgb_preprocess
from captum_shared.neurons import stored
from captum_shared.recordings.recording import Recording
from captum_shared.study import pieces, readouts
from captum_shared.study.experiment import Experiment
from captum_shared.study.result import StudyResult

STEPS = {
    "features": (extraction, "_block"),
    "readout": (readouts, "fit_readout"),
    "cross-validation": (readouts, "heldout_against_chance"),
    "maps": (Experiment, "explained"),
}
STOPS = {  # where a study is interrupted, after how many calls, and how often each step is then left to be done
    "features": (*STEPS["features"], 0, (3, 1, 1, 4)),
    "half of the features": (*STEPS["features"], 1, (2, 1, 1, 4)),
    "readout": (*STEPS["readout"], 0, (0, 1, 1, 4)),
    "half a readout": (stored, "write_atomically", 0, (0, 1, 1, 4)),
    "cross-validation": (*STEPS["cross-validation"], 0, (0, 1, 1, 4)),
    "maps": (*STEPS["maps"], 0, (0, 0, 0, 4)),
    "keep": (pieces, "packed", 2, (0, 0, 0, 2)),
    "save": (StudyResult, "save", 0, (0, 0, 0, 0)),
    "clear": (ResumableFolder, "clear", 1, (0, 0, 0, 0)),
}


def interrupted(original: Callable[..., Any], after: int) -> Callable[..., Any]:
    calls: list[None] = []

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) > after:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    return wrapper


def counted(original: Callable[..., Any], calls: list[None]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return original(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize("stop", STOPS)
def test_an_interrupted_study_resumes_to_the_same_files_and_repeats_nothing(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    small_blocks(monkeypatch, 8)
    whole = study(recording, tmp_path / "whole")
    owner, name, after, left = STOPS[stop]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), after))
        with pytest.raises(KeyboardInterrupt):
            study(recording, tmp_path / "out")
    visible = {name for name in contents(tmp_path / "out") if not name.startswith(".")}
    assert visible <= {"maps.npz", "readout.safetensors", "study.json"}
    assert ("readout.safetensors" in visible) == (left[1] == 0)  # whole or not at all
    assert ("study.json" in visible) == (stop == "clear")  # last of all
    calls: dict[str, list[None]] = {step: [] for step in STEPS}
    for step, (module, function) in STEPS.items():
        monkeypatch.setattr(module, function, counted(getattr(module, function), calls[step]))
    resumed = study(recording, tmp_path / "out", resume=True)
    assert tuple(map(len, calls.values())) == left
    assert resumed == whole
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(contents(tmp_path / "out")) == [RECORD, "maps.npz", "readout.safetensors", "study.json"]


def test_a_finished_study_is_returned_and_loaded(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert study(recording, tmp_path / "out", resume=True) == result == StudyResult.load(tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert StudyResult.load(tmp_path / "out" / "study.json").maps("B", "ours-ig").shape == (3, 2, SIZE, SIZE)


class Brighter:
    """A preprocessing whose parameter its name does not tell."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return rgb_preprocess(SIZE)(image) + self.by

    def __repr__(self) -> str:
        return "Brighter()"


def test_preprocessing_is_told_by_what_it_does(recording: Recording, tmp_path: Path) -> None:
    first, second = (encoder(preprocess=lambda image: rgb_preprocess(SIZE)(image)) for _ in range(2))
    assert repr(first.preprocess) != repr(second.preprocess)
    result = study(recording, tmp_path / "out", features=first)
    assert study(recording, tmp_path / "out", features=second, resume=True) == result
    assert study(recording, tmp_path / "out", features=encoder(), resume=True) == result
    for changed in (Brighter(1e-3), lambda image: rgb_preprocess(SIZE)(image.transpose(Image.Transpose.ROTATE_180))):
        with pytest.raises(ValueError, match="it differs in preprocess"):
            study(recording, tmp_path / "out", features=encoder(preprocess=changed), resume=True)
    study(recording, tmp_path / "brighter", features=encoder(preprocess=Brighter(0.1)))
    with pytest.raises(ValueError, match="it differs in preprocess"):
        study(recording, tmp_path / "brighter", features=encoder(preprocess=Brighter(0.2)), resume=True)


def test_pairs_of_another_study_are_told_by_what_they_are(recording: Recording, tmp_path: Path) -> None:
    first = study(recording, tmp_path / "first")
    renamed = dataclasses.replace(first, settings={**first.settings, "model": "of another name"})
    result = study(recording, tmp_path / "out", features=encoder(1), pairs_of=first)
    assert study(recording, tmp_path / "out", features=encoder(1), pairs_of=renamed, resume=True) == result
    neuron = first.neurons[2]
    swapped = dataclasses.replace(neuron.pairs[0], reference=neuron.pairs[1].reference, image="object7")
    others = [*first.neurons[:2], dataclasses.replace(neuron, pairs=(swapped, *neuron.pairs[1:])), first.neurons[3]]
    changed = dataclasses.replace(first, neurons=tuple(others))
    for pairs_of in (changed, None):
        with pytest.raises(ValueError, match="it differs in pairs_of"):
            study(recording, tmp_path / "out", features=encoder(1), pairs_of=pairs_of, resume=True)


def test_pairs_are_of_the_same_recording_and_category(recording: Recording, tmp_path: Path) -> None:
    first = study(recording, tmp_path / "first")
    other = with_responses(recording, lambda responses: responses.__setitem__((0, 0, 0), 1.0))
    renamed = dataclasses.replace(recording, stimulus_ids=tuple(f"{name}.png" for name in recording.stimulus_ids))
    for recorded in (other, renamed):
        with pytest.raises(ValueError, match=r"pairs_of to be a study of the same .*differs in its recording: run"):
            study(recorded, tmp_path / "out", pairs_of=first)
    with pytest.raises(ValueError, match="differs in its preferred"):
        study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, preferred="object"), pairs_of=first)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("as_installed")
class TestRefused:
    def test_another_study_in_the_folder(self, recording: Recording, tmp_path: Path) -> None:
        study(recording, tmp_path / "out")
        before = contents(tmp_path / "out")
        changed = with_responses(recording, lambda responses: responses.__setitem__((0, 0, 0), 1.0))
        with pytest.raises(ValueError, match=r"holds a different study: it differs in recording\. Choose another"):
            study(changed, tmp_path / "out", resume=True)
        with pytest.raises(ValueError, match="differs in folds, methods"):
            study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, folds=4, methods=["paper"]), resume=True)
        with pytest.raises(ValueError, match="differs in weights"):
            study(recording, tmp_path / "out", features=encoder(1), resume=True)
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

    def test_an_encoder_without_preprocessing(self, recording: Recording, tmp_path: Path) -> None:
        features = encoder()
        features.preprocess = None
        with pytest.raises(ValueError, match=r"features\.preprocess is None"):
            study(recording, tmp_path / "out", features=features)
        assert not (tmp_path / "out").exists()
