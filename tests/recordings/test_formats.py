"""Named arrays, NumPy files, and the mean over repetitions."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.presentations import Presentations
from captum_shared.recordings.formats.stimulus_table import StimulusTable
from captum_shared.recordings.recording import Recording

NAN = np.nan


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_named_arrays(tmp_path, suffix):
    def write(**arrays: object) -> Path:
        if suffix == "npz":
            np.savez(tmp_path / "r.npz", **{name: np.array(value) for name, value in arrays.items()})
        else:
            with h5py.File(tmp_path / "r.h5", "w") as file:
                for name, value in arrays.items():
                    file[name] = value
        return tmp_path / f"r.{suffix}"

    loaded = Recording.load(write(responses=[[1, 2], [3, 4]], stimulus_id=[8, 7]))
    assert (loaded.stimulus_ids, loaded.neuron_names, loaded.regions) == (("8", "7"), ("0", "1"), ("", ""))
    np.testing.assert_array_equal(loaded.responses, [[[1.0, 2.0], [3.0, 4.0]]])
    for wrong, text in [
        (
            {"Responses": [[1.0]], "stimulus_id": [1]},
            r"Expected responses.* in .*got 'Responses', 'stimulus_id': rename 'Resp",
        ),
        ({"other": [1.0]}, r"optionally .*category.*, nothing else\) in .*got 'other': rename them, or leave the"),
        ({"responses": [1.0, 2.0], "stimulus_id": [1, 2]}, r"\(phase, image, neuron\), none .* got \(2,\)"),
        ({"responses": [[[[1.0]]]], "stimulus_id": [1]}, r"got \(1, 1, 1, 1\): average"),
        ({"responses": [[1.0, 2.0]], "stimulus_id": [1, 2]}, "Expected 1 stimulus_ids, one per image"),
        ({"responses": [[1.0, 2.0]], "stimulus_id": [1], "neuroid_id": [1]}, "Expected 2 neuron_names, one per neuron"),
        ({"responses": [["1.0", "2.0"]], "stimulus_id": [1]} if suffix == "npz" else None, "Expected numbers as resp"),
    ]:
        if wrong is not None:
            with pytest.raises(ValueError, match=text):
                Recording.load(write(**wrong))


def test_numpy_rows_without_identifiers_are_those_of_the_table_only_if_that_is_said(tmp_path):
    np.save(tmp_path / "r.npy", np.array([[1.0], [2.0]]))
    for options in ({}, {"by_row": True}):
        with pytest.raises(
            ValueError, match=r"stimulus_id in .*r.npy, as nothing else .*or write the table .*r.csv with"
        ):
            Recording.load(tmp_path / "r.npy", **options)
    (tmp_path / "r.csv").write_text("stimulus_id,filename,category\ncup,c.png,object\nhand,h.png,body\n")
    with pytest.raises(ValueError, match=r"stimulus_id in .*r.npy, to find .*r.csv, got none: .*say so \(by_row=True"):
        Recording.load(tmp_path / "r.npy")
    loaded = Recording.load(tmp_path / "r.npy", by_row=True)
    assert (loaded.stimulus_ids, loaded.mean.tolist()) == (("cup", "hand"), [[1.0], [2.0]])
    np.save(tmp_path / "r.npy", np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"responses to the 2 images of .*r.csv, row by row, got 3 rows"):
        Recording.load(tmp_path / "r.npy", by_row=True)


def test_numpy_objects_are_refused(tmp_path):
    np.savez(tmp_path / "r.npz", responses=np.eye(2), stimulus_id=np.array(["a", "b"], dtype=object))
    with pytest.raises(
        ValueError,
        match=r"numbers or text as stimulus_id in .*r\.npz, got Python objects.* save np\.asarray\(values, dtype=float",
    ):
        Recording.load(tmp_path / "r.npz")


def test_a_table_of_images_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    table = StimulusTable(tmp_path / "stimuli.csv", ("007", "7"), categories=("body", "a, b"))
    table.write()
    assert (tmp_path / "stimuli.csv").read_text() == '"stimulus_id","category"\n"007","body"\n"7","a, b"\n'

    def full_disk(self: pd.DataFrame, path: Path, **_: object) -> None:
        path.write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(OSError, match="No space left"):
        StimulusTable(tmp_path / "stimuli.csv", ("8",)).write()
    assert (tmp_path / "stimuli.csv").read_text().splitlines()[1:] == ['"007","body"', '"7","a, b"']
    assert [path.name for path in tmp_path.iterdir()] == ["stimuli.csv"]


presentations = st.integers(2, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, (n, 2), elements=st.floats(-1e6, 1e6) | st.just(NAN)),
        st.lists(st.sampled_from("abc"), min_size=n, max_size=n),
        st.lists(st.sampled_from("12"), min_size=n, max_size=n),
    )
)


@given(presentations)
def test_repetitions_are_averaged_as_pandas_does(shown):
    responses, images, phases = shown
    means = Presentations(responses, tuple(images), ("A", "B"), ("", ""), ("", ""), phases=tuple(phases)).averaged()
    table = pd.DataFrame(responses).assign(phase=phases, image=images).groupby(["phase", "image"]).mean()
    labels = sorted(set(phases))
    assert means.stimulus_ids == tuple(dict.fromkeys(images))
    for p, phase in enumerate(labels):
        for i, image in enumerate(means.stimulus_ids):
            expected = table.loc[phase, image] if (phase, image) in table.index else [NAN, NAN]
            np.testing.assert_allclose(means.responses[p, i], expected, rtol=1e-12, atol=1e-9)
    assert (means.halves is not None) == (len(labels) == 1 and len(set(images)) < len(images))


@given(presentations, st.randoms(use_true_random=False))
def test_numbered_repetitions_give_the_same_bits_in_any_order(shown, random):
    responses, images, phases = shown
    numbers = [str(sum(other == one for other in images[:index])) for index, one in enumerate(images)]
    order = list(range(len(images)))
    random.shuffle(order)

    def averaged(order: list[int]) -> Contents:
        picked = [tuple(np.array(values)[order].tolist()) for values in (images, phases, numbers)]
        return Presentations(
            responses[order], picked[0], ("A", "B"), ("", ""), ("", ""), phases=picked[1], repetitions=picked[2]
        ).averaged()

    one, other = averaged(order), averaged(sorted(order))
    rows = [one.stimulus_ids.index(identifier) for identifier in other.stimulus_ids]
    assert sorted(one.stimulus_ids) == sorted(other.stimulus_ids) == sorted(set(images))
    assert one.responses[:, rows].tobytes() == other.responses.tobytes()
    assert (one.halves is None) == (other.halves is None)
    assert other.halves is None or one.halves[:, rows].tobytes() == other.halves.tobytes()
