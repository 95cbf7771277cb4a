"""A study of the size of a population, within a limit of memory, killed at random moments and resumed.

A recording of drawn images is made, of which a quarter is of the preferred category. It is studied once as it is, in a
process that may not have more than ``--memory`` GiB of data (``ulimit -d``); and once more into another folder, by
processes that are killed (SIGKILL) at random moments, as many times as asked for, each going on with what the last one
left. Both must come to the same files, to the last bit. Moments are told by the processor time that a process has had,
so that a busy machine does not move them all to the beginning.

    python benchmarks/population.py --images 22000 --neurons 200 --kills 10 --folder /tmp/population
"""

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from reporting import write_report
from tqdm import tqdm

from captum_shared import Recording
from captum_shared.encoders import encoder_by_name
from captum_shared.study import StudySettings, run_study
from captum_shared.synthetic import PARTS, Stimulus, SyntheticNeuron, category_selective_neurons, draw_stimuli

FILES = ("study.json", "maps.npz", "readout.safetensors")
SHARE = 0.25  # of images that are of the preferred category
_AT_ONCE = 250  # images
_REPETITIONS, _WINDOW, _PHASES = 8, 0.2, 2


def drawn(number: int, seed: int) -> Iterator[tuple[str, Stimulus]]:
    """Draw images a few at a time: their identifiers, and what they show."""
    sizes = {"creature": max(30, round(SHARE * number))}
    sizes["artefact"] = number - sizes["creature"]
    for category, total in sizes.items():
        for start in range(0, total, _AT_ONCE):
            stimuli = draw_stimuli(category, min(_AT_ONCE, total - start), seed=seed + 10_000 + start)
            yield from ((f"{category}_{start + index:05d}", stimulus) for index, stimulus in enumerate(stimuli))


def make_recording(folder: Path, *, images: int, neurons: int, seed: int = 0) -> Path:
    """Write images and a recording, unless they are there; return the file."""
    file = folder / f"recording-{images}-{neurons}.nc"
    if file.exists():
        return file
    pictures = folder / f"images-{images}"
    pictures.mkdir(parents=True, exist_ok=True)
    names, drives = [], []
    of_parts = [SyntheticNeuron(part, {part: 1.0}, 0.0) for part in PARTS]
    for name, stimulus in tqdm(drawn(images, seed), total=images, desc="drawing"):
        pixels = (255 * stimulus.image).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(pictures / f"{name}.jpg", quality=90)
        names.append(name)
        drives.append([float(part.rate([stimulus])[0]) for part in of_parts])
    cells = category_selective_neurons(neurons, seed=seed)
    gains = np.array([[cell.tuning.get(part, 0.0) for part in PARTS] for cell in cells])
    rates = (np.array([cell.baseline for cell in cells]) + np.array(drives) @ gains.T).clip(min=0)
    exposure = _REPETITIONS * _WINDOW
    responses = np.random.default_rng(seed).poisson(rates * exposure, size=(_PHASES, *rates.shape)) / exposure
    Recording(
        responses,
        tuple(names),
        tuple(name.split("_")[0] for name in names),
        tuple(cell.name for cell in cells),
        ("simulated",) * neurons,
        ("",) * neurons,
        tuple(pictures / f"{name}.jpg" for name in names),
    ).save(file)
    return file


def study(file: Path, output: Path, folds: int) -> None:
    """Study a recording, from wherever it was left."""
    recording = Recording.load(file)
    settings = StudySettings("creature", folds=folds)
    features = encoder_by_name("embedded", "features")
    run_study(recording, features, settings, output=output, model="embedded", resume=True)


def started(file: Path, output: Path, chosen: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Study in a process of its own, with a limit of memory."""
    command = [sys.executable, __file__, "--study", str(file), "--folder", str(output), "--folds", str(chosen.folds)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(chosen.memory * 2**30),) * 2)

    with (output.parent / f"{output.name}.log").open("ab") as log:
        return subprocess.Popen(command, preexec_fn=limit, stdout=log, stderr=log)  # nosec


def ended(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Wait for the end of a process: its status, processor time, and peak memory in GiB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "status": process.returncode,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_GiB": usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20),
    }


def whole(file: Path, output: Path, chosen: argparse.Namespace) -> dict[str, float]:
    start = time.perf_counter()
    told = ended(started(file, output, chosen))
    if told["status"]:
        raise RuntimeError(f"The study ended with status {told['status']}: see {output}.log.")
    return {"wall_s": time.perf_counter() - start, **told}


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Kill a process when it has had so much processor time, unless it ends before."""
    own = psutil.Process(process.pid)
    while True:
        with suppress(psutil.NoSuchProcess):
            if own.status() == psutil.STATUS_ZOMBIE:
                return
            if sum(own.cpu_times()[:2]) >= seconds:
                process.send_signal(signal.SIGKILL)
                return
        time.sleep(0.05)


def killed(file: Path, output: Path, chosen: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Study with kills, whose moments are spread over the processor time that the study takes."""
    rng, kills, memory = np.random.default_rng(chosen.seed), [], 0.0
    while True:
        process = started(file, output, chosen)
        if len(kills) < chosen.kills:
            kill_after(process, rng.uniform(0, 2 * seconds / (chosen.kills + 1)))
        told = ended(process)
        memory = max(memory, told["peak_memory_GiB"])
        if told["status"] == 0:
            return {"kills": kills, "peak_memory_GiB": memory}
        if told["status"] != -signal.SIGKILL:
            raise RuntimeError(f"The study ended with status {told['status']}: see {output}.log.")
        kept = [each for each in (output / ".progress").rglob("*") if each.is_file()]
        kills.append({"after_processor_s": told["processor_s"], "files_kept": len(kept)})
        print(f"kill {len(kills)}: {kills[-1]}", flush=True)


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def main() -> None:
    parser = argparse.ArgumentParser(description="A study of the size of a population, killed and resumed.")
    parser.add_argument("--images", type=int, default=22_000)
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--memory", type=float, default=4.0, help="GiB of data that a process may have")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="for the recording and both studies")
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path("population.json"))
    chosen = parser.parse_args()
    if chosen.study:
        study(chosen.study, chosen.folder, chosen.folds)
        return
    file = make_recording(chosen.folder, images=chosen.images, neurons=chosen.neurons, seed=chosen.seed)
    outputs = [chosen.folder / f"{kind}-{chosen.images}-{chosen.neurons}" for kind in ("whole", "killed")]
    results: dict[str, Any] = {"whole": whole(file, outputs[0], chosen)}
    print(json.dumps(results), flush=True)
    results["killed"] = killed(file, outputs[1], chosen, results["whole"]["processor_s"])
    results["sha256"] = digests(outputs[0])
    results["identical"] = results["sha256"] == digests(outputs[1])
    settings = {name: getattr(chosen, name) for name in ("images", "neurons", "kills", "folds", "memory", "seed")}
    report = {"results": results, "settings": {**settings, "limit": "RLIMIT_DATA of each process"}}
    write_report(chosen.output, report, ("captum-shared", "captum", "numpy", "torch"))
    print(json.dumps(results, indent=1))
    if not results["identical"]:
        raise SystemExit("The study that was killed differs from the one that was not.")


if __name__ == "__main__":
    main()
