"""Features in a store: the same as without one, however often it was interrupted; of anything else, refused."""

import pickle
import shutil
import tracemalloc
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from torch import nn
from toy_experiment import small_blocks

from captum_shared.encoders import bookkeeping, extraction
from captum_shared.encoders.chunks import ChunkedArray, write_chunk
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.photographs import latent_features, load_inputs
from captum_shared.encoders.pooling import Pool
from captum_shared.encoders.store import FeatureStore
from captum_shared.encoders.windows import local_scatter
from captum_shared.encoders.writing import Extraction, write_features
from captum_shared.images import rgb_preprocess

N_IMAGES, BLOCK = 11, 4
LAYERS = ("0", "2")
PREPROCESS = rgb_preprocess(16)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, BLOCK)
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


def single(
    model: nn.Module | None = None, layer: str = "2", pool: Pool = "average", preprocess: Any = PREPROCESS
) -> LatentFeatures:
    features = LatentFeatures(model or network(), layer, pool=pool)
    features.preprocess = preprocess
    return features


def several() -> LayerFeatures:
    features = LayerFeatures(network(), LAYERS)
    features.deepest.preprocess = PREPROCESS
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
    np.testing.assert_allclose(written(tmp_path / "store", paths).scatter(layer), expected.mean, rtol=1e-5, atol=1e-10)


def test_several_layers_take_one_pass(tmp_path: Path, paths: list[Path]) -> None:
    """One of each batch of each block: 3 + 1, 3 + 1, 3."""
    features, seen = several(), []
    first = features.deepest.layer_module("0")
    first.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    written(tmp_path / "store", paths, features)
    assert seen == [3, 1, 3, 1, 3]


class StoppedError(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("n_done", range(4))
def test_a_store_that_was_interrupted_becomes_the_same(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch, n_done: int
) -> None:
    written(tmp_path / "whole", paths)
    computed: list[int] = []
    block_of = extraction._block

    def stopping(*arguments: object, **options: object) -> object:
        if len(computed) == n_done:
            raise StoppedError
        computed.append(1)
        return block_of(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "_block", stopping)
        if n_done < 3:
            with pytest.raises(StoppedError):
                written(tmp_path / "stopped", paths)
            with pytest.raises(
                FileNotFoundError, match=r"Expected a store of features in .*stopped, got no store.json"
            ):
                FeatureStore.open(tmp_path / "stopped")
        else:
            written(tmp_path / "stopped", paths)
    again: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(extraction, "_block", lambda *each, **options: again.append(1) or block_of(*each, **options))
        written(tmp_path / "stopped", paths, resume=True)
    assert len(again) == 3 - n_done
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


class Shuffled:
    """An engine whose results come in another order, of arrays that are not to be written to."""

    def map(self, build: Any, tasks: Any) -> Any:
        work = pickle.loads(pickle.dumps(build))()
        for task in [*tasks][::-1]:
            block = work(task)
            for arrays in (block.features, block.scatter):
                for array in arrays.values():
                    array.flags.writeable = False
            yield task, block


@pytest.mark.parametrize(
    "options", [{"engine": Shuffled()}, {"extraction": Extraction(num_workers=2)}], ids=["engine", "workers"]
)
def test_whoever_computes_or_reads_the_store_is_the_same(
    tmp_path: Path, paths: list[Path], options: dict[str, Any]
) -> None:
    written(tmp_path / "whole", paths, single())
    written(tmp_path / "other", paths, single(), **options)
    assert content(tmp_path / "other") == content(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["torn", "missing", "other"])
@pytest.mark.parametrize("lost", ["features/0/1.0", "features/2/2.0", "scatter/2/0.0"])
def test_a_damaged_file_is_refused_and_mended(tmp_path: Path, paths: list[Path], damage: str, lost: str) -> None:
    folder = tmp_path / "store"
    written(folder, paths)
    whole, file = content(folder), folder / lost
    known = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(known[:-3] if damage == "torn" else known[:-1] + bytes([known[-1] ^ 1]))
    store = FeatureStore.open(folder)
    with pytest.raises(ValueError, match=rf"Expected .*{lost} as it was written, got .*--resume"):
        store.scatter(lost[8]) if "scatter" in lost else store.features(lost[9])[:]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        written(folder, paths, resume=True)
    assert any("it was put aside" in str(warning.message) for warning in told) == (damage != "missing")
    shutil.rmtree(folder / "damaged", ignore_errors=True)
    assert content(folder) == whole


def test_a_chunk_that_was_torn_while_the_store_was_written_is_made_again(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "whole", paths)
    folder, keep = tmp_path / "stopped", bookkeeping.StoreWriter.keep

    def keeping(self: Any, number: int, block: Any) -> None:
        if number == 2:
            raise StoppedError
        keep(self, number, block)

    with monkeypatch.context() as patch:
        patch.setattr(bookkeeping.StoreWriter, "keep", keeping)
        with pytest.raises(StoppedError):
            written(folder, paths)
    (folder / "features/0/0.0").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=r"0\.0 is not as it was written: it was put aside"):
        written(folder, paths, resume=True)
    shutil.rmtree(folder / "damaged")
    assert content(folder) == content(tmp_path / "whole")


