"""Components of the correspondence: hand-worked blocks, sums, properties, and drawn pairs of two parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_correspondence import toy
from torch import Tensor, nn
from toys import Pair, pair

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, SharedCorrespondence
from captum_shared.attr import Components, components, heatmap
from captum_shared.attr.decomposition import MOST, split
from captum_shared.encoders import local_features
from captum_shared.evaluation import partition_agreement, parts_task


def block(*sizes: tuple[int, int, float]) -> np.ndarray:
    """Separate constant blocks of so many rows, columns and so much mass."""
    whole = np.zeros((sum(rows for rows, _, _ in sizes), sum(columns for _, columns, _ in sizes)))
    row = column = 0
    for rows, columns, mass in sizes:
        whole[row : row + rows, column : column + columns] = mass / (rows * columns)
        row, column = row + rows, column + columns
    return whole


def by_mass(parts: np.ndarray) -> np.ndarray:
    return parts[np.argsort(-parts.sum((1, 2)), kind="stable")]


def planted() -> tuple[NeuronSimilarity, Pair]:
    """Two patches of a feature each, which change sides; B is driven by the first and inhibited by the second."""
    network = nn.Conv2d(2, 2, 1, bias=False).double()
    network.weight.data = torch.eye(2, dtype=torch.float64)[:, :, None, None]
    weight = torch.tensor([[3.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    mean = torch.full((2,), 0.1, dtype=torch.float64)
    readout = LinearReadout(weight, feature_mean=mean, neuron_names=["A", "B"])
    image = torch.zeros(1, 2, 9, 9, dtype=torch.float64)
    image[0, 0, 1:4, 1:4], image[0, 1, 5:8, 5:8] = 1, 1
    return NeuronSimilarity(LatentFeatures(nn.Sequential(network), "0"), readout), (image, image.flip(3))


class TestSplit:
    @pytest.mark.parametrize("n_components", ["auto", 3])
    def test_separate_blocks_are_the_components(self, n_components: int | str) -> None:
        whole = block((2, 3, 6.0), (1, 2, 3.0), (3, 1, 1.0))
        parts = by_mass(split(whole, n_components))
        expected = [np.where(whole == height, whole, 0) for height in (1.0, 1.5, 1 / 3)]
        np.testing.assert_allclose(parts, expected, atol=1e-4)

    def test_one_outer_product_is_one_component(self) -> None:
        whole = np.outer([1.0, 5.0, 2.0], [0.5, 3.0, 1.0, 2.0])
        (part,) = split(whole)
        np.testing.assert_allclose(part, whole)

    def test_a_faint_block_counts_as_well(self) -> None:
        parts = by_mass(split(block((3, 3, 0.97), (2, 2, 0.03))))
        np.testing.assert_allclose(parts.sum((1, 2)), [0.97, 0.03], atol=1e-3)

    def test_there_are_never_more_than_can_be_told_apart_unless_asked_for(self) -> None:
        whole = np.eye(MOST + 3)
        assert len(split(whole)) == MOST
        assert len(split(whole, MOST + 2)) == MOST + 2

    def test_nothing_has_no_components(self) -> None:
        assert split(np.zeros((4, 5))).shape == (0, 4, 5)
        assert split(np.zeros((4, 5)), 2).shape == (0, 4, 5)

    def test_a_single_entry_has_one(self) -> None:
        np.testing.assert_allclose(split(np.diag([0.0, 3.0, 0.0]), 4), np.diag([0.0, 3.0, 0.0])[None])

    @settings(max_examples=20)
    @given(st.integers(0, 10_000), st.sampled_from(["auto", 1, 2, 4]))
    def test_components_sum_to_the_correspondence_in_any_unit(self, seed: int, n_components: int | str) -> None:
        rng = np.random.default_rng(seed)
        whole = rng.gamma(0.5, size=(7, 9)) * (rng.random((7, 1)) < 0.8) * (rng.random((1, 9)) < 0.8)
        parts = split(whole, n_components)
        np.testing.assert_allclose(parts.sum(0), whole, rtol=1e-12)
        assert (parts >= 0).all()
        np.testing.assert_allclose(split(1024 * whole, n_components), 1024 * parts, rtol=1e-9)
        np.testing.assert_array_equal(split(whole, n_components), parts)


def test_patches_that_change_sides_are_found_with_their_neurons() -> None:
    similarity, inputs = planted()
    parts = components(similarity, inputs, target=0)
    assert len(parts) == 2
    for part, corner in enumerate((2, 6)):
        for maps, column in ((parts.image_maps, corner), (parts.reference_maps, 8 - corner)):
            peak = maps[part, 0]
            assert peak[corner, column] == peak.max()
            assert peak[corner - 2 : corner + 3, max(column - 2, 0) : column + 3].sum() > 0.99 * peak.sum()
    assert parts.shares[0] > parts.shares[1] > 0.1
    assert set(parts.drivers(0)) == {"A", "B"}
    assert set(parts.drivers(1)) == {"A"}
    assert list(parts.drivers(0, most=1)) == ["A"]


def test_strengths_equal_loops_over_positions() -> None:
    similarity, inputs = planted()
    parts = components(similarity, inputs, target=0)
    readout = similarity.readout
    locals_ = [local_features(image, readout.feature_mean)[0] for image in inputs]
    for part in range(len(parts)):
        for neuron in range(2):
            sides = []
            for maps, local in zip((parts.image_maps, parts.reference_maps), locals_, strict=True):
                share = maps[part].flatten() / maps[part].sum()
                sides.append(
                    sum(float(s) * float(readout.weight[neuron] @ x) for s, x in zip(share, local, strict=True))
                )
            assert float(parts.strengths[part, neuron]) == pytest.approx(max(min(sides), 0), abs=1e-12)


@pytest.mark.parametrize("n_components", ["auto", 1, 3])
def test_components_sum_to_the_maps_of_the_method(n_components: int | str) -> None:
    similarity, (images, references) = toy(), pair(n=1)
    inputs = images, references[..., :8]
    method = SharedCorrespondence(similarity)
    parts = components(similarity, inputs, 2, n_components=n_components)
    torch.testing.assert_close(parts.correspondences.sum(0), method.correspondence(inputs, 2)[0])
    for maps, expected in zip((parts.image_maps, parts.reference_maps), method.attribute(inputs, 2), strict=True):
        torch.testing.assert_close(maps.sum(0), expected[0])
    assert parts.shares.tolist() == sorted(parts.shares.tolist(), reverse=True)
    assert float(parts.shares.sum()) == pytest.approx(1)
    assert parts.agreement == pytest.approx(float(method.correspondence(inputs, 2).sum()))


def test_maps_of_pixels_are_shared_out_in_proportion() -> None:
    similarity, inputs = planted()
    parts = components(similarity, inputs, target=0)
    flat = torch.full((1, 1, 18, 18), 2.0, dtype=torch.float64)
    image_maps, reference_maps = parts.of_pixels((flat, 3 * flat))
    torch.testing.assert_close(image_maps.sum(0, keepdim=True), flat)
    torch.testing.assert_close(reference_maps.sum(0, keepdim=True), 3 * flat)
    assert image_maps[0, 0, 5, 5] > 1.99  # the first patch
    assert image_maps[1, 0, 13, 13] > 1.99  # the second
    ratio = parts.image_maps[0, 0, 4, 4] / parts.image_maps[:, 0, 4, 4].sum()
    same_size, _ = parts.of_pixels((flat[..., :9, :9], flat))
    torch.testing.assert_close(same_size[0, 0, 4, 4], 2 * ratio)


def test_what_is_left_over_is_measured_against_outer_products() -> None:
    similarity, inputs = planted()
    parts = components(similarity, inputs, 0, n_components=1)
    whole = parts.correspondences.sum(0)
    rebuilt = torch.zeros_like(whole)
    for image_map, reference_map in zip(parts.image_maps, parts.reference_maps, strict=True):
        rebuilt += torch.outer(image_map.flatten(), reference_map.flatten()) / image_map.sum()
    error = whole - rebuilt
    assert parts.residual == pytest.approx(float(error.square().sum().sqrt() / whole.square().sum().sqrt()))
    assert parts.unexplained == pytest.approx(float(error.clamp(min=0).sum() / whole.sum()))
    finer = components(similarity, inputs, 0, n_components=2)
    assert finer.residual < 0.5 * parts.residual


def test_exchanged_images_have_exchanged_components() -> None:
    similarity, (image, reference) = planted()
    reference = 0.5 * reference.roll(1, 2)
    one, other = (components(similarity, each, 0) for each in ((image, reference), (reference, image)))
    torch.testing.assert_close(one.image_maps, other.reference_maps, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(one.strengths, other.strengths, atol=1e-3, rtol=1e-2)


def test_a_pair_that_shares_nothing_has_no_components() -> None:
    similarity, (image, _) = planted()
    parts = components(similarity, (image, torch.zeros_like(image)), 0)
    assert (len(parts), parts.agreement, parts.residual, parts.unexplained) == (0, 0, 0, 0)
    assert parts.image_maps.shape == (0, 1, 9, 9)
    assert parts.strengths.shape == (0, 2)
    assert parts.shares.tolist() == []


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("number", [0, -1, 1.5, "many", None])
def test_a_wrong_number_is_refused(number: object) -> None:
    similarity, inputs = planted()
    with pytest.raises(ValueError, match="n_components must be 'auto' or a number"):
        components(similarity, inputs, 0, n_components=number)  # type: ignore[arg-type]


def test_several_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected one pair.*got 2 pairs"):
        components(toy(), pair(n=2), 0)


def maps_at(parts: Components, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    return heatmap(parts.image_maps, size, kind="layer"), heatmap(parts.reference_maps, size, kind="layer")


def test_two_drawn_parts_come_apart() -> None:
    """The full number is in benchmarks/results/components.json."""
    task = parts_task(n_shared=2, n_neurons=6, n_fitted=150, seed=100)
    indices = []
    for index in range(6):
        trial = task.trial(index)
        assert trial.contents[0][:2] == trial.contents[1][:2]
        assert not set(trial.contents[0][2:]) & set(trial.contents[1])
        parts = components(task.similarity, (trial.images[:1], trial.images[1:2]), trial.neuron, n_components=2)
        indices.append(partition_agreement(*maps_at(parts, (112, 112)), trial.regions[:, :2]))
    assert np.mean(indices) > 0.75
