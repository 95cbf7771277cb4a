"""The prepared betas of the Natural Scenes Dataset, in small volumes of their layout: 750 trials, few voxels."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
from PIL import Image

from captum_shared.recordings import datasets, natural_scenes

SHAPE = (4, 3, 5)  # x, y, z
BETAS = "nsddata_betas/ppdata/subj02/func1pt8mm/betas_fithrf_GLMdenoise_RR"
ROI = "nsddata/ppdata/subj02/func1pt8mm/roi"
N_SESSIONS = 2
LABELS = np.zeros(SHAPE, dtype=np.int16)
LABELS[1, 2, 0], LABELS[3, 2, 0], LABELS[0, 0, 4], LABELS[2, 1, 3] = 1, 2, 7, 2
LABELS[0, 1, 1] = -1  # not of the cortex
VOXELS = ("x1-y2-z0", "x3-y2-z0", "x2-y1-z3", "x0-y0-z4")  # as they lie in the file: x runs first, z last


def write_volume(path: Path, volume: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)


def write_stimuli(path: Path, numbers: list[int]) -> dict[int, np.ndarray]:
    """All 73,000 images are declared; only those that are needed are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        bricks = file.create_dataset("imgBrick", (73000, 425, 425, 3), np.uint8, chunks=(1, 425, 425, 3))
        images = {}
        for number in numbers:
            images[number] = np.kron(random.integers(0, 256, (17, 17, 3)), np.ones((25, 25, 1))).astype(np.uint8)
            bricks[number] = images[number]
    return images


