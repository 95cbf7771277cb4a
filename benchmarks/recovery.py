"""The tables of README and docs: how well every method finds what two images share, where it is known.

Runs ``captum-shared benchmark`` on drawn parts and, given photographs, on grids of them: with SqueezeNet cut at its
features, and at the layer that predicts the neurons best. Interrupted, it goes on. The results go to
``benchmarks/results``, from which the tables of README.md and docs/benchmarks.md are made; ``--tables`` does no more.

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
ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "benchmarks.md"
LAYERS = {"grid": ("features", "classifier.1", "classifier.2"), "grid_features": ("features",)}
SHOWN = (  # on photographs, where others take long
    "recommended,ours-correspondence,paper,neuron-grad-cam,similarity-grad-cam,cosine-grad-cam,grad-cam-product"
)
MORE = (
    ",ours-correspondence-pixels,random,neuron-guided-grad-cam,ours-ig,ours-layer-centred,ours-layer-excitatory,neuron-saliency,"
    "neuron-integrated-gradients,neuron-deeplift,similarity-deeplift,cosine-pytorch-grad-cam,bilrp-centred,"
    "integrated-jacobians,edge-energy"
)
SUMMARY = {
    "recommended": "this package, recommended",
    "grad-cam-product": "Grad-CAM of the neuron times that of the cosine",
    "neuron-grad-cam": "Grad-CAM of the neuron",
    "similarity-grad-cam": "Grad-CAM of the similarity",
    "cosine-grad-cam": "Grad-CAM of the plain cosine",
    "paper": "the paper's gradients",
}
COLUMNS = {"answer_largest": "answer largest", "mass": "mass", "pixel_ap": "pixel AP", "intensity": "intensity"}


def benchmark(output: Path, task: str, *arguments: str) -> dict[str, Any]:
    command = "from captum_shared.cli import app; app()"
    resume = ["--resume"] if output.exists() else []
    call = [sys.executable, "-c", command, "benchmark", task, "--output", str(output), *arguments, *resume]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)  # nosec B603
    result: dict[str, Any] = json.loads((output / "results.json").read_text())
    return result


def full_table(result: Mapping[str, Any], columns: Mapping[str, str] = COLUMNS) -> str:
    """The table of a result as docs/benchmarks.md has it."""
    heads = ["method", *columns.values(), "Δ answer largest", "Δ mass", "s per pair"]
    rows = [heads, ["---"] * len(heads)]
    for entry in result["methods"]:
        cells = [_cell(entry["scores"].get(name), interval=name == "answer_largest") for name in columns]
        cells += [_cell(entry.get("differences", {}).get(name), sign="+", interval=True) for name in list(columns)[:2]]
        rows.append([entry["name"], *cells, f"{entry['seconds_per_pair']:.3f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def summary_table(parts: Mapping[str, Any], grid: Mapping[str, Any]) -> str:
    """The table of the README: some of the methods on drawn parts and on photographs."""
    heads = ["method", "drawn parts: largest", "share", "photographs: largest", "share"]
    rows = [heads, ["---"] * len(heads)]
    for name, title in SUMMARY.items():
        entries = [next(each for each in result["methods"] if each["name"] == name) for result in (parts, grid)]
        scores = [entry["scores"][score]["value"] for entry in entries for score in ("answer_largest", "mass")]
        rows.append([title, *(f"{value:.2f}" for value in scores)])
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
    write_tables()


def write_tables() -> None:
    """Put the tables of the results that are there into README.md and docs/benchmarks.md."""
    files = {name: RESULTS / f"{name}.json" for name in ("parts", *LAYERS)}
    results = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
    for name, result in results.items():
        replace_table(PAGE, name, full_table(result))
    if {"parts", "grid"} <= {*results}:
        replace_table(README, "summary", summary_table(results["parts"], results["grid"]))


def replace_table(page: Path, name: str, table: str) -> None:
    """Replace the table between the marks of that name."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    _, _, after = rest.partition(f"<!-- /{name} -->")
    page.write_text(f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
