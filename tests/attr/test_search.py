"""The fast search against its definition, in float64 and in its slowest form."""

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor, nn
from toys import seeded

from captum_shared import LinearReadout, NeuronSimilarity, ReferenceBank
from captum_shared.attr.ranking import close_columns


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


def check_against_the_definition(
    bank: ReferenceBank, images: Tensor, references: Tensor, *, top_k: int, n_drivers: int, within: float = 3e-14
) -> None:
    """Indices and similarities of all neurons are those of the definition, in float64."""
    readout = bank.similarity.readout
    cosines = by_definition(
        *(each.double().numpy() for each in (readout.weight, readout.feature_mean, images, references))
    )
    expected = ranked_by_definition(cosines, bank.responses.double().numpy(), n_drivers, top_k)
    match = bank.search_all(images, top_k=top_k)
    assert match.similarities.dtype is images.dtype
    assert np.array_equal(match.indices.numpy(), expected)
    values = np.take_along_axis(cosines, expected, 2)
    np.testing.assert_allclose(
        match.similarities.double().numpy(), values, atol=max(within, torch.finfo(images.dtype).eps)
    )
    for neuron in range(readout.n_neurons):
        one = bank.search(images, target=neuron, top_k=top_k)
        assert torch.equal(one.indices, match.indices[:, neuron])
        torch.testing.assert_close(one.similarities, match.similarities[:, neuron], atol=1e-13, rtol=0)


