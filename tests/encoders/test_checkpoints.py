import argparse
import io
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from toys import real_data, torchvision_net

from captum_shared.encoders.checkpoints import load_torchvision, read_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return torchvision_net("squeezenet1_1", seed=3).state_dict()


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def holds(network: nn.Module, state: State) -> bool:
    found = network.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


LAYOUTS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "model": lambda state: {"model": state},
    "module.": lambda state: prefixed("module.", state),
    "module. in state_dict": lambda state: {"state_dict": prefixed("module.", state)},
    "robust": lambda state: {
        "model": {
            **prefixed("module.attacker.model.", {key: value + 1 for key, value in state.items()}),
            "module.normalizer.new_mean": torch.zeros(3, 1, 1),
            "module.normalizer.new_std": torch.ones(3, 1, 1),
            "module.attacker.normalize.new_mean": torch.zeros(3, 1, 1),
            **prefixed("module.model.", state),
        },
        "epoch": 90,
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_every_layout_of_a_state_dict(tmp_path: Path, state: State, layout: str) -> None:
    torch.save(LAYOUTS[layout](state), tmp_path / "weights.pt")
    network, _ = load_torchvision("squeezenet1_1", tmp_path / "weights.pt")
    assert holds(network, state)
    assert not network.training


@pytest.mark.parametrize("prefix", ["", "module.model."])
@pytest.mark.parametrize("kind", [Path, str])
def test_reads_safetensors(tmp_path: Path, state: State, prefix: str, kind: type) -> None:
    safetensors.torch.save_file(prefixed(prefix, state), tmp_path / "weights.safetensors")
    network, _ = load_torchvision("squeezenet1_1", kind(tmp_path / "weights.safetensors"))
    assert holds(network, state)


def test_reads_the_old_format_of_torch(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    assert holds(load_torchvision("squeezenet1_1", tmp_path / "weights.pth")[0], state)


def test_a_prefix_is_found_where_inner_keys_end_alike(tmp_path: Path) -> None:
    state = torchvision_net("resnet18", seed=3).state_dict()
    torch.save(prefixed("module.", state), tmp_path / "weights.pt")
    assert holds(load_torchvision("resnet18", tmp_path / "weights.pt")[0], state)


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = torchvision_net("resnet18", seed=3).state_dict()
    kept = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(kept, tmp_path / "weights.pt")
    found = load_torchvision("resnet18", tmp_path / "weights.pt")[0].state_dict()
    assert all(torch.equal(found[key], kept[key]) for key in kept)


def test_the_weights_of_another_model_are_told_by_their_keys(tmp_path: Path, state: State) -> None:
    wrong = {**state, "classifier.1.weight": torch.zeros(10, 512, 1, 1), "extra.weight": torch.zeros(1)}
    del wrong["features.0.bias"]
    torch.save(wrong, tmp_path / "weights.pt")
    message = (
        r"weights.pt does not hold the weights of squeezenet1_1: 1 missing \(features.0.bias\); "
        r"1 unexpected \(extra.weight\); "
        r"1 of another shape \(classifier.1.weight \(10, 512, 1, 1\) instead of \(1000, 512, 1, 1\)\)"
    )
    with pytest.raises(ValueError, match=message):
        load_torchvision("squeezenet1_1", tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"62 missing \(conv1.weight|missing \(conv1.weight.*, \.\.\.\)"):
        load_torchvision("resnet18", tmp_path / "weights.pt")


def written(kind: str, path: Path) -> bytes:
    tensors = {"weight": torch.arange(5.0)}
    if kind == ".safetensors":
        return safetensors.torch.save(tensors)
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=kind == ".pt")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [".pt", ".pth", ".safetensors"])
def test_a_file_cut_short_anywhere_is_said_to_be_damaged(tmp_path: Path, kind: str) -> None:
    whole = written(kind, tmp_path)
    path = tmp_path / f"weights{kind}"
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"could not be read as weights|does not hold the weights"):
            load_torchvision("squeezenet1_1", path)


@pytest.mark.parametrize("damage", ["a folder", "other numbers"])
def test_an_archive_that_torch_reads_without_a_word_is_said_to_be_damaged(tmp_path: Path, damage: str) -> None:
    """It compares no checksums, and of what says to be a folder it reads nothing, and gives what memory held before."""
    path, numbers = tmp_path / "weights.pt", torch.arange(5.0).numpy()
    torch.save({"weight": torch.from_numpy(numbers)}, path)
    whole = path.read_bytes()
    if damage == "a folder":
        with zipfile.ZipFile(path) as archive:
            order = [name.endswith("data/0") for name in archive.namelist()].index(True)
        entries = [start for start in range(len(whole)) if whole[start : start + 4] == b"PK\x01\x02"]
        attributes = entries[order] + 38
        path.write_bytes(whole[:attributes] + b"\x10" + whole[attributes + 1 :])
    else:
        path.write_bytes(whole.replace(numbers.tobytes(), (numbers + 1).tobytes()))
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match=r"weights\.pt could not be read as weights.*data/0 in it is damaged"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"not weights at all\n", b"\x80\x02}q\x00.", b"0" * 40, b".", b"PK\x03\x04"])
def test_a_file_of_something_else_is_said_to_be_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.pt could not be read|weights.pt does not hold"):
        load_torchvision("squeezenet1_1", tmp_path / "weights.pt")


