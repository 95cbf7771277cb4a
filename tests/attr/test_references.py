import pytest
import torch
from torch import Tensor, nn

from captum_shared import LinearReadout, NeuronSimilarity, ReferenceBank
from captum_shared.attr.similarity import shared_weights


def bank_of(images: Tensor, weight: Tensor, **kwargs: object) -> ReferenceBank:
    return ReferenceBank(NeuronSimilarity(nn.Flatten(), LinearReadout(weight)), images, **kwargs)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("recorded", [False, True])
def test_search_equals_a_loop_over_all_drivers(images: Tensor, weight: Tensor, top_k: int, recorded: bool) -> None:
    responses = images @ weight.T if not recorded else torch.rand(12, 3, dtype=torch.float64)
    bank = bank_of(images, weight, responses=responses if recorded else None, driver_fraction=0.5, batch_size=5)
    queries = torch.randn(4, 5, dtype=torch.float64)
    neurons = [2, 0, 1, 2]
    match = bank.search(queries, target=neurons, top_k=top_k)
    for row, (query, neuron) in enumerate(zip(queries, neurons, strict=True)):
        drivers = sorted(range(12), key=lambda i: -float(responses[i, neuron]))[:6]
        scores = {i: float(shared_weights(query[None], images[i][None], weight[neuron][None]).sum()) for i in drivers}
        best = sorted(drivers, key=lambda i: -scores[i])[:top_k]
        assert match.indices[row].tolist() == best
        assert match.similarities[row].tolist() == pytest.approx([scores[i] for i in best], abs=1e-12)


def test_a_missing_response_is_predicted(images: Tensor, weight: Tensor) -> None:
    responses = images @ weight.T
    holed = responses.clone()
    holed[3:7] = torch.nan
    assert torch.allclose(bank_of(images, weight, responses=holed).responses, responses)


def test_the_strongest_driver_of_a_tiny_bank_is_kept(images: Tensor, weight: Tensor) -> None:
    bank = bank_of(images[:2], weight, driver_fraction=0.01)
    assert bank.drivers(1).tolist() == [int((images[:2] @ weight[1]).argmax())]


def test_an_image_without_the_neurons_features_gets_similarity_zero(images: Tensor) -> None:
    weight = torch.tensor([[1.0, 0, 0, 0, 0]], dtype=torch.float64)
    query = torch.tensor([[0.0, 1, 1, 1, 1]], dtype=torch.float64)
    assert bank_of(images, weight, driver_fraction=1.0).search(query, 0, 12).similarities.tolist() == [[0.0] * 12]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"driver_fraction": 0.0}, "driver_fraction must be above 0"),
        ({"driver_fraction": 1.5}, "driver_fraction must be above 0"),
        ({"responses": torch.zeros(12)}, r"responses must have the shape .* \(12, 3\)"),
        ({"responses": torch.full((12, 3), torch.inf)}, "some are infinite"),
    ],
)
def test_wrong_arguments_are_told(images: Tensor, weight: Tensor, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bank_of(images, weight, **kwargs)


def test_an_empty_bank_and_impossible_searches_are_told(images: Tensor, weight: Tensor) -> None:
    with pytest.raises(ValueError, match="the bank is empty"):
        bank_of(images[:0], weight)
    bank = bank_of(images, weight, driver_fraction=0.5)
    with pytest.raises(ValueError, match=r"number of drivers \(6\), but is 7"):
        bank.search(images, target=0, top_k=7)
    with pytest.raises(ValueError, match="the batch is empty"):
        bank.search(images[:0], target=0)