@pytest.mark.parametrize("numbers", [8 * 37, 2**23])
@pytest.mark.parametrize("fraction", [0.1, 0.6, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_search_is_that_of_the_definition(
    monkeypatch: pytest.MonkeyPatch, numbers: int, fraction: float, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", numbers)
    monkeypatch.setattr("captum_shared.attr.ranking._AT_ONCE", 4 * numbers)
    references, images = seeded(0, 90, 8).to(dtype), seeded(1, 5, 8).to(dtype)
    bank = bank_of(references, seeded(2, 4, 8), seeded(3, 8), responses=seeded(4, 90, 4), driver_fraction=fraction)
    for top_k in (1, 3, round(90 * fraction)):
        check_against_the_definition(bank, images, references, top_k=top_k, n_drivers=round(90 * fraction))


@pytest.mark.parametrize("numbers", [20 * 16, 2**23])
def test_references_that_single_precision_confuses_are_ranked_as_in_double(
    monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    """Similarities of a hundred references lie within 1e-6, which is much less than the error of single precision."""
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", numbers)
    references = (seeded(0, 1, 16) + 1e-6 * seeded(1, 100, 16)).to(torch.float32)
    images = seeded(2, 4, 16, dtype=torch.float32)
    bank = bank_of(references, seeded(3, 3, 16), seeded(4, 16), driver_fraction=1.0)
    cosines = by_definition(
        *(
            each.double().numpy()
            for each in (bank.similarity.readout.weight, bank.similarity.readout.feature_mean, images, references)
        )
    )
    assert cosines.max(2).max() - cosines.min(2).min() > 0
    assert np.ptp(cosines, 2).max() < 1e-5
    for top_k in (1, 7):
        check_against_the_definition(bank, images, references, top_k=top_k, n_drivers=100)


@pytest.mark.parametrize("order", [1, -1])
def test_references_that_come_from_worst_to_best_are_all_compared(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", 2 * 20)
    angles = (
        torch.linspace(3, 0, 200, dtype=torch.float64)[::1]
        if order > 0
        else torch.linspace(0, 3, 200, dtype=torch.float64)
    )
    references = torch.stack([angles.cos(), angles.sin()], 1)
    bank = bank_of(references, torch.ones(1, 2), torch.zeros(2), responses=torch.ones(200, 1), driver_fraction=1.0)
    best = [199, 198, 197] if order > 0 else [0, 1, 2]
    assert bank.search_features(torch.tensor([[1.0, 0.0]]).double(), 0, top_k=3).indices.tolist() == [best]


FAINT = [
    [1.0, 3e-30, 4e-30],
    [1.0, 4e-30, 3e-30],
    [1.0, -3e-30, 4e-30],
    [1e-38, 5e-30, 1.0],
    [0.0, 1.0, 0.0],
    [1.0, 0.0, 0.0],
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("weight_scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("feature_scale", [1e-7, 1.0, 1e30])
def test_what_is_faint_in_single_precision_is_compared_in_double(
    dtype: torch.dtype, weight_scale: float, feature_scale: float
) -> None:
    references = (torch.tensor(FAINT, dtype=torch.float64) * feature_scale).to(dtype)
    weight = (torch.tensor([[0.0, 1, 1], [1, 1, 1], [1e-8, 1, 0], [0, 0, 0]]).double() * weight_scale).to(dtype)
    bank = bank_of(references, weight, torch.zeros(3), responses=seeded(5, 6, 4), driver_fraction=1.0)
    check_against_the_definition(bank, references[:3].clone(), references, top_k=6, n_drivers=6)


def test_a_faint_reference_hides_none_that_is_more_similar() -> None:
    """The faint one, of which single precision only knows that it is not zero, points the other way."""
    references = torch.tensor([[1.0, -3e-30, 0.0], [0.0, -0.5, 0.8], [0.0, -0.6, 0.8]])
    bank = bank_of(references, torch.tensor([[0.0, 1.0, 1.0]]), torch.zeros(3), driver_fraction=1.0)
    image = torch.tensor([[0.0, 1.0, 0.0]])
    check_against_the_definition(bank, image, references, top_k=1, n_drivers=3)
    assert bank.search_features(image, 0).indices.tolist() == [[1]]


@pytest.mark.parametrize("exponents", [(-150, 150), (150, -150), (-150, -150), (150, 150)])
def test_numbers_beyond_single_precision_are_compared_all_the_same(exponents: tuple[int, int]) -> None:
    references, images = (seeded(seed, 20, 5) * 10.0 ** exponents[0] for seed in (0, 1))
    bank = bank_of(references, seeded(2, 3, 5) * 10.0 ** exponents[1], torch.zeros(5), driver_fraction=1.0)
    check_against_the_definition(bank, images[:4], references, top_k=5, n_drivers=20)


@pytest.mark.parametrize("fraction", [0.3, 0.9, 1.0])
def test_neurons_that_use_few_features_or_none_find_ties_in_the_order_of_the_drivers(
    monkeypatch: pytest.MonkeyPatch, fraction: float
) -> None:
    """All similarities of the first neuron are 1, -1 or 0, and all of the last are 0."""
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", 6 * 25)
    weight = torch.zeros(3, 6, dtype=torch.float64)
    weight[0, 2], weight[1, :2] = 0.7, torch.tensor([1.0, -2.0])
    references = seeded(0, 80, 6).clamp(min=0)
    responses = (3 * seeded(1, 80, 3)).round()  # of which many are equal
    bank = bank_of(references, weight, torch.zeros(6), responses=responses, driver_fraction=fraction)
    check_against_the_definition(bank, seeded(2, 4, 6), references, top_k=9, n_drivers=round(80 * fraction))
    least = bank.search_all(seeded(2, 4, 6), [2], top_k=5)
    assert least.similarities.tolist() == [[[0.0] * 5]] * 4
    assert least.indices[0, 0].tolist() == bank.drivers(2)[:5].tolist()


def test_copies_of_a_reference_come_in_the_order_of_the_drivers_from_whatever_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", 70 * 33)
    originals, scale = seeded(0, 7, 33, dtype=torch.float32), torch.tensor([1.0, 0.5, 4.0])
    references = (originals[None] * scale.repeat(40)[:, None, None]).reshape(-1, 33)
    responses = seeded(1, 840, 2)
    bank = bank_of(references, seeded(2, 2, 33), torch.zeros(33), responses=responses, driver_fraction=0.5)
    match = bank.search_all(originals, top_k=20)
    for neuron in range(2):
        drivers = bank.drivers(neuron).tolist()
        for row in range(7):
            own = [index for index in drivers if index % 7 == row]
            assert match.indices[row, neuron].tolist() == own[:20]


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_a_search_is_as_exact_where_torch_was_told_to_be_less_so(precision: str) -> None:
    references, images = seeded(0, 600, 128, dtype=torch.float32), seeded(1, 40, 128, dtype=torch.float32)
    bank = bank_of(references, seeded(2, 20, 128), torch.zeros(128), driver_fraction=1.0)
    expected = bank.search_all(images, top_k=4)
    try:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            match = bank.search_all(images, top_k=4)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(match.indices, expected.indices)
    torch.testing.assert_close(match.similarities, expected.similarities)


@pytest.mark.parametrize("error", [0.0, 0.01, 0.3])
@pytest.mark.parametrize(("n_columns", "top_k"), [(1, 1), (7, 3), (300, 1), (1000, 3), (1000, 400), (1029, 2)])
def test_no_cosine_of_use_is_passed_over_whatever_the_error(error: float, n_columns: int, top_k: int) -> None:
    exact = seeded(0, 6, n_columns).tanh()
    known = exact + error * (
        2 * torch.rand(6, n_columns, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1
    )
    least = torch.tensor([-torch.inf, 0.0, 0.9, 0.99, 1.1, -1.0], dtype=torch.float64)
    rows, columns = close_columns(known, least, top_k, error)
    for row in range(6):
        best = exact[row].topk(top_k).indices
        of_use = {int(index) for index in best if exact[row, index] >= least[row]}
        assert of_use <= set(columns.tolist())
        assert not of_use or row in rows.tolist()
    if error == 0.0 and n_columns == 1000 and top_k == 3:
        assert len(columns) <= 6 * top_k


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_feature_that_is_not_finite_is_told_with_its_row_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch, value: float, recorded: bool
) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", 6 * 10)
    features = seeded(0, 40, 6).numpy().copy()
    features[27, 3] = value
    responses = seeded(1, 40, 2) if recorded else None

    def searched() -> None:
        bank = bank_of(Sliced(features), seeded(2, 2, 6), torch.zeros(6), responses=responses)
        bank.search_features(seeded(3, 1, 6), 0)

    with pytest.raises(ValueError, match="row 27 are not finite"):
        searched()


@pytest.mark.usefixtures("as_installed")
def test_arrays_that_are_no_features_are_refused() -> None:
    weight, mean = seeded(2, 2, 6), torch.zeros(6)
    with pytest.raises(TypeError, match="floating-point numbers, but are uint8"):
        bank_of(np.ones((9, 6), dtype=np.uint8), weight, mean)
    with pytest.raises(TypeError, match=r"floating-point numbers, but are torch\.int64"):
        bank_of(torch.ones(9, 6, dtype=torch.int64), weight, mean)
    with pytest.raises(TypeError, match="floating-point numbers, but are complex128"):
        bank_of(np.ones((9, 6), dtype=complex), weight, mean)
    with pytest.raises(ValueError, match=r"6 features, but got \(9, 5\)"):
        bank_of(np.ones((9, 5)), weight, mean)
    with pytest.raises(ValueError, match=r"6 features, but got \(9,\)"):
        bank_of(np.ones(9), weight, mean)
    with pytest.raises(TypeError, match="sliced by rows, but got list"):
        bank_of([[1.0] * 6], weight, mean)
    with pytest.raises(ValueError, match="the bank is empty"):
        bank_of(np.ones((0, 6)), weight, mean)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "float16", ">f8"])
def test_a_memory_map_of_any_byte_order_is_searched(tmp_path: Path, dtype: str) -> None:
    features = seeded(0, 30, 6).numpy().astype(dtype)
    file = np.memmap(tmp_path / "features", dtype=dtype, mode="w+", shape=(30, 6))
    file[:] = features
    file.flush()
    stored = np.memmap(tmp_path / "features", dtype=dtype, mode="r", shape=(30, 6))
    weight, mean, images = seeded(1, 3, 6), seeded(2, 6), seeded(3, 4, 6)
    native = torch.from_numpy(features.astype(np.dtype(dtype).newbyteorder("=")))
    match = bank_of(stored, weight, mean).search_all(images, top_k=2)
    expected = bank_of(native, weight, mean).search_all(images, top_k=2)
    assert torch.equal(match.indices, expected.indices)
    assert torch.equal(match.similarities, expected.similarities)


def test_an_array_of_zarr_is_searched(tmp_path: Path) -> None:
    features, weight, mean, images = seeded(0, 30, 6), seeded(1, 3, 6), seeded(2, 6), seeded(3, 4, 6)
    array = zarr.open(str(tmp_path / "features"), mode="w", shape=(30, 6), chunks=(4, 6), dtype="f8")
    array[:] = features.numpy()
    match = bank_of(array, weight, mean).search_all(images, top_k=2)
    expected = bank_of(features, weight, mean).search_all(images, top_k=2)
    assert torch.equal(match.indices, expected.indices)
    assert torch.equal(match.similarities, expected.similarities)


def test_search_and_search_all_refuse_alike() -> None:
    bank = bank_of(seeded(0, 12, 4), seeded(1, 2, 4), torch.zeros(4), driver_fraction=0.5)
    for wrong, top_k in ((seeded(2, 2, 4), 7), (seeded(2, 2, 4), 0), (seeded(2, 0, 4), 1)):
        said = []
        for search in (lambda x, k: bank.search(x, 0, k), lambda x, k: bank.search_all(x, top_k=k)):
            with pytest.raises(ValueError, match=r"top_k must be|at least one image") as error:
                search(wrong, top_k)
            said.append(str(error.value))
        assert said[0] == said[1]


def test_a_neuron_may_be_asked_for_twice() -> None:
    bank = bank_of(seeded(0, 12, 4), seeded(1, 3, 4), torch.zeros(4))
    match = bank.search_all(seeded(2, 5, 4), [2, 0, 2], top_k=2)
    expected = bank.search_all(seeded(2, 5, 4), top_k=2)
    assert torch.equal(match.indices, expected.indices[:, [2, 0, 2]])
