"""How often a map has a significant place where nothing is shared, and where a driver is.

Three references for the image of each pair of a task: one that shares a driver (power); the control, which is driven by
what is not in the image (false alarms); and one that holds nothing that drives the neuron, like the null references
(false alarms, for which the test is exact on the image's side). Null references are made of what is in other pairs:
whole drawn images, or photographs laid out anew in a grid. Photographs are taken at half of the size that the network
takes, so that a grid has that size. Moderation of z was chosen on seed 100 of ``parts``; seed 0 is reported.

    python benchmarks/significance.py --output benchmarks/results/significance.json \
        --images photographs --weights squeezenet1_0.safetensors
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import write_report
from torch import Tensor
from torchvision.transforms.v2 import Compose, Normalize
from tqdm import tqdm

from captum_shared.attr import Significance, significance
from captum_shared.encoders import encoder_by_name
from captum_shared.evaluation import Task, grid_task, parts_task
from captum_shared.images import rgb_preprocess

N_POOL = 150
"""Pairs that null references are made of."""
HALF_SIZE = 113
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def drivers_of(task: Task, pairs: int) -> dict[int, set[str]]:
    """What drives each neuron: in the image, its own and the answer; in the reference one more."""
    trials = (task.trial(index) for index in range(pairs))
    return {trial.neuron: {*trial.contents[0][:2], trial.contents[1][1]} for trial in trials}


def whole(task: Task) -> list[tuple[Tensor, frozenset[str]]]:
    """Images of other pairs, and what is in them."""
    trials = [task.trial(10_000 + index) for index in range(N_POOL)]
    sides = [
        (image, frozenset(names)) for trial in trials for image, names in zip(trial.images, trial.contents, strict=True)
    ]
    return [sides[index] for index in np.random.default_rng(0).permutation(len(sides))]


def cells(task: Task) -> list[tuple[Tensor, frozenset[str]]]:
    """Photographs in the cells of other pairs, and what each is of."""
    found = []
    for index in range(N_POOL):
        trial = task.trial(10_000 + index)
        for image, regions, names in zip(trial.images[:2], trial.regions, trial.contents[:2], strict=True):
            for region, name in zip(regions, names, strict=True):
                rows, columns = region.any(1), region.any(0)
                found.append((image[:, rows][:, :, columns], frozenset([name])))
    return found


def null_references(
    pool: list[tuple[Tensor, frozenset[str]]], drivers: set[str], grid: bool, rng: np.random.Generator
) -> Iterator[Tensor]:
    """Images that hold nothing of what drives a neuron, without end if they are grids."""
    silent = [image for image, names in pool if not names & drivers]
    if not grid:
        yield from (silent[index] for index in rng.permutation(len(silent)))
    while True:
        a, b, c, d = (silent[index] for index in rng.permutation(len(silent))[:4])
        yield torch.cat([torch.cat([a, b], 2), torch.cat([c, d], 2)], 1)


def measured(task: Task, n_pairs: int, n_nulls: int, grid: bool) -> dict[str, Any]:
    """Shares of maps with a significant place."""
    drivers = drivers_of(task, task.similarity.readout.n_neurons)
    pool = cells(task) if grid else whole(task)
    kinds = ("shared", "control", "silent")
    found: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    inside = []
    for index in tqdm(range(n_pairs), desc=task.name):
        trial = task.trial(index)
        source = null_references(pool, drivers[trial.neuron], grid, np.random.default_rng(index))
        silent, *nulls = (next(source) for _ in range(n_nulls + 1))
        references = torch.stack([trial.images[1], trial.images[2], silent])
        images = trial.images[:1].expand_as(references)
        result = significance(task.similarity, (images, references), trial.neuron, null_references=torch.stack(nulls))
        for kind, p_values in zip(kinds, result.p_values, strict=True):
            found[kind].append(p_values <= result.level)
        inside.append(largest_inside(result, trial.regions))
    shares = {kind: torch.stack(each).double().mean(0).tolist() for kind, each in found.items()}
    false_alarms = float(np.mean([shares["control"], shares["silent"]]))
    return {
        "task": task.name,
        "settings": {**task.settings, "pairs": n_pairs, "null_references": n_nulls},
        "significant": {kind: {"image": own, "reference": other} for kind, (own, other) in shares.items()},
        "false_alarms": false_alarms,
        "null_maps": 4 * n_pairs,
        "power": float(np.mean(shares["shared"])),
        "largest_z_in_answer": float(np.mean([value for each in inside for value in each])),
    }


def largest_inside(result: Significance, regions: Tensor) -> list[bool]:
    """Whether the largest z lies in the answer, for each map of the pair that shares a driver and is significant."""
    values = []
    for z_maps, side, p_value in zip(result.z_maps, regions[:, 0], result.p_values[0], strict=True):
        z = torch.nn.functional.interpolate(z_maps[:1], side.shape, mode="bilinear")[0, 0]
        if p_value <= result.level:
            values.append(bool(side.flatten()[z.argmax()]))
    return values


def tasks(chosen: argparse.Namespace) -> Mapping[str, Task]:
    known = {}
    if not chosen.only_photographs:
        known["parts"] = parts_task(seed=chosen.seed)
    if chosen.images:
        features = encoder_by_name("squeezenet1_0", "features", weights=chosen.weights)
        features.preprocess = Compose([rgb_preprocess(HALF_SIZE), Normalize(MEAN, SPREAD)])
        known["grid"] = grid_task(chosen.images, features, half=chosen.half, seed=chosen.seed)
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description="How often maps have a significant place.")
    parser.add_argument("--images", type=Path, help="folder of photographs for the task grid")
    parser.add_argument("--weights", default="DEFAULT", help="of SqueezeNet: DEFAULT, or a file")
    parser.add_argument("--half", default="report", help="whose categories drive neurons")
    parser.add_argument("--only-photographs", action="store_true")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--nulls", type=int, default=39)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("significance.json"))
    chosen = parser.parse_args()
    rows = []
    for name, task in tasks(chosen).items():
        rows.append(measured(task, chosen.pairs, chosen.nulls, name == "grid"))
        print({key: value for key, value in rows[-1].items() if key != "settings"}, flush=True)
    write_report(chosen.output, {"results": rows}, ("captum-shared", "torch"))


if __name__ == "__main__":
    main()
