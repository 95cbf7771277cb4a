"""What ``captum-shared demo`` writes and prints."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer

from captum_shared._files import file_names
from captum_shared._record import keep
from captum_shared._resuming import digest, versions
from captum_shared.evaluation import ScoredPair
from captum_shared.figures import known_pair_figure, save_figure
from captum_shared.study import NeuronResult, StudyResult

_SCORES: Final = {"mass_in_shared_parts": "mass", "average_precision": "pixel_ap"}
_PACKAGES: Final = ("captum-shared", "captum", "torch", "torchvision")


def write_demo(study: StudyResult, scored: Sequence[ScoredPair], output: Path, seed: int) -> None:
    """Draw every pair, and write what is known of it to ``demo.json``.

    Args:
        study: the study of the simulated recording.
        scored: the pair of each of its neurons.
        output: the folder to write to.
        seed: of the simulation.
    """
    explained = list(zip(study.included, scored, strict=True))
    names = file_names([neuron.name for neuron in study.included])
    neurons = [_entry(neuron, pair) for neuron, pair in zip(study.included, scored, strict=True)]
    result = {"neurons": neurons, "seed": seed, "versions": versions(*_PACKAGES)}
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    files: dict[str, Callable[[Path], object]] = {
        f"{name}.png": partial(_draw, neuron, pair) for name, (neuron, pair) in zip(names, explained, strict=True)
    }
    files["demo.json"] = lambda path: path.write_text(text, encoding="utf-8")
    keep(output, files, of=digest([text.encode()]))


def _draw(neuron: NeuronResult, pair: ScoredPair, path: Path) -> None:
    titles = ("strongest artefact", "its reference")
    save_figure(known_pair_figure(pair, similarity=neuron.pairs[0].similarity, titles=titles), path)


def _entry(neuron: NeuronResult, pair: ScoredPair) -> dict[str, Any]:
    explained = neuron.pairs[0]
    return {
        "name": neuron.name,
        "heldout_correlation": neuron.heldout_correlation,
        "ooc_correlation": neuron.ooc_correlation,
        "image": explained.image,
        "reference": explained.reference,
        "similarity": explained.similarity,
        "shared_parts": list(pair.shared_parts),
        "area_of_shared_parts": pair.answer_area,
        **{
            key: {name: None if math.isnan(scores[score]) else scores[score] for name, scores in pair.scores.items()}
            for key, score in _SCORES.items()
        },
    }


def print_demo(study: StudyResult, scored: Sequence[ScoredPair]) -> None:
    """Print how well neurons are predicted, and how much of the maps falls on what is truly shared.

    Args:
        study: the study of the simulated recording.
        scored: the pair of each of its neurons.
    """
    typer.echo("\ncorrelation of predicted and recorded responses, and the pair explained")
    typer.echo(f"{'neuron':<12}{'held out':>10}{'artefacts':>11}{'similarity':>12}  shared parts")
    for neuron, pair in zip(study.included, scored, strict=True):
        numbers = (
            f"{neuron.heldout_correlation:>10.2f}{neuron.ooc_correlation:>11.2f}{neuron.pairs[0].similarity:>12.2f}"
        )
        typer.echo(f"{neuron.name:<12}{numbers}  {', '.join(pair.shared_parts) or 'none'}")
    known = [pair for pair in scored if pair.shared_parts]
    if not known:
        typer.echo("\nNo pair shares a part that drives its neuron, so there is nothing to compare maps with.")
        return
    area = statistics.fmean(pair.answer_area for pair in known)
    typer.echo(
        "\nmean of the neurons: share of the map that falls on the shared parts (their area is chance), and average"
    )
    typer.echo("precision of its pixels")
    typer.echo(f"{'area':<32}{area:.2f}")
    for name, each in known[0].explanations.items():
        mass, precision = (_mean([pair.scores[name][score] for pair in known]) for score in _SCORES.values())
        typer.echo(f"{name:<32}{mass:.2f}  {precision:.2f}  {each.method.title}")


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are known."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan
