"""Formats with repetitions: long tables, and assemblies as Brain-Score writes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from captum_shared.recordings.recording import Recording

NAN = np.nan


def csv(tmp_path: Path, content: str) -> Path:
    (tmp_path / "r.csv").write_text(content if content.endswith("\n") else content + "\n")
    return tmp_path / "r.csv"


def test_a_long_table_by_hand(tmp_path):
    content = """response,neuroid_id,stimulus_id,subject,region,phase,repetition,comment
4,A,007,M1,V4,2,1,late
 1.5 ,A,007,M1,V4,1,2,
,B,007,M1,IT,1,1,
0.5,A,007,M1,V4,1,1,

-2e-3,B,7,M1,IT,2,1,
NaN,A,7,M1,V4,2,1,
NA,B,007,M1,IT,2,1,
,A,7,M1,V4,1,1,
,B,7,M1,IT,1,1,
"""
    with pytest.warns(UserWarning, match="r.csv repeats images unequally often, 1 to 2 times for a neuron in a phase"):
        loaded = Recording.load(csv(tmp_path, content))
    assert (loaded.stimulus_ids, loaded.neuron_names) == (("007", "7"), ("A", "B"))
    assert (loaded.regions, loaded.subjects) == (("V4", "IT"), ("M1", "M1"))
    np.testing.assert_array_equal(loaded.responses, [[[1.0, NAN], [NAN, NAN]], [[4.0, NAN], [NAN, -0.002]]])
    assert loaded.halves is None


def test_rows_without_a_number_of_the_repetition_are_repetitions_in_their_order(tmp_path):
    rows = ["a,A,1", "a,B,10", "b,A,5", "a,A,2", "a,A,6", "a,B,20"]
    with pytest.warns(UserWarning, match=r"rows for 3 of 4 responses \(2 stimulus_id x 2 neuroid_id\); the others are"):
        loaded = Recording.load(csv(tmp_path, "\n".join(["stimulus_id,neuroid_id,response", *rows])))
    np.testing.assert_array_equal(loaded.responses, [[[3.0, 15.0], [5.0, NAN]]])
    np.testing.assert_array_equal(loaded.halves, [[[3.5, 10.0], [5.0, NAN]], [[2.0, 20.0], [NAN, NAN]]])


def test_repetitions_and_phases_are_in_the_order_of_their_numbers(tmp_path):
    rows = ["a,A,10,9,1", "a,A,9,9,2", "a,A,9,10,3", "a,A,2,9,4"]
    with pytest.warns(UserWarning, match="1 to 3 times"):
        loaded = Recording.load(csv(tmp_path, "\n".join(["stimulus_id,neuroid_id,repetition,phase,response", *rows])))
    np.testing.assert_array_equal(loaded.responses, [[[7 / 3]], [[3.0]]])
    rows = [row for row in rows if ",9,3" not in row and ",10,3" not in row]
    loaded = Recording.load(csv(tmp_path, "\n".join(["stimulus_id,neuroid_id,repetition,phase,response", *rows])))
    np.testing.assert_array_equal(loaded.halves, [[[2.5]], [[2.0]]])  # 4 (number 2) and 1 (10); 2 (number 9)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a,A,1,1\nb,A,high,1\n", r"column 'response' of .*r.csv, got 'high' in line 3: correct it, or leave it empty"),
        ("a,A,1,1\n\n\nb,A,1_0,1\n", "got '1_0' in line 5"),
        ('"a,A,1,1\n', "comma-separated UTF-8 file at .*r.csv"),
        ('a,A,"1,5",1\n', "got '1,5' in line 2"),
        ("a,A,1\n", "Expected 4 cells in every line .* got 3 in line 2"),
        ("a,A,1,1\na,A,2,2\na,A,3,1\n", r"got more than once \(stimulus_id repetition neuroid_id\): 'a 1 A'"),
        (",A,1,1\n", "an identifier of the image in every presentation, got none at position 0"),
        ("a,,1,1\n", "neuron names without gaps, got an empty one"),
        ("a,A,inf,1\n", "got infinite ones of 'A to a'"),
    ],
)
def test_wrong_long_tables(tmp_path, content, text):
    with pytest.raises(ValueError, match=text):
        Recording.load(csv(tmp_path, "stimulus_id,neuroid_id,response,repetition\n" + content))


@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        ("stimulus_id,neuron,response", "a,A,1", "columns stimulus_id, neuroid_id, response once each"),
        ("stimulus_id,neuroid_id,response,region", "a,A,1,V4\nb,A,1,IT", "one region .* different ones for 'A'"),
        ("stimulus_id,neuroid_id,response,subject", "a,1,1,M1\na,1,1,M2", "one subject .* different ones for '1'"),
        ("stimulus_id,neuroid_id,response,category", "a,1,1,body\na,2,1,face", "one category .* for 'a'"),
    ],
)
def test_long_tables_that_contradict_themselves(tmp_path, header, rows, text):
    with pytest.raises(ValueError, match=text):
        Recording.load(csv(tmp_path, f"{header}\n{rows}\n"))


def test_parquet_by_hand(tmp_path):
    columns = {
        "stimulus_id": [7, 8, 7],
        "neuroid_id": pd.Categorical(["A", "A", "A"]),
        "response": pd.array([1, None, 4], dtype="Int64"),
        "repetition": [2.0, 1.0, 1.0],
        "other": [[1], [2], [3]],
    }
    pd.DataFrame(columns).to_parquet(tmp_path / "r.parquet")
    loaded = Recording.load(tmp_path / "r.parquet")
    assert loaded.stimulus_ids == ("7", "8")
    np.testing.assert_array_equal(loaded.responses, [[[2.5], [NAN]]])
    np.testing.assert_array_equal(loaded.halves, [[[4.0], [NAN]], [[1.0], [NAN]]])


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"stimulus_id": ["a"], "response": [1.0]}, "Expected the columns stimulus_id, neuroid_id, response"),
        ({"stimulus_id": [], "neuroid_id": [], "response": []}, "at least one row"),
        ({"stimulus_id": ["a", "b"], "neuroid_id": ["A", "A"], "response": ["1", "x"]}, "got 'x' in line 2"),
    ],
)
def test_wrong_parquet(tmp_path, columns, text):
    pd.DataFrame(columns).to_parquet(tmp_path / "r.parquet")
    with pytest.raises(ValueError, match=text):
        Recording.load(tmp_path / "r.parquet")


def assembly(time_bins: int = 1, **coordinates: object) -> xr.DataArray:
    """Two images with two repetitions each, in mixed order, and two neuroids, with the indices Brain-Score has."""
    values = np.array([[1.0, 10.0], [5.0, NAN], [3.0, 30.0], [7.0, 70.0]])
    bins = {"time_bin_start": ("time_bin", [70, 170][:time_bins]), "time_bin_end": ("time_bin", [170, 270][:time_bins])}
    array = xr.DataArray(
        values[:, :, None] + 100.0 * np.arange(time_bins),
        dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", ["hand", "cup", "hand", "cup"]),
            "repetition": ("presentation", [1, 0, 0, 1]),
            "object_name": ("presentation", ["left", "mug", "left", "mug"]),
            "neuroid_id": ("neuroid", ["Tito_L_P_5_0", "Chabo_L_M_5_9"]),
            "region": ("neuroid", ["IT", "V4"]),
            "subject": ("neuroid", ["Tito", "Chabo"]),
            **bins,
            **coordinates,
        },
    )
    indices = {
        "presentation": ["stimulus_id", "repetition", "object_name"],
        "neuroid": ["neuroid_id", "region", "subject"],
        "time_bin": ["time_bin_start", "time_bin_end"],
    }
    return array.set_index(append=True, **indices)


def written(array: xr.DataArray, path: Path) -> Path:
    """As Brain-Score writes: netCDF knows no MultiIndex, so its levels become coordinates."""
    array.reset_index([name for name in array.indexes if name in array.dims]).to_netcdf(path, engine="h5netcdf")
    return path


EXPECTED = [[2.0, 20.0], [6.0, 70.0]]


def test_an_assembly(tmp_path):
    loaded = Recording.load(written(assembly(), tmp_path / "r.nc"))
    assert (loaded.stimulus_ids, loaded.categories) == (("hand", "cup"), ("", ""))
    assert loaded.neuron_names == ("Tito_L_P_5_0", "Chabo_L_M_5_9")
    assert (loaded.regions, loaded.subjects) == (("IT", "V4"), ("Tito", "Chabo"))
    np.testing.assert_array_equal(loaded.responses, [EXPECTED])
    np.testing.assert_array_equal(loaded.halves, [[[3.0, 30.0], [5.0, NAN]], [[1.0, 10.0], [7.0, 70.0]]])


def test_an_assembly_without_time_in_another_order_of_its_dimensions(tmp_path):
    array = assembly().isel(time_bin=0, drop=True).transpose("neuroid", "presentation")
    np.testing.assert_array_equal(Recording.load(written(array, tmp_path / "r.netcdf")).responses, [EXPECTED])


def test_the_coordinates_of_older_assemblies(tmp_path):
    array = assembly(category_name=("presentation", ["body", "object"] * 2))
    flat = array.reset_index(["presentation", "neuroid", "time_bin"])
    flat.rename(stimulus_id="image_id", subject="animal").to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    loaded = Recording.load(tmp_path / "r.nc")
    assert (loaded.stimulus_ids, loaded.categories) == (("hand", "cup"), ("body", "object"))
    assert loaded.subjects == ("Tito", "Chabo")


def test_an_assembly_of_two_phases_in_which_identifiers_are_numbers(tmp_path):
    flat = assembly().reset_index(["presentation", "neuroid", "time_bin"]).drop_vars("repetition")
    numbers = {"stimulus_id": ("presentation", [3, 4, 3, 4]), "neuroid_id": ("neuroid", [0.0, 1.0])}
    flat.assign_coords(phase=("presentation", [2, 2, 1, 1]), **numbers).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    loaded = Recording.load(tmp_path / "r.nc")
    assert (loaded.stimulus_ids, loaded.neuron_names) == (("3", "4"), ("0", "1"))
    np.testing.assert_array_equal(loaded.responses, [[[3.0, 30.0], [7.0, 70.0]], [[1.0, 10.0], [5.0, NAN]]])


def test_several_time_bins_are_refused_with_the_remedy(tmp_path):
    file = written(assembly(time_bins=2), tmp_path / "r.nc")
    with pytest.raises(ValueError, match=r"one time bin in .*, got 2: select one with assembly.isel\(time_bin=\[0\]\)"):
        Recording.load(file)
    remedied = assembly(time_bins=2).isel(time_bin=[0])
    np.testing.assert_array_equal(Recording.load(written(remedied, tmp_path / "first.nc")).responses, [EXPECTED])
    remedied = assembly(time_bins=2).mean("time_bin")
    loaded = Recording.load(written(remedied, tmp_path / "mean.nc"))
    np.testing.assert_array_equal(loaded.responses, [np.add(EXPECTED, 50.0)])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda flat: flat.rename(presentation="image"), r"one array with the dimensions presentation and neuroid"),
        (lambda flat: flat.rename(time_bin="trial"), r"got response \('presentation', 'neuroid', 'trial'\): rename"),
        (lambda flat: flat.drop_vars("stimulus_id"), "the coordinate stimulus_id along presentation in .*reset_index"),
        (lambda flat: flat.assign_coords(repetition=("presentation", [0, 0, 0, 1])), "more than once.*'hand 0'"),
        (lambda flat: flat.assign_coords(neuroid_id=("neuroid", ["A", "A"])), "distinct neuron names, .*'A'"),
        (lambda flat: flat.astype(str), "Expected numbers as the assembly"),
    ],
)
def test_wrong_assemblies(tmp_path, change, text):
    flat = assembly().reset_index(["presentation", "neuroid", "time_bin"]).rename("response")
    change(flat).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=text):
        Recording.load(tmp_path / "r.nc")


def test_classic_netcdf_and_a_later_version_of_our_own(tmp_path):
    (tmp_path / "r.nc").write_bytes(b"CDF\x01" + bytes(40))
    with pytest.raises(ValueError, match=r"Expected a netCDF-4 file at .*netCDF-3: convert it with 'nccopy -k nc4'"):
        Recording.load(tmp_path / "r.nc")
    xr.Dataset(attrs={"captum_shared_recording": 2}).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"Expected version 1 of the format in .*, got 2: update captum-shared"):
        Recording.load(tmp_path / "r.nc")


def test_an_assembly_says_the_same_as_a_long_table_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    n, images = 40, ("a", "b", "c", "d")
    values = rng.poisson(3.0, (n, 3)) / 0.2
    values[rng.random(values.shape) < 0.2] = NAN
    shown = np.concatenate([rng.permutation(4) for _ in range(n // 4)])
    repetition = np.arange(n) // 4
    identifiers = np.array(images)[shown]
    coordinates = {
        "stimulus_id": ("presentation", identifiers),
        "repetition": ("presentation", repetition),
        "neuroid_id": ("neuroid", ["x", "y", "z"]),
    }
    order = rng.permutation(n)
    array = xr.DataArray(values, dims=("presentation", "neuroid"), coords=coordinates)
    array.isel(presentation=order).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    table = pd.DataFrame(values, columns=["x", "y", "z"]).assign(stimulus_id=identifiers, repetition=repetition)
    table = table.melt(["stimulus_id", "repetition"], var_name="neuroid_id", value_name="response")
    table.sample(frac=1.0, random_state=1).to_csv(tmp_path / "r.csv", index=False)
    (tmp_path / "stimuli.csv").write_text("\n".join(["stimulus_id", *images, ""]))
    one, other = Recording.load(tmp_path / "r.nc"), Recording.load(tmp_path / "r.csv")
    other = other.select(neurons=one.neuron_names)
    assert one.stimulus_ids == other.stimulus_ids == images
    np.testing.assert_array_equal(one.responses, other.responses)
    np.testing.assert_array_equal(one.halves, other.halves)
    np.testing.assert_allclose(one.responses[0, 0], np.nanmean(values[shown == 0], axis=0), rtol=1e-15)