def test_other_python_objects_are_refused_and_not_run(tmp_path: Path, state: State) -> None:
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "weights.pt")
    with (
        mock.patch("argparse.Namespace.__init__", side_effect=AssertionError("ran")),
        pytest.raises(ValueError, match=r"without other Python objects \(UnpicklingError: .*eights"),
    ):
        load_torchvision("squeezenet1_1", tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2)])
def test_a_file_without_names_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"holds a (list|Tensor); expected a state dict, name to tensor"):
        load_torchvision("squeezenet1_1", tmp_path / "weights.pt")


@pytest.mark.parametrize("weights", ["IMAGENET1K_V7", "nowhere/weights.pt", Path("nowhere.safetensors")])
def test_neither_an_entry_nor_a_file_lists_the_entries(weights: str | Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither a file.*resnet50 \(DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2\)"):
        load_torchvision("resnet50", weights)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a file nor"):
        load_torchvision("squeezenet1_1", tmp_path)


def test_an_unknown_model_lists_close_matches() -> None:
    with pytest.raises(ValueError, match=r"no classification model 'resnet51'. Did you mean: resnet\d+"):
        load_torchvision("resnet51", None)
    with pytest.raises(ValueError, match=r"Did you mean: alexnet, (\w+, ){6,8}\w+\?$"):
        load_torchvision("?", None)


@pytest.fixture
def downloads(state: State) -> Any:
    """Stand-in for torchvision's download."""
    with mock.patch("torchvision.models._api.load_state_dict_from_url", return_value=state) as download:
        yield download


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_an_entry_is_what_torchvision_downloads(downloads: mock.Mock, state: State, weights: str) -> None:
    network, _ = load_torchvision("squeezenet1_1", weights)
    assert holds(network, state)
    assert not network.training
    assert downloads.call_args.args[0] == torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url


@pytest.mark.parametrize("weights", [None, "DEFAULT", "file"])
def test_the_random_state_is_left_as_it_is(
    tmp_path: Path, downloads: mock.Mock, state: State, weights: str | None
) -> None:
    if weights == "file":
        torch.save(state, tmp_path / "file")
        weights = str(tmp_path / "file")
    torch.manual_seed(1)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_torchvision("squeezenet1_1", weights)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_random_weights_follow_the_seed() -> None:
    def build(seed: int) -> State:
        torch.manual_seed(seed)
        return load_torchvision("squeezenet1_1", None)[0].state_dict()

    first, again, other = build(1), build(1), build(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_no_model_is_built_with_a_warning(name: str) -> None:
    with mock.patch("torch.nn.init.trunc_normal_", lambda tensor, **_: tensor):
        assert isinstance(load_torchvision(name, None)[0], nn.Module)


def test_the_preprocessing_is_that_of_the_entry(downloads: mock.Mock) -> None:
    photograph = torch.randint(0, 256, (3, 300, 400), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    entries = torchvision.models.ResNet50_Weights
    expected = {name: entries[name].transforms()(photograph) for name in ("IMAGENET1K_V1", "IMAGENET1K_V2")}
    assert not torch.equal(expected["IMAGENET1K_V1"], expected["IMAGENET1K_V2"])
    weights = torchvision_net("resnet50").state_dict()
    downloads.return_value = weights
    for name in ("IMAGENET1K_V1", "IMAGENET1K_V2"):
        assert torch.equal(load_torchvision("resnet50", name)[1](photograph), expected[name])
    assert torch.equal(load_torchvision("resnet50", None)[1](photograph), expected["IMAGENET1K_V2"])


def test_the_preprocessing_of_a_file_is_the_default_entrys(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "weights.pt")
    _, preprocess = load_torchvision("squeezenet1_1", tmp_path / "weights.pt")
    photograph = torch.full((3, 300, 300), 128, dtype=torch.uint8)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(preprocess(photograph)[:, 5, 5], (128 / 255 - mean) / deviation)


def test_the_real_squeezenet_knows_a_photograph() -> None:
    network, preprocess = load_torchvision("squeezenet1_0", real_data("squeezenet1_0_imagenet.safetensors"))
    photographs = sorted(real_data("imagenet_sample/bird").glob("*.jpg"))[:12]
    images = torch.stack([preprocess(Image.open(path).convert("RGB")) for path in photographs])
    with torch.no_grad():
        found = network(images).argmax(1).tolist()
    right = sum(index == int(path.name[:3]) for index, path in zip(found, photographs, strict=True))
    assert right >= 6, f"expected the 62 % of the weights, got {right} of 12"
