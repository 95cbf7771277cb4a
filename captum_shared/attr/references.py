"""Search for the reference: the most similar image of the preferred category among the neuron's own drivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from captum_shared.attr._captum import TargetType
from captum_shared.attr.cosines import pairwise_similarity, wide
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.inputs import check_is_tensor, inputs_told

_AT_ONCE: Final = 2**24
"""Numbers in memory at once, of features or of similarities: 128 MiB in float64."""


@dataclass(frozen=True)
class Match:
    """The references of each image, best first; of ``search_all``, those of each image and neuron.

    Attributes:
        indices: of the references in the bank, (image, top_k) or (image, neuron, top_k).
        similarities: neuron-specific similarity of each image and reference, likewise, between -1 and 1.

    Example:
        >>> Match(indices=torch.tensor([[4, 2]]), similarities=torch.tensor([[0.9, 0.5]])).indices[:, 0]
        tensor([4])
    """

    indices: Int[Tensor, "image *neuron top_k"]
    similarities: Float[Tensor, "image *neuron top_k"]


@final
class ReferenceBank:
    """Images of the preferred category to find references in, with their features computed once.

    Only a neuron's drivers are searched: the images to which it responds most. Responses are the recorded ones, or
    those that the readout predicts where none was recorded.

    Args:
        similarity: encoder and readout.
        images: images of the preferred category, (reference, channel, height, width).
        responses: recorded responses, (reference, neuron), NaN where none was recorded; None to use predictions.
        driver_fraction: the share of images, above 0 and up to 1, that count as drivers of a neuron (a choice: the
            paper speaks of the top drivers). At least one image does. With 1 all images are searched, as for plain
            retrieval with ``LinearReadout.uniform``.
        batch_size: how many images run through the encoder at once; it does not change the result.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if there are no images, or the responses or the fraction do not fit.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0, 0.0]]))
        >>> images = torch.tensor([[9.0, 0.0, 0.0], [4.0, 4.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> bank = ReferenceBank(similarity, images, driver_fraction=0.5)
        >>> bank.search(torch.tensor([[2.0, 3.0, 7.0]]), target=0).indices
        tensor([[1]])
    """

    _batch_size = 64

    def __init__(
        self,
        similarity: NeuronSimilarity,
        images: Tensor,
        *,
        responses: Tensor | ndarray | None = None,
        driver_fraction: float = 0.25,
        batch_size: int = _batch_size,
        progress: bool = False,
    ) -> None:
        _check_drivers(len(images), driver_fraction)
        self._batch_size = batch_size
        self.similarity = similarity
        features = self._features_of(images, 1, progress=progress)
        self._keep(features, responses, driver_fraction)

    @classmethod
    def from_features(
        cls,
        similarity: NeuronSimilarity,
        features: Float[Tensor, "reference feature"],
        *,
        responses: Tensor | ndarray | None = None,
        driver_fraction: float = 0.25,
    ) -> ReferenceBank:
        """Build a bank of images whose features are known already, so that no network has to run.

        Args:
            similarity: encoder and readout.
            features: what the encoder makes of the images of the preferred category, not centred.
            responses: as in the constructor.
            driver_fraction: as in the constructor.

        Returns:
            The bank that the constructor builds from the images.

        Raises:
            ValueError: as the constructor, or if the features do not fit the readout or are not finite.

        Example:
            >>> from torch import nn
            >>> from captum_shared import LinearReadout
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
            >>> features = torch.tensor([[0.0, 2.0], [2.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
            >>> bank = ReferenceBank.from_features(similarity, features, driver_fraction=0.5)
            >>> bank.search_features(torch.tensor([[1.0, 0.0]]), target=0)
            Match(indices=tensor([[2]]), similarities=tensor([[1.]]))
        """
        _check_drivers(len(features), driver_fraction)
        bank = cls.__new__(cls)
        bank.similarity = similarity
        bank._keep(similarity.checked(features), responses, driver_fraction)
        return bank

    def drivers(self, neuron: int) -> Int[Tensor, " driver"]:
        """Return the images that drive a neuron most.

        Args:
            neuron: its index.

        Returns:
            Indices into the bank, strongest response first.
        """
        return self.responses[:, neuron].argsort(descending=True, stable=True)[: self._n_drivers]

    def search(self, images: Float[Tensor, "image ..."], target: TargetType = None, top_k: int = 1) -> Match:
        """Find each image's references: the drivers of its neuron with the highest neuron-specific similarity.

        The search is exact: every driver is compared.

        Args:
            images: the images to explain.
            target: the neuron, as in Captum, or its name: one for all images or one an image; None if there is but one.
            top_k: how many references to return for each image.

        Returns:
            Indices into the bank and similarities, best first; ties in the order of the drivers.

        Raises:
            ValueError: if ``top_k`` is not between 1 and the number of drivers, or there are no images.
        """
        neurons = self._searched(len(images), target, top_k)
        features = self._features_of(images, 0, progress=False)
        return self._best(features, neurons, top_k)

    def search_all(
        self, images: Float[Tensor, "image ..."], neurons: list[int] | list[str] | None = None, top_k: int = 1
    ) -> Match:
        """Find each image's references for each of many neurons, as :meth:`search` finds them for one.

        Features are computed once for all neurons, and compared with blocks of references as products of matrices.

        Args:
            images: the images to explain.
            neurons: indices or names; None for all neurons of the readout.
            top_k: how many references to return for each image and neuron.

        Returns:
            Indices into the bank and similarities, (image, neuron, top_k).

        Raises:
            ValueError: as :meth:`search`, or if there is no neuron.

        Example:
            >>> from torch import nn
            >>> from captum_shared import LinearReadout
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 0.1], [0.1, 1.0]]))
            >>> bank = ReferenceBank(similarity, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), driver_fraction=1.0)
            >>> bank.search_all(torch.tensor([[2.0, 3.0]])).indices
            tensor([[[0],
                     [1]]])
        """
        several = list(range(self.similarity.readout.n_neurons)) if neurons is None else neurons
        if len(several) == 0:
            raise ValueError("Expected at least one neuron to find references for, but got none.")
        chosen = self._searched(len(several), several, top_k)
        check_is_tensor(images)
        _check_some(len(images))
        features = self._features_of(images, 0, progress=False)
        ranked = [self._ranked(features, neuron, top_k) for neuron in chosen.tolist()]
        return Match(*(torch.stack(part, 1) for part in zip(*ranked, strict=True)))

    def search_features(
        self, features: Float[Tensor, "image feature"], target: TargetType = None, top_k: int = 1
    ) -> Match:
        """Find the references of images whose features are known already, so that no network has to run.

        Args:
            features: what the encoder makes of the images to explain, not centred.
            target: as in :meth:`search`.
            top_k: as in :meth:`search`.

        Returns:
            What :meth:`search` returns for the images.

        Raises:
            ValueError: as :meth:`search`, or if the features do not fit the readout or are not finite.
        """
        neurons = self._searched(len(features), target, top_k)
        return self._best(self.similarity.checked(features), neurons, top_k)

    @torch.no_grad()
    def _keep(self, features: Tensor, responses: Tensor | ndarray | None, driver_fraction: float) -> None:
        predicted: Tensor = self.similarity.readout(features)
        if responses is not None:
            recorded = torch.as_tensor(responses).to(predicted)
            _check_responses(recorded, predicted)
            predicted = torch.where(recorded.isnan(), predicted, recorded)
        self._features = features.detach()
        self.responses: Float[Tensor, "reference neuron"] = predicted
        self._n_drivers = max(1, round(driver_fraction * len(features)))

    def _searched(self, n_images: int, target: TargetType, top_k: int) -> Int[Tensor, " image"]:
        """The neuron of each image, after a check that there are images and drivers enough."""
        if not 1 <= top_k <= self._n_drivers:
            raise ValueError(
                f"top_k must be between 1 and the number of drivers ({self._n_drivers}), but is {top_k}. For more, "
                "raise driver_fraction or add images to the bank."
            )
        _check_some(n_images)
        return self.similarity.neurons(n_images, target)

    @torch.no_grad()
    def _features_of(self, images: Tensor, side: int, *, progress: bool) -> Tensor:
        check_is_tensor(images)
        batches = tqdm(torch.split(images, self._batch_size), desc="features of the references", disable=not progress)
        with self.similarity.own() as own, inputs_told(own.encoders[side], images):
            return torch.cat([own.checked(own.encoders[side](batch)) for batch in batches])

    def _best(self, features: Tensor, neurons: Tensor, top_k: int) -> Match:
        indices = torch.empty(len(features), top_k, dtype=torch.long, device=features.device)
        similarities = features.new_empty(len(features), top_k)
        for neuron in torch.unique(neurons).tolist():
            own = neurons == neuron
            indices[own], similarities[own] = self._ranked(features[own], neuron, top_k)
        return Match(indices, similarities)

    @torch.no_grad()
    def _ranked(self, features: Tensor, neuron: int, top_k: int) -> tuple[Tensor, Tensor]:
        """The best drivers of one neuron for each image, among those of one block after the other."""
        neuron_drivers, weight = self.drivers(neuron), self.similarity.readout.weight[neuron].to(features.device)
        images = self.similarity.centered(wide(features))
        indices, similarities = neuron_drivers.new_empty(len(images), 0), images.new_empty(len(images), 0)
        told_apart = torch.promote_types(features.dtype, torch.float32)  # more would part equal images
        for drivers in torch.split(neuron_drivers, max(1, _AT_ONCE // max(images.shape))):
            references = self.similarity.centered(wide(self._features[drivers]))
            similarities = torch.cat([similarities, pairwise_similarity(images, references, weight)], 1)
            indices = torch.cat([indices, drivers.expand(len(images), -1)], 1)
            best = _first_of_the_largest(similarities.to(told_apart), min(top_k, similarities.shape[1]))
            indices, similarities = indices.gather(1, best), similarities.gather(1, best)
        return indices, similarities.to(features.dtype)


def _first_of_the_largest(values: Float[Tensor, "row column"], k: int) -> Int[Tensor, "row k"]:
    """Columns of the k largest values of each row, the largest first, equal ones in their order."""
    smallest = values.topk(k, dim=1).values[:, -1:]
    above, equal = values > smallest, values == smallest
    chosen = above | (equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True)))
    columns = chosen.nonzero()[:, 1].reshape(len(values), k)
    return columns.gather(1, values.gather(1, columns).argsort(stable=True, dim=1, descending=True))


def _check_some(n_images: int) -> None:
    if n_images == 0:
        raise ValueError("Expected at least one image to find a reference for, but the batch is empty.")


def _check_drivers(n_images: int, driver_fraction: float) -> None:
    if n_images == 0:
        raise ValueError("Expected at least one image of the preferred category, but the bank is empty.")
    if not 0 < driver_fraction <= 1:
        raise ValueError(f"driver_fraction must be above 0 and at most 1, but is {driver_fraction}.")


def _check_responses(responses: Tensor, predicted: Tensor) -> None:
    if responses.shape != predicted.shape:
        raise ValueError(
            f"responses must have the shape (reference, neuron) = {tuple(predicted.shape)}, one row an image of the "
            f"bank and one column a neuron of the readout, but has {tuple(responses.shape)}."
        )
    if bool(torch.isinf(responses).any()):
        raise ValueError("responses must be finite, or NaN where none was recorded, but some are infinite.")
