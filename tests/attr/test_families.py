"""Maps of transformers and of networks with channels last: the right shape, at the right positions."""

from functools import cache

import pytest
import torch
from families import FAMILIES
from torch import Tensor
from toys import pair, seeded

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
)
from captum_shared.methods import METHODS

AT_THE_CUT = ("neuron-grad-cam", "similarity-grad-cam", "cosine-grad-cam", "grad-cam-product", "ours-layer-centred")


def with_patch(plain: Tensor, patch: Tensor, quadrant: int) -> Tensor:
    row, column = divmod(quadrant, 2)
    height, width = patch.shape[2:]
    swapped = plain.clone()
    swapped[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width] = patch
    return swapped


def shares(maps: Tensor) -> Tensor:
    """Share of a map's positive mass in each quadrant."""
    cells = [cell for half in maps.clamp(min=0).chunk(2, 2) for cell in half.chunk(2, 3)]
    masses = torch.stack([cell.sum() for cell in cells])
    return masses / masses.sum()


@cache
def patched(name: str) -> tuple[NeuronSimilarity, tuple[Tensor, ...]]:
    """Images that differ in where they have a patch, and a neuron that answers to it."""
    family = FAMILIES[name]
    features = LatentFeatures(family.network(), family.layer)
    height, width = family.size
    plain, patch = 0.1 * seeded(1, 1, 3, height, width), 3 * seeded(2, 1, 3, height // 2, width // 2)
    images = tuple(with_patch(plain, patch, quadrant) for quadrant in range(4))
    activation = features.activation(torch.cat(images))
    shown = torch.zeros(4, 1, *family.grid, dtype=torch.float64)
    for quadrant in range(4):
        one = torch.ones(1, 1, family.grid[0] // 2, family.grid[1] // 2, dtype=torch.float64)
        shown[quadrant : quadrant + 1] = with_patch(shown[quadrant : quadrant + 1], one, quadrant)
    positions = activation.movedim(1, -1).flatten(0, 2)
    mean = positions.mean(0)
    weight = torch.linalg.lstsq(positions - mean, shown.flatten()[:, None] - shown.mean()).solution[:, 0]
    other = weight.std() * seeded(3, len(weight))
    return NeuronSimilarity(features, LinearReadout(torch.stack([weight, other]), feature_mean=mean)), images


@pytest.mark.parametrize("name", FAMILIES)
def test_a_patch_that_is_swapped_in_moves_the_map_there(name: str) -> None:
    similarity, images = patched(name)
    layer, pixels = SharedCorrespondence(similarity), PixelSharedCorrespondence(similarity)
    for here in range(4):
        there = (here + 1) % 4
        pair = images[here], images[there]
        for maps in (layer.attribute(pair, 0), pixels.attribute(pair, 0)):
            assert float(shares(maps[0])[here]) > 0.45
            assert float(shares(maps[1])[there]) > 0.45


@pytest.mark.parametrize("method", AT_THE_CUT)
@pytest.mark.parametrize("name", FAMILIES)
def test_methods_at_the_cut_follow_the_patch(name: str, method: str) -> None:
    similarity, images = patched(name)
    family = FAMILIES[name]
    for here in (0, 3):
        inputs = images[here].clone().requires_grad_(), images[1].clone().requires_grad_()
        maps = METHODS[method].call(similarity, inputs, torch.tensor([0]))
        assert maps[0].shape[2:] == maps[1].shape[2:] == family.grid
        if method == "neuron-grad-cam":
            activation = similarity.image_features.activation(images[here])
            weight = similarity.readout.weight[0][:, None, None] / (family.grid[0] * family.grid[1])
            torch.testing.assert_close(maps[0], (weight * activation).sum(1, keepdim=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_correspondences_sum_to_their_maps_and_a_batch_is_its_pairs(name: str) -> None:
    family = FAMILIES[name]
    similarity, _ = patched(name)
    images, references = seeded(4, 3, 3, *family.size), seeded(5, 3, 3, *family.size)
    inputs = images, 0.6 * images + 0.8 * references
    method, refined = SharedCorrespondence(similarity), PixelSharedCorrespondence(similarity)
    matrix, maps, pixels = (
        each(inputs, [0, 1, 0]) for each in (method.correspondence, method.attribute, refined.attribute)
    )
    n_positions = family.grid[0] * family.grid[1]
    assert matrix.shape == (3, n_positions, n_positions)
    assert [each.shape for each in maps] == [(3, 1, *family.grid)] * 2
    assert [each.shape for each in pixels] == [(3, 1, *family.size)] * 2
    assert float(matrix.sum()) > 0
    torch.testing.assert_close(maps[0].flatten(1), matrix.sum(2))
    torch.testing.assert_close(maps[1].flatten(1), matrix.sum(1))
    torch.testing.assert_close(pixels[0].sum((1, 2, 3)), matrix.sum((1, 2)))
    for index, neuron in enumerate([0, 1, 0]):
        one = inputs[0][index : index + 1], inputs[1][index : index + 1]
        for whole, alone in ((maps, method.attribute(one, neuron)), (pixels, refined.attribute(one, neuron))):
            torch.testing.assert_close(alone[0], whole[0][index : index + 1])
            torch.testing.assert_close(alone[1], whole[1][index : index + 1])


@pytest.mark.parametrize("name", FAMILIES)
def test_layer_maps_at_the_cut_are_h_times_activation(name: str) -> None:
    similarity, images = patched(name)
    features = similarity.image_features
    inputs = images[0], images[3]
    h = similarity.shared_weights(*inputs, target=1)
    maps = LayerSharedAttribution(similarity).attribute(inputs, 1)
    assert maps[0].shape == (1, FAMILIES[name].n_features, *FAMILIES[name].grid)
    for one, image in zip(maps, inputs, strict=True):
        expected = h[:, :, None, None] * features.activation(image) / one[0, 0].numel()
        torch.testing.assert_close(one, expected)


@pytest.mark.parametrize("name", ["vit", "timm, registers", "dinov2", "clip"])
def test_the_class_token_has_maps_of_pixels_too(name: str) -> None:
    family = FAMILIES[name]
    features = LatentFeatures(family.network(), family.layer, pool="class_token")
    similarity = NeuronSimilarity(features, LinearReadout(seeded(1, 2, family.n_features)))
    inputs = (
        pair(n=1, size=32)
        if family.size == (32, 32)
        else (seeded(1, 1, 3, *family.size), seeded(2, 1, 3, *family.size))
    )
    h = similarity.shared_weights(*inputs, target=1)
    (expected,) = torch.autograd.grad((h * features(leaf := inputs[0].clone().requires_grad_())).sum(), leaf)
    torch.testing.assert_close(ParallelSharedAttribution(similarity).attribute(inputs, 1)[0], expected)
