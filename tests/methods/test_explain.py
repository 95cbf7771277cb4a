"""One call for a pair, a neuron and several methods; and the cost that each method states."""

import pytest
import torch
from torch import Tensor, nn
from toys import pair, readout, seeded, small_similarity

from captum_shared import LatentFeatures, NeuronSimilarity, SharedCorrespondence, explain
from captum_shared.methods import DEFAULT_METHODS, METHODS, Method, methods_by_name


def test_each_method_gives_what_it_gives_alone() -> None:
    similarity, inputs = small_similarity(), pair()
    own = Method("own", "trivial", lambda similarity, inputs, target: inputs, kind="contribution")
    explanations = explain(similarity, inputs, [1, 0], methods=["paper", own, "recommended"])
    assert list(explanations) == ["paper", "own", "recommended"]
    for name, explanation in explanations.items():
        method = own if name == "own" else METHODS[name]
        assert explanation.method == method
        torch.testing.assert_close(explanation.attributions, method.attribute(similarity, inputs, [1, 0]))
        torch.testing.assert_close(explanation.heatmaps, method.maps(similarity, inputs, [1, 0]))


def test_what_is_shared_is_the_agreement_of_the_correspondence() -> None:
    images = seeded(3, 3, 3, 10, 10)
    similarity, inputs, target = small_similarity(), (images, images), [0, 2, 3]
    explanations = explain(similarity, inputs, target)
    assert list(explanations) == list(DEFAULT_METHODS) == ["recommended", "paper"]
    expected = SharedCorrespondence(similarity).correspondence(inputs, target).sum((1, 2))
    torch.testing.assert_close(explanations["recommended"].shared, expected)
    assert (expected > 0).any()
    assert explanations["paper"].shared is None


def test_former_names_still_mean_what_they_meant() -> None:
    assert methods_by_name(["ours-recommended", "ours-paper"]) == [METHODS["recommended"], METHODS["paper"]]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_passes_are_as_stated(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()).double()
    similarity = NeuronSimilarity(LatentFeatures(network, "1"), readout(5))
    inputs = seeded(1, 1, 3, 16, 16), seeded(2, 1, 3, 16, 16)
    similarity(*inputs)  # the cut network is compared with the original once
    counts, forward = [0, 0], nn.Conv2d.forward

    def counted(self: nn.Conv2d, images: Tensor) -> Tensor:
        output = forward(self, images)
        counts[0] += len(images)
        if output.requires_grad:
            output.register_hook(lambda gradient: counts.__setitem__(1, counts[1] + len(gradient)))
        return output

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    method.attribute(similarity, inputs, 1)
    assert (counts[0] / 2, counts[1] / 2) == method.passes


def test_titles_tell_the_methods_apart() -> None:
    titles = [method.title for method in METHODS.values()]
    assert len(set(titles)) == len(titles)


def test_methods_that_need_one_pass_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    similarity, inputs = small_similarity(), pair()
    names = ["recommended", "paper", "ours-correspondence-pixels", "ours-gradient-excitatory"]
    alone = {name: METHODS[name].attribute(similarity, inputs, [1, 0]) for name in names}
    count, forward = [0], LatentFeatures.forward

    def counted(self: LatentFeatures, images: Tensor) -> Tensor:
        count[0] += 1
        return forward(self, images)

    monkeypatch.setattr(LatentFeatures, "forward", counted)
    together = explain(similarity, inputs, [1, 0], methods=names)
    assert count == [2]
    for name in names:
        torch.testing.assert_close(together[name].attributions, alone[name])
