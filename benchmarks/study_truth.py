"""Whether the maps of a study light up what truly drives the neurons.

A recording is simulated (``captum-shared simulate``) and studied (``captum-shared study``) as README has it. For every
neuron explained, the maps of its strong pairs are compared with the truth about the recording: the share of a map's
mass on parts that drive the neuron at all (``driving``), on those of them that both images show (``answer``), and on
driving parts of what lies on any part, so that the background does not count (``of_parts``); mean of image and
reference and of the pairs. ``chance`` is the share of the pixels. A neuron whose maps lie mainly elsewhere is listed,
with what they lie on.

    python benchmarks/study_truth.py --output study_truth.json
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import write_report

from captum_shared import Recording, StudySettings, run_study
from captum_shared.encoders import encoder_by_name
from captum_shared.evaluation import known_regions
from captum_shared.methods import DEFAULT_METHODS
from captum_shared.study import NeuronResult, StudyResult
from captum_shared.synthetic import SimulatedWorld, Stimulus, simulate_recording, simulated_world

SHARES = ("driving", "answer", "of_parts")


def studied(folder: Path, settings: StudySettings, *, neurons: int, seed: int) -> tuple[SimulatedWorld, StudyResult]:
    """Simulate and study, or go on where that was interrupted."""
    world = folder / f"world-{neurons}-{seed}"
    if not world.exists():
        simulate_recording(world, n_neurons=neurons, seed=seed, progress=True)
    recording = Recording.load(world / "recording.nc")
    features = encoder_by_name("embedded", "features")
    output = folder / f"study-{neurons}-{seed}"
    result = run_study(recording, features, settings, output=output, model="embedded", resume=True)
    return simulated_world(world, progress=True), result


def shares(heat: np.ndarray, regions: torch.Tensor) -> tuple[float, ...]:
    """Share of a map on driving parts, on those that both images show, and of the parts; a map of zeros has none."""
    shared, driving, parts = (region.numpy() for region in (regions[0], regions[:2].any(0), regions.any(0)))
    mass, total = [float(heat[region].sum()) for region in (driving, shared)], float(heat.sum())
    if total == 0:
        return (np.nan,) * len(SHARES)
    on_parts = float(heat[parts].sum())
    return mass[0] / total, mass[1] / total, mass[0] / on_parts if on_parts > 0 else np.nan


def lit(heat: np.ndarray, stimulus: Stimulus) -> dict[str, float]:
    """Share of a map on each part of an image that has a twentieth or more, the largest first."""
    parts = {part: float(heat[mask.numpy()].sum() / max(heat.sum(), 1e-30)) for part, mask in stimulus.masks.items()}
    return {part: round(share, 2) for part, share in sorted(parts.items(), key=lambda item: -item[1]) if share >= 0.05}


def neuron_row(world: SimulatedWorld, result: StudyResult, neuron: NeuronResult) -> dict[str, Any]:
    """What the maps of a neuron's strong pairs lie on, by method."""
    truth = next(each for each in world.neurons if each.name == neuron.name)
    chosen = [(index, pair) for index, pair in enumerate(neuron.pairs) if pair.kind == "strong"]
    stimuli = [(world.stimuli[pair.image], world.stimuli[pair.reference]) for _, pair in chosen]
    regions = [known_regions(*pair, truth) for pair in stimuli]
    row: dict[str, Any] = {
        "neuron": neuron.name,
        "heldout_correlation": round(neuron.heldout_correlation, 3),
        "drivers": {part: round(gain, 2) for part, gain in truth.tuning.items() if gain > 0},
        "shared_drivers": [_shared(pair, row_regions) for pair, row_regions in zip(stimuli, regions, strict=True)],
        "agreement": [None if pair.agreement is None else round(pair.agreement, 4) for _, pair in chosen],
        "chance": float(np.mean([each[:, :2].any(1).float().mean() for each in regions])),
    }
    for method in result.methods:
        maps = result.maps(neuron.name, method)[[index for index, _ in chosen]]
        values = [shares(maps[pair, side], regions[pair][side]) for pair in range(len(maps)) for side in (0, 1)]
        means = np.nanmean(values, axis=0) if np.isfinite(values).any() else [np.nan] * len(SHARES)
        row[method] = {name: round(float(mean), 3) for name, mean in zip(SHARES, means, strict=True)}
        if row[method]["driving"] < 0.5:
            sides = [(pair, side) for pair in range(len(maps)) for side in (0, 1)]
            row[method]["lit"] = [lit(maps[pair, side], stimuli[pair][side]) for pair, side in sides]
    return row


def _shared(pair: tuple[Stimulus, Stimulus], regions: torch.Tensor) -> list[str]:
    image, reference = pair
    return [
        part for part, mask in image.masks.items() if part in reference.masks and bool((mask & regions[0, 0]).any())
    ]


def summary(rows: Sequence[dict[str, Any]], method: str) -> dict[str, Any]:
    values = {name: np.array([row[method][name] for row in rows]) for name in SHARES}
    return {
        **{name: float(np.nanmean(each)) for name, each in values.items()},
        "neurons_with_a_map": int(np.isfinite(values["driving"]).sum()),
        "mainly_elsewhere": [row["neuron"] for row, share in zip(rows, values["driving"], strict=True) if share < 0.5],
        "mainly_other_parts": [
            row["neuron"] for row, share in zip(rows, values["of_parts"], strict=True) if share < 0.5
        ],
    }


def by_kind(result: StudyResult) -> dict[str, dict[str, float]]:
    """Mean similarity and agreement of the pairs of each kind."""
    pairs = [pair for neuron in result.included for pair in neuron.pairs]
    kinds = list(dict.fromkeys(pair.kind for pair in pairs))
    return {
        kind: {
            measure: float(np.mean([getattr(pair, measure) for pair in pairs if pair.kind == kind]))
            for measure in ("similarity", "agreement")
        }
        for kind in kinds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether the maps of a study light up what drives the neurons.")
    parser.add_argument("--neurons", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", action="append", help="repeat it for more; by default those of the study")
    parser.add_argument("--work", type=Path, help="folder to keep world and study in; none are kept by default")
    parser.add_argument("--output", type=Path, default=Path("study_truth.json"))
    chosen = parser.parse_args()
    methods = tuple(chosen.method or DEFAULT_METHODS)
    settings = StudySettings("creature", methods=methods)
    with tempfile.TemporaryDirectory() as temporary:
        world, result = studied(chosen.work or Path(temporary), settings, neurons=chosen.neurons, seed=chosen.seed)
        rows = [neuron_row(world, result, neuron) for neuron in result.included if neuron.pairs]
    report = {
        "summary": {method: summary(rows, method) for method in methods},
        "chance": float(np.mean([row["chance"] for row in rows])),
        "by_kind": by_kind(result),
        "neurons": rows,
        "settings": {"neurons": chosen.neurons, "seed": chosen.seed},
    }
    write_report(chosen.output, report, ("captum-shared", "numpy", "scikit-learn", "torch"))
    print(f"{len(rows)} neurons, chance {report['chance']:.2f}; by kind: {report['by_kind']}")
    for method, scores in report["summary"].items():
        print(
            f"{method}: on driving parts {scores['driving']:.2f} ({scores['of_parts']:.2f} of what lies on parts), on "
            f"shared ones {scores['answer']:.2f}; mainly elsewhere {len(scores['mainly_elsewhere'])}, mainly on other "
            f"parts {len(scores['mainly_other_parts'])}: {', '.join(scores['mainly_other_parts'])}"
        )


if __name__ == "__main__":
    main()
