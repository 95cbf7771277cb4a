from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from captum_shared._files import write_atomically
from captum_shared.evaluation.scores.recovery import positive_mass
from captum_shared.figures import Candidate, Panel, pair_figure, save_figure
from captum_shared.figures.overlay import ABSOLUTE_TOP


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


def test_maps_that_share_of_one_are_on_the_same_scale_in_every_figure() -> None:
    faint, strong = torch.full((8, 8), 0.01 / 64), torch.full((8, 8), 0.9 / 64)
    for heat in (faint, strong):
        figure = pair_figure(panel(heat), panel(heat), shared={"method": float(heat.sum())})
        overlays = [axes.images[1] for axes in figure.axes if len(axes.images) == 2]
        assert {overlay.norm.vmax for overlay in overlays} == {ABSOLUTE_TOP}
        for overlay in overlays:  # of 64 pixels each 1.5625 % of the image
            np.testing.assert_allclose(overlay.get_array(), float(heat[0, 0]) / 1.5625, rtol=1e-5)
        assert figure.axes[1].get_title() == f"method\nshared {float(heat.sum()):.2f} of 1"


def test_a_map_of_zeros_says_that_nothing_is_shared_and_has_no_scale() -> None:
    zeros, something = panel(torch.zeros(8, 8)), panel(torch.rand(8, 8))
    nothing = pair_figure(zeros, zeros, shared={"method": 0.0})
    assert nothing.axes[1].get_title() == "method\nnothing shared"
    assert len(nothing.axes) == 4
    assert len(pair_figure(something, zeros).axes) == 5


def test_references_stand_beneath_with_their_similarities() -> None:
    heat = torch.rand(8, 8)
    candidates = [Candidate(f"reference {k}", torch.rand(3, 8, 8), 0.9 - 0.05 * k, chosen=k == 1) for k in range(12)]
    figure = pair_figure(panel(heat), panel(heat), candidates=candidates)
    written = [axes.get_title() for axes in figure.axes]
    assert [text for text in written if text.startswith("reference")] == [
        f"reference {k}\n{0.9 - 0.05 * k:.2f}" for k in range(10)
    ]
    framed = [axes for axes in figure.axes if axes.get_title().startswith("reference") and axes.axison]
    assert [axes.get_title() for axes in framed] == ["reference 1\n0.85"]
    assert any("2 less similar ones are not shown" in text.get_text() for text in figure.findobj(Text))


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
