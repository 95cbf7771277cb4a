"""What every method of the registry has to do, whatever it computes: a new one is tested by adding its record."""

import importlib.util
import re
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import Randomised, hooks, pair, readout, seeded, small_similarity

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity
from captum_shared.attr.heatmaps import smoothed
from captum_shared.encoders.embedded import embedded_network
from captum_shared.methods import METHODS, Method, methods_by_name

# family, then names by kind; written out by hand, so that a record that is changed or lost is missed
EXPECTED = {
    "ours": {
        "layer": "recommended ours-correspondence ours-layer ours-layer-centred ours-layer-excitatory",
        "gradient": "ours-correspondence-pixels paper ours-smoothgrad ours-guided ours-gradient-centred "
        "ours-smoothgrad-centred ours-guided-centred ours-gradient-excitatory ours-smoothgrad-excitatory "
        "ours-guided-excitatory",
        "contribution": "ours-ig ours-ig-centred ours-ig-excitatory",
    },
    "neuron": {
        "layer": "neuron-grad-cam",
        "gradient": "neuron-saliency neuron-guided-grad-cam",
        "contribution": "neuron-input-x-gradient neuron-integrated-gradients neuron-deeplift neuron-gradient-shap "
        "neuron-occlusion",
    },
    "similarity": {
        "layer": "similarity-grad-cam cosine-grad-cam cosine-pytorch-grad-cam grad-cam-product",
        "gradient": "similarity-saliency similarity-guided-grad-cam cosine-saliency",
        "contribution": "similarity-input-x-gradient similarity-integrated-gradients similarity-deeplift "
        "similarity-gradient-shap similarity-occlusion cosine-integrated-gradients",
    },
    "second-order": {"contribution": "bilrp bilrp-centred integrated-jacobians"},
    "trivial": {"layer": "random centre-gaussian edge-energy"},
}
TOLD = {
    name: (family, kind)
    for family, kinds in EXPECTED.items()
    for kind, names in kinds.items()
    for name in names.split()
}
PACKAGES = {"bilrp": "zennit", "bilrp-centred": "zennit", "cosine-pytorch-grad-cam": "pytorch_grad_cam"}
NOISY = [
    "ours-smoothgrad",
    "ours-smoothgrad-centred",
    "ours-smoothgrad-excitatory",
    "neuron-gradient-shap",
    "similarity-gradient-shap",
    "random",
]
MAY_SHOW_NOTHING = (
    "recommended",
    "ours-correspondence",
    "ours-correspondence-pixels",
)  # of noise nothing is shared


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-300))


def reduced(attribution: Tensor, image: Tensor, kind: str) -> Tensor:
    """What a heatmap is, kind by kind."""
    if kind == "layer":
        summed = attribution.sum(1, keepdim=True)
        return nn.functional.interpolate(summed, image.shape[2:], mode="bilinear").clamp(min=0)[:, 0]
    if kind == "contribution":
        return smoothed(attribution.sum(1)).clamp(min=0)
    return smoothed(attribution.abs().sum(1))


def test_the_records_are_those_written_here() -> None:
    assert {name: (method.family, method.kind) for name, method in METHODS.items()} == TOLD
    assert {name: method.package for name, method in METHODS.items() if method.package} == PACKAGES
    assert all(name == method.name for name, method in METHODS.items())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
