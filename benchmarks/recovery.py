"""The tables of the README: how well every method finds what two images share, where it is known.

Runs ``captum-shared benchmark`` on drawn parts and, given photographs, on grids of them: with SqueezeNet cut at its
features, and at the layer that predicts the neurons best. Interrupted, it goes on. The results go to
``benchmarks/results``, from which the tables of the README are made; ``--tables`` does no more than that.

    python benchmarks/recovery.py --images photographs --weights DEFAULT
    python benchmarks/recovery.py --tables
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reporting import write_report

PACKAGES = ("captum-shared", "captum", "torch", "torchvision", "zennit", "grad-cam", "scikit-learn")
RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
LAYERS = {"grid": ("features", "classifier.1", "classifier.2"), "grid_features": ("features",)}
SHOWN = (  # on photographs, where others take long
    "recommended,ours-correspondence,paper,neuron-grad-cam,similarity-grad-cam,cosine-grad-cam,grad-cam-product"
)
MORE = (
    ",ours-correspondence-pixels,random,neuron-guided-grad-cam,ours-ig,ours-layer-centred,ours-layer-excitatory,neuron-saliency,"
    "neuron-integrated-gradients,neuron-deeplift,similarity-deeplift,cosine-pytorch-grad-cam,bilrp-centred,"
    "integrated-jacobians,edge-energy"
)
COLUMNS = {"answer_largest": "answer largest", "mass": "mass", "pixel_ap": "pixel AP", "intensity": "intensity"}


def benchmark(output: Path, task: str, *arguments: str) -> dict[str, Any]:
    command = "from captum_shared.cli import app; app()"
    resume = ["--resume"] if output.exists() else []
    call = [sys.executable, "-c", command, "benchmark", task, "--output", str(output), *arguments, *resume]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)  # nosec B603
    result: dict[str, Any] = json.loads((output / "results.json").read_text())
    return result


def readme_table(result: Mapping[str, Any], columns: Mapping[str, str] = COLUMNS) -> str:
    """The table of a result as the README has it."""
    heads = ["method", *columns.values(), "Δ answer largest", "Δ mass", "s per pair"]
    rows = [heads, ["---"] * len(heads)]
    for entry in result["methods"]:
        cells = [_cell(entry["scores"].get(name), interval=name == "answer_largest") for name in columns]
        cells += [_cell(entry.get("differences", {}).get(name), sign="+", interval=True) for name in list(columns)[:2]]
        rows.append([entry["name"], *cells, f"{entry['seconds_per_pair']:.3f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(score: Mapping[str, float | None] | None, sign: str = "", *, interval: bool) -> str:
    if score is None or score["value"] is None:
        return "-"
    value, low, high = (f"{score[name]:{sign}.2f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if interval else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("recovery"), help="folder of the work that is kept")
    parser.add_argument("--images", type=Path, help="folder of photographs for the task grid")
    parser.add_argument("--weights", default="DEFAULT", help="weights of SqueezeNet 1.0: DEFAULT, or a file")
    parser.add_argument("--task", action="append", choices=["parts", *LAYERS], help="some of the tasks only")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", action="store_true", help="write the tables of the results that are there")
    options = parser.parse_args()
    extent = ("--pairs", str(options.pairs), "--seed", str(options.seed))
    tasks = options.task or ["parts", *LAYERS]
    if not options.tables:
        if "parts" in tasks:
            chosen = ("--method", SHOWN + MORE, "--controls", str(options.pairs // 2))
            result = benchmark(options.output / "parts", "parts", *chosen, *extent)
            write_report(RESULTS / "parts.json", result, PACKAGES)
        for name, layers in LAYERS.items():
            if name not in tasks or not options.images:
                continue
            model = ("--images", str(options.images), "--model", "squeezenet1_0", "--weights", options.weights)
            cuts = [argument for layer in layers for argument in ("--layer", layer)]
            chosen = ("--method", SHOWN, "--controls", "0")
            result = benchmark(options.output / name, "grid", *chosen, *extent, *model, *cuts)
            write_report(RESULTS / f"{name}.json", result, PACKAGES)
    for name in ("parts", *LAYERS):
        if (RESULTS / f"{name}.json").exists():
            put_into_readme(name, readme_table(json.loads((RESULTS / f"{name}.json").read_text())))


def put_into_readme(name: str, table: str) -> None:
    """Replace the table between the marks of that name."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    _, _, after = rest.partition(f"<!-- /{name} -->")
    README.write_text(f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
