"""A recording that is read in parts is the recording that is read as a whole."""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray
from PIL import Image

from captum_shared.recordings import FORMATS, Recording, StoredRecording, listed_images
from captum_shared.recordings.formats.hdf5 import read_hdf5
from captum_shared.recordings.formats.identifiers import Choice
from captum_shared.recordings.formats.netcdf import read_netcdf
from captum_shared.recordings.formats.parquet import read_parquet
from captum_shared.recordings.formats.table import Format
from captum_shared.recordings.formats.zarr_stores import read_zarr

IN_PARTS = [each for each in FORMATS if each.list_neurons]


def drawn(seed: int, *, n_phases: int = 1, n_images: int = 5, n_neurons: int = 7, halves: bool = False) -> Recording:
    """Responses with gaps."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(n_phases + 2, n_images, n_neurons))
    values[random.random(values.shape) < 0.2] = np.nan
    return Recording(
        responses=values[:n_phases],
        stimulus_ids=tuple(f"{n:02d}" for n in random.permutation(n_images)),
        categories=tuple(random.choice(["body", "object", ""], n_images)),
        neuron_names=tuple(f"n{n}" for n in random.permutation(n_neurons)),
        regions=tuple(random.choice(["V4", "IT", ""], n_neurons)),
        subjects=tuple(random.choice(["F", "N"], n_neurons)),
        halves=values[n_phases:] if halves else None,
        reliability=random.random(n_neurons) if halves else None,
    )


def saved(recording: Recording, folder: Path, each: Format) -> Path:
    file = folder / f"r{each.extensions[0]}"
    if each.write:
        recording.save(file)
        return file
    recording.save(folder / "r.nc")
    with xarray.open_dataset(folder / "r.nc", engine="h5netcdf") as dataset:
        dataset.drop_encoding().to_zarr(file, zarr_format=2, write_empty_chunks=True)
    return file


def assert_same(one: Recording, other: Recording) -> None:
    for name in ("stimulus_ids", "categories", "neuron_names", "regions", "subjects", "paths"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("responses", "halves", "reliability"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("each", IN_PARTS, ids=lambda each: each.extensions[0])
class TestEveryFormatInParts:
    @pytest.mark.parametrize("seed", range(2))
    def test_any_choice_is_that_of_the_whole(self, tmp_path: Path, each: Format, seed: int) -> None:
        n_phases = 1 + seed % 2
        whole = drawn(seed, n_phases=n_phases, halves=each.halves and n_phases == 1)
        stored = StoredRecording.open(saved(whole, tmp_path, each))
        assert (stored.n_images, stored.n_neurons) == (5, 7)
        for name in ("stimulus_ids", "categories", "neuron_names", "regions", "subjects"):
            assert getattr(stored, name) == getattr(whole, name)
        np.testing.assert_array_equal(stored.reliability, whole.reliability)
        assert_same(stored.select(), whole)
        random = np.random.default_rng(seed)
        for n_neurons in (1, 3, 6):
            neurons, images = random.permutation(7)[:n_neurons], random.permutation(5)[:n_neurons]
            assert_same(stored.select(neurons=neurons), whole.select(neurons=neurons))
            assert_same(stored.select(neurons=neurons, images=images), whole.select(neurons=neurons, images=images))
        mask = np.array(whole.subjects) == "F"
        assert_same(stored.select(neurons=mask), whole.select(neurons=mask))

    def test_blocks_together_are_the_whole(self, tmp_path: Path, each: Format) -> None:
        whole = drawn(9, n_phases=2)
        blocks = list(StoredRecording.open(saved(whole, tmp_path, each)).blocks(3))
        assert [block.n_neurons for block in blocks] == [3, 3, 1]
        np.testing.assert_array_equal(np.concatenate([block.responses for block in blocks], axis=2), whole.responses)
        assert sum((block.neuron_names for block in blocks), ()) == whole.neuron_names

    def test_its_image_files_are_listed(self, tmp_path: Path, each: Format) -> None:
        whole = drawn(3)
        (tmp_path / "images").mkdir()
        for name in whole.stimulus_ids:
            Image.new("L", (4, 4)).save(tmp_path / "images" / f"{name}.png")
        files = tuple(tmp_path / "images" / f"{name}.png" for name in whole.stimulus_ids)
        file = saved(whole, tmp_path, each)
        assert listed_images(file, images=tmp_path / "images") == files
        assert StoredRecording.open(file, images=tmp_path / "images").select(neurons=[1]).paths == files

    def test_a_part_is_loaded_by_name(self, tmp_path: Path, each: Format) -> None:
        whole = drawn(3)
        assert_same(
            Recording.load(saved(whole, tmp_path, each), neurons=["n4", "n0"]), whole.select(neurons=["n4", "n0"])
        )

    def test_what_is_not_there_is_told(self, tmp_path: Path, each: Format) -> None:
        stored = StoredRecording.open(saved(drawn(3), tmp_path, each))
        with pytest.raises(ValueError, match=r"neurons out of the 7 of the recording, unknown: 'n7'\."):
            stored.select(neurons=["n7"])
        with pytest.raises(ValueError, match=r"images out of the 5 of the recording, unknown: '5'\."):
            stored.select(images=["5"])
        with pytest.raises(ValueError, match=r"distinct neuron_names, got more than once: 'n4'"):
            stored.select(neurons=["n4", "n4"])
        with pytest.raises(ValueError, match=r"at least 1 neuron, got 0"):
            next(stored.blocks(0))

    def test_the_images_are_those_of_the_whole(self, tmp_path: Path, each: Format) -> None:
        whole = drawn(3)
        file = saved(whole, tmp_path, each)
        names = sorted(whole.stimulus_ids)
        rows = "".join(f"{name},{name}.png,body\n" for name in names)
        (tmp_path / "stimuli.csv").write_text(f"stimulus_id,filename,category\n{rows}")
        stored = StoredRecording.open(file)
        assert stored.stimulus_ids == tuple(names)
        assert_same(stored.select(neurons=[2, 5]), Recording.load(file).select(neurons=[2, 5]))

    def test_another_file_in_its_place_is_noticed(self, tmp_path: Path, each: Format) -> None:
        (tmp_path / "other").mkdir()
        file = saved(drawn(3), tmp_path, each)
        stored = StoredRecording.open(file)
        other = saved(drawn(4), tmp_path / "other", each)
        file.rename(tmp_path / "old")
        other.rename(file)
        with pytest.raises(ValueError, match=r"Expected the 5 images and the neurons .* as it was opened, got .*again"):
            stored.select(neurons=[0])


def ragged(seed: int, columns: tuple[str, ...]) -> pd.DataFrame:
    """A long table with rows left out at random, in random order, of images that differ in how often they are shown."""
    random = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product(
        [["1", "2"] if "phase" in columns else ["1"], list("abcd"), ["1", "2", "3"], ["x", "y", "z"]],
        names=["phase", "stimulus_id", "repetition", "neuroid_id"],
    ).to_frame(index=False)
    rows = rows.sample(frac=0.5, random_state=seed)
    table = rows.assign(
        response=random.normal(size=len(rows)),
        region=rows["neuroid_id"].map({"x": "V1", "y": "V4", "z": "IT"}),
        category=rows["stimulus_id"].map({"a": "body", "b": "body", "c": "object", "d": "object"}),
    )
    return table[["stimulus_id", "neuroid_id", "response", "region", "category", *columns]]


@pytest.mark.parametrize("columns", [(), ("phase",), ("repetition",), ("phase", "repetition")], ids="+".join)
@pytest.mark.parametrize("seed", range(8))
def test_a_ragged_table_in_parts_is_that_of_the_whole(tmp_path: Path, columns: tuple[str, ...], seed: int) -> None:
    """Where no image is repeated for the neurons of a part, it has no halves; those of the whole have gaps there."""
    ragged(seed, columns).to_parquet(tmp_path / "r.parquet")
    whole, stored = Recording.load(tmp_path / "r.parquet"), StoredRecording.open(tmp_path / "r.parquet")
    for names in (["x"], ["z", "x"], ["y"], ["z"], ["x", "y", "z"]):
        part, expected = stored.select(neurons=names), whole.select(neurons=names)
        for name in ("stimulus_ids", "categories", "neuron_names", "regions"):
            assert getattr(part, name) == getattr(expected, name)
        np.testing.assert_allclose(part.responses, expected.responses, rtol=1e-15)
        if part.halves is None:
            assert expected.halves is None or np.isnan(expected.halves[1]).all()
        else:
            np.testing.assert_allclose(part.halves, expected.halves, rtol=1e-15)


@pytest.mark.parametrize("kind", ["category", "int64"])
def test_neurons_of_a_table_need_not_be_text(tmp_path: Path, kind: str) -> None:
    table = ragged(1, ("repetition",))
    names = table["neuroid_id"].map({"x": "7", "y": "12", "z": "30"}).astype(kind)
    table.assign(neuroid_id=names).to_parquet(tmp_path / "r.parquet")
    whole, stored = Recording.load(tmp_path / "r.parquet"), StoredRecording.open(tmp_path / "r.parquet")
    assert set(stored.neuron_names) == {"7", "12", "30"}
    np.testing.assert_allclose(
        stored.select(neurons=["30", "7"]).responses, whole.select(neurons=["30", "7"]).responses
    )


def bytes_read() -> int:
    """What this process has asked the system for, from files or memory."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def in_zarr(path: Path) -> None:
    with xarray.open_dataset(path.with_suffix(".nc"), engine="h5netcdf") as dataset:
        dataset.drop_encoding().to_zarr(path, zarr_format=2, encoding={"responses": {"chunks": (1, 4000, 30)}})


