"""What a study costs: seconds a neuron, and peak memory, with photographs and a real network.

Of a folder of photographs (a folder a category) 800 files are made, the photographs and mirrored copies of them, and a
recording of neurons that each answer to three categories. ``captum-shared study`` then runs as a process of its own,
once with all neurons and once with two; the difference, divided by the number of neurons that it has more, is what a
neuron costs, cross-validation, maps and figures included. Processor time tells more than wall time on a machine that
others use.

Only options that the command has had from the first are used unless ``--option`` adds some, so that the same script
measures an older checkout, by PYTHONPATH.

    python benchmarks/study_cost.py --images photographs --weights DEFAULT --output study_cost.json
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from reporting import write_report

from captum_shared.images import image_folder

PREFERRED = "preferred"
FEW = 2
_BASELINE, _GAIN = 4.0, 12.0  # spikes/s


def photographs(source: Path, folder: Path, number: int) -> list[tuple[str, str]]:
    """Write the photographs, and mirrored copies, as many as asked for; return names and categories."""
    paths, categories = image_folder(source)
    chosen = [(path, category) for path, category in zip(paths, categories, strict=True) if category]
    made = []
    for index in range(number):
        path, category = chosen[index % len(chosen)]
        name = f"{index:04d}.png"
        image = Image.open(path).convert("RGB")
        (ImageOps.mirror(image) if index >= len(chosen) else image).save(folder / name, compress_level=1)
        made.append((name, category))
    return made


def recording(folder: Path, made: Sequence[tuple[str, str]], *, neurons: int, seed: int) -> Path:
    """Write a recording of neurons that answer to three categories each; half of the categories are preferred."""
    rng = np.random.default_rng(seed)
    names = sorted({category for _, category in made})
    preferred = set(names[::2])
    drivers = [rng.choice(names, 3, replace=False) for _ in range(neurons)]
    rates = [[_BASELINE + _GAIN * (category in own) for own in drivers] for _, category in made]
    identifiers = [name[:-4] for name, _ in made]
    np.savez(folder / f"{neurons}.npz", responses=rng.poisson(np.array(rates) * 3.2) / 3.2, stimulus_id=identifiers)
    rows = [f"{name[:-4]},{name},{PREFERRED if category in preferred else category}" for name, category in made]
    (folder / "stimuli.csv").write_text("\n".join(["stimulus_id,filename,category", *rows]) + "\n", encoding="utf-8")
    return folder / f"{neurons}.npz"


def cost(folder: Path, file: Path, arguments: Sequence[str]) -> dict[str, float]:
    """Run a study, and measure it."""
    command = [sys.executable, "-c", "from captum_shared.cli import app; app()", "study", str(file)]
    command += ["--images", str(folder / "images"), "--stimuli", str(folder / "stimuli.csv"), "--preferred", PREFERRED]
    command += ["--output", str(folder / f"study-{file.stem}"), *arguments]
    start = time.perf_counter()
    _, status, usage = os.wait4(subprocess.Popen(command).pid, 0)  # nosec
    if status != 0:
        raise RuntimeError(f"The study ended with status {status}: {' '.join(command)}.")
    return {
        "wall_s": time.perf_counter() - start,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_MiB": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
    }


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    arguments = ["--model", "squeezenet1_0", "--weights", chosen.weights, "--layer", chosen.layer, *chosen.option]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        made = photographs(chosen.images, folder / "images", chosen.photographs)
        few, many = (
            cost(folder, recording(folder, made, neurons=neurons, seed=chosen.seed), arguments)
            for neurons in (FEW, chosen.neurons)
        )
    a_neuron = {name: (many[name] - few[name]) / (chosen.neurons - FEW) for name in ("wall_s", "processor_s")}
    return {"whole": many, f"with {FEW} neurons": few, "a_neuron": a_neuron}


def main() -> None:
    parser = argparse.ArgumentParser(description="What a study costs.")
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs, a folder a category")
    parser.add_argument("--weights", default="DEFAULT", help="weights of SqueezeNet 1.0: DEFAULT, or a file")
    parser.add_argument("--layer", default="features")
    parser.add_argument("--neurons", type=int, default=20)
    parser.add_argument("--photographs", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--option", action="append", default=[], help="for captum-shared study, such as --method=ours-ig"
    )
    parser.add_argument("--output", type=Path, default=Path("study_cost.json"))
    chosen = parser.parse_args()
    results = measure(chosen)
    settings = {name: value for name, value in vars(chosen).items() if name not in ("images", "weights", "output")}
    write_report(chosen.output, {"results": results, "settings": settings}, ("captum-shared", "captum", "torch"))
    for name, values in results.items():
        print(name, ", ".join(f"{measure} {value:.1f}" for measure, value in values.items()))


if __name__ == "__main__":
    main()
