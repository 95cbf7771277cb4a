"""Recordings: what they refuse, how they are chosen from, and how they find their images."""

import math
from dataclasses import fields
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from captum_shared.images import rgb_preprocess
from captum_shared.recordings.formats.contents import Contents
from captum_shared.recordings.missing import nanmean
from captum_shared.recordings.recording import Recording

NAN = np.nan
IMAGES = ("hand", "cup", "face")


def recording(**changes: object) -> Recording:
    """Two phases, three images and two neurons; neuron B did not see the face, and the cup only once."""
    values = {
        "responses": np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, NAN]], [[3.0, 30.0], [6.0, NAN], [5.0, NAN]]]),
        "stimulus_ids": IMAGES,
        "categories": ("body", "object", "body"),
        "neuron_names": ("A", "B"),
        "regions": ("posterior", "anterior"),
        "subjects": ("M1", "M2"),
    }
    return Recording(**{**values, **changes})


def write_table(path: Path, rows: str) -> None:
    path.write_text("stimulus_id,filename,category\n" + rows)


def write_images(folder: Path, *names: str) -> None:
    for grey, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * grey).save(folder / name)


def write_responses(path: Path, identifiers: tuple[str, ...] = IMAGES) -> Path:
    np.savez(path, responses=np.arange(1.0, len(identifiers) + 1)[:, None], stimulus_id=np.array(identifiers))
    return path


def test_numbers_and_mean():
    made = recording()
    assert (made.n_phases, made.n_images, made.n_neurons) == (2, 3, 2)
    np.testing.assert_array_equal(made.mean, [[2.0, 20.0], [4.0, 20.0], [4.0, NAN]])


def test_the_mean_is_computed_once_and_nobody_changes_it(monkeypatch):
    counted = Mock(wraps=nanmean)
    monkeypatch.setattr("captum_shared.recordings.recording.nanmean", counted)
    made = recording(halves=np.ones((2, 3, 2)))
    made.mean[:] = 7
    np.testing.assert_array_equal(made.mean, [[2.0, 20.0], [4.0, 20.0], [4.0, NAN]])
    assert counted.call_count == 1
    for array in (made.responses, made.halves):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 7
    np.testing.assert_array_equal(made.select(images=["cup"]).mean, [[4.0, 20.0]])


@given(arrays(np.float64, (3, 2, 4), elements=st.floats(-1e6, 1e6) | st.just(NAN)), st.integers(0, 2))
def test_means_leave_out_what_is_missing(values, axis):
    means = nanmean(values, axis)
    for index in np.ndindex(means.shape):
        line = np.moveaxis(values, axis, -1)[index]
        there = [value for value in line.tolist() if value == value]
        expected = math.fsum(there) / len(there) if there else NAN
        np.testing.assert_allclose(means[index], expected, rtol=1e-12, atol=1e-9)


def test_a_recording_has_what_a_file_has():
    """What there is one of per image or neuron is read, written, checked and selected by these fields alone."""
    axes = ({each.name: each.metadata["axes"] for each in fields(kind)} for kind in (Recording, Contents))
    of_recordings, of_files = axes
    assert of_recordings.pop("paths") == of_files.pop("filenames") == ("image",)
    assert of_recordings == of_files


def test_a_recording_is_not_changed_through_the_array_it_was_made_of():
    responses = np.ones((1, 3, 2))
    made = recording(responses=responses)
    responses[:] = 0
    assert (made.responses == 1).all()


def test_category():
    assert recording().in_category("body").tolist() == [True, False, True]
    with pytest.raises(ValueError, match=r"'animal', got none; there are: body \(2 images\), object \(1 images\)"):
        recording().in_category("animal")


@pytest.mark.parametrize("images", [[False, True, True], [1, 2], ["cup", "face"], np.array(["cup", "face"])])
def test_images_are_selected_by_mask_position_or_identifier(images):
    halves = np.arange(12.0).reshape(2, 3, 2)
    paths = tuple(Path(name) for name in IMAGES)
    selected = recording(halves=halves, paths=paths).select(images=images)
    assert selected.stimulus_ids == ("cup", "face")
    assert selected.categories == ("object", "body")
    assert selected.paths == paths[1:]
    assert selected.neuron_names == ("A", "B")
    np.testing.assert_array_equal(selected.responses, recording().responses[:, 1:])
    np.testing.assert_array_equal(selected.halves, halves[:, 1:])


