"""What a user's typed code looks like; ``test_typing.py`` has mypy check it, and nothing runs it."""

from pathlib import Path

from torch import Tensor, nn
from typing_extensions import reveal_type

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    Recording,
    ReferenceBank,
    SharedCorrespondence,
    StudySettings,
    fit_readout,
    run_study,
)
from captum_shared.report import write_report


def most_similar(model: nn.Module, bodies: Tensor, objects: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of the objects and of the body that is most similar to each, for neuron 3."""
    features = LatentFeatures(model, "features", pool="average")
    readout = fit_readout(features(bodies), responses, center=True)
    similarity = NeuronSimilarity(features, readout)
    bank = ReferenceBank(similarity, bodies, responses=responses)
    match = bank.search(objects, target=3, top_k=1)
    method = SharedCorrespondence(similarity)
    reveal_type(features)
    reveal_type(readout)
    reveal_type(similarity)
    reveal_type(bank)
    reveal_type(match)
    reveal_type(match.indices)
    reveal_type(match.similarities)
    reveal_type(method)
    pair = (objects, bodies[match.indices[:, 0]])
    maps = method.attribute(pair, target=3)
    reveal_type(maps)
    in_paper = ParallelSharedAttribution(similarity).attribute(pair, target=3)
    reveal_type(in_paper)
    at_layer = LayerSharedAttribution(similarity, "features").attribute(pair, target=3)
    reveal_type(at_layer)
    return maps


def kept(readout: LinearReadout, file: Path) -> LinearReadout:
    """A readout that was written and read again."""
    readout.save(file)
    return LinearReadout.load(file)


def studied(features: LatentFeatures, file: Path, images: Path, output: Path) -> None:
    """A study of a recording, and its report."""
    recording = Recording.load(file, images=images)
    result = run_study(recording, features, StudySettings(preferred="creature"), output=output, model="mine")
    reveal_type(recording)
    reveal_type(result)
    reveal_type(result.neurons)
    reveal_type(write_report(output))


def refused(similarity: NeuronSimilarity, features: LatentFeatures, images: Tensor) -> None:
    """Mistakes that types tell of: mypy says so where one of them is not needed."""
    ReferenceBank(features, images)  # type: ignore[arg-type]
    SharedCorrespondence(similarity).attribute(images, target=3)  # type: ignore[arg-type]
