"""What a study costs, by images, neurons and workers: a model, fitted on small studies and checked on larger ones.

Every study runs in a process of its own on drawn images, a quarter of them of the preferred category, with the embedded
network. With N images and K neurons, the seconds of one core are

    shared work:   a N + b K + c K N           features by blocks of images, then pairs and maps by neurons
    driver:        d + e N + f K + g K N       start, digests of the images, readouts and what chance predicts, files

with coefficients that are not negative, fitted by least squares of relative errors to the small studies. With W
workers, whose start takes s,

    wall time:     driver + s + shared work / W

It is assumed that cores are alike and nobody else uses them, that files come as fast as they are read here, that the
network takes as long for every image, and that there are several times as many blocks and neurons as workers. What a
network of one's own takes per image and pair is to be measured on a few hundred images in the same way. Processor
time, which is what is fitted, tells more than wall time on a machine that others use.

    python benchmarks/scaling.py --folder /tmp/scaling
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import psutil
from matplotlib.ticker import ScalarFormatter
from population import FILES, SHARE, digests, make_recording
from reporting import write_report
from scipy.optimize import nnls

from captum_shared import Recording, engine_by_name
from captum_shared.encoders import encoder_by_name
from captum_shared.study import StudySettings, run_study

SMALL = ((300, 4), (300, 16), (900, 4), (900, 16), (600, 8))  # images, neurons
LARGER = ((1800, 24), (2400, 8), (600, 48))
COMPARED = (2400, 400)  # with which workers are compared: a minute or more
TERMS: dict[str, tuple[Callable[[float, float], float], ...]] = {
    "shared": (lambda n, k: n, lambda n, k: k, lambda n, k: k * n),
    "driver": (lambda n, k: 1, lambda n, k: n, lambda n, k: k, lambda n, k: k * n),
}


class Timed:
    """Does the work in this process, and measures it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def map(self, build: Callable[[], Callable[[Any], Any]], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        start = time.process_time()
        work = build()
        for task in tasks:
            done = work(task)
            self.seconds += time.process_time() - start
            yield task, done
            start = time.process_time()


def part_of(recording: Recording, images: int, neurons: int) -> Recording:
    """The first images of each category, in the shares of all, and the first neurons."""
    inside = recording.in_category("creature")
    preferred = round(SHARE * images)
    kept = [*np.flatnonzero(inside)[:preferred], *np.flatnonzero(~inside)[: images - preferred]]
    return recording.select(images=np.array(kept), neurons=np.arange(neurons))


def child(chosen: argparse.Namespace) -> None:
    """Study a part of the recording, and print what it took."""
    recording = part_of(Recording.load(chosen.child), *chosen.size)
    features, settings = encoder_by_name("embedded", "features"), StudySettings("creature", all_neurons=True)
    start, timed = time.perf_counter(), Timed()
    options: dict[str, Any] = {"output": chosen.folder, "model": "embedded", "progress": False}
    before = time.process_time()
    if chosen.workers:
        with engine_by_name("ray", workers=chosen.workers) as engine:
            run_study(recording, features, settings, engine=engine, **options)
            others = sum(sum(each.cpu_times()[:2]) for each in psutil.Process().children(recursive=True))
    else:
        run_study(recording, features, settings, engine=timed, **options)
        others = 0.0
    total = time.process_time() - before
    print(
        json.dumps(
            {
                "wall_s": time.perf_counter() - start,
                "shared": timed.seconds,
                "driver": total - timed.seconds,
                "processor_s": total + others,
            }
        )
    )


def measured(file: Path, size: tuple[int, int], output: Path, workers: int = 0) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(file), "--folder", str(output), "--workers", str(workers)]
    command += ["--size", *map(str, size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # nosec
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(size, workers, {name: round(value, 2) for name, value in result.items()}, flush=True)
    return result


def fitted(sizes: Sequence[tuple[int, int]], values: Sequence[float], quantity: str) -> list[float]:
    """Coefficients that are not negative, by least squares of relative errors."""
    design = np.array([[term(*size) for term in TERMS[quantity]] for size in sizes], dtype=float)
    scale = design.max(axis=0)
    weights = 1 / np.array(values)
    solution, _ = nnls(design / scale * weights[:, None], np.ones(len(values)))
    return (solution / scale).tolist()


def predicted(coefficients: Sequence[float], size: tuple[int, int], quantity: str) -> float:
    return float(sum(c * term(*size) for c, term in zip(coefficients, TERMS[quantity], strict=True)))


def modelled(runs: dict[tuple[int, int], dict[str, float]]) -> dict[str, Any]:
    """The model, and its relative errors for the studies that it has not seen."""
    model = {name: fitted(SMALL, [runs[size][name] for size in SMALL], name) for name in TERMS}
    checked = {
        f"{size[0]} images, {size[1]} neurons": {
            name: {
                "measured": runs[size][name],
                "predicted": predicted(model[name], size, name),
                "error": predicted(model[name], size, name) / runs[size][name] - 1,
            }
            for name in TERMS
        }
        for size in LARGER
    }
    return {"coefficients": model, "held_out": checked}


def compared(file: Path, folder: Path, repetitions: int) -> dict[str, Any]:
    """One process, one worker and two, in turn; all must come to the same files."""
    times: dict[int, list[dict[str, float]]] = {0: [], 1: [], 2: []}
    known: dict[str, str] = {}
    for repetition, workers in itertools.product(range(repetitions), times):
        output = folder / f"workers-{workers}-{repetition}"
        times[workers].append(measured(file, COMPARED, output, workers))
        known = known or digests(output)
        if digests(output) != known:
            raise SystemExit(f"{workers} workers came to other files than one process: {', '.join(FILES)}.")
    best = {
        workers: {name: min(each[name] for each in runs) for name in ("wall_s", "processor_s")}
        for workers, runs in times.items()
    }
    return {
        "size": COMPARED,
        "runs": times,
        "one_worker_over_plain": {name: best[1][name] / best[0][name] for name in best[0]},
        "two_workers_over_plain": {name: best[2][name] / best[0][name] for name in best[0]},
        "worker_start_s": max(0.0, best[1]["wall_s"] - best[0]["wall_s"]),
    }


def cluster(model: dict[str, Any], start: float, size: tuple[int, int], workers: Sequence[int]) -> dict[str, float]:
    """Predicted wall time by number of workers."""
    shared, driver = (predicted(model["coefficients"][name], size, name) for name in ("shared", "driver"))
    return {str(number): driver + start + shared / number for number in workers}


def figure(runs: dict[tuple[int, int], dict[str, float]], report: dict[str, Any], path: Path) -> None:
    drawn, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    model = report["model"]["coefficients"]
    for name, label, colour in (("shared", "shared work", "C0"), ("driver", "driver", "C1")):
        for sizes, filled, told in ((SMALL, "none", "fitted"), (LARGER, None, "held out")):
            x = [predicted(model[name], size, name) for size in sizes]
            y = [runs[size][name] for size in sizes]
            left.plot(x, y, "o", mfc=filled, color=colour, label=f"{label}, {told}")
    ends = [*left.get_xlim(), *left.get_ylim()]
    left.plot([min(ends), max(ends)], [min(ends), max(ends)], color="0.7", lw=1, zorder=0)
    left.set(xlabel="predicted processor time (s)", ylabel="measured processor time (s)")
    left.legend(frameon=False, fontsize=8)
    measured_times = [min(run["wall_s"] for run in times) for times in report["workers"]["runs"].values()]
    middle.plot(["one process", "1 worker", "2 workers"], measured_times, "o", label="measured")
    middle.plot(
        ["1 worker", "2 workers"], [*report["workers"]["predicted_wall_s"].values()], "_", ms=18, label="predicted"
    )
    middle.set(title=f"{COMPARED[0]:,} images, {COMPARED[1]} neurons", ylabel="wall time (s)", ylim=(0, None))
    middle.margins(x=0.2)
    middle.legend(frameon=False, fontsize=8)
    for size, times in report["cluster"].items():
        right.plot([int(number) for number in times], [each / 60 for each in times.values()], "o-", label=size)
    right.set_xscale("log", base=2)
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.set(xlabel="workers", ylabel="predicted wall time (min)", ylim=(0, None))
    right.legend(frameon=False, fontsize=8)
    drawn.savefig(path, dpi=150)
    plt.close(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a study costs, by images, neurons and workers.")
    parser.add_argument("--folder", type=Path, help="for the recording; a temporary one by default")
    parser.add_argument("--repetitions", type=int, default=2, help="of the studies that compare workers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("scaling.json"), help="with a figure of the same name")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen)
        return
    sizes = (*SMALL, *LARGER, COMPARED)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        most = (max(n for n, _ in sizes), max(k for _, k in sizes))
        file = make_recording(chosen.folder or folder, images=most[0], neurons=most[1], seed=chosen.seed)
        runs = {size: measured(file, size, folder / f"{size[0]}-{size[1]}") for size in (*SMALL, *LARGER)}
        workers = compared(file, folder, chosen.repetitions)
    model = modelled(runs)
    workers["predicted_wall_s"] = cluster(model, workers["worker_start_s"], COMPARED, (1, 2))
    report: dict[str, Any] = {
        "runs": {f"{n} images, {k} neurons": values for (n, k), values in runs.items()},
        "model": model,
        "workers": workers,
        "cluster": {
            f"{n:,} images, {k:,} neurons": cluster(model, workers["worker_start_s"], (n, k), (1, 2, 4, 8, 16, 32, 64))
            for n, k in ((22_000, 200), (22_248, 1000))
        },
        "settings": {"seed": chosen.seed, "repetitions": chosen.repetitions, "cores": os.cpu_count()},
    }
    write_report(chosen.output, report, ("captum-shared", "captum", "numpy", "torch", "ray"))
    figure(runs, report, chosen.output.with_suffix(".png"))
    print(json.dumps({name: report[name] for name in ("model", "cluster")}, indent=1))
    print({name: values for name, values in workers.items() if name != "runs"})


if __name__ == "__main__":
    main()
