"""Whether readouts that are estimated from a recording are driven by the parts that drive the neurons.

A recording of ``captum-shared simulate`` is loaded from its files, and readouts of the embedded network are fitted to
the responses to creatures alone. They predict the responses to fresh images, which are neither in the recording nor in
the network's training. For each neuron, least squares give the gain of every part that explains these predictions best
(``estimated_gains``), once for creatures and once for artefacts. Over all parts that the images show:

- ``exact``: the share of neurons whose k largest gains are those of their k driving parts;
- ``auroc``: how probable it is that a driving part has a larger gain than any other part, mean of the neurons;
- ``gain_correlation``: of the gains with the true ones, which are zero for parts that do not drive, of all neurons;
- ``rate_correlation``: of the predictions with the true rates, mean of the neurons.

The same is measured on the responses that a recording of the fresh images would have (a ceiling, without a network),
and on the predictions with the neurons exchanged at random (chance: neurons have drivers in common).

    python benchmarks/drivers.py --output drivers.json
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import write_report
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score

from captum_shared import LatentFeatures, LinearReadout, fit_readout
from captum_shared.encoders import embedded_network
from captum_shared.images import rgb_preprocess
from captum_shared.neurons import correlation
from captum_shared.recordings import Recording
from captum_shared.synthetic import (
    CATEGORIES,
    PARTS,
    Stimulus,
    SyntheticNeuron,
    draw_stimuli,
    estimated_gains,
    record,
    simulate_recording,
)

HELD_OUT = 3_000_000
ESTIMATORS = {"standardised": None, "not standardised": RidgeCV(np.logspace(-4, 5, 28), alpha_per_target=True)}


def latent(features: LatentFeatures, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([features(batch) for batch in images.split(100)])


def recovery(responses: np.ndarray, stimuli: Sequence[Stimulus], neurons: Sequence[SyntheticNeuron]) -> dict[str, Any]:
    """Compare the gains behind responses (image, neuron) with the tuning of the neurons."""
    gains = estimated_gains(responses, stimuli)
    shown = ~np.isnan(gains).any(axis=0)
    true = np.array([[neuron.tuning.get(part, 0.0) for part in PARTS] for neuron in neurons])[:, shown]
    gains, drives = gains[:, shown], true > 0
    ranks = (-gains).argsort(axis=1).argsort(axis=1)
    rates = np.stack([neuron.rate(stimuli) for neuron in neurons], axis=1)
    return {
        "exact": float(np.mean([set(r[d]) == set(range(d.sum())) for r, d in zip(ranks, drives, strict=True)])),
        "auroc": float(np.mean([roc_auc_score(d, g) for d, g in zip(drives, gains, strict=True)])),
        "gain_correlation": float(np.corrcoef(gains.ravel(), true.ravel())[0, 1]),
        "rate_correlation": float(correlation(responses, rates).mean()),
        "parts": int(shown.sum()),
    }


def simulated(n_neurons: int, seed: int) -> tuple[Recording, list[SyntheticNeuron], torch.Tensor]:
    """Write a recording, read it, and its truth, again; the images of creatures come with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = simulate_recording(Path(folder, "new"), n_neurons=n_neurons, seed=seed, progress=True)
        recording = Recording.load(path)
        creatures = recording.select(images=recording.in_category("creature"))
        truth = json.loads((path.parent / "truth.json").read_text(encoding="utf-8"))
        images = creatures.load_images(rgb_preprocess(112))
    neurons = [SyntheticNeuron(one["name"], one["tuning"], one["baseline"]) for one in truth["neurons"]]
    return creatures, neurons, images


def measure(n_neurons: int, n_held_out: int, seed: int) -> dict[str, Any]:
    creatures, neurons, images = simulated(n_neurons, seed)
    features = LatentFeatures(embedded_network(), "features")
    fitted = latent(features, images)
    readouts: dict[str, LinearReadout] = {
        name: fit_readout(fitted, creatures.mean, estimator=estimator) for name, estimator in ESTIMATORS.items()
    }
    exchanged = np.random.default_rng(seed).permutation(n_neurons)
    results: dict[str, Any] = {}
    for category in CATEGORIES:
        stimuli = draw_stimuli(category, n_held_out, seed=HELD_OUT + seed, progress=True)
        held_out = latent(features, torch.stack([stimulus.image for stimulus in stimuli]))
        responses = {f"readouts, {name}": readout(held_out).numpy() for name, readout in readouts.items()}
        responses["ceiling: recorded responses"] = record(neurons, stimuli, repetitions=4, seed=seed).mean(axis=0)
        responses["chance: readouts of other neurons"] = responses["readouts, standardised"][:, exchanged]
        results[category] = {name: recovery(values, stimuli, neurons) for name, values in responses.items()}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether estimated readouts are driven by the true parts.")
    parser.add_argument("--neurons", type=int, default=96)
    parser.add_argument("--held-out", type=int, default=1000, help="fresh images of each category to judge on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("drivers.json"))
    chosen = parser.parse_args()
    report = {
        "results": measure(chosen.neurons, chosen.held_out, chosen.seed),
        "settings": {"neurons": chosen.neurons, "held_out": chosen.held_out, "seed": chosen.seed},
    }
    write_report(chosen.output, report, ("captum-shared", "numpy", "scikit-learn", "torch"))
    for category, results in report["results"].items():
        for name, scores in results.items():
            told = ", ".join(f"{score} {value:.3g}" for score, value in scores.items())
            print(f"{category}, {name}: {told}")


if __name__ == "__main__":
    main()
