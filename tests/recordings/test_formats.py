"""The formats of recordings: what is written is read back to the last bit, and all formats say the same."""

import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from captum_shared.recordings.formats.presentations import Presentations
from captum_shared.recordings.recording import Recording

NAN = np.nan
SUFFIXES = ["nc", "netcdf", "npz", "h5", "hdf5", "csv", "parquet"]
RESPONSES = np.array([[[0.1, 1e300], [-0.0, NAN], [1 / 3, 5e-324]], [[NAN, NAN], [0.1 + 0.2, NAN], [-1e-300, 7.0]]])


def recording(responses: np.ndarray = RESPONSES, **changes: object) -> Recording:
    """Names that spreadsheets like to change."""
    values = {
        "responses": responses,
        "stimulus_ids": ("007", "7", 'a "quoted", id'),
        "categories": ("body", "", "NA"),
        "neuron_names": ("1e3", "Größe 🐒"),
        "regions": ("", "IT"),
        "subjects": ("None", "nan"),
    }
    return Recording(**{**values, **changes})


def bits(values: np.ndarray) -> list[int | None]:
    """Every number as its 64 bits; NaN is NaN, whatever its bits."""
    return [None if np.isnan(value) else struct.unpack("q", struct.pack("d", value))[0] for value in values.ravel()]


def assert_same(found: Recording, expected: Recording) -> None:
    names = ("stimulus_ids", "categories", "neuron_names", "regions", "subjects", "paths")
    assert {name: getattr(found, name) for name in names} == {name: getattr(expected, name) for name in names}
    assert found.responses.shape == expected.responses.shape
    assert bits(found.responses) == bits(expected.responses)
    assert (found.halves is None) == (expected.halves is None)
    if expected.halves is not None:
        assert bits(found.halves) == bits(expected.halves)


def saved_and_loaded(recording: Recording, path: Path) -> Recording:
    recording.save(path)
    return Recording.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix):
    assert_same(saved_and_loaded(recording(), tmp_path / f"r.{suffix}"), recording())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_with_nothing_known(tmp_path, suffix):
    unknown = {"categories": ("",) * 3, "regions": ("",) * 2, "subjects": ("",) * 2}
    expected = recording(RESPONSES[:1], **unknown)
    assert_same(saved_and_loaded(expected, tmp_path / f"r.{suffix}"), expected)


@pytest.mark.parametrize("suffix", ["nc", "npz", "h5"])
def test_round_trip_of_halves(tmp_path, suffix):
    expected = recording(RESPONSES[:1], halves=RESPONSES[::-1])
    assert_same(saved_and_loaded(expected, tmp_path / f"r.{suffix}"), expected)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_long_tables_refuse_halves(tmp_path, suffix):
    with pytest.raises(ValueError, match=r"no place for the halves .* Save it as .nc, .npz or .h5"):
        recording(RESPONSES[:1], halves=RESPONSES).save(tmp_path / f"r.{suffix}")
    assert not list(tmp_path.iterdir())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    responses=arrays(np.float64, (2, 3, 2), elements=st.floats(allow_infinity=False)),
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1),
        min_size=3,
        max_size=3,
        unique=True,
    ),
)
def test_round_trip_of_any_numbers_and_names(tmp_path, responses, names):
    expected = recording(responses, stimulus_ids=tuple(names), categories=tuple(names))
    for suffix in ("nc", "npz", "h5", "csv", "parquet"):
        assert_same(saved_and_loaded(expected, tmp_path / f"r.{suffix}"), expected)


