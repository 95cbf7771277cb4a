"""The steps of the experiment: how well readouts generalise, pairs, maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from numpy import ndarray
from torch import Tensor

from captum_shared.attr.references import ReferenceBank
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import load_inputs
from captum_shared.images import to_display
from captum_shared.methods.explanation import Explanation, explain
from captum_shared.methods.ours import PAPER
from captum_shared.neurons.noise import ceiling, exclusions
from captum_shared.neurons.readout import LinearReadout
from captum_shared.neurons.validation import ooc_correlation
from captum_shared.recordings.missing import nanmean
from captum_shared.recordings.recording import Recording
from captum_shared.study.correlation import foreground, pair_correlation
from captum_shared.study.evidence import PairEvidence, RankedReference, Responses
from captum_shared.study.evidencing import Evidencing
from captum_shared.study.pairs import ChosenPair, choose_pairs, ranked_references
from captum_shared.study.readouts import recorded_reliability
from captum_shared.study.result import NeuronResult, PairResult
from captum_shared.study.settings import StudySettings

_GRADIENT, _INTEGRATED = "paper", "ours-ig"
_BATCH = 8  # pairs


@final
@dataclass(frozen=True)
class Experiment:
    """Everything that the neurons of a study have in common.

    Attributes:
        recording: responses and image files.
        features: the encoder, with its ``preprocess`` set.
        latent: the latent features of all images.
        settings: what is asked for.
        readout: the neurons, of :func:`~captum_shared.study.readouts.preferred_readout`.
    """

    recording: Recording
    features: LatentFeatures
    latent: Float[Tensor, "image feature"]
    settings: StudySettings
    readout: LinearReadout

    @cached_property
    def preferred(self) -> Bool[ndarray, " image"]:
        """Which images are of the preferred category."""
        return self.recording.in_category(self.settings.preferred)

    @cached_property
    def excluded(self) -> tuple[str, ...]:
        """For each neuron why it cannot take part, or nothing."""
        fitted, judged = (exclusions(self._mean[images]) for images in self._split)
        return tuple(
            f"{inside} (preferred category)" if inside else f"{outside} (other categories)" if outside else ""
            for inside, outside in zip(fitted, judged, strict=True)
        )

    @cached_property
    def _similarity(self) -> NeuronSimilarity:
        """Of centred features, from which methods take what they need."""
        return NeuronSimilarity(self.features, self.readout)

    @cached_property
    def _searched(self) -> NeuronSimilarity:
        """The similarity by which references are searched, of features as they are in the paper."""
        return PAPER.of(self._similarity)

    @cached_property
    def _mean(self) -> Float64[ndarray, "image neuron"]:
        """Mean responses, of which the recording hands out a copy each time."""
        return self.recording.mean

    @cached_property
    def _evidencing(self) -> Evidencing:
        return Evidencing(self._similarity, self._inputs, self._mean, self.settings.seed)

    @cached_property
    def bank(self) -> ReferenceBank:
        """The images of the preferred category, by their features."""
        return ReferenceBank.from_features(
            self._searched,
            self.latent[self.preferred],
            responses=self._mean[self.preferred],
            driver_fraction=self.settings.driver_fraction,
        )

    @property
    def _split(self) -> tuple[ndarray, ndarray]:
        return self.preferred, ~self.preferred

    def numbers(self) -> dict[str, Float64[ndarray, " neuron"]]:
        """Judge the readouts, and compare them with what the noise of the recording lets one expect.

        Returns:
            The numbers of :class:`NeuronResult` by name, one a neuron.
        """
        mean, (inside, outside) = self._mean, self._split
        reliabilities = [recorded_reliability(self.recording, images) for images in (inside, outside)]
        phases = self.recording.n_phases  # of which there is one where the reliability is that of corrected halves
        numbers: dict[str, ndarray] = {
            "heldout_correlation": _known(self.readout.heldout_correlation),
            "ooc_correlation": ooc_correlation(self.readout, self.latent[outside], mean[outside]),
            "reliability": reliabilities[0],
            "ooc_reliability": reliabilities[1],
            "ceiling": ceiling(reliabilities[0], phases=phases),
            "ooc_ceiling": ceiling(reliabilities[1], phases=phases),
            "preferred_mean": nanmean(mean[inside], axis=0),
            "ooc_mean": nanmean(mean[outside], axis=0),
        }
        return {name: np.asarray(values, dtype=np.float64) for name, values in numbers.items()}

    def neurons(self, numbers: Mapping[str, Float64[ndarray, " neuron"]]) -> list[NeuronResult]:
        """Describe the neurons.

        Args:
            numbers: of :meth:`numbers`.

        Returns:
            One result a neuron, without pairs.
        """
        intervals = _known(self.readout.null_interval)
        return [
            NeuronResult(
                name=name,
                region=self.recording.regions[neuron],
                subject=self.recording.subjects[neuron],
                excluded=self.excluded[neuron],
                drivers=self._drivers(neuron),
                null_interval=(float(intervals[neuron, 0]), float(intervals[neuron, 1])),
                **{measure: float(values[neuron]) for measure, values in numbers.items()},  # type: ignore[arg-type]
            )
            for neuron, name in enumerate(self.recording.neuron_names)
        ]

    @property
    def null_interval(self) -> tuple[float, float]:
        """That of held-out correlations of the neurons that are recorded for most images; NaN if none can be judged."""
        intervals = _known(self.readout.null_interval)
        judged = intervals[~np.isnan(intervals).any(axis=1)]
        return (float(judged[:, 0].max()), float(judged[:, 1].min())) if len(judged) else (math.nan, math.nan)

    def explains(self, neuron: NeuronResult) -> bool:
        """Tell whether pairs of a neuron are explained.

        Args:
            neuron: what was measured of it.

        Returns:
            Whether it takes part, and is predicted better than by chance or to be explained in any case.
        """
        return not neuron.excluded and (self.settings.all_neurons or not neuron.unpredicted)

    def _drivers(self, neuron: int) -> tuple[str, ...]:
        images = np.flatnonzero(self.preferred)[self.bank.drivers(neuron).cpu().numpy()]
        return tuple(self.recording.stimulus_ids[image] for image in images)

    def pairs(self, neuron: int) -> tuple[ChosenPair, ...]:
        """Choose the pairs to explain for a neuron.

        Args:
            neuron: its index.

        Returns:
            The pairs.
        """
        return choose_pairs(
            self._mean[:, neuron],
            self.preferred,
            self.latent,
            bank=self.bank,
            neuron=neuron,
            settings=self.settings,
        )

    def pairs_of(self, neuron: NeuronResult) -> tuple[ChosenPair, ...]:
        """Take over the pairs of a neuron from another study of the recording.

        Args:
            neuron: the neuron in the other study.

        Returns:
            Its pairs, with their similarity in this encoder.
        """
        row = {name: image for image, name in enumerate(self.recording.stimulus_ids)}
        images, references = ([row[getattr(pair, side)] for pair in neuron.pairs] for side in ("image", "reference"))
        similarities = self._searched.of_features(self.latent[images], self.latent[references])
        index = self.readout.neuron_index(neuron.name)
        ranked = ranked_references(self.bank, self.latent[images], index, np.flatnonzero(self.preferred))
        each = zip(neuron.pairs, images, references, similarities[:, index].tolist(), ranked, strict=True)
        return tuple(ChosenPair(pair.kind, *others) for pair, *others in each)

    def explained(
        self, neuron: int, pairs: Sequence[ChosenPair]
    ) -> tuple[list[PairResult], Float32[ndarray, "pair side method row column"], list[PairEvidence]]:
        """Make the maps of a neuron's pairs.

        Args:
            neuron: its index.
            pairs: its pairs.

        Returns:
            What was measured, the maps by the methods of the settings, and why they are what they are, where that can
            be told.
        """
        results, maps, evidence = [], [], []
        every = [image for pair in pairs for image in (pair.image, pair.reference)]
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            inputs = self._inputs([pair.image for pair in batch]), self._inputs([pair.reference for pair in batch])
            passed = self._evidencing.passed(inputs, self.settings.methods)
            explanations = explain(self._similarity, inputs, neuron, methods=self.settings.methods, passed=passed)
            maps.append(_heatmaps(explanations))
            shared = _shared(explanations, len(batch))
            results += [self._measured(neuron, *each) for each in zip(batch, maps[-1], shared, strict=True)]
            evidence += self._evidencing.of(passed, neuron, every)
        return results, np.concatenate(maps), evidence

    @property
    def responses(self) -> Responses:
        """What neurons responded to all images."""
        return Responses(self.recording.stimulus_ids, self.recording.categories, self._mean.astype(np.float32))

    def picture(self, image: int) -> UInt8[ndarray, "row column channel"]:
        """Return an image as the network sees it.

        Args:
            image: its index.

        Returns:
            RGB, 0 to 255.
        """
        seen = to_display(self._inputs([image]), self.features.preprocess)[0]
        pixels: ndarray = np.rint(255 * seen.permute(1, 2, 0).cpu().numpy()).astype(np.uint8)
        return pixels

    def _inputs(self, images: Sequence[int]) -> Float[Tensor, "image channel height width"]:
        paths = self.recording.paths or ()
        return load_inputs(self.features, [paths[image] for image in images])

    def _measured(
        self, neuron: int, pair: ChosenPair, maps: Float32[ndarray, "side method row column"], agreement: float | None
    ) -> PairResult:
        responses, own = self._mean[:, neuron], dict(zip(self.settings.methods, maps.swapaxes(0, 1), strict=True))
        correlation = None
        if own.keys() >= {_GRADIENT, _INTEGRATED}:
            inside = np.stack([foreground(self.picture(image)) for image in (pair.image, pair.reference)])
            known = pair_correlation(own[_GRADIENT], own[_INTEGRATED], inside)
            correlation = None if math.isnan(known) else known
        return PairResult(
            kind=pair.kind,
            image=self.recording.stimulus_ids[pair.image],
            reference=self.recording.stimulus_ids[pair.reference],
            response=float(responses[pair.image]),
            reference_response=float(responses[pair.reference]),
            similarity=pair.similarity,
            agreement=agreement,
            intensity={name: float(each.mean(dtype=np.float64)) for name, each in own.items()},
            gradient_ig_correlation=correlation,
            references=tuple(
                RankedReference(self.recording.stimulus_ids[image], similarity, float(responses[image]))
                for image, similarity in pair.ranked
            ),
        )


def _known(values: Tensor | None) -> ndarray:
    """What the readout of a study knows."""
    if values is None:
        raise ValueError("Expected a readout that knows how well it predicts, as a study makes it, got another.")
    numbers: ndarray = values.cpu().numpy()
    return numbers


def _heatmaps(explanations: Mapping[str, Explanation]) -> Float32[ndarray, "pair side method row column"]:
    maps = torch.stack([torch.stack(each.heatmaps, dim=1) for each in explanations.values()], dim=2)
    return maps.float().cpu().numpy()


def _shared(explanations: Mapping[str, Explanation], n_pairs: int) -> Sequence[float | None]:
    """What each pair shares, by the first method that tells."""
    told = (each.shared for each in explanations.values() if each.shared is not None)
    return next((shared.tolist() for shared in told), [None] * n_pairs)
