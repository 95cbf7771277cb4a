"""The counterpart of a point: its mark, its map, and a point that is not found."""

import numpy as np
import torch

from captum_shared.attr import Counterpart
from captum_shared.figures import counterpart_figure

GREY = torch.full((3, 40, 40), 0.5)
MAP = torch.tensor([[[[0.0, 0.2], [0.0, 0.0]]]])


def test_the_point_is_marked_and_its_counterpart_coloured() -> None:
    left, right = counterpart_figure((GREY, GREY), Counterpart(MAP, 1.0), (12.0, 30.0), titles=("a", "b")).axes
    assert all(line.get_xydata().tolist() == [[12, 30]] for line in left.lines)
    assert (left.get_title(), right.get_title()) == ("a\n12,30", "b\nfound 100 % as well as the best point")
    heat = right.images[1]
    assert np.unravel_index(np.argmax(heat.get_array()), (40, 40))[1] >= 30
    assert heat.norm.vmax == np.max(heat.get_array())


def test_a_point_that_is_found_less_well_is_paler() -> None:
    heat = counterpart_figure((GREY, GREY), Counterpart(MAP, 0.25), (12.0, 30.0)).axes[1].images[1]
    assert np.isclose(heat.norm.vmax, 4 * np.max(heat.get_array()))


def test_a_point_that_is_not_found_leaves_the_reference_grey() -> None:
    right = counterpart_figure((GREY, GREY), Counterpart(0 * MAP, 0.0), (12.0, 30.0)).axes[1]
    assert right.get_title() == "reference\nnot found"
    assert np.max(right.images[1].get_alpha()) == 0
