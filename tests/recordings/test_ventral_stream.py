"""The THINGS ventral stream recording, in small files of its layout: 1,024 channels, few images."""

from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from captum_shared.recordings import datasets, things_ventral_stream

CONCEPTS = ("aardvark", "zebra", "cup")
N_TRAIN, N_TEST, N_REPETITIONS = 6, 4, 5


def write_matlab(path: Path) -> h5py.File:
    """HDF5 behind a block of 512 bytes of the user's, which is text in MATLAB's files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    h5py.File(path, "w", userblock_size=512).close()
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Mon Jan 01 00:00:00 2024 HDF5 schema 1.00 .")
    return h5py.File(path, "r+")


def write_cell(file: h5py.File, name: str, text: str) -> h5py.Reference:
    """A text of MATLAB: UTF-16, a character a row; an empty one is its size."""
    codes = np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None] if text else np.zeros(2, np.uint64)
    cell = file.create_dataset(f"#refs#/{name}", data=codes)
    cell.attrs["MATLAB_class"] = b"char"
    if not text:
        cell.attrs["MATLAB_empty"] = 1
    return cell.ref


def names_of(n: int, first: int) -> list[str]:
    return [f"{CONCEPTS[k % 3]}\\{CONCEPTS[k % 3]}_{first + k:02d}b.jpg" for k in range(n)]


def write_images(path: Path, order: np.ndarray) -> None:
    with write_matlab(path) as file:
        for part, names in (("train", names_of(N_TRAIN, 1)), ("test", names_of(N_TEST, 50))):
            names = [names[k] for k in order if k < len(names)]
            fields = {
                "class": [name.split("\\")[0] for name in names],
                "things_path": names,
                "local_path": [f"D:\\images\\{name}" for name in names],
            }
            for field, values in fields.items():
                cells = [write_cell(file, f"{part}{field}{k}", value) for k, value in enumerate(values)]
                references = np.array(cells, dtype=h5py.ref_dtype)[:, None]
                file.create_dataset(f"{part}_imgs/{field}", data=references, dtype=h5py.ref_dtype)


def write_monkey(folder: Path, seed: int, order: np.ndarray) -> dict[str, np.ndarray]:
    """What MATLAB writes of channels x images x repetitions, axes from last to first; rows in the order of images."""
    random = np.random.default_rng(seed)
    test = order[order < N_TEST]
    signal, noise = random.normal(size=(1, N_TEST, 1024)), random.normal(size=(N_REPETITIONS, N_TEST, 1024))
    repetitions = (signal + random.random(1024) * noise)[:, test]
    repetitions[1, 2, 7] = np.nan
    train = random.normal(size=(N_TRAIN, 1024))[order]
    standard = (repetitions - repetitions.mean(axis=1, keepdims=True)) / repetitions.std(axis=1, keepdims=True)
    pairs = [(standard[i] * standard[j]).mean(axis=0) for i, j in combinations(range(N_REPETITIONS), 2)]
    values = {
        "train_MUA": train,
        "test_MUA": np.nanmean(repetitions, axis=0),
        "test_MUA_reps": repetitions,
        "reliab": np.array(pairs),
        "oracle": random.random((1024, 1)),
        "SNR": random.random((4, 1024)),
        "SNR_max": random.random((1024, 1)),
        "lats": random.random((4, 1024)),
        "tb": np.arange(-100.0, 200.0)[:, None],
    }
    with write_matlab(folder / "THINGS_normMUA.mat") as file:
        for name, value in values.items():
            file.create_dataset(name, data=value, chunks=True, compression="gzip", compression_opts=3)
            file[name].attrs["MATLAB_class"] = b"double"
    write_images(folder / "_logs" / "things_imgs.mat", order)
    return values


ORDERS = {"monkeyF": np.arange(N_TRAIN), "monkeyN": np.array([3, 0, 5, 1, 2, 4])}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    folder = tmp_path_factory.mktemp("TVSD")
    return folder, {name: write_monkey(folder / name, seed, ORDERS[name]) for seed, name in enumerate(ORDERS)}


@pytest.fixture
def copied(published: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path) -> Path:
    for file in published[0].rglob("*.mat"):
        copy = tmp_path / file.relative_to(published[0])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path


def test_training_images_are_matched_by_name_across_monkeys(published: tuple[Path, dict]) -> None:
    folder, values = published
    stored = things_ventral_stream(folder)
    assert stored.stimulus_ids == tuple(name.replace("\\", "/") for name in names_of(N_TRAIN, 1))
    assert stored.categories == ("aardvark", "zebra", "cup") * 2
    assert (stored.n_images, stored.n_neurons, stored.paths) == (6, 2048, None)
    assert stored.neuron_names[512] == "monkeyF-0513"
    assert stored.neuron_names[-1] == "monkeyN-1024"
    assert stored.regions == tuple(
        512 * ["V1"] + 320 * ["IT"] + 192 * ["V4"] + 512 * ["V1"] + 256 * ["V4"] + 256 * ["IT"]
    )
    assert stored.subjects == ("monkeyF",) * 1024 + ("monkeyN",) * 1024
    recording = stored.select(neurons=["monkeyN-0900", "monkeyF-0001", "monkeyN-0003"])
    back = np.argsort(ORDERS["monkeyN"])
    expected = [
        values["monkeyN"]["train_MUA"][back, 899],
        values["monkeyF"]["train_MUA"][:, 0],
        values["monkeyN"]["train_MUA"][back, 2],
    ]
    np.testing.assert_array_equal(recording.responses[0], np.transpose(expected))
    assert recording.halves is None
    pairs = values["monkeyN"]["reliab"][:, 899], values["monkeyF"]["reliab"][:, 0], values["monkeyN"]["reliab"][:, 2]
    np.testing.assert_allclose(recording.reliability, [np.nanmean(pair) for pair in pairs])


def test_test_images_have_halves_and_the_reliability_of_all_repetitions(published: tuple[Path, dict]) -> None:
    folder, values = published
    recording = datasets.things_ventral_stream(folder, part="test", subjects=["monkeyF"]).select(neurons=[7, 3])
    repetitions = values["monkeyF"]["test_MUA_reps"][..., [7, 3]]
    np.testing.assert_allclose(recording.mean, np.nanmean(repetitions, axis=0))
    np.testing.assert_allclose(recording.halves[0], np.nanmean(repetitions[[0, 2, 4]], axis=0))
    np.testing.assert_allclose(recording.halves[1], np.nanmean(repetitions[[1, 3]], axis=0))
    one = np.nanmean(values["monkeyF"]["reliab"], axis=0)[[7, 3]]
    np.testing.assert_allclose(recording.reliability, 5 * one / (1 + 4 * one))
    assert recording.stimulus_ids[0] == "aardvark/aardvark_50b.jpg"


def test_areas_are_chosen(published: tuple[Path, dict]) -> None:
    stored = things_ventral_stream(published[0], regions=["IT"], subjects=["monkeyN"])
    assert stored.neuron_names == tuple(f"monkeyN-{channel:04d}" for channel in range(769, 1025))
    row = list(ORDERS["monkeyN"]).index(0)
    assert stored.stimulus_ids[row] == "aardvark/aardvark_01b.jpg"  # in the order of this monkey
    expected = published[1]["monkeyN"]["train_MUA"][:, 1023]
    np.testing.assert_array_equal(stored.select(neurons=[255]).mean[:, 0], expected)


def test_images_and_categories_of_ones_own(published: tuple[Path, dict], tmp_path: Path) -> None:
    identifiers = [name.replace("\\", "/") for name in names_of(N_TRAIN, 1)]
    for name in identifiers:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    rows = "".join(f"{name},{'object' if name.startswith('cup') else 'animal'}\n" for name in [*identifiers, "more"])
    (tmp_path / "table.csv").write_text("stimulus_id,category\n" + rows)
    stored = things_ventral_stream(published[0], images=tmp_path, stimuli=tmp_path / "table.csv")
    assert stored.paths == tuple(tmp_path / name for name in identifiers)
    assert stored.categories == ("animal", "animal", "object") * 2
    (tmp_path / identifiers[4]).unlink()
    with pytest.raises(FileNotFoundError, match=r"missing: 'zebra/zebra_05b\.jpg'"):
        things_ventral_stream(published[0], images=tmp_path)
    (tmp_path / "table.csv").write_text(f"stimulus_id,category\n{identifiers[0]},animal\n")
    with pytest.raises(ValueError, match=r"Expected every image in the table .*unknown: 'zebra/zebra_02b\.jpg'"):
        things_ventral_stream(published[0], stimuli=tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"part": "both"}, r"part out of train, test, each once.*got \['both'\]"),
        ({"subjects": ["F"]}, r"subjects out of monkeyF, monkeyN.* got \['F'\]"),
        ({"regions": ["V4", "V4"]}, r"regions out of V1, V4, IT, each once"),
        ({"regions": []}, r"regions out of V1, V4, IT"),
    ],
)
def test_choices_that_there_are_not(published: tuple[Path, dict], choice: dict, told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told if "both" not in str(choice) else r"part"):
        things_ventral_stream(published[0], **choice)


class TestWrongFiles:
    def test_a_folder_without_them(self, tmp_path: Path) -> None:
        with pytest.raises(
            FileNotFoundError, match=r"monkeyF/_logs/things_imgs\.mat of the THINGS .*got none: download"
        ):
            things_ventral_stream(tmp_path)

    def test_a_note_in_place_of_a_file(self, copied: Path) -> None:
        (copied / "monkeyF" / "THINGS_normMUA.mat").write_text("/annex/objects/MD5E-s203423--ab.mat\n")
        with pytest.raises(FileNotFoundError, match=r"THINGS_normMUA\.mat .*got the note .*datalad get"):
            things_ventral_stream(copied)

    @pytest.mark.parametrize("name", ["THINGS_normMUA.mat", "_logs/things_imgs.mat"])
    def test_a_file_cut_short(self, copied: Path, name: str) -> None:
        file = copied / "monkeyF" / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"Expected a readable MATLAB v7\.3 file at .*{name.split('/')[-1]}"):
            things_ventral_stream(copied)

    def test_one_file_in_place_of_the_other(self, copied: Path) -> None:
        (copied / "monkeyF" / "THINGS_normMUA.mat").write_bytes(
            (copied / "monkeyF" / "_logs" / "things_imgs.mat").read_bytes()
        )
        with pytest.raises(
            ValueError, match=r"THINGS_normMUA\.mat: Expected the dataset 'train_MUA', got '#refs#', 't"
        ):
            things_ventral_stream(copied)

    def test_a_matrix_that_is_transposed(self, copied: Path) -> None:
        with h5py.File(copied / "monkeyF" / "THINGS_normMUA.mat", "r+") as file:
            values = file["train_MUA"][()].T
            del file["train_MUA"]
            file["train_MUA"] = values
        with pytest.raises(
            ValueError, match=r"'train_MUA' with the shape \(6, 1024\) in HDF5, got \(1024, 6\): it is tr"
        ):
            things_ventral_stream(copied)

    def test_responses_to_other_images(self, copied: Path) -> None:
        write_images(copied / "monkeyF" / "_logs" / "things_imgs.mat", np.arange(5))
        with pytest.raises(ValueError, match=r"'train_MUA' with the shape \(5, 1024\) in HDF5, got \(6, 1024\)"):
            things_ventral_stream(copied, subjects=["monkeyF"])

    def test_monkeys_that_saw_different_images(self, copied: Path) -> None:
        write_images(copied / "monkeyN" / "_logs" / "things_imgs.mat", np.arange(5))
        with pytest.raises(ValueError, match=r"others for monkeyN: 'cup/cup_06b\.jpg'\. Choose one subject"):
            things_ventral_stream(copied)

    def test_a_link_to_another_file(self, copied: Path) -> None:
        with h5py.File(copied / "monkeyF" / "THINGS_normMUA.mat", "r+") as file:
            del file["train_MUA"]
            file["train_MUA"] = h5py.ExternalLink("/etc/passwd", "x")
        with pytest.raises(ValueError, match=r"Expected the dataset 'train_MUA'"):
            things_ventral_stream(copied)
