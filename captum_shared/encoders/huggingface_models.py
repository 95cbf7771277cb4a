"""Vision networks of Hugging Face's transformers."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from captum_shared.encoders.checkpoints import DEFAULT, read_weights
from captum_shared.encoders.packages import imported

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def load_huggingface(name: str, weights: str | Path | None) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """Load a vision network of Hugging Face and the preprocessing that belongs to it.

    Of a model of images and text, such as CLIP, the vision tower is taken.

    Args:
        name: ``"hf:"`` and the name of a repository, or a local folder with ``config.json``.
        weights: ``"DEFAULT"`` for those that belong to the name (downloaded once, or those of the local folder), a
            local folder with ``config.json`` and weights, a file of weights, or None for random weights.

    Returns:
        The network in evaluation mode, and the transform from a photograph to its input: that of
        ``preprocessor_config.json``.

    Raises:
        ImportError: if transformers is not installed.
        OSError: if there is no such repository or folder, or no network to reach it.
        ValueError: if the model sees no images, or weights are missing other than those of its pooler.
        FileNotFoundError: if the weights are neither.

    Warns:
        UserWarning: if there is no ``preprocessor_config.json``; then photographs come at the size that the
            configuration names, with the mean and standard deviation of ImageNet.

    Example:
        >>> network, preprocess = load_huggingface("hf:facebook/dinov2-small", "DEFAULT")  # doctest: +SKIP
    """
    transformers: Any = imported("transformers", "huggingface")
    source, state = name.partition(":")[2], None
    if weights not in (None, DEFAULT):
        if not Path(str(weights)).exists():
            raise FileNotFoundError(f"weights={str(weights)!r} is neither {DEFAULT}, a file nor a folder.")
        if Path(str(weights)).is_dir():
            source = str(weights)
        else:
            state = read_weights(Path(str(weights)))
    config = transformers.AutoConfig.from_pretrained(source)
    with torch.random.fork_rng(devices=[]):
        network = transformers.AutoModel.from_config(config)
        if weights is not None:
            network = _with_weights(type(network), config, source, state)
    if network.main_input_name != "pixel_values":
        network = getattr(network, "vision_model", None)
    if network is None:
        raise ValueError(f"{source} is a {config.model_type}, which sees no images. Choose a vision model.")
    return network.float().eval(), _preprocessing(transformers, source, network.config)


def _with_weights(kind: Any, config: Any, source: str, state: dict[str, Tensor] | None) -> Any:
    """The model with weights of the source or of a file, under whatever names its releases have given them."""
    network, told = kind.from_pretrained(
        None if state is not None else source, config=config, state_dict=state, output_loading_info=True
    )
    missing = [key for key in told["missing_keys"] if "pooler." not in key]
    if missing or told["mismatched_keys"]:
        others = [key if isinstance(key, str) else key[0] for key in told["mismatched_keys"]]
        raise ValueError(
            f"{'The file' if state is not None else source} does not hold the weights of this {config.model_type}: "
            f"{len(missing)} missing ({', '.join(sorted(missing)[:5])}), {len(others)} of another shape "
            f"({', '.join(sorted(others)[:5])}). Is it another model's file?"
        )
    return network


def _preprocessing(transformers: Any, source: str, config: Any) -> Callable[[Any], Tensor]:
    try:
        return Processed(transformers.AutoImageProcessor.from_pretrained(source))
    except OSError:
        size = getattr(config, "image_size", None) or 224
        height, width = size if isinstance(size, tuple | list) else (size, size)
        warnings.warn(
            f"There is no preprocessor_config.json with {source}: photographs are brought to {height} x {width} pixels "
            "and normalised as those of ImageNet. Put the file beside config.json if that is not how it was trained.",
            UserWarning,
            stacklevel=4,
        )
        steps = [v2.Resize((height, width), antialias=True), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
        preprocess: Callable[[Any], Tensor] = v2.Compose([*steps, v2.Normalize(**_IMAGENET)])
        return preprocess


@final
class Processed:
    """A photograph as an image processor of Hugging Face gives it.

    Args:
        processor: the image processor.

    Attributes:
        mean: what it takes off each channel, or None.
        std: what it divides each channel by, or None.

    Example:
        >>> class Halves:
        ...     def __call__(self, images, return_tensors):
        ...         return {"pixel_values": torch.full((1, 3, 2, 2), 0.5)}
        >>> Processed(Halves())(None).shape
        torch.Size([3, 2, 2])
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        normalised = getattr(processor, "do_normalize", False)
        self.mean: list[float] | None = processor.image_mean if normalised else None
        self.std: list[float] | None = processor.image_std if normalised else None

    def __call__(self, image: Any) -> Tensor:
        """Process one photograph."""
        pixels: Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels
