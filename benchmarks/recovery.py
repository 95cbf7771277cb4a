"""The tables of the README: how well methods recover what two images are known to share.

Runs ``captum-shared benchmark`` on both tasks and prints their tables, with date, versions and seed. For ``grid`` give
a folder of photographs, a folder a category, and the weights of SqueezeNet; the layer is the one that predicts the
neurons best. Methods that take more than a second a pair of photographs run on fewer pairs. Interrupted, it goes on.

    python benchmarks/recovery.py --images photographs --weights DEFAULT
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from captum_shared.evaluation.baselines import methods

LAYERS = ("features", "classifier.1", "classifier.2")
SLOW = ("-ig", "smoothgrad", "integrated", "shap", "occlusion", "deeplift", "bilrp")


def benchmark(output: Path, task: str, *arguments: str) -> None:
    if (output / "results.json").exists():
        return
    command = "from captum_shared.cli import app; app()"
    resume = ["--resume"] if output.exists() else []
    call = [sys.executable, "-c", command, "benchmark", task, "--output", str(output), *arguments, *resume]
    subprocess.run(call, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("recovery"))
    parser.add_argument("--images", type=Path, help="folder of photographs for the task grid")
    parser.add_argument("--weights", default="DEFAULT", help="weights of SqueezeNet 1.0: DEFAULT, or a file")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--slow", type=int, default=48, help="pairs of photographs for slow methods")
    parser.add_argument("--more", type=int, default=48, help="of the pairs, for deletion, insertion and sanity checks")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seed = ("--seed", str(given.seed))
    pairs = ("--pairs", str(given.pairs))
    benchmark(given.output / "parts", "parts", *pairs, "--controls", str(given.pairs), *seed)
    more = ("--pairs", str(given.more), "--faithful", str(given.more), "--sanity", str(given.more))
    benchmark(given.output / "parts-more", "parts", *more, *seed)
    if given.images:
        names = [method.name for method in methods()]
        slow = [name for name in names if any(part in name for part in SLOW)]
        fast = [name for name in names if name not in slow]
        model = ("--images", str(given.images), "--model", "squeezenet1_0", "--weights", given.weights)
        cut = [argument for layer in LAYERS for argument in ("--layer", layer)]
        benchmark(given.output / "grid", "grid", "--methods", ",".join(fast), *pairs, *model, *cut, *seed)
        few = ("--pairs", str(given.slow), "--controls", "0")
        benchmark(given.output / "grid-slow", "grid", "--methods", ",".join(slow), *few, *model, *cut, *seed)
    for path in sorted(given.output.glob("*/results.json")):
        result = json.loads(path.read_text())
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        print(f"\n## {path.parent.name}\n{datetime.date.today()}, seed {given.seed}, {machine}, {versions}\n")
        print(path.with_name("table.md").read_text())


if __name__ == "__main__":
    main()
