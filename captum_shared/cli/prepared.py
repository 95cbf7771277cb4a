"""What ``captum-shared study`` is asked for, read and judged: for the study itself, and for ``--check``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, final

from captum_shared._files import check_place, file_names
from captum_shared.cli.app import listed
from captum_shared.cli.networks import AUTO, available
from captum_shared.cli.wanted import nearest
from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name, layers_by_name
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.pooling import Pool
from captum_shared.encoders.store import FeatureStore
from captum_shared.methods.registry import DEFAULT_METHODS
from captum_shared.recordings.recording import Recording
from captum_shared.study.behaviour import BehaviourTable
from captum_shared.study.run import check_recording
from captum_shared.study.settings import StudySettings

Result = TypeVar("Result")


@final
@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """The options of the command, by their names there."""

    recording: Path
    images: Path
    preferred: str
    model: Sequence[str]
    layer: Sequence[str]
    output: Path
    weights: Sequence[str] | None
    pool: Pool
    stimuli: Path | None
    by_row: bool
    skip_missing: bool
    allow_outside: bool
    follow_links: bool
    neurons: list[str] | None
    region: list[str] | None
    features: Sequence[Path] | None
    skip_bad: bool
    max_pixels: int | None
    window: tuple[float, float]
    strong: int
    dissimilar: int
    weak: int
    driver_fraction: float
    method: list[str] | None
    all_neurons: bool
    behaviour: Path | None
    show: str | None
    folds: int
    seed: int
    device: str
    engine: Any
    address: str | None
    workers: int | None
    resume: bool
    figures: Any
    no_report: Any


@final
@dataclass(frozen=True)
class Network:
    """A network of a study.

    Attributes:
        name: of the network.
        encoder: it, at a layer or at several.
        store: of its features, if they are known.
        output: the folder of its study.
    """

    name: str
    encoder: LatentFeatures | LayerFeatures
    store: FeatureStore | None
    output: Path


@final
@dataclass(frozen=True)
class Prepared:
    """All that a study needs, found to be right.

    Attributes:
        options: what was asked for.
        settings: of the study.
        recording: responses and images.
        networks: one or several.
        behaviour: a measure, if there is one.
    """

    options: StudyOptions
    settings: StudySettings
    recording: Recording
    networks: tuple[Network, ...]
    behaviour: BehaviourTable | None


@final
@dataclass(frozen=True)
class Attempts:
    """Steps of which each is tried, so that all problems are told at once."""

    problems: list[Exception] = field(default_factory=list)

    def __call__(self, step: Callable[..., Result], *known: Any) -> Result | None:
        """Take a step, unless what it needs is missing.

        Args:
            step: what to do.
            known: what it needs, of earlier steps.

        Returns:
            What comes of it, or None.
        """
        if any(each is None for each in known):
            return None
        try:
            return step(*known)
        except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
            self.problems.append(error)
            return None

    def check(self) -> None:
        """Raise an error if there were problems, with all of them."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            numbered = (f"\n{number}. {error}" for number, error in enumerate(self.problems, 1))
            raise ValueError(f"{len(self.problems)} things are wrong.{''.join(numbered)}") from self.problems[0]


def prepared(options: StudyOptions) -> Prepared:
    """Read all that a study needs, and judge it, before anything is computed or written.

    Args:
        options: what is asked for.

    Returns:
        All of it.

    Raises:
        ValueError: with all that is wrong, if several things are; otherwise any error that a step raises.
    """
    attempt = Attempts()
    attempt(lambda: check_place(options.output))
    settings = attempt(lambda: _settings(options))
    networks = attempt(lambda: _networks(options))
    recording = attempt(lambda: _recording(options))
    behaviour = attempt(lambda known: _behaviour(options, known), recording)
    attempt(check_recording, recording, settings)
    attempt.check()
    if settings is None or networks is None or recording is None:
        raise RuntimeError("Expected a study that is prepared or wrong, got neither: report it.")
    return Prepared(options, settings, recording, networks, behaviour)


