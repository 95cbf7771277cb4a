"""A small recording with images, and the study of it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from PIL import Image
from torch import nn
from toys import Randomised

from captum_shared import LatentFeatures
from captum_shared.encoders import bookkeeping, extraction, writing
from captum_shared.images import load_images, rgb_preprocess
from captum_shared.recordings.recording import Recording
from captum_shared.study.result import StudyResult
from captum_shared.study.run import run_study
from captum_shared.study.settings import StudySettings

N_BODIES, N_OBJECTS, N_NEURONS, SIZE = 12, 10, 4, 16
SETTINGS = StudySettings("body", methods=("recommended", "paper", "ours-ig"), all_neurons=True, folds=3)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU())


def encoder(seed: int = 0, preprocess: Callable[[Any], torch.Tensor] | None = None) -> LatentFeatures:
    features = LatentFeatures(Randomised(seed)(network).float(), "3")
    features.preprocess = preprocess or rgb_preprocess(SIZE)
    return features


def blobs(
    folder: Path, rng: np.random.Generator, n_bodies: int, n_objects: int
) -> tuple[list[str], tuple[Path, ...], np.ndarray]:
    """Bodies and objects of random blobs: their names, their files, and what the encoder makes of them."""
    names = [f"body{i}" for i in range(n_bodies)] + [f"object{i}" for i in range(n_objects)]
    paths = tuple(folder / f"{name}.png" for name in names)
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((SIZE, SIZE)).save(path)
    with torch.no_grad():
        features = encoder()(load_images(paths, rgb_preprocess(SIZE))).double().numpy()
    return names, paths, features


def recorded(folder: Path) -> Recording:
    """Twelve bodies and ten objects of random blobs, and two phases of four neurons that see some of the features."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    names, paths, features = blobs(folder, rng, N_BODIES, N_OBJECTS)
    signal = features @ rng.standard_normal((features.shape[1], N_NEURONS))
    noise = 0.3 * signal.std(0) * rng.standard_normal((2, *signal.shape))
    return Recording(
        responses=signal + noise,
        stimulus_ids=tuple(names),
        categories=("body",) * N_BODIES + ("object",) * N_OBJECTS,
        neuron_names=("A", "B", "C", "D"),
        regions=("anterior", "anterior", "posterior", "posterior"),
        subjects=("M1",) * N_NEURONS,
        paths=paths,
    )


def study(
    recording: Recording,
    output: Path,
    settings: StudySettings = SETTINGS,
    features: LatentFeatures | None = None,
    **kwargs: Any,
) -> StudyResult:
    options = {"model": "toy", "progress": False, **kwargs}
    return run_study(recording, features or encoder(), settings, output=output, **options)


def with_responses(recording: Recording, change: Callable[[ndarray], None]) -> Recording:
    responses = recording.responses.copy()
    change(responses)
    return dataclasses.replace(recording, responses=responses)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def small_blocks(patch: pytest.MonkeyPatch, size: int) -> None:
    """Features are extracted in blocks of so many images."""
    for module in (bookkeeping, extraction, writing):
        patch.setattr(module, "BLOCK", size)
