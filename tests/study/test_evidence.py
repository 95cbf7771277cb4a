"""What a study keeps for its report, against slow restatements; files of other versions, and damaged ones."""

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES
from PIL import Image
from torch import nn
from toy_experiment import N_BODIES, SETTINGS, blobs, contents, encoder, network, study
from toys import Randomised

from captum_shared import LatentFeatures, NeuronSimilarity, SharedCorrespondence
from captum_shared._record import RECORD
from captum_shared.attr import components, significance
from captum_shared.images import load_images, rgb_preprocess
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study.evidence import PairEvidence, evidence_in, packed_evidence
from captum_shared.study.evidencing import blocks, component_maps
from captum_shared.study.result import FORMAT, StudyResult

QUICK = dataclasses.replace(SETTINGS, methods=("recommended",))
N_EACH = 36  # bodies and objects, of which enough are chance
OLD = ("responses", "categories", "evidence", "correspondences", "components", "significant")


def many(folder: Path) -> Recording:
    """As many images as significance needs, and two neurons."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    names, paths, features = blobs(folder, rng, N_EACH, N_EACH)
    signal = features @ rng.standard_normal((features.shape[1], 2))
    categories = ("body",) * N_EACH + ("object",) * N_EACH
    return Recording(signal[None], tuple(names), categories, ("A", "B"), ("IT",) * 2, ("",) * 2, paths)


def method_of(folder: Path, size: int = 16) -> tuple[SharedCorrespondence, Callable[[str], torch.Tensor]]:
    """The method of a study, and what loads an image for it."""
    readout = LinearReadout.load(folder / "readout.safetensors")
    preprocess = rgb_preprocess(size)
    images = folder.parent / "images"
    return SharedCorrespondence(NeuronSimilarity(encoder(preprocess=preprocess), readout)), lambda name: load_images(
        [images / f"{name}.png"], preprocess
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    study(many(folder / "images"), folder / "out", QUICK)
    return folder / "out"


def test_correspondences_are_those_of_the_method_and_sum_to_the_agreement(finished: Path) -> None:
    result, (method, image) = StudyResult.load(finished), method_of(finished)
    for neuron in result.neurons:
        known = result.evidence(neuron.name)
        assert known is not None
        for pair, evidence in zip(neuron.pairs, known, strict=True):
            expected = method.correspondence((image(pair.image), image(pair.reference)), neuron.name)[0].numpy()
            own = evidence.correspondence.reshape(expected.shape)
            np.testing.assert_allclose(own, expected, rtol=2e-3, atol=1e-6 * expected.max())
            assert own.sum() == pytest.approx(pair.agreement, rel=1e-5)


def test_components_are_those_of_the_pair(finished: Path) -> None:
    result, (method, image) = StudyResult.load(finished), method_of(finished)
    for neuron in result.neurons:
        for pair, evidence in zip(neuron.pairs, result.evidence(neuron.name) or (), strict=True):
            inputs = image(pair.image), image(pair.reference)
            parts = components(method.forward_func, inputs, neuron.name)
            expected = torch.stack([parts.image_maps[:, 0], parts.reference_maps[:, 0]], dim=1)
            np.testing.assert_allclose(evidence.components, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
            for side, maps in enumerate(method.attribute(inputs, neuron.name)):
                total = evidence.components[:, side].sum(0)
                np.testing.assert_allclose(total, maps[0, 0], rtol=1e-4, atol=1e-9)
            assert evidence.shares.sum() == pytest.approx(1)


def silent(result: StudyResult, column: int) -> list[str]:
    """The null images of a neuron, one by one."""
    responses, pairs = result.responses, result.neurons[column].pairs
    assert responses is not None
    drawn = np.random.default_rng([SETTINGS.seed, 2]).permutation(2 * N_EACH)[:60]
    but = {name for pair in pairs for name in (pair.image, pair.reference)}
    left = [int(image) for image in drawn if responses.images[image] not in but]
    lower = sorted(left, key=lambda image: responses.mean[image, column])[: len(left) // 2]
    return [responses.images[image] for image in left if image in lower][:19]


def test_what_is_more_than_chance_is_so_against_images_that_do_not_drive_the_neuron(finished: Path) -> None:
    result, (method, image) = StudyResult.load(finished), method_of(finished)
    for column, neuron in enumerate(result.neurons):
        nulls = torch.cat([image(name) for name in silent(result, column)])
        for pair, evidence in zip(neuron.pairs, result.evidence(neuron.name) or (), strict=True):
            inputs = image(pair.image), image(pair.reference)
            expected = significance(method.forward_func, inputs, neuron.name, null_references=nulls)
            assert evidence.p_values == pytest.approx(expected.p_values[0].tolist())
            pixels = torch.cat(expected.of_pixels((16, 16)))
            np.testing.assert_array_equal(evidence.significant, pixels)


def test_with_too_few_images_that_do_not_drive_it_nothing_is_tested(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out", QUICK)
    for neuron in result.neurons:
        for evidence in result.evidence(neuron.name) or pytest.fail("no evidence"):
            assert evidence.significant is evidence.p_values is None


def test_references_are_ranked_by_similarity_among_the_drivers(finished: Path) -> None:
    result = StudyResult.load(finished)
    readout = LinearReadout.load(finished / "readout.safetensors")
    plain = NeuronSimilarity(encoder(), LinearReadout(readout.weight, neuron_names=readout.neuron_names))
    _, image = method_of(finished)
    for column, neuron in enumerate(result.neurons):
        references = torch.cat([image(name) for name in neuron.drivers])
        for pair in neuron.pairs:
            with torch.no_grad():
                own = image(pair.image).expand(len(references), -1, -1, -1)
                similarities = plain(own, references)[:, column].tolist()
            expected = sorted(zip(similarities, neuron.drivers, strict=True), reverse=True)[:8]
            assert [each.name for each in pair.references] == [name for _, name in expected]
            assert [each.similarity for each in pair.references] == pytest.approx([s for s, _ in expected], abs=1e-5)
            assert (pair.references[0].name, pair.references[0].similarity) == (pair.reference, pair.similarity)
            assert pair.references[0].response == pair.reference_response
            assert {result.picture(each.name).shape for each in pair.references} == {(16, 16, 3)}


def test_responses_are_those_of_all_images(recording: Recording, tmp_path: Path) -> None:
    result = study(recording, tmp_path / "out", QUICK)
    known = result.responses
    assert known is not None
    assert (known.images, known.categories) == (recording.stimulus_ids, recording.categories)
    np.testing.assert_array_equal(known.mean, recording.responses.mean(0).astype(np.float32))
    assert known.mean[:N_BODIES, 0].mean() == pytest.approx(result.neurons[0].preferred_mean, rel=1e-6)


def test_the_evidence_is_the_same_whatever_methods_make_the_maps(recording: Recording, tmp_path: Path) -> None:
    both = study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, methods=("recommended", "paper")))
    for methods in (("paper",), ("ours-ig", "ours-layer")):
        other = study(recording, tmp_path / methods[0], dataclasses.replace(SETTINGS, methods=methods))
        for neuron in both.neurons:
            pairs = zip(both.evidence(neuron.name) or (), other.evidence(neuron.name) or (), strict=True)
            for one, same in pairs:
                np.testing.assert_allclose(one.correspondence, same.correspondence, rtol=2e-3, atol=1e-9)
                np.testing.assert_allclose(one.components.sum(0), same.components.sum(0), rtol=1e-4, atol=1e-9)


def test_the_correspondence_is_computed_once_for_maps_and_evidence(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from captum_shared.attr import correspondence

    calls: list[int] = []
    original = correspondence.compared
    monkeypatch.setattr(correspondence, "compared", lambda *args: (calls.append(1), original(*args))[1])
    result = study(recording, tmp_path / "out", QUICK)
    assert len(calls) == len(result.explained)  # whose pairs are one batch


def resized(height: int, width: int) -> Callable[[Image.Image], torch.Tensor]:
    return lambda image: rgb_preprocess(width)(image)[:, :height]


@pytest.mark.parametrize("name", ["vit", "timm, registers"])
def test_images_may_be_tokens_and_wider_than_high(recording: Recording, tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    features = LatentFeatures(family.network().float(), family.layer)
    features.preprocess = resized(*family.size)
    result = study(recording, tmp_path / "out", QUICK, features)
    for neuron in result.neurons:
        for pair, evidence in zip(neuron.pairs, result.evidence(neuron.name) or (), strict=True):
            assert evidence.correspondence.shape == (*family.grid, *family.grid)
            assert evidence.components.shape[1:] == (2, *family.grid)
            assert evidence.correspondence.sum() == pytest.approx(pair.agreement, rel=1e-4, abs=1e-9)
            for side, kept in (((2, 3), 0), ((0, 1), 1)):
                total = evidence.components[:, kept].sum(0)
                np.testing.assert_allclose(evidence.correspondence.sum(side), total, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("which", ["max", "class token", "flat"])
def test_without_positions_that_are_averaged_there_is_no_evidence(
    recording: Recording, tmp_path: Path, which: str
) -> None:
    flat = nn.Sequential(*network(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    vit = FAMILIES["vit"]
    features = {
        "max": lambda: LatentFeatures(Randomised(0)(network).float(), "3", pool="max"),
        "class token": lambda: LatentFeatures(vit.network().float(), vit.layer, pool="class_token"),
        "flat": lambda: LatentFeatures(flat, "5"),
    }[which]()
    features.preprocess = rgb_preprocess(32 if which == "class token" else 16)
    result = study(recording, tmp_path / "out", dataclasses.replace(SETTINGS, methods=("paper",)), features)
    assert result.evidence(result.neurons[0].name) is None
    assert len(result.neurons[0].pairs[0].references) == 3  # all drivers
    assert result.responses is not None
    with pytest.raises(ValueError, match="Expected evidence of 'E'"):
        result.evidence("E")


def test_pairs_of_another_study_have_evidence_of_their_own(recording: Recording, tmp_path: Path) -> None:
    first = study(recording, tmp_path / "first", QUICK)
    second = study(recording, tmp_path / "second", QUICK, encoder(1), pairs_of=first)
    for neuron, same in zip(second.neurons, first.neurons, strict=True):
        for pair, other, evidence in zip(neuron.pairs, same.pairs, second.evidence(neuron.name) or (), strict=True):
            assert evidence.correspondence.sum() == pytest.approx(pair.agreement, rel=1e-5)
            assert {each.name for each in pair.references} == {each.name for each in other.references}  # all drivers
            ranked = [each.similarity for each in pair.references]
            assert ranked == sorted(ranked, reverse=True)
            own = next(each for each in pair.references if each.name == pair.reference)
            assert own.similarity == pytest.approx(pair.similarity, abs=1e-6)


def test_of_layers_with_many_places_blocks_are_summed(recording: Recording, tmp_path: Path) -> None:
    features = encoder(preprocess=rgb_preprocess(24))  # 20 x 20 places
    result = study(recording, tmp_path / "out", QUICK, features)
    method, image = method_of(tmp_path / "out", 24)
    edges = [0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 14, 15, 17, 18, 20]
    neuron = result.neurons[1]
    for pair, evidence in zip(neuron.pairs, result.evidence(neuron.name) or (), strict=True):
        inputs = image(pair.image), image(pair.reference)
        whole = method.correspondence(inputs, neuron.name)[0].numpy().reshape(20, 20, 20, 20)
        assert evidence.correspondence.shape == (14, 14, 14, 14)
        rows, columns, others = slice(edges[3], edges[4]), slice(edges[9], edges[10]), slice(edges[1], edges[2])
        block = whole[rows, columns, others, slice(edges[13], edges[14])].sum()
        assert evidence.correspondence[3, 9, 1, 13] == pytest.approx(block, rel=2e-3, abs=1e-6 * float(whole.max()))
        for side, maps in enumerate(method.attribute(inputs, neuron.name)):
            np.testing.assert_allclose(evidence.components[:, side].sum(0), maps[0, 0], rtol=1e-3, atol=1e-8)


def test_components_of_blocks_that_share_nothing_are_none() -> None:
    nothing = np.zeros((20, 2, 20, 2))
    assert component_maps(nothing, blocks(nothing)).shape == (0, 2, 20, 2)


def test_what_is_packed_is_unpacked_within_half_precision() -> None:
    rng = np.random.default_rng(0)
    pairs = [
        PairEvidence(
            (rng.gamma(0.1, size=(3, 4, 3, 4)) * 10.0**-power).astype(np.float32),
            rng.random((count, 2, 3, 4), dtype=np.float32),
            rng.random((2, 6, 8)) > 0.5,
            (0.05, 0.2 * power),
        )
        for power, count in ((0, 2), (9, 0), (4, 3))
    ]
    pairs.append(dataclasses.replace(pairs[0], correspondence=np.zeros((3, 4, 3, 4), dtype=np.float32)))
    for one, other in zip(pairs, evidence_in(packed_evidence(pairs)), strict=True):
        largest = one.correspondence.max()
        np.testing.assert_allclose(other.correspondence, one.correspondence, rtol=1e-3, atol=1e-6 * largest)
        assert other.correspondence.sum() == pytest.approx(one.correspondence.sum(), rel=1e-6)
        np.testing.assert_array_equal(other.components, one.components)
        np.testing.assert_array_equal(other.significant, one.significant)
        assert other.p_values == one.p_values


# Files of other versions --------------------------------------------------------------------------------------------


def as_version_1(folder: Path) -> None:
    """Leave in the files of a study what version 1 wrote."""
    content = json.loads((folder / "study.json").read_text())
    del content["settings"]["format"]
    pairs = [pair for neuron in content["neurons"] for pair in neuron["pairs"]]
    for pair in pairs:
        del pair["references"]
    (folder / "study.json").write_text(json.dumps(content))
    rewritten(folder, lambda name: name.split("/")[0].removesuffix(".npy").removesuffix("_names") not in OLD)


def rewritten(folder: Path, keeps: Callable[[str], bool], change: Callable[[str, bytes], bytes] | None = None) -> None:
    """Write the file of the maps again, some of its members or others."""
    with zipfile.ZipFile(folder / "maps.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist() if keeps(name)}
    with zipfile.ZipFile(folder / "maps.npz", "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member if change is None else change(name, member))


def test_a_study_of_version_1_loads_with_what_it_has(recording: Recording, tmp_path: Path) -> None:
    new = study(recording, tmp_path / "out", QUICK)
    as_version_1(tmp_path / "out")
    old = StudyResult.load(tmp_path / "out")
    assert old.responses is None
    for neuron, same in zip(old.neurons, new.neurons, strict=True):
        assert old.evidence(neuron.name) is None
        assert all(pair.references == () for pair in neuron.pairs)
        np.testing.assert_array_equal(old.maps(neuron.name, "recommended"), new.maps(neuron.name, "recommended"))
        assert [pair.agreement for pair in neuron.pairs] == [pair.agreement for pair in same.pairs]
        assert old.picture(neuron.pairs[0].reference).shape == (16, 16, 3)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / RECORD).unlink()
    with pytest.raises(ValueError, match="it differs in format"):
        study(recording, tmp_path / "out", QUICK, resume=True)
    assert contents(tmp_path / "out").items() >= {name: before[name] for name in ("study.json", "maps.npz")}.items()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (FORMAT + 1, rf"got one of format {FORMAT + 1}, which a newer version .*: update captum-shared"),
        ("two", "Expected a study of format 1 to 2, got 'two'"),
    ],
)
def test_a_study_of_another_version_is_refused(
    recording: Recording, tmp_path: Path, version: object, said: str
) -> None:
    study(recording, tmp_path / "out", QUICK)
    content = json.loads((tmp_path / "out" / "study.json").read_text())
    assert content["settings"]["format"] == FORMAT
    content["settings"]["format"] = version
    (tmp_path / "out" / "study.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        StudyResult.load(tmp_path / "out")


@pytest.mark.parametrize("member", ["correspondences/00001", "components/00001", "significant/00001"])
def test_evidence_that_is_damaged_or_missing_is_told(recording: Recording, tmp_path: Path, member: str) -> None:
    study(recording, tmp_path / "out", QUICK)
    content = (tmp_path / "out" / "maps.npz").read_bytes()
    rewritten(tmp_path / "out", lambda name: not name.startswith(member))
    with pytest.raises(ValueError, match=r"Expected a readable file of the maps of a study at .*maps\.npz"):
        StudyResult.load(tmp_path / "out").evidence("B")
    (tmp_path / "out" / "maps.npz").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "out" / "maps.npz") as archive:
        place = archive.getinfo(f"{member}.npy").header_offset + 120
    damaged = bytearray(content)
    damaged[place] ^= 0xFF
    (tmp_path / "out" / "maps.npz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"Expected a readable file of the maps of a study at .*maps\.npz"):
        StudyResult.load(tmp_path / "out").evidence("B")


def test_evidence_of_other_pairs_is_told(recording: Recording, tmp_path: Path) -> None:
    study(recording, tmp_path / "out", QUICK)
    with zipfile.ZipFile(tmp_path / "out" / "maps.npz") as archive:
        other = archive.read("components/00000.npy")

    def exchanged(name: str, member: bytes) -> bytes:
        return other[: other.index(b"\n") + 1] if name == "components/00001.npy" else member

    rewritten(tmp_path / "out", lambda name: True, exchanged)
    with pytest.raises(ValueError, match=r"Expected a readable file of the maps of a study at .*maps\.npz"):
        StudyResult.load(tmp_path / "out").evidence("B")
