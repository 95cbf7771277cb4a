"""Neurons that nothing predicts: marked, left out of maps and figures unless asked for; and readouts that tell so."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from toy_experiment import SETTINGS, blobs, encoder, study
from toy_study import texts

from captum_shared.figures import encoding_figure, response_figure, write_figures
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study.result import StudyResult

N_BODIES, N_OBJECTS = 45, 6
PREDICTED = ("A", "B", "C", "D")
QUICK = dataclasses.replace(SETTINGS, methods=("paper",), all_neurons=False)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Four neurons that see some of the features, and four that do not, of which one nearly anticorrelates."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    names, paths, features = blobs(folder, rng, N_BODIES, N_OBJECTS)
    signal = features @ rng.standard_normal((features.shape[1], 8))
    signal = (signal - signal.mean(0)) / signal.std(0)
    signal[:, 4:] = rng.standard_normal(signal[:, 4:].shape)
    return Recording(
        responses=signal + 0.3 * rng.standard_normal((2, *signal.shape)),
        stimulus_ids=tuple(names),
        categories=("body",) * N_BODIES + ("object",) * N_OBJECTS,
        neuron_names=(*PREDICTED, "E", "F", "G", "H"),
        regions=("anterior",) * 4 + ("posterior",) * 4,
        subjects=("M1",) * 8,
        paths=paths,
    )


@pytest.fixture(scope="module")
def result(half: Recording, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return study(half, tmp_path_factory.mktemp("study") / "out", QUICK)


def test_they_are_marked_and_have_no_maps(result: StudyResult) -> None:
    assert [neuron.name for neuron in result.explained] == list(PREDICTED)
    assert len(result.included) == 8
    for neuron in result.neurons:
        low, high = neuron.null_interval
        assert low < 0 < high
        assert neuron.unpredicted == (neuron.heldout_correlation <= high) == (neuron.name not in PREDICTED)
        assert bool(neuron.pairs) == (neuron.name in PREDICTED)
    with pytest.raises(ValueError, match="Expected maps of 'E'"):
        result.maps("E", "paper")
    assert StudyResult.load(result.map_file.parent) == result


def test_figures_leave_them_out_but_for_the_one_that_shows_why(result: StudyResult, tmp_path: Path) -> None:
    files = {path.name for path in write_figures([result], ["toy"], tmp_path)}
    assert "pairs_anterior_1.png" in files
    assert not [name for name in files if "posterior" in name]
    inside = encoding_figure(result).axes[0]
    (hollow,) = [line for line in inside.get_lines() if line.get_label() == "predicted no better than by chance"]
    expected = sorted(neuron.heldout_correlation for neuron in result.neurons if neuron.name not in PREDICTED)
    assert sorted(hollow.get_ydata()) == expected
    assert hollow.get_fillstyle() == "none"
    (shown,) = [line for line in inside.get_lines() if line.get_label() == "ceiling of the correlation"]
    assert sorted(shown.get_ydata()) == sorted(neuron.ceiling for neuron in result.neurons)
    assert "Predicted no better than by chance: 4 of 8, which have no maps." in _words(encoding_figure(result))
    assert "correlation of two phases, which is that of a single one and no ceiling" in _words(encoding_figure(result))
    responses = response_figure(result).axes[0]
    (left_out,) = [line for line in responses.get_lines() if line.get_label() == "predicted no better than by chance"]
    assert len(left_out.get_xdata()) == 4


def test_of_halves_the_ceiling_is_the_root_of_their_reliability(half: Recording, tmp_path: Path) -> None:
    halves = dataclasses.replace(half, responses=half.mean[None], halves=half.responses)
    result = study(halves, tmp_path / "out", dataclasses.replace(QUICK, n_weak=0))
    for neuron, column in zip(result.neurons, range(8), strict=True):
        between = np.corrcoef(half.responses[0, :N_BODIES, column], half.responses[1, :N_BODIES, column])[0, 1]
        assert neuron.ceiling == pytest.approx(np.sqrt(2 * between / (1 + between)))
    assert "corrected to all of them (Spearman-Brown), which is no ceiling" in _words(encoding_figure(result))


def test_they_are_explained_if_asked_for(half: Recording, result: StudyResult, tmp_path: Path) -> None:
    every = study(half, tmp_path / "out", dataclasses.replace(QUICK, all_neurons=True))
    assert len(every.explained) == 8
    assert [neuron.unpredicted for neuron in every.neurons] == [neuron.unpredicted for neuron in result.neurons]
    assert every.neurons[0] == result.neurons[0]
    assert every.neurons[5].pairs
    with pytest.raises(ValueError, match="differs in all_neurons"):
        study(half, tmp_path / "out", QUICK, resume=True)


def test_where_none_is_predicted_figures_say_so(half: Recording, tmp_path: Path) -> None:
    none = half.select(neurons=[5, 6, 7])
    result = study(none, tmp_path / "out", QUICK)
    assert result.explained == ()
    text = "None of the 3 neurons that take part has pairs: 3 are predicted no better than by chance."
    assert text in _words(response_figure(result))
    assert len(write_figures([result], ["toy"], tmp_path / "figures")) == 3


def test_another_network_explains_the_same_neurons(half: Recording, result: StudyResult, tmp_path: Path) -> None:
    other = study(half, tmp_path / "out", QUICK, features=encoder(1), model="other", pairs_of=result)
    for one, same in zip(result.neurons, other.neurons, strict=True):
        assert {pair.image for pair in same.pairs} in ({pair.image for pair in one.pairs}, set())
        assert bool(same.pairs) == (bool(one.pairs) and not same.unpredicted)


def test_the_readout_tells_where_it_is_from_and_how_well_it_predicts(result: StudyResult, tmp_path: Path) -> None:
    readout = LinearReadout.load(result.map_file.parent / "readout.safetensors")
    assert readout.origin == encoder().origin
    assert readout.heldout_correlation.tolist() == [neuron.heldout_correlation for neuron in result.neurons]
    assert [tuple(row) for row in readout.null_interval.tolist()] == [each.null_interval for each in result.neurons]
    assert readout.predicted == tuple(not neuron.unpredicted for neuron in result.neurons)


def test_a_study_of_an_earlier_version_is_refused_with_a_sentence(result: StudyResult, tmp_path: Path) -> None:
    content = json.loads((result.map_file.parent / "study.json").read_text())
    for neuron in content["neurons"]:
        for name in ("null_interval", "ceiling", "ooc_ceiling"):
            del neuron[name]
    (tmp_path / "study.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"study\.json.* one of an earlier version.*Run the study again, into a new folder"
    ):
        StudyResult.load(tmp_path)


def _words(figure: Figure) -> str:
    return " ".join(" ".join(texts(figure)).split())
