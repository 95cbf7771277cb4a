"""Deletion, insertion and infidelity of pairs: by hand on 4 x 4 maps, against slow loops and scipy."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from toys import Pair, pair, seeded, small_similarity

from captum_shared import LinearReadout, NeuronSimilarity, ParallelSharedAttribution, SharedProjection
from captum_shared.evaluation.scores.faithfulness import PairFaithfulness, blurred, unexplained_share


class OnePixel(nn.Module):
    """Features (pixel in row 1 and column 1, constant 1), so that nothing else of a 4 x 4 image matters."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack((images[:, 0, 1, 1], torch.ones_like(images[:, 0, 1, 1])), 1)


def pixels(n_neurons: int = 1, size: int = 4) -> NeuronSimilarity:
    """The features are the pixels of an image of one channel."""
    return NeuronSimilarity(nn.Flatten(), LinearReadout(seeded(99, n_neurons, size**2)))


def grey_pair(seed: int, n: int = 1, size: int = 4) -> Pair:
    return pair(seed, n, size, channels=1)


def maps_of(seed: int, n: int = 1, size: int = 4) -> Pair:
    return seeded(300 + seed, n, size, size), seeded(400 + seed, n, size, size)


def ranked(place: int) -> Tensor:
    """A 4 x 4 map in which the pixel in row 1 and column 1 has that place from the top."""
    values = torch.arange(16.0, 0, -1, dtype=torch.float64)
    values[[5, place]] = values[[place, 5]]
    return values.reshape(1, 4, 4)


def test_area_by_hand() -> None:
    image = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    image[..., 1, 1] = 1
    similarity = NeuronSimilarity(OnePixel(), LinearReadout.uniform(2).double())
    blank = float(blurred(image)[..., 1, 1])
    lost = (
        1 - (blank + 1) / ((blank**2 + 1) * 2) ** 0.5
    )  # of the cosine of (1, 1) with itself, once the pixel is blurred
    faithfulness = PairFaithfulness(similarity, (image, image), steps=4)
    random = faithfulness.random_areas[0]
    # four pixels at a step: it is lost from the first, second, third step or at the end, in either image
    possible = torch.tensor([1 - lost * (first + second) / 16 for first in (7, 5, 3, 1) for second in (7, 5, 3, 1)])
    assert bool((random[:, None] - possible).abs().amin(1).max() < 1e-6)
    mean, lowest, highest = random.mean(), random.min(), random.max()
    for places, eighths in (((0, 3), (7, 7)), ((4, 12), (5, 1)), ((15, 8), (1, 3))):
        area = 1 - lost * sum(eighths) / 16
        maps = ranked(places[0]), ranked(places[1])
        torch.testing.assert_close(faithfulness.deletion(maps), ((mean - area) / (mean - lowest))[None])
        torch.testing.assert_close(
            faithfulness.insertion((-maps[0], -maps[1])), ((area - mean) / (highest - mean))[None]
        )


def slow_area(similarity: NeuronSimilarity, inputs: Pair, maps: Pair, *, target: int, steps: int) -> float:
    """The definition, pixel by pixel, for one pair of maps without ties."""
    curve = []
    for step in range(steps + 1):
        changed = [image.clone() for image in inputs]
        for image, shown in zip(changed, maps, strict=True):
            blank, values = blurred(image), shown.flatten().tolist()
            for place, value in enumerate(values):
                above = sum(other > value for other in values)
                if above / len(values) < step / steps:
                    row, column = divmod(place, image.shape[-1])
                    image[0, :, row, column] = blank[0, :, row, column]
        both = similarity(changed[0], inputs[1]) + similarity(inputs[0], changed[1])
        curve.append(float(both[0, target]) / 2)
    return sum((before + after) / 2 / steps for before, after in itertools.pairwise(curve))


@pytest.mark.parametrize("steps", [2, 5, 16])
def test_scores_equal_the_definition_pixel_by_pixel(steps: int) -> None:
    similarity, inputs, maps = pixels(n_neurons=3), grey_pair(0), maps_of(0)
    faithfulness = PairFaithfulness(similarity, inputs, 2, steps=steps)
    random = faithfulness.random_areas[0].tolist()
    assert len(random) == 20
    mean = sum(random) / 20
    deleted = slow_area(similarity, inputs, maps, target=2, steps=steps)
    kept = slow_area(similarity, inputs, (-maps[0], -maps[1]), target=2, steps=steps)
    assert float(faithfulness.deletion(maps)) == pytest.approx((mean - deleted) / (mean - min(random)))
    assert float(faithfulness.insertion(maps)) == pytest.approx((kept - mean) / (max(random) - mean))


