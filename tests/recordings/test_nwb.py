"""NWB: spikes counted after the onset of each image."""

import datetime
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pynwb
import pytest

from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.table import write_spikes
from captum_shared.recordings.recording import Recording

NAN = np.nan


def session() -> pynwb.NWBFile:
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
    return pynwb.NWBFile(session_description="test", identifier="test", session_start_time=start)


def saved(nwb: pynwb.NWBFile, path: Path) -> Path:
    with pynwb.NWBHDF5IO(path, "w") as file:
        file.write(nwb)
    return path


def with_trials(nwb: pynwb.NWBFile, column: str = "stimulus_id", images: tuple[object, ...] = ("hand", "cup")) -> None:
    nwb.add_trial_column(column, "image")
    for onset, image in enumerate(images):
        nwb.add_trial(start_time=float(onset), stop_time=onset + 0.5, **{column: image})


def with_units(nwb: pynwb.NWBFile) -> None:
    """One unit answers to the first image, the other to the second."""
    nwb.add_unit(spike_times=[0.1, 0.2])
    nwb.add_unit(spike_times=[1.1])


def presentations(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"start_time": [0.0, 1.0], "stop_time": [0.3, 1.3], "stimulus_id": ["hand", "cup"], **columns})


def test_spikes_are_counted_in_the_half_open_window(tmp_path):
    nwb = session()
    with_trials(nwb, images=("hand", "cup", "hand"))
    nwb.add_unit(spike_times=[0.25, 0.5, 0.74, 0.75, 1.26, 2.3, 2.4, 2.5])
    nwb.add_unit(spike_times=[])
    loaded = Recording.load(saved(nwb, tmp_path / "r.nwb"), window=(0.25, 0.75))
    assert (loaded.stimulus_ids, loaded.neuron_names) == (("hand", "cup"), ("0", "1"))
    assert (loaded.regions, loaded.subjects) == (("", ""), ("", ""))
    np.testing.assert_array_equal(loaded.responses, [[[6.0, 0.0], [2.0, 0.0]]])
    np.testing.assert_array_equal(loaded.halves, [[[6.0, 0.0], [2.0, 0.0]], [[6.0, 0.0], [NAN, NAN]]])


def test_written_spikes_are_counted(tmp_path):
    shown = presentations(phase=["2", "1"], category=["body", "object"], filename=["h.png", "c.png"])
    names, regions = ["A", "B"], ["IT", ""]
    spikes = [np.array([0.06, 0.24, 1.1]), np.array([0.1])]
    write_spikes(tmp_path / "r.nwb", Spikes(spikes, shown, names, regions, "M1"))
    loaded = Recording.load(tmp_path / "r.nwb")
    assert (loaded.neuron_names, loaded.regions, loaded.subjects) == (("A", "B"), ("IT", ""), ("M1", "M1"))
    assert (loaded.stimulus_ids, loaded.categories) == (("hand", "cup"), ("body", "object"))
    np.testing.assert_array_equal(loaded.responses, [[[NAN, NAN], [5.0, 0.0]], [[10.0, 5.0], [NAN, NAN]]])
    with pytest.raises(FileNotFoundError, match=r"missing: 'h.png', 'c.png'"):
        Recording.load(tmp_path / "r.nwb", images=tmp_path)


def test_wrong_spikes_to_write_leave_nothing(tmp_path):
    right = {"presentations": presentations(), "neuron_names": ["A"], "regions": [""], "subject": "M1"}
    for wrong, told in (
        ({"presentations": presentations().drop(columns="stop_time")}, "start_time, stimulus_id, 1 units, 1 names"),
        ({"neuron_names": ["A", "B"]}, "1 units, 2 names and 1 regions"),
        ({"regions": []}, "1 units, 1 names and 0 regions"),
    ):
        with pytest.raises(
            ValueError, match=rf"presentations with start_time, stop_time and stimulus_id.* got .*{told}"
        ):
            Spikes([np.array([0.1])], **{**right, **wrong})
    unwritable = Spikes([np.array([0.1])], **{**right, "presentations": presentations(phase=[{}, {}])})
    with pytest.raises(Exception, match=r"Could not create dataset phase"):
        write_spikes(tmp_path / "r.nwb", unwritable)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("column", ["image_id", "image_name", "stimulus_name"])
def test_other_names_of_the_image(tmp_path, column):
    nwb = session()
    with_trials(nwb, column)
    with_units(nwb)
    loaded = Recording.load(saved(nwb, tmp_path / "r.nwb"))
    assert loaded.stimulus_ids == ("hand", "cup")
    np.testing.assert_array_equal(loaded.mean, [[10.0, 0.0], [0.0, 5.0]])


def test_a_table_of_presentations_where_trials_do_not_name_the_image(tmp_path):
    nwb = session()
    with_trials(nwb, "choice")
    with_units(nwb)
    shown = pynwb.epoch.TimeIntervals(name="image_presentations", description="images")
    shown.add_column("stimulus_name", "kind of stimulus")
    shown.add_column("frame", "number of the image")
    for onset, (kind, frame) in enumerate([("natural_scenes", 7.0), ("natural_scenes", 12.0), ("gray", NAN)]):
        shown.add_interval(start_time=float(onset), stop_time=onset + 0.5, stimulus_name=kind, frame=frame)
    nwb.add_time_intervals(shown)
    loaded = Recording.load(saved(nwb, tmp_path / "r.nwb"))
    assert loaded.stimulus_ids == ("7", "12")
    np.testing.assert_array_equal(loaded.mean, [[10.0, 0.0], [0.0, 5.0]])


