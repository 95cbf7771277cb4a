"""How far the two held-out correlations are off: pooled over all folds, and within each fold.

Neurons that respond to some of the features with a known correlation, or to none. What a readout of as many images as
a fit sees predicts of fresh images is the truth; the difference of a held-out correlation from it is its bias.

    python benchmarks/heldout_bias.py --output benchmarks/results/heldout_bias.json
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from reporting import write_report

from captum_shared import fit_readout, heldout_correlation, ooc_correlation

FEATURES, DRIVERS, FRESH = 20, 3, 2000
"""Features, how many of them drive a neuron, and images to know the truth by."""
FOLDS = 10
RELATIONS = (0.0, 0.3, 0.5, 0.8)
N_IMAGES = (50, 100, 400)


def recorded(features: np.ndarray, weight: np.ndarray, relation: float, generator: np.random.Generator) -> np.ndarray:
    """Responses with noise, whose correlation with what the features tell is known."""
    noise = generator.standard_normal((len(features), weight.shape[1]))
    return relation * features @ weight + (1 - relation**2) ** 0.5 * noise


def biases(n_images: int, relation: float, n_neurons: int, generator: np.random.Generator) -> dict[str, float]:
    """Of one recording."""
    weight = np.zeros((FEATURES, n_neurons))
    weight[:DRIVERS] = generator.standard_normal((DRIVERS, n_neurons))
    weight /= np.linalg.norm(weight, axis=0)
    features = generator.standard_normal((n_images, FEATURES))
    responses = recorded(features, weight, relation, generator)
    fresh = generator.standard_normal((FRESH, FEATURES))
    fitted = n_images - n_images // FOLDS
    readout = fit_readout(features[:fitted], responses[:fitted])
    truth = ooc_correlation(readout, fresh, recorded(fresh, weight, relation, generator)).mean()
    pooled = heldout_correlation(features, responses, cv=FOLDS).mean()
    within = heldout_correlation(features, responses, cv=FOLDS, pooled=False).mean()
    return {"truth": float(truth), "pooled": float(pooled), "within": float(within)}


def measure(n_recordings: int, n_neurons: int, seed: int) -> list[dict[str, float]]:
    rows = []
    for n_images in N_IMAGES:
        for relation in RELATIONS:
            generator = np.random.default_rng([seed, n_images, int(100 * relation)])
            each = [biases(n_images, relation, n_neurons, generator) for _ in range(n_recordings)]
            means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
            bound = -(((FOLDS - 1) / (n_images - 1)) ** 0.5)
            rows.append({"images": n_images, "relation": relation, **means, "bound": bound})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="How far held-out correlations are off, pooled and within folds.")
    parser.add_argument("--recordings", type=int, default=20)
    parser.add_argument("--neurons", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("heldout_bias.json"))
    chosen = parser.parse_args()
    report: dict[str, Any] = {
        "results": measure(chosen.recordings, chosen.neurons, chosen.seed),
        "settings": {"recordings": chosen.recordings, "neurons": chosen.neurons, "seed": chosen.seed, "folds": FOLDS},
    }
    write_report(chosen.output, report, ("captum-shared", "numpy", "scikit-learn", "torch"))
    print("images  relation   truth  pooled (bias)    within (bias)")
    for row in report["results"]:
        pooled, within = (f"{row[name]:6.3f} ({row[name] - row['truth']:+.3f})" for name in ("pooled", "within"))
        print(f"{row['images']:6} {row['relation']:9.1f} {row['truth']:7.3f}  {pooled}  {within}")


if __name__ == "__main__":
    main()
