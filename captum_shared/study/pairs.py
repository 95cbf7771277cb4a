"""Which images to explain for a neuron, and with which references."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from numpy import ndarray
from torch import Tensor

from captum_shared.attr.references import ReferenceBank
from captum_shared.study.evidence import RANKED
from captum_shared.study.result import Kind
from captum_shared.study.settings import StudySettings


@dataclass(frozen=True)
class ChosenPair:
    """An image and its reference.

    Attributes:
        kind: why it was chosen, as in :class:`~captum_shared.study.PairResult`.
        image: index of the image in the recording.
        reference: index of the reference in the recording.
        similarity: neuron-specific similarity of the two, between -1 and 1.
        ranked: indices of the best of the references that it was chosen among, best first, and their similarities.
    """

    kind: Kind
    image: int
    reference: int
    similarity: float
    ranked: tuple[tuple[int, float], ...] = ()


def choose_pairs(
    responses: Float64[ndarray, " image"],
    preferred: Bool[ndarray, " image"],
    features: Float[Tensor, "image feature"],
    *,
    bank: ReferenceBank,
    neuron: int,
    settings: StudySettings,
) -> tuple[ChosenPair, ...]:
    """Choose images outside the preferred category for a neuron, and the best reference of each.

    Images without a recorded response are not chosen, and none is chosen twice: strong ones come first, then
    dissimilar ones, then weak ones.

    Args:
        responses: of the neuron, NaN where none was recorded.
        preferred: which images are of the preferred category.
        features: latent features of all images.
        bank: the images of the preferred category, in their order.
        neuron: the neuron.
        settings: how many of which kind.

    Returns:
        The pairs: strong ones with the strongest first, dissimilar ones with the least similar first, weak ones with
        the weakest first.

    Raises:
        ValueError: if there is no response outside the preferred category.
    """
    outside = np.flatnonzero(~preferred & ~np.isnan(responses))
    if len(outside) == 0:
        raise ValueError("Expected a response to at least one image outside the preferred category, got none.")
    ranked = outside[np.argsort(-responses[outside], kind="stable")]
    n_drivers = min(len(ranked), max(settings.n_strong, round(settings.driver_fraction * len(ranked))))
    asked = [
        *range(n_drivers),
        *range(max(n_drivers, len(ranked) - settings.n_pairs), len(ranked)),
    ]  # and nobody in between
    best = ranked_references(bank, features[ranked[asked]], neuron, np.flatnonzero(preferred))
    references = dict(zip(asked, best, strict=True))
    similarities = {rank: each[0][1] for rank, each in references.items()}
    strong = list(range(min(settings.n_strong, n_drivers)))
    dissimilar = sorted(range(len(strong), n_drivers), key=similarities.__getitem__)[: settings.n_dissimilar]
    chosen = {*strong, *dissimilar}
    weak = [rank for rank in reversed(asked) if rank not in chosen][: settings.n_weak]
    kinds: dict[Kind, list[int]] = {"strong": strong, "dissimilar": dissimilar, "weak": weak}
    return tuple(
        ChosenPair(kind, int(ranked[rank]), reference, similarity, references[rank])
        for kind, ranks in kinds.items()
        for rank in ranks
        for reference, similarity in references[rank][:1]
    )


def ranked_references(
    bank: ReferenceBank,
    features: Float[Tensor, "image feature"],
    neuron: int,
    images: Int[ndarray, " reference"],
) -> list[tuple[tuple[int, float], ...]]:
    """Rank the references of images.

    Args:
        bank: what to choose among.
        features: latent features of the images.
        neuron: the neuron.
        images: indices in the recording of the images of the bank.

    Returns:
        For every image the indices of its best references in the recording, best first, and their similarities.
    """
    match = bank.search_features(features, target=neuron, top_k=min(RANKED, len(bank.drivers(neuron))))
    indices, similarities = images[match.indices.cpu().numpy()].tolist(), match.similarities.double().tolist()
    return [tuple(zip(*each, strict=True)) for each in zip(indices, similarities, strict=True)]
