from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from captum_shared._files import write_atomically
from captum_shared.attr.heatmaps import heatmap
from captum_shared.evaluation.scores.recovery import positive_mass
from captum_shared.figures import Panel, pair_figure, save_figure


def panel(heat: Tensor, region: Tensor | None = None) -> Panel:
    return Panel("image", torch.full((3, 8, 8), 0.5), {"method": heat}, region)


def overlay_norms(figure: Figure) -> list[tuple[float, float]]:
    return [axes.images[1].norm for axes in figure.axes if len(axes.images) == 2]


def test_a_pair_is_drawn_on_one_scale_from_zero() -> None:
    figure = pair_figure(panel(torch.rand(8, 8)), panel(5 * torch.ones(8, 8)))
    assert [(norm.vmin, norm.vmax) for norm in overlay_norms(figure)] == [(0, 5), (0, 5)]


def test_figures_can_share_a_scale() -> None:
    figure = pair_figure(panel(torch.rand(8, 8)), panel(torch.rand(8, 8)), vmax={"method": 7.0})
    assert {norm.vmax for norm in overlay_norms(figure)} == {7.0}


def test_a_map_of_zeros_leaves_the_image_bare() -> None:
    figure = pair_figure(panel(torch.zeros(8, 8)), panel(torch.zeros(8, 8)))
    overlays = [axes.images[1] for axes in figure.axes if len(axes.images) == 2]
    assert all(np.all(np.asarray(overlay.get_alpha()) == 0) for overlay in overlays)


def test_a_faint_map_is_fainter_than_its_pair() -> None:
    figure = pair_figure(panel(torch.ones(8, 8)), panel(0.04 * torch.ones(8, 8)))
    strong, faint = (np.asarray(axes.images[1].get_alpha()).max() for axes in figure.axes if len(axes.images) == 2)
    assert faint == pytest.approx(0.08 * strong)


def test_a_region_is_outlined_on_image_and_overlay() -> None:
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[2:5, 2:5] = True
    flat = torch.zeros(8, 8)
    drawn = pair_figure(panel(flat, region), panel(flat))
    counts = [len(axes.collections) for axes in drawn.axes[:4]]
    assert counts[0] == counts[1] == 2  # a dark line under a light one
    assert counts[2] == counts[3] == 0


def test_panels_of_different_methods_are_told() -> None:
    with pytest.raises(ValueError, match=r"same methods, but got \['method'\] and \['other'\]"):
        pair_figure(panel(torch.ones(8, 8)), Panel("b", torch.ones(3, 8, 8), {"other": torch.ones(8, 8)}))


def test_a_figure_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give it one of the extensions"):
        save_figure(Figure(), tmp_path / "figure.xyz")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def interrupted() -> None:
        with write_atomically(target) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_pixel_maps_are_summed_magnitudes() -> None:
    attribution = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(heatmap(attribution, (6, 6), kind="gradient", smoothing=0.0), attribution.abs().sum(1))


def test_contributions_of_pixels_cancel_where_they_speak_for_and_against() -> None:
    attribution = torch.tensor([[[[2.0, 0.0, 0.0]], [[-1.0, 0.0, -4.0]]]])
    assert heatmap(attribution, (1, 3), kind="contribution", smoothing=0.0)[0, 0].tolist() == [1, 0, 0]
    checks = (torch.arange(50) % 2 * 2.0 - 1).expand(1, 1, 50, 50)
    assert float(heatmap(checks, (50, 50), kind="contribution").max()) < 0.05
    assert float(heatmap(checks, (50, 50), kind="gradient").min()) > 0.95


@pytest.mark.usefixtures("as_installed")
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


def test_positive_mass_by_hand() -> None:
    maps = torch.tensor([[[4.0, -9.0], [1.0, 0.0]], [[-1.0, -1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    regions = torch.tensor([[[True, True], [False, False]], [[True] * 2] * 2, [[False] * 2] * 2])
    masses = positive_mass(maps, regions)
    assert float(masses[0]) == pytest.approx(0.8)
    assert bool(masses[1].isnan())
    assert float(masses[2]) == 0
