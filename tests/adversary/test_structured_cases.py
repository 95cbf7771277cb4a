"""Files made by hand that can be read, and are wrong: each is refused in a sentence, or what it leaves out is told."""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pynwb
import pytest
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

from captum_shared.cli import app
from captum_shared.neurons import LinearReadout, fit_readout
from captum_shared.recordings import Recording
from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.table import write_spikes

IMAGES, NEURONS = ("hand", "cup", "face"), ("A", "B", "C")
RATES = np.arange(1.0, 10.0).reshape(3, 3)
pytestmark = pytest.mark.usefixtures("as_installed")


def recording(**changes: object) -> Recording:
    """As many images as neurons, so that nothing is told by a shape."""
    values = {
        "responses": np.stack([RATES, 10 * RATES]),
        "stimulus_ids": IMAGES,
        "categories": ("body", "object", "body"),
        "neuron_names": NEURONS,
        "regions": ("posterior", "anterior", ""),
        "subjects": ("M1", "M2", "M3"),
    }
    return Recording(**{**values, **changes})


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def write_images(folder: Path, *names: str) -> Path:
    for grey, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * grey).save(folder / name)
    return folder


def write_archive(path: Path, **arrays: object) -> Path:
    np.savez(path, **{name: np.array(value) for name, value in arrays.items()})
    return path


@contextmanager
def refused(*told: str, by: type[Exception] = ValueError) -> Iterator[None]:
    with pytest.raises(by) as raised:
        yield
    for text in told:
        assert text in str(raised.value)


class TestFilesOfImages:
    @staticmethod
    def table(folder: Path, *names: str) -> Path:
        write(
            folder / "stimuli.csv", "stimulus_id,filename,category", *(f"{i},{name},c" for i, name in enumerate(names))
        )
        return write_archive(folder / "r.npz", responses=np.eye(len(names)), stimulus_id=[*range(len(names))])

    def test_two_names_never_lead_to_one_file(self, tmp_path: Path) -> None:
        file = self.table(tmp_path, "bodies/001.png", "objects/001.png")
        images = write_images(tmp_path / "flat", "001.png")
        with refused("'bodies/001.png' and 'objects/001.png'", "flat/001.png", "a file of its own"):
            Recording.load(file, images=images)
        with refused("'bodies/001.png' and 'objects/001.png'"):
            Recording.load(file, images=images, skip_missing=True)

    def test_one_name_may_be_that_of_two_images(self, tmp_path: Path) -> None:
        file = self.table(tmp_path, "old/bodies/001.png", "old/bodies/./001.png")
        images = write_images(tmp_path / "moved", "bodies/001.png")
        assert Recording.load(file, images=images).paths == (images / "bodies" / "001.png",) * 2

    def test_names_in_other_capitals_are_one_file_where_capitals_are_ignored(self, tmp_path: Path) -> None:
        file = self.table(tmp_path, "Hand.png", "hand.png")
        images = write_images(tmp_path / "images", "hand.png")
        if not (images / "Hand.png").exists():
            (images / "Hand.png").symlink_to(images / "hand.png")
        with refused("'Hand.png' and 'hand.png'", "a file of its own"):
            Recording.load(file, images=images)

    @pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "{}/secret.png"])
    def test_a_name_that_leads_out_of_the_folder_is_refused(self, tmp_path: Path, name: str) -> None:
        name = name.format(tmp_path)
        images = write_images(tmp_path / "images", "1.png", "secret.png")
        write_images(tmp_path, "secret.png")
        file = self.table(tmp_path, "1.png", name)
        for options in ({}, {"skip_missing": True}):
            with refused(repr(name), "lead out of it", "allow_outside=True, --allow-outside"):
                Recording.load(file, images=images, **options)
        loaded = Recording.load(file, images=images, allow_outside=True)
        assert loaded.paths == (images / "1.png", tmp_path / "secret.png")
        alone = self.table(tmp_path, name)  # the folder has a file of this name, which is another one
        with refused(repr(name), "lead out of it"):
            Recording.load(alone, images=images)

    def test_names_that_stay_in_the_folder_are_none_that_lead_out(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", "1.png", "2.png")
        file = self.table(tmp_path, f"{images}/1.png", "../images/2.png")
        assert Recording.load(file, images=images).paths == (images / "1.png", images / "2.png")

    def test_a_missing_image_is_told_with_its_row_and_may_be_skipped(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", "a.png", "c.png")
        file = self.table(tmp_path, "a.png", "b.png", "c.png")
        with refused("missing: 'b.png'", "rows of '1'", "skip_missing=True (--skip-missing)", by=FileNotFoundError):
            Recording.load(file, images=images)
        with pytest.warns(UserWarning, match=r"1 of 3 images have no file in .*images and are left out: '1'"):
            loaded = Recording.load(file, images=images, skip_missing=True)
        assert (loaded.stimulus_ids, loaded.paths) == (("0", "2"), (images / "a.png", images / "c.png"))
        np.testing.assert_array_equal(loaded.mean, np.eye(3)[[0, 2]])

    def test_an_image_without_a_file_of_its_identifier_may_be_skipped(self, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", "body/hand.png", "object/cup.png")
        file = write_archive(tmp_path / "r.npz", responses=RATES, stimulus_id=IMAGES)
        with refused("unknown: 'face'", "skip_missing=True (--skip-missing)"):
            Recording.load(file, images=images)
        with pytest.warns(UserWarning, match="1 of 3 images"):
            loaded = Recording.load(file, images=images, skip_missing=True)
        assert (loaded.stimulus_ids, loaded.categories) == (("hand", "cup"), ("body", "object"))
        np.testing.assert_array_equal(loaded.mean, RATES[:2])

    def test_all_images_are_never_skipped(self, tmp_path: Path) -> None:
        file = self.table(tmp_path, "a.png", "b.png")
        with refused("missing: 'a.png', 'b.png'", by=FileNotFoundError):
            Recording.load(file, images=write_images(tmp_path / "images", "c.png"), skip_missing=True)

    @pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\\b.png", "C:\\a.png", "~/a.png", "a.png/", "."])
    def test_names_that_no_file_has(self, tmp_path: Path, name: str) -> None:
        file = self.table(tmp_path, "1.png", name)
        with refused("missing: ", "rows of '1'", by=FileNotFoundError):
            Recording.load(file, images=write_images(tmp_path / "images", "1.png"))


class TestNamedArrays:
    @staticmethod
    def file(folder: Path, extension: str, **arrays: object) -> Path:
        if extension == ".npz":
            return write_archive(folder / "r.npz", **arrays)
        with h5py.File(folder / "r.h5", "w") as file:
            for name, value in arrays.items():
                file[name] = value
        return folder / "r.h5"

    @pytest.mark.parametrize("extension", [".npz", ".h5"])
    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("stimulus_ids", "stimulus_id"),
            ("Stimulus_ID", "stimulus_id"),
            ("stimulusid", "stimulus_id"),
            ("neuron_id", "neuroid_id"),
            ("regions", "region"),
            ("categories", "category"),
            ("file_names", "filename"),
            ("subject_id", "subject"),
            ("half", "halves"),
            ("response", "responses"),
        ],
    )
    def test_a_name_that_is_almost_right_is_refused(
        self, tmp_path: Path, extension: str, wrong: str, right: str
    ) -> None:
        """The table is in another order: were the identifiers not read, the responses would be scrambled."""
        write(tmp_path / "stimuli.csv", "stimulus_id,category", "face,body", "hand,body", "cup,object")
        arrays = {"responses": RATES, "stimulus_id": IMAGES}
        arrays[wrong] = arrays.pop(right, IMAGES)
        with refused(f"r{extension}", f"rename {wrong!r} to {right}" if wrong != "half" else "'half'"):
            Recording.load(self.file(tmp_path, extension, **arrays))

    @pytest.mark.parametrize("extension", [".npz", ".h5"])
    def test_a_name_that_is_unknown_is_refused(self, tmp_path: Path, extension: str) -> None:
        with refused(f"r{extension}", "nothing else", "'ids'", "leave the others out"):
            Recording.load(self.file(tmp_path, extension, responses=RATES, stimulus_id=IMAGES, ids=IMAGES))

    def test_rows_are_matched_by_their_order_only_if_that_is_said(self, tmp_path: Path) -> None:
        table = write(tmp_path / "table.csv", "stimulus_id,category", "face,body", "hand,body", "cup,object")
        file = write_archive(tmp_path / "r.npz", responses=RATES)
        with refused("r.npz", "table.csv", "by_row=True, --by-row"):
            Recording.load(file, stimuli=table)
        loaded = Recording.load(file, stimuli=table, by_row=True)
        assert loaded.stimulus_ids == ("face", "hand", "cup")
        np.testing.assert_array_equal(loaded.mean, RATES)

    def test_rows_with_identifiers_are_not_matched_by_their_order(self, tmp_path: Path) -> None:
        write(tmp_path / "stimuli.csv", "stimulus_id", *reversed(IMAGES))
        file = write_archive(tmp_path / "r.npz", responses=RATES, stimulus_id=IMAGES)
        np.testing.assert_array_equal(Recording.load(file).mean, RATES[::-1])
        with refused("r.npz", "without stimulus_id", "leave by_row (--by-row) out"):
            Recording.load(file, by_row=True)

    @pytest.mark.parametrize("shape", [(3, 1), (1, 3)])
    def test_names_in_a_column_or_a_row(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        arrays = {"stimulus_id": np.reshape(IMAGES, shape), "neuroid_id": np.reshape(NEURONS, shape)}
        loaded = Recording.load(write_archive(tmp_path / "r.npz", responses=RATES, **arrays))
        assert (loaded.stimulus_ids, loaded.neuron_names) == (IMAGES, NEURONS)

    def test_names_in_a_matrix_are_refused(self, tmp_path: Path) -> None:
        file = write_archive(tmp_path / "r.npz", responses=np.ones((4, 1)), stimulus_id=[["a", "b"], ["c", "d"]])
        with refused("stimulus_id in ", "r.npz", "along one axis", "(2, 2)"):
            Recording.load(file)

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        file = write_archive(tmp_path / "r.npz", responses=RATES, stimulus_id=[b"h\xff", b"cup", b"face"])
        with refused("stimulus_id in ", "r.npz", "UTF-8"):
            Recording.load(file)


class TestTablesOfText:
    HEADER = "stimulus_id,neuroid_id,response"
    ROWS = tuple(
        f"{image},{neuron},{10 * i + k}.5" for i, image in enumerate(IMAGES) for k, neuron in enumerate(NEURONS)
    )

    def test_half_a_number_is_not_read(self, tmp_path: Path) -> None:
        """``20.5`` of the last row becomes ``2``."""
        file = write(tmp_path / "r.csv", self.HEADER, *self.ROWS, end="")
        file.write_text(file.read_text()[:-3])
        with refused("r.csv", "line end", "'face,C,2'", "cut short"):
            Recording.load(file)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_every_line_end_is_one(self, tmp_path: Path, end: str) -> None:
        (tmp_path / "r.csv").write_bytes(end.join([self.HEADER, *self.ROWS, ""]).encode())
        assert Recording.load(tmp_path / "r.csv").mean[2, 2] == 22.5

    @pytest.mark.parametrize("kept", [7, 8])
    def test_rows_that_stop_in_the_middle_are_refused(self, tmp_path: Path, kept: int) -> None:
        with refused("r.csv", "9 rows", "3 stimulus_id x 3 neuroid_id", f"got {kept}", "cut short", "empty response"):
            Recording.load(write(tmp_path / "r.csv", self.HEADER, *self.ROWS[:kept]))

    @pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
    def test_in_any_order_of_their_loops(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        """Three of everything; what is cut off cannot be told where a whole round of the outermost loop is missing."""
        loops = (IMAGES, NEURONS, ("1", "2", "3"), ("x", "y", "z"))
        rows = [[turn[order.index(i)] for i in range(4)] for turn in itertools.product(*(loops[i] for i in order))]
        header = "stimulus_id,neuroid_id,repetition,phase,response"
        lines = [",".join([*row, "1.5"]) for row in rows]
        for kept in (81, 54):
            assert Recording.load(write(tmp_path / "r.csv", header, *lines[:kept])).n_images >= 2
        for kept in (80, 73, 60, 55):
            with refused("81 rows", f"got {kept}", "cut short"):
                Recording.load(write(tmp_path / "r.csv", header, *lines[:kept]))

    def test_a_last_presentation_without_some_neurons_is_refused(self, tmp_path: Path) -> None:
        """Presentations in random order, in which images are repeated unequally often."""
        shown = np.random.default_rng(0).choice(IMAGES, 20)
        lines = [f"{image},{neuron},1.5" for image in shown for neuron in NEURONS]
        with pytest.warns(UserWarning, match="r.csv repeats images unequally often, 6 to 8 times for a neuron"):
            assert Recording.load(write(tmp_path / "r.csv", self.HEADER, *lines)).n_images == 3
        with refused("20 presentations x 3 neuroid_id", "got 59"):
            Recording.load(write(tmp_path / "r.csv", self.HEADER, *lines[:-1]))

    @pytest.mark.parametrize("gone", [(0,), (4,), (1, 5), (2, 3, 8)])
    def test_gaps_may_be_meant_and_are_told(self, tmp_path: Path, gone: tuple[int, ...]) -> None:
        rows = [row for index, row in enumerate(self.ROWS) if index not in gone]
        file = write(tmp_path / "r.csv", self.HEADER, *rows)
        with pytest.warns(UserWarning, match=rf"r.csv has rows for {9 - len(gone)} of 9 responses \(3 stimulus_id x 3"):
            loaded = Recording.load(file)
        loaded = loaded.select(images=IMAGES, neurons=NEURONS)
        assert np.flatnonzero(np.isnan(loaded.mean)).tolist() == [*gone]

    def test_a_gap_with_its_row_is_not_told(self, tmp_path: Path) -> None:
        loaded = Recording.load(write(tmp_path / "r.csv", self.HEADER, *self.ROWS[:-1], "face,C,"))
        assert np.isnan(loaded.mean[2, 2])

    def test_a_phase_that_some_images_do_not_have_is_told(self, tmp_path: Path) -> None:
        lines = [*(f"{row},1" for row in self.ROWS), *(f"{row},2" for row in self.ROWS[3:])]
        with pytest.warns(UserWarning, match=r"rows for 15 of 18 responses"):
            Recording.load(write(tmp_path / "r.csv", f"{self.HEADER},phase", *lines))

    def test_fewer_images_than_in_the_table_are_told(self, tmp_path: Path) -> None:
        write(tmp_path / "stimuli.csv", "stimulus_id,category", "hand,body", "cup,object", "face,body")
        file = write(tmp_path / "r.csv", self.HEADER, *self.ROWS[:6])
        with pytest.warns(UserWarning, match=r"r.csv has responses to 2 of the 3 images of .*stimuli.csv; the others"):
            assert Recording.load(file).stimulus_ids == ("hand", "cup")

    @pytest.mark.parametrize(
        ("column", "right"), [("phases", "phase"), ("Repetition", "repetition"), ("file_name", "filename")]
    )
    @pytest.mark.parametrize("extension", ["csv", "parquet"])
    def test_a_column_that_is_almost_one_is_refused(
        self, tmp_path: Path, column: str, right: str, extension: str
    ) -> None:
        rows = pd.DataFrame([[*row.split(","), "1"] for row in self.ROWS], columns=[*self.HEADER.split(","), column])
        getattr(rows, f"to_{extension}")(tmp_path / f"r.{extension}", index=False)
        with refused(f"r.{extension}", f"the column {right} ", repr(column)):
            Recording.load(tmp_path / f"r.{extension}")

    def test_a_column_of_something_else_is_left_out(self, tmp_path: Path) -> None:
        lines = [f"{row},mug,3" for row in self.ROWS]
        loaded = Recording.load(write(tmp_path / "r.csv", f"{self.HEADER},object,age", *lines))
        assert loaded.mean[0].tolist() == [0.5, 1.5, 2.5]

    def test_a_table_of_one_column_a_neuron_is_told_how_to_be_written(self, tmp_path: Path) -> None:
        file = write(tmp_path / "r.csv", "stimulus_id,A,B,C", "hand,1,2,3", "cup,4,5,6")
        remedy = "table.melt('stimulus_id', var_name='neuroid_id', value_name='response')"
        with refused("r.csv", remedy):
            Recording.load(file)
        table = pd.read_csv(file)
        eval(remedy, {"table": table}).to_csv(tmp_path / "long.csv", index=False)
        assert Recording.load(tmp_path / "long.csv").mean.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]

    def test_and_so_is_one_of_that_kind_in_another_format(self, tmp_path: Path) -> None:
        pd.DataFrame({"stimulus_id": IMAGES, "A": RATES[0], "B": RATES[1]}).to_parquet(tmp_path / "r.parquet")
        with refused("r.parquet", "got stimulus_id, A, B: write one response a row", "table.melt("):
            Recording.load(tmp_path / "r.parquet")

    @pytest.mark.parametrize("extension", ["csv", "parquet"])
    def test_a_table_that_was_joined_with_itself_is_refused(self, tmp_path: Path, extension: str) -> None:
        """Read as repetitions, it would be perfectly reliable."""
        rng = np.random.default_rng(0)
        index = pd.MultiIndex.from_product([range(6), NEURONS], names=["stimulus_id", "neuroid_id"])
        once = pd.DataFrame({"response": rng.poisson(3.0, 18)}, index=index).reset_index()
        file = tmp_path / f"r.{extension}"
        for other in (once, once.iloc[:12], once.sample(frac=1.0, random_state=0)):
            getattr(pd.concat([once, other]), f"to_{extension}")(file, index=False)
            with refused(file.name, f"each of the {len(other)} rows", "joined with itself"):
                Recording.load(file)
        numbered = [once.assign(repetition=number) for number in (1, 2)]
        for allowed in ([once, once.assign(response=rng.poisson(3.0, 18))], [once, once.iloc[:9]], numbered):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(pd.concat(allowed), f"to_{extension}")(file, index=False)
                assert Recording.load(file).halves is not None

    def test_the_wrong_one_of_two_tables(self, tmp_path: Path) -> None:
        images = write(tmp_path / "images.csv", "stimulus_id,filename,category", "hand,h.png,body")
        responses = write(tmp_path / "rec.csv", self.HEADER, *self.ROWS)
        with refused("images.csv", "a table of images", "stimuli="):
            Recording.load(images)
        with refused("rec.csv", "got a recording", "column neuroid_id"):
            Recording.load(responses, stimuli=responses)

    def test_the_recording_is_not_the_table_that_is_to_be_written(self, tmp_path: Path) -> None:
        write(tmp_path / "rec.csv", self.HEADER, *self.ROWS)
        np.save(tmp_path / "rec.npy", RATES)
        with refused("rec.npy", f"write the table {tmp_path / 'stimuli.csv'} with"):
            Recording.load(tmp_path / "rec.npy")


class TestParquet:
    @pytest.mark.parametrize(
        "index", [["stimulus_id"], ["stimulus_id", "neuroid_id"], ["neuroid_id", "phase", "stimulus_id"], ["response"]]
    )
    def test_columns_in_an_index_are_columns(self, tmp_path: Path, index: list[str]) -> None:
        recording().save(tmp_path / "plain.parquet")
        pd.read_parquet(tmp_path / "plain.parquet").set_index(index).to_parquet(tmp_path / "r.parquet")
        loaded = Recording.load(tmp_path / "r.parquet")
        assert (loaded.stimulus_ids, loaded.neuron_names, loaded.regions) == (IMAGES, NEURONS, recording().regions)
        np.testing.assert_array_equal(loaded.responses, recording().responses)


class TestOurNetcdf:
    def changed(self, folder: Path, change: Callable[[xr.Dataset], xr.Dataset], **changes: object) -> Path:
        recording(**changes).save(folder / "saved.nc")
        change(xr.load_dataset(folder / "saved.nc", engine="h5netcdf")).to_netcdf(folder / "r.nc", engine="h5netcdf")
        return folder / "r.nc"

    @pytest.mark.parametrize("order", [*itertools.permutations(("phase", "stimulus", "neuroid"))])
    def test_dimensions_are_told_by_their_names(self, tmp_path: Path, order: tuple[str, ...]) -> None:
        loaded = Recording.load(self.changed(tmp_path, lambda dataset: dataset.transpose(*order)))
        np.testing.assert_array_equal(loaded.responses, recording().responses)
        assert (loaded.stimulus_ids, loaded.neuron_names) == (IMAGES, NEURONS)

    def test_halves_too(self, tmp_path: Path) -> None:
        one = {"responses": RATES[None], "halves": np.stack([RATES, RATES + 0.5])}
        file = self.changed(tmp_path, lambda dataset: dataset.transpose("neuroid", "stimulus", "half", "phase"), **one)
        np.testing.assert_array_equal(Recording.load(file).halves, one["halves"])
        np.testing.assert_array_equal(Recording.load(file).mean, RATES)

    def test_images_in_another_order_keep_what_is_theirs(self, tmp_path: Path) -> None:
        loaded = Recording.load(self.changed(tmp_path, lambda dataset: dataset.isel(stimulus=[2, 0, 1])))
        assert (loaded.stimulus_ids, loaded.categories) == (("face", "hand", "cup"), ("body", "body", "object"))
        np.testing.assert_array_equal(loaded.responses, recording().responses[:, [2, 0, 1]])

    def test_one_phase_without_its_dimension(self, tmp_path: Path) -> None:
        loaded = Recording.load(self.changed(tmp_path, lambda dataset: dataset.isel(phase=1, drop=True)))
        np.testing.assert_array_equal(loaded.responses, 10 * RATES[None])

    def test_under_another_extension_it_is_told_what_it_is(self, tmp_path: Path) -> None:
        file = self.changed(tmp_path, lambda dataset: dataset.transpose("neuroid", "stimulus", "phase"))
        with refused("r.h5", "one of our netCDF files, whose extension is .nc"):
            Recording.load(file.rename(tmp_path / "r.h5"))

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda dataset: dataset.isel(neuroid=0, drop=True), "phase, stimulus, neuroid, got phase, stimulus"),
            (lambda dataset: dataset.rename(stimulus="image"), "phase, stimulus, neuroid, got phase, image, neuroid"),
            (lambda dataset: dataset.assign_coords(category=("neuroid", ["a", "b", "c"])), "category in "),
            (lambda dataset: dataset.rename(region="regions"), "rename 'regions' to region"),
            (lambda dataset: dataset.drop_vars("stimulus_id"), "stimulus_id"),
        ],
    )
    def test_other_names_are_refused(
        self, tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], told: str
    ) -> None:
        with refused("r.nc", told):
            Recording.load(self.changed(tmp_path, change))


