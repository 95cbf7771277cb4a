"""Behaviour related to neurons: tables that are read or refused, rank correlations against SciPy, and chance."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from toy_experiment import SETTINGS, contents, study
from toy_study import texts

from captum_shared.cli.summary import print_summary
from captum_shared.figures import behaviour_figure, write_figures
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study.behaviour import Behaviour, BehaviourTable
from captum_shared.study.rank_tests import Relation, ranks_within, related
from captum_shared.study.result import StudyResult

QUICK = dataclasses.replace(SETTINGS, methods=("recommended",), n_strong=3, n_weak=3)


def written(folder: Path, text: str) -> Path:
    path = folder / "times.csv"
    path.write_text(text)
    return path


def test_trials_and_references_are_averaged(tmp_path: Path) -> None:
    rows = "stimulus_id,reference,trial,value\na,x,1,1\na,x,2,3\na,y,1,6\nb,x,1,\nb,y,1,-4e1\n"
    table = BehaviourTable.read(written(tmp_path, rows), ["a", "b", "x", "y", "z"])
    assert table.values == {("a", "x"): 2.0, ("a", "y"): 6.0, ("b", "y"): -40.0}
    assert table.of_images == {"a": 4.0, "b": -40.0}
    assert table.of_pairs
    plain = BehaviourTable.read(written(tmp_path, "value,stimulus_id,mood\n7,a,good\n"), ["a", "b"])
    assert plain.values == {("a", ""): 7.0}
    assert not plain.of_pairs
    assert plain.digest != dataclasses.replace(plain, values={("a", ""): 7.5}).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stimulus_id,value\na,1\nq,2\n", r"images of the recording in .*times\.csv, unknown: 'q'"),
        ("stimulus_id,reference,value\na,q,1\n", "unknown: 'q'"),
        ("stimulus_id,value\n" + "".join(f"q{n},1\n" for n in range(12)), r"'q9', \.\.\. \(12 in all\)"),
        ("stimulus_id,value\na,fast\n", r"a number as the value in line 2 of .*times\.csv, got 'fast'"),
        ("stimulus_id,value\na,inf\n", "got 'inf'"),
        ("stimulus_id,value\na,nan\n", "got 'nan'"),
        ("stimulus_id,value\na,1\na,2\n", r"one row for each stimulus_id in .*, got more for 'a'\. Tell trials apart"),
        ("stimulus_id,trial,value\na,1,1\na,1,2\n", "one row for each stimulus_id, trial in .*, got more for 'a, 1'"),
        ("stimulus_id,rt\na,1\n", "Expected the columns stimulus_id, value"),
    ],
)
def test_other_tables_are_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BehaviourTable.read(written(tmp_path, text), ["a", "b"])


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got no file at .*none\.csv"):
        BehaviourTable.read(tmp_path / "none.csv", ["a"])


def test_of_one_category_it_is_the_rank_correlation_of_scipy() -> None:
    rng = np.random.default_rng(0)
    behaviour, values = rng.standard_normal((2, 30)).round(1)  # with ties
    values[3] = behaviour[7] = np.nan
    (relation,) = related({("response", "all"): values}, behaviour, ["body"] * 30)
    kept = ~np.isnan(values + behaviour)
    expected = spearmanr(values[kept], behaviour[kept])
    assert relation.n_images == 28
    assert relation.correlation == pytest.approx(expected.statistic)
    assert relation.p == pytest.approx(expected.pvalue, abs=0.03)
    assert relation.p_all == relation.p


def test_what_categories_differ_in_is_no_relation() -> None:
    rng = np.random.default_rng(0)
    category = np.repeat([0, 1], 40)
    behaviour, values = rng.standard_normal((2, 80)) + 10 * category
    (relation,) = related({("response", "all"): values}, behaviour, [str(each) for each in category])
    assert spearmanr(values, behaviour).pvalue < 1e-6
    assert abs(relation.correlation) < 0.3
    assert relation.p > 0.01
    opposite = np.where(category == 0, values, 20 - values)
    (none,) = related({("response", "all"): opposite}, values, [str(each) for each in category])
    assert abs(none.correlation) < 1e-9


def test_ranks_are_those_of_the_category() -> None:
    values, labels = np.array([[5.0, 1.0, 9.0, 7.0, 7.0]]), np.array([0, 0, 1, 1, 1])
    np.testing.assert_allclose(ranks_within(values, labels), [[0.25, -0.25, 1 / 3, -1 / 6, -1 / 6]])


def test_by_chance_one_in_twenty_goes_with_behaviour_however_many_are_tried() -> None:
    rng, categories = np.random.default_rng(0), ["a"] * 15 + ["b"] * 10
    alone, together = [], []
    for seed in range(200):
        behaviour, common = rng.standard_normal((2, 25))
        values = {("response", str(n)): common + rng.standard_normal(25) for n in range(4)}
        values["agreement", "all"] = np.where(np.arange(25) < 12, rng.standard_normal(25), np.nan)
        relations = related(values, behaviour, categories, seed=seed)
        alone.append(relations[0].p)
        together.append(min(relation.p_all for relation in relations))
    assert 3 <= np.sum(np.array(alone) < 0.05) <= 20  # 10 expected of 200
    assert 3 <= np.sum(np.array(together) < 0.05) <= 20


def test_too_few_or_constant_ones_are_not_told() -> None:
    values = {
        ("response", "few"): np.where(np.arange(20) < 7, 1.0 * np.arange(20), np.nan),
        ("response", "flat"): np.ones(20),
    }
    few, flat = related(values, np.arange(20.0), ["a"] * 20)
    assert (few.n_images, flat.n_images) == (7, 20)
    assert np.isnan([few.correlation, few.p, few.p_all, flat.correlation]).all()
    told = Behaviour("times.csv", (few,), (), {}).told
    assert told == ("predicted response, few: too few images with times.csv to tell (7, of 8 or more)",)
    likely, unlikely = (dataclasses.replace(few, p_all=p) for p in (0.0304, 0.0004))
    assert (likely.told_p, unlikely.told_p) == ("p = 0.030", "p < 0.001")
    again = Relation.read(json.loads(json.dumps(vars(few)).replace("NaN", "null")))
    assert repr(again) == repr(few)  # NaN equals no NaN


@pytest.fixture(scope="module")
def module_recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    from toy_experiment import recorded

    return recorded(tmp_path_factory.mktemp("recording") / "images")


@pytest.fixture(scope="module")
def plain(module_recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return study(module_recording, tmp_path_factory.mktemp("plain") / "out", QUICK)


@pytest.fixture(scope="module")
def table(plain: StudyResult, module_recording: Recording) -> BehaviourTable:
    """Reaction times that fall with how far a pair's maps agree, whatever the neuron."""
    agreement: dict[str, list[float]] = {}
    for neuron in plain.explained:
        mean = np.mean([pair.agreement for pair in neuron.pairs])
        for pair in neuron.pairs:
            agreement.setdefault(pair.image, []).append(pair.agreement - mean)
    return BehaviourTable("times.csv", {(image, ""): -float(np.mean(each)) for image, each in agreement.items()})


