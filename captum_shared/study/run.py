"""Run a study into a folder: what is done already is not done again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from captum_shared._engine import Engine, LocalEngine
from captum_shared._progress import Progress
from captum_shared._resuming import ResumableFolder, versions
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.store import FeatureStore
from captum_shared.neurons.noise import null_interval
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study.behaviour import BehaviourTable
from captum_shared.study.experiment import Experiment
from captum_shared.study.folder import MAPS, READOUT, STUDY, pairs_in, part_of, write_study
from captum_shared.study.latents import Latents
from captum_shared.study.layers import layer_correlations
from captum_shared.study.pieces import Explaining, kept_parts, readable
from captum_shared.study.readouts import preferred_readout
from captum_shared.study.relating import relate_behaviour
from captum_shared.study.result import NeuronResult, StudyResult
from captum_shared.study.settings import PACKAGES, StudySettings, description
from captum_shared.study.subjects import compare_groups


def run_study(
    recording: Recording,
    features: LatentFeatures | LayerFeatures,
    settings: StudySettings,
    *,
    output: str | Path,
    model: str,
    resume: bool = False,
    pairs_of: StudyResult | None = None,
    skip_bad: bool = False,
    store: FeatureStore | None = None,
    engine: Engine | None = None,
    behaviour: BehaviourTable | None = None,
    progress: bool = True,
) -> StudyResult:
    """Ask which objects drive each neuron of a recording, which preferred images they resemble for it, and where.

    Writes ``study.json``, ``maps.npz`` and ``readout.safetensors``. What is done survives an interruption, and a study
    that was resumed is the same as one that was not.

    Args:
        recording: responses and image files.
        features: the encoder, with its ``preprocess`` set; or several layers of a network, of which the one is taken
            that predicts held-out images of the preferred category best.
        settings: what is asked for.
        output: the folder to write to.
        model: name of the network, for the record.
        resume: whether to go on with the same study in ``output``, or return it if it is finished.
        pairs_of: a study of the same recording whose pairs to explain again with this encoder; None to choose pairs.
        skip_bad: whether images whose files are damaged, too large or no images are left out, with a warning; their
            identifiers are in ``settings["skipped"]``. Without it they are an error.
        store: of the features of the images; None to compute them. Of one that was written from the recording the study
            is the same; where it has other images, too, or the same in another order, to rounding.
        engine: what computes features and maps, with the same results; None: this process.
        behaviour: a behavioural measure of the images, to be related to what the neurons make of them; None for none.
        progress: whether to show progress bars.

    Returns:
        The study.

    Raises:
        FileNotFoundError: if an image file is missing.
        ValueError: if there is no image of the preferred category or none of another, there are fewer images than
            folds, no image files are known, the store is of another encoder or lacks images, ``pairs_of`` is a study of
            another recording, or ``output`` holds something else.

    Source:
        Lappe et al., Parallel Backpropagation for Shared-Feature Visualization, NeurIPS 2024, Figures 3 to 5.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> from captum_shared.encoders import encoder_by_name
        >>> rng = np.random.default_rng(0)
        >>> categories = ("body",) * 9 + ("object",) * 3
        >>> names = tuple(f"{category} {number}" for number, category in enumerate(categories))
        >>> settings = StudySettings("body", n_strong=1, all_neurons=True, folds=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = tuple(Path(folder, f"{name}.png") for name in names)
        ...     for file in files:
        ...         Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(file)
        ...     recording = Recording(rng.random((1, 12, 1)), names, categories, ("A",), ("IT",), ("",), files)
        ...     features = encoder_by_name("embedded", "features")
        ...     result = run_study(
        ...         recording, features, settings, output=Path(folder, "out"), model="embedded", progress=False
        ...     )
        >>> [(pair.kind, pair.image[:6], pair.reference[:4]) for pair in result.neurons[0].pairs]
        [('strong', 'object', 'body'), ('weak', 'object', 'body')]
    """
    engine = engine or LocalEngine()
    check_recording(recording, settings)
    recording, skipped = readable(recording, engine, progress=progress) if skip_bad else (recording, ())
    check_recording(recording, settings)
    described = description(recording, features, settings, model=model, pairs_of=pairs_of)
    described |= further_description(store, behaviour, skipped)
    with folder_of(output, described, resume=resume) as folder:
        if not folder.finished:
            latents = Latents.of(
                features, recording.paths or (), store, folder=folder, engine=engine, progress=progress
            )
            encoder, layers = _cut(folder, recording, features, latents, settings)
            experiment = _prepared(folder, recording, encoder, latents, settings, progress=progress)
            if not folder.holds(MAPS, STUDY):
                neurons = _explained(folder, experiment, engine, pairs_of=pairs_of, progress=progress)
                _write(folder, experiment, described, neurons=neurons, layers=layers, behaviour=behaviour)
            folder.clear()
    return StudyResult.load(folder.path)


def folder_of(output: str | Path, described: Mapping[str, Any], *, resume: bool) -> ResumableFolder:
    """The folder of a study.

    Args:
        output: where it is.
        described: what the study is.
        resume: whether to go on with the study in it.

    Returns:
        The folder, yet to be entered.
    """
    description = {**described, **versions(*PACKAGES)}
    return ResumableFolder(output, description, result=STUDY, files=(READOUT, MAPS), work="study", resume=resume)


def further_description(
    store: FeatureStore | None, behaviour: BehaviourTable | None, skipped: Sequence[str]
) -> dict[str, Any]:
    """Describe what else a study goes by, besides :func:`~captum_shared.study.settings.description`.

    Args:
        store: of the features of its images.
        behaviour: a behavioural measure.
        skipped: identifiers of the images that are left out.

    Returns:
        Names and values, ready for JSON.
    """
    described: dict[str, Any] = {}
    if store is not None and store.dtype != np.float32:
        described["features"] = str(store.dtype)
    if behaviour is not None:
        described["behaviour"] = behaviour.digest
    if skipped:
        described["skipped"] = list(skipped)
    return described


def _explained(
    folder: ResumableFolder,
    experiment: Experiment,
    engine: Engine,
    *,
    pairs_of: StudyResult | None,
    progress: bool,
) -> tuple[NeuronResult, ...]:
    """Judge all neurons, and explain their pairs, or those of another study; what comes of each is kept."""
    with Progress(total=1, desc="correlations", bar_format="{desc}: {elapsed}", disable=not progress):
        neurons = experiment.neurons(folder.once("numbers", experiment.numbers))
    same = {} if pairs_of is None else {neuron.name: neuron for neuron in pairs_of.explained}
    tasks = {
        part_of(index): neuron.name
        for index, neuron in enumerate(neurons)
        if experiment.explains(neuron) and (pairs_of is None or neuron.name in same)
    }
    bar = Progress(total=len(tasks), desc="maps", unit="neuron", disable=not progress)
    parts = kept_parts(folder, engine, Explaining(experiment, same), tasks, bar=bar)
    pairs = {tasks[part]: pairs_in(arrays) for part, arrays in parts}
    return tuple(replace(neuron, pairs=pairs.get(neuron.name, ())) for neuron in neurons)


def _write(
    folder: ResumableFolder,
    experiment: Experiment,
    described: dict[str, Any],
    *,
    neurons: tuple[NeuronResult, ...],
    layers: dict[str, float],
    behaviour: BehaviourTable | None,
) -> None:
    """Write maps and study."""
    result = StudyResult(
        settings=described,
        versions=versions(*PACKAGES),
        seed=experiment.settings.seed,
        null_interval=experiment.null_interval,
        ooc_null_interval=null_interval(int((~experiment.preferred).sum())),
        neurons=neurons,
        map_file=folder.path / MAPS,
        layers=layers,
        compared=compare_groups(experiment, neurons, folder.once),
        behaviour=None if behaviour is None else relate_behaviour(experiment, neurons, behaviour),
    )
    write_study(folder, result, _pictures(result.included, experiment), experiment.responses)


def _cut(
    folder: ResumableFolder,
    recording: Recording,
    features: LatentFeatures | LayerFeatures,
    latents: Latents,
    settings: StudySettings,
) -> tuple[LatentFeatures, dict[str, float]]:
    """The encoder and, if it is one of several layers, how well each of them predicts, which is kept."""
    if isinstance(features, LatentFeatures):
        return features, {}

    def compute() -> dict[str, ndarray]:
        return {"correlations": layer_correlations(recording, features.layers, latents, settings)}

    correlations = folder.once("layers", compute)["correlations"].tolist()
    layers = dict(zip(features.layers, correlations, strict=True))
    return features.at(max(layers, key=layers.__getitem__)), layers


def _prepared(
    folder: ResumableFolder,
    recording: Recording,
    features: LatentFeatures,
    latents: Latents,
    settings: StudySettings,
    *,
    progress: bool,
) -> Experiment:
    """The experiment with its features and readouts, which are kept."""
    latent, scatter = latents.at(features.layer), latents.scatter(features.layer)
    file = folder.add(
        READOUT,
        lambda path: preferred_readout(
            recording, latent, settings, features=features, scatter=scatter, progress=progress
        ).save(path),
    )
    return Experiment(recording, features, latent, settings, LinearReadout.load(file))


def check_recording(recording: Recording, settings: StudySettings) -> None:
    """Refuse a recording that a study cannot be made of.

    Args:
        recording: responses and image files.
        settings: of the study.

    Raises:
        ValueError: if there are too few images of the preferred category or of others, or no image files.
    """
    inside = int(recording.in_category(settings.preferred).sum())
    outside = recording.n_images - inside
    if outside < 3:
        raise ValueError(
            f"Expected 3 or more images of other categories than {settings.preferred!r}, got {outside}: add some."
        )
    if inside < settings.folds:
        raise ValueError(
            f"Expected at least as many images of {settings.preferred!r} as folds, got {inside} images and "
            f"{settings.folds} folds: lower folds, or add images."
        )
    if recording.paths is None:
        raise ValueError("Expected a recording with image files, got none: load it with images=FOLDER.")


def _pictures(neurons: Sequence[NeuronResult], experiment: Experiment) -> Iterator[tuple[str, ndarray]]:
    """The images in pairs and their ranked references, each once, as the network saw them."""
    pairs = [pair for neuron in neurons for pair in neuron.pairs]
    shown = {name for pair in pairs for name in (pair.image, pair.reference, *(each.name for each in pair.references))}
    for image, name in enumerate(experiment.recording.stimulus_ids):
        if name in shown:
            yield name, experiment.picture(image)
