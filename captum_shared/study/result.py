"""What comes of a study, and the files that hold it."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from numpy.lib.npyio import NpzFile

from captum_shared._files import write_atomically
from captum_shared._reading import opened
from captum_shared.study.behaviour import Behaviour
from captum_shared.study.concordance import Concordance

Kind: TypeAlias = Literal["strong", "dissimilar", "weak"]

SIDES = ("image", "reference")
_OPTIONAL = ("agreement", "gradient_ig_correlation")
_AGAIN = "Run the study again, into a new folder, or resume it where it is."
_WHERE_KNOWN = ("compared", "behaviour")  # written only if there is something to write
AXES = ("pair", "side", "method", "row", "column")


@dataclass(frozen=True)
class PairResult:
    """An image outside the preferred category, its reference, and what was measured of the two.

    Attributes:
        kind: ``"strong"``, among the images that drive the neuron most; ``"dissimilar"``, of all that drive it the
            one whose best reference is least similar; ``"weak"``, one that drives it least.
        image: identifier of the image.
        reference: identifier of the reference.
        response: of the neuron to the image, mean over phases, in the unit of the recording.
        reference_response: of the neuron to the reference.
        similarity: neuron-specific similarity, between -1 and 1.
        agreement: how much the two share that drives the neuron, between 0 and 1: the total of its first map that has
            such a scale, as the recommended one has; None if no method of the study has one.
        intensity: by method the mean of the two maps over their pixels, in the unit of the method.
        gradient_ig_correlation: Spearman's rank correlation of the paper's maps with those of Integrated Gradients,
            over the pixels of the :func:`~captum_shared.study.foreground`, mean of image and reference; None if one of
            the two methods is not in the study, or a map is constant there.

    Example:
        >>> PairResult("strong", "mug", "hand", 21.0, 30.0, 0.6, 0.31).agreement
        0.31
    """

    kind: Kind
    image: str
    reference: str
    response: float
    reference_response: float
    similarity: float
    agreement: float | None = None
    intensity: Mapping[str, float] = field(default_factory=dict)
    gradient_ig_correlation: float | None = None


@dataclass(frozen=True)
class NeuronResult:
    """What was measured of one neuron; numbers that could not be measured are NaN.

    Attributes:
        name: the neuron.
        region: where it was recorded; empty if unknown.
        subject: whom it was recorded from; empty if unknown.
        excluded: why it has no pairs and is left out of all means; empty for a neuron that takes part.
        heldout_correlation: of predicted and recorded responses on held-out images of the preferred category.
        ooc_correlation: the same on images of other categories, never trained on.
        reliability: on the preferred category, correlation of two phases, which is the reliability of one of them; or
            that of split halves, corrected to all of the data.
        ooc_reliability: the same on the other categories.
        preferred_mean: mean response to the preferred category.
        ooc_mean: mean response to the other categories.
        drivers: identifiers of the images of the preferred category that drive it most, strongest first.
        pairs: the pairs explained.
        null_interval: what holds ``heldout_correlation`` with probability 0.95 if nothing predicts the neuron; NaN if
            not known.
        ceiling: how high the correlation of any predictions with the recorded mean responses can be expected to be on
            the preferred category, the root of their reliability; NaN if not known.
        ooc_ceiling: the same on the other categories.

    Example:
        >>> NeuronResult("A", "IT", "", "silent", *[math.nan] * 6).excluded
        'silent'
    """

    name: str
    region: str
    subject: str
    excluded: str
    heldout_correlation: float
    ooc_correlation: float
    reliability: float
    ooc_reliability: float
    preferred_mean: float
    ooc_mean: float
    drivers: tuple[str, ...] = ()
    pairs: tuple[PairResult, ...] = ()
    null_interval: tuple[float, float] = (math.nan, math.nan)
    ceiling: float = math.nan
    ooc_ceiling: float = math.nan

    @property
    def unpredicted(self) -> bool:
        """Whether the neuron is predicted no better than chance lets one expect; False where that is not known."""
        return not math.isnan(self.null_interval[1]) and not self.heldout_correlation > self.null_interval[1]


@final
@dataclass(frozen=True)
class StudyResult:
    """A study, with its maps and pictures where they are needed.

    Attributes:
        settings: what was asked for: recording, preferred category, model, layer, ...
        versions: of the packages that computed it.
        seed: of the folds.
        null_interval: what holds the correlation on held-out images with probability 0.95 if nothing predicts a neuron
            (:func:`~captum_shared.heldout_null_interval`), recorded for all of them.
        ooc_null_interval: two-sided 5 % interval of a correlation over the images of other categories if there is none
            (ρ = 0).
        neurons: one entry a neuron of the recording.
        map_file: the file with maps and pictures.
        layers: if the layer was chosen among several, how well each predicts held-out images of the preferred
            category: the correlation, mean of the neurons.
        compared: how far subjects agree, and regions, where there are several.
        behaviour: how a behavioural measure goes with what neurons make of the images; None if there is none.

    Example:
        >>> result = StudyResult({"preferred": "body"}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (), Path("maps.npz"))
        >>> result.included
        ()
    """

    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    null_interval: tuple[float, float]
    ooc_null_interval: tuple[float, float]
    neurons: tuple[NeuronResult, ...]
    map_file: Path = field(compare=False)
    layers: Mapping[str, float] = field(default_factory=dict)
    compared: tuple[Concordance, ...] = ()
    behaviour: Behaviour | None = None

    @property
    def included(self) -> tuple[NeuronResult, ...]:
        """The neurons that take part."""
        return tuple(neuron for neuron in self.neurons if not neuron.excluded)

    @property
    def explained(self) -> tuple[NeuronResult, ...]:
        """The neurons with pairs: those that take part and are predicted, or all that take part (``all_neurons``)."""
        return tuple(neuron for neuron in self.included if neuron.pairs)

    @property
    def layer(self) -> str:
        """The layer at which the network was cut."""
        return max(self.layers, key=self.layers.__getitem__) if self.layers else str(self.settings["layer"])

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods that made the maps."""
        return tuple(self.settings.get("methods", ()))

    def maps(self, neuron: str, method: str) -> Float32[ndarray, "pair side row column"]:
        """Read the maps of a neuron's pairs, in the unit of the method, not normalised.

        Args:
            neuron: its name.
            method: one of :attr:`methods`.

        Returns:
            Non-negative maps (:func:`~captum_shared.attr.heatmap`); the image's first, then the reference's.

        Raises:
            KeyError: if there are no maps by such a method.
            ValueError: if there are none of such a neuron, or the file is damaged.
        """
        if method not in self.methods:
            raise KeyError(f"{self.map_file} has no maps by {method!r}, but by {', '.join(self.methods) or 'none'}.")
        maps: ndarray = self._read("maps", neuron)[:, :, self.methods.index(method)]
        return maps

    def picture(self, image: str) -> UInt8[ndarray, "row column channel"]:
        """Read an image as the network saw it, of the size of the maps.

        Args:
            image: identifier of an image that is in a pair.

        Returns:
            RGB, 0 to 255.

        Raises:
            ValueError: if the image is in no pair, or the file is damaged.
        """
        picture: ndarray = self._read("pictures", image)
        return picture

    def _read(self, what: str, name: str) -> ndarray:
        with opened(self.map_file, "file of the maps of a study", _AGAIN):
            archive, members = self._opened
        if name not in members[what]:
            raise ValueError(
                f"Expected {what} of {name!r} in {self.map_file}, beside {self.map_file.with_name('study.json')}, got "
                f"those of {len(members[what])} others: it is of another study, or nothing of that name was explained."
            )
        with opened(self.map_file, "file of the maps of a study", _AGAIN):
            array: ndarray = archive[members[what][name]]
        return array

    @cached_property
    def _opened(self) -> tuple[NpzFile, dict[str, dict[str, str]]]:
        """The file with maps and pictures, opened once, and its members by name."""
        archive = np.load(self.map_file)
        weakref.finalize(self, archive.close)
        return archive, {
            what: {name: f"{what}/{member:05d}" for member, name in enumerate(archive[f"{what}_names"].tolist())}
            for what in ("maps", "pictures")
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_opened"}

    def save(self, path: str | Path) -> None:
        """Write everything but maps and pictures to a JSON file, all of it or nothing.

        Args:
            path: the file; NaN is written as null.
        """
        content = {name: value for name, value in asdict(self).items() if name != "map_file"}
        content = {name: value for name, value in content.items() if value or name not in _WHERE_KNOWN}
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(_with_null(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> StudyResult:
        """Read what :meth:`save` wrote; maps and pictures stay in ``maps.npz`` beside it until they are needed.

        Args:
            path: ``study.json``, or its folder.

        Returns:
            The study.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not a study.
        """
        file = Path(path) / "study.json" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"Expected a finished study, got no file at {file}: check the path, or resume it.")
        with opened(file, "study written by captum-shared", _AGAIN):
            content = json.loads(file.read_text(encoding="utf-8"))
            if "n_steps" in content["settings"]:
                raise ValueError("one of an earlier version, whose maps have no methods")
            if any("null_interval" not in entry for entry in content["neurons"]):
                raise ValueError("one of an earlier version, which does not tell what chance alone predicts")
            neurons = tuple(_neuron(entry) for entry in content.pop("neurons"))
            for interval in ("null_interval", "ooc_null_interval"):
                content[interval] = _interval(content[interval])
            content["compared"] = tuple(map(Concordance.read, content.get("compared", ())))
            if "behaviour" in content:
                content["behaviour"] = Behaviour.read(content["behaviour"])
            return cls(**content, neurons=neurons, map_file=file.with_name("maps.npz"))


def _neuron(entry: dict[str, Any]) -> NeuronResult:
    pairs = tuple(PairResult(**_with_nan(pair, but=_OPTIONAL)) for pair in entry.pop("pairs"))
    tuples = {"drivers": tuple(entry["drivers"]), "null_interval": _interval(entry["null_interval"])}
    return NeuronResult(**_with_nan({**entry, **tuples}), pairs=pairs)


def _interval(ends: Sequence[float | None]) -> tuple[float, float]:
    low, high = (math.nan if end is None else end for end in ends)
    return low, high


def _with_nan(entry: dict[str, Any], but: Sequence[str] = ()) -> dict[str, Any]:
    return {name: math.nan if value is None and name not in but else value for name, value in entry.items()}


def _with_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
