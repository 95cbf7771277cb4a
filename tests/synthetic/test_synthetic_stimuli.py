import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from captum_shared.synthetic.stimuli import (
    CATEGORIES,
    MINIMUM_VISIBLE_AREA,
    PARTS,
    Placement,
    Stimulus,
    compose,
    draw_stimuli,
    draw_stimulus,
    visible_area,
)


def polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


def masks_of(*placements: Placement, size: int = 112) -> dict[str, torch.Tensor]:
    return compose(placements, np.random.default_rng(0), size=size)[1]


def middle_of(part: str, *, scale: float = 0.7) -> Placement:
    """A placement whose outline is centred in the image."""
    low, high = PARTS[part].outline.min(axis=0), PARTS[part].outline.max(axis=0)
    x, y = 0.5 - scale * (low + high) / 2
    return Placement(part, float(x), float(y), scale)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CATEGORIES), st.integers(0, 2**32), st.integers(96, 128))
def test_every_stimulus_is_an_image_with_disjoint_masks_of_known_parts(category, seed, size):
    stimulus = draw_stimulus(category, np.random.default_rng(seed), size=size)
    assert stimulus.category == category
    assert stimulus.image.shape == (3, size, size)
    assert stimulus.image.dtype == torch.float32
    assert stimulus.image.min() >= 0
    assert stimulus.image.max() <= 1
    assert stimulus.image.std() > 0.02
    assert set(stimulus.masks) <= set(PARTS)
    assert sum(mask.int() for mask in stimulus.masks.values()).max() <= 1 if stimulus.masks else True
    assert all(visible_area(stimulus, part) >= MINIMUM_VISIBLE_AREA for part in stimulus.masks)


def test_same_seed_same_images_whatever_the_number():
    few, many = draw_stimuli("artefact", 3, seed=4), draw_stimuli("artefact", 6, seed=4)
    for one, other in zip(few, many, strict=False):
        assert torch.equal(one.image, other.image)
        assert one.masks.keys() == other.masks.keys()
        assert all(torch.equal(one.masks[part], other.masks[part]) for part in one.masks)


def test_seeds_and_categories_and_positions_in_the_row_give_different_images():
    drawn = [*draw_stimuli("artefact", 2, seed=4), *draw_stimuli("artefact", 1, seed=5)]
    drawn += draw_stimuli("creature", 1, seed=4)
    assert len({stimulus.image.numpy().tobytes() for stimulus in drawn}) == 4


def test_drawing_leaves_the_global_generators_alone():
    before, torch_before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    draw_stimuli("creature", 1, seed=0)
    assert (np.random.get_state()[1] == before).all()
    assert torch.equal(torch.random.get_rng_state(), torch_before)


@pytest.mark.parametrize("part", PARTS)
def test_the_mask_of_a_part_alone_has_the_area_of_its_polygon(part):
    shape, scale = PARTS[part], 0.7
    expected = scale**2 * (polygon_area(shape.outline) - sum(polygon_area(hole) for hole in shape.holes))
    masks = masks_of(middle_of(part, scale=scale), size=128)
    assert list(masks) == [part]
    edge = scale * np.linalg.norm(shape.outline - np.roll(shape.outline, 1, axis=0), axis=1).sum()
    half_a_pixel = edge / (2 * 128)
    assert float(masks[part].double().mean()) == pytest.approx(expected, abs=half_a_pixel)


@pytest.mark.parametrize("part", PARTS)
def test_mirroring_and_half_turns_flip_the_mask(part):
    low, high = PARTS[part].outline.min(axis=0), PARTS[part].outline.max(axis=0)
    scale, x, y = 0.4, 0.5, 0.5
    assert max(abs(low).max(), abs(high).max()) * scale < 0.5
    plain = masks_of(Placement(part, x, y, scale))[part]
    mirrored = masks_of(Placement(part, x, y, scale, mirrored=True))[part]
    turned = masks_of(Placement(part, x, y, scale, rotation=180.0))[part]
    assert overlap(mirrored, plain.flip(1)) > 0.85
    assert overlap(turned, plain.flip(0, 1)) > 0.85


def test_rotation_is_clockwise_on_the_screen():
    blade = masks_of(Placement("blade", 0.5, 0.5, 0.4, rotation=90.0))["blade"]  # points up, so now to the right
    rows, columns = np.nonzero(blade.numpy())
    assert columns.min() >= 54
    assert abs(rows.mean() - 56) < 4


