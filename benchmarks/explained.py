"""Which share of neurons a study explains, where the features predict the responses, and where they tell nothing.

A recording is simulated (``captum-shared simulate``) and studied, with all of its images of the preferred category and
with fewer. Without a signal the responses of every neuron, as reliable as before, are dealt anew among the images.

    python benchmarks/explained.py --output benchmarks/results/explained.json
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from reporting import write_report

from captum_shared import Recording, StudySettings, run_study
from captum_shared.encoders import encoder_by_name
from captum_shared.synthetic import simulate_recording

SETTINGS = StudySettings("creature", n_strong=1, n_dissimilar=0, n_weak=0, methods=("paper",))


def without_signal(recording: Recording, times: int, generator: np.random.Generator) -> Recording:
    """The same neurons several times over, each with its responses dealt anew within each category."""
    categories = np.asarray(recording.categories)
    columns = []
    for _ in range(times):
        for neuron in range(recording.n_neurons):
            order = np.arange(recording.n_images)
            for category in np.unique(categories):
                order[categories == category] = generator.permutation(order[categories == category])
            columns.append(recording.responses[:, order, neuron])
    n_neurons = len(columns)
    return dataclasses.replace(
        recording,
        responses=np.stack(columns, axis=2),
        neuron_names=tuple(f"n{number}" for number in range(n_neurons)),
        regions=recording.regions * times,
        subjects=recording.subjects * times,
    )


def studied(recording: Recording, output: Path, *, preferred: int, signal: bool) -> dict[str, Any]:
    """Study a recording with its first images of the preferred category."""
    inside = recording.in_category(SETTINGS.preferred)
    chosen = recording.select(images=~inside | (np.cumsum(inside) <= preferred))
    features = encoder_by_name("embedded", "features")
    result = run_study(chosen, features, SETTINGS, output=output, model="embedded", progress=False)
    r = np.array([neuron.heldout_correlation for neuron in result.included])
    row = {
        "signal": signal,
        "preferred_images": preferred,
        "neurons": len(result.included),
        "explained": len(result.explained) / len(result.included),
        "mean_r": float(r.mean()),
        "mean_reliability": float(np.mean([neuron.reliability for neuron in result.included])),
        "null_interval": result.null_interval,
        "outside": float(np.mean((r < result.null_interval[0]) | (r > result.null_interval[1]))),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="Which share of neurons a study explains, with and without signal.")
    parser.add_argument("--neurons", type=int, default=96)
    parser.add_argument("--times", type=int, default=10, help="how often each neuron is dealt anew, without a signal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("explained.json"))
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        simulate_recording(folder / "world", n_neurons=chosen.neurons, seed=chosen.seed)
        recording = Recording.load(folder / "world" / "recording.nc")
        silent = without_signal(recording, chosen.times, np.random.default_rng(chosen.seed))
        for preferred in (400, 100):
            for signal, each in ((True, recording), (False, silent)):
                output = folder / f"study-{preferred}-{signal}"
                rows.append(studied(each, output, preferred=preferred, signal=signal))
    report = {
        "results": rows,
        "settings": {"neurons": chosen.neurons, "times": chosen.times, "seed": chosen.seed, "folds": SETTINGS.folds},
    }
    write_report(chosen.output, report, ("captum-shared", "numpy", "scikit-learn", "torch"))


if __name__ == "__main__":
    main()
