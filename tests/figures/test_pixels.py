"""Small renders of every public figure, pixel by pixel against stored ones.

After a wanted change look at the new figures, and renew the stored ones:
``RENEW_FIGURES=1 pytest tests/figures/test_pixels.py``.
"""

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from toy_study import SIZE, neuron, study

from captum_shared.attr import Components
from captum_shared.evaluation.tasks.preferences import CategoryNeuron, MethodMaps, Photograph
from captum_shared.figures import (
    Panel,
    architectures_figure,
    benchmark_figure,
    components_figure,
    encoding_figure,
    faint_figure,
    integrated_gradients_figure,
    pair_figure,
    pair_panels_figure,
    preferences_figure,
    response_figure,
)
from captum_shared.study.result import StudyResult

REFERENCES = Path(__file__).parent / "references"
TOLERANCE = 1.0
"""Root mean square over pixels and colours, of 255; a change of the colour map makes 8 and more, of a scale 12."""
OLDEST = (3, 11)
"""Earlier versions of Matplotlib set type and round pixels otherwise: 3.7 differs by 25 to 42."""
DPI = 48
RAMP = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)


def toy(folder: Path) -> StudyResult:
    (folder / "toy").mkdir()
    silent = neuron(3, (), region="V4", excluded="silent", heldout_correlation=math.nan)
    return study(folder / "toy", [neuron(0), neuron(1, region="V4", reliability=math.nan), neuron(2), silent])


def pair_of_panels(_: Path) -> Figure:
    across, down = torch.meshgrid(torch.linspace(0, 1, 24), torch.linspace(0, 1, 24), indexing="xy")
    region = (across - 0.5).abs() + (down - 0.5).abs() < 0.3
    image = Panel("image", torch.stack([across, down, 1 - across]), {"a": across * down, "b": 5 * (1 - down)}, region)
    reference = Panel("reference", torch.stack([down, across, down]), {"a": 0.5 * across, "b": torch.zeros(24, 24)})
    return pair_figure(image, reference, title="a pair")


def architectures(folder: Path) -> Figure:
    (folder / "other").mkdir()
    first = toy(folder)
    other = study(folder / "other", list(first.neurons), maps=lambda row: (row + 1) * RAMP.T)
    return architectures_figure([first, other], ["one", "another"], method="paper")


def integrated_gradients(folder: Path) -> Figure:
    result = toy(folder)
    pairs = tuple(
        dataclasses.replace(pair, gradient_ig_correlation=0.2 * index)
        for index, pair in enumerate(result.neurons[0].pairs)
    )
    neurons = (dataclasses.replace(result.neurons[0], pairs=pairs), *result.neurons[1:])
    return integrated_gradients_figure(dataclasses.replace(result, neurons=neurons))


def preferences(_: Path) -> Figure:
    across, down = torch.meshgrid(torch.linspace(0, 1, 6), torch.linspace(0, 1, 6), indexing="xy")
    image, reference, *examples = (
        Photograph(f"{name}.png", name, 20.0 + len(name), torch.stack([across, down, share * across]))
        for name, share in (("wild_canine", 0.2), ("dog", 0.5), ("dog", 0.7), ("dog", 1.0))
    )
    maps = (
        MethodMaps("paper", "ours", across * down, 0.5 * across),
        MethodMaps("neuron-grad-cam", "neuron", down, torch.zeros(6, 6)),
    )
    neuron = CategoryNeuron("dog", 0.97, 24.8, 5.3, 0.43, image, reference, tuple(examples), maps)
    return preferences_figure([neuron])


def benchmark(_: Path) -> Figure:
    def score(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.1, "high": value + 0.05}

    families = ("ours", "neuron", "similarity", "second-order", "trivial", "ceiling")
    methods = [
        {"name": f"{family}-a", "family": family, "scores": {"mass": score(0.8 - 0.1 * row), "answer_largest": entry}}
        for row, family in enumerate(families)
        for entry in [{"value": None} if family == "trivial" else score(0.9 - 0.05 * row)]
    ]
    return benchmark_figure({"task": "parts", "methods": methods})


def components(_: Path) -> Figure:
    across, down = torch.meshgrid(torch.linspace(0, 1, 24), torch.linspace(0, 1, 24), indexing="xy")
    maps = torch.zeros(2, 1, 6, 6)
    maps[0, 0, 1:3, 1:4], maps[1, 0, 4, 3:] = 0.1, 0.05
    parts = Components(torch.ones(2, 36, 36), maps, maps.flip(3), torch.ones(2, 2), ("a", "b"), 0.1, 0.1)
    images = torch.stack([across, down, 1 - across]), torch.stack([down, across, down])
    return components_figure(images, parts, title="two parts")


FIGURES: dict[str, Callable[[Path], Figure]] = {
    "pair": pair_of_panels,
    "encoding": lambda folder: encoding_figure(toy(folder)),
    "responses": lambda folder: response_figure(toy(folder)),
    "faint": lambda folder: faint_figure(toy(folder), n_neurons=1),
    "pair_panels": lambda folder: next(iter(pair_panels_figure(toy(folder), "IT"))),
    "integrated_gradients": integrated_gradients,
    "architectures": architectures,
    "preferences": preferences,
    "benchmark": benchmark,
    "components": components,
}


@pytest.mark.skipif(
    tuple(map(int, matplotlib.__version__.split(".")[:2])) < OLDEST, reason="the figures are stored as 3.11 draws them"
)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_did(tmp_path: Path, name: str) -> None:
    drawn, stored = tmp_path / f"{name}.png", REFERENCES / f"{name}.png"
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        FIGURES[name](tmp_path).savefig(drawn, dpi=DPI, metadata={"Software": None})
    if os.environ.get("RENEW_FIGURES"):
        stored.write_bytes(drawn.read_bytes())
    assert stored.stat().st_size < 40_000
    assert compare_images(str(stored), str(drawn), TOLERANCE) is None
