"""Small networks with random weights, of every family whose layers have positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.vision_transformer import ConvStemConfig
from toys import Randomised


@dataclass(frozen=True)
class Family:
    """A network, a layer of it and what is known of that layer.

    Attributes:
        build: the network with random weights.
        layer: the layer.
        size: height and width of its images.
        grid: rows and columns of the layer's positions.
        n_features: number of features of each.
        channels: where the layer has its channels, ``"first"`` or ``"last"``; or, of tokens, how many stand in front.
        package: what the network comes from.
    """

    build: Callable[[], nn.Module]
    layer: str
    size: tuple[int, int]
    grid: tuple[int, int]
    n_features: int
    channels: str | int
    package: str = "torchvision"

    def network(self) -> nn.Module:
        pytest.importorskip(self.package)
        return Randomised(0)(self.build).eval()


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)


def vit_with_stem() -> nn.Module:
    """No convolution tells its patches."""
    stem = [ConvStemConfig(8, 3, 2)] * 3
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return torchvision.models.VisionTransformer(32, 8, **sizes, conv_stem_configs=stem)


def swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [2, 2], [4, 4])


def convnext() -> nn.Module:
    return torchvision.models.ConvNeXt([CNBlockConfig(12, 24, 2), CNBlockConfig(24, None, 2)])


def timm_registers() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer((32, 64), 8, embed_dim=16, depth=2, num_heads=2, reg_tokens=3, num_classes=5)


def timm_registers_alone() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        32, 8, embed_dim=16, depth=2, num_heads=2, reg_tokens=3, class_token=False, global_pool="avg", num_classes=5
    )


def timm_swin() -> nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(32, 4, embed_dim=12, depths=(2, 2), num_heads=(2, 2), window_size=4, num_classes=5)


_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def dinov2() -> nn.Module:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(**_SMALL, image_size=32, patch_size=8, num_register_tokens=3)
    return Dinov2WithRegistersModel(config)


def deit() -> nn.Module:
    from transformers import DeiTConfig, DeiTModel

    return DeiTModel(DeiTConfig(**_SMALL, image_size=32, patch_size=8))


def clip_vision() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**_SMALL, image_size=32, patch_size=8))


def hf_swin() -> nn.Module:
    from transformers import SwinConfig, SwinModel

    return SwinModel(
        SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=4)
    )


def hf_convnext() -> nn.Module:
    from transformers import ConvNextConfig, ConvNextModel

    return ConvNextModel(ConvNextConfig(hidden_sizes=[12, 24], depths=[2, 2], num_stages=2))


FAMILIES = {
    "vit": Family(vit, "encoder.layers.encoder_layer_0", (32, 32), (4, 4), 16, 1),
    "vit, last": Family(vit, "encoder", (32, 32), (4, 4), 16, 1),
    "vit, stem": Family(vit_with_stem, "encoder", (32, 32), (4, 4), 16, 1),
    "swin": Family(swin, "features.1", (32, 64), (8, 16), 12, "last"),
    "swin, last": Family(swin, "norm", (32, 64), (4, 8), 24, "last"),
    "convnext": Family(convnext, "features", (32, 64), (4, 8), 24, "first"),
    "timm, registers": Family(timm_registers, "norm", (32, 64), (4, 8), 16, 4, "timm"),
    "timm, registers alone": Family(timm_registers_alone, "blocks.0", (32, 32), (4, 4), 16, 3, "timm"),
    "timm, swin": Family(timm_swin, "layers.1", (32, 32), (4, 4), 24, "last", "timm"),
    "dinov2": Family(dinov2, "encoder.layer.1", (32, 64), (4, 8), 16, 4, "transformers"),
    "dinov2, named output": Family(dinov2, ":last_hidden_state", (64, 32), (8, 4), 16, 4, "transformers"),
    "deit": Family(deit, "layernorm", (32, 32), (4, 4), 16, 2, "transformers"),
    "clip": Family(clip_vision, "encoder:last_hidden_state", (32, 32), (4, 4), 16, 1, "transformers"),
    "swin of transformers": Family(hf_swin, "encoder.layers.0.blocks.1:0", (32, 32), (8, 8), 12, 0, "transformers"),
    "swin of transformers, last": Family(hf_swin, "layernorm", (32, 32), (4, 4), 24, 0, "transformers"),
    "convnext of transformers": Family(
        hf_convnext, "encoder:last_hidden_state", (32, 64), (4, 8), 24, "first", "transformers"
    ),
}
"""Every one by what it is called in the tests."""
