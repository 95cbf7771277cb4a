"""The experiment of the paper in small, in a world where the answer is known."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.linear_model import RidgeCV
from torch import Tensor
from tqdm import tqdm

from captum_shared._files import write_atomically
from captum_shared._resuming import versions
from captum_shared.attr.heatmaps import Kind, heatmap
from captum_shared.attr.layer import LayerSharedAttribution
from captum_shared.attr.pairs import Pair
from captum_shared.attr.parallel import ParallelSharedAttribution
from captum_shared.attr.references import ReferenceBank
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.embedded import embedded_network
from captum_shared.encoders.features import LatentFeatures
from captum_shared.evaluation.scores.recovery import positive_mass
from captum_shared.figures import Panel, pair_figure, save_figure
from captum_shared.methods.registry import METHODS
from captum_shared.neurons.encoding import correlation, fit_readout
from captum_shared.synthetic.neurons import SyntheticNeuron, category_selective_neurons, record
from captum_shared.synthetic.stimuli import Stimulus, draw_stimuli

Heatmaps: TypeAlias = dict[str, tuple[Tensor, Tensor]]

_TRAINING = 400
_HELD_OUT = 150
_ARTEFACTS = 400
# no scaler: it would blow up the features that creatures hardly use, such as those of a wheel, and with them what
# the readout makes of artefacts
_PENALTIES = np.logspace(-4, 5, 28)
_GREY = 0.5


@dataclass(frozen=True)
class DemoNeuron:
    """What the demo found for one neuron.

    Attributes:
        name: the neuron.
        heldout_correlation: of predicted and recorded responses to creatures that the readout was not fitted on.
        ooc_correlation: the same for artefacts, a category that it never saw.
        image: position of the strongest artefact among the artefacts.
        reference: position of its reference among the creatures of the fit.
        similarity: neuron-specific similarity of the two.
        shared_parts: parts that drive the neuron and are in both images.
        area_of_shared_part: the share of the pixels that they cover, mean of both images: what chance would give.
        mass_in_shared_part: the share of the positive mass of each method's maps that falls on them, mean of both
            images; None where there is no shared part.
    """

    name: str
    heldout_correlation: float
    ooc_correlation: float
    image: int
    reference: int
    similarity: float
    shared_parts: list[str]
    area_of_shared_part: float
    mass_in_shared_part: dict[str, float | None]


@dataclass(frozen=True)
class _World:
    """All that the neurons of the demo have in common."""

    neurons: Sequence[SyntheticNeuron]
    creatures: Sequence[Stimulus]
    artefacts: Sequence[Stimulus]
    creature_responses: Float[ndarray, "creature neuron"]
    artefact_responses: Float[ndarray, "artefact neuron"]
    similarity: NeuronSimilarity
    bank: ReferenceBank


def run_demo(output: Path, *, seed: int = 0, n_neurons: int = 6, progress: bool = True) -> list[DemoNeuron]:
    """Simulate a recording of category-selective neurons and explain the artefact that drives each one most.

    Writes ``demo.json`` and one figure a neuron.

    Args:
        output: folder to write to; made if absent.
        seed: seed of images and recording.
        n_neurons: how many neurons.
        progress: whether to show progress bars.

    Returns:
        What was found for each neuron.

    Raises:
        NotADirectoryError: if ``output`` is a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = run_demo(Path(folder), n_neurons=1, progress=False)
        >>> found[0].name
        'neuron 0'
    """
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(
            f"{output} is a file; expected a folder to write the demo to. Choose another --output."
        )
    output.mkdir(parents=True, exist_ok=True)
    world = _simulate(seed, n_neurons, progress)
    bar = tqdm(range(n_neurons), desc="maps", unit="neuron", disable=not progress)
    correlations = _generalisation(world)
    found = [_explain(world, neuron, correlations[neuron], output) for neuron in bar]
    neurons = [asdict(neuron) for neuron in found]
    result = {"neurons": neurons, "seed": seed, "versions": versions("captum-shared", "captum", "torch", "torchvision")}
    with write_atomically(output / "demo.json") as path:
        path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return found


def _simulate(seed: int, n_neurons: int, progress: bool) -> _World:
    creatures = draw_stimuli("creature", _TRAINING + _HELD_OUT, seed=10 * seed + 1, progress=progress)
    artefacts = draw_stimuli("artefact", _ARTEFACTS, seed=10 * seed + 2, progress=progress)
    neurons = category_selective_neurons(n_neurons)
    phases = record(neurons, [*creatures, *artefacts], seed=seed)
    creature_responses, artefact_responses = np.split(phases.mean(0), [len(creatures)])
    features = LatentFeatures(embedded_network(), "features")
    images = _stacked(creatures[:_TRAINING])
    with torch.no_grad():
        readout = fit_readout(
            features(images),
            creature_responses[:_TRAINING],
            estimator=RidgeCV(_PENALTIES, alpha_per_target=True),
            neuron_names=[neuron.name for neuron in neurons],
        )
    similarity = NeuronSimilarity(features, readout)
    bank = ReferenceBank(
        similarity, images, responses=torch.from_numpy(creature_responses[:_TRAINING]), progress=progress
    )
    return _World(neurons, creatures, artefacts, creature_responses, artefact_responses, similarity, bank)


def _explain(world: _World, neuron: int, correlations: tuple[float, float], output: Path) -> DemoNeuron:
    strongest = int(world.artefact_responses[:, neuron].argmax())
    artefact = world.artefacts[strongest]
    match = world.bank.search(artefact.image[None], target=neuron)
    reference = int(match.indices)
    creature = world.creatures[reference]
    heatmaps = _heatmaps(world.similarity, (artefact.image[None], creature.image[None]), neuron)
    shared = [part for part in world.neurons[neuron].tuning if part in artefact.masks and part in creature.masks]
    regions = tuple(_region(stimulus, shared) for stimulus in (artefact, creature))
    found = DemoNeuron(
        name=world.neurons[neuron].name,
        heldout_correlation=correlations[0],
        ooc_correlation=correlations[1],
        image=strongest,
        reference=reference,
        similarity=float(match.similarities),
        shared_parts=shared,
        area_of_shared_part=float(torch.stack(regions).float().mean()),
        mass_in_shared_part={name: _mass(pair, regions) if shared else None for name, pair in heatmaps.items()},
    )
    _draw(found, (artefact, creature), heatmaps, regions, output)
    return found


def _generalisation(world: _World) -> list[tuple[float, float]]:
    """Correlate predictions with recordings, for each neuron on creatures held out and on artefacts."""

    def judged(stimuli: Sequence[Stimulus], recorded: ndarray) -> list[float]:
        with torch.no_grad():
            predicted = world.similarity.readout(world.similarity.image_features(_stacked(stimuli)))
        return [float(value) for value in correlation(predicted, recorded)]

    held_out = judged(world.creatures[_TRAINING:], world.creature_responses[_TRAINING:])
    return list(zip(held_out, judged(world.artefacts, world.artefact_responses), strict=True))


def _heatmaps(similarity: NeuronSimilarity, inputs: tuple[Tensor, Tensor], target: int) -> Heatmaps:
    integrated = ParallelSharedAttribution(similarity, "integrated_gradients")
    attributions: dict[str, tuple[Pair, Kind]] = {
        "shared, gradient": (ParallelSharedAttribution(similarity).attribute(inputs, target), "gradient"),
        "shared, integrated gradients": (
            integrated.attribute(inputs, target, baselines=_GREY, n_steps=32),
            "contribution",
        ),
        "shared, layer": (LayerSharedAttribution(similarity).attribute(inputs, target), "layer"),
        "Grad-CAM of the neuron": (METHODS["neuron-grad-cam"].attribute(similarity, inputs, target), "layer"),
        "saliency of the neuron": (METHODS["neuron-saliency"].attribute(similarity, inputs, target), "gradient"),
    }
    size = (inputs[0].shape[2], inputs[0].shape[3])
    return {
        name: (heatmap(pair[0], size, kind=kind), heatmap(pair[1], size, kind=kind))
        for name, (pair, kind) in attributions.items()
    }


def _region(stimulus: Stimulus, parts: Sequence[str]) -> Tensor:
    nothing = torch.zeros(stimulus.image.shape[1:], dtype=torch.bool)
    return torch.stack([nothing, *(stimulus.masks[part] for part in parts)]).any(0)


def _mass(maps: tuple[Tensor, Tensor], regions: tuple[Tensor, ...]) -> float | None:
    masses = positive_mass(torch.cat(maps), torch.stack(regions))
    return None if bool(masses.isnan().any()) else float(masses.mean())


def _draw(
    found: DemoNeuron,
    stimuli: tuple[Stimulus, Stimulus],
    heatmaps: Heatmaps,
    regions: tuple[Tensor, ...],
    output: Path,
) -> None:
    titles = ("strongest artefact", "its reference")
    panels = [
        Panel(title, stimulus.image, {name: pair[side][0] for name, pair in heatmaps.items()}, region)
        for side, (title, stimulus, region) in enumerate(zip(titles, stimuli, regions, strict=True))
    ]
    shared = " and ".join(found.shared_parts) or "nothing"
    title = f"{found.name}: similarity {found.similarity:.2f}, shared: {shared} (outlined)"
    save_figure(pair_figure(*panels, title=title), output / f"{found.name.replace(' ', '_')}.png")


def _stacked(stimuli: Sequence[Stimulus]) -> Tensor:
    return torch.stack([stimulus.image for stimulus in stimuli])
