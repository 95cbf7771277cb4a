"""What a study is asked for, and how to tell one study from another."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import numpy as np
from numpy import ndarray

from captum_shared._resuming import digest
from captum_shared.encoders.features import LatentFeatures
from captum_shared.recordings.recording import Recording

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
        center: whether to centre the features by their mean over the preferred category; the paper does not.
        folds: of the cross-validation.
        n_steps: of Integrated Gradients, from mid-grey.
        seed: of the folds.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> StudySettings("body", n_strong=1).n_pairs
        3
    """

    preferred: str
    n_strong: int = 2
    n_dissimilar: int = 1
    n_weak: int = 1
    driver_fraction: float = 0.25
    center: bool = False
    folds: int = 10
    n_steps: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"n_strong": 1, "n_dissimilar": 0, "n_weak": 0, "folds": 2, "n_steps": 1, "seed": 0}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} of at least {least}, got {getattr(self, name)}: raise it.")
        if not 0 < self.driver_fraction <= 1:
            raise ValueError(f"Expected a driver_fraction above 0 and up to 1, got {self.driver_fraction}.")

    @property
    def n_pairs(self) -> int:
        """The most pairs that a neuron gets."""
        return self.n_strong + self.n_dissimilar + self.n_weak


def description(
    recording: Recording, features: LatentFeatures, settings: StudySettings, *, model: str
) -> dict[str, Any]:
    """Describe a study so that two have equal descriptions just if they are the same study.

    Responses, images and weights are told by the SHA-256 of their content, so neither the format of the recording nor
    the place of a file matters.

    Args:
        recording: the recording, with image files.
        features: the encoder.
        settings: what is asked for.
        model: the name of the network.

    Returns:
        Names and values, ready for JSON.
    """
    state = {name: value.detach().cpu().numpy() for name, value in features.state_dict().items()}
    return {
        "recording": digest(_content(recording)),
        "images": digest(path.read_bytes() for path in recording.paths or ()),
        "model": model,
        "weights": digest(part for name, value in sorted(state.items()) for part in (name.encode(), _bytes(value))),
        "layer": features.layer,
        "pool": features.pool,
        "preprocess": repr(features.preprocess),
        **asdict(settings),
    }


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


def _bytes(array: ndarray) -> bytes:
    canonical = np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array  # one kind of NaN
    return repr(canonical.shape).encode() + canonical.tobytes()
