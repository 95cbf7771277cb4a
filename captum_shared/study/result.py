"""What comes of a study, and the files that hold it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

from jaxtyping import Float32, UInt8
from numpy import ndarray

from captum_shared._files import write_atomically
from captum_shared._reading import opened
from captum_shared.study.archive import AGAIN, Archive
from captum_shared.study.behaviour import Behaviour
from captum_shared.study.concordance import Concordance
from captum_shared.study.evidence import EVIDENCE, PairEvidence, RankedReference, Responses, evidence_in
from captum_shared.study.json_numbers import interval, with_nan, with_null

Kind: TypeAlias = Literal["strong", "dissimilar", "weak"]

FORMAT: Final = 2
"""Version of the files of a study, in its settings; those of version 1 have none, and no evidence either."""

SIDES = ("image", "reference")
_OPTIONAL = ("agreement", "gradient_ig_correlation")
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
        references: the best of those that the reference was chosen among, best first; none in files of version 1.

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
    references: tuple[RankedReference, ...] = ()

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> PairResult:
        """Make one of what JSON holds of it.

        Args:
            entry: its attributes, with None in place of NaN.

        Returns:
            The same as was written.
        """
        references = tuple(RankedReference(**with_nan(each)) for each in entry.get("references", ()))
        return cls(**{**with_nan(entry, but=_OPTIONAL), "references": references})


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
        maps: ndarray = self._archive.of("maps", neuron)[:, :, self.methods.index(method)]
        return maps

    def picture(self, image: str) -> UInt8[ndarray, "row column channel"]:
        """Read an image as the network saw it, of the size of the maps.

        Args:
            image: identifier of an image that is in a pair, or among its ranked references.

        Returns:
            RGB, 0 to 255.

        Raises:
            ValueError: if the image is none of these, or the file is damaged.
        """
        return self._archive.of("pictures", image)

    def evidence(self, neuron: str) -> tuple[PairEvidence, ...] | None:
        """Read why the maps of a neuron's pairs are what they are.

        Args:
            neuron: its name.

        Returns:
            One entry a pair; None if the study is of an older version, or its layer has no positions.

        Raises:
            ValueError: if nothing of such a neuron was explained, or the file is damaged.
        """
        archive, older = self._archive, self.settings.get("format", 1) < FORMAT
        known = archive.names("evidence", optional=older) or ()
        if neuron not in known and neuron in (archive.names("maps") or ()):
            return None
        arrays = archive.all_of(EVIDENCE, neuron)
        with opened(self.map_file, "file of the maps of a study", AGAIN):
            return evidence_in(arrays)

    @cached_property
    def responses(self) -> Responses | None:
        """The responses to all images of the recording; None if the study is of an older version."""
        names = self._archive.names("responses", optional=self.settings.get("format", 1) < FORMAT)
        if names is None:
            return None
        categories = self._archive.array("categories").tolist()
        return Responses(names, tuple(categories), self._archive.array("responses"))

    @cached_property
    def _archive(self) -> Archive:
        """The file with maps and pictures, opened once."""
        return Archive(self.map_file)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_archive", "responses")}

    def save(self, path: str | Path) -> None:
        """Write everything but maps and pictures to a JSON file, all of it or nothing.

        Args:
            path: the file; NaN is written as null.
        """
        content = {name: value for name, value in asdict(self).items() if name != "map_file"}
        content = {name: value for name, value in content.items() if value or name not in _WHERE_KNOWN}
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(with_null(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> StudyResult:
        """Read what :meth:`save` wrote; maps and pictures stay in ``maps.npz`` beside it until they are needed.

        Args:
            path: ``study.json``, or its folder.

        Returns:
            The study.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not a study, or one of a newer format.
        """
        file = Path(path) / "study.json" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"Expected a finished study, got no file at {file}: check the path, or resume it.")
        with opened(file, "study written by captum-shared", AGAIN):
            content = json.loads(file.read_text(encoding="utf-8"))
            _check_format(content["settings"].get("format", 1))
            if "n_steps" in content["settings"]:
                raise ValueError("one of an earlier version, whose maps have no methods")
            if any("null_interval" not in entry for entry in content["neurons"]):
                raise ValueError("one of an earlier version, which does not tell what chance alone predicts")
            neurons = tuple(_neuron(entry) for entry in content.pop("neurons"))
            for name in ("null_interval", "ooc_null_interval"):
                content[name] = interval(content[name])
            content["compared"] = tuple(map(Concordance.read, content.get("compared", ())))
            if "behaviour" in content:
                content["behaviour"] = Behaviour.read(content["behaviour"])
            return cls(**content, neurons=neurons, map_file=file.with_name("maps.npz"))


def _check_format(version: object) -> None:
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"Expected a study of format 1 to {FORMAT}, got {version!r}. {AGAIN}")
    if version > FORMAT:
        raise ValueError(
            f"Expected a study of format 1 to {FORMAT}, got one of format {version}, which a newer version of "
            "captum-shared has written: update captum-shared."
        )


def _neuron(entry: dict[str, Any]) -> NeuronResult:
    pairs = tuple(map(PairResult.read, entry.pop("pairs")))
    tuples = {"drivers": tuple(entry["drivers"]), "null_interval": interval(entry["null_interval"])}
    return NeuronResult(**with_nan({**entry, **tuples}), pairs=pairs)