class TestEveryMethod:
    def test_attributions_and_heatmaps_are_of_its_kind(self, method: Method) -> None:
        inputs, kind = (pair()[0], seeded(7, 2, 3, 11, 12)), TOLD[method.name][1]
        attributions = method.attribute(small_similarity(), inputs, 1)
        maps = method.maps(small_similarity(), inputs, 1)
        for one, attribution, image in zip(maps, attributions, inputs, strict=True):
            assert attribution.dtype == one.dtype == torch.float64
            assert attribution.isfinite().all()
            assert not attribution.requires_grad
            assert len(attribution) == 2
            assert (attribution.shape == image.shape) == (kind != "layer")
            expected = reduced(attribution, image, kind)
            if method.absolute:
                torch.testing.assert_close(one.sum((1, 2)), attribution.sum((1, 2, 3)))
                expected = expected * (one.sum((1, 2)) / expected.sum((1, 2)).clamp(min=1e-300))[:, None, None]
            torch.testing.assert_close(one, expected)
            if method.name not in MAY_SHOW_NOTHING:
                assert (one.flatten(1).sum(1) > 0).all()

    def test_a_contribution_is_of_what_is_not_grey(self, method: Method) -> None:
        """An image that is what paths start from has nothing to contribute, but it has gradients."""
        if TOLD[method.name][1] == "layer" or method.package == "zennit":  # relevance starts from nowhere
            return
        start = 0.0 if method.name.endswith("input-x-gradient") else 0.5
        images = torch.full((2, 3, 10, 10), start, dtype=torch.float64)
        of_images = method.attribute(small_similarity(), (images, pair()[1]), 1)[0]
        if TOLD[method.name][1] == "contribution":
            assert of_images.abs().max() < 1e-12
        elif not re.search("correspondence|guided|excitatory", method.name):  # which may leave nothing of grey
            assert of_images.abs().max() > 1e-6

    def test_a_batch_gives_what_its_pairs_give_one_by_one(self, method: Method) -> None:
        similarity, inputs, target = small_similarity(), pair(n=3), [3, 0, 1]
        batch = method.attribute(similarity, inputs, target)
        for row, neuron in enumerate(target):
            alone = method.attribute(similarity, (inputs[0][row, None], inputs[1][row, None]), neuron)
            for one, each in zip(batch, alone, strict=True):
                assert relative(one[row], each[0]) < (1e-6 if "occlusion" in method.name else 1e-9)

    def test_swapping_the_images_swaps_the_maps(self, method: Method) -> None:
        if method.name in NOISY:  # drawn for the images in their order
            return
        images, references = pair()
        maps = method.attribute(small_similarity(), (images, references), 1)
        swapped = method.attribute(small_similarity(), (references, images), 1)
        for one, other in zip(maps, reversed(swapped), strict=True):
            assert relative(other, one) < 1e-6

    def test_nothing_of_the_callers_changes(self, method: Method) -> None:
        body = Randomised(0)(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()))
        similarity = NeuronSimilarity(LatentFeatures(body, "3"), readout(4)).train()
        before = {key: value.clone() for key, value in similarity.state_dict().items()}
        inputs = tuple(images.requires_grad_(side == 1) for side, images in enumerate(pair()))
        copies, n_hooks = [images.detach().clone() for images in inputs], hooks(similarity)
        modes = [module.training for module in similarity.modules()]
        torch.manual_seed(3)
        np.random.seed(3)
        states = torch.get_rng_state(), np.random.get_state()[1].copy()
        with torch.no_grad():
            method.attribute(similarity, inputs, 1)
        assert torch.equal(torch.get_rng_state(), states[0])
        np.testing.assert_array_equal(np.random.get_state()[1], states[1])
        assert all(torch.equal(value, before[key]) for key, value in similarity.state_dict().items())
        assert all(parameter.grad is None for parameter in similarity.parameters())
        assert [images.requires_grad for images in inputs] == [False, True]
        assert all(images.grad is None for images in inputs)
        assert all(torch.equal(images.detach(), copy) for images, copy in zip(inputs, copies, strict=True))
        assert hooks(similarity) == n_hooks
        assert [module.training for module in similarity.modules()] == modes

    def test_single_precision_on_the_embedded_network(self, method: Method) -> None:
        features = LatentFeatures(embedded_network(), "features")
        images, references = (each.sigmoid() for each in pair(n=1, size=40, dtype=torch.float32))
        neurons = LinearReadout(seeded(0, 2, 128), feature_mean=features(references)[0] / 2)
        for one in method.maps(NeuronSimilarity(features, neurons), (images, references), 1):
            assert one.dtype == torch.float32
            assert one.shape == (1, 40, 40)
            assert float(one.sum()) > 0

    def test_a_missing_package_is_told_before_and_at_the_call(
        self, method: Method, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if method.name not in PACKAGES:
            assert methods_by_name([method.name]) == [method]
            return
        package = PACKAGES[method.name]
        for module in [module for module in sys.modules if module.partition(".")[0] == package]:
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"package {package}, .*pip install 'captum-shared\[peers\]'"):
            method.attribute(small_similarity(), pair(), 1)
        spec = importlib.util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda module: None if module == package else spec(module))
        with pytest.raises(ImportError, match=rf"{method.name} \(by {package}\).*pip install 'captum-shared\[peers\]'"):
            methods_by_name(["random", method.name])
        assert method.name not in [each.name for each in methods_by_name()]


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_the_same_each_time_and_another_for_each_pair(name: str) -> None:
    similarity, (images, references) = small_similarity(), pair()
    torch.manual_seed(0)
    maps = METHODS[name].attribute(similarity, (images, references), 1)
    torch.manual_seed(1)
    assert all(map(torch.equal, maps, METHODS[name].attribute(similarity, (images, references), 1)))
    moved = METHODS[name].attribute(similarity, (images + 1e-9, references), 1)[0]
    assert relative(moved, maps[0]) > 1e-3
