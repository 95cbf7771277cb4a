"""``captum-shared simulate`` and ``study``, as a user types them."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from captum_shared._record import RECORD
from captum_shared.cli import app
from captum_shared.encoders.by_name import encoder_by_name
from captum_shared.recordings.recording import Recording
from captum_shared.study.result import StudyResult
from captum_shared.study.run import run_study
from captum_shared.study.settings import StudySettings

pytestmark = pytest.mark.usefixtures("as_installed")
FORMATS = ("nc", "npz", "csv", "parquet", "h5", "nwb")
SMALL = ("--neurons", "6", "--creatures", "24", "--artefacts", "16")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def arguments(recording: Path, output: Path, *others: str) -> list[str]:
    typed = ["study", str(recording), "--images", str(recording.parent / "images"), "--preferred", "creature"]
    if "--model" not in others:
        typed += ["--model", "embedded", "--layer", "features"]
    return [*typed, "--output", str(output), "--all-neurons", *others]  # with so few images chance predicts much


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "new"
    result = run("simulate", "--output", folder, *SMALL)
    assert result.exit_code == 0, result.output
    return folder / "recording.nc"


@pytest.fixture(scope="module")
def finished(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("study") / "whole"
    result = run(*arguments(recording, output))
    assert result.exit_code == 0, result.output
    assert "6 of 6 neurons" in result.output
    return output


def test_the_study_is_that_of_the_library(recording: Path, finished: Path, tmp_path: Path) -> None:
    loaded = Recording.load(recording, images=recording.parent / "images")
    features, settings = encoder_by_name("embedded", "features"), StudySettings("creature", all_neurons=True)
    expected = run_study(loaded, features, settings, output=tmp_path / "out", model="embedded", progress=False)
    study = json.loads((finished / "study.json").read_text())
    assert study.keys() == {"settings", "versions", "seed", "null_interval", "ooc_null_interval", "neurons", "layers"}
    assert study["settings"] == expected.settings
    assert study["null_interval"] == pytest.approx(expected.null_interval)
    correlations = {neuron.name: neuron.heldout_correlation for neuron in expected.neurons}
    assert {neuron["name"]: neuron["heldout_correlation"] for neuron in study["neurons"]} == correlations
    for written, neuron in zip(study["neurons"], expected.neurons, strict=True):
        assert written == json.loads(json.dumps(dataclasses.asdict(neuron)))
        assert [pair["kind"] for pair in written["pairs"]] == ["strong", "strong", "dissimilar", "weak"]
        assert {pair["image"].split("_")[0] for pair in written["pairs"]} == {"artefact"}
        assert {pair["reference"].split("_")[0] for pair in written["pairs"]} == {"creature"}
        for method in ("recommended", "paper"):
            maps = StudyResult.load(finished).maps(neuron.name, method)
            np.testing.assert_array_equal(maps, expected.maps(neuron.name, method))
    assert str(finished.parent) not in (finished / "study.json").read_text()
    with np.load(finished / "maps.npz") as maps:
        assert maps["axes"].tolist() == ["pair", "side", "method", "row", "column"]
        assert maps["methods"].tolist() == study["settings"]["methods"] == ["recommended", "paper"]
        assert maps["maps/00000"].shape == (4, 2, 2, 112, 112)
    figures = {path.stem for path in (finished / "figures").glob("*.png")}
    pages = {"pairs_anterior_1", "pairs_posterior_1"}
    assert figures == {"encoding", "responses", "faint"} | pages


def test_the_summary_has_the_means(finished: Path, recording: Path) -> None:
    result = run(*arguments(recording, finished, "--resume"))
    assert result.exit_code == 0, result.output
    study = json.loads((finished / "study.json").read_text())
    for name in ("heldout_correlation", "ooc_correlation", "reliability", "ooc_reliability"):
        mean = np.mean([neuron[name] for neuron in study["neurons"]])
        assert f"mean {name.replace('_', ' ')}: {mean:.2f} (n = 6)" in result.output


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_the_same_study_to_the_last_digit(finished: Path, tmp_path: Path, file_format: str) -> None:
    simulated = run("simulate", "--output", tmp_path / "new", "--format", file_format, *SMALL)
    assert simulated.exit_code == 0, simulated.output
    assert f"captum-shared study {tmp_path}/new/recording.{file_format} --images" in simulated.output.replace("\n", "")
    studied = run(*arguments(tmp_path / "new" / f"recording.{file_format}", tmp_path / "study"))
    assert studied.exit_code == 0, studied.output
    again, whole = contents(tmp_path / "study"), contents(finished)
    assert {name: again[name] for name in again if name != RECORD} == {n: whole[n] for n in whole if n != RECORD}


def test_a_killed_study_resumes_to_the_same_files(recording: Path, finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "study"
    command = [sys.executable, "-c", "from captum_shared.cli import app; app()", *arguments(recording, output)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while not list(output.glob(".progress/neuron_*.npz")):
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (output / "study.json").exists()
    assert run(*arguments(recording, output)).exit_code == 2
    resumed = run(*arguments(recording, output, "--resume"))
    assert resumed.exit_code == 0, resumed.output
    assert contents(output) == contents(finished)
    again = run(*arguments(recording, output, "--resume"))
    assert again.exit_code == 0, again.output
    assert contents(output) == contents(finished)


@pytest.mark.filterwarnings("default:.*put aside")
def test_a_damaged_report_is_put_aside_and_made_anew(recording: Path, finished: Path, tmp_path: Path) -> None:
    folder, whole = tmp_path / "study", (finished / "report.html").read_bytes()
    shutil.copytree(finished, folder)
    (folder / "report.html").write_bytes(whole[:-100])
    result = run(*arguments(recording, folder, "--resume"))
    assert result.exit_code == 0, result.output
    assert (folder / "report.html").as_uri() in result.output
    assert (folder / "report.html").read_bytes() == whole
    assert (folder / "damaged" / "report.html").read_bytes() == whole[:-100]


def test_a_study_may_be_without_its_report(recording: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    (folder / "report.html").unlink()
    result = run(*arguments(recording, folder, "--resume", "--no-report"))
    assert result.exit_code == 0, result.output
    assert not (folder / "report.html").exists()
    assert "report.html" not in result.output
    again = run("report", folder, "--output", tmp_path / "elsewhere.html")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "elsewhere.html").read_bytes() == (finished / "report.html").read_bytes()


def test_methods_are_those_asked_for_and_one_is_shown(recording: Path, finished: Path, tmp_path: Path) -> None:
    methods = ["--method", "paper", "--method", "ours-ig", "--show", "ours-ig"]
    result = run(*arguments(recording, tmp_path / "study", *methods))
    assert result.exit_code == 0, result.output
    loaded, usual = StudyResult.load(tmp_path / "study"), StudyResult.load(finished)
    assert loaded.methods == ("paper", "ours-ig")
    for neuron, other in zip(loaded.included, usual.included, strict=True):
        np.testing.assert_allclose(loaded.maps(neuron.name, "paper"), usual.maps(neuron.name, "paper"), rtol=1e-5)
        assert all(-1 <= pair.gradient_ig_correlation <= 1 for pair in neuron.pairs)
        assert all(0 <= pair.agreement <= 1 for pair in other.pairs)
    faint = [(folder / "figures" / "faint.png").read_bytes() for folder in (tmp_path / "study", finished)]
    assert faint[0] != faint[1]
    assert (tmp_path / "study" / "figures" / "integrated_gradients.png").exists()


def test_of_several_depths_the_best_is_taken_and_told(recording: Path, tmp_path: Path) -> None:
    result = run(*arguments(recording, tmp_path / "study", "--model", "embedded", "--layer", "auto"))
    assert result.exit_code == 0, result.output
    study = StudyResult.load(tmp_path / "study")
    assert list(study.layers) == study.settings["layer"]
    assert len(study.layers) == 6
    for layer, correlation in study.layers.items():
        taken = ", taken" if correlation == max(study.layers.values()) else ""
        assert f"layer {layer}: {correlation:.3f} on held-out images{taken}\n" in result.output
    named = run(*arguments(recording, tmp_path / "named", "--model", "embedded", "--layer", study.layer))
    assert named.exit_code == 0, named.output
    assert StudyResult.load(tmp_path / "named").neurons == study.neurons


def test_two_networks_explain_the_same_pairs(recording: Path, tmp_path: Path) -> None:
    models = ["--model", "embedded", "--model", "embedded", "--layer", "features", "--layer", "features.9"]
    result = run(*arguments(recording, tmp_path / "study", *models))
    assert result.exit_code == 0, result.output
    first, second = (StudyResult.load(tmp_path / "study" / name) for name in ("", "embedded-features.9"))
    assert [pair.image for pair in first.neurons[0].pairs] == [pair.image for pair in second.neurons[0].pairs]
    assert second.settings["layer"] == "features.9"
    assert second.settings["pairs_of"] != first.settings.get("pairs_of")
    maps = [result.maps(first.neurons[0].name, "paper") for result in (first, second)]
    assert not np.allclose(*maps)
    assert (tmp_path / "study" / "figures" / "architectures.png").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--preferred", "body"], "'body', got none; there are: creature (24 images), artefact (16 images)"),
        (["--folds", "25"], "got 24 images and 25 folds"),
        (["--device", "tpu"], "'tpu' is not available"),
        (["--weights", "DEFAULT"], "Expected --weights for each model but 'embedded'"),
        (["--layer", "features", "--layer", "classifier", "--layer", "pool"], "one for each of the 1 models, got 3"),
        (["--images", "nowhere"], "nowhere"),
        (["--layer", "feature"], "feature"),
        (["--strong", "0"], "n_strong of at least 1, got 0"),
        (["--method", "recomended"], "Did you mean recommended"),
        (["--show", "ours-ig"], "Expected --show to name a method of the study (recommended, paper), got 'ours-ig'"),
    ],
)
def test_wrong_arguments_get_a_sentence(recording: Path, tmp_path: Path, change: list[str], sentence: str) -> None:
    typed = arguments(recording, tmp_path / "study")
    for flag in {word for word in change if word.startswith("--")} & set(typed):
        index = typed.index(flag)
        del typed[index : index + 2]
    result = run(*typed, *change)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "study").exists()


def test_missing_or_unknown_images_are_listed(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(recording.parent, folder)
    for path in sorted((folder / "images").iterdir())[:12]:
        path.unlink()
    result = run(*arguments(folder / "recording.nc", tmp_path / "study"))
    assert result.exit_code == 2
    assert result.output.count(".png") == 10
    table = folder / "stimuli.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-2]) + "\n")
    result = run(*arguments(folder / "recording.nc", tmp_path / "study", "--stimuli", str(table)))
    assert result.exit_code == 2
    assert "artefact" in result.output
    truncated = folder / "recording.nc"
    truncated.write_bytes(truncated.read_bytes()[:5000])
    result = run(*arguments(truncated, tmp_path / "study"))
    assert result.exit_code == 2
    assert "recording.nc" in result.output
    assert not (tmp_path / "study").exists()


def test_a_folder_with_another_study_is_left_alone(recording: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "study")
    result = run(*arguments(recording, tmp_path / "study", "--resume", "--seed", "1"))
    assert result.exit_code == 2
    assert "holds a different study: it differs in seed" in result.output
    assert run("simulate", "--output", tmp_path / "study", *SMALL).exit_code == 2
    assert contents(tmp_path / "study") == contents(finished)
