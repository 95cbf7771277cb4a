"""Components in their colours: where colour is, what the legend says, and a pair that shares nothing."""

import numpy as np
import pytest
import torch
from matplotlib.colors import rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from captum_shared.attr import Components
from captum_shared.figures import components_figure

GREY = torch.full((3, 40, 60), 0.5)


def parts(maps: Tensor, reference_maps: Tensor, strengths: Tensor | None = None) -> Components:
    strengths = torch.zeros(len(maps), 2) if strengths is None else strengths
    pairs = torch.ones(len(maps), maps[0].numel(), reference_maps[0].numel()) if len(maps) else torch.zeros(0, 1, 1)
    return Components(pairs, maps, reference_maps, strengths, ("A", "B"), 0.0, 0.0)


def two() -> tuple[Tensor, Tensor]:
    """The first component on the left of the image and the right of the reference; the second the other way round."""
    maps = torch.zeros(2, 1, 4, 6)
    maps[0, :, :, :2], maps[1, :, :, 4:] = 0.0015, 0.0005
    return maps, maps.flip(3)


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def hue(colour: object) -> float:
    return float(rgb_to_hsv(colour)[0])


def test_a_component_has_one_colour_in_both_images_and_others_another() -> None:
    image, reference = pictures(components_figure((GREY, GREY), parts(*two())))
    corner, middle, far = (20, 3), (20, 30), (20, 56)
    assert np.ptp(image[middle]) == np.ptp(reference[middle]) == 0  # grey
    assert hue(image[corner]) == hue(reference[far]) != hue(image[far])
    assert hue(image[far]) == hue(reference[corner])
    assert abs(hue(image[corner]) - hue(to_rgb("#D55E00"))) < 0.03
    assert abs(hue(image[far]) - hue(to_rgb("#0072B2"))) < 0.03


def test_both_images_and_all_components_are_on_one_scale() -> None:
    maps, reference_maps = two()
    image, reference = pictures(components_figure((GREY, GREY), parts(maps, reference_maps / 4)))
    saturation = [np.ptp(picture[20, column]) for picture in (image, reference) for column in (3, 56)]
    vivid, faint, fainter, weak = saturation
    assert vivid > faint > fainter > 0
    assert vivid > weak > fainter


def test_the_legend_tells_shares_and_neurons() -> None:
    strengths = torch.tensor([[1.0, 3.0], [0.3, 2.0]])
    figure = components_figure((GREY, GREY), parts(*two(), strengths), title="a pair")
    told = [text.get_text() for text in figure.texts]
    assert told == ["a pair", "shared 0.02 of 1, of which", "1:  75 %, drives B, A", "2:  25 %, drives B"]
    numbers = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert numbers == [["1", "2"], ["1", "2"]]
    without = components_figure((GREY, GREY), parts(*two()))
    assert [text.get_text() for text in without.texts][-1] == "2:  25 %"


def test_the_images_may_differ_in_size() -> None:
    maps, reference_maps = two()
    figure = components_figure((GREY, torch.full((3, 30, 20), 0.5)), parts(maps, reference_maps[..., :5]))
    assert [picture.shape for picture in pictures(figure)] == [(40, 60, 3), (30, 20, 3)]
    heights = [axes.get_position().height for axes in figure.axes]
    assert heights[0] == heights[1]


@pytest.mark.parametrize("maps", [torch.zeros(0, 1, 4, 6), torch.full((1, 1, 4, 6), 0.0009 / 24)])
def test_a_pair_that_shares_nothing_is_left_grey_and_told(maps: Tensor) -> None:
    figure = components_figure((GREY, GREY), parts(maps, maps))
    assert [text.get_text() for text in figure.texts][-1] == "nothing shared"
    assert all(np.ptp(picture, axis=2).max() == 0 for picture in pictures(figure))
    assert all(not axes.texts and not axes.collections for axes in figure.axes)


def test_maps_of_the_pixels_are_shared_out_and_regions_outlined() -> None:
    pixels = torch.zeros(1, 1, 40, 60)
    pixels[..., 10:30, :] = 0.016 / 1200
    region = torch.zeros(40, 60, dtype=torch.bool)
    region[5:20, 5:20] = True
    figure = components_figure((GREY, GREY), parts(*two()), maps=(pixels, pixels), regions=(region, ~region))
    image, _ = pictures(figure)
    assert np.ptp(image[5, 3]) == 0 < np.ptp(image[20, 3])
    with_region, without = (len(axes.collections) for axes in figure.axes)
    assert with_region == without == 4
