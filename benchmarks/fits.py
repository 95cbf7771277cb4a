"""Time and memory of fitting and judging many neurons, against scikit-learn and himalaya, in one run.

After checking that the answers agree (weights and held-out correlations are those of scikit-learn's ``StandardScaler``
and ``RidgeCV`` in every fold), of each size:

- ``fit``: one fit of all neurons;
- ``heldout``: cross-validation in ten folds, a fit with its penalties in each;
- ``null``: the interval that chance alone gives, 1,000 responses dealt anew, fitted in each fold;
- ``gaps``: one fit, each neuron recorded for other images.

himalaya's ``RidgeCV`` chooses penalties by five folds, not by leaving images out one by one: its readouts are others,
about as good. Every measurement has a process of its own, and the peers take turns. Seconds are those of the
processor, as others may use the machine: let there be one thread.

    OMP_NUM_THREADS=1 python benchmarks/fits.py --output benchmarks/results/fits.json
"""

import argparse
import itertools
import multiprocessing
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from reporting import write_report
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from captum_shared import fit_readout, heldout_correlation, heldout_null_interval

Numbers = NDArray[np.float64]
PENALTIES = np.logspace(-2, 6, 17)
FOLDS, PERMUTATIONS = 10, 1000
SIZES = ((1000, 512), (4000, 2048), (1000, 2048))
"""Images and features."""
NEURONS, NEURONS_WITH_GAPS = 200, 40
TASKS = {  # and what each peer is asked to do
    "fit": ("captum-shared", "scikit-learn", "himalaya", "himalaya, torch"),
    "heldout": ("captum-shared", "scikit-learn"),
    "null": ("captum-shared", "scikit-learn"),
    "gaps": ("captum-shared", "scikit-learn"),
}
SMALLEST, LARGEST = SIZES[:2]
SLOW = {("himalaya, torch", "fit"), ("scikit-learn", "null"), ("captum-shared", "gaps"), ("scikit-learn", "gaps")}
"""What is timed at the smallest size only."""
SLOWEST = {("himalaya", "fit"), ("scikit-learn", "heldout"), ("captum-shared", "null")}
"""What is not timed at the largest size."""
TOLERANCE = 1e-8


