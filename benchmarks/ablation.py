"""What each part of SharedCorrespondence contributes, and what its two numbers do: a table a task.

Every row is the method with one thing changed, with maps at the resolution of the cut but for the last two. Window and
sharpness were chosen on ``parts`` with seeds from 100 and on the development half of the photographs; ``--half report
--seed 0`` shows the same rows where nothing was chosen. Pairs are those of ``captum-shared benchmark``.

    python benchmarks/ablation.py --images photographs --weights DEFAULT --half development --seed 100
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from captum_shared import SharedCorrespondence
from captum_shared.attr import SHARPNESS, WINDOW, heatmap, local_drive, local_features
from captum_shared.encoders import encoder_by_name
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
WHERE: Final[dict[str, Callable[[Tensor, "Readouts"], Tensor]]] = {
    "features": lambda x, readouts: x,
    "population": lambda x, readouts: x @ readouts.population.T,
    "driving features": lambda x, readouts: x * readouts.weight[:, None],
}
"""What two places can agree in: their features, what all neurons make of them, the features that the neuron uses."""


@dataclass(frozen=True)
class Setting:
    """One way to compute the correspondence of places; by default that of the method."""

    agree: tuple[str, ...] = ("features", "population")
    drive: tuple[str, str] = ("share", "share")  # of the map's own image and of the other: "share", "rate" or "none"
    window: float = WINDOW
    sharpness: float = SHARPNESS
    centered: bool = True


METHOD: Final = Setting()
ROWS: Final = {
    "as it is": METHOD,
    "no agreement": replace(METHOD, agree=()),
    "agreement in features alone": replace(METHOD, agree=("features",)),
    "agreement in features alone, sharpness 6": replace(METHOD, agree=("features",), sharpness=6.0),
    "agreement in the population alone": replace(METHOD, agree=("population",)),
    "agreement in the population alone, sharpness 6": replace(METHOD, agree=("population",), sharpness=6.0),
    "driving features for the population": replace(METHOD, agree=("features", "driving features")),
    "driving features too": replace(METHOD, agree=tuple(WHERE)),
    "no drive": replace(METHOD, drive=("none", "none")),
    "drive of its own image alone": replace(METHOD, drive=("share", "none")),
    "drive as a rate, not a share": replace(METHOD, drive=("rate", "rate")),
    "not centred": replace(METHOD, centered=False),
    "window of one position": replace(METHOD, window=0.0),
    "window 1/5": replace(METHOD, window=1 / 5),
    "window 1/2": replace(METHOD, window=1 / 2),
    **{f"sharpness {exponent}": replace(METHOD, sharpness=float(exponent)) for exponent in (1, 2, 4, 6)},
}


@dataclass(frozen=True)
class Readouts:
    """Weights of each pair's neuron and of all neurons, and the mean of the features."""

    weight: Tensor
    population: Tensor
    mean: Tensor


def layer_map(own: Tensor, other: Tensor, readouts: Readouts, setting: Setting) -> Tensor:
    """The map of one image beside the other, both activations at the cut."""
    mean = readouts.mean if setting.centered else torch.zeros_like(readouts.mean)
    places = [local_features(each, mean, setting.window) for each in (own, other)]
    agreed = torch.ones(())
    for basis in setting.agree:
        first, second = (normalize(WHERE[basis](each, readouts), dim=-1) for each in places)
        agreed = agreed * (first @ second.mT).clamp(0, 1)
    first, second = (drive(*each, readouts.weight) for each in zip(places, setting.drive, strict=True))
    compared = first[:, :, None] * agreed**setting.sharpness * second[:, None]
    return compared.sum(2).reshape(-1, 1, *own.shape[2:])


def drive(places: Tensor, which: str, weight: Tensor) -> Tensor:
    if which == "none":
        return places.new_full(places.shape[:2], 1 / places.shape[1])
    if which == "rate":
        return (places @ weight[:, :, None])[:, :, 0].clamp(min=0)
    return local_drive(places, weight)


@torch.no_grad()
def scored(task: Task, indices: range) -> dict[str, dict[str, Tensor]]:
    """Scores of some pairs, (pair, ...) each, by row and score."""
    trials = [task.trial(index) for index in indices]
    encoder, readout = task.similarity.image_features, task.similarity.readout
    neurons = torch.tensor([trial.neuron for trial in trials])
    inputs = tuple(torch.stack([trial.images for trial in trials], 1))
    image, reference, control = (encoder.network(each.contiguous(memory_format=torch.channels_last)) for each in inputs)
    weight, mean = readout.weight.to(image), readout.feature_mean.to(image)
    readouts = Readouts(weight[neurons], weight, mean)
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
