"""The ceiling of an observer who knows the labels, against places one by one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from toy_photographs import draw_photographs
from toys import small_net

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity
from captum_shared.encoders.photographs import load_inputs
from captum_shared.evaluation.tasks.design import Task
from captum_shared.evaluation.tasks.grid import grid_task
from captum_shared.evaluation.tasks.labels import label_ceiling
from captum_shared.evaluation.tasks.parts import parts_task
from captum_shared.images import image_folder, rgb_preprocess
from captum_shared.methods.registry import METHODS

SIDE = 12


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def similarity() -> NeuronSimilarity:
    features = LatentFeatures(small_net(), "features")
    features.preprocess = rgb_preprocess(SIDE)
    return NeuronSimilarity(features, LinearReadout(torch.ones(2, features.feature_shape[0])))


def places(activation: Tensor) -> dict[tuple[int, int], np.ndarray]:
    """The mean over a window of a third around every place of (feature, row, column)."""
    rows, columns = activation.shape[1:]
    above, beside = (int(side / 6) for side in (rows, columns))
    return {
        (row, column): activation[
            :, max(0, row - above) : row + above + 1, max(0, column - beside) : column + beside + 1
        ]
        .mean((1, 2))
        .numpy()
        for row, column in np.ndindex(rows, columns)
    }


def test_it_is_the_probability_of_the_same_category_place_by_place(
    photographs: Path, similarity: NeuronSimilarity
) -> None:
    paths, labels = image_folder(photographs)
    kept = [row for row, label in enumerate(labels) if label != "other"][::3]
    paths, labels = [paths[row] for row in kept], [labels[row] for row in kept]
    names = sorted(set(labels))
    drivers = [dict.fromkeys(names[:2], 9.0), dict.fromkeys(names[1:4], 9.0)]
    network = similarity.image_features.network
    with torch.no_grad():
        seen = [network(load_inputs(similarity.image_features, [path]))[0] for path in paths]
    step = -(-seen[0].shape[1] // 5)
    local = [[x for at, x in places(each).items() if at[0] % step == at[1] % step == 0] for each in seen]
    fitted = np.array([x for each in local for x in each], dtype=np.float64)
    mean, spread = fitted.mean(0), fitted.std(0)
    spread[spread == 0] = 1
    repeated = [label for label, each in zip(labels, local, strict=True) for _ in each]
    classifier = LogisticRegression(C=0.01, max_iter=300, tol=1e-3).fit((fitted - mean) / spread, repeated)
    inputs = torch.rand(2, 3, 24, 24).double(), torch.rand(2, 3, 24, 24).double()
    found = label_ceiling(paths, labels, drivers).attribute(similarity, inputs, torch.tensor([1, 0]))
    for i, neuron in enumerate((1, 0)):
        with torch.no_grad():
            sides = [places(network(images[i, None])[0]) for images in inputs]
        told = [
            {at: classifier.predict_proba((x[None] - mean) / spread)[0] for at, x in side.items()} for side in sides
        ]
        driving = [column for column, name in enumerate(classifier.classes_) if name in drivers[neuron]]
        for at, own in told[0].items():
            expected = sum(float(own[c] * other[c]) for other in told[1].values() for c in driving)
            assert float(found[0][i, 0][at]) == pytest.approx(expected, rel=1e-4)
        torch.testing.assert_close(found[0][i].sum(), found[1][i].sum())


def test_the_grid_brings_both_ceilings(photographs: Path, similarity: NeuronSimilarity) -> None:
    task = grid_task(photographs, similarity.image_features)
    assert [each.name for each in task.ceilings] == ["ceiling", "ceiling-labels"]
    trial = task.trial(0)
    first, second, _ = trial.images.double()[:, None]
    maps = task.ceilings[1].attribute(task.similarity, (first, second), torch.tensor([trial.neuron]))
    assert float(maps[0].min()) > 0
    torch.testing.assert_close(maps[0].sum(), maps[1].sum())


def contents_are_of_the_design(task: Task) -> None:
    for index in range(12):
        image, reference, control = task.trial(index).contents
        assert image[0] == reference[0]
        assert len({*image, *reference}) == 7
        assert control[1:] == reference[1:]
        assert image[0] not in control
        assert not set(image) & set(control)
        assert task.trial(index).neuron == 0


def test_a_grid_without_neurons_shares_one_category_of_the_half(
    photographs: Path, similarity: NeuronSimilarity
) -> None:
    task = grid_task(photographs, similarity.image_features, half="development", n_neurons=0)
    contents_are_of_the_design(task)
    assert {task.trial(index).contents[0][0] for index in range(40)} == set(task.settings["categories"])
    readout = task.similarity.readout
    assert torch.equal(readout.weight, torch.ones_like(readout.weight))
    assert readout.examples is None
    assert readout.scatter.shape == (readout.n_features, readout.n_features)
    assert [each.name for each in task.ceilings] == ["ceiling"]


def test_parts_without_neurons_share_one_part() -> None:
    task = parts_task(n_neurons=0, n_fitted=8)
    contents_are_of_the_design(task)
    trial = task.trial(0)
    first, second, _ = trial.images[:, None]
    maps = METHODS["recommended"].maps(task.similarity, (first, second), torch.tensor([0]))
    assert float(maps[0].sum()) > 0
    torch.testing.assert_close(maps[0].sum(), maps[1].sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("wrong", [-1, 0])
def test_numbers_of_neurons_that_cannot_be(photographs: Path, similarity: NeuronSimilarity, wrong: int) -> None:
    features = similarity.image_features
    encoders = [features] if wrong else [features, LatentFeatures(small_net(), "features.0")]
    with pytest.raises(ValueError, match=f"Expected neurons, or none and one encoder, got n_neurons={wrong}"):
        grid_task(photographs, encoders, n_neurons=wrong)