def recorded(n_images: int, n_features: int, n_neurons: int, seed: int) -> tuple[Numbers, Numbers]:
    """Features after a ReLU that resemble each other, in single precision, and neurons that read fifty of them."""
    generator = np.random.default_rng([seed, n_images, n_features])
    common = generator.standard_normal((n_images, n_features // 4))
    mixed = common @ generator.standard_normal((n_features // 4, n_features)) / n_features**0.5
    features = np.maximum(mixed + 0.5 * generator.standard_normal(mixed.shape), 0).astype(np.float32)
    responses = features[:, :50] @ generator.standard_normal((50, n_neurons))
    return features, responses + 5 * generator.standard_normal(responses.shape)


def with_gaps(responses: Numbers, seed: int) -> Numbers:
    """A tenth of the images missing, others for each neuron."""
    responses = responses[:, :NEURONS_WITH_GAPS]
    return np.where(np.random.default_rng([seed, 1]).random(responses.shape) < 0.1, np.nan, responses)


def scikit_learn() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(alphas=PENALTIES, alpha_per_target=True))


def himalaya(backend: str) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from himalaya.backend import set_backend
        from himalaya.ridge import RidgeCV as OfFolds
    set_backend(backend)
    solver = {"n_alphas_batch": 1, "warn": False}
    return make_pipeline(StandardScaler(), OfFolds(PENALTIES, fit_intercept=True, cv=5, solver_params=solver))


def fitted_by(peer: str, features: Numbers, responses: Numbers) -> Numbers:
    """Weight, (neuron, feature)."""
    if peer == "captum-shared":
        return fit_readout(features, responses).weight.numpy()
    if peer != "scikit-learn":
        model = himalaya("torch" if peer.endswith("torch") else "numpy")
        return fit_readout(features, responses, estimator=model).weight.numpy()
    if np.isnan(responses).any():
        seen = ~np.isnan(responses)
        each = [fitted_by(peer, features[own], one[own, None]) for own, one in zip(seen.T, responses.T, strict=True)]
        return np.concatenate(each)
    scaler, ridge = scikit_learn().fit(features.astype(float), responses)
    return np.atleast_2d(ridge.coef_) / scaler.scale_


def judged_by(peer: str, features: Numbers, responses: Numbers) -> Numbers:
    """Held-out correlations, (neuron,)."""
    if peer == "captum-shared":
        return heldout_correlation(features, responses, cv=FOLDS)
    totals, weights = np.zeros(responses.shape[1]), 0
    for images, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(features):
        model = scikit_learn().fit(features[images].astype(float), responses[images])
        predicted, own = model.predict(features[held_out].astype(float)), responses[held_out]
        predicted, own = predicted - predicted.mean(axis=0), own - own.mean(axis=0)
        lengths = np.sqrt((predicted**2).sum(axis=0) * (own**2).sum(axis=0))
        totals += (len(held_out) - 1) * (predicted * own).sum(axis=0) / lengths
        weights += len(held_out) - 1
    return totals / weights


def null_by(peer: str, features: Numbers, responses: Numbers) -> Numbers:
    """Ends of the interval."""
    if peer == "captum-shared":
        return np.array([end[0] for end in heldout_null_interval(features, responses, cv=FOLDS)])
    generator = np.random.default_rng(0)
    times = PERMUTATIONS // responses.shape[1]
    dealt = np.concatenate([generator.permuted(responses, axis=0) for _ in range(times)], axis=1)
    return np.quantile(judged_by(peer, features, dealt), [0.025, 0.975])


DONE: dict[str, Callable[[str, Numbers, Numbers], Numbers]] = {
    "fit": fitted_by,
    "gaps": fitted_by,
    "heldout": judged_by,
    "null": null_by,
}


class Watched(threading.Thread):
    """Looks at the memory of the process every 10 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process, self.done, self.peak = psutil.Process(), threading.Event(), 0
        self.before = self.process.memory_info().rss

    def run(self) -> None:
        while not self.done.wait(0.01):
            self.peak = max(self.peak, self.process.memory_info().rss - self.before)

    def __enter__(self) -> "Watched":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()


def measured(task: str, peer: str, folder: Path) -> tuple[Numbers, dict[str, float]]:
    """The answer, seconds, and MiB of memory above what the process had with the data."""
    features, responses = (np.load(folder / f"{name}.npy") for name in ("features", task))
    fitted_by(peer, features[:40, :8], np.nan_to_num(responses[:40, :2]))  # what is loaded at first use
    with Watched() as watched:
        wall, start = time.perf_counter(), time.process_time()
        answer = DONE[task](peer, features, responses)
        spent, passed = time.process_time() - start, time.perf_counter() - wall
    return answer, {"seconds": spent, "wall": passed, "mebibytes": watched.peak / 2**20}


def apart(*asked: Any) -> tuple[Numbers, dict[str, float]]:
    """Measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, asked)


def difference(task: str, answer: Numbers, expected: Numbers) -> float:
    """Of weights, in shares of the largest of the neuron; of correlations as they are."""
    scale = np.abs(expected).max(axis=1, keepdims=True) if task in ("fit", "gaps") else 1.0
    return float(np.abs((answer - expected) / scale).max())


def timed(task: str, size: tuple[int, int]) -> list[str]:
    """Which peers are timed at a task."""
    left_out = (SLOW if size != SMALLEST else set()) | (SLOWEST if size == LARGEST else set())
    return [peer for peer in TASKS[task] if (peer, task) not in left_out]


def compared(task: str, size: tuple[int, int], rounds: int, folder: Path) -> dict[str, Any]:
    """All peers at one task, in turns; the least time of each."""
    peers = timed(task, size)
    answers: dict[str, Numbers] = {}
    times: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    for _, peer in itertools.product(range(rounds), peers):
        answers[peer], cost = apart(task, peer, folder)
        times[peer].append(cost)
    row: dict[str, Any] = {"task": task, "images": size[0], "features": size[1], "neurons": NEURONS}
    if task == "gaps":
        row["neurons"] = NEURONS_WITH_GAPS
    row["costs"] = {
        peer: {name: round(min(one[name] for one in each), 3) for name in each[0]} for peer, each in times.items()
    }
    if "scikit-learn" in answers:
        row["difference"] = difference(task, answers["captum-shared"], answers["scikit-learn"])
        if task != "null" and not row["difference"] < TOLERANCE:  # responses dealt anew are others
            raise RuntimeError(f"Answers differ by {row['difference']} in {row}.")
    told = "   ".join(
        f"{peer} {cost['seconds']:.2f} s, {cost['mebibytes']:.0f} MiB" for peer, cost in row["costs"].items()
    )
    print(f"{task:8} {size[0]:5} x {size[1]:4}  {told}", flush=True)
    return row


def ratios(rows: list[dict[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """How long fits and cross-validations take, in those of scikit-learn and in fits."""
    own, peer = "captum-shared", "scikit-learn"
    costs = {row["task"]: row["costs"] for row in rows if (row["images"], row["features"]) == size}
    fit, fit_of_peer, folds = (
        costs[task][each]["seconds"] for task, each in (("fit", own), ("fit", peer), ("heldout", own))
    )
    told = {
        "fit / fit of scikit-learn": fit / fit_of_peer,
        "cross-validation / fit of scikit-learn": folds / fit_of_peer,
        "cross-validation / fit": folds / fit,
    }
    if peer in costs["heldout"]:
        told["cross-validation / that of scikit-learn"] = folds / costs["heldout"][peer]["seconds"]
    return {"images": size[0], "features": size[1], **{name: round(ratio, 2) for name, ratio in told.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of fits and of their judgement.")
    parser.add_argument("--rounds", type=int, default=3, help="of each fit but those of the largest size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fits.json"))
    chosen = parser.parse_args()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: all on the processor"
    settings = {"folds": FOLDS, "permutations": PERMUTATIONS, "rounds": chosen.rounds, "seed": chosen.seed}
    rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            features, responses = recorded(*size, NEURONS, chosen.seed)
            np.save(Path(folder, "features.npy"), features)
            for task in [task for task in TASKS if timed(task, size)]:
                np.save(Path(folder, f"{task}.npy"), with_gaps(responses, chosen.seed) if task == "gaps" else responses)
                rounds = chosen.rounds if task == "fit" and size != LARGEST else 1
                rows.append(compared(task, size, rounds, Path(folder)))
        told.append(ratios(rows, size))
        print(told[-1], flush=True)
        report = {"ratios": told, "results": rows, "settings": settings, "gpu": gpu}
        write_report(chosen.output, report, ("captum-shared", "himalaya", "numpy", "scikit-learn", "torch"))


if __name__ == "__main__":
    main()