@pytest.mark.skipif(sys.platform != "linux", reason="counts bytes as Linux does")
@pytest.mark.parametrize(
    ("name", "read", "most"),
    [
        ("r.nc", read_netcdf, 0.1),
        ("r.h5", read_hdf5, 0.1),
        ("r.zarr", read_zarr, 0.1),
        ("r.parquet", read_parquet, 0.8),
    ],
)
def test_ten_neurons_of_a_large_file_are_read_without_the_others(
    tmp_path: Path, name: str, read: Callable[[Path, tuple[float, float], Choice], object], most: float
) -> None:
    n_images, n_neurons = (2000, 100) if name == "r.parquet" else (4000, 1000)
    whole = drawn(0, n_images=n_images, n_neurons=n_neurons)
    whole.save(tmp_path / ("r.nc" if name == "r.zarr" else name))
    if name == "r.zarr":
        in_zarr(tmp_path / name)
    size = whole.responses.nbytes
    read(tmp_path / name, (0.0, 0.2), [0])  # what is imported, and read once
    before, memory = bytes_read(), 0
    if name != "r.parquet":  # whose numbers are not Python's; text by text, it would take long
        tracemalloc.start()
    part = read(tmp_path / name, (0.0, 0.2), list(range(40, 50)))
    if name != "r.parquet":
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert part.responses.shape == (1, n_images, 10)  # type: ignore[attr-defined]
    assert bytes_read() - before < most * size
    assert memory < most * size


