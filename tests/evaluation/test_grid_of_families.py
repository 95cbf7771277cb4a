"""The benchmark on grids of photographs, with a network of every family."""

import json
from pathlib import Path

import pytest
import torch
from families import FAMILIES
from torchvision.transforms import v2
from toy_photographs import draw_photographs

from captum_shared import LatentFeatures
from captum_shared.evaluation import CEILING, Extent, grid_task, run_benchmark
from captum_shared.methods import methods_by_name

NAMES = ["recommended", "ours-correspondence", "paper", "neuron-grad-cam", "grad-cam-product"]
FIXED = {"vit, last", "timm, registers", "timm, swin", "deit"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.mark.parametrize(
    "name", ["vit, last", "swin, last", "convnext", "timm, registers", "timm, swin", "dinov2", "deit"]
)
def test_it_runs(name: str, folder: Path, tmp_path: Path) -> None:
    family = FAMILIES[name]
    features = LatentFeatures(family.network().float(), family.layer)
    features.preprocess = v2.Compose([v2.Resize(family.size), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    task = grid_task(folder, features, n_neurons=2)
    height, width = family.size
    assert task.settings["size"] == ([height, width] if name in FIXED else [2 * height, 2 * width])
    run_benchmark(task, [*methods_by_name(NAMES), CEILING], extent=Extent(4), output=tmp_path / "grid")
    results = json.loads((tmp_path / "grid" / "results.json").read_text())["methods"]
    assert sorted(each["name"] for each in results) == sorted([*NAMES, "ceiling"])
    masses = {each["name"]: each["scores"]["mass"]["value"] for each in results}
    assert all(0 <= mass <= 1 for mass in masses.values())
    assert masses["ours-correspondence"] > 0.3  # colours, which even a random network tells: above the cell's area
