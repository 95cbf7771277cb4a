"""All methods that a user of Captum would pick, by name, under one call: a pair of images in, a pair of maps out."""

import difflib
import importlib.util
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType, select_neurons
from captum_shared.attr.heatmaps import heatmap
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.twins import evaluation_mode
from captum_shared.methods.captum import (
    EXPLANATIONS,
    Call,
    of_the_cosine,
    of_the_neuron,
    of_the_similarity,
    product_of_grad_cams,
)
from captum_shared.methods.ours import OURS, Features
from captum_shared.methods.peers import embedding_similarity_cam
from captum_shared.methods.second_order import bilrp, integrated_jacobians
from captum_shared.methods.trivial import centre_gaussian, edge_energy, random

Family: TypeAlias = Literal["ours", "neuron", "similarity", "second-order", "trivial", "ceiling"]
"""What a method looks at: shared features, the neuron's response to one image, the similarity of two, ..."""


@final
@dataclass(frozen=True)
class Method:
    """A method under the call that all methods share. One's own joins by its name and a callable.

    Attributes:
        name: what it is called in tables.
        family: what it looks at; ``"neuron"`` is for methods that see one image at a time.
        call: from a similarity, a pair (images, references) that requires gradients, and the neuron of each pair as a
            tensor, to a pair of attributions (image, channel, height, width) of pixels or of a layer. The network
            is in evaluation mode meanwhile.
        contributions: whether attributions of pixels are contributions, whose sign tells what speaks for and against,
            as of Integrated Gradients or occlusion; or gradients, whose sign alternates along every edge.
        package: name, as imported, of an optional package that runs it, or None.

    Raises:
        ValueError: if the family is unknown.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LinearReadout
        >>> brightness = Method("brightness", "trivial", lambda similarity, pair, target: pair)
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(12))
        >>> image_maps, reference_maps = brightness.maps(similarity, (torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)))
        >>> image_maps
        tensor([[[3., 3.],
                 [3., 3.]]])
    """

    name: str
    family: Family
    call: Callable[[NeuronSimilarity, Pair, Tensor], Pair]
    contributions: bool = False
    package: str | None = None

    def __post_init__(self) -> None:
        if self.family not in get_args(Family):
            raise ValueError(f"family must be one of {', '.join(get_args(Family))}, but got {self.family!r}.")

    def attribute(self, similarity: NeuronSimilarity, inputs: Pair, target: TargetType = None) -> Pair:
        """Compute the attributions, signed and as they come.

        Args:
            similarity: encoder and readout.
            inputs: the pair (images, references), each (image, channel, height, width).
            target: the neuron, as in Captum: one for all pairs or one a pair.

        Returns:
            Attributions of the images and of the references, (image, channel, height, width), of pixels or of a layer.

        Raises:
            ImportError: if the package that runs the method is not installed.
            TypeError: if the method works at the cut and the encoder has none, or ``inputs`` is not a pair.
            ValueError: if the pair is empty, of unequal lengths or not finite, or the method gives something else than
                two attributions with four axes, an entry a pair.
        """
        pair = checked_pair(inputs)
        neurons = select_neurons(len(pair[0]), similarity.readout.n_neurons, target).to(pair[0].device)
        with evaluation_mode(similarity), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks")  # Captum's, on every call
            maps = self.call(similarity, pair, neurons)
        shapes = [tuple(each.shape) for each in maps]
        if len(shapes) != 2 or any(len(shape) != 4 or shape[0] != len(neurons) for shape in shapes):
            raise ValueError(
                f"Expected two attributions of shape ({len(neurons)}, channel, height, width) from the method "
                f"{self.name!r}, but got {shapes}. Let it give one channel where it has none."
            )
        first, second = (each.detach().to(images.dtype) for each, images in zip(maps, pair, strict=True))
        return first, second

    def maps(
        self, similarity: NeuronSimilarity, inputs: Pair, target: TargetType = None
    ) -> tuple[Float[Tensor, "image height width"], Float[Tensor, "image reference_height reference_width"]]:
        """Compute heatmaps, all by one reduction: :func:`~captum_shared.attr.heatmap`.

        Gradients of pixels are taken in magnitude, summed over channels and smoothed; contributions of pixels are
        summed and smoothed, and of that the positive part is taken. Of a layer it is the sum over channels, brought to
        the size of the image, and of that the positive part; so it is of maps that have not the channels of the image.

        Args:
            similarity: encoder and readout.
            inputs: the pair (images, references), as in :meth:`attribute`.
            target: the neuron, as in Captum.

        Returns:
            Non-negative maps of the images and of the references, of the size of each, not normalised.

        Raises:
            ImportError: as :meth:`attribute`, which also raises what else can be wrong.
        """
        attributions = self.attribute(similarity, inputs, target)
        first, second = (self.heatmap(each, images) for each, images in zip(attributions, inputs, strict=True))
        return first, second

    def heatmap(
        self, attribution: Float[Tensor, "image _ _ _"], images: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image height width"]:
        """Reduce an attribution of this method to a heatmap, as :meth:`maps` does.

        Args:
            attribution: of :meth:`attribute`.
            images: what it is of.

        Returns:
            A heatmap an image.
        """
        size = (images.shape[2], images.shape[3])
        if attribution.shape[1] != images.shape[1]:  # no pixels: nothing that alternates, nothing to be smoothed
            return heatmap(attribution, size, sign="positive", smoothing=0.0)
        return heatmap(attribution, size, sign="positive" if self.contributions else "absolute_value")


def _explanations(prefix: str, of: Callable[..., Call], names: Sequence[str]) -> list[tuple[str, Call]]:
    return [(f"{prefix}-{name}", of(EXPLANATIONS[name])) for name in names]


_CENTRED: Final = Features(centred=True)
_FAMILIES: Final[list[tuple[Family, list[tuple[str, Call]]]]] = [
    ("ours", list(OURS.items())),
    ("neuron", _explanations("neuron", of_the_neuron, list(EXPLANATIONS))),
    (
        "similarity",
        [
            *_explanations("similarity", of_the_similarity, list(EXPLANATIONS)),
            *_explanations("cosine", of_the_cosine, ["saliency", "integrated-gradients", "grad-cam"]),
            ("cosine-pytorch-grad-cam", embedding_similarity_cam),
            ("grad-cam-product", product_of_grad_cams),
        ],
    ),
    (
        "second-order",
        [
            ("bilrp", Features().shared_by(bilrp)),
            ("bilrp-centred", _CENTRED.shared_by(bilrp)),
            ("integrated-jacobians", integrated_jacobians),
        ],
    ),
    ("trivial", [("random", random), ("centre-gaussian", centre_gaussian), ("edge-energy", edge_energy)]),
]
_PACKAGES: Final = {
    "bilrp": "zennit",
    "bilrp-centred": "zennit",
    "cosine-pytorch-grad-cam": "pytorch_grad_cam",
}

_CONTRIBUTIONS: Final = re.compile("-ig|integrated|input-x-gradient|deeplift|gradient-shap|occlusion|bilrp")

METHODS: Final[dict[str, Method]] = {
    name: Method(name, family, call, bool(_CONTRIBUTIONS.search(name)), _PACKAGES.get(name))
    for family, calls in _FAMILIES
    for name, call in calls
}
"""All methods by name. ``neuron-...`` are of the response to one image, ``similarity-...`` of the neuron-specific
similarity (centred where the readout is), ``cosine-...`` of the plain cosine of the features, without a neuron;
``grad-cam-product`` is Grad-CAM of the neuron times Grad-CAM of the plain cosine."""


def methods(names: Sequence[str | Method] | None = None) -> list[Method]:
    """Look methods up by name, before any of them runs.

    Args:
        names: names in :data:`METHODS`, and methods of one's own among them; None for all that can run here.

    Returns:
        The methods, in the order given.

    Raises:
        ImportError: if a method's package is not installed.
        ValueError: if a name is unknown (close matches are listed) or given twice.

    Example:
        >>> [method.family for method in methods(["ours-paper", "neuron-grad-cam"])]
        ['ours', 'neuron']
    """
    if names is None:
        return [method for method in METHODS.values() if _can_run(method)]
    found = [name if isinstance(name, Method) else _named(name) for name in names]
    repeated = sorted({method.name for method in found if [each.name for each in found].count(method.name) > 1})
    if repeated:
        raise ValueError(f"Expected each method once, but got more than once: {', '.join(repeated)}.")
    missing = [f"{method.name} (by {method.package})" for method in found if not _can_run(method)]
    if missing:
        raise ImportError(
            f"These methods are run by packages that are not installed: {', '.join(missing)}. Install them with: "
            "pip install 'captum-shared[peers]'."
        )
    return found


def _named(name: str) -> Method:
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, n=5, cutoff=0.4)
        hint = f"Did you mean {', '.join(close)}?" if close else f"There are: {', '.join(METHODS)}."
        raise ValueError(f"There is no method {name!r}. {hint}")
    return METHODS[name]


def _can_run(method: Method) -> bool:
    return method.package is None or importlib.util.find_spec(method.package) is not None
