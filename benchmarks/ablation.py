"""What each part of SharedCorrespondence contributes, and what its numbers do: a table a task.

Every row is the method with one thing changed, with maps at the resolution of the cut but for the last two. Window and
sharpness were chosen on ``parts`` with seeds from 100 and on the development half of the photographs; ``--half report
--seed 0`` shows the same rows where nothing was chosen. Pairs are those of ``captum-shared benchmark``.

    python benchmarks/ablation.py --images photographs --weights DEFAULT --half development --seed 100
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from captum_shared import SharedCorrespondence
from captum_shared.attr import SHARPNESS, Population, heatmap, local_drive
from captum_shared.encoders import WINDOW, encoder_by_name, local_features
from captum_shared.evaluation import (
    KINDS,
    SCORES,
    Interval,
    Task,
    answer_largest,
    bootstrap,
    bootstrap_auroc,
    grid_task,
    outweighs,
    parts_task,
    positive_mass,
)
from captum_shared.methods import METHODS

BATCH = 4
HALF: Final = 0.5


@dataclass(frozen=True)
class Setting:
    """One way to compute the correspondence of places; by default that of the method."""

    by_itself: float = HALF  # how far a place is read by itself, and not as the examples that it could be of
    whitened: bool = True
    powers: tuple[float, float] = (2.0, 1.0)  # of the cosines of the population and of the features
    drive: tuple[str, str] = ("share", "share")  # of the map's own image and of the other: "share", "rate" or "none"
    driven_by: str = "read"  # or "predicted": by the linear prediction
    window: float = WINDOW
    sharpness: float = SHARPNESS
    centered: bool = True
    n_neurons: int | None = None  # of the population: the pair's own and the next ones; all by default


METHOD: Final = Setting()
FORMER: Final = Setting(by_itself=1.0, whitened=False, powers=(1.0, 1.0), sharpness=3.0)
ROWS: Final = {
    "as it is": METHOD,
    "with no examples": replace(METHOD, by_itself=1.0, whitened=False),
    "with no examples, both cosines cubed": FORMER,
    "places read by themselves": replace(METHOD, by_itself=1.0),
    "places read by themselves, features not squared": replace(METHOD, by_itself=1.0, powers=(1.5, 0.5)),
    "places read as examples alone": replace(METHOD, by_itself=0.0),
    "places read 30 % by themselves": replace(METHOD, by_itself=0.3),
    "places read 70 % by themselves": replace(METHOD, by_itself=0.7),
    "not whitened": replace(METHOD, whitened=False),
    "driven by what a place predicts": replace(METHOD, driven_by="predicted"),
    "no agreement": replace(METHOD, powers=(0.0, 0.0)),
    "agreement in features alone": replace(METHOD, powers=(0.0, 1.0)),
    "agreement in the population alone": replace(METHOD, powers=(2.0, 0.0)),
    "both cosines alike": replace(METHOD, powers=(1.0, 1.0)),
    "cosine of the population cubed": replace(METHOD, powers=(3.0, 1.0)),
    "no drive": replace(METHOD, drive=("none", "none")),
    "drive of its own image alone": replace(METHOD, drive=("share", "none")),
    "drive as a rate, not a share": replace(METHOD, drive=("rate", "rate")),
    "not centred": replace(METHOD, centered=False),
    "window of one position": replace(METHOD, window=0.0),
    "window 1/5": replace(METHOD, window=1 / 5),
    "window 1/2": replace(METHOD, window=1 / 2),
    **{f"sharpness {exponent}": replace(METHOD, sharpness=exponent) for exponent in (1.0, 1.5, 3.0, 4.0)},
    **{f"{number} neurons": replace(METHOD, n_neurons=number) for number in (1, 2, 4, 8)},
}


@dataclass(frozen=True)
class Readouts:
    """The neuron of each pair, all neurons, and the mean of the features."""

    neurons: Tensor
    population: Population
    mean: Tensor

    def first(self, n_neurons: int | None) -> tuple[Tensor, Population]:
        """The neuron of a pair, and so many of the population, its own among them."""
        if n_neurons is None:
            return self.neurons, self.population
        weight, examples = self.population.weight, self.population.examples
        kept = (self.neurons[:1] + torch.arange(n_neurons)) % len(weight)
        scatter = torch.linalg.inv(self.population.whitening.T @ self.population.whitening)[kept][:, kept]
        whitening = torch.linalg.inv(torch.linalg.cholesky(scatter))
        return torch.zeros_like(self.neurons), Population(weight[kept], examples[:, kept], whitening)


def read(places: Tensor, population: Population, by_itself: float) -> Tensor:
    """What the population makes of places: half by themselves is the method's."""
    predicted = places @ population.weight.T
    expected = 2 * population.read(places) - predicted
    return by_itself * predicted + (1 - by_itself) * expected