class TestSpikes:
    """Three units with 2, 3 and 1 spikes, and two images at 0 and 1 s."""

    TIMES = ([0.1, 0.2], [0.06, 1.1, 1.2], [1.06])

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        shown = pd.DataFrame({"start_time": [0.0, 1.0], "stop_time": [0.3, 1.3], "stimulus_id": ["hand", "cup"]})
        times = [np.array(own) for own in self.TIMES]
        write_spikes(tmp_path / "r.nwb", Spikes(times, shown, NEURONS, ["IT"] * 3, "M1"))
        np.testing.assert_array_equal(Recording.load(tmp_path / "r.nwb").mean, [[10.0, 5.0, 0.0], [0.0, 10.0, 5.0]])
        return tmp_path / "r.nwb"

    @staticmethod
    def changed(file: Path, name: str, values: object) -> Path:
        with h5py.File(file, "r+") as nwb:
            attributes = dict(nwb[name].attrs)
            dtype = nwb[name].dtype
            del nwb[name]
            nwb[name] = np.array(values, dtype=dtype) if isinstance(values, list) else values
            nwb[name].attrs.update({key: value for key, value in attributes.items() if key != "target"})
            if "target" in attributes:
                nwb[name].attrs["target"] = nwb["units/spike_times"].ref
        return file

    @pytest.mark.parametrize(
        ("ends", "told"),
        [
            ([2, 5, 5], "6 entries of spike_times, got 5"),
            ([2, 5, 7], "6 entries of spike_times, got 7"),
            ([5, 2, 6], "a decrease"),
            ([2, 5], "Columns must be the same length"),
            ([2, 5, 6, 6], "Columns must be the same length"),
            ([1, 5, 6], "ascend within each unit, got 0.06 after 0.2 in 'B'"),
            (np.array([2.0, 5.0, 6.0]), "whole number"),
        ],
    )
    def test_an_index_that_does_not_fit(self, file: Path, ends: object, told: str) -> None:
        with refused("r.nwb", told):
            Recording.load(self.changed(file, "units/spike_times_index", ends))

    @pytest.mark.parametrize(
        ("times", "told"),
        [
            ([0.1, 0.2, 0.06, 1.1, 1.2], "5 entries of spike_times, got 6"),
            ([0.1, 0.2, 0.06, 1.1, 1.2, 1.06, 1.07], "7 entries of spike_times, got 6"),
            ([0.1, np.nan, 0.06, 1.1, 1.2, 1.06], "finite spike_times, got nan in 'A'"),
            ([0.1, 0.2, 0.06, 1.1, np.inf, 1.06], "finite spike_times, got inf in 'B'"),
            ([0.1, 0.2, 0.06, 1.2, 1.1, 1.06], "ascend within each unit, got 1.1 after 1.2 in 'B'"),
        ],
    )
    def test_times_that_are_none(self, file: Path, times: list[float], told: str) -> None:
        with refused("r.nwb", told):
            Recording.load(self.changed(file, "units/spike_times", times))

    @pytest.mark.parametrize(
        ("name", "values", "told"),
        [
            ("intervals/trials/start_time", [0.0, np.inf], "finite start_time"),
            ("intervals/trials/start_time", [0.0], ""),
            ("units/neuroid_id", ["A", "B"], ""),
            ("units/region", ["IT"], ""),
        ],
    )
    def test_columns_that_do_not_fit(self, file: Path, name: str, values: list[object], told: str) -> None:
        with refused("r.nwb", told):
            Recording.load(self.changed(file, name, values))

    @pytest.mark.parametrize("observed", [[[0.5, 0.0]], [[0.0, np.nan]], [[0.0, 0.5], [2.0, 1.0]]])
    def test_times_of_observation_that_are_none(self, tmp_path: Path, observed: list[list[float]]) -> None:
        start = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
        nwb = pynwb.NWBFile(session_description="test", identifier="test", session_start_time=start)
        nwb.add_trial_column("stimulus_id", "image")
        nwb.add_trial(start_time=0.0, stop_time=0.5, stimulus_id="hand")
        nwb.add_unit(spike_times=[0.1], obs_intervals=observed)
        with pynwb.NWBHDF5IO(tmp_path / "r.nwb", "w") as file:
            file.write(nwb)
        with refused("r.nwb", "obs_intervals as pairs (begin, end) of ascending numbers"):
            Recording.load(tmp_path / "r.nwb")

    def test_times_that_are_equal_or_before_the_session_are_times(self, file: Path) -> None:
        loaded = Recording.load(self.changed(file, "units/spike_times", [-5.0, 0.1, 0.06, 1.1, 1.1, 1.06]))
        np.testing.assert_array_equal(loaded.mean, [[5.0, 5.0, 0.0], [0.0, 10.0, 5.0]])


