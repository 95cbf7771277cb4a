"""One image and its references: which one is chosen, and what comes of which method."""

import pytest
import torch
from torch.nn.functional import cosine_similarity
from toy_experiment import encoder
from toys import pair

from captum_shared import LinearReadout, NeuronSimilarity, explain
from captum_shared.study import explain_pair


@pytest.mark.parametrize("target", [0, 1])
def test_the_reference_is_the_most_similar_one_for_the_neuron(target: int) -> None:
    image, references = pair(n=1, dtype=torch.float32)[0], pair(1, n=20, dtype=torch.float32)[1]
    readout = LinearReadout(torch.tensor([[1.0, 2.0, 0.0, 0.5, 1.0], [0.0, 0.1, 3.0, -1.0, 1.0]]))
    similarity, features = NeuronSimilarity(encoder(), readout), encoder()
    found = explain_pair(similarity, image, references, target=target, methods=["paper", "ours-layer"])
    with torch.no_grad():
        weighted = [readout.weight[target] * features(images) for images in (image, references)]
    torch.testing.assert_close(found.similarities, cosine_similarity(*weighted))
    assert found.reference == int(cosine_similarity(*weighted).argmax())
    chosen = references[[found.reference]]
    alone = explain(similarity, (image, chosen), target, methods=["paper", "ours-layer"])
    assert list(found.explanations) == ["paper", "ours-layer"]
    for name, each in alone.items():
        torch.testing.assert_close(each.attributions, found.explanations[name].attributions)


def test_the_reference_can_be_chosen_by_another_similarity() -> None:
    image, references = pair(n=1, dtype=torch.float32)[0], pair(1, n=20, dtype=torch.float32)[1]
    with torch.no_grad():
        latent = [encoder()(images) for images in (image, references)]
    centred = NeuronSimilarity(encoder(), LinearReadout([[1.0] * 5], feature_mean=latent[1].mean(0)))
    plain = cosine_similarity(*latent)
    found = explain_pair(centred, image, references, methods=["paper"], similarities=plain)
    torch.testing.assert_close(found.similarities, plain)
    assert found.reference == int(plain.argmax())