def test_neurons_are_selected_in_the_order_asked_for():
    selected = recording(halves=np.arange(12.0).reshape(2, 3, 2)).select(neurons=["B", "A"], images=[2, 0])
    assert (selected.neuron_names, selected.regions, selected.subjects) == (
        ("B", "A"),
        ("anterior", "posterior"),
        ("M2", "M1"),
    )
    assert selected.stimulus_ids == ("face", "hand")
    np.testing.assert_array_equal(selected.responses, [[[NAN, 3.0], [10.0, 1.0]], [[NAN, 5.0], [30.0, 3.0]]])
    np.testing.assert_array_equal(selected.halves, [[[5.0, 4.0], [1.0, 0.0]], [[11.0, 10.0], [7.0, 6.0]]])


@pytest.mark.parametrize(
    ("choice", "error", "text"),
    [
        (
            {"images": ["cup", "dog", "tree"]},
            ValueError,
            "images out of the 3 of the recording, unknown: 'dog', 'tree'",
        ),
        ({"images": [0, 3, -1]}, ValueError, "unknown: 3, -1"),
        ({"images": [True, False]}, ValueError, r"a mask \(3,\)"),
        ({"images": [False] * 3}, ValueError, "at least one of them true, got .* with 0 true"),
        ({"images": []}, ValueError, "at least one image"),
        ({"images": "cup"}, ValueError, "at least one image, got 'cup'"),
        ({"neurons": [0.0]}, TypeError, "names of neurons, got values of the type float64"),
        ({"neurons": ["A", "A"]}, ValueError, "distinct neuron_names, got more than once: 'A'"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_wrong_selections(choice, error, text):
    with pytest.raises(error, match=text):
        recording().select(**choice)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"responses": np.ones((3, 2))}, r"shape \(phase, image, neuron\).*got \(3, 2\)"),
        ({"responses": np.ones((0, 3, 2))}, "none of them empty"),
        ({"responses": np.full((1, 3, 2), "a")}, "Expected numbers as responses"),
        ({"stimulus_ids": ("hand", "cup")}, "Expected 3 stimulus_ids, one per image"),
        ({"stimulus_ids": ("hand", "cup", "hand")}, "distinct stimulus_ids, got more than once: 'hand'"),
        ({"stimulus_ids": ("hand", "", "cup")}, "without gaps, got an empty one at position 1"),
        ({"categories": ("body",)}, "Expected 3 categories"),
        ({"neuron_names": ("A", "A")}, "distinct neuron_names"),
        ({"regions": ("V4",)}, "Expected 2 regions, one per neuron"),
        ({"subjects": ()}, "Expected 2 subjects"),
        ({"paths": (Path("a"),)}, "Expected 3 paths"),
        ({"halves": np.ones((3, 3, 2))}, r"halves of shape \(2, 3, 2\)"),
        ({"halves": np.full((2, 3, 2), np.inf)}, "got infinite ones of 'A to hand'"),
        ({"responses": np.array([[[1, 1], [1, -np.inf], [1, 1]]])}, "got infinite ones of 'B to cup'"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_wrong_recordings(changes, text):
    with pytest.raises(ValueError, match=text):
        recording(**changes)


def test_ten_of_many_repeated_identifiers_are_listed():
    with pytest.raises(ValueError, match=r"'0', '1', .*'9', \.\.\. \(12 in all\)"):
        Recording(np.ones((1, 24, 1)), (*map(str, range(12)),) * 2, ("",) * 24, ("A",), ("",), ("",))


def test_images_are_matched_by_identifier_never_by_row(tmp_path):
    write_table(tmp_path / "stimuli.csv", "face,f.png,face\nunseen,u.png,body\nhand,h.png,body\ncup,c.png,object\n")
    write_images(tmp_path, "c.png", "f.png", "h.png")
    loaded = Recording.load(write_responses(tmp_path / "r.npz"))
    assert loaded.stimulus_ids == ("face", "hand", "cup")
    assert loaded.categories == ("face", "body", "object")
    assert loaded.paths == tuple(tmp_path / name for name in ("f.png", "h.png", "c.png"))
    np.testing.assert_array_equal(loaded.mean[:, 0], [3.0, 1.0, 2.0])
    pixels = loaded.load_images(rgb_preprocess(2))[:, 0, 0, 0]
    torch.testing.assert_close(pixels, torch.tensor([10 / 255, 20 / 255, 0.0]))


def test_the_table_is_looked_for_where_it_says(tmp_path):
    file = write_responses(tmp_path / "r.npz")
    (tmp_path / "images").mkdir()
    for number, table in enumerate(("stimuli.csv", "r.csv", "images/stimuli.csv", "other.csv")):
        write_table(tmp_path / table, "".join(f"{name},{name}.png,category {number}\n" for name in IMAGES))
    write_images(tmp_path, *(f"images/{name}.png" for name in IMAGES), *(f"{name}.png" for name in IMAGES))
    images, table = tmp_path / "images", tmp_path / "other.csv"
    assert Recording.load(file, images=images, stimuli=table).categories[0] == "category 3"
    assert Recording.load(file, images=images).categories[0] == "category 2"
    assert Recording.load(file, images=images).paths[0] == images / "hand.png"
    assert Recording.load(file).categories[0] == "category 1"
    assert Recording.load(file).paths[0] == tmp_path / "hand.png"
    (tmp_path / "r.csv").unlink()
    assert Recording.load(file).categories[0] == "category 0"
    (tmp_path / "stimuli.csv").unlink()
    assert Recording.load(file).categories == ("", "", "")


def test_a_long_table_of_the_same_name_is_not_taken_for_the_table_of_the_images(tmp_path):
    recording().save(tmp_path / "r.npz")
    recording().save(tmp_path / "r.csv")
    assert Recording.load(tmp_path / "r.npz").categories == recording().categories


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_without_a_table_files_are_found_by_name(tmp_path, suffix):
    write_images(tmp_path / "images", "body/hand.png", "object/cup.png", "face.png", "body/unseen.png")
    file = write_responses(tmp_path / "r.npz", tuple(name + suffix for name in IMAGES))
    loaded = Recording.load(file, images=tmp_path / "images")
    assert loaded.categories == ("body", "object", "")
    assert [path.name for path in loaded.paths] == ["hand.png", "cup.png", "face.png"]


def test_without_a_table_files_are_found_by_their_path_where_names_repeat(tmp_path):
    write_images(tmp_path / "images", "body/1.png", "object/1.png")
    file = write_responses(tmp_path / "r.npz", ("object/1.png", "body/1.png"))
    assert Recording.load(file, images=tmp_path / "images").categories == ("object", "body")
    with pytest.raises(ValueError, match=r"one image file for each identifier, got several for '1'"):
        Recording.load(write_responses(tmp_path / "r.npz", ("1",)), images=tmp_path / "images")


def test_a_table_without_file_names_leaves_the_files_to_the_identifiers(tmp_path):
    (tmp_path / "stimuli.csv").write_text("category,stimulus_id\nanimate,hand\nanimate,face\nthing,cup\n")
    write_images(tmp_path / "images", "a/hand.png", "b/cup.png", "face.png")
    loaded = Recording.load(write_responses(tmp_path / "r.npz"), images=tmp_path / "images")
    assert loaded.categories == ("animate", "animate", "thing")
    assert [path.name for path in loaded.paths] == ["hand.png", "face.png", "cup.png"]


def test_identifiers_that_nobody_knows_are_listed(tmp_path):
    many = tuple(f"dog{number}" for number in range(12))
    file = write_responses(tmp_path / "r.npz", (*IMAGES, *many))
    write_images(tmp_path / "images", *(f"{name}.png" for name in IMAGES))
    with pytest.raises(ValueError, match=r"an image file in .*unknown: 'dog0', .*'dog9', \.\.\. \(12 in all\)\. Give"):
        Recording.load(file, images=tmp_path / "images")
    write_table(tmp_path / "stimuli.csv", "hand,h.png,body\ncup,c.png,object\nface,f.png,face\n")
    with pytest.raises(ValueError, match=r"in the table .*unknown: 'dog0', .*'dog9', \.\.\. \(12 in all\)\. Add them"):
        Recording.load(file)


def test_identifiers_that_are_there_twice_are_listed(tmp_path):
    with pytest.raises(ValueError, match=r"distinct stimulus_ids, got more than once: 'cup'"):
        Recording.load(write_responses(tmp_path / "r.npz", ("hand", "cup", "cup")))
    write_table(tmp_path / "stimuli.csv", "hand,h.png,body\ncup,c.png,object\ncup,d.png,object\n")
    with pytest.raises(ValueError, match=r"distinct stimulus_id in .*stimuli.csv, got more than once: 'cup'"):
        Recording.load(write_responses(tmp_path / "r.npz", ("hand", "cup")))


def test_images_missing_on_disk_are_listed(tmp_path):
    write_table(tmp_path / "stimuli.csv", "hand,h.png,body\ncup,c.png,object\nface,,face\n")
    file = write_responses(tmp_path / "r.npz")
    assert Recording.load(file).paths is None
    with pytest.raises(ValueError, match=r"image files, got one without paths: load it with images="):
        Recording.load(file).load_images(rgb_preprocess(2))
    with pytest.raises(FileNotFoundError, match=r"each of the 3 images in .*missing: 'h.png', 'c.png', ''"):
        Recording.load(file, images=tmp_path)
    write_images(tmp_path, "h.png")
    with pytest.raises(FileNotFoundError, match=r"missing: 'c.png', ''"):
        Recording.load(file)


def test_what_is_not_there(tmp_path):
    file = write_responses(tmp_path / "r.npz")
    with pytest.raises(FileNotFoundError, match=r"Expected a recording, got no file at .*none.nc"):
        Recording.load(tmp_path / "none.nc")
    with pytest.raises(FileNotFoundError, match=r"Expected a folder of images, got no folder"):
        Recording.load(file, images=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"Expected a table stimulus_id,filename,category, got no file"):
        Recording.load(file, stimuli=tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"Expected images .* below .*empty, got none"):
        Recording.load(file, images=tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "columns stimulus_id once each .* got nothing"),
        ("stimulus_id;filename\nhand;h.png\n", "separated by commas, got stimulus_id;filename"),
        ("stimulus_id,filename,filename\nhand,h.png,h.png\n", "once each in the first line"),
        ("stimulus_id,filename\n", "Expected rows below the header"),
        ("stimulus_id,filename\nhand,h.png\n\ncup\n", "Expected 2 cells in every line of .*, got 1 in line 4"),
        ("stimulus_id,filename\nhand,h.png,body\n", "got 3 in line 2"),
        ('stimulus_id,filename\n"hand,h.png\n', "comma-separated UTF-8 file"),
        ("stimulus_id,filename\n,h.png\n", "stimulus_id in .* without gaps, got an empty one at position 0"),
    ],
)
def test_wrong_tables(tmp_path, content, text):
    (tmp_path / "stimuli.csv").write_text(content)
    with pytest.raises(ValueError, match=text):
        Recording.load(write_responses(tmp_path / "r.npz"))


def test_a_table_of_another_encoding(tmp_path):
    (tmp_path / "stimuli.csv").write_bytes("stimulus_id,category\nhand,Körper\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"comma-separated UTF-8 file"):
        Recording.load(write_responses(tmp_path / "r.npz"))
    (tmp_path / "stimuli.csv").write_bytes("stimulus_id, category\r\nhand, Körper\r\n".encode("utf-8-sig"))
    assert Recording.load(write_responses(tmp_path / "r.npz", ("hand",))).categories == ("Körper",)


def test_a_published_reliability_is_checked_and_chosen() -> None:
    values = {"stimulus_ids": ("a",), "categories": ("",), "neuron_names": tuple("ABC"), "regions": ("",) * 3}
    told = partial(Recording, np.zeros((1, 1, 3)), subjects=("",) * 3, **values)
    recording = told(reliability=np.array([0.5, -0.125, np.nan]))
    np.testing.assert_array_equal(recording.select(neurons=["C", "B"]).reliability, [np.nan, -0.125])
    assert told().reliability is None
    with pytest.raises(ValueError, match=r"reliabilities of at most 1, got 50\.0: divide by 100"):
        told(reliability=np.array([0.5, 50.0, np.nan]))
