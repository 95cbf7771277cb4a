import copy

import pytest
import torch
from torch import Tensor, nn
from toys import readout, seeded

from captum_shared import LinearReadout, NeuronSimilarity, ReferenceBank


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
        seen, weighed = query * weight[neuron], images * weight[neuron]
        scores = {i: float(seen @ weighed[i] / (seen.norm() * weighed[i].norm())) for i in drivers}
        best = sorted(drivers, key=lambda i: -scores[i])[:top_k]
        assert match.indices[row].tolist() == best
        assert match.similarities[row].tolist() == pytest.approx([scores[i] for i in best], abs=1e-12)


def test_images_pass_through_the_encoder_a_batch_at_a_time(images: Tensor, weight: Tensor) -> None:
    encoder, lengths = nn.Flatten(), []
    encoder.register_forward_hook(lambda *call: lengths.append(len(call[2])))
    bank = ReferenceBank(NeuronSimilarity(encoder, LinearReadout(weight)), images, batch_size=5)
    bank.search(images[:6], target=0)
    assert lengths == [5, 5, 2, 5, 1]


def test_a_missing_response_is_predicted_and_a_recorded_one_kept(images: Tensor, weight: Tensor) -> None:
    responses = 100 + images @ weight.T
    holed = responses.clone()
    holed[3:7] = torch.nan
    expected = torch.cat([responses[:3], images[3:7] @ weight.T, responses[7:]])
    torch.testing.assert_close(bank_of(images, weight, responses=holed).responses, expected)


def test_the_strongest_driver_of_a_tiny_bank_is_kept(images: Tensor, weight: Tensor) -> None:
    bank = bank_of(images[:2], weight, driver_fraction=0.01)
    assert bank.drivers(1).tolist() == [int((images[:2] @ weight[1]).argmax())]


def test_an_image_without_the_neurons_features_gets_similarity_zero(images: Tensor) -> None:
    weight = torch.tensor([[1.0, 0, 0, 0, 0]], dtype=torch.float64)
    query = torch.tensor([[0.0, 1, 1, 1, 1]], dtype=torch.float64)
    assert bank_of(images, weight, driver_fraction=1.0).search(query, 0, 12).similarities.tolist() == [[0.0] * 12]


@pytest.mark.parametrize(
    ("n_images", "fraction", "n_drivers"),
    [(11, 0.25, 3), (9, 0.25, 2), (12, 0.99, 12), (12, 0.3, 4), (4, 0.1, 1), (1, 0.25, 1), (7, 1.0, 7)],
)
def test_the_number_of_drivers_is_the_nearest_to_the_fraction_and_at_least_one(
    weight: Tensor, n_images: int, fraction: float, n_drivers: int
) -> None:
    bank = bank_of(seeded(2, n_images, 5), weight, driver_fraction=fraction)
    assert len(bank.drivers(0)) == n_drivers
    assert bank.search(seeded(3, 1, 5), 0, n_drivers).indices.shape == (1, n_drivers)
    with pytest.raises(ValueError, match=rf"number of drivers \({n_drivers}\), but is {n_drivers + 1}"):
        bank.search(seeded(3, 1, 5), 0, n_drivers + 1)


def test_drivers_come_strongest_first_and_equal_ones_in_the_order_of_the_bank(images: Tensor, weight: Tensor) -> None:
    responses = torch.zeros(12, 3, dtype=torch.float64)
    responses[[7, 2, 5], 1] = torch.tensor([2.0, 2.0, 3.0], dtype=torch.float64)
    assert bank_of(images, weight, responses=responses, driver_fraction=0.5).drivers(1).tolist() == [5, 2, 7, 0, 1, 3]


def test_equally_similar_references_come_in_the_order_of_the_drivers(weight: Tensor) -> None:
    alike = seeded(2, 1, 5).expand(400, 5).contiguous()
    responses = seeded(7, 400, 3)
    bank = bank_of(alike, weight, responses=responses, driver_fraction=1.0)
    strongest = sorted(range(400), key=lambda i: -float(responses[i, 2]))
    assert bank.search(seeded(3, 1, 5), target=2, top_k=400).indices[0].tolist() == strongest


class Refusing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("the network ran")


@pytest.mark.parametrize("recorded", [False, True])
def test_known_features_find_what_the_images_find_without_the_network(recorded: bool) -> None:
    encoder, neurons = nn.Linear(4, 3, dtype=torch.float64), readout(3)
    images, queries = seeded(4, 9, 4), seeded(5, 6, 4)
    options = {"responses": seeded(6, 9, 4) if recorded else None, "driver_fraction": 0.4}
    expected = ReferenceBank(NeuronSimilarity(encoder, neurons), images, **options)
    bank = ReferenceBank.from_features(NeuronSimilarity(Refusing(), neurons), encoder(images), **options)
    target = [0, 1, 2, 3, 2, 1]
    match, slow = bank.search_features(encoder(queries), target, 3), expected.search(queries, target, 3)
    assert torch.equal(match.indices, slow.indices)
    assert torch.equal(match.similarities, slow.similarities)
    assert torch.equal(bank.responses, expected.responses)
    assert not bank.responses.requires_grad
    assert torch.equal(copy.deepcopy(bank).responses, bank.responses)  # which needs features without their graph
    assert not match.similarities.requires_grad


