"""Where positions are: every family of networks against a patch that moves, and layouts that cannot be told."""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES, Family, convnext, dinov2, swin, timm_registers_alone, vit
from torch import Tensor, nn
from toys import Randomised, seeded

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, SharedCorrespondence
from captum_shared.encoders import LayerFeatures
from captum_shared.encoders.positions import Positions, is_channels_last


def raw_output(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """What a layer gives, by a hook and by hand."""
    path, _, key = layer.partition(":")
    outputs = []
    handle = network.get_submodule(path).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        network(images)
    handle.remove()
    (output,) = outputs
    return output if not key else output[int(key)] if key.isdigit() else output[key]


def by_hand(family: Family, output: Tensor) -> Tensor:
    """The activation position by position."""
    rows, columns = family.grid
    laid_out = torch.empty(len(output), family.n_features, rows, columns, dtype=output.dtype)
    for row in range(rows):
        for column in range(columns):
            if family.channels == "first":
                one = output[:, :, row, column]
            elif family.channels == "last":
                one = output[:, row, column]
            else:
                one = output[:, int(family.channels) + row * columns + column]
            laid_out[:, :, row, column] = one
    return laid_out


@pytest.mark.parametrize("name", FAMILIES)
def test_the_activation_at_the_cut_is_in_rows_and_columns(name: str) -> None:
    family = FAMILIES[name]
    network, images = family.network(), seeded(1, 2, 3, *family.size)
    expected = by_hand(family, raw_output(network, family.layer, images))
    features = LatentFeatures(network, family.layer)
    torch.testing.assert_close(features.activation(images), expected)
    torch.testing.assert_close(features(images), expected.mean((2, 3)))
    torch.testing.assert_close(LatentFeatures(network, family.layer, pool="max")(images), expected.amax((2, 3)))
    seen = []
    features.cut.register_forward_hook(lambda module, inputs, output: seen.append(output))
    features(images)
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "vit, stem"])  # whose convolutions overlap
def test_a_patch_that_is_swapped_in_changes_the_position_where_it_is(name: str) -> None:
    family = FAMILIES[name]
    features = LatentFeatures(family.network(), family.layer)
    (height, width), (rows, columns) = family.size, family.grid
    plain, patch = 0.1 * seeded(1, 1, 3, height, width), 2 * seeded(2, 3, height // rows, width // columns)
    before = features.activation(plain)
    for row, column in ((0, 2), (rows - 1, 0), (1, columns - 1)):
        swapped = plain.clone()
        top, left = row * height // rows, column * width // columns
        swapped[0, :, top : top + patch.shape[1], left : left + patch.shape[2]] = patch
        change = (features.activation(swapped) - before).norm(dim=1)[0]
        assert divmod(int(change.argmax()), columns) == (row, column)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("pool", ["none", "class_token"])
def test_tokens_that_are_kept_stay_as_the_layer_has_them(name: str, pool: str) -> None:
    family = FAMILIES[name]
    network, images = family.network(), seeded(1, 2, 3, *family.size)
    output = raw_output(network, family.layer, images)
    features = LatentFeatures(network, family.layer, pool=pool)
    if pool == "none":
        torch.testing.assert_close(features(images), output.flatten(1))
        assert features.feature_shape == tuple(output.shape[1:])
    elif isinstance(family.channels, int) and family.channels > 0 and name != "timm, registers alone":
        torch.testing.assert_close(features(images), output[:, 0])
    else:
        with pytest.raises(ValueError, match="of a model with a class token"):
            features(images)


@pytest.mark.parametrize("name", ["swin", "vit", "timm, registers", "dinov2"])
@pytest.mark.parametrize("pool", ["average", "max", "none"])
def test_several_layers_at_once_are_laid_out_alike(name: str, pool: str) -> None:
    family = FAMILIES[name]
    network, images = family.network(), seeded(1, 2, 3, *family.size)
    layers = LayerFeatures(network, [family.layer], pool=pool)
    assert torch.equal(layers(images)[family.layer], LatentFeatures(network, family.layer, pool=pool)(images))


def test_what_networks_tell_of_their_tokens() -> None:
    assert Positions.of(Randomised(0)(vit)) == Positions("auto", (8, 8), 1, True)
    assert Positions.of(Randomised(0)(swin)) == Positions("auto", (4, 4), 0, False)
    assert Positions.of(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2))) == Positions("auto", None, 0, False)


def test_what_networks_of_other_packages_tell_of_their_tokens() -> None:
    pytest.importorskip("timm")
    assert Positions.of(Randomised(0)(timm_registers_alone)) == Positions("auto", (8, 8), 3, False)
    pytest.importorskip("transformers")
    assert Positions.of(Randomised(0)(dinov2)) == Positions("auto", (8, 8), 4, True)


def tokens(n: int) -> Tensor:
    return torch.zeros(2, n, 6)