def test_two_tables_of_presentations_are_refused_unless_one_is_trials(tmp_path):
    def with_two(nwb: pynwb.NWBFile) -> pynwb.NWBFile:
        with_units(nwb)
        for name in ("photographs", "drawings"):
            shown = pynwb.epoch.TimeIntervals(name=name, description="images")
            shown.add_column("image_name", "image")
            shown.add_interval(start_time=0.0, stop_time=0.5, image_name=name)
            nwb.add_time_intervals(shown)
        return nwb

    with pytest.raises(ValueError, match=r"one table of presentations .*got (photographs, drawings|drawings, photog)"):
        Recording.load(saved(with_two(session()), tmp_path / "two.nwb"))
    nwb = session()
    with_trials(nwb)
    assert Recording.load(saved(with_two(nwb), tmp_path / "three.nwb")).stimulus_ids == ("hand", "cup")


def test_regions_of_electrodes(tmp_path):
    def with_electrodes(*, groups: bool) -> pynwb.NWBFile:
        nwb = session()
        with_trials(nwb)
        device = nwb.create_device(name="probe")
        group = nwb.create_electrode_group(name="g", description="d", location="MSB", device=device)
        for location in ("V4", "IT"):
            nwb.add_electrode(location=location, group=group)
        for electrodes in ([1, 0], [0], []):
            further = {"electrode_group": group} if groups else {}
            nwb.add_unit(spike_times=[0.1], electrodes=electrodes, **further)
        return nwb

    assert Recording.load(saved(with_electrodes(groups=False), tmp_path / "a.nwb")).regions == ("IT", "V4", "")
    assert Recording.load(saved(with_electrodes(groups=True), tmp_path / "b.nwb")).regions == ("MSB",) * 3


def test_regions_and_names_of_units_and_the_subject(tmp_path):
    nwb = session()
    nwb.subject = pynwb.file.Subject(subject_id="M7", age="P5Y")
    with_trials(nwb)
    nwb.add_unit_column("unit_name", "name")
    nwb.add_unit_column("brain_area", "area")
    nwb.add_unit(spike_times=[0.1], unit_name="ch01", brain_area="TE")
    loaded = Recording.load(saved(nwb, tmp_path / "r.nwb"))
    assert (loaded.neuron_names, loaded.regions, loaded.subjects) == (("ch01",), ("TE",), ("M7",))


def test_a_unit_that_was_not_observed_has_no_response(tmp_path):
    nwb = session()
    with_trials(nwb, images=("hand", "cup", "face"))
    nwb.add_unit(spike_times=[0.1, 1.1], obs_intervals=[[0.0, 0.5], [1.1, 2.5]])
    loaded = Recording.load(saved(nwb, tmp_path / "r.nwb"))
    np.testing.assert_array_equal(loaded.mean, [[5.0], [NAN], [0.0]])


def test_without_what_is_needed(tmp_path):
    nwb = session()
    with_units(nwb)
    with pytest.raises(ValueError, match=r"got none among no tables: add the identifier of the image to the trials"):
        Recording.load(saved(nwb, tmp_path / "no_trials.nwb"))
    nwb = session()
    with_trials(nwb, "choice")
    with_units(nwb)
    with pytest.raises(ValueError, match=r"a column stimulus_id or image_id or .*, got none among trials: add"):
        Recording.load(saved(nwb, tmp_path / "no_column.nwb"))
    nwb = session()
    with_trials(nwb)
    with pytest.raises(ValueError, match=r"Expected units with spike_times in .*, got none"):
        Recording.load(saved(nwb, tmp_path / "no_units.nwb"))
    nwb = session()
    with_trials(nwb, images=("", ""))
    with_units(nwb)
    with pytest.raises(ValueError, match=r"at least one presentation and one neuron"):
        Recording.load(saved(nwb, tmp_path / "no_images.nwb"))


@pytest.mark.parametrize("window", [(0.25, 0.05), (0.1, 0.1), (0.0, np.inf), (0.0, NAN), (0.1,)])
@pytest.mark.usefixtures("as_installed")
def test_wrong_windows(tmp_path, window):
    nwb = session()
    with_trials(nwb)
    with_units(nwb)
    with pytest.raises(ValueError, match=r"a window \(start, stop\) in seconds after the onset, start < stop, got"):
        Recording.load(saved(nwb, tmp_path / "r.nwb"), window=window)


def test_hdf5_that_is_no_nwb(tmp_path):
    Recording(np.ones((1, 1, 1)), ("a",), ("",), ("A",), ("",), ("",)).save(tmp_path / "r.h5")
    (tmp_path / "r.h5").rename(tmp_path / "h5.nwb")
    with pytest.raises(ValueError, match=r"readable NWB file at .*h5.nwb.*The file is not a valid NWB file"):
        Recording.load(tmp_path / "h5.nwb")


def test_a_session_of_usual_size_takes_seconds(tmp_path):
    rng = np.random.default_rng(0)
    onsets = 0.5 * np.arange(13_000)
    images = [f"{image:04d}" for image in rng.integers(0, 1000, len(onsets))]
    shown = pd.DataFrame({"start_time": onsets, "stop_time": onsets + 0.3, "stimulus_id": images})
    spikes = [np.sort(rng.uniform(0, 6500, 30_000)) for _ in range(100)]
    names = [str(unit) for unit in range(100)]
    write_spikes(tmp_path / "r.nwb", Spikes(spikes, shown, names, [""] * 100, "M1"))
    start = time.perf_counter()
    loaded = Recording.load(tmp_path / "r.nwb")
    assert time.perf_counter() - start < 10
    first = [onset for onset, image in zip(onsets, images, strict=True) if image == loaded.stimulus_ids[5]]
    counts = [np.sum((spikes[3] >= onset + 0.05) & (spikes[3] < onset + 0.25)) for onset in first]
    np.testing.assert_allclose(loaded.mean[5, 3], np.mean(counts) / 0.2, rtol=1e-12)
