"""What the held-out correlation is worth: its bias, the error rate of its null interval, and its power.

Neurons whose responses the features explain in part, or not at all: normal, or counts of spikes of high and low
reliability, which are skewed. Penalties are searched. ``heldout`` is the mean of the correlations within folds, with
the interval of permutations; ``pooled`` is one correlation over the images of all folds, as it was once judged, by the
interval of unrelated normal variables. The truth is what a readout of as many images as a fit sees predicts of fresh
images.

    python benchmarks/heldout_bias.py --seed 1 --output benchmarks/results/heldout_bias.json
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from reporting import write_report

from captum_shared import fit_readout, heldout_correlation, heldout_null_interval, null_interval, ooc_correlation
from captum_shared.neurons import correlation, cross_validated_prediction

DRIVERS, FRESH = 3, 1000
"""How many features drive a neuron, and images to know the truth by."""
RELATIONS = (0.0, 0.3, 0.5, 0.8)
SIZES = ((50, 20), (100, 20), (100, 200), (400, 50))
"""Images and features."""
FOLDS = (5, 10)
RATES = {"normal": None, "reliable counts": 20.0, "unreliable counts": 1.0}
"""Mean numbers of spikes an image."""


def recorded(drive: np.ndarray, relation: float, rate: float | None, generator: np.random.Generator) -> np.ndarray:
    """Responses that are made of a drive and of what the features do not tell."""
    own = relation * drive + (1 - relation**2) ** 0.5 * generator.standard_normal(drive.shape)
    return own if rate is None else generator.poisson(rate * np.exp(0.5 * own)).astype(float)


def judged(n_images: int, n_features: int, folds: int, relation: float, **simulated: Any) -> dict[str, float]:
    """Of one recording."""
    n_neurons, rate, generator = simulated["n_neurons"], simulated["rate"], simulated["generator"]
    weight = np.zeros((n_features, n_neurons))
    weight[:DRIVERS] = generator.standard_normal((DRIVERS, n_neurons))
    weight /= np.linalg.norm(weight, axis=0)
    features, fresh = (generator.standard_normal((n, n_features)) for n in (n_images, FRESH))
    responses, others = (recorded(each @ weight, relation, rate, generator) for each in (features, fresh))
    fitted = n_images - n_images // folds
    truth = ooc_correlation(fit_readout(features[:fitted], responses[:fitted]), fresh, others)
    heldout = heldout_correlation(features, responses, cv=folds)
    low, high = heldout_null_interval(features, responses, cv=folds)
    pooled = correlation(cross_validated_prediction(features, responses, cv=folds), responses)
    end = null_interval(n_images)[1]
    return {
        "truth": float(truth.mean()),
        "heldout": float(heldout.mean()),
        "outside": float(((heldout < low) | (heldout > high)).mean()),
        "above": float((heldout > high).mean()),
        "pooled": float(pooled.mean()),
        "pooled_outside": float((np.abs(pooled) > end).mean()),
        "pooled_above": float((pooled > end).mean()),
    }


def measure(n_recordings: int, n_neurons: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    for (n_images, n_features), folds, (kind, rate), relation in itertools.product(
        SIZES, FOLDS, RATES.items(), RELATIONS
    ):
        if relation > 0 and folds != FOLDS[-1]:
            continue
        generator = np.random.default_rng([seed, n_images, n_features, folds, list(RATES).index(kind)])
        times = n_recordings if relation == 0 else 1
        each = [
            judged(n_images, n_features, folds, relation, n_neurons=n_neurons, rate=rate, generator=generator)
            for _ in range(times)
        ]
        means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        setting = {"images": n_images, "features": n_features, "folds": folds, "responses": kind, "relation": relation}
        rows.append({**setting, "neurons": times * n_neurons, **means})
        shown = "  ".join(f"{name} {value:+.3f}" for name, value in means.items())
        print(f"{n_images:4} {n_features:4} {folds:3}  {kind:17} {relation:.1f}  {shown}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Bias, error rate and power of held-out correlations.")
    parser.add_argument("--recordings", type=int, default=12, help="of neurons that nothing predicts, for each setting")
    parser.add_argument("--neurons", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("heldout_bias.json"))
    chosen = parser.parse_args()
    rows = measure(chosen.recordings, chosen.neurons, chosen.seed)
    silent = [row for row in rows if row["relation"] == 0]
    summary = {
        f"{extreme.__name__}_{name}": extreme(row[name] for row in silent)
        for name in ("heldout", "outside", "above")
        for extreme in (min, max)
    }
    overall = {name: float(np.mean([row[name] for row in silent])) for name in ("heldout", "outside", "above")}
    report = {
        "unpredicted": {**overall, **summary},
        "results": rows,
        "settings": {"recordings": chosen.recordings, "neurons": chosen.neurons, "seed": chosen.seed},
    }
    write_report(chosen.output, report, ("captum-shared", "numpy", "scikit-learn", "torch"))
    print(report["unpredicted"])


if __name__ == "__main__":
    main()