class Published:
    """A folder of the dataset, with the numbers that are in its files."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(3)
        self.folder = folder
        self.subjectim = np.stack([random.permutation(73000)[:10000] + 1 for _ in range(8)])
        shown = np.concatenate([np.repeat(np.arange(1, 601), 2), np.arange(1, 301)])  # thrice, or twice
        self.masterordering = np.concatenate([random.permutation(shown), np.full(28500, 700)])
        self.trials = self.subjectim[1, self.masterordering[: 750 * N_SESSIONS] - 1] - 1
        design = {"masterordering": self.masterordering[None].astype(float), "subjectim": self.subjectim.astype(float)}
        (folder / "nsddata/experiments/nsd").mkdir(parents=True)
        scipy.io.savemat(
            folder / "nsddata/experiments/nsd/nsd_expdesign.mat", {**design, "sharedix": np.ones((1, 1000))}
        )
        self.betas = random.integers(-3000, 3000, (N_SESSIONS, *SHAPE, 750)).astype(np.int16)
        self.betas[:, 0, 0, 4] = 0  # outside of the brain
        (folder / BETAS).mkdir(parents=True)
        for session, betas in enumerate(self.betas, start=1):
            with h5py.File(folder / BETAS / f"betas_session{session:02d}.hdf5", "w") as file:
                file.create_dataset("betas", data=betas.T, chunks=(750, 1, 1, 1))  # MATLAB's axes, from last to first
        self.ratio = random.random(SHAPE)
        write_volume(folder / BETAS / "ncsnr.nii.gz", self.ratio)
        write_volume(folder / ROI / "prf-visualrois.nii.gz", LABELS)
        labels = folder / "nsddata/freesurfer/subj02/label"
        labels.mkdir(parents=True)
        (labels / "prf-visualrois.mgz.ctab").write_text("0 Unknown\n1 V1v\n2 V1d\n3 V2v\n7 hV4\n")

    def expected(self, voxel: tuple[int, int, int], image: int, *, which: slice = slice(None)) -> float:
        """The mean of the presentations of an image, one by one, each standardised in its session."""
        values = []
        for trial in np.flatnonzero(self.trials == image)[which]:
            session = self.betas[(trial // 750, *voxel)] / 300
            values.append((session[trial % 750] - session.mean()) / session.std(ddof=1))
        return float(np.mean(values)) if values else np.nan


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("nsd"))


@pytest.fixture
def own(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_what_there_is(published: Published) -> None:
    stored = natural_scenes(published.folder, 2, atlas="prf-visualrois")
    assert stored.neuron_names == VOXELS
    assert stored.regions == ("V1v", "V1d", "V1d", "hV4")
    assert stored.subjects == ("subj02",) * 4
    assert (stored.n_images, stored.paths, set(stored.categories)) == (600, None, {""})
    assert stored.stimulus_ids[0] == f"nsd-{published.trials[0]:05d}"
    ratio = published.ratio[[1, 3, 2, 0], [2, 2, 1, 0], [0, 0, 3, 4]]
    once = (300 / 3 + 300 / 2) / 600  # of the images shown three times and twice
    np.testing.assert_allclose(stored.reliability, ratio**2 / (ratio**2 + once), rtol=1e-6)


def test_presentations_are_standardised_in_their_session_and_averaged(published: Published) -> None:
    recording = datasets.natural_scenes(published.folder, 2, atlas="prf-visualrois").select(
        neurons=["x2-y1-z3", "x1-y2-z0"]
    )
    assert recording.responses.shape == (1, 600, 2)
    for image in (0, 1, 300, 599):
        number = int(recording.stimulus_ids[image].removeprefix("nsd-"))
        for neuron, voxel in enumerate([(2, 1, 3), (1, 2, 0)]):
            assert recording.mean[image, neuron] == pytest.approx(published.expected(voxel, number), abs=1e-12)
            for half in (0, 1):
                expected = published.expected(voxel, number, which=slice(half, None, 2))
                assert recording.halves[half, image, neuron] == pytest.approx(expected, abs=1e-12)


def test_a_voxel_outside_of_the_brain_has_no_responses(published: Published) -> None:
    recording = natural_scenes(published.folder, 2, atlas="prf-visualrois").select()
    silent = np.isnan(recording.mean).all(axis=0)
    assert silent.tolist() == [False, False, False, True]
    assert not np.isnan(recording.mean[:, :3]).any()


def test_labels_without_a_table_are_called_by_their_atlas(own: Published) -> None:
    (own.folder / "nsddata/freesurfer/subj02/label/prf-visualrois.mgz.ctab").unlink()
    stored = natural_scenes(own.folder, 2, atlas="prf-visualrois")
    assert stored.regions == ("prf-visualrois 1", "prf-visualrois 2", "prf-visualrois 2", "prf-visualrois 7")
    write_volume(own.folder / ROI / "nsdgeneral.nii.gz", np.where(LABELS > 0, 1, -1).astype(np.int16))
    assert natural_scenes(own.folder, 2).regions == ("nsdgeneral",) * 4


def test_images_are_written_once(own: Published, tmp_path: Path) -> None:
    shown = sorted({int(number) for number in own.trials})
    images = write_stimuli(own.folder / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", shown[:40] + shown[-2:])
    target = tmp_path / "images"
    target.mkdir()
    for number in shown[40:-2]:  # of an earlier run
        Image.new("RGB", (2, 2)).save(target / f"nsd-{number:05d}.png")
    (target / ".captum-shared-left.png").write_bytes(b"half")
    stored = natural_scenes(own.folder, 2, atlas="prf-visualrois", images=target)
    assert [path.stem for path in stored.paths] == list(stored.stimulus_ids)
    assert len(list(target.iterdir())) == 600
    for number in (shown[0], shown[39], shown[-1]):
        with Image.open(target / f"nsd-{number:05d}.png") as written:
            np.testing.assert_array_equal(np.asarray(written), images[number])
    with Image.open(target / f"nsd-{shown[50]:05d}.png") as earlier:
        assert earlier.size == (2, 2)
    (own.folder / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5").unlink()
    assert natural_scenes(own.folder, 2, atlas="prf-visualrois", images=target).paths == stored.paths


def test_categories_come_from_a_table(published: Published, tmp_path: Path) -> None:
    rows = "".join(f"nsd-{number:05d},{'body' if number % 2 else 'object'}\n" for number in range(73000))
    (tmp_path / "table.csv").write_text("stimulus_id,category\n" + rows)
    stored = natural_scenes(published.folder, 2, atlas="prf-visualrois", stimuli=tmp_path / "table.csv")
    assert stored.categories[0] == ("body" if published.trials[0] % 2 else "object")


class TestWrongFiles:
    @pytest.mark.parametrize("subject", [0, 9])
    def test_no_such_subject(self, published: Published, subject: int) -> None:
        with pytest.raises(ValueError, match=rf"a subject from 1 to 8, got {subject}"):
            natural_scenes(published.folder, subject)

    @pytest.mark.parametrize(
        "name", [f"{BETAS}/betas_session01.hdf5", f"{BETAS}/ncsnr.nii.gz", "nsddata/experiments/nsd/nsd_expdesign.mat"]
    )
    def test_a_missing_file(self, own: Published, name: str) -> None:
        (own.folder / name).unlink()
        with pytest.raises(
            FileNotFoundError, match=rf"Expected the file {name} of the Natural Scenes Dataset .*download"
        ):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    def test_a_session_missing_between_others(self, own: Published) -> None:
        session = own.folder / BETAS / "betas_session02.hdf5"
        session.rename(session.with_name("betas_session03.hdf5"))
        with pytest.raises(FileNotFoundError, match=r"betas_session02\.hdf5"):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            (f"{BETAS}/betas_session02.hdf5", "HDF5 file"),
            (f"{BETAS}/ncsnr.nii.gz", "NIfTI file"),
            (f"{ROI}/prf-visualrois.nii.gz", "NIfTI file"),
            ("nsddata/experiments/nsd/nsd_expdesign.mat", "MATLAB file"),
        ],
    )
    def test_a_file_cut_short(self, own: Published, name: str, kind: str) -> None:
        file = own.folder / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"Expected a readable {kind} at .*{Path(name).name}"):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    def test_betas_that_are_transposed(self, own: Published) -> None:
        with h5py.File(own.folder / BETAS / "betas_session02.hdf5", "w") as file:
            file["betas"] = own.betas[1]
        told = r"the shape \(750, 5, 3, 4\) \(trial, z, y, x\) of integers, got \(4, 3, 5, 750\) of int16: it is tr"
        with pytest.raises(ValueError, match=told):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    def test_an_atlas_of_another_space(self, own: Published) -> None:
        write_volume(own.folder / ROI / "prf-visualrois.nii.gz", np.ones((8, 6, 10), dtype=np.int16))
        with pytest.raises(ValueError, match=r"betas with the shape \(750, 10, 6, 8\).*got \(750, 5, 3, 4\)"):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    def test_an_atlas_without_labels(self, own: Published) -> None:
        write_volume(own.folder / ROI / "prf-visualrois.nii.gz", np.zeros(SHAPE, dtype=np.int16))
        with pytest.raises(ValueError, match=r"labels above 0 in the atlas prf-visualrois, got none"):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    def test_a_design_of_something_else(self, own: Published) -> None:
        file = own.folder / "nsddata/experiments/nsd/nsd_expdesign.mat"
        scipy.io.savemat(file, {"masterordering": np.ones((1, 900)), "subjectim": own.subjectim})
        with pytest.raises(
            ValueError, match=r"masterordering of 1,500 trials or more, got \(8, 10000\) and 900 up to 1"
        ):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")
        scipy.io.savemat(file, {"experiment": 1})
        with pytest.raises(
            ValueError, match=r"readable MATLAB file at .*nsd_expdesign\.mat, got: KeyError: 'masterorder"
        ):
            natural_scenes(own.folder, 2, atlas="prf-visualrois")

    def test_stimuli_of_something_else(self, own: Published, tmp_path: Path) -> None:
        file = own.folder / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
        file.parent.mkdir(parents=True)
        with h5py.File(file, "w") as written:
            written["imgBrick"] = np.zeros((10, 4, 4, 3), dtype=np.uint8)
        with pytest.raises(
            ValueError, match=r"imgBrick with the shape \(73000, 425, 425, 3\) of bytes, got \(10, 4, 4, 3"
        ):
            natural_scenes(own.folder, 2, atlas="prf-visualrois", images=tmp_path / "images")
