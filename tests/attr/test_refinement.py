"""The refinement of layer maps against plain loops over pixels and windows, by hand, and by what it is for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor
from toys import seeded

from captum_shared.attr.refinement import guided, refined

seeds = st.integers(0, 10_000)
Sizes = tuple[tuple[int, int, int], tuple[int, int]]
SIZES: list[Sizes] = [
    ((3, 12, 9), (3, 2)),
    ((1, 6, 6), (6, 6)),
    ((2, 1, 8), (1, 3)),
    ((4, 5, 20), (1, 1)),
    ((3, 70, 20), (4, 2)),
    ((3, 9, 130), (2, 5)),
    ((1, 1, 1), (1, 1)),
]


# Against loops ------------------------------------------------------------------------------------------------------


def slow_upsampled(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear interpolation of (row, column) between the centres of positions."""
    found = torch.zeros(size, dtype=torch.float64)
    for row in range(size[0]):
        for column in range(size[1]):
            y = (row + 0.5) * values.shape[0] / size[0] - 0.5
            x = (column + 0.5) * values.shape[1] / size[1] - 0.5
            y, x = min(max(y, 0.0), values.shape[0] - 1), min(max(x, 0.0), values.shape[1] - 1)
            for i in {math.floor(y), math.ceil(y)}:
                for j in {math.floor(x), math.ceil(x)}:
                    found[row, column] += (1 - abs(y - i)) * (1 - abs(x - j)) * values[i, j]
    return found


def slow_shrunk(values: Tensor) -> Tensor:
    """Means of blocks of (row, column), such that the longer side has 64 at most."""
    rows, columns = values.shape
    longest = max(rows, columns, 64)
    height, width = (max(1, round(side * 64 / longest)) for side in (rows, columns))
    found = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            block = values[
                i * rows // height : -(-(i + 1) * rows // height), j * columns // width : -(-(j + 1) * columns // width)
            ]
            found[i, j] = block.mean()
    return found


