"""A small study with its figures, a small benchmark with its table, a small store: work that goes into a folder."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from toy_experiment import encoder, recorded, small_blocks, study
from toys import seeded, small_similarity

from captum_shared.encoders import write_features
from captum_shared.evaluation import Extent, Task, run_benchmark
from captum_shared.evaluation.tasks.design import Trial
from captum_shared.figures import page, save_benchmark
from captum_shared.figures import study as figures
from captum_shared.study.settings import StudySettings

Work = Callable[[Path, bool], None]
SIZE = 10
SETTINGS = StudySettings("body", methods=("paper",), folds=3)


def drawn(*_: Any) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Two figures that are quickly drawn, in place of those of a study."""
    for name in ("one", "two"):
        yield name, partial(page.sentence_figure, name)


def study_into(recording: Any, output: Path, resume: bool) -> None:
    result = study(recording, output, SETTINGS, resume=resume)
    figures.write_figures([result], ["toy"], output / "figures")


def trial(index: int) -> Trial:
    regions = torch.zeros(2, 4, SIZE, SIZE, dtype=torch.bool)
    regions[:, torch.arange(4), torch.arange(4)] = True
    drives = ("a", "b", "s", "m"), ("a", "c", "s", "n"), ("c", "c", "s", "n")
    return Trial(seeded(index, 3, 3, SIZE, SIZE, dtype=torch.float32), regions, drives, index % 4)


def benchmark_into(task: Task, output: Path, resume: bool) -> None:
    result = run_benchmark(
        task, ["random", "paper"], extent=Extent(19, 1), output=output, resume=resume, progress=False
    )
    save_benchmark(result, output)


def store_into(recording: Any, output: Path, resume: bool) -> None:
    write_features(output, encoder(), recording.paths, resume=resume, progress=False)


def works(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Work]:
    """All kinds of work by name, on a clock that stands still, as results hold what methods take."""
    torch.set_num_threads(1)
    patch.setattr(figures, "_figures", drawn)
    patch.setattr(time, "perf_counter", lambda: 0.0)
    small_blocks(patch, 8)
    recording = recorded(folder / "images")
    return {
        "study": partial(study_into, recording),
        "store": partial(store_into, recording),
        "benchmark": partial(benchmark_into, Task("toy", small_similarity(), trial, {"seed": 0})),
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def seeds(count: int) -> list[int]:
    return np.random.default_rng(0).integers(0, 2**31, count).tolist()