def test_what_the_similarity_rests_on_is_rewarded_and_the_opposite_punished() -> None:
    images, references = pair(0, n=4, size=16)
    for part in (images, references):
        part[..., 4:10, 4:10] += 3 * seeded(5, 4, 3, 6, 6)
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(3 * 16 * 16).double())
    answer = torch.zeros(4, 16, 16, dtype=torch.float64)
    answer[:, 4:10, 4:10] = 1
    faithfulness = PairFaithfulness(similarity, (images, references))
    assert bool((faithfulness.deletion((answer, answer)) > 1).all())
    assert bool((faithfulness.insertion((answer, answer)) > 1).all())
    assert bool((faithfulness.deletion((-answer, -answer)) < 0).all())
    assert bool((faithfulness.insertion((-answer, -answer)) < 0).all())


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_maps_that_show_nothing_score_as_random_ones(value: float) -> None:
    inputs, nothing = grey_pair(1, n=8), torch.full((8, 4, 4), value, dtype=torch.float64)
    scores = torch.stack(
        [
            torch.stack((faithfulness.deletion((nothing, nothing)), faithfulness.insertion((nothing, nothing))))
            for faithfulness in (PairFaithfulness(pixels(), inputs, steps=4, seed=seed) for seed in range(20))
        ]
    )
    error = scores.mean(2).std(0) / 20**0.5
    assert bool((scores.mean((0, 2)).abs() < 4 * error).all())
    assert bool((error < 0.15).all())


def test_a_neuron_that_sees_nothing_leaves_the_scores_open_for_all_maps() -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(torch.zeros(1, 16, dtype=torch.float64)))
    faithfulness = PairFaithfulness(similarity, grey_pair(0), steps=2)
    for maps in (maps_of(0), (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))):
        assert bool(faithfulness.deletion(maps).isnan())
        assert bool(faithfulness.insertion(maps).isnan())


def test_batching_changes_nothing_and_a_seed_repeats() -> None:
    similarity, target = pixels(n_neurons=3), torch.tensor([2, 0, 1])
    inputs, maps = grey_pair(2, n=3), maps_of(2, n=3)
    together = PairFaithfulness(similarity, inputs, target, steps=4)
    for one in range(3):
        at = slice(one, one + 1)
        alone = PairFaithfulness(similarity, (inputs[0][at], inputs[1][at]), int(target[one]), steps=4)
        own = maps[0][at], maps[1][at]
        torch.testing.assert_close(alone.deletion(own), together.deletion(maps)[at])
        torch.testing.assert_close(alone.insertion(own), together.insertion(maps)[at])
    again = PairFaithfulness(similarity, inputs, target, steps=4).random_areas
    other = PairFaithfulness(similarity, inputs, target, steps=4, seed=1).random_areas
    assert torch.equal(again, together.random_areas)
    assert not torch.equal(other, together.random_areas)


def test_a_monotone_transform_of_the_maps_changes_nothing() -> None:
    maps = maps_of(4, n=2)
    faithfulness = PairFaithfulness(pixels(), grey_pair(4, n=2), steps=5)
    transformed = maps[0].exp(), maps[1].exp()
    assert torch.equal(faithfulness.deletion(transformed), faithfulness.deletion(maps))
    assert torch.equal(faithfulness.insertion(transformed), faithfulness.insertion(maps))


def test_images_and_references_may_differ_in_size_and_nothing_of_the_callers_changes() -> None:
    similarity = small_similarity().train()
    modes = [module.training for module in similarity.modules()]
    inputs = pair(0, size=12)[0], pair(1, size=10)[1]
    before, state = [x.clone() for x in inputs], torch.random.get_rng_state()
    scores = PairFaithfulness(similarity, inputs, 1, steps=3).deletion((seeded(0, 2, 12, 12), seeded(1, 2, 10, 10)))
    assert bool(scores.isfinite().all())
    assert not scores.requires_grad
    assert torch.equal(inputs[0], before[0])
    assert torch.equal(inputs[1], before[1])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [module.training for module in similarity.modules()] == modes


def test_wrong_arguments_are_refused(as_installed: None) -> None:
    with pytest.raises(ValueError, match="at least 2 steps"):
        PairFaithfulness(pixels(), grey_pair(0), steps=1)
    with pytest.raises(ValueError, match="one reference for each image"):
        PairFaithfulness(pixels(), (grey_pair(0)[0], grey_pair(0, n=2)[1]))
    faithfulness = PairFaithfulness(pixels(), grey_pair(0), steps=2)
    with pytest.raises(ValueError, match="Expected maps of the inputs' shape"):
        faithfulness.deletion((torch.zeros(1, 2, 2), torch.zeros(1, 4, 4)))
    with pytest.raises(ValueError, match="Expected finite maps"):
        faithfulness.insertion((torch.zeros(1, 4, 4), torch.full((1, 4, 4), torch.inf)))


