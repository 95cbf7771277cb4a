"""Features in a store: the same as without one, however often it was interrupted; of anything else, refused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from torch import nn

from captum_shared.encoders import bookkeeping, extraction, writing
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.photographs import latent_features, load_inputs
from captum_shared.encoders.store import FeatureStore
from captum_shared.encoders.windows import local_scatter
from captum_shared.encoders.writing import write_features
from captum_shared.images import rgb_preprocess

N_IMAGES, BLOCK = 11, 4
LAYERS = ("0", "2")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bookkeeping, extraction, writing):
        monkeypatch.setattr(module, "BLOCK", BLOCK)
    monkeypatch.setattr(extraction, "BATCH", 3)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    (tmp_path / "images" / "inner").mkdir(parents=True)
    names = [tmp_path / "images" / ("inner" if number % 2 else "") / f"{number}.png" for number in range(N_IMAGES)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(name)
    return names


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))


def single(model: nn.Module | None = None, layer: str = "2", **options: str) -> LatentFeatures:
    features = LatentFeatures(model or network(), layer, **options)  # type: ignore[arg-type]
    features.preprocess = rgb_preprocess(16)
    return features


def several() -> LayerFeatures:
    features = LayerFeatures(network(), LAYERS)
    features.deepest.preprocess = rgb_preprocess(16)
    return features


def written(
    folder: Path, paths: Sequence[Path], features: LatentFeatures | LayerFeatures | None = None, **options: object
) -> FeatureStore:
    return write_features(folder, features or several(), paths, progress=False, **options)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@torch.no_grad()
def one_by_one(layer: str, paths: Sequence[Path]) -> np.ndarray:
    features = single(layer=layer)
    return np.concatenate([features(load_inputs(features, [path])).numpy() for path in paths])


@pytest.mark.parametrize("layer", LAYERS)
def test_features_are_those_of_images_one_by_one(tmp_path: Path, paths: list[Path], layer: str) -> None:
    features = written(tmp_path / "store", paths).features(layer)
    expected = one_by_one(layer, paths)
    assert features.shape == expected.shape
    np.testing.assert_allclose(features[:], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features[3:9], features[:][3:9])
    np.testing.assert_array_equal(features.at([9, 0, 5])[1:], features[:][[0, 5]])
    np.testing.assert_array_equal(features[-1], features[:][10])
    np.testing.assert_array_equal(np.asarray(features), features[:])


@pytest.mark.parametrize("layer", LAYERS)
def test_any_zarr_reads_the_same(tmp_path: Path, paths: list[Path], layer: str) -> None:
    store = written(tmp_path / "store", paths)
    group = zarr.open_group(tmp_path / "store", mode="r")
    np.testing.assert_array_equal(group[f"features/{layer}"][:], store.features(layer)[:])
    np.testing.assert_array_equal(group[f"scatter/{layer}"][:], store.scatter(layer))


@pytest.mark.parametrize("layer", LAYERS)
def test_places_scatter_as_they_do_in_all_images_at_once(tmp_path: Path, paths: list[Path], layer: str) -> None:
    features = single(layer=layer)
    with local_scatter(features) as expected:
        latent_features(features, paths)
    assert expected.mean is not None
    np.testing.assert_allclose(written(tmp_path / "store", paths).scatter(layer), expected.mean, rtol=1e-6)
