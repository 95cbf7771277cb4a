"""Synthetic neurons that prefer a category of photographs, and what they see in others, by every method."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy import ndarray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from captum_shared._progress import Progress
from captum_shared.attr.pairs import Pair
from captum_shared.attr.references import ReferenceBank
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import load_inputs
from captum_shared.encoders.store import FeatureStore, latent_and_scatter
from captum_shared.evaluation.tasks.simulation import fitting_half, preferred_categories, simulated_responses
from captum_shared.images import image_folder, to_display
from captum_shared.methods.method import Family, Method
from captum_shared.methods.registry import methods_by_name
from captum_shared.neurons.encoding import fit_readout
from captum_shared.neurons.readout import LinearReadout

DEFAULT_METHODS: Final = (
    "recommended",
    "paper",
    "ours-ig",
    "similarity-grad-cam",
    "neuron-grad-cam",
    "neuron-saliency",
)
"""Shared-feature maps, and what a user of Captum would pick for two images, and for one."""

_N_EXAMPLES = 2


@dataclass(frozen=True)
class Photograph:
    """A photograph and what a neuron makes of it.

    Attributes:
        path: where it lies in the folder.
        category: the subfolder.
        response: what the readout predicts, spikes/s.
        picture: what the network sees of it, as RGB between 0 and 1.
    """

    path: str
    category: str
    response: float
    picture: Float[Tensor, "3 height width"]


@dataclass(frozen=True)
class MethodMaps:
    """The maps of a method, in its own unit and not negative.

    Attributes:
        method: its name.
        family: what it looks at.
        image: map of the image.
        reference: map of the reference.
    """

    method: str
    family: Family
    image: Float[Tensor, "height width"]
    reference: Float[Tensor, "height width"]


@dataclass(frozen=True)
class CategoryNeuron:
    """A neuron that prefers a category, and what drives it most outside of it.

    All photographs and numbers are of the half of the photographs to which no neuron was fitted.

    Attributes:
        category: what it prefers.
        selectivity: probability that a photograph of the category has a higher predicted response than one of another
            (AUROC; 0.5 is chance).
        mean_preferred: mean predicted response to the category, spikes/s.
        mean_other: mean predicted response to all others, spikes/s.
        similarity: neuron-specific similarity of image and reference, between -1 and 1.
        image: of all photographs outside the category, the one with the highest predicted response.
        reference: the most similar one of the category's drivers.
        examples: the category's strongest drivers but for the reference.
        maps: of every method.
    """

    category: str
    selectivity: float
    mean_preferred: float
    mean_other: float
    similarity: float
    image: Photograph
    reference: Photograph
    examples: tuple[Photograph, ...]
    maps: tuple[MethodMaps, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything ready for JSON, pictures left out, and of each map its largest value.

        Returns:
            Numbers, text, lists and dictionaries by the names of the attributes.

        Example:
            >>> wolf = Photograph("wild/wolf.jpg", "wild", 21.5, torch.zeros(3, 2, 2))
            >>> husky = Photograph("dog/husky.jpg", "dog", 30.0, torch.zeros(3, 2, 2))
            >>> saliency = MethodMaps("neuron-saliency", "neuron", torch.zeros(2, 2), torch.ones(2, 2))
            >>> entry = CategoryNeuron("dog", 0.9, 28.0, 4.0, 0.5, wolf, husky, (), (saliency,)).as_dict()
            >>> entry["image"], entry["maps"]
            ({'path': 'wild/wolf.jpg', 'category': 'wild', 'response': 21.5},
             [{'method': 'neuron-saliency', 'family': 'neuron', 'image': 0.0, 'reference': 1.0}])
        """
        entry = asdict(self)
        for photograph in (entry["image"], entry["reference"], *entry["examples"]):
            del photograph["picture"]
        for maps in entry["maps"]:
            maps.update({side: maps[side].max().item() for side in ("image", "reference")})
        return {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}


