"""Latent features: a network cut at a named layer, pooled and flattened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from captum_shared.encoders.catalogue import starting_later
from captum_shared.encoders.checkpoints import load_torchvision
from captum_shared.encoders.cutting import check_layer, cut
from captum_shared.encoders.inputs import check_images, inputs_told
from captum_shared.encoders.origin import origin_of
from captum_shared.encoders.pooling import Pool, Pooling
from captum_shared.encoders.positions import Layout, Positions
from captum_shared.encoders.source import Known, Source


@final
class LatentFeatures(nn.Module):
    """A network cut at a named layer: images in, latent features f(x) out.

    The model given is left as it is. The features run a tree of their own over the same memory, frozen and in
    evaluation mode, without in-place operations and with a copy of each module for every call of it, so that
    Captum's hook-based methods (``DeepLift``, ``GuidedBackprop``) are right on networks that use one ReLU
    several times. They follow the model where its weights are replaced or moved; where its modules are, they raise an
    error. Layers after the cut do not run: they are cut off the FX graph or, where the model cannot be
    traced, the forward pass is stopped at the layer (then modules stay shared between calls).

    Args:
        model: a network from images to anything, such as torchvision's CNNs and vision transformers.
        layer: qualified name of a module in ``model``, such as ``"layer4"``; of several calls the last counts. What
            gives a tuple, dictionary or dataclass is followed by what to pick: ``"attention:0"``,
            ``"vision_model:last_hidden_state"``; nothing before the colon stands for the whole model.
        pool: how positions are summarised: their ``"average"``, their ``"max"``, ``"none"`` (flattened, position
            kept) or, in transformers, the ``"class_token"`` alone. Average and maximum leave class token and
            registers out.
        layout: how positions are laid out where neither the network nor the proportions of the images tell
            (:class:`~captum_shared.encoders.positions.Positions`): ``"channels_first"``, ``"channels_last"``, or the
            rows and columns of the tokens.

    Attributes:
        layer: the name of the layer.
        pool: the pooling.
        network: the cut network.
        cut: an identity whose output is the activation at the cut before pooling, for Captum's layer methods,
            such as ``LayerGradCam(similarity, similarity.image_features.cut)``: (image, feature, row, column) also
            where the layer has its channels last or gives tokens, unless these are kept (``"none"``) or the class
            token is taken.
        pooling: how the layer's output is laid out and summarised.
        preprocess: photograph to network input, where known (``from_torchvision``); otherwise None.
        network_class: name of the class of the model.
        name: what the network was built by, where that was a name; otherwise None.

    Raises:
        ValueError: if there is no such layer (close matches are listed), the model never calls it, or the
            pooling or the layout is unknown.

    Example:
        >>> import torchvision
        >>> model = torchvision.models.squeezenet1_1()
        >>> features = LatentFeatures(model, "features.3", pool="average")
        >>> features(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 128])
    """

    def __init__(self, model: nn.Module, layer: str, *, pool: Pool = "average", layout: Layout = "auto") -> None:
        super().__init__()
        if pool not in get_args(Pool):
            raise ValueError(f"pool must be one of {', '.join(get_args(Pool))}, but got {pool!r}.")
        self.layer: str = layer
        self.pool: Pool = pool
        if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
            raise TypeError(f"model must be an ordinary torch.nn.Module, not {type(model).__name__}.")
        self.network, self._modules_of_layers, original = cut(model, layer)
        source = Source(model, self.network, "model." if original is None else "")
        self._known = Known(source, original)  # in an object of its own, so that it is no part of the features
        self.cut = nn.Identity()
        self.preprocess: Callable[[Any], Tensor] | None = None
        self.pooling = Pooling(layer, pool, Positions.of(model, layout))
        self._image_size = _image_size(model)
        self.network_class: str = type(model).__name__
        self.name: str | None = None
        self.eval()

    @classmethod
    def from_torchvision(
        cls, name: str, *, weights: str | Path | None, layer: str, pool: Pool = "average"
    ) -> "LatentFeatures":
        """Cut a network of torchvision and keep the preprocessing that belongs to it.

        Args:
            name: a model of ``torchvision.models.list_models()``, such as ``"resnet50"``.
            weights: the name of a torchvision weights entry (``"DEFAULT"`` is the best; downloaded once by
                torchvision), a ``.safetensors`` or state-dict file, of which what runs after the layer need not fit,
                or None for random weights.
            layer: name of the layer.
            pool: the pooling.

        Returns:
            The features, with ``preprocess`` set.

        Raises:
            ValueError: if the name is unknown or the file does not fit the network (the differing keys are named).
            FileNotFoundError: if there is no such file.

        Example:
            >>> features = LatentFeatures.from_torchvision("resnet18", weights=None, layer="layer3")
            >>> features.feature_shape
            (256,)
        """
        model, preprocess = load_torchvision(name, weights, layer=layer)
        features = cls(model, layer, pool=pool)
        features.preprocess, features.name = preprocess, name
        return features

    @property
    def cut_shape(self) -> tuple[int, ...] | None:
        """Shape of one image's activation at the cut, of the last images seen; None if it has seen none."""
        return self._known.cut_shape

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one image's features before flattening: (channel,), or with ``pool="none"`` (channel, height,
        width) or (token, feature) for the last images seen; for a square image of the model's own size (224
        pixels where it names none) if it has seen none.
        """  # noqa: D205
        if self._known.feature_shape is None:
            weight = next((p for p in self.network.parameters() if p.ndim == 4), None)
            if weight is None:
                raise ValueError(
                    "feature_shape is unknown before the first images, as the network has no convolution that tells "
                    "their number of channels. Call the features on one batch first."
                )
            with torch.no_grad():
                self(weight.new_zeros(1, weight.shape[1], *self._image_size))
        return self._known.feature_shape or ()

    @property
    def origin(self) -> dict[str, Any]:
        """What :func:`~captum_shared.encoders.origin_of` tells of these features, for ``readout.with_origin``."""
        return origin_of(self)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that ``layer_module`` knows; of a model that cannot be traced, all of them."""
        return tuple(self._modules_of_layers)

    def layer_module(self, layer: str) -> nn.Module:
        """Return the module of the cut network whose output is that of a layer of the original model.

        Captum's layer methods need it, since containers such as a ResNet's ``"layer3"`` do not run as modules in
        a traced graph. Its input need not be the layer's input, so it does not serve ``attribute_to_layer_input``.

        Args:
            layer: name of a module of the original model, at or before the cut.

        Returns:
            The module to hand to a layer method.

        Raises:
            ValueError: if there is no such layer up to the cut (close matches are listed).

        Example:
            >>> import torchvision
        >>> features = LatentFeatures(torchvision.models.resnet18(), "layer2")
            >>> features.layer_module("layer1")
            ReLU()
        """
        check_layer(layer, list(self._modules_of_layers), f"the network up to {self.layer!r}")
        return self.network.get_submodule(self._modules_of_layers[layer])

    def train(self, mode: bool = True) -> "LatentFeatures":
        """Stay in evaluation mode: features are read, not trained."""
        return super().train(False)

    def forward(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image feature"]:
        """Compute the latent features f(x).

        Args:
            images: network inputs.

        Returns:
            One row of features an image.

        Raises:
            TypeError: if the images are no tensor, or not of the network's dtype.
            ValueError: if the layer's output is not a tensor, or cannot be pooled as asked, or the images are
                on another device.
        """
        output = self._output(images)
        activation = self.cut(self.pooling.activation(output, images))
        channels_last = self.pooling.positions.are_before_channels(output, images)
        features = self.pooling.features(activation, channels_last=channels_last)
        self._known.cut_shape, self._known.feature_shape = tuple(activation.shape[1:]), tuple(features.shape[1:])
        return features.flatten(1)

    def activation(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image ..."]:
        """Compute the activation at the cut, before pooling.

        Args:
            images: network inputs.

        Returns:
            (image, feature, row, column), unless there are no positions or tokens are kept, as ``cut`` has it.

        Raises:
            ValueError: if the layer's output is not one tensor with a row for each image.

        Example:
            >>> LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3)), "0").activation(torch.zeros(2, 3, 8, 8)).shape
            torch.Size([2, 4, 6, 6])
        """
        activation: Tensor = self.cut(self.pooling.activation(self._output(images), images))
        return activation

    def follow(self, images: Tensor) -> None:
        """Take over what was replaced in the model that the features were cut from; every pass does.

        Args:
            images: inputs of the network.

        Raises:
            ValueError: if modules were replaced by others.
        """
        source = self._known.source
        if source is None:
            return
        try:
            source.follow(self.network)
        except ValueError:
            if isinstance(self.network, fx.GraphModule):
                raise
            model = self.network.get_submodule("model")
            source.forget({f"model.{path}" for path in starting_later(model, self.layer, images[:1])})
            source.follow(self.network)

    def _output(self, images: Tensor) -> Any:
        """Run the network; on the first image, make sure that what was traced computes what the model computes."""
        check_images(images)
        self.follow(images)
        with inputs_told(self.network, images):
            output = self.network(images)
        original = self._known.unchecked
        if original is None or len(images) == 0:
            return output
        own = dict(self.network.named_buffers(prefix="model"))
        for name, buffer in original.named_buffers():
            buffer.data = own.get(name, buffer).data
        with torch.no_grad():
            expected = original(images[:1])
        if isinstance(expected, Tensor) and isinstance(output, Tensor):
            tolerance = 1e-3 * float(expected.abs().nan_to_num(0, 0, 0).max())
            if not torch.allclose(output[:1].detach(), expected, rtol=1e-3, atol=tolerance, equal_nan=True):
                raise ValueError(
                    f"The model cut at {self.layer!r} does not compute what the model itself computes there, as its "
                    "code tests the type of its input or writes into views. Cut it by hand: any module from images to "
                    "(image, feature) can take the place of LatentFeatures."
                )
        self._known.unchecked = None
        return output


def layer_module(encoder: nn.Module, layer: str | None) -> nn.Module:
    """Return the module of an encoder whose output is that of a layer.

    Args:
        encoder: any.
        layer: its name (as in the original model, for :class:`LatentFeatures`), or None for the cut.

    Returns:
        The module.

    Raises:
        ValueError: if there is no such layer, or no cut.

    Example:
        >>> layer_module(nn.Sequential(nn.ReLU()), "0")
        ReLU()
    """
    if isinstance(encoder, LatentFeatures):
        return encoder.cut if layer is None else encoder.layer_module(layer)
    if layer is None:
        raise ValueError(f"Name a layer: {type(encoder).__name__} has no cut. Only LatentFeatures has one.")
    check_layer(layer, [name for name, _ in encoder.named_modules() if name], type(encoder).__name__)
    return encoder.get_submodule(layer)


def _image_size(model: nn.Module) -> tuple[int, int]:
    """Height and width of the images that a network is made for, as torchvision, Hugging Face and timm tell it."""
    told: Any = getattr(model, "image_size", None) or getattr(getattr(model, "config", None), "image_size", None)
    settings = getattr(model, "pretrained_cfg", None)
    if told is None and isinstance(settings, dict):
        told = tuple(settings.get("input_size", ()))[1:]
    height, width = (told, told) if isinstance(told, int) else told or (224, 224)
    return height, width