@pytest.mark.parametrize("suffix", ["nc", "npz", "h5", "csv", "parquet"])
def test_round_trip_of_image_files(tmp_path, suffix):
    folder = tmp_path / "data" / "images"
    names = ("body/1.png", "object/1.png", "body/2.png")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    expected = recording(paths=tuple(folder / name for name in names))
    assert_same(saved_and_loaded(expected, tmp_path / "data" / f"inside.{suffix}"), expected)
    (tmp_path / "results").mkdir()
    assert_same(saved_and_loaded(expected, tmp_path / "results" / f"beside.{suffix}"), expected)
    moved = (tmp_path / "data").rename(tmp_path / "moved") / "images"
    alone = Recording.load(tmp_path / "results" / f"beside.{suffix}")
    assert alone.paths is None
    told = Recording.load(tmp_path / "results" / f"beside.{suffix}", images=moved)
    assert told.paths == tuple(moved / name for name in names)
    part = Recording.load(moved.parent / f"inside.{suffix}").select(images=[2, 0])
    part.save(tmp_path / f"part.{suffix}")
    assert Recording.load(tmp_path / f"part.{suffix}", images=moved).paths == (moved / names[2], moved / names[0])


@pytest.mark.parametrize("suffix", ["npy", "nwb", "xlsx", ""])
def test_what_cannot_be_written(tmp_path, suffix):
    with pytest.raises(ValueError, match=r"Cannot write a recording to .*choose one of the extensions .nc, .netcdf"):
        recording().save(tmp_path / f"r.{suffix}")


@pytest.mark.parametrize("name", ["r.xlsx", "r", "r.nc.gz"])
def test_an_unknown_extension(tmp_path, name):
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ValueError, match=r"one of the extensions .nc, .*, .npy, .nwb, got .*: rename or convert"):
        Recording.load(tmp_path / name)


@pytest.mark.parametrize("suffix", ["nc", "npz", "h5", "csv", "parquet"])
def test_a_failed_save_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    file = tmp_path / f"r.{suffix}"
    recording().save(file)
    before = file.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match=r"disk full"):
        recording(np.zeros((2, 3, 2))).save(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("suffix", "kind"), [("nc", "netCDF"), ("h5", "HDF5"), ("npz", "NumPy"), ("parquet", "Parquet"), ("nwb", "NWB")]
)
@pytest.mark.parametrize("kept", [0, 10, 100, 0.5, 0.9])
def test_a_truncated_file(tmp_path, suffix, kind, kept):
    whole, cut = tmp_path / "whole.h5" if suffix == "nwb" else tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    recording(np.random.default_rng(0).normal(size=(2, 3, 2))).save(whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: kept if kept > 1 or kept == 0 else int(kept * len(content))])
    with pytest.raises(
        ValueError, match=f"Expected a readable {kind} file at .*truncated or damaged: copy or write it"
    ):
        Recording.load(cut)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("nc", r"Reading netCDF needs xarray and h5netcdf: pip install 'captum-shared\[formats\]'"),
        ("h5", r"Reading HDF5 needs h5py: pip install 'captum-shared\[formats\]'"),
        ("parquet", r"Reading Parquet needs pyarrow: pip install 'captum-shared\[formats\]'"),
        ("nwb", r"Reading NWB needs pynwb: pip install 'captum-shared\[nwb\]'"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, suffix, text, monkeypatch):
    for name in ("h5netcdf", "h5py", "pyarrow", "pyarrow.parquet", "pynwb"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / f"r.{suffix}").write_bytes(b"?")
    with pytest.raises(ImportError, match=text):
        Recording.load(tmp_path / f"r.{suffix}")
    if suffix != "nwb":
        with pytest.raises(ImportError, match=text.replace("Reading", "Writing")):
            recording().save(tmp_path / f"new.{suffix}")
        assert not (tmp_path / f"new.{suffix}").exists()


