"""Agreement of maps after the network, the readout or the reference is replaced."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn
from toys import Pair, Randomised, Undecided, pair, readout, seeded, small_net, small_similarity, torchvision_net

from captum_shared import LatentFeatures, LayerSharedAttribution, LinearReadout, NeuronSimilarity
from captum_shared.attr._captum import TargetType
from captum_shared.evaluation.scores.sanity import (
    map_agreement,
    network_agreement,
    randomised,
    readout_agreement,
    reference_agreement,
)

values = st.lists(st.integers(-3, 3), min_size=16, max_size=16)


def of_the_images(similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
    """Maps that look at nothing but the image."""
    return inputs[0].sum(1), inputs[1].sum(1)


def of_the_features(similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
    """Shared features at the cut: of the network, the neuron and both images."""
    first, second = LayerSharedAttribution(similarity).attribute(inputs, target)
    return first.sum(1), second.sum(1)


def of_nothing(similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
    return torch.zeros_like(inputs[0][:, 0]), torch.zeros_like(inputs[1][:, 0])


def weights_of(module: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in module.state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(first, second, strict=True)]


def test_agreement_of_maps_by_hand() -> None:
    maps = torch.arange(16.0).reshape(1, 4, 4)
    swapped = maps.clone()
    swapped[0, 0, 0], swapped[0, 3, 3] = 15.0, 0.0  # two ranks differ, by 15 each
    assert float(map_agreement(maps, swapped)) == pytest.approx(1 - 6 * 2 * 15**2 / (16 * (16**2 - 1)))
    assert float(map_agreement(maps, maps.exp())) == pytest.approx(1)
    assert float(map_agreement(maps, -maps)) == pytest.approx(-1)
    halves = (maps > 7).float()  # ranks 4.5 and 12.5 against 1 to 16: covariance 16, variances 16 and 21.25
    assert float(map_agreement(maps, halves)) == pytest.approx(16 / (16 * 21.25) ** 0.5)


def test_maps_of_nothing_agree_with_each_other_and_with_no_other() -> None:
    maps, nothing = torch.arange(16.0).reshape(1, 4, 4), torch.zeros(1, 4, 4)
    assert float(map_agreement(nothing, nothing)) == 1
    assert float(map_agreement(nothing, nothing - 3)) == 1
    assert float(map_agreement(maps, nothing)) == float(map_agreement(nothing, maps)) == 0


@given(st.lists(values, min_size=2, max_size=3), st.floats(0.01, 100))
def test_agreement_equals_scipy(rows: list[list[int]], unit: float) -> None:
    maps = torch.tensor(rows).double().reshape(-1, 4, 4)
    others = maps.roll(1, 0)
    found = map_agreement(maps, unit * others)
    torch.testing.assert_close(map_agreement(others, maps), found)
    for one, other, agreement in zip(maps.flatten(1).tolist(), others.flatten(1).tolist(), found, strict=True):
        if len(set(one)) > 1 and len(set(other)) > 1:
            assert float(agreement) == pytest.approx(spearmanr(one, other).statistic)


@pytest.mark.parametrize(("share", "layers"), [(0.1, 1), (0.5, 1), (0.6, 2), (1.0, 2)])
def test_layers_are_randomised_from_the_top(share: float, layers: int) -> None:
    similarity = small_similarity()
    random = randomised(similarity, pair()[0], share=share)
    before, after = weights_of(similarity.image_features), weights_of(random.image_features)
    untouched = [True] * 2 * (2 - layers) + [False] * 2 * layers  # weight and bias of each convolution
    assert same(before, after) == untouched
    for first, second in zip(before, after, strict=True):
        assert torch.equal(first.flatten().sort().values, second.flatten().sort().values)
    assert torch.equal(random(*pair()), NeuronSimilarity(random.image_features, similarity.readout)(*pair()))
    assert not torch.equal(random(*pair()), similarity(*pair()))


def test_randomising_further_keeps_what_is_random_already() -> None:
    similarity, images = small_similarity(), pair()[0]
    half, all_of_it = (weights_of(randomised(similarity, images, share=s).image_features) for s in (0.5, 1.0))
    assert same(half, all_of_it) == [False, False, True, True]
    other = weights_of(randomised(similarity, images, share=0.5, seed=1).image_features)
    assert not all(same(half, other))


def test_layers_that_run_count_in_the_order_in_which_they_run() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(12, 12, bias=False)
            self.never = nn.Linear(12, 12, bias=False)
            self.first = nn.Linear(12, 12, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.first(images.flatten(1)))

    similarity = NeuronSimilarity(Randomised(0)(Backwards), readout(12))
    random = randomised(similarity, pair(size=2)[0], share=0.5)
    assert same(weights_of(similarity.image_features), weights_of(random.image_features)) == [False, True, True]


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "vit_b_16"])
def test_networks_of_torchvision_are_randomised(name: str) -> None:
    layer, size = {"squeezenet1_1": ("features.3", 32), "resnet18": ("layer2", 32)}.get(
        name, ("encoder.layers.encoder_layer_0", 224)
    )
    features = LatentFeatures(torchvision_net(name), layer)
    images = seeded(0, 1, 3, size, size, dtype=torch.float32)
    n_features = features(images).shape[1]
    similarity = NeuronSimilarity(features, LinearReadout.uniform(n_features))
    random = randomised(similarity, images, share=1.0)
    changed = [
        parameter.unique().numel() == 1 or not torch.equal(parameter, before)
        for parameter, before in zip(random.image_features.parameters(), features.parameters(), strict=True)
    ]
    assert all(changed)
    assert not torch.allclose(random.image_features(images), features(images))


def test_layers_after_the_cut_of_a_network_that_cannot_be_traced_do_not_count() -> None:
    features = LatentFeatures(Randomised(0)(Undecided), "first")
    similarity = NeuronSimilarity(features, readout(4))
    random = randomised(similarity, pair()[0], share=0.1)
    assert not torch.equal(random.image_features(pair()[0]), features(pair()[0]))


def test_agreement_falls_where_the_network_is_looked_at_and_only_there() -> None:
    similarity, inputs = small_similarity(size=24), pair(size=24, n=6)
    found = network_agreement(of_the_features, similarity, inputs=inputs, target=1, shares=[0.5, 1.0])
    assert found.shape == (2, 6, 2)
    assert bool((found.mean((1, 2)).abs() < 0.5).all())
    for blind in (of_the_images, of_nothing):
        unmoved = network_agreement(blind, similarity, inputs=inputs, target=1)
        torch.testing.assert_close(unmoved, torch.ones(3, 6, 2, dtype=torch.float64))


def test_agreement_with_the_network_is_that_of_the_maps_of_the_randomised_one() -> None:
    similarity, inputs = small_similarity(), pair(n=3)
    target = torch.tensor([2, 0, 1])
    maps = of_the_features(similarity, inputs, target)
    others = of_the_features(randomised(similarity, inputs[0], share=0.5, seed=4), inputs, target)
    found = network_agreement(of_the_features, similarity, inputs=inputs, target=target, shares=[0.5], seed=4)
    for side in range(2):
        assert torch.equal(found[0, :, side], map_agreement(maps[side], others[side]))


def test_agreement_falls_where_the_neuron_is_looked_at_and_only_there() -> None:
    similarity, inputs = small_similarity(size=24), pair(size=24, n=4)
    assert float(readout_agreement(of_the_features, similarity, inputs=inputs, target=0).max()) < 0.999
    torch.testing.assert_close(
        readout_agreement(of_the_images, similarity, inputs=inputs, target=0), torch.ones(4, 2, dtype=torch.float64)
    )
    plain = NeuronSimilarity(similarity.image_features, LinearReadout.uniform(5).double())
    torch.testing.assert_close(
        readout_agreement(of_the_features, plain, inputs=inputs), torch.ones(4, 2, dtype=torch.float64)
    )


def test_twins_of_excitatory_features_stay_so() -> None:
    seen = []

    def kept(similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
        seen.append(similarity.excitatory)
        return of_the_images(similarity, inputs, target)

    similarity = NeuronSimilarity(small_net(), readout(5), excitatory=True)
    for check in (readout_agreement, network_agreement):
        check(kept, similarity, inputs=pair(), target=0)
    assert len(seen) == 6
    assert all(seen)


def test_a_permuted_readout_by_hand() -> None:
    seen = []

    def weights(similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
        seen.append(similarity.readout)
        first, second = (similarity.readout.weight[:1].reshape(1, 2, 2) for _ in inputs)
        return first, second

    own = LinearReadout([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], [1.0, 2.0], [0.5, 0.6, 0.7, 0.8])
    images = torch.rand(1, 1, 2, 2)
    found = readout_agreement(weights, NeuronSimilarity(nn.Flatten(), own), inputs=(images, images), target=0)
    permuted = seen[1]
    order = [int(weight) - 1 for weight in permuted.weight[0]]
    assert sorted(order) == [0, 1, 2, 3] != order
    assert torch.equal(permuted.weight[1], own.weight[1, order])
    assert torch.equal(permuted.bias, own.bias)
    assert torch.equal(permuted.feature_mean, own.feature_mean)
    assert float(found[0, 0]) == pytest.approx(spearmanr(range(4), order).statistic)


def test_a_permuted_readout_knows_the_examples_of_the_readout() -> None:
    seen = []

    def keep(similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
        seen.append(similarity.readout)
        return inputs[0][:, 0], inputs[1][:, 0]

    own = LinearReadout([[1.0, 2.0]]).with_examples(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.eye(2))
    images = torch.rand(1, 1, 1, 2)
    readout_agreement(keep, NeuronSimilarity(nn.Flatten(), own), inputs=(images, images), target=0, seed=1)
    assert seen[1].weight.tolist() == [[2.0, 1.0]]
    assert seen[1].examples.tolist() == [[1.0], [6.0]]
    assert seen[1].scatter.tolist() == [[5.0]]
    assert own.weight.tolist() == [[1.0, 2.0]]


def test_agreement_falls_where_the_reference_is_looked_at_and_only_there() -> None:
    similarity, (images, references) = small_similarity(size=24), pair(size=24, n=4)
    found = reference_agreement(of_the_features, similarity, inputs=(images, references), target=0)
    others = of_the_features(similarity, (images, references[[3, 0, 1, 2]]), 0)[0]
    expected = map_agreement(of_the_features(similarity, (images, references), 0)[0], others)
    assert torch.equal(found, expected)
    assert bool((found < 1).all())
    blind = reference_agreement(of_the_images, similarity, inputs=(images, references), target=0)
    torch.testing.assert_close(blind, torch.ones(4, dtype=torch.float64))


def test_nothing_of_the_callers_changes() -> None:
    model = small_net().train()
    features = LatentFeatures(model, "features")
    similarity = NeuronSimilarity(features, readout(5))
    inputs, state = pair(), torch.random.get_rng_state()
    before = copy.deepcopy([model.state_dict(), similarity.state_dict()])
    expected = similarity(*inputs)
    network_agreement(of_the_features, similarity, inputs=inputs, target=0)
    readout_agreement(of_the_features, similarity, inputs=inputs, target=0)
    reference_agreement(of_the_features, similarity, inputs=inputs, target=0)
    for now, then in zip([model.state_dict(), similarity.state_dict()], before, strict=True):
        assert list(now) == list(then)
        assert all(torch.equal(now[name], then[name]) for name in now)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(similarity(*inputs), expected)
    assert not any(module._forward_pre_hooks for module in [*model.modules(), *similarity.modules()])


def test_a_copy_keeps_no_hook_and_shares_no_memory() -> None:
    similarity = small_similarity()
    random = randomised(similarity, pair()[0], share=0.5)
    assert not any(module._forward_pre_hooks for module in random.modules())
    own = {parameter.data_ptr() for parameter in similarity.image_features.parameters()}
    assert own.isdisjoint(parameter.data_ptr() for parameter in random.image_features.parameters())


def test_wrong_arguments_are_refused(as_installed: None) -> None:
    similarity, inputs = small_similarity(), pair(n=1)
    for share in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="share of the layers"):
            randomised(similarity, inputs[0], share=share)
    with pytest.raises(ValueError, match="at least two pairs"):
        reference_agreement(of_the_images, similarity, inputs=inputs)
    with pytest.raises(ValueError, match="no module of the encoder"):
        randomised(NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(300)), inputs[0], share=1.0)
