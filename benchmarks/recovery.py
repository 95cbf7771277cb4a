"""The tables of the README: how well methods recover what two images are known to share.

Runs ``captum-shared benchmark`` on both tasks and writes their tables, with date, versions and seed, to a folder. For
``grid`` give a folder of photographs, a folder a category, and the weights of SqueezeNet.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

FAST = (
    "ours-recommended,ours-correspondence,ours-paper,ours-layer,ours-layer-centred,ours-layer-excitatory,neuron-grad-cam,"
    "neuron-saliency,similarity-grad-cam,similarity-saliency,cosine-grad-cam,random,centre-gaussian,edge-energy"
)


def benchmark(output: Path, task: str, *arguments: str) -> None:
    if (output / task / "results.json").exists():
        return
    command = "from captum_shared.cli import app; app()"
    resume = ["--resume"] if (output / task).exists() else []
    call = [sys.executable, "-c", command, "benchmark", task, "--output", str(output / task), *arguments, *resume]
    subprocess.run(call, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("recovery"))
    parser.add_argument("--images", type=Path, help="folder of photographs for the task grid")
    parser.add_argument("--weights", default="DEFAULT", help="weights of SqueezeNet 1.0: DEFAULT, or a file")
    parser.add_argument("--pairs", type=int, default=400, help="pairs of the task grid")
    parser.add_argument("--parts", type=int, default=200, help="pairs of the task parts, with all methods")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seed = ("--seed", str(given.seed))
    benchmark(given.output, "parts", "--pairs", str(given.parts), "--controls", str(given.parts), *seed)
    if given.images:
        model = ("--model", "squeezenet1_0", "--layer", "features", "--weights", given.weights)
        fast = ("--methods", FAST, "--pairs", str(given.pairs), "--controls", "48")
        benchmark(given.output, "grid", "--images", str(given.images), *model, *fast, *seed)
    for task in ("parts", "grid"):
        path = given.output / task
        if (path / "results.json").exists():
            result = json.loads((path / "results.json").read_text())
            versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
            machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
            print(f"\n## {task}\n{datetime.date.today()}, seed {given.seed}, {machine}, {versions}\n")
            print((path / "table.md").read_text())


if __name__ == "__main__":
    main()
