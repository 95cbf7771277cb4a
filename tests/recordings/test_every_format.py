"""What every format of recordings promises. A new format is tested by its record in the table.

A format that can be written is tested with what it has written itself; only one that can just be read needs a
writer here, in ``WRITERS``.
"""

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from typer.testing import CliRunner

from captum_shared.cli import app
from captum_shared.recordings import FORMATS, Recording
from captum_shared.recordings.formats import table
from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.table import Format

NAN = np.nan
FILES = [each for each in FORMATS if not each.folder]
WRITTEN = [each for each in FORMATS if each.write]
OF_SPIKES = [each for each in FORMATS if each.write_spikes]
EVERY = pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.extensions[0])
EVERY_WRITTEN = pytest.mark.parametrize("each", WRITTEN, ids=lambda each: each.extensions[0])
RESPONSES = np.array([[[0.1, 1e300], [-0.0, NAN], [1 / 3, 5e-324]], [[NAN, NAN], [0.1 + 0.2, NAN], [-1e-300, 7.0]]])
RATES = np.array([[[15.0, 0.0], [5.0, 40.0], [NAN, NAN]], [[10.0, 5.0], [NAN, NAN], [0.0, 20.0]]])  # n / 200 ms


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


def sample(rates: np.ndarray = RATES) -> Recording:
    """A recording that every format can hold, those of spikes of one subject too."""
    return recording(rates, subjects=("None", "None"))


def bits(values: np.ndarray) -> list[int | None]:
    """Every number as its 64 bits; NaN is NaN, whatever its bits."""
    return [None if np.isnan(value) else struct.unpack("q", struct.pack("d", value))[0] for value in values.ravel()]


def assert_same(one: Recording, other: Recording) -> None:
    names = ("stimulus_ids", "categories", "neuron_names", "regions", "subjects", "paths")
    assert {name: getattr(one, name) for name in names} == {name: getattr(other, name) for name in names}
    assert one.responses.shape == other.responses.shape
    assert bits(one.responses) == bits(other.responses)
    assert (one.halves is None) == (other.halves is None)
    if other.halves is not None:
        assert bits(one.halves) == bits(other.halves)


def spikes_of(rates: Recording) -> Spikes:
    """One presentation of each image in each phase, with as many spikes 50 to 250 ms after its onset as it takes."""
    shown = np.argwhere(~np.isnan(rates.responses[:, :, 0]))
    shown = shown[np.lexsort(shown.T[::-1])]
    onsets = 1.0 + np.arange(len(shown))
    counts = np.rint(0.2 * rates.responses[shown[:, 0], shown[:, 1]]).astype(int)
    times = [
        np.concatenate([onset + np.linspace(0.06, 0.24, n) for onset, n in zip(onsets, own, strict=True)])
        for own in counts.T
    ]
    presentations = pd.DataFrame(
        {
            "start_time": onsets,
            "stop_time": onsets + 0.3,
            "stimulus_id": [rates.stimulus_ids[image] for _, image in shown],
            "phase": [str(1 + phase) for phase, _ in shown],
            "category": [rates.categories[image] for _, image in shown],
        }
    )
    return Spikes(times, presentations, rates.neuron_names, rates.regions, rates.subjects[0])


def write_npy(path: Path, rates: Recording) -> None:
    """A bare array, with the table of its images; what it cannot say of the neurons, nobody knows."""
    np.save(path, rates.responses)
    columns = {"stimulus_id": rates.stimulus_ids, "category": rates.categories}
    pd.DataFrame(columns).to_csv(path.with_suffix(".csv"), index=False)


def write_zarr(path: Path, rates: Recording) -> None:
    """One of our own netCDF files, as xarray converts it."""
    rates.save(path.with_suffix(".nc"))
    with xarray.open_dataset(path.with_suffix(".nc"), engine="h5netcdf") as dataset:
        dataset.drop_encoding().to_zarr(path, zarr_format=2, write_empty_chunks=True)
    path.with_suffix(".nc").unlink()


WRITERS: dict[str, Callable[[Path, Recording], None]] = {".npy": write_npy, ".zarr": write_zarr}
UNTOLD = {".npy": {"neuron_names": ("0", "1"), "regions": ("", ""), "subjects": ("", "")}}
"""What of a recording a format cannot hold, as it is read."""
OPTIONS = {".npy": {"by_row": True}}
"""What has to be said to read a format."""


