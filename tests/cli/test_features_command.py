"""``captum-shared features``, and the commands that read what it writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_photographs import draw_photographs
from typer.testing import CliRunner, Result

from captum_shared.cli import app
from captum_shared.encoders import extraction
from captum_shared.encoders.by_name import encoder_by_name
from captum_shared.encoders.photographs import load_inputs
from captum_shared.encoders.store import FeatureStore
from captum_shared.images import image_folder

pytestmark = pytest.mark.usefixtures("as_installed")
MODEL = ("--model", "embedded", "--layer", "features")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def wrong(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    done("simulate", "--output", folder / "new", "--neurons", "2", "--creatures", "24", "--artefacts", "16")
    return folder / "new"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photographs(tmp_path_factory.mktemp("photographs"))


def test_images_of_a_folder_a_table_or_a_recording(world: Path, tmp_path: Path) -> None:
    printed = done("features", world / "images", *MODEL, "--output", tmp_path / "folder", "--num-workers", "0")
    assert "features: 40 images x 128 features, float32" in printed
    assert f"Wrote 0.3 MB to {tmp_path}/folder. Next: add --features {tmp_path}/folder" in " ".join(printed.split())
    paths, store = image_folder(world / "images")[0], FeatureStore.open(tmp_path / "folder")
    assert store.images == tuple(path.name for path in paths)
    encoder = encoder_by_name("embedded", "features")
    with torch.no_grad():
        expected = torch.cat([encoder(load_inputs(encoder, [path])) for path in paths])
    np.testing.assert_allclose(store.features()[:], expected, rtol=1e-4, atol=1e-5)
    names = [path.name for path in paths][5:2:-1]
    table = tmp_path / "few.csv"
    table.write_text("stimulus_id,filename\n" + "".join(f"{name[:-4]},{name}\n" for name in names))
    done("features", table, "--images", world / "images", *MODEL, "--output", tmp_path / "table")
    assert FeatureStore.open(tmp_path / "table").images == tuple(names)
    done("features", world / "recording.nc", "--images", world / "images", *MODEL, "--output", tmp_path / "recording")
    assert sorted(FeatureStore.open(tmp_path / "recording").images) == sorted(store.images)


def test_a_study_of_a_store_is_the_same(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = (world / "recording.nc", "--images", world / "images")
    layers = ("--layer", "features.12,features", "--layer", "features.9")
    done("features", *recording, "--model", "embedded", *layers, "--output", tmp_path / "store")
    few = ("--strong", "1", "--dissimilar", "0", "--weak", "0", "--method", "recommended")
    study = ("study", *recording, *MODEL, "--preferred", "creature", "--all-neurons", *few)
    done(*study, "--output", tmp_path / "out")
    monkeypatch.setattr(extraction, "image_blocks", None)
    done(*study, "--output", tmp_path / "of a store", "--features", tmp_path / "store")
    own, other = contents(tmp_path / "out"), contents(tmp_path / "of a store")
    assert {name: own[name] for name in own if ".captum" not in name} == {
        name: other[name] for name in other if ".captum" not in name
    }
    again = done(*study, "--output", tmp_path / "of a store", "--features", tmp_path / "store", "--resume")
    assert "holds this study and its figures already" in again
    two = ("--features", tmp_path / "store", "--features", tmp_path / "store")
    assert "Expected --features for each of the 1 models, or for none, got 2" in wrong(
        *study, "--output", tmp_path / "two", *two
    )
    assert "expected pooling average, but got max" in wrong(
        *study, "--output", tmp_path / "max", "--pool", "max", "--features", tmp_path / "store"
    )


def test_a_benchmark_of_a_store_is_the_same(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done("features", photographs, *MODEL, "--output", tmp_path / "store")
    neurons = ("benchmark", "neurons", "--images", photographs, "--model", "embedded", "--method", "paper")
    done(*neurons, "--output", tmp_path / "out")
    done(*neurons, "--output", tmp_path / "of a store", "--features", tmp_path / "store")
    own, other = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("out", "of a store"))
    for one, another in zip(own["neurons"], other["neurons"], strict=True):
        assert [one[key]["path"] for key in ("image", "reference")] == [
            another[key]["path"] for key in ("image", "reference")
        ]
        assert one["similarity"] == pytest.approx(another["similarity"], abs=1e-6)
    grid = ("benchmark", "grid", "--images", photographs, "--model", "embedded", "--method", "paper")
    done(*grid, "--output", tmp_path / "grid", "--pairs", "2", "--features", tmp_path / "store")
    settings = json.loads((tmp_path / "grid" / "results.json").read_text())["settings"]
    assert settings["features"] == "float32, 96 images"


def test_a_pair_is_centred_by_a_store(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same similarity as by the images themselves."""
    monkeypatch.chdir(tmp_path)
    done("features", world / "images", *MODEL, "--output", "store")
    pair = (world / "images" / "artefact_0000.png", world / "images" / "creature_0000.png")
    explain = ("explain", *pair, *MODEL, "--method", "recommended")
    center = ("--center", world / "images")
    done(*explain, *center, "--output", "own.png")
    done(*explain, *center, "--features", "store", "--output", "stored.png")
    with np.load("own.npz") as first, np.load("stored.npz") as second:
        own, other = dict(first), dict(second)
    assert float(own["similarity"]) == pytest.approx(float(other["similarity"]), abs=1e-6)
    maps = [each["recommended_image"].ravel() for each in (own, other)]  # how places scatter, the pair tells too
    assert np.corrcoef(maps)[0, 1] > 0.99
    assert "--features has the features of the photographs of --center" in wrong(*explain, "--features", "store")


def test_what_is_wrong_is_said_in_a_sentence(world: Path, tmp_path: Path) -> None:
    images, output = world / "images", ("--output", tmp_path / "store")
    resnet = ("--model", "resnet18", "--layer", "layer1")
    assert "Name the weights of resnet18: --weights DEFAULT" in wrong("features", images, *resnet, *output)
    both = ("--model", "embedded", "--layer", "auto,features")
    assert "Expected 'auto' or names of layers, got both" in wrong("features", images, *both, *output)
    assert "got no file at" in wrong("features", tmp_path / "none.nc", *MODEL, *output)
    assert "besides the folder" in wrong("features", images, "--images", images, *MODEL, *output)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"none")
    (tmp_path / "bad" / "b.png").write_bytes((images / "artefact_0000.png").read_bytes())
    told = wrong("features", tmp_path / "bad", *MODEL, "--output", tmp_path / "refused", "--num-workers", "1")
    assert f"captum-shared: Expected a readable image file at {tmp_path}/bad/a.png" in told
    kept = done("features", tmp_path / "bad", *MODEL, *output, "--skip-bad")
    assert "left out: a.png (Expected a readable image file" in kept
    assert "features: 1 images x 128 features" in kept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=str)
def test_a_stop_leaves_no_traceback_and_no_process(world: Path, tmp_path: Path, number: signal.Signals) -> None:
    """The signal of a keyboard goes to all processes of a command."""
    command = ["-m", "captum_shared", "features", str(world / "images"), *MODEL, "--num-workers", "2"]
    process = subprocess.Popen(
        [sys.executable, *command, "--output", str(tmp_path / "store")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (begun := workers.read_text().split()):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "--resume goes on with it." in told
    deadline = time.monotonic() + 30
    while any(_lives(worker) for worker in begun):
        assert time.monotonic() < deadline, "a process that reads images is left"
        time.sleep(0.1)
    done("features", world / "images", *MODEL, "--output", tmp_path / "store", "--resume")
    done("features", world / "images", *MODEL, "--output", tmp_path / "whole")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def _lives(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
