"""The pairs on which a method does worst, with the maps of all methods, kept for whoever wants to look."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from captum_shared._reading import opened
from captum_shared.evaluation.scores.evidence import KnownPairs
from captum_shared.evaluation.tasks.design import Task, Trial
from captum_shared.images import to_display
from captum_shared.methods.method import Method

MAPS: Final = "maps.npz"
"""The file, beside the results."""

SHOWN: Final = 12
"""How many pairs are kept."""

LONGEST: Final = 160
"""Rows or columns of a kept picture or map at most."""

_AGAIN: Final = "Run the benchmark again, into a new folder."


@final
@dataclass(frozen=True, eq=False)
class HardPair:
    """A pair with the maps of every method.

    Attributes:
        index: of the pair in its task.
        neuron: its neuron.
        answer: what image and reference share for the neuron.
        pictures: of image and reference, RGB.
        regions: where the answer is in each.
        maps: by name of the method the maps of both, not negative, in the unit of the method.
        mass: by name of the method the share of the maps that lies on the answer, mean of both; NaN where it is open.
    """

    index: int
    neuron: int
    answer: str
    pictures: UInt8[ndarray, "side row column channel"]
    regions: Bool[ndarray, "side row column"]
    maps: Mapping[str, Float32[ndarray, "side row column"]]
    mass: Mapping[str, float]


def hardest(masses: Float[ndarray, " pair"], count: int = SHOWN) -> list[int]:
    """Choose the pairs on which least of a method's maps lies on the answer.

    Args:
        masses: of every pair; NaN where the question is open.
        count: how many at most.

    Returns:
        Their indices, the hardest first; pairs whose question is open come last.

    Example:
        >>> hardest(np.array([0.5, float("nan"), 0.1, 0.3]), 3)
        [2, 3, 0]
    """
    indices: list[int] = np.argsort(masses, kind="stable")[:count].tolist()
    return indices


def pair_maps(task: Task, pairs: KnownPairs, methods: Sequence[Method], trial: Trial) -> dict[str, ndarray]:
    """Make the maps of one pair by all methods, as they are kept.

    Args:
        task: the task.
        pairs: the pair as the network takes it.
        methods: the methods.
        trial: the pair.

    Returns:
        ``pictures``, ``regions``, ``maps`` (method, side, row, column) and ``told``: neuron and answer.
    """
    heats = []
    for method in methods:
        maps = method.maps(task.similarity, pairs.inputs, pairs.neurons)
        heats.append(np.stack([_reduced(each[0].detach().float().cpu()).numpy() for each in maps]))
    encoder: Any = task.similarity.image_features
    shown = [_picture(encoder, images[0]) for images in pairs.inputs]
    regions = [_reduced(region.float()).numpy() > 0.5 for region in trial.regions[:, 0]]
    return {
        "pictures": np.stack(shown),
        "regions": np.stack(regions),
        "maps": np.stack(heats),
        "told": np.asarray(json.dumps([trial.neuron, trial.contents[0][0]])),
    }


def writer(
    kept: Sequence[Mapping[str, ndarray]], indices: Sequence[int], scores: Mapping[str, Float[ndarray, "method pair"]]
) -> Callable[[Path], None]:
    """Make what writes the file.

    Args:
        kept: of each pair what :func:`pair_maps` gave.
        indices: of the pairs.
        scores: of all pairs of the benchmark, mean of both images, by name of the score.

    Returns:
        From a path to nothing.
    """
    content = {f"{name}/{number:02d}": array for number, each in enumerate(kept) for name, array in each.items()}
    for name in [name for name in content if name.startswith("maps/")]:
        top = content[name].max((1, 2, 3), keepdims=True)
        content[name] = (content[name] / np.where(top > 0, top, 1)).astype(np.float16)
        content[f"tops/{name[-2:]}"] = top.astype(np.float32)
    told = {f"scores/{name}": values for name, values in scores.items()}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, indices=np.asarray(indices), **content, **told)  # type: ignore[arg-type]

    return write


def hard_pairs(path: str | Path, methods: Sequence[str]) -> list[HardPair]:
    """Read the pairs that a benchmark kept.

    Args:
        path: the file.
        methods: the names of the benchmark's methods, in the order of its settings.

    Returns:
        The pairs, the hardest first.

    Raises:
        ValueError: if the file is damaged, or of another benchmark.
    """
    with opened(path, "file of the maps of a benchmark", _AGAIN), np.load(path) as file:
        masses = file["scores/mass"]
        if len(masses) != len(methods):
            raise ValueError(f"Expected maps by {len(methods)} methods, got those of {len(masses)}. {_AGAIN}")
        return [
            _read(file, number, methods, masses[:, index], int(index)) for number, index in enumerate(file["indices"])
        ]


def _read(file: Any, number: int, methods: Sequence[str], masses: ndarray, index: int) -> HardPair:
    pictures, regions, maps, tops, told = (
        file[f"{name}/{number:02d}"] for name in ("pictures", "regions", "maps", "tops", "told")
    )
    neuron, answer = json.loads(str(told))
    heats = maps.astype(np.float32) * tops
    return HardPair(
        index=index,
        neuron=neuron,
        answer=answer,
        pictures=pictures,
        regions=regions,
        maps=dict(zip(methods, heats, strict=True)),
        mass=dict(zip(methods, map(float, masses), strict=True)),
    )


def _picture(encoder: Any, image: Tensor) -> UInt8[ndarray, "row column channel"]:
    display = to_display(image.detach().cpu().float(), getattr(encoder, "preprocess", None))
    shown = torch.stack([_reduced(channel) for channel in display])
    picture: ndarray = (shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return picture


def _reduced(values: Float[Tensor, "row column"]) -> Float[Tensor, "few_rows few_columns"]:
    """Means over pixels, where there are more than are kept."""
    rows, columns = values.shape
    share = LONGEST / max(rows, columns)
    if share >= 1:
        return values
    return functional.adaptive_avg_pool2d(values[None], (round(rows * share), round(columns * share)))[0]