def window(row: int, column: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    """A sixth of the side to each side of a pixel."""
    (above, beside) = (side // 6 for side in size)
    return slice(max(0, row - above), row + above + 1), slice(max(0, column - beside), column + beside + 1)


def slow_means(values: Tensor) -> Tensor:
    found = torch.zeros_like(values)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            found[row, column] = values[window(row, column, values.shape)].mean()
    return found


def slow_guided(values: Tensor, small: Tensor, guide: Tensor) -> Tensor:
    """A ridge regression in every window; of one image, at the resolution of ``small``."""
    slopes, intercepts = torch.zeros_like(small), torch.zeros_like(values)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            here = window(row, column, values.shape)
            x = small[(slice(None), *here)].reshape(len(small), -1).numpy()
            y = values[here].reshape(-1).numpy()
            centred = x - x.mean(1, keepdims=True)
            gram = centred @ centred.T / len(y) + 0.01 * np.eye(len(x))
            slope = np.linalg.solve(gram, centred @ (y - y.mean()) / len(y))
            slopes[:, row, column] = torch.from_numpy(slope)
            intercepts[row, column] = y.mean() - slope @ x.mean(1)
    found = slow_upsampled(slow_means(intercepts), guide.shape[1:])
    for channel, slope in zip(guide, slopes, strict=True):
        found = found + slow_upsampled(slow_means(slope), guide.shape[1:]) * channel
    return found


def slow_refined(layer_map: Tensor, image: Tensor, gradient: Tensor) -> Tensor:
    """Of one image: layer map (row, column), image and gradient (channel, height, width)."""
    spread = torch.stack([one.std(correction=0) for one in image])
    guide = torch.stack([(one - one.mean()) / sd if sd > 0 else 0 * one for one, sd in zip(image, spread, strict=True)])
    small = torch.stack([slow_shrunk(one) for one in guide])
    relevance = torch.zeros(image.shape[1:], dtype=torch.float64)
    for channel, shrunk, slope, sd in zip(guide, small, gradient, spread, strict=True):
        relevance = relevance + (channel - slow_upsampled(slow_means(shrunk), channel.shape)) * slope * sd
    told = slow_shrunk(relevance.clamp(min=0))
    values = (told * slow_upsampled(layer_map, told.shape)) ** (1 / 3)
    covered = slow_guided(values, small, guide).clamp(min=0) ** 4
    if float(covered.sum()) == 0:
        covered = slow_upsampled(layer_map, image.shape[1:])
    return covered * layer_map.sum() / covered.sum() if float(layer_map.sum()) > 0 else covered * 0


def example(seed: int, sizes: Sizes, n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Layer maps, images and gradients."""
    of_image, of_map = sizes
    return seeded(seed, n, 1, *of_map).abs(), seeded(seed + 1, n, *of_image), seeded(seed + 2, n, *of_image)


@settings(max_examples=10)
@given(seeds, st.sampled_from(SIZES))
def test_it_equals_plain_loops(seed: int, sizes: Sizes) -> None:
    inputs = example(seed, sizes)
    found = refined(*inputs)
    for i in range(2):
        layer_map, image, gradient = (one[i] for one in inputs)
        torch.testing.assert_close(found[i, 0], slow_refined(layer_map[0], image, gradient), rtol=1e-6, atol=1e-9)


# By hand ------------------------------------------------------------------------------------------------------------

STEP = torch.tensor([[[[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]]]]).double()
SPOT = torch.tensor([[[[0.0, 0.0, 0.0, 3.0, 0.0, 0.0]]]]).double()


def by_hand() -> list[float]:
    """The spot filtered by the step, with windows of three pixels, or of two at the ends."""
    # only the third and the fourth window have an edge in them: variance 8/9, covariance 4/3 and 2/3, means -1/3 and
    # 1/3 of the step and 1 of the spot; in the fifth the step is flat and the spot has a mean of 1
    third, fourth = (4 / 3) / (8 / 9 + 0.01), (2 / 3) / (8 / 9 + 0.01)
    of_third, of_fourth = 1 + third / 3, 1 - fourth / 3
    low = of_third - third, of_fourth - fourth  # what they make of -1
    high = of_third + third, of_fourth + fourth  # and of 1
    return [0.0, low[0] / 3, (low[0] + low[1]) / 3, (high[0] + high[1] + 1) / 3, (high[1] + 1) / 3, 1 / 2]


def test_a_filter_by_hand() -> None:
    torch.testing.assert_close(guided(SPOT, STEP).flatten(), torch.tensor(by_hand()).double())


@pytest.mark.parametrize("preprocessing", [(1.0, 0.0), (0.25, 0.5)])
def test_a_refined_map_by_hand(preprocessing: tuple[float, float]) -> None:
    # the fourth pixel alone has a gradient, and is brighter than its surroundings, whose mean is 1/3
    scale, offset = preprocessing
    found = refined(torch.full((1, 1, 1, 1), 4.0).double(), scale * STEP + offset, SPOT)
    powers = [one**4 for one in by_hand()]
    torch.testing.assert_close(found.flatten(), torch.tensor([4 * one / sum(powers) for one in powers]).double())


def test_what_is_a_function_of_the_image_stays() -> None:
    guide = seeded(1, 1, 3, 20, 30)
    guide = (guide - guide.mean((2, 3), keepdim=True)) / guide.std((2, 3), keepdim=True)
    flat = torch.full((1, 1, 20, 30), 2.5).double()
    torch.testing.assert_close(guided(flat, guide), flat)
    linear = 2 * guide[:, :1] - guide[:, 1:2] + 4
    assert float((guided(linear, guide) - linear).abs().max()) < 0.2


# Properties ---------------------------------------------------------------------------------------------------------


@given(seeds, st.sampled_from(SIZES))
def test_it_keeps_the_sum_and_is_not_negative(seed: int, sizes: Sizes) -> None:
    layer_map, images, gradients = example(seed, sizes)
    found = refined(layer_map, images, gradients)
    assert found.shape == (2, 1, *images.shape[2:])
    torch.testing.assert_close(found.sum((1, 2, 3)), layer_map.sum((1, 2, 3)))
    assert float(found.min()) >= 0


@given(seeds, st.sampled_from([1e-3, 1.0, 255.0]), st.sampled_from([1e-20, 1.0, 1e20]))
def test_units_and_brightness_and_contrast_of_every_channel_have_no_effect(
    seed: int, contrast: float, unit: float
) -> None:
    layer_map, images, gradients = example(seed, SIZES[0])
    scale = contrast * torch.tensor([1.0, 2.0, 0.3]).double()[:, None, None]
    found = refined(3 * layer_map, scale * images + seeded(1, 3, 1, 1), unit * gradients / scale)
    torch.testing.assert_close(found, 3 * refined(layer_map, images, gradients))


@given(seeds)
def test_a_mirrored_image_has_a_mirrored_map(seed: int) -> None:
    inputs = example(seed, ((3, 16, 11), (4, 3)))
    mirrored = refined(*(one.flip(3) for one in inputs))
    torch.testing.assert_close(mirrored, refined(*inputs).flip(3))


@given(seeds, st.sampled_from(SIZES))
def test_a_batch_is_its_images_one_by_one(seed: int, sizes: Sizes) -> None:
    inputs = example(seed, sizes, n=3)
    found = refined(*inputs)
    for i in range(3):
        torch.testing.assert_close(refined(*(one[i, None] for one in inputs))[0], found[i])


@pytest.mark.parametrize("silent", ["gradient", "image", "elsewhere"])
def test_where_the_gradient_says_nothing_the_layer_map_is_interpolated(silent: str) -> None:
    layer_map, images, gradients = example(3, ((3, 24, 24), (4, 4)))
    if silent == "gradient":
        gradients = torch.zeros_like(gradients)
    elif silent == "image":
        images = torch.full_like(images, 0.3)
    else:
        layer_map[..., :2], gradients[..., 3:] = 0, 0
    found = refined(layer_map, images, gradients)
    for i in range(2):
        plain = slow_upsampled(layer_map[i, 0], (24, 24))
        torch.testing.assert_close(found[i, 0], plain * layer_map[i].sum() / plain.sum())


def test_an_empty_map_stays_empty() -> None:
    layer_map, images, gradients = example(3, SIZES[0])
    layer_map[0] = 0
    found = refined(layer_map, images, gradients)
    assert not found[0].any()
    assert found[1].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 0.02), (torch.bfloat16, 0.1)])
def test_any_precision(dtype: torch.dtype, tolerance: float) -> None:
    inputs = example(5, SIZES[0])
    found = refined(*(one.to(dtype) for one in inputs))
    assert found.dtype == dtype
    expected = refined(*inputs)
    assert float((found.double() - expected).abs().sum() / expected.sum()) < tolerance


@given(seeds)
@settings(max_examples=10)
def test_a_few_pixels_are_enough_to_cover_a_part(seed: int) -> None:
    """An ellipse of its own colour; one pixel in eight in it has a gradient, and so has one in a hundred elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(2, 3, 1, 1, generator=generator)
    if float((colours[0] - colours[1]).norm()) < 0.3:
        colours[1] = 1 - colours[0].round()
    rows, columns = torch.meshgrid(torch.arange(80), torch.arange(80), indexing="ij")
    inside = ((rows - 30) / 16) ** 2 + ((columns - 44) / 10) ** 2 < 1
    image = torch.where(inside, colours[0], colours[1]) + 0.05 * torch.randn(3, 80, 80, generator=generator)
    chance = torch.rand(80, 80, generator=generator)
    counts = torch.where(inside, chance < 1 / 8, chance < 1 / 100)
    away = image - image.mean((1, 2), keepdim=True)
    layer_map = torch.zeros(1, 1, 5, 5)
    layer_map[..., 1:3, 2:4] = 1.0
    found = refined(layer_map, image[None], (counts * away)[None])[0, 0]
    assert average_precision_score(inside.flatten(), found.flatten()) > 0.99
    assert float(found[inside].sum() / found.sum()) > 0.99
    assert float(found[inside].median() / found[inside].max()) > 0.02  # of dots 0; of 300 seeds at least 0.046
