"""Rate at which latent features of photographs go into a store, against a plain loop that keeps them in memory.

The loop reads 32 photographs with torchvision's preprocessing, runs the same network cut by torchvision, and reads the
next. ``write_features`` gathers how places scatter besides, sums up every file, and writes; by itself, and with one and
more processes that read ahead. Peers take turns, and a ratio is the median of the ratios of the rounds; features are
compared first. On a graphics card it runs where there is one.

    python benchmarks/extraction.py --output extraction.json
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from reporting import write_report
from torch import Tensor
from torchvision.models import get_model, get_model_weights
from torchvision.models.feature_extraction import create_feature_extractor

from captum_shared import LatentFeatures
from captum_shared.encoders import Extraction, write_features

BATCH = 32
SIZE = (500, 375)  # of a photograph in ImageNet


def photographs(folder: Path, number: int, seed: int) -> list[Path]:
    """Smooth noise, as large a file as a photograph of the size."""
    rng, paths = np.random.default_rng(seed), [folder / f"{index:05d}.jpg" for index in range(number)]
    for path in paths:
        noise = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        noise.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


class Contest:
    """A network, and the photographs that it sees."""

    def __init__(self, name: str, layer: str, paths: list[Path], device: str) -> None:
        torch.manual_seed(0)
        model = get_model(name, weights=None).eval().to(device)
        self.preprocess = get_model_weights(name).DEFAULT.transforms()
        self.features = LatentFeatures(model, layer).to(device)
        self.features.preprocess = self.preprocess
        self.peer = create_feature_extractor(model, {layer: "features"}).eval()
        self.paths, self.device = paths, device

    @torch.no_grad()
    def loop(self) -> Tensor:
        latent = []
        for start in range(0, len(self.paths), BATCH):
            batch = [self.preprocess(Image.open(path).convert("RGB")) for path in self.paths[start : start + BATCH]]
            latent.append(self.peer(torch.stack(batch).to(self.device))["features"].mean((2, 3)).cpu())
        return torch.cat(latent)

    def store(self, num_workers: int) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            extraction = Extraction(num_workers=num_workers)
            written = write_features(folder, self.features, self.paths, extraction=extraction, progress=False)
            return written.features()[:]


def measure(contest: Contest, workers: list[int], rounds: int) -> dict[str, Any]:
    expected = contest.loop().numpy()
    apart = max(float(np.abs(contest.store(number) - expected).max()) for number in workers)
    if apart > 1e-3 * np.abs(expected).max():
        raise ValueError(f"Expected the features of the loop, got features that differ by {apart}.")
    calls = {"loop": contest.loop, **{f"{number} workers": lambda n=number: contest.store(n) for number in workers}}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds):
        for name in [*calls][:: 1 if round_ % 2 else -1]:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return {
        name: {
            "photographs_per_second": len(contest.paths) / statistics.median(times),
            "of_the_loop": statistics.median(own / loop for own, loop in zip(times, seconds["loop"], strict=True)),
        }
        for name, times in seconds.items()
    } | {"largest_difference": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description="Rate of extraction of features.")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--layer", default="layer4")
    parser.add_argument("--photographs", type=int, default=512)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("extraction.json"))
    chosen = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder), chosen.photographs, chosen.seed)
        results = measure(Contest(chosen.network, chosen.layer, paths, device), chosen.workers, chosen.rounds)
    settings = {name: value for name, value in vars(chosen).items() if name != "output"}
    card = torch.cuda.get_device_name() if device == "cuda" else "none"
    load = {"processors": os.cpu_count(), "load_average": os.getloadavg()[0]}
    report = {"results": results, "settings": settings, "graphics_card": card, **load}
    write_report(chosen.output, report, ("captum-shared", "torch", "torchvision"))
    for name, each in results.items():
        print(name, each)


if __name__ == "__main__":
    main()