@pytest.mark.parametrize(
    ("positions", "n", "size", "grid"),
    [
        (Positions(patch=(16, 16)), 196, (224, 224), (14, 14)),
        (Positions(patch=(16, 16)), 197, (224, 224), (14, 14)),
        (Positions(patch=(16, 16)), 201, (224, 224), (14, 14)),
        (Positions(patch=(16, 16)), 197, (225, 224), (14, 14)),
        (Positions(patch=(16, 8)), 4 * 28, (64, 224), (4, 28)),
        (Positions(patch=(16, 16)), 15 * 14, (225, 224), (15, 14)),  # padded
        (Positions(patch=(4, 4)), 7 * 14, (224, 448), (7, 14)),  # a pyramid merged thrice
        (Positions(patch=(4, 4)), 7 * 7, (200, 200), (7, 7)),  # of 50, 25 and 13 positions a side
        (Positions(patch=(16, 16)), 100, (224, 224), None),  # pruned
        (Positions(), 196, (224, 224), (14, 14)),
        (Positions(), 197, (224, 224), (14, 14)),
        (Positions(), 99, (224, 448), (7, 14)),
        (Positions(n_in_front=5), 201, (224, 224), (14, 14)),
        (Positions(), 201, (224, 224), None),  # five tokens in front, of which nothing tells
        (Positions(), 32, (224, 224), None),  # queries
        (Positions((14, 14)), 203, (224, 224), (14, 14)),
        (Positions((7, 14)), 98, (224, 224), (7, 14)),
        (Positions((14, 14)), 4 * 196, (448, 448), None),
    ],
)
def test_the_grid_of_tokens(positions: Positions, n: int, size: tuple[int, int], grid: tuple[int, int] | None) -> None:
    laid_out = positions.laid_out(tokens(n), torch.zeros(2, 3, *size))
    assert (None if laid_out is None else tuple(laid_out.shape)) == (None if grid is None else (2, 6, *grid))


@pytest.mark.parametrize(
    ("shape", "size", "last"),
    [
        ((7, 7, 96), (224, 224), True),
        ((96, 7, 7), (224, 224), False),
        ((7, 14, 96), (224, 448), True),
        ((14, 7, 14), (224, 448), False),
        ((7, 7, 7), (224, 224), False),
        ((1, 1, 96), (32, 32), True),
        ((13, 13, 96), (224, 224), True),
    ],
)
def test_channels_last_are_told_by_proportions(shape: tuple[int, ...], size: tuple[int, int], last: bool) -> None:
    assert is_channels_last(torch.zeros(1, *shape), torch.zeros(1, 3, *size)) == last


class Rows(nn.Module):
    """Channels last and as many of them as columns: no proportion tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.conv(images).permute(0, 2, 3, 1))


def test_a_layout_that_cannot_be_told_can_be_named() -> None:
    model, images = Randomised(0)(Rows), seeded(1, 2, 3, 8, 8)
    expected = model.conv(images)
    assert LatentFeatures(model, "last").activation(images).equal(expected.movedim(1, -1))
    torch.testing.assert_close(LatentFeatures(model, "last", layout="channels_last").activation(images), expected)
    network = Randomised(0)(convnext)
    first = LatentFeatures(network, "features", layout="channels_first").activation(seeded(1, 1, 3, 32, 32))
    torch.testing.assert_close(first, LatentFeatures(network, "features").activation(seeded(1, 1, 3, 32, 32)))


class Strips(nn.Module):
    """Tokens of strips of two rows: eight of four positions, of which nothing tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=(2, 4), padding=1)
        self.tokens = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(self.conv(images).flatten(2).mT)


def test_tokens_whose_grid_cannot_be_told_ask_for_it() -> None:
    model, images = Randomised(0)(Strips), seeded(1, 2, 3, 16, 16)
    untold = LatentFeatures(model, "tokens")
    readout = LinearReadout(seeded(2, 2, 5), feature_mean=seeded(3, 5))
    torch.testing.assert_close(untold(images), model.conv(images).mean((2, 3)))
    with pytest.raises(ValueError, match=r"gives shape \(2, 32, 5\).*layout=\(rows, columns\)"):
        SharedCorrespondence(NeuronSimilarity(untold, readout)).attribute((images, images), 0)
    told = LatentFeatures(model, "tokens", layout=(8, 4))
    torch.testing.assert_close(told.activation(images), model.conv(images))
    maps = SharedCorrespondence(NeuronSimilarity(told, readout)).attribute((images, images.flip(0)), 0)
    assert maps[0].shape == (2, 1, 8, 4)


@pytest.mark.parametrize("layout", ["rows", (14,), (0, 14), 14])
def test_an_unknown_layout_is_refused(as_installed: None, layout: object) -> None:
    with pytest.raises(ValueError, match="layout must be one of auto, channels_first, channels_last, or the rows"):
        LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3)), "0", layout=layout)


class Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.windows = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.windows(images.unfold(2, 4, 4).unfold(3, 4, 4).flatten(0, 1)).flatten(1)


def test_a_layer_that_sees_windows_instead_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gives shape \(6, 2, 2, 4, 4\) for 2 images"):
        LatentFeatures(Windows(), "windows")(torch.zeros(2, 3, 8, 8))
