"""Heatmaps by their kind, against the definition written out."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional
from toys import seeded

from captum_shared.attr.heatmaps import SMOOTHING, heatmap, rank_correlation, smoothed

pytestmark = pytest.mark.usefixtures("as_installed")


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian that ends at three standard deviations, the image mirrored at its border."""
    reach = min(round(3 * sigma), min(image.shape) - 1)
    return torch.from_numpy(gaussian_filter(image.numpy(), sigma, mode="mirror", radius=reach))


def test_gradients_are_magnitudes_summed_over_channels_and_smoothed() -> None:
    attribution = seeded(0, 2, 3, 40, 50)
    for one, shown in zip(attribution, heatmap(attribution, (40, 50), kind="gradient"), strict=True):
        torch.testing.assert_close(shown, blurred(one.abs().sum(0), SMOOTHING * 50))


def test_contributions_keep_their_sign_until_what_speaks_against_is_left_out() -> None:
    attribution = seeded(1, 2, 3, 50, 40)
    shown = heatmap(attribution, (50, 40), kind="contribution", smoothing=0.05)
    expected = torch.stack([blurred(one.sum(0), 0.05 * 50) for one in attribution])
    assert float(expected.min()) < 0
    torch.testing.assert_close(shown, expected.clamp(min=0))


@pytest.mark.parametrize("size", [(6, 8), (3, 4)])
def test_layers_are_summed_brought_to_the_size_and_not_smoothed(size: tuple[int, int]) -> None:
    attribution = seeded(2, 2, 5, 3, 4)
    expected = functional.interpolate(attribution.sum(1, keepdim=True), size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(heatmap(attribution, size, kind="layer"), expected[:, 0].clamp(min=0))
    torch.testing.assert_close(heatmap(attribution, size, kind="layer", smoothing=0.5), expected[:, 0].clamp(min=0))


def test_small_maps_are_blurred_as_far_as_their_mirror_image_goes() -> None:
    maps = seeded(3, 1, 4, 30)
    torch.testing.assert_close(smoothed(maps, 0.1)[0], blurred(maps[0], 3.0))
    assert smoothed(maps, 0.0) is maps


def test_pixel_maps_are_summed_magnitudes() -> None:
    attribution = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(heatmap(attribution, (6, 6), kind="gradient", smoothing=0.0), attribution.abs().sum(1))


def test_contributions_of_pixels_cancel_where_they_speak_for_and_against() -> None:
    attribution = torch.tensor([[[[2.0, 0.0, 0.0]], [[-1.0, 0.0, -4.0]]]])
    assert heatmap(attribution, (1, 3), kind="contribution", smoothing=0.0)[0, 0].tolist() == [1, 0, 0]
    checks = (torch.arange(50) % 2 * 2.0 - 1).expand(1, 1, 50, 50)
    assert float(heatmap(checks, (50, 50), kind="contribution").max()) < 0.05
    assert float(heatmap(checks, (50, 50), kind="gradient").min()) > 0.95


def test_what_is_of_no_kind_or_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of gradient, contribution, layer, but got 'positive'"):
        heatmap(torch.ones(1, 1, 2, 2), (2, 2), kind="positive")  # type: ignore[arg-type]
    for kind in ("gradient", "contribution"):
        with pytest.raises(ValueError, match=r'of the size \(4, 4\), but got \(2, 2\)\. Give kind="layer" for'):
            heatmap(torch.ones(1, 1, 2, 2), (4, 4), kind=kind)
    with pytest.raises(ValueError, match="cannot be negative, but is -1"):
        heatmap(torch.ones(1, 1, 2, 2), (2, 2), kind="gradient", smoothing=-1)


def test_smoothing_keeps_constant_maps_and_spreads_points_by_its_width() -> None:
    constant = torch.ones(1, 1, 50, 50, dtype=torch.float64)
    torch.testing.assert_close(heatmap(constant, (50, 50), kind="gradient"), constant[:, 0])
    point = torch.zeros(1, 1, 101, 101, dtype=torch.float64)
    point[0, 0, 50, 50] = 1
    spread = heatmap(point, (101, 101), kind="gradient", smoothing=0.05)[0]
    offsets = torch.arange(101, dtype=torch.float64) - 50
    assert float(spread.sum()) == pytest.approx(1, abs=1e-6)
    assert float((spread.sum(0) * offsets**2).sum()) ** 0.5 == pytest.approx(0.05 * 101, rel=0.02)


def test_layer_maps_lose_what_speaks_against_only_after_all_channels_are_summed() -> None:
    attribution = torch.tensor([[[[2.0, 1.0], [0.0, 3.0]], [[-1.0, -4.0], [0.0, 0.0]]]])
    shown = heatmap(attribution, (4, 4), kind="layer")
    assert float(shown[0, 0, 0]) == 1.0
    assert float(shown[0, 0, 3]) == 0.0
    assert float(shown[0, 3, 3]) == 3.0


def test_the_kind_is_named() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        heatmap(torch.ones(1, 1, 2, 2), (2, 2), "layer")  # type: ignore[misc]


def test_ranks_are_correlated_and_a_constant_map_has_none() -> None:
    first, second = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 3.0], [2.0, 4.0]])
    assert rank_correlation(first, second) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert math.isnan(rank_correlation(first, np.ones((2, 2))))
    assert math.isnan(rank_correlation(np.ones((2, 2)), first))
