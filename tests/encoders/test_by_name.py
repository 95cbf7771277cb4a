"""Networks by name: families, where their weights come from, and where they are cut by default."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from families import FAMILIES
from PIL import Image
from torch import Tensor, nn
from toys import Randomised, Undecided, seeded, small_net, torchvision_net
from typer.testing import CliRunner

from captum_shared import LatentFeatures
from captum_shared.cli import app
from captum_shared.encoders import (
    embedded_network,
    encoder_by_name,
    last_layer_with_positions,
    layer_outputs,
    load_weights,
)
from captum_shared.images import to_display

GREY = Image.new("RGB", (80, 60), (128, 128, 128))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("squeezenet1_1", "classifier.2"),
        ("vgg11", "features"),
        ("densenet121", "features"),
        ("mobilenet_v3_small", "features"),
        ("shufflenet_v2_x0_5", "conv5"),
    ],
)
def test_the_default_layer_is_the_last_that_has_positions(name: str, layer: str) -> None:
    assert last_layer_with_positions(torchvision_net(name), torch.rand(1, 3, 224, 224)) == layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vit", "encoder"),
        ("swin", "norm"),
        ("convnext", "features"),
        ("timm, registers", "norm"),
        ("timm, swin", "norm"),
        ("dinov2", "layernorm"),
        ("swin of transformers", "layernorm"),
        ("convnext of transformers", "encoder:last_hidden_state"),
    ],
)
def test_the_default_layer_of_every_family(name: str, layer: str) -> None:
    family = FAMILIES[name]
    network, images = family.network(), seeded(1, 1, 3, *family.size)
    chosen = last_layer_with_positions(network, images)
    assert chosen == layer
    assert len(LatentFeatures(network, chosen).activation(images).shape) == 4


def test_the_default_layer_of_the_embedded_network_is_known() -> None:
    network = embedded_network()
    chosen = last_layer_with_positions(network, torch.rand(1, 3, 112, 112))
    assert encoder_by_name("embedded").layer == chosen == "features"


def test_without_positions_there_is_no_default_layer() -> None:
    with pytest.raises(ValueError, match="No layer of Sequential has positions that can be told"):
        last_layer_with_positions(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), torch.zeros(1, 3, 2, 2))


def test_layers_are_listed_in_the_order_of_their_calls_by_names_that_can_be_cut_at() -> None:
    family = FAMILIES["vit"]
    network, images = family.network(), seeded(1, 2, 3, *family.size)
    listed = layer_outputs(network, images)
    names = [layer.name for layer in listed]
    ordered = ["conv_proj", "encoder.layers.encoder_layer_0.self_attention:0", "encoder.ln", "encoder", "heads"]
    assert [name for name in names if name in ordered] == ordered
    assert [(layer.shape, layer.grid) for layer in listed if layer.name in ordered] == [
        ((16, 4, 4), (4, 4)),
        *[((17, 16), (4, 4))] * 3,
        ((1000,), None),
    ]
    for layer in listed:
        assert LatentFeatures(network, layer.name, pool="none")(images).shape[0] == 2


def test_the_command_lists_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["layers", "embedded", "--size", "64"])
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split("  ")[-1].strip() for line in result.output.splitlines() if line}
    assert rows["features"] == "8 x 8"
    assert rows["classifier"] == "-"
    assert result.output.splitlines()[-1] == "By default the network is cut at features."
    refused = CliRunner().invoke(app, ["layers", "vit_b_32", "--size", "100"])
    assert refused.exit_code == 2
    assert "does not take images of shape (3, 100, 100)" in refused.output


class Two(nn.Module):
    """A layer that gives a dictionary, and one that gives a tuple of a tensor and a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Parts(), Nested()

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images)["half"])[0]


class Parts(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"half": images / 2, "double": images * 2}


class Nested(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return images + 1, {"less": images - 1}


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("first:half", lambda x: x / 2),
        ("first:double", lambda x: x * 2),
        ("second:0", lambda x: x / 2 + 1),
        ("second:1:less", lambda x: x / 2 - 1),
        ("second:-2", lambda x: x / 2 + 1),
    ],
)
def test_one_of_several_outputs_is_picked_by_name(layer: str, expected: object) -> None:
    images = seeded(1, 2, 3, 4, 4)
    features = LatentFeatures(Two(), layer)
    assert isinstance(features.network, torch.fx.GraphModule)
    torch.testing.assert_close(features.activation(images), expected(images))  # type: ignore[operator]
    assert layer in features.layers