def test_what_is_in_front_hides_what_is_behind():
    box, dome = Placement("box", 0.5, 0.5, 0.6), Placement("dome", 0.5, 0.55, 0.3)
    assert set(masks_of(dome, box)) == {"box"}
    both = masks_of(box, dome)
    alone = masks_of(box)["box"]
    assert set(both) == {"box", "dome"}
    assert overlap(both["box"], alone & ~both["dome"]) > 0.97


def test_one_sees_through_the_holes_of_a_wheel():
    wheel = masks_of(Placement("wheel", 0.5, 0.5, 0.7))["wheel"]
    behind = masks_of(Placement("box", 0.5, 0.5, 0.9), Placement("wheel", 0.5, 0.5, 0.7))
    hub, hole = (
        (56, 56),
        (round(112 * (0.5 + 0.7 * 0.27 * np.sin(0.63))), round(112 * (0.5 + 0.7 * 0.27 * np.cos(0.63)))),
    )
    assert wheel[hub]
    assert not wheel[hole]
    assert behind["box"][hole]


def test_instances_of_one_part_share_a_mask():
    left, right = Placement("wheel", 0.25, 0.5, 0.3), Placement("wheel", 0.75, 0.5, 0.3)
    both = masks_of(left, right)["wheel"]
    assert torch.equal(both, masks_of(left)["wheel"] | masks_of(right)["wheel"])


@pytest.mark.parametrize("placement", [Placement("box", 0.5, 0.5, 0.05), Placement("box", 3.0, 0.5, 0.5)])
def test_a_part_too_small_or_outside_has_no_mask(placement):
    assert masks_of(placement) == {}


def test_nothing_placed_is_a_background():
    image, masks = compose([], np.random.default_rng(0))
    assert masks == {}
    assert image.std() > 0


def test_visible_area_counts_the_pixels_of_the_mask():
    mask = torch.zeros(100, 100, dtype=torch.bool)
    mask[:10, :25] = True
    stimulus = Stimulus(torch.zeros(3, 100, 100), {"tail": mask}, "creature")
    assert visible_area(stimulus, "tail") == 0.025
    assert visible_area(stimulus, "wing") == 0.0


@pytest.fixture(scope="module")
def many() -> dict[str, list[Stimulus]]:
    return {category: draw_stimuli(category, 150, seed=21) for category in CATEGORIES}


def test_artefacts_share_every_part_of_creatures_and_have_their_own(many):
    shown = {c: {part for stimulus in many[c] for part in stimulus.masks} for c in CATEGORIES}
    assert shown["artefact"] == set(PARTS)
    assert shown["creature"] == {"head", "torso", "limb", "tail", "wing", "horn", "dome"}


def test_every_stimulus_shows_a_part(many):
    assert all(stimulus.masks for category in CATEGORIES for stimulus in many[category])


def test_colour_does_not_tell_the_category(many):
    def colours(stimulus: Stimulus) -> np.ndarray:
        figure = torch.stack(list(stimulus.masks.values())).any(dim=0)
        parts = stimulus.image[:, figure], stimulus.image[:, ~figure]
        return torch.cat([f(part, dim=1) for part in parts for f in (torch.mean, torch.std)]).double().numpy()

    described = np.array([colours(stimulus) for category in CATEGORIES for stimulus in many[category]])
    described = (described - described.mean(axis=0)) / described.std(axis=0)
    accuracy = cross_val_score(LogisticRegression(C=0.1), described, np.repeat([0, 1], 150), cv=5).mean()
    assert accuracy < 0.62


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: draw_stimuli("body", 1, seed=0), "got 'body'"),
        (lambda: draw_stimulus("body", np.random.default_rng(0)), "got 'body'"),
        (lambda: draw_stimuli("creature", 0, seed=0), "at least 1, got 0"),
        (lambda: draw_stimuli("creature", 1, seed=-1), "at least 0, got -1"),
        (lambda: draw_stimuli("creature", 1, seed=0, size=95), "96 to 128 pixels, got 95"),
        (lambda: compose([], np.random.default_rng(0), size=129), "96 to 128 pixels, got 129"),
        (lambda: Placement("nose", 0.5, 0.5, 0.5), "got 'nose'"),
        (lambda: Placement("box", 0.5, 0.5, 0.0), "got 0.0"),
        (lambda: Placement("box", 0.5, 0.5, 50.0), "divide pixels"),
        (lambda: visible_area(draw_stimuli("creature", 1, seed=0)[0], "nose"), "got 'nose'"),
    ],
)
def test_errors_say_what_came(call, told):
    with pytest.raises(ValueError, match="(?s)" + told):
        call()
