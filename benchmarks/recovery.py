"""The tables of the README: how well methods recover what two images are known to share.

Runs ``captum-shared benchmark`` on both tasks and prints their tables, with date, versions and seed. For ``grid`` give
a folder of photographs, a folder a category, and the weights of SqueezeNet; the layer is the one that predicts the
neurons best. Methods that take long run on few pairs of photographs. Interrupted, it goes on.

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

from captum_shared.evaluation import table
from captum_shared.methods import methods_by_name

LAYERS = ("features", "classifier.1", "classifier.2")
QUICK = (  # on photographs; what is not here takes longer, or is a variant of what is
    "recommended,ours-correspondence,ours-correspondence-pixels,paper,ours-gradient-centred,ours-layer,"
    "ours-layer-centred,ours-layer-excitatory,neuron-grad-cam,neuron-guided-grad-cam,neuron-saliency,"
    "similarity-grad-cam,similarity-saliency,cosine-grad-cam,cosine-pytorch-grad-cam,grad-cam-product,"
    "random,centre-gaussian,edge-energy"
)


def benchmark(output: Path, task: str, *arguments: str) -> None:
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
    parser.add_argument("--few", type=int, default=24, help="pairs of photographs for the methods that take long")
    parser.add_argument("--more", type=int, default=24, help="of the pairs, for deletion, insertion and sanity checks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seed = ("--seed", str(options.seed))
    pairs = ("--pairs", str(options.pairs))
    benchmark(options.output / "parts", "parts", *pairs, "--controls", str(options.pairs), *seed)
    more = ("--pairs", str(options.more), "--faithful", str(options.more), "--sanity", str(options.more))
    benchmark(options.output / "parts-more", "parts", *more, *seed)
    if options.images:
        rest = [method.name for method in methods_by_name() if method.name not in QUICK.split(",")]
        model = ("--images", str(options.images), "--model", "squeezenet1_0", "--weights", options.weights)
        cut = [argument for layer in LAYERS for argument in ("--layer", layer)]
        benchmark(options.output / "grid", "grid", "--method", QUICK, *pairs, *model, *cut, *seed)
        few = ("--pairs", str(options.few), "--controls", "0")
        benchmark(
            options.output / "grid-rest",
            "grid",
            "--method",
            ",".join(["recommended", *rest]),
            *few,
            *model,
            *cut,
            *seed,
        )
    for path in sorted(options.output.glob("*/results.json")):
        result = json.loads(path.read_text())
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        date = datetime.date.fromtimestamp(path.stat().st_mtime)
        print(f"\n## {path.parent.name}\n{date}, seed {options.seed}, {machine}, {versions}\n")
        print(table(result))


if __name__ == "__main__":
    main()
