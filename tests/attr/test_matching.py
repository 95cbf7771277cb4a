"""The counterpart of a point: rows of the correspondence, planted patches, and what is refused."""

import pytest
import torch
from test_components import planted
from test_correspondence import toy
from toys import pair

from captum_shared import SharedCorrespondence
from captum_shared.attr import counterpart


def test_a_patch_is_found_on_the_other_side() -> None:
    similarity, inputs = planted()
    found = counterpart(similarity, inputs, 0, point=(2.5, 2.5)).map[0, 0]
    assert found[2, 6] == found.max() > 0
    assert found[4:].sum() < 0.05 * found.sum()


def test_points_of_all_positions_sum_to_the_map_of_the_reference() -> None:
    similarity, (images, references) = toy(), pair(n=1)
    inputs = images, references[..., :8]
    method = SharedCorrespondence(similarity)
    image_map, reference_map = method.attribute(inputs, 2)
    rows, columns = image_map.shape[2:]
    centres = [((x + 0.5) * 10 / columns, (y + 0.5) * 10 / rows) for y in range(rows) for x in range(columns)]
    found = [counterpart(similarity, inputs, 2, point=point) for point in centres]
    torch.testing.assert_close(torch.cat([each.map for each in found]).sum(0), reference_map[0])
    strengths = torch.tensor([each.strength for each in found]).to(image_map)
    torch.testing.assert_close(strengths, image_map.flatten() / image_map.max())


def test_a_point_that_does_not_drive_is_not_found() -> None:
    similarity, (image, reference) = planted()
    found = counterpart(similarity, (image, torch.zeros_like(reference)), 0, point=(2.0, 2.0))
    assert (found.strength, float(found.map.sum())) == (0, 0)
    assert counterpart(similarity, (image, reference), 0, point=(8.0, 0.0)).strength == 0


@pytest.mark.parametrize("point", [(-1.0, 2.0), (9.0, 0.0), (0.0, 9.5)])
def test_a_point_outside_is_refused(point: tuple[float, float]) -> None:
    similarity, inputs = planted()
    with pytest.raises(ValueError, match=r"lies outside of the image, which is 9 x 9 pixels"):
        counterpart(similarity, inputs, 0, point=point)


def test_several_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected one pair.*got 2 pairs"):
        counterpart(toy(), pair(n=2), 0, point=(1.0, 1.0))