def written(each: Format, path: Path, rates: Recording | None = None) -> Path:
    """A file of any format with rates that spikes can have."""
    rates = rates or sample()
    if each.write:
        rates.save(path)
    elif each.write_spikes:
        table.write_spikes(path, spikes_of(rates))
    else:
        WRITERS[each.extensions[0]](path, rates)
    return path


def write_table(folder: Path) -> Path:
    columns = {"stimulus_id": recording().stimulus_ids, "category": recording().categories}
    pd.DataFrame(columns).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def loaded_or_refused(file: Path, stimuli: Path, **options: bool) -> Recording | str:
    try:
        return Recording.load(file, stimuli=stimuli, **options)
    except ValueError as error:
        return str(error)


def cuts(content: bytes) -> list[int]:
    """Where to cut a file. A text may end after any line, so it is cut within the first cell of one."""
    parts = [0, 10, len(content) // 2, int(0.9 * len(content))]
    return (
        [*parts, 100]
        if b"\0" in content
        else [content.rfind(b"\n", 0, part) + 3 if part > 10 else part for part in parts]
    )


@EVERY
class TestEveryFormat:
    def test_a_recording_is_read_to_the_last_bit(self, tmp_path: Path, each: Format) -> None:
        expected = replace(sample(), **UNTOLD.get(each.extensions[0], {}))
        options = OPTIONS.get(each.extensions[0], {})
        for number, extension in enumerate(each.extensions):
            file = written(each, tmp_path / f"{number}{extension}")
            assert_same(Recording.load(file, **options), expected)
            assert_same(Recording.load(file.rename(file.with_suffix(extension.upper())), **options), expected)

    def test_a_missing_package_is_named_with_its_extra(
        self, tmp_path: Path, each: Format, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = written(each, tmp_path / f"r{each.extensions[0]}")
        for package in each.packages:
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, package, None)
                with pytest.raises(ImportError, match=rf"Reading .* needs .*{package}.*captum-shared\[{each.extra}\]"):
                    Recording.load(file)
                if not (each.write or each.write_spikes):
                    continue
                with pytest.raises(ImportError, match=rf"Writing .* needs .*{package}.*captum-shared\[{each.extra}\]"):
                    written(each, tmp_path / f"new{each.extensions[0]}")
        assert [path for path in tmp_path.iterdir() if path.stem == "new"] == []

    def test_help_and_messages_list_it(self, tmp_path: Path, each: Format) -> None:
        (tmp_path / "r.xlsx").write_bytes(b"?")
        with pytest.raises(
            ValueError, match=r"one of the extensions .*, got .*r\.xlsx: rename or convert it"
        ) as raised:
            Recording.load(tmp_path / "r.xlsx")
        with pytest.raises(ValueError, match=r"Cannot write a recording to .*: choose one of the exten") as refused:
            recording().save(tmp_path / "r.xlsx")
        readable, writable = (
            str(error.value).split("extensions ")[1].split(", got")[0].rstrip(".").split(", ")
            for error in (raised, refused)
        )
        runner = CliRunner(env={"COLUMNS": "300"})
        study, simulate = (runner.invoke(app, [name, "--help"]).output for name in ("study", "simulate"))
        for extension in each.extensions:
            assert extension in readable
            assert (extension in writable) == bool(each.write)
            assert extension in re.findall(r"\.\w+", study)
        simulated = simulate.split("--format")[1].split()[0].split("|")
        assert (each.extensions[0][1:] in simulated) == bool(each.write or each.write_spikes)


@pytest.mark.parametrize("each", FILES, ids=lambda each: each.extensions[0])
class TestEveryFormatOfFiles:
    def test_a_truncated_file_is_refused_by_name(self, tmp_path: Path, each: Format) -> None:
        (tmp_path / "whole").mkdir()
        content = written(each, tmp_path / "whole" / f"r{each.extensions[0]}").read_bytes()
        file = tmp_path / f"cut{each.extensions[0]}"
        for kept in cuts(content):
            file.write_bytes(content[:kept])
            with pytest.raises(ValueError, match=r"Expected .*cut"):
                Recording.load(file)

    def test_a_file_of_another_format_is_refused_by_name_or_read_right(self, tmp_path: Path, each: Format) -> None:
        """Our netCDF files are HDF5 files too, with the same names; NumPy tells its two kinds of files by content."""
        for other in FILES:
            if other is each:
                continue
            folder = tmp_path / other.extensions[0]
            folder.mkdir()
            file = written(other, folder / f"r{other.extensions[0]}").rename(folder / f"other{each.extensions[0]}")
            outcome = loaded_or_refused(file, write_table(folder), **OPTIONS.get(other.extensions[0], {}))
            if isinstance(outcome, str):
                assert f"other{each.extensions[0]}" in outcome
            else:
                assert_same(outcome, replace(sample(), **UNTOLD.get(other.extensions[0], {})))

    def test_a_picture_is_refused_by_name(self, tmp_path: Path, each: Format) -> None:
        Image.new("L", (40, 40)).save(tmp_path / "r.png")
        file = (tmp_path / "r.png").rename(tmp_path / f"picture{each.extensions[0]}")
        with pytest.raises(ValueError, match=r"Expected .* file at .*picture"):
            Recording.load(file)


@EVERY_WRITTEN
class TestEveryFormatThatCanBeWritten:
    @staticmethod
    def saved_and_loaded(recording: Recording, path: Path) -> Recording:
        recording.save(path)
        return Recording.load(path)

    def test_round_trip(self, tmp_path: Path, each: Format) -> None:
        for number, extension in enumerate((*each.extensions, each.extensions[0].upper())):
            assert_same(self.saved_and_loaded(recording(), tmp_path / f"{number}{extension}"), recording())
        assert len(list(tmp_path.iterdir())) == 1 + len(each.extensions)

    def test_round_trip_with_nothing_known(self, tmp_path: Path, each: Format) -> None:
        unknown = {"categories": ("",) * 3, "regions": ("",) * 2, "subjects": ("",) * 2}
        expected = recording(RESPONSES[:1], **unknown)
        assert_same(self.saved_and_loaded(expected, tmp_path / f"r{each.extensions[0]}"), expected)

    def test_halves_are_kept_or_refused(self, tmp_path: Path, each: Format) -> None:
        expected, file = recording(RESPONSES[:1], halves=RESPONSES[::-1]), tmp_path / f"r{each.extensions[0]}"
        if each.halves:
            assert_same(self.saved_and_loaded(expected, file), expected)
        else:
            with pytest.raises(ValueError, match=r"no place for the halves .* Save it as \.nc, .* or \.\w+\.$"):
                expected.save(file)
            assert not list(tmp_path.iterdir())

    def test_a_published_reliability_is_kept_or_refused(self, tmp_path: Path, each: Format) -> None:
        expected, file = recording(reliability=np.array([0.25, NAN])), tmp_path / f"r{each.extensions[0]}"
        if each.halves:
            np.testing.assert_array_equal(self.saved_and_loaded(expected, file).reliability, [0.25, NAN])
        else:
            with pytest.raises(ValueError, match=r"no place for the reliability that this recording has"):
                expected.save(file)

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        responses=arrays(np.float64, (2, 3, 2), elements=st.floats(allow_infinity=False)),
        names=st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1),
            min_size=3,
            max_size=3,
            unique=True,
        ),
    )
    def test_round_trip_of_any_numbers_and_names(
        self, tmp_path: Path, each: Format, responses: np.ndarray, names: list[str]
    ) -> None:
        expected = recording(responses, stimulus_ids=tuple(names), categories=tuple(names))
        assert_same(self.saved_and_loaded(expected, tmp_path / f"r{each.extensions[0]}"), expected)

    def test_round_trip_of_image_files(self, tmp_path: Path, each: Format) -> None:
        extension, folder = each.extensions[0], tmp_path / "data" / "images"
        names = ("body/1.png", "object/1.png", "body/2.png")
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(folder / name)
        expected = recording(paths=tuple(folder / name for name in names))
        assert_same(self.saved_and_loaded(expected, tmp_path / "data" / f"inside{extension}"), expected)
        (tmp_path / "results").mkdir()
        assert_same(self.saved_and_loaded(expected, tmp_path / "results" / f"beside{extension}"), expected)
        moved = (tmp_path / "data").rename(tmp_path / "moved") / "images"
        alone = Recording.load(tmp_path / "results" / f"beside{extension}")
        assert alone.paths is None
        told = Recording.load(tmp_path / "results" / f"beside{extension}", images=moved)
        assert told.paths == tuple(moved / name for name in names)
        part = Recording.load(moved.parent / f"inside{extension}").select(images=[2, 0])
        part.save(tmp_path / f"part{extension}")
        assert Recording.load(tmp_path / f"part{extension}", images=moved).paths == (moved / names[2], moved / names[0])