def layer_map(own: Tensor, other: Tensor, readouts: Readouts, setting: Setting) -> Tensor:
    """The map of one image beside the other, both activations at the cut."""
    if setting.n_neurons is not None and len(own) > 1:  # each pair has a population of its own
        return torch.cat(
            [
                layer_map(own[[i]], other[[i]], replace(readouts, neurons=readouts.neurons[[i]]), setting)
                for i in range(len(own))
            ]
        )
    neurons, population = readouts.first(setting.n_neurons)
    mean = readouts.mean if setting.centered else torch.zeros_like(readouts.mean)
    places = [local_features(each, mean, setting.window) for each in (own, other)]
    answers = [read(each, population, setting.by_itself) for each in places]
    compared = [population.whitened(each) if setting.whitened else each for each in answers]
    agreed = torch.ones(())
    for power, sides in zip(setting.powers, (compared, places), strict=True):
        first, second = (normalize(each, dim=-1) for each in sides)
        agreed = agreed * (first @ second.mT).clamp(0, 1) ** power
    if setting.driven_by == "predicted":
        answers = [each @ population.weight.T for each in places]
    first, second = (drive(*each, neurons) for each in zip(answers, setting.drive, strict=True))
    shared = first[:, :, None] * agreed**setting.sharpness * second[:, None]
    return shared.sum(2).reshape(-1, 1, *own.shape[2:])


def drive(answers: Tensor, which: str, neurons: Tensor) -> Tensor:
    if which == "none":
        return answers.new_full(answers.shape[:2], 1 / answers.shape[1])
    if which == "rate":
        return answers[torch.arange(len(answers)), :, neurons].clamp(min=0)
    return local_drive(answers, neurons)


@torch.no_grad()
def scored(task: Task, indices: range) -> dict[str, dict[str, Tensor]]:
    """Scores of some pairs, (pair, ...) each, by row and score."""
    trials = [task.trial(index) for index in indices]
    encoder, readout = task.similarity.image_features, task.similarity.readout
    neurons = torch.tensor([trial.neuron for trial in trials])
    inputs = tuple(torch.stack([trial.images for trial in trials], 1))
    image, reference, control = (encoder.network(each.contiguous(memory_format=torch.channels_last)) for each in inputs)
    readouts = Readouts(neurons, Population.of(readout, image), readout.feature_mean.to(image))
    method, regions = SharedCorrespondence(task.similarity), torch.stack([trial.regions for trial in trials])
    at_cut = method.attribute((inputs[0], inputs[1]), neurons)[0]
    torch.testing.assert_close(layer_map(image, reference, readouts, METHOD), at_cut)
    scores = {}
    for name, setting in ROWS.items():
        pair = [layer_map(*each, readouts, setting) for each in ((image, reference), (reference, image))]
        unshared = layer_map(image, control, readouts, setting)
        shown = [heatmap(each, (regions.shape[3], regions.shape[4]), kind="layer") for each in pair]
        scores[name] = recovered(shown, regions) | intensities(pair[0], unshared)
    for name in ("recommended", "ours-correspondence-pixels"):
        maps = METHODS[name].maps
        shared, control = maps(task.similarity, inputs[:2], neurons), maps(task.similarity, inputs[::2], neurons)
        scores[name] = recovered(shared, regions) | intensities(shared[0], control[0])
    return scores


def recovered(pair: Sequence[Tensor], regions: Tensor) -> dict[str, Tensor]:
    shown = torch.stack(list(pair), 1)
    return {
        "answer_largest": answer_largest(shown, regions),
        "mass": positive_mass(shown.double(), regions[:, :, 0]).nan_to_num(0),
        **{f"answer_vs_{kind}": won for kind, won in zip(KINDS[1:], outweighs(shown, regions).unbind(-1), strict=True)},
    }


def intensities(shared: Tensor, unshared: Tensor) -> dict[str, Tensor]:
    return {"shared": shared.flatten(1).sum(1), "unshared": unshared.flatten(1).sum(1)}


def ablation(task: Task, n_pairs: int) -> str:
    """The table of a task, in Markdown."""
    starts = tqdm(range(0, n_pairs, BATCH), desc=f"{task.name}, {task.similarity.image_features.layer}")
    batches = [scored(task, range(start, min(start + BATCH, n_pairs))) for start in starts]
    lines = []
    for name in batches[0]:
        values = {score: torch.cat([batch[name][score] for batch in batches]) for score in batches[0][name]}
        intensity = bootstrap_auroc(values.pop("shared"), values.pop("unshared"))
        row = {score: bootstrap(each) for score, each in values.items()} | {"intensity": intensity}
        lines.append(f"| {name} | {' | '.join(map(cell, row.values()))} |")
    head = " | ".join([task.name, *(SCORES[score].heading for score in row)])
    return "\n".join([f"| {head} |", "|" + "---|" * (len(row) + 1), *lines])


def cell(score: Interval) -> str:
    return f"{score.value:.3f} [{score.low:.2f}, {score.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photographs for the task grid")
    parser.add_argument("--model", default="squeezenet1_0", help="network for the photographs")
    parser.add_argument("--weights", default="DEFAULT", help="its weights: DEFAULT, or a file")
    parser.add_argument("--layer", action="append", help="where to cut it; again for several tables")
    parser.add_argument("--half", default="development", help="whose categories drive neurons")
    parser.add_argument("--neurons", type=int, default=48, help="neurons of the task parts")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=100)
    arguments = parser.parse_args()
    print(ablation(parts_task(n_neurons=arguments.neurons, seed=arguments.seed), arguments.pairs), flush=True)
    for layer in (arguments.layer or ["classifier.2"]) if arguments.images else ():
        features = encoder_by_name(arguments.model, layer, weights=arguments.weights)
        task = grid_task(arguments.images, features, half=arguments.half, seed=arguments.seed)
        print(f"\n{arguments.model}, {layer}, {arguments.half}\n{ablation(task, arguments.pairs)}", flush=True)


if __name__ == "__main__":
    main()