def test_a_store_cut_short_anywhere_is_refused(tmp_path: Path, paths: list[Path]) -> None:
    written(tmp_path / "store", paths[:2])
    file = tmp_path / "store" / "store.json"
    text = file.read_text()
    for kept in [*range(0, len(text) - 1, 97), len(text) - 2]:
        file.write_text(text[:kept])
        with pytest.raises(ValueError, match=r"Expected a readable store of features at .*store\.json"):
            FeatureStore.open(tmp_path / "store")
    file.write_text(text.replace('"layers"', '"layerz"'))
    with pytest.raises(ValueError, match=r"Expected .*store\.json as it was written, got other content"):
        FeatureStore.open(tmp_path / "store")


def changed(**options: Any) -> LatentFeatures:
    """The same encoder, but for one thing."""
    model = network()
    if options.pop("weights", None):
        with torch.no_grad():
            model[2].bias[0] += 1e-3
    name = options.pop("network", "Sequential")
    features = single(model, **options)
    features.network_class = name
    return features


def slightly_brighter(image: Image.Image) -> torch.Tensor:
    return PREPROCESS(image) * 1.01


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights": True}, r"expected weights \w{12}\.\.\., but got \w{12}\.\.\."),
        ({"layer": "0"}, "expected one of the layers 2, but got 0"),
        ({"pool": "max"}, "expected pooling average, but got max"),
        ({"preprocess": rgb_preprocess(20)}, "expected preprocessing to 16 x 16 pixels .*, but got to 20 x 20 pixels"),
        ({"preprocess": slightly_brighter}, "expected preprocessing to 16 x 16 pixels .*, but got to 16 x 16 pixels"),
        ({"network": "Other"}, "expected network Sequential, but got Other"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_store_of_another_encoder_is_refused(
    tmp_path: Path, paths: list[Path], change: dict[str, Any], told: str
) -> None:
    store = written(tmp_path / "store", paths, single())
    np.testing.assert_array_equal(store.check(single(), paths), np.arange(N_IMAGES))
    np.testing.assert_array_equal(store.check(changed(), paths), np.arange(N_IMAGES))
    with pytest.raises(ValueError, match=rf"store holds features of another encoder: {told}.*captum-shared features"):
        store.check(changed(**change), paths)


def test_images_are_told_by_their_content(tmp_path: Path, paths: list[Path]) -> None:
    """Wherever they lie; one that has changed and one that the store does not have are named apart."""
    store = written(tmp_path / "store", paths)
    shutil.move(tmp_path / "store", tmp_path / "moved")
    shutil.copytree(tmp_path / "images", tmp_path / "copied")
    store = FeatureStore.open(tmp_path / "moved")
    order = [7, 0, 3]
    copies = [tmp_path / "copied" / paths[index].relative_to(tmp_path / "images") for index in order]
    np.testing.assert_array_equal(store.check(several(), copies), order)
    np.testing.assert_array_equal(store.features("2").at(store.rows(copies))[:], store.features("2")[:][order])
    Image.new("RGB", (16, 16)).save(copies[0])
    Image.new("RGB", (16, 16), "red").save(tmp_path / "new.png")
    told = r"1 whose content has changed since \(.*7\.png\); 1 that it does not have \(.*new\.png\)\. Extract"
    with pytest.raises(ValueError, match=told):
        store.rows([*copies, tmp_path / "new.png"])
    with pytest.raises(FileNotFoundError, match=r"got no file at .*none\.png"):
        store.rows([tmp_path / "none.png"])


def test_a_store_is_not_gone_on_with_for_anything_else(tmp_path: Path, paths: list[Path]) -> None:
    folder = tmp_path / "store"
    written(folder, paths)
    with pytest.raises(ValueError, match="holds this store of features already: resume it"):
        written(folder, paths)
    for told, features, images, how in (
        ("layers, weights", single(), paths, Extraction()),
        ("images", several(), paths[1:], Extraction()),
        ("dtype", several(), paths, Extraction("float16")),
    ):
        with pytest.raises(ValueError, match=f"holds a different store of features: it differs in {told}"):
            written(folder, images, features, extraction=how, resume=True)
    Image.new("RGB", (16, 16)).save(paths[4])
    with pytest.raises(ValueError, match=r"4\.png has changed since: extract to another folder"):
        written(folder, paths, resume=True)


def test_a_store_that_is_being_written_is_not_written_by_another(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = bookkeeping.StoreWriter.keep

    def keeping(self: Any, number: int, block: Any) -> None:
        with pytest.raises(BlockingIOError, match=r"store is in use by process \d+"):
            written(tmp_path / "store", paths, resume=True)
        keep(self, number, block)

    monkeypatch.setattr(bookkeeping.StoreWriter, "keep", keeping)
    assert written(tmp_path / "store", paths).features("0").shape == (N_IMAGES, 4)


def test_half_precision_rounds_and_refuses_what_it_cannot_hold(tmp_path: Path, paths: list[Path]) -> None:
    half = written(tmp_path / "half", paths, extraction=Extraction("float16")).features("2")
    expected = one_by_one("2", paths)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half[:], expected, rtol=2**-10, atol=1e-6)
    Image.new("RGB", (16, 16), "white").save(paths[6])
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(25_000)  # 75,000 for white, and half of it for noise
    features = single(model, layer="0")
    with pytest.raises(
        ValueError, match=r"float16 can hold \(up to 65504\), got 75000 at 0 for .*/6\.png: store them as"
    ):
        written(tmp_path / "over", paths, features, extraction=Extraction("float16"))
    assert written(tmp_path / "single", paths, features).features()[6] == pytest.approx(75_000)


def test_a_bad_image_is_named_or_left_out(tmp_path: Path, paths: list[Path]) -> None:
    whole = written(tmp_path / "whole", paths)
    paths[5].write_bytes(paths[5].read_bytes()[:40])
    with pytest.raises(ValueError, match=r"Expected a readable image file at .*5\.png"):
        written(tmp_path / "refused", paths)
    store = written(tmp_path / "store", paths, extraction=Extraction(skip_bad=True))
    assert [*store.skipped] == ["inner/5.png"]
    assert "Expected a readable image file" in store.skipped["inner/5.png"]
    rest = [index for index in range(N_IMAGES) if index != 5]
    assert store.images == tuple(whole.images[index] for index in rest)
    np.testing.assert_allclose(store.features("2")[:], whole.features("2")[:][rest], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(store.features("2")[4:6], whole.features("2")[:][[4, 6]], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"1 that could not be read then \(.*5\.png\)"):
        store.rows(paths)
    before = content(tmp_path / "store")
    written(tmp_path / "store", paths, extraction=Extraction(skip_bad=True), resume=True)
    assert content(tmp_path / "store") == before
    paths[4].unlink()
    with pytest.raises(FileNotFoundError, match=r"got no file at .*4\.png"):
        written(tmp_path / "missing", paths, extraction=Extraction(skip_bad=True))


def test_a_store_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(ValueError, match="Expected at least one image that can be read, got none"):
        written(tmp_path / "store", [tmp_path / "a.png"], extraction=Extraction(skip_bad=True))
    with pytest.raises(ValueError, match="Expected at least one image, got none"):
        written(tmp_path / "store", [])


def test_a_layer_without_positions_has_no_scatter(tmp_path: Path, paths: list[Path]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 6))
    store = written(tmp_path / "store", paths, single(model, layer="1"))
    assert store.scatter() is None
    assert store.features().shape == (N_IMAGES, 6)


def test_what_is_read_is_never_more_than_what_is_asked_for(tmp_path: Path) -> None:
    """8 MB in chunks of 256 kB, of which 64 rows at a time are summed up."""
    rng, n_rows, n_columns, chunk = np.random.default_rng(0), 8192, 256, 256
    digests, expected = [], np.zeros(n_columns)
    for number in range(n_rows // chunk):
        rows = rng.standard_normal((chunk, n_columns)).astype(np.float32)
        digests.append(write_chunk(tmp_path, number, rows))
        expected += rows.sum(0, dtype=np.float64)
    array = ChunkedArray(tmp_path, digests, chunk, np.dtype(np.float32), np.arange(n_rows), n_columns)
    backwards = array.at(np.arange(n_rows)[::-1])
    for each in (array, backwards):
        tracemalloc.start()
        total = sum(each[start : start + 64].sum(0, dtype=np.float64) for start in range(0, n_rows, 64))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-9)
        assert peak < 2 * 2**20  # files are summed up 1 MB at a time