def category_neurons(
    features: LatentFeatures,
    directory: str | os.PathLike[str],
    *,
    names: Sequence[str | Method] = DEFAULT_METHODS,
    seed: int = 0,
    store: FeatureStore | None = None,
    progress: bool = False,
) -> list[CategoryNeuron]:
    r"""Simulate neurons that prefer one category each, and explain what drives them most outside of it.

    Half of the photographs of every category (:func:`~captum_shared.evaluation.tasks.simulation.fitting_half`) are for
    fitting and never shown. To these a neuron for each of the
    :func:`~captum_shared.evaluation.tasks.simulation.preferred_categories` responds at random
    (:func:`~captum_shared.evaluation.tasks.simulation.simulated_responses`), and its centred readout is fitted. While
    the paper fits to the preferred category alone, photographs of **all** categories take part here: such a neuron
    responds to all of its own alike, so that only the others tell what it prefers.

    Of the other half, the image to explain is the photograph outside the category with the highest predicted response.
    Its reference is found in the category by :class:`~captum_shared.ReferenceBank`, among the quarter with
    the highest predicted responses, by the centred similarity.

    Args:
        features: encoder with its ``preprocess``, on any device.
        directory: folder with a subfolder of photographs for each category.
        names: methods by name, and methods of one's own.
        seed: of the halves and the spikes, not negative.
        store: of the features of all photographs; None to compute them.
        progress: whether to show progress bars.

    Returns:
        One neuron a category, the largest category first.

    Raises:
        FileNotFoundError: if there is no such folder.
        ImportError: if a method's package is not installed.
        ValueError: if ``preprocess`` is missing, a method unknown, or there are fewer than two categories.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> features = LatentFeatures.from_torchvision("squeezenet1_1", weights=None, layer="features.3")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for category, colour in (("fire", (255, 80, 0)), ("water", (0, 80, 255))):
        ...         Path(folder, category).mkdir()
        ...         for number in range(10):
        ...             Image.new("RGB", (8, 8), colour).save(f"{folder}/{category}/{number}.png")
        ...     neurons = category_neurons(features, folder, names=["paper"])
        >>> [(neuron.category, neuron.image.category, neuron.selectivity) for neuron in neurons]
        [('fire', 'water', 1.0), ('water', 'fire', 1.0)]

    The check in the appendix of Lappe et al. (NeurIPS 2024, arXiv 2405.09827).
    """
    chosen = methods_by_name(names)
    paths, labels = image_folder(directory)
    categories = preferred_categories(labels)
    fitting = fitting_half(labels, seed=seed)
    latent, scatter = latent_and_scatter(features, paths, store, progress=progress)
    responses = simulated_responses(np.asarray(labels)[fitting].tolist(), categories, seed=seed)
    fitted = latent[torch.from_numpy(fitting)]
    readout = fit_readout(fitted, responses, center=True, neuron_names=categories)
    readout = readout.with_examples(fitted, scatter)
    rest = np.flatnonzero(~fitting)
    half = _Half(
        [paths[row] for row in rest],
        np.asarray(labels)[rest],
        latent[torch.from_numpy(rest)],
        NeuronSimilarity(features, readout),
    )
    neurons = Progress(range(len(categories)), desc="neurons", unit="neuron", disable=not progress)
    return [_explained(half, neuron, chosen, directory) for neuron in neurons]


@dataclass(frozen=True)
class _Half:
    """The photographs to which no neuron was fitted."""

    paths: list[Path]
    labels: ndarray
    latent: Tensor
    similarity: NeuronSimilarity

    @property
    def readout(self) -> LinearReadout:
        return self.similarity.readout

    def predicted(self, neuron: int) -> Float64[ndarray, " photograph"]:
        predicted: ndarray = self.readout(self.latent)[:, neuron].double().cpu().numpy()
        return predicted

    def preferred(self, neuron: int) -> Bool[ndarray, " photograph"]:
        return np.asarray(self.labels == self.readout.neuron_names[neuron])

    def choose(self, neuron: int) -> tuple[list[int], float]:
        """Return the rows of the image, its reference and the examples, and the similarity of the first two."""
        preferred = self.preferred(neuron)
        ranked = np.argsort(-self.predicted(neuron), kind="stable")
        image = int(ranked[~preferred[ranked]][0])
        inside = ranked[preferred[ranked]]
        bank = ReferenceBank.from_features(self.similarity, self.latent[torch.from_numpy(inside)])
        match = bank.search_features(self.latent[image : image + 1], target=neuron)
        reference = int(match.indices)
        examples = np.delete(inside, reference)[:_N_EXAMPLES]
        return [image, *inside[[reference]].tolist(), *examples.tolist()], float(match.similarities)


def _explained(
    half: _Half,
    neuron: int,
    chosen: Sequence[Method],
    directory: str | os.PathLike[str],
) -> CategoryNeuron:
    shown, similarity = half.choose(neuron)
    features: Any = half.similarity.image_features
    images = load_inputs(features, [half.paths[row] for row in shown])
    predicted, preferred = half.predicted(neuron), half.preferred(neuron)
    image, reference, *examples = (
        Photograph(
            half.paths[row].relative_to(directory).as_posix(), str(half.labels[row]), float(predicted[row]), picture
        )
        for row, picture in zip(shown, to_display(images, features.preprocess).cpu(), strict=True)
    )
    return CategoryNeuron(
        category=half.readout.neuron_names[neuron],
        selectivity=float(roc_auc_score(preferred, predicted)),
        mean_preferred=float(predicted[preferred].mean()),
        mean_other=float(predicted[~preferred].mean()),
        similarity=similarity,
        image=image,
        reference=reference,
        examples=tuple(examples),
        maps=tuple(_maps(method, half.similarity, (images[:1], images[1:2]), neuron) for method in chosen),
    )


def _maps(method: Method, similarity: NeuronSimilarity, pair: Pair, neuron: int) -> MethodMaps:
    image, reference = (maps[0].cpu() for maps in method.maps(similarity, pair, neuron))
    return MethodMaps(method.name, method.family, image, reference)