def test_the_blur_equals_scipy() -> None:
    images = seeded(0, 2, 3, 30, 20)
    expected = gaussian_filter(images.numpy(), sigma=(0, 0, 3, 3), mode="mirror", truncate=3.0)
    torch.testing.assert_close(blurred(images), torch.from_numpy(expected), rtol=0, atol=1e-6)


def gradient_maps(similarity: NeuronSimilarity, inputs: Pair, target: int) -> Pair:
    return ParallelSharedAttribution(similarity).attribute(inputs, target)


def test_exact_attributions_of_a_linear_encoder_explain_everything_and_none_nothing() -> None:
    similarity, inputs = pixels(n_neurons=2), grey_pair(0, n=3)
    maps = gradient_maps(similarity, inputs, 1)
    nothing = torch.zeros_like(maps[0]), torch.zeros_like(maps[1])
    assert float(unexplained_share(similarity, inputs, attributions=maps, target=1).max()) < 1e-9
    assert unexplained_share(similarity, inputs, attributions=nothing, target=1).tolist() == [1.0] * 3


def test_attributions_with_the_inputs_as_a_factor_are_judged_as_such() -> None:
    similarity, inputs = pixels(), grey_pair(1, n=3)
    gradients = gradient_maps(similarity, inputs, 0)
    maps = gradients[0] * inputs[0], gradients[1] * inputs[1]
    assert float(unexplained_share(similarity, inputs, attributions=maps, multiplies_by_inputs=True).max()) < 1e-9
    assert float(unexplained_share(similarity, inputs, attributions=maps).min()) > 0.1


def test_the_unexplained_share_is_that_of_a_regression_of_the_change_on_what_the_maps_predict() -> None:
    similarity, inputs = small_similarity(), pair(0, n=1)
    exact = gradient_maps(similarity, inputs, 2)
    maps = exact[0] + exact[0].std() * seeded(1, *inputs[0].shape), exact[1]
    projection, weights = SharedProjection(similarity), similarity.shared_weights(*inputs, 2)
    whole, generator = projection(*inputs, weights), torch.Generator().manual_seed(7)
    predicted, changed = [], []
    for _ in range(50):
        noise = [0.1 * x.std() * torch.randn(3, 10, 10, generator=generator).double() for x in inputs]
        predicted.append(sum(float((m * n).sum()) for m, n in zip(maps, noise, strict=True)))
        changed.append(float((projection(inputs[0] + noise[0], inputs[1] + noise[1], weights) - whole).detach()))
    beta = np.dot(predicted, changed) / np.dot(predicted, predicted)
    expected = np.square(beta * np.array(predicted) - changed).sum() / np.square(changed).sum()
    found = unexplained_share(similarity, inputs, attributions=maps, target=2, seed=7)
    assert 0.05 < expected < 0.95
    assert float(found) == pytest.approx(expected)


def test_the_unit_of_attributions_and_the_batch_do_not_matter() -> None:
    similarity, inputs = small_similarity(), pair(1, n=3)
    maps = gradient_maps(similarity, inputs, 0)
    together = unexplained_share(similarity, inputs, attributions=maps, target=0)
    scaled = unexplained_share(similarity, inputs, attributions=(-7 * maps[0], -7 * maps[1]), target=0)
    torch.testing.assert_close(scaled, together)
    for one in range(3):
        at = slice(one, one + 1)
        own = inputs[0][at], inputs[1][at]
        alone = unexplained_share(similarity, own, attributions=(maps[0][at], maps[1][at]), target=0)
        torch.testing.assert_close(alone, together[at])


def test_a_pair_that_shares_nothing_leaves_the_infidelity_open() -> None:
    inputs = torch.eye(2).double().reshape(2, 1, 1, 2).split(1)
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(2).double())
    assert bool(unexplained_share(similarity, (inputs[0], inputs[1]), attributions=(inputs[0], inputs[1])).isnan())


def test_maps_of_the_projection_explain_more_than_gradients_of_the_similarity() -> None:
    similarity, inputs = small_similarity(), pair(2, n=4)
    leaves = [x.clone().requires_grad_() for x in inputs]
    of_similarity = torch.autograd.grad(similarity(*leaves)[:, 0].sum(), leaves)
    ours = unexplained_share(similarity, inputs, attributions=gradient_maps(similarity, inputs, 0), target=0)
    theirs = unexplained_share(similarity, inputs, attributions=(of_similarity[0], of_similarity[1]), target=0)
    assert bool((ours < theirs).all())