class UndecidedParts(Undecided):
    """The same where it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = Parts()

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.parts(images)["half"])


def test_one_of_several_outputs_is_picked_where_the_model_cannot_be_traced() -> None:
    images = seeded(1, 2, 3, 10, 10)
    features = LatentFeatures(Randomised(0)(UndecidedParts), "parts:double")
    torch.testing.assert_close(features.activation(images), 2 * images)


def test_a_part_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no 'third' in the dict that 'first:third' names.*first:half, first:double"):
        LatentFeatures(Two(), "first:third")(seeded(1, 2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"output is not a single tensor.*such as 'first:0'"):
        LatentFeatures(Two(), "first")


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


def test_only_what_runs_up_to_the_cut_has_to_fit(tmp_path: Path) -> None:
    network = torchvision_net("resnet18", seed=3)
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")}
    state["fc.weight"], state["head.0.weight"] = torch.zeros(7, 512), torch.zeros(3)
    del state["layer4.1.bn2.bias"]
    file = saved(state, tmp_path)
    images = seeded(1, 2, 3, 64, 64, dtype=torch.float32)
    features = encoder_by_name("resnet18", "layer3", weights=file)
    torch.testing.assert_close(features(images), LatentFeatures(network, "layer3")(images))
    again = LatentFeatures.from_torchvision("resnet18", weights=file, layer="layer3")
    torch.testing.assert_close(again(images), features(images))
    with pytest.raises(ValueError, match=r"does not hold the weights of resnet18: 1 missing \(layer4\.1\.bn2\.bias\)"):
        encoder_by_name("resnet18", weights=file)
    state["layer2.5.weight"], state["conv1.weight"] = torch.zeros(3), torch.zeros(4, 3, 7, 7)
    with pytest.raises(
        ValueError, match=r": 1 unexpected \(layer2\.5\.weight\); 1 of another shape \(conv1\.weight \(4"
    ):
        encoder_by_name("resnet18", "layer3", weights=saved(state, tmp_path))


def test_only_what_runs_up_to_the_cut_has_to_fit_where_the_model_cannot_be_traced(tmp_path: Path) -> None:
    network, other = Randomised(0)(Undecided), Randomised(1)(Undecided)
    state = {key: value for key, value in other.state_dict().items() if key.startswith("first.")}
    images = seeded(1, 1, 3, 10, 10)
    load_weights(network, saved(state, tmp_path), name="mine", layer="first", images=images)
    torch.testing.assert_close(network.first(images), other.first(images))
    with pytest.raises(
        ValueError, match=r"does not hold the weights of mine: 2 missing \(second\.weight, second\.bias\)"
    ):
        load_weights(network, saved(state, tmp_path), name="mine", layer="second", images=images)
    with pytest.raises(ValueError, match=r"4 missing \(second\.weight, second\.bias, head\.weight, head\.bias\)"):
        load_weights(network, saved(state, tmp_path), name="mine")


def test_timm_by_name_from_a_file_and_a_folder(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = timm.create_model("test_vit", num_classes=5).eval()
    timm.models.save_for_hf(network, tmp_path, safe_serialization=True)
    from_folder = encoder_by_name(f"timm:{tmp_path}", weights="DEFAULT")
    from_file = encoder_by_name("timm:test_vit", weights=tmp_path / "model.safetensors")  # its head has 5 classes
    other = encoder_by_name("timm:test_vit", weights=tmp_path)
    assert from_folder.layer == from_file.layer == "norm"
    images = from_file.preprocess(GREY)[None] + seeded(1, 2, 3, 160, 160, dtype=torch.float32)
    expected = network.forward_features(images)[:, network.num_prefix_tokens :].mean(1)
    for features in (from_folder, from_file, other):
        torch.testing.assert_close(features(images), expected, rtol=1e-4, atol=1e-5)
        shown = to_display(features.preprocess(GREY), features.preprocess)
        torch.testing.assert_close(shown, torch.full((3, 160, 160), 128 / 255), rtol=1e-4, atol=1e-4)
    random = encoder_by_name("timm:test_vit")
    assert not torch.allclose(random(images), expected, atol=1e-3)
    with pytest.raises(ValueError, match=r"timm has no model 'test_vitt'. Did you mean: .*test_vit"):
        encoder_by_name("timm:test_vitt")
    with pytest.raises(FileNotFoundError, match="'nowhere' is neither DEFAULT, a file nor a folder"):
        encoder_by_name("timm:test_vit", weights="nowhere")


def test_hugging_face_by_name_from_a_folder_and_a_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    network = FAMILIES["deit"].network().float()
    network.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    encoders = [
        encoder_by_name(f"hf:{tmp_path}", weights="DEFAULT"),
        encoder_by_name("hf:any/name", weights=tmp_path),
        encoder_by_name(f"hf:{tmp_path}", weights=tmp_path / "model.safetensors"),
    ]
    images = seeded(1, 2, 3, 32, 32, dtype=torch.float32)
    expected = network(images).last_hidden_state[:, 2:].mean(1)
    for features in encoders:
        assert features.layer == "layernorm"
        torch.testing.assert_close(features(images), expected)
        torch.testing.assert_close(features.preprocess(GREY), torch.full((3, 32, 32), 128 / 255 * 2 - 1))
        shown = to_display(features.preprocess(GREY), features.preprocess)
        torch.testing.assert_close(shown, torch.full((3, 32, 32), 128 / 255))
    random = encoder_by_name(f"hf:{tmp_path}")
    assert not torch.allclose(random(images), expected, atol=1e-3)
    with pytest.raises(FileNotFoundError, match="'nowhere' is neither DEFAULT, a file nor a folder"):
        encoder_by_name(f"hf:{tmp_path}", weights="nowhere")
    wrong = saved({"layernorm.weight": torch.zeros(16)}, tmp_path)
    with pytest.raises(ValueError, match=r"The file does not hold the weights of this deit: \d+ missing"):
        encoder_by_name(f"hf:{tmp_path}", weights=wrong)


def test_without_its_preprocessing_a_folder_of_hugging_face_is_taken_with_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    FAMILIES["deit"].network().float().save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="no preprocessor_config.json.*32 x 32 pixels"):
        features = encoder_by_name(f"hf:{tmp_path}", weights="DEFAULT")
    shown = to_display(features.preprocess(GREY), features.preprocess)
    torch.testing.assert_close(shown, torch.full((3, 32, 32), 128 / 255))


def test_of_a_model_of_images_and_text_the_vision_tower_is_taken(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 11, "eos_token_id": 10, "bos_token_id": 9}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=4
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPImageProcessor(**sizes).save_pretrained(tmp_path)
    features = encoder_by_name(f"hf:{tmp_path}", weights="DEFAULT")
    assert features.feature_shape == (8,)
    assert features.cut_shape == (8, 4, 4)
    text_alone = tmp_path / "text"
    transformers.BertModel(transformers.BertConfig(**small, vocab_size=11)).save_pretrained(text_alone)
    with pytest.raises(ValueError, match="is a bert, which sees no images"):
        encoder_by_name(f"hf:{text_alone}", weights="DEFAULT")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("timm:x", "timm", "timm"), ("hf:x", "transformers", "huggingface")]
)
def test_without_its_package_a_network_names_the_extra(name: str, package: str, extra: str) -> None:
    message = rf"package {package}, which is not installed.*pip install 'captum-shared\[{extra}\]'"
    with mock.patch.dict(sys.modules, {package: None}), pytest.raises(ImportError, match=message):
        encoder_by_name(name)


def test_a_wrong_layer_lists_those_of_the_network() -> None:
    with pytest.raises(ValueError, match=r"Its layers: conv1, bn1, .*layer4, .*fc, and \d+ more within them\.") as told:
        encoder_by_name("resnet18", "block7")
    assert "layer1.0.conv1" not in str(told.value)
    with pytest.raises(
        ValueError, match=r"Did you mean features\.1.*Its layers: features, features\.0, .*classifier\.$"
    ):
        LatentFeatures(small_net(), "features.11")


def test_without_internet_a_file_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"weights of resnet18 could not be downloaded.*Give a file .*--weights FILE"):
        encoder_by_name("resnet18", "layer4", weights="DEFAULT")
