"""What a study is asked for, and how to tell one study from another."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy import ndarray
from PIL import Image

from captum_shared._resuming import digest
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.photographs import load_inputs
from captum_shared.methods.registry import DEFAULT_METHODS, methods_by_name
from captum_shared.recordings.recording import Recording
from captum_shared.study.result import FORMAT, StudyResult

PACKAGES: Final = ("captum-shared", "captum", "numpy", "scikit-learn", "torch", "torchvision")
"""What computes a study."""


@final
@dataclass(frozen=True)
class StudySettings:
    """What a study is asked for.

    Attributes:
        preferred: the preferred category; all other images are out of category (ooc.).
        n_strong: how many of the ooc. images that drive a neuron most to explain.
        n_dissimilar: how many more of its ooc. drivers, those with the least similar references, to explain.
        n_weak: how many of the ooc. images that drive it least to explain.
        driver_fraction: the share of images, preferred or ooc., that count as drivers of a neuron.
        methods: names of the methods that make the maps, of :data:`~captum_shared.methods.METHODS`. Each has its own
            way to centre; references are searched without, as in the paper.
        all_neurons: whether neurons are explained, too, that are predicted no better than by chance.
        folds: number of folds of the cross-validation.
        seed: seed of the folds.

    Raises:
        ImportError: if a method's package is not installed.
        ValueError: if a number is out of range, or there is no such method.

    Example:
        >>> StudySettings("body", n_strong=1).n_pairs
        3
    """

    preferred: str
    n_strong: int = 2
    n_dissimilar: int = 1
    n_weak: int = 1
    driver_fraction: float = 0.25
    methods: Sequence[str] = DEFAULT_METHODS
    all_neurons: bool = False
    folds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"n_strong": 1, "n_dissimilar": 0, "n_weak": 0, "folds": 2, "seed": 0}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}, got {getattr(self, name)}: raise it.")
        if not 0 < self.driver_fraction <= 1:
            raise ValueError(f"Expected a driver_fraction above 0 and up to 1, got {self.driver_fraction}.")
        if isinstance(self.methods, str) or not self.methods:
            raise ValueError(f"Expected a sequence of one or more names of methods, got {self.methods!r}.")
        object.__setattr__(self, "methods", tuple(method.name for method in methods_by_name(self.methods)))

    @property
    def n_pairs(self) -> int:
        """The most pairs that a neuron gets."""
        return self.n_strong + self.n_dissimilar + self.n_weak


def description(
    recording: Recording,
    features: LatentFeatures | LayerFeatures,
    settings: StudySettings,
    *,
    model: str,
    pairs_of: StudyResult | None = None,
) -> dict[str, Any]:
    """Describe a study so that two have equal descriptions just if they compute the same.

    Responses, images, weights and pairs are told by the SHA-256 of their content, so neither the format of the
    recording nor where a file lies matters, and the preprocessing by what it makes of a test card.

    Args:
        recording: the recording, with image files.
        features: the encoder, or the layers of which it is chosen.
        settings: what is asked for.
        model: the name of the network.
        pairs_of: the study whose pairs are explained; None if they are chosen.

    Returns:
        Names and values, ready for JSON.

    Raises:
        ValueError: if the encoder has no ``preprocess``, or ``pairs_of`` is a study of something else.
    """
    encoder = features if isinstance(features, LatentFeatures) else features.deepest
    state = {name: value.detach().cpu().numpy() for name, value in features.state_dict().items()}
    described = {
        "format": FORMAT,
        "recording": digest(_content(recording)),
        "images": digest(path.read_bytes() for path in recording.paths or ()),
        "model": model,
        "weights": digest(part for name, value in sorted(state.items()) for part in (name.encode(), _bytes(value))),
        "layer": features.layer if isinstance(features, LatentFeatures) else list(features.layers),
        "pool": features.pool,
        "preprocess": digest([_bytes(_preprocessed_card(encoder))]),
        "phases": recording.n_phases,
        "halves": recording.halves is not None,
        "published_reliability": recording.reliability is not None,
        **asdict(settings),
        "methods": list(settings.methods),
    }
    return described if pairs_of is None else {**described, "pairs_of": _pairs_digest(pairs_of, described)}


def _preprocessed_card(features: LatentFeatures) -> ndarray:
    """What the encoder sees of an image of many colours and edges that is wider than high."""
    row, column = np.indices((360, 480))
    card = np.stack([row * column, row ^ column, 7 * row + 3 * column], axis=2).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "card.png")
        Image.fromarray(card).save(file)
        seen: ndarray = load_inputs(features, [file]).cpu().numpy()
    return seen


def _pairs_digest(study: StudyResult, described: dict[str, Any]) -> str:
    for name in ("recording", "preferred"):
        if study.settings.get(name) != described[name]:
            raise ValueError(
                f"Expected pairs_of to be a study of the same recording and preferred category, got one that differs "
                f"in its {name}: run that study again, or leave out pairs_of."
            )
    return digest(
        text.encode()
        for neuron in study.included
        for pair in neuron.pairs
        for text in (neuron.name, pair.kind, pair.image, pair.reference)
    )


def _content(recording: Recording) -> Iterable[bytes]:
    texts = (
        recording.stimulus_ids,
        recording.categories,
        recording.neuron_names,
        recording.regions,
        recording.subjects,
    )
    yield from ("\0".join(text).encode() for text in texts)
    yield _bytes(recording.responses)
    if recording.halves is not None:
        yield _bytes(recording.halves)
    if recording.reliability is not None:
        yield _bytes(recording.reliability)


def _bytes(array: ndarray) -> bytes:
    canonical = np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array  # one kind of NaN
    return repr(canonical.shape).encode() + canonical.tobytes()