def test_without_the_extras_csv_and_numpy_work(tmp_path):
    script = f"""
import sys
sys.modules.update(dict.fromkeys(("xarray", "h5netcdf", "h5py", "pyarrow", "pynwb")))
from captum_shared.recordings.recording import *
recording = Recording(np.eye(2)[None], ("7", "007"), ("a", "b"), ("A", "B"), ("", ""), ("", ""))
for file in (r"{tmp_path}/r.csv", r"{tmp_path}/r.npz"):
    recording.save(file)
    assert Recording.load(file).stimulus_ids == ("7", "007")
    assert (Recording.load(file).responses == recording.responses).all()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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

    found = Recording.load(write(responses=[[1, 2], [3, 4]], stimulus_id=[8, 7], extra=[[0]]))
    assert (found.stimulus_ids, found.neuron_names, found.regions) == (("8", "7"), ("0", "1"), ("", ""))
    np.testing.assert_array_equal(found.responses, [[[1.0, 2.0], [3.0, 4.0]]])
    for wrong, text in [
        ({"Responses": [[1.0]], "stimulus_id": [1]}, r"Expected responses.* in .*got Responses, stimulus_id: rename"),
        ({"other": [1.0]}, r"optionally .*category.*got other"),
        ({"responses": [1.0, 2.0], "stimulus_id": [1, 2]}, r"\(phase, image, neuron\), none .* got \(2,\)"),
        ({"responses": [[[[1.0]]]], "stimulus_id": [1]}, r"got \(1, 1, 1, 1\): average"),
        ({"responses": [[1.0, 2.0]], "stimulus_id": [1, 2]}, "Expected 1 stimulus_ids, one per image"),
        ({"responses": [[1.0, 2.0]], "stimulus_id": [1], "neuroid_id": [1]}, "Expected 2 neuron_names, one per neuron"),
        ({"responses": [["1.0", "2.0"]], "stimulus_id": [1]} if suffix == "npz" else None, "Expected numbers as resp"),
    ]:
        if wrong is not None:
            with pytest.raises(ValueError, match=text):
                Recording.load(write(**wrong))


def test_numpy_rows_without_identifiers_are_those_of_the_table(tmp_path):
    np.save(tmp_path / "r.npy", np.array([[1.0], [2.0]]))
    with pytest.raises(ValueError, match=r"a table of the images of .*got none: write .*r.csv with the columns"):
        Recording.load(tmp_path / "r.npy")
    (tmp_path / "r.csv").write_text("stimulus_id,filename,category\ncup,c.png,object\nhand,h.png,body\n")
    found = Recording.load(tmp_path / "r.npy")
    assert (found.stimulus_ids, found.mean.tolist()) == (("cup", "hand"), [[1.0], [2.0]])
    np.save(tmp_path / "r.npy", np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"responses to the 2 images of .*r.csv, row by row, got 3 rows"):
        Recording.load(tmp_path / "r.npy")


def test_numpy_objects_are_refused(tmp_path):
    np.savez(tmp_path / "r.npz", responses=np.eye(2), stimulus_id=np.array(["a", "b"], dtype=object))
    with pytest.raises(ValueError, match=r"Object arrays cannot be loaded"):
        Recording.load(tmp_path / "r.npz")


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
    found = Presentations(responses, tuple(images), ("A", "B"), ("", ""), ("", ""), phases=tuple(phases)).averaged()
    table = pd.DataFrame(responses).assign(phase=phases, image=images).groupby(["phase", "image"]).mean()
    labels = sorted(set(phases))
    assert found.stimulus_ids == tuple(dict.fromkeys(images))
    for p, phase in enumerate(labels):
        for i, image in enumerate(found.stimulus_ids):
            expected = table.loc[phase, image] if (phase, image) in table.index else [NAN, NAN]
            np.testing.assert_allclose(found.responses[p, i], expected, rtol=1e-12, atol=1e-9)
    assert (found.halves is not None) == (len(labels) == 1 and len(set(images)) < len(images))


@given(presentations, st.randoms(use_true_random=False))
def test_numbered_repetitions_give_the_same_bits_in_any_order(shown, random):
    responses, images, phases = shown
    numbers = [str(sum(other == one for other in images[:index])) for index, one in enumerate(images)]
    order = list(range(len(images)))
    random.shuffle(order)

    def averaged(order: list[int]) -> Recording:
        picked = [tuple(np.array(values)[order].tolist()) for values in (images, phases, numbers)]
        found = Presentations(
            responses[order], picked[0], ("A", "B"), ("", ""), ("", ""), phases=picked[1], repetitions=picked[2]
        ).averaged()
        n = len(found.stimulus_ids)
        names = (found.stimulus_ids, ("",) * n, ("A", "B"), ("", ""), ("", ""))
        return Recording(found.responses, *names, halves=found.halves).select(images=sorted(found.stimulus_ids))

    assert_same(averaged(order), averaged(sorted(order)))