class TestNames:
    @pytest.mark.parametrize(
        "names", [[*NEURONS], np.array(NEURONS), np.array(NEURONS)[:, None], pd.Index(NEURONS), pd.Series(NEURONS)]
    )
    def test_of_neurons_in_anything_that_lists_them(self, names: object) -> None:
        assert recording(neuron_names=names).neuron_names == NEURONS
        readout = LinearReadout(np.eye(3), neuron_names=names)
        assert readout.neuron_names == NEURONS
        assert {type(name) for name in readout.neuron_names} == {str}

    @pytest.mark.parametrize(
        "names", [[["A"], ["B"], ["C"]], [("A",), ("B",), ("C",)], "ABC", np.ones((3, 2), dtype=str)]
    )
    def test_of_neurons_in_anything_else_are_refused(self, names: object) -> None:
        with refused("neuron_names"):
            recording(neuron_names=names)
        with refused("neuron_names", by=TypeError):
            LinearReadout(np.eye(3), neuron_names=names)

    def test_of_the_columns_of_a_table_are_those_of_the_neurons(self) -> None:
        rng = np.random.default_rng(0)
        features, responses = rng.normal(size=(8, 2)), pd.DataFrame(rng.normal(size=(8, 3)), columns=NEURONS)
        readout = fit_readout(features, responses)
        assert readout.neuron_names == NEURONS
        np.testing.assert_array_equal(readout.weight, fit_readout(features, responses.to_numpy()).weight)
        assert fit_readout(features, responses["B"]).neuron_names == ("B",)
        assert fit_readout(features, responses, neuron_names=["x", "y", "z"]).neuron_names == ("x", "y", "z")
        assert fit_readout(features, responses.set_axis([7, 8, 9], axis=1)).neuron_names == ("7", "8", "9")
        with refused("distinct neuron_names", "A", by=ValueError):
            fit_readout(features, responses.set_axis(["A", "A", "B"], axis=1))

    def test_of_images_in_another_order_are_not_taken_row_by_row(self) -> None:
        features = pd.DataFrame(np.arange(6.0).reshape(3, 2), index=IMAGES)
        responses = pd.DataFrame(RATES, index=IMAGES, columns=NEURONS)
        expected = fit_readout(features, responses)
        with refused("same labels in another one", "responses.loc[features.index]"):
            fit_readout(features, responses.loc[["cup", "hand", "face"]])
        again = fit_readout(features, responses.loc[["cup", "hand", "face"]].loc[features.index])
        np.testing.assert_array_equal(again.weight, expected.weight)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "say so (by_row=True, --by-row)"),
        (("--by-row",), "leave them out with skip_missing=True (--skip-missing)"),
        (("--by-row", "--skip-missing"), "lead out of it"),
    ],
)
def test_the_command_offers_what_the_library_does(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    images = write_images(tmp_path / "images", "h.png", "f.png")
    outside = str(write_images(tmp_path, "d.png") / "d.png") if "--skip-missing" in options else "d.png"
    write(tmp_path / "stimuli.csv", "stimulus_id,filename,category", "hand,h.png,a", f"cup,{outside},b", "face,f.png,a")
    np.save(tmp_path / "r.npy", RATES)
    typed = ["study", str(tmp_path / "r.npy"), "--images", str(images), "--preferred", "a", "--model", "embedded"]
    result = CliRunner().invoke(app, [*typed, "--layer", "features", "--output", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.filterwarnings("default")
def test_the_command_tells_what_is_left_out_in_a_sentence(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", "hand.png", "cup.png")
    table = ["stimulus_id,neuroid_id,response", *(f"{name},A,1.5" for name in ("hand", "cup", "face"))]
    file = write(tmp_path / "r.csv", *table)
    typed = ["study", str(file), "--images", str(images), "--preferred", "animal", "--model", "embedded"]
    typed += ["--layer", "features", "--output", str(tmp_path / "out"), "--skip-missing"]
    told = CliRunner().invoke(app, typed).output.splitlines()
    assert f"captum-shared: 1 of 3 images have no file in {images} and are left out: 'face'." in told
    assert not [line for line in told if "Warning" in line or "warn(" in line]