@pytest.fixture(scope="module")
def result(module_recording: Recording, table: BehaviourTable, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return study(module_recording, tmp_path_factory.mktemp("study") / "out", QUICK, behaviour=table)


def test_a_study_relates_its_maps_to_behaviour(result: StudyResult, table: BehaviourTable) -> None:
    known = {(each.measure, each.of): each for each in result.behaviour.relations}
    maps = known["agreement", "all neurons"]
    assert maps.correlation == pytest.approx(-1)
    assert maps.n_images == len(table.values)
    assert maps.p_all < 0.05
    assert {each.of for each in result.behaviour.relations} == {"all neurons", "region anterior", "region posterior"}
    assert StudyResult.load(result.map_file.parent) == result


def test_predicted_responses_are_those_of_the_readout(
    result: StudyResult, module_recording: Recording, table: BehaviourTable
) -> None:
    from toy_experiment import SIZE, encoder

    from captum_shared.images import load_images, rgb_preprocess

    readout = LinearReadout.load(result.map_file.parent / "readout.safetensors")
    latent = encoder()(load_images(module_recording.paths, rgb_preprocess(SIZE))).detach()
    predicted = readout(latent.double()).numpy()
    images = [module_recording.stimulus_ids.index(image) for image, _ in table.values]  # all of one category
    behaviour = list(table.values.values())
    for neuron, relation in enumerate(result.behaviour.neurons):
        expected = spearmanr(predicted[images, neuron], behaviour).statistic
        assert relation.of == module_recording.neuron_names[neuron]
        assert relation.correlation == pytest.approx(expected)


def test_it_is_drawn_and_printed(
    result: StudyResult, plain: StudyResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "behaviour.png" in {path.name for path in write_figures([result], ["toy"], tmp_path)}
    print_summary([result], ["toy"])
    told = capsys.readouterr().out
    assert all(f"behaviour: {line}\n" in told for line in result.behaviour.told)
    assert "agreement of the maps, all neurons: rank correlation with times.csv -1.00 over" in told
    figure = behaviour_figure(result)
    drawn = np.concatenate([line.get_xydata() for line in figure.axes[2].get_lines()])
    expected = [point[1:] for point in result.behaviour.points["agreement"]]
    assert sorted(map(tuple, drawn.tolist())) == sorted(expected)
    words = " ".join(" ".join(texts(figure)).split())
    assert "p by dealing the behaviour anew within categories, corrected for all that is told" in words
    assert texts(behaviour_figure(plain)) == ["There is no behaviour to compare the neurons of this study with."]


def test_without_behaviour_the_study_is_what_it_was(plain: StudyResult, result: StudyResult) -> None:
    one, other = (json.loads((each.map_file.parent / "study.json").read_text()) for each in (plain, result))
    assert "behaviour" not in one
    assert "behaviour" not in one["settings"]
    assert one == {
        **{name: value for name, value in other.items() if name != "behaviour"},
        "settings": {name: value for name, value in other["settings"].items() if name != "behaviour"},
    }


def test_a_study_with_other_behaviour_is_another_study(
    module_recording: Recording, result: StudyResult, table: BehaviourTable, tmp_path: Path
) -> None:
    folder = result.map_file.parent
    assert study(module_recording, folder, QUICK, behaviour=table, resume=True) == result
    other = dataclasses.replace(table, values={pair: 2 * value for pair, value in table.values.items()})
    with pytest.raises(ValueError, match="differs in behaviour"):
        study(module_recording, folder, QUICK, behaviour=other, resume=True)
    again = study(module_recording, tmp_path / "out", QUICK, behaviour=table)
    assert contents(again.map_file.parent) == contents(folder)


def test_behaviour_of_pairs_goes_by_the_reference(
    plain: StudyResult, module_recording: Recording, tmp_path: Path
) -> None:
    pairs = {(pair.image, pair.reference): pair.similarity for pair in plain.explained[0].pairs}
    table = BehaviourTable("ratings.csv", pairs)
    one = dataclasses.replace(module_recording)
    result = study(one.select(neurons=["A"]), tmp_path / "out", QUICK, behaviour=table)
    own = {(pair.image, pair.reference): pair.similarity for pair in result.explained[0].pairs}
    common = [pair for pair in own if pair in pairs]
    points = result.behaviour.points["similarity"]
    assert sorted(point[2] for point in points) == pytest.approx(sorted(pairs[pair] for pair in common))
    mean = np.mean(list(own.values()))
    assert sorted(point[1] for point in points) == pytest.approx(sorted(own[pair] - mean for pair in common))