def test_known_features_are_checked_as_those_of_the_encoder(weight: Tensor) -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(weight))
    with pytest.raises(ValueError, match="with 5 features"):
        ReferenceBank.from_features(similarity, seeded(0, 6, 4))
    with pytest.raises(ValueError, match="the bank is empty"):
        ReferenceBank.from_features(similarity, seeded(0, 0, 5))
    with pytest.raises(ValueError, match="driver_fraction must be above 0"):
        ReferenceBank.from_features(similarity, seeded(0, 6, 5), driver_fraction=0.0)
    bank = ReferenceBank.from_features(similarity, seeded(0, 6, 5))
    with pytest.raises(ValueError, match="not finite"):
        bank.search_features(torch.full((1, 5), torch.nan, dtype=torch.float64), 0)
    with pytest.raises(ValueError, match=r"number of drivers \(2\), but is 3"):
        bank.search_features(seeded(0, 2, 5), 0, 3)
    with pytest.raises(ValueError, match="the batch is empty"):
        bank.search_features(seeded(0, 0, 5), 0)


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


def test_a_bar_is_shown_only_where_it_is_asked_for(
    images: Tensor, weight: Tensor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captum_shared._progress.EVERY", 0.0)
    bank_of(images, weight).search(images[:2], target=0)
    assert capsys.readouterr().err == ""
    bank_of(images, weight, progress=True).search(images[:2], target=0)
    assert capsys.readouterr().err.count("features of the references") >= 1


def test_references_that_half_precision_cannot_tell_apart_are_ordered() -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
    features = torch.tensor([[1.0, 0.03], [1.0, 0.01], [1.0, 0.02]]).half()
    bank = ReferenceBank.from_features(similarity, features, driver_fraction=1.0)
    match = bank.search_features(torch.tensor([[1.0, 0.0]]).half(), target=0, top_k=3)
    assert match.indices.tolist() == [[1, 2, 0]]


def slowly(bank: ReferenceBank, images: Tensor, neuron: int, references: Tensor) -> Tensor:
    """Similarities of one image after the other with one driver after the other."""
    pairs = [
        [bank.similarity(image[None], references[index][None])[0, neuron] for index in bank.drivers(neuron).tolist()]
        for image in images
    ]
    return torch.tensor(pairs, dtype=images.dtype)


@pytest.mark.parametrize("at_once", [1, 40, 2**24])
@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_all_neurons_are_searched_like_one_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, at_once: int, top_k: int
) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", at_once)
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(seeded(0, 4, 6), feature_mean=seeded(1, 6).abs()))
    references, images = seeded(2, 20, 6) + 1, seeded(3, 5, 6)
    bank = ReferenceBank(similarity, references, driver_fraction=0.5)
    found = bank.search_all(images, top_k=top_k)
    assert found.indices.shape == found.similarities.shape == (5, 4, top_k)
    for neuron in range(4):
        one = bank.search(images, target=neuron, top_k=top_k)
        torch.testing.assert_close(found.indices[:, neuron], one.indices)
        torch.testing.assert_close(found.similarities[:, neuron], one.similarities)
        expected = slowly(bank, images, neuron, references)
        order = expected.argsort(dim=1, descending=True)[:, :top_k]
        torch.testing.assert_close(one.indices, bank.drivers(neuron)[order])
        torch.testing.assert_close(one.similarities, expected.gather(1, order))


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_equal_references_come_in_the_order_of_the_drivers_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("captum_shared.attr.blocks._AT_ONCE", at_once)
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
    references = torch.tensor([[1.0, 0.0], [3.0, 3.0], [5.0, 5.0], [4.0, 4.0], [0.0, 1.0]])
    bank = ReferenceBank(similarity, references, driver_fraction=1.0)
    assert bank.search(torch.tensor([[2.0, 2.0]]), target=0, top_k=2).indices.tolist() == [[2, 3]]
    assert bank.search_all(torch.tensor([[2.0, 2.0]]), top_k=4).indices.tolist() == [[[2, 3, 1, 0]]]


def test_some_neurons_are_searched_by_name_and_none_is_refused() -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(seeded(4, 3, 4), neuron_names=["a", "b", "c"]))
    bank, images = ReferenceBank(similarity, seeded(5, 9, 4)), seeded(6, 2, 4)
    found = bank.search_all(images, ["c", "a"])
    assert torch.equal(found.indices, bank.search_all(images).indices[:, [2, 0]])
    with pytest.raises(ValueError, match="at least one neuron"):
        bank.search_all(images, [])
    with pytest.raises(ValueError, match="at least one image"):
        bank.search_all(images[:0])
    with pytest.raises(ValueError, match="top_k must be between 1 and the number of drivers"):
        bank.search_all(images, top_k=5)
