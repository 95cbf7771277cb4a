from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from captum_shared._files import write_atomically
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


def test_positive_mass_by_hand() -> None:
    maps = torch.tensor([[[4.0, -9.0], [1.0, 0.0]], [[-1.0, -1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    regions = torch.tensor([[[True, True], [False, False]], [[True] * 2] * 2, [[False] * 2] * 2])
    masses = positive_mass(maps, regions)
    assert float(masses[0]) == pytest.approx(0.8)
    assert bool(masses[1].isnan())
    assert float(masses[2]) == 0