class TestDamage:
    @pytest.mark.parametrize("extension", [".nc", ".h5", ".parquet"])
    def test_a_file_that_is_cut_after_it_was_opened(self, tmp_path: Path, extension: str) -> None:
        file = tmp_path / f"r{extension}"
        drawn(1, n_images=50).save(file)
        stored = StoredRecording.open(file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"Expected a readable .* at .*r\."):
            stored.select(neurons=[3])
        with pytest.raises(ValueError, match=r"Expected a readable .* at .*r\."):
            StoredRecording.open(file)

    def test_a_link_to_another_file_is_refused(self, tmp_path: Path) -> None:
        drawn(1).save(tmp_path / "other.h5")
        with h5py.File(tmp_path / "r.h5", "w") as file:
            file["stimulus_id"] = [*"abcde"]
            file["responses"] = h5py.ExternalLink("other.h5", "responses")
        with pytest.raises(ValueError, match=r"holds all of its data, got 'responses', a link to 'other\.h5'"):
            StoredRecording.open(tmp_path / "r.h5")
        told = StoredRecording.open(tmp_path / "r.h5", follow_links=True)
        assert told.select(neurons=[6]).neuron_names == ("6",)
        np.testing.assert_array_equal(told.select(neurons=[6]).mean, drawn(1).select(neurons=[6]).mean)

    @pytest.mark.parametrize("extension", [".nc", ".zarr"])
    def test_neurons_without_names_have_those_of_the_whole(self, tmp_path: Path, extension: str) -> None:
        values = np.arange(6.0).reshape(2, 3)
        assembly = xarray.DataArray(values, {"stimulus_id": ("presentation", ["b", "a"])}, ("presentation", "neuroid"))
        if extension == ".nc":
            assembly.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
        else:
            assembly.to_dataset(name="rates").to_zarr(tmp_path / "r.zarr", zarr_format=2)
        part = StoredRecording.open(tmp_path / f"r{extension}").select(neurons=[2, 0])
        assert (part.neuron_names, part.stimulus_ids) == (("2", "0"), ("b", "a"))
        assert part.mean.tolist() == [[2.0, 0.0], [5.0, 3.0]]

    def test_a_part_of_a_store_that_is_lost(self, tmp_path: Path) -> None:
        file = saved(drawn(1), tmp_path, next(each for each in FORMATS if each.folder))
        (file / "responses" / "0.0.0").unlink()
        with pytest.raises(ValueError, match=r"Expected all 1 parts of 'responses' in .*r\.zarr, got 0: .*Copy"):
            StoredRecording.open(file)
        with pytest.raises(ValueError, match=r"Expected all 1 parts of 'responses'"):
            Recording.load(file)

    def test_a_part_of_a_store_that_is_cut(self, tmp_path: Path) -> None:
        file = saved(drawn(1), tmp_path, next(each for each in FORMATS if each.folder))
        part = file / "responses" / "0.0.0"
        part.write_bytes(part.read_bytes()[:-20])
        with pytest.raises(ValueError, match=r"Expected 296 bytes in .*r\.zarr/responses/0\.0\.0, .*, got 276: .*Copy"):
            Recording.load(file)

    def test_a_store_that_declares_more_than_it_has(self, tmp_path: Path) -> None:
        file = saved(drawn(1), tmp_path, next(each for each in FORMATS if each.folder))
        record = file / "responses" / ".zarray"
        record.write_text(record.read_text().replace("5,", "5000000000,").replace("7", "7000000"))
        with pytest.raises(ValueError, match=r"r\.zarr"):
            Recording.load(file)

    @pytest.mark.parametrize("name", ["empty.zarr", "cut.zarr"])
    def test_a_folder_that_is_no_store(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=rf"Expected a readable zarr file at .*{name}"):
            Recording.load(tmp_path / name)

    def test_a_format_without_parts_is_refused_with_those_that_have_them(self, tmp_path: Path) -> None:
        drawn(1).save(tmp_path / "r.csv")
        with pytest.raises(
            ValueError, match=r"read in parts \(\.nc, .*\.parquet, \.h5, .*\.zarr\), got .*r\.csv: read"
        ):
            StoredRecording.open(tmp_path / "r.csv")
        assert_same(Recording.load(tmp_path / "r.csv", neurons=["n4"]), drawn(1).select(neurons=["n4"]))
