"""One pair of images: which reference is chosen, and what comes of which method."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity
from toy_experiment import encoder
from toys import Randomised, pair

from captum_shared import LatentFeatures, LinearReadout
from captum_shared.study import explain_pair


@pytest.mark.parametrize("target", [0, 1])
def test_the_reference_is_the_most_similar_one_for_the_neuron(target: int) -> None:
    image, references = pair(n=1, dtype=torch.float32)[0], pair(1, n=20, dtype=torch.float32)[1]
    readout = LinearReadout(torch.tensor([[1.0, 2.0, 0.0, 0.5, 1.0], [0.0, 0.1, 3.0, -1.0, 1.0]]))
    explanation = explain_pair(encoder(), readout, image=image, references=references, target=target)
    with torch.no_grad():
        weighted = [readout.weight[target] * encoder()(images) for images in (image, references)]
    torch.testing.assert_close(explanation.similarities, cosine_similarity(*weighted))
    assert explanation.reference == int(cosine_similarity(*weighted).argmax())
    alone = explain_pair(encoder(), readout, image=image, references=references[[explanation.reference]], target=target)
    torch.testing.assert_close(alone.similarities, explanation.similarities[[explanation.reference]])
    for name, maps in alone.maps.items():
        torch.testing.assert_close(maps, explanation.maps[name])


@pytest.mark.parametrize(
    ("jacobian", "kind"),
    [
        ("gradient", "gradient"),
        ("integrated_gradients", "contribution"),
        ("InputXGradient", "contribution"),
        ("Saliency", "gradient"),
    ],
)
def test_what_maps_are_is_told_by_whether_the_method_multiplies_by_its_inputs(jacobian: str, kind: str) -> None:
    image, reference = pair(n=1, dtype=torch.float32)
    explanation = explain_pair(encoder(), None, image=image, references=reference, jacobian=jacobian)
    assert explanation.kinds == {f"shared, {jacobian.replace('_', ' ')}": kind, "shared, layer": "layer"}
    assert explanation.maps.keys() == explanation.kinds.keys()


def test_a_cut_without_positions_has_no_layer_maps() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    image, reference = pair(n=1)
    explanation = explain_pair(LatentFeatures(Randomised(0)(network), "3"), None, image=image, references=reference)
    assert explanation.maps.keys() == explanation.kinds.keys() == {"shared, gradient"}
    assert explanation.size == (10, 10)
