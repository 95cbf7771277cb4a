"""Images that cannot be read: named and fatal, or left out and recorded."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_experiment import contents, study

from captum_shared.recordings.recording import Recording

BAD = {"body3": "damaged", "object0": "no image", "object7": "too large"}


@pytest.fixture
def damaged(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A recording with a file that is cut short, one that is no image, and one of more pixels than are allowed."""
    of = dict(zip(recording.stimulus_ids, recording.paths or (), strict=True))
    of["body3"].write_bytes(of["body3"].read_bytes()[:-30])
    of["object0"].write_text("no image")
    Image.new("RGB", (450, 450)).save(of["object7"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200_000)
    return recording


def test_a_bad_image_is_named_and_fatal(damaged: Recording, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"body3\.png"):
        study(damaged, tmp_path / "out")
    assert not (tmp_path / "out" / "study.json").exists()


def test_bad_images_are_left_out_and_recorded(damaged: Recording, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"^3 of 22 images cannot be read and are left out: 'body3', 'object0', 'obj"):
        result = study(damaged, tmp_path / "out", skip_bad=True)
    assert result.settings["skipped"] == list(BAD)
    good = damaged.select(images=np.array([name not in BAD for name in damaged.stimulus_ids]))
    expected = study(good, tmp_path / "good")
    assert result.neurons == expected.neurons
    assert {**result.settings, "skipped": None} == {**expected.settings, "skipped": None}
    for file in ("maps.npz", "readout.safetensors"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "good" / file).read_bytes()
    with pytest.warns(UserWarning, match="left out"):
        assert study(damaged, tmp_path / "out", skip_bad=True, resume=True) == result


def test_where_no_image_is_bad_nothing_changes(recording: Recording, tmp_path: Path) -> None:
    study(recording, tmp_path / "out", skip_bad=True)
    study(recording, tmp_path / "expected")
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def test_what_is_left_has_to_suffice(recording: Recording, tmp_path: Path) -> None:
    for path in (recording.paths or ())[:11]:
        path.write_text("no image")
    with pytest.warns(UserWarning, match="11 of 22"), pytest.raises(ValueError, match="got 1 images and 3 folds"):
        study(recording, tmp_path / "out", skip_bad=True)
    for path in recording.paths or ():
        path.write_text("no image")
    with pytest.raises(ValueError, match=r"Expected images that can be read, got none; the first: .*body0\.png"):
        study(recording, tmp_path / "out", skip_bad=True)


def test_a_missing_image_is_no_bad_one(recording: Recording, tmp_path: Path) -> None:
    (recording.paths or ())[4].unlink()
    with pytest.raises(FileNotFoundError, match=r"body4\.png"):
        study(recording, tmp_path / "out", skip_bad=True)
