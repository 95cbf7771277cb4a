"""How features of places scatter within images, against loops over images and places."""

import pytest
import torch
from torch import Tensor, nn
from toys import seeded

from captum_shared import LatentFeatures
from captum_shared.encoders.windows import LocalScatter, local_features, local_scatter


def slow_scatter(activations: list[Tensor], step: tuple[int, int] = (1, 1)) -> Tensor:
    """S of activations (feature, row, column), one place at a time."""
    total, count = torch.zeros(len(activations[0]), len(activations[0])).double(), 0
    for activation in activations:
        whole = activation.double().mean((1, 2))
        places = local_features(activation[None].double(), torch.zeros(len(activation)).double())[0]
        rows, columns = activation.shape[1:]
        for row in range(0, rows, step[0]):
            for column in range(0, columns, step[1]):
                apart = places[row * columns + column] - whole
                total += torch.outer(apart, apart)
                count += 1
    return total / count


def test_it_equals_plain_loops_whatever_the_batches() -> None:
    activations = seeded(1, 5, 3, 9, 4)
    expected = slow_scatter(list(activations))
    for sizes in ([5], [1, 1, 1, 1, 1], [2, 3], [0, 5]):
        gathered = LocalScatter()
        for batch in torch.split(activations, sizes):
            gathered.add(batch)
        torch.testing.assert_close(gathered.mean, expected)


@pytest.mark.parametrize(("size", "step"), [((10, 9), (2, 1)), ((27, 13), (3, 2)), ((2, 19), (1, 3))])
def test_of_many_rows_or_columns_every_so_many_counts(size: tuple[int, int], step: tuple[int, int]) -> None:
    activations = seeded(2, 2, 3, *size)
    gathered = LocalScatter()
    gathered.add(activations)
    torch.testing.assert_close(gathered.mean, slow_scatter(list(activations), step))


def test_images_of_other_sizes_join() -> None:
    first, second = seeded(3, 1, 3, 4, 4), seeded(4, 1, 3, 6, 2)
    gathered = LocalScatter()
    gathered.add(first)
    gathered.add(second)
    torch.testing.assert_close(gathered.mean, slow_scatter([first[0], second[0]]))


def test_what_differs_between_images_alone_is_no_scatter() -> None:
    gathered = LocalScatter()
    gathered.add(seeded(5, 4, 3, 1, 1).expand(4, 3, 6, 6))
    torch.testing.assert_close(gathered.mean, torch.zeros(3, 3).double())


def test_an_encoder_gathers_what_it_sees_meanwhile() -> None:
    features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1")
    images = seeded(6, 5, 3, 8, 8, dtype=torch.float32)
    features(images)
    with local_scatter(features) as scatter, torch.no_grad():
        latent = torch.cat([features(batch) for batch in torch.split(images, 2)])
        activations = list(features.network(images))
    torch.testing.assert_close(scatter.mean, slow_scatter(activations), rtol=1e-5, atol=1e-8)
    features(images)
    torch.testing.assert_close(scatter.mean, slow_scatter(activations), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(latent, torch.stack(activations).mean((2, 3)))


def test_an_encoder_forgets_its_hook_after_an_exception() -> None:
    features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3)), "0")
    with pytest.raises(KeyboardInterrupt), local_scatter(features):
        raise KeyboardInterrupt
    assert not features.cut._forward_hooks


def test_without_positions_there_is_none() -> None:
    features = LatentFeatures(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), "1")
    with local_scatter(features) as scatter:
        features(torch.rand(3, 3, 2, 2))
    assert scatter.mean is None