@pytest.mark.parametrize("each", [*WRITTEN, *OF_SPIKES], ids=lambda each: each.extensions[0])
def test_a_failing_writer_leaves_the_old_file(tmp_path: Path, each: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(each, tmp_path / f"r{each.extensions[0]}")
    before = file.read_bytes()

    def failing(path: Path, content: Contents | Spikes) -> None:
        (each.write or each.write_spikes)(path, content)
        raise OSError("No space left on device")

    way = "write" if each.write else "write_spikes"
    monkeypatch.setattr(table, "FORMATS", (replace(each, **{way: failing}),))
    with pytest.raises(OSError, match="No space left"):
        written(each, file, sample(2 * RATES))
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_the_formats_there_are() -> None:
    """The table promises at least these: a record that is lost would take its tests with it."""
    promised = {".nc", ".netcdf", ".npz", ".npy", ".csv", ".parquet", ".h5", ".hdf5", ".nwb", ".zarr"}
    names = [extension for each in FORMATS for extension in each.extensions]
    assert promised <= set(names)
    assert len(names) == len(set(names))
    first = {each.extensions[0]: each for each in FORMATS}
    assert {name for name in first if first[name].write} >= {".nc", ".npz", ".csv", ".parquet", ".h5"}
    assert {name for name in first if first[name].write and first[name].halves} >= {".nc", ".npz", ".h5"}
    assert {name for name in first if first[name].list_neurons} >= {".nc", ".h5", ".parquet", ".zarr"}
    assert first[".nwb"].write_spikes


@pytest.mark.parametrize(
    ("extension", "needs"),
    [
        (".nc", r"netCDF needs xarray and h5netcdf: pip install 'captum-shared\[formats\]'"),
        (".h5", r"HDF5 needs h5py: pip install 'captum-shared\[formats\]'"),
        (".parquet", r"Parquet needs pyarrow: pip install 'captum-shared\[formats\]'"),
        (".nwb", r"NWB needs pynwb: pip install 'captum-shared\[nwb\]'"),
    ],
)
def test_what_the_formats_need(tmp_path: Path, extension: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("h5netcdf", "h5py", "pyarrow", "pynwb"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / f"r{extension}").write_bytes(b"?")
    with pytest.raises(ImportError, match=f"Reading {needs}"):
        Recording.load(tmp_path / f"r{extension}")


def test_without_the_extras_csv_and_numpy_work(tmp_path: Path) -> None:
    script = f"""
import sys
import numpy as np
sys.modules.update(dict.fromkeys(("xarray", "h5netcdf", "h5py", "pyarrow", "pynwb", "zarr")))
from captum_shared.recordings import Recording
recording = Recording(np.eye(2)[None], ("7", "007"), ("a", "b"), ("A", "B"), ("", ""), ("", ""))
for file in (r"{tmp_path}/r.csv", r"{tmp_path}/r.npz"):
    recording.save(file)
    assert Recording.load(file).stimulus_ids == ("7", "007")
    assert (Recording.load(file).responses == recording.responses).all()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("suffix", ["npy", "nwb", "xlsx", ""])
def test_what_cannot_be_written(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match=r"Cannot write a recording to .*choose one of the extensions .nc, .netcdf"):
        recording().save(tmp_path / f"r.{suffix}")
    assert not list(tmp_path.iterdir())


def test_spikes_cannot_be_written_to_a_file_of_responses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Cannot write spikes to .*r\.npz: choose one of the extensions .*\.nwb"):
        table.write_spikes(tmp_path / "r.npz", spikes_of(sample()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["r.xlsx", "r", "r.nc.gz"])
def test_an_unknown_extension(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ValueError, match=r"one of the extensions \.nc, .*\.npy, .*\.nwb, got .*: rename or convert"):
        Recording.load(tmp_path / name)