def _settings(options: StudyOptions) -> StudySettings:
    settings = StudySettings(
        options.preferred,
        options.strong,
        options.dissimilar,
        options.weak,
        options.driver_fraction,
        methods=listed(options.method) or DEFAULT_METHODS,
        all_neurons=options.all_neurons,
        folds=options.folds,
        seed=options.seed,
    )
    if options.show is not None and options.show not in settings.methods:
        raise ValueError(
            f"Expected --show to name a method of the study ({', '.join(settings.methods)}), got {options.show!r}: add "
            "it by --method."
        )
    return settings


def _recording(options: StudyOptions) -> Recording:
    """The recording, or some of its neurons."""
    recording = Recording.load(
        options.recording,
        images=options.images,
        stimuli=options.stimuli,
        window=options.window,
        follow_links=options.follow_links,
        by_row=options.by_row,
        skip_missing=options.skip_missing,
        allow_outside=options.allow_outside,
    )
    if options.neurons:
        whole = {*options.neurons} <= {*recording.neuron_names}  # names may have commas
        recording = recording.select(neurons=options.neurons if whole else listed(options.neurons))
    for region in options.region or ():
        if region not in recording.regions:
            there = sorted({*recording.regions})
            raise ValueError(f"Expected a region of the recording, got {region!r}: {nearest(region, there)}")
    if options.region:
        recording = recording.select(neurons=[each in options.region for each in recording.regions])
    return recording


def _behaviour(options: StudyOptions, recording: Recording) -> BehaviourTable | None:
    return None if options.behaviour is None else BehaviourTable.read(options.behaviour, recording.stimulus_ids)


def _networks(options: StudyOptions) -> tuple[Network, ...]:
    """The networks with their stores and folders."""
    named = _named(options.model, options.weights or [], options.layer)
    given = options.features or []
    if given and len(given) != len(named):
        raise ValueError(
            f"Expected --features for each of the {len(named)} models, or for none, got {len(given)}: give a store of "
            "each, in the same order."
        )
    stores: list[FeatureStore | None] = [FeatureStore.open(path) for path in given]
    device = available(options.device)
    folders = file_names([f"{name}-{cut}" for name, _, cut in named], kept="-.")
    networks = []
    for index, ((name, file, cut), store) in enumerate(zip(named, stores or [None] * len(named), strict=True)):
        if cut == AUTO:
            encoder: LatentFeatures | LayerFeatures = layers_by_name(name, weights=file, pool=options.pool)
        else:
            encoder = encoder_by_name(name, cut, weights=file, pool=options.pool)
        output = options.output / folders[index] if index else options.output
        networks.append(Network(name, encoder.to(device), store, output))
    return tuple(networks)


def _named(models: Sequence[str], weights: Sequence[str], layers: Sequence[str]) -> list[tuple[str, str | None, str]]:
    """Model, weights and layer of each encoder."""
    if len(layers) not in (1, len(models)):
        raise ValueError(f"Expected one --layer, or one for each of the {len(models)} models, got {len(layers)}.")
    trained = [model for model in models if model != EMBEDDED]
    if len(weights) != len(trained):
        raise ValueError(
            f"Expected --weights for each model but {EMBEDDED!r} ({', '.join(trained) or 'here none'}), got "
            f"{len(weights)}: give DEFAULT for those of torchvision, or a file."
        )
    files = iter(weights)
    cuts = list(layers) * (len(models) if len(layers) == 1 else 1)
    encoders = [
        (model, None if model == EMBEDDED else next(files), cut) for model, cut in zip(models, cuts, strict=True)
    ]
    if len({(model, cut) for model, _, cut in encoders}) < len(encoders):
        raise ValueError("Expected models that differ in name or layer, got one twice: leave one out.")
    return encoders
