"""The fast search against its definition, in float64 and in its slowest form."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import seeded

from captum_shared import LinearReadout, NeuronSimilarity, ReferenceBank


class Sliced:
    """An array that is read only in contiguous ranges, of which each is recorded."""

    def __init__(self, array: np.ndarray, chunk: int | None = None) -> None:
        self._array, self.read = array, list[tuple[int, int]]()
        self.shape, self.dtype = array.shape, array.dtype
        self.chunks = None if chunk is None else (chunk, array.shape[1])

    def __getitem__(self, rows: slice) -> np.ndarray:
        assert isinstance(rows, slice)
        assert rows.step is None
        if rows != slice(None, 0):
            self.read.append((rows.start, rows.stop))
        return self._array[rows]


def by_definition(weight: np.ndarray, mean: np.ndarray, images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Cosines (image, neuron, reference) of w (f(x) - m) and w (f(r) - m), zero where a norm is, in float64."""
    cosines = np.zeros((len(images), len(weight), len(references)))
    for k, w in enumerate(weight.astype(np.float64)):
        w = w / (np.abs(w).max() or 1)
        for i, x in enumerate(images.astype(np.float64) - mean):
            for j, r in enumerate(references.astype(np.float64) - mean):
                one, other = w * (x / (np.abs(x).max() or 1)), w * (r / (np.abs(r).max() or 1))
                norms = np.linalg.norm(one) * np.linalg.norm(other)
                cosines[i, k, j] = one @ other / norms if norms > 0 else 0.0
    return cosines


def drivers_by_definition(responses: np.ndarray, n_drivers: int) -> list[int]:
    """The strongest first, of equal ones the first in the bank."""
    return sorted(range(len(responses)), key=lambda j: (-responses[j], j))[:n_drivers]


def ranked_by_definition(cosines: np.ndarray, responses: np.ndarray, n_drivers: int, top_k: int) -> np.ndarray:
    """Indices (image, neuron, top_k) of the best drivers, of equally similar ones the strongest first."""
    chosen = np.empty((*cosines.shape[:2], top_k), dtype=np.int64)
    for i, k in np.ndindex(*cosines.shape[:2]):
        drivers = drivers_by_definition(responses[:, k], n_drivers)
        chosen[i, k] = sorted(drivers, key=lambda j: -round(cosines[i, k, j], 13))[:top_k]
    return chosen


def bank_of(features: object, weight: Tensor, mean: Tensor, **options: object) -> ReferenceBank:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(weight, feature_mean=mean))
    return ReferenceBank.from_features(similarity, features, **options)


@pytest.mark.parametrize("numbers", [1, 40, 2**23])
@pytest.mark.parametrize("chunk", [None, 4, 10**6])
@pytest.mark.parametrize("recorded", [False, True])
def test_features_that_are_read_as_they_are_sliced_are_searched_like_a_tensor(
    monkeypatch: pytest.MonkeyPatch, numbers: int, chunk: int | None, recorded: bool
) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", numbers)
    features, weight, mean, images = seeded(0, 30, 6), seeded(1, 3, 6), seeded(2, 6), seeded(3, 4, 6)
    options = {"driver_fraction": 0.5, "responses": seeded(4, 30, 3) if recorded else None}
    array = Sliced(features.numpy(), chunk)
    bank, expected = bank_of(array, weight, mean, **options), bank_of(features, weight, mean, **options)
    torch.testing.assert_close(bank.responses, expected.responses)
    assert recorded == (array.read == [])  # nothing is predicted
    array.read.clear()
    match, other = bank.search_all(images, top_k=3), expected.search_all(images, top_k=3)
    assert torch.equal(match.indices, other.indices)
    torch.testing.assert_close(match.similarities, other.similarities)
    starts, ends = zip(*array.read, strict=True)  # once, in order
    assert starts == (0, *ends[:-1])
    assert ends[-1] >= 30
    assert max(end - start for start, end in array.read) <= max(1, numbers // 6, 4 if numbers > 4 * 6 else 1)
    assert chunk != 4 or numbers < 24 or all(start % 4 == 0 for start in starts)
