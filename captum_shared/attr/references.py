"""Search for the reference: the most similar image of the preferred category among the neuron's own drivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from captum_shared._progress import Progress
from captum_shared.attr._captum import TargetType
from captum_shared.attr.blocks import FeatureBlocks
from captum_shared.attr.cosines import wide
from captum_shared.attr.drivers import Drivers
from captum_shared.attr.ranking import Ranking, References
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.inputs import check_is_tensor, inputs_told
from captum_shared.neurons.arrays import LazyArray


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
        self._keep(self._features_of(images, 1, progress=progress), responses, driver_fraction)

    @classmethod
    def from_features(
        cls,
        similarity: NeuronSimilarity,
        features: Float[Tensor, "reference feature"] | LazyArray,
        *,
        responses: Tensor | ndarray | None = None,
        driver_fraction: float = 0.25,
    ) -> ReferenceBank:
        """Build a bank of images whose features are known already, so that no network has to run.

        Args:
            similarity: encoder and readout.
            features: what the encoder makes of the images of the preferred category, not centred, (reference,
                feature): a tensor, or an array that is read as it is sliced (a NumPy array or memory map, a zarr
                array, an HDF5 dataset), of which only a block is in memory at any time.
            responses: as in the constructor.
            driver_fraction: as in the constructor.

        Returns:
            The bank that the constructor builds from the images.

        Raises:
            TypeError: if the features are not floating-point numbers.
            ValueError: as the constructor, or if the features do not fit the readout or are not finite, which of an
                array is told when it is read.

        Example:
            >>> from torch import nn
            >>> from captum_shared import LinearReadout
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]]))
            >>> features = torch.tensor([[0.0, 2.0], [2.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
            >>> bank = ReferenceBank.from_features(similarity, features, driver_fraction=0.5)
            >>> bank.search_features(torch.tensor([[1.0, 0.0]]), target=0)
            Match(indices=tensor([[2]]), similarities=tensor([[1.]]))
        """
        bank = cls.__new__(cls)
        bank.similarity = similarity
        bank._keep(
            similarity.checked(features) if isinstance(features, Tensor) else features, responses, driver_fraction
        )
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

        The search is exact: every driver is compared, and similarities are ranked as in float64.

        Args:
            images: the images to explain.
            target: the neuron, as in Captum, or its name: one for all images or one an image; None if there is but one.
            top_k: how many references to return for each image.

        Returns:
            Indices into the bank and similarities, best first; ties in the order of the drivers.

        Raises:
            ValueError: if ``top_k`` is not between 1 and the number of drivers, or there are no images.
        """
        self._check_search(images, top_k)
        neurons = self.similarity.neurons(len(images), target)[:, None]
        match = self._match(self._features_of(images, 0, progress=False), neurons, top_k)
        return Match(match.indices[:, 0], match.similarities[:, 0])

    def search_all(
        self, images: Float[Tensor, "image ..."], neurons: list[int] | list[str] | None = None, top_k: int = 1
    ) -> Match:
        """Find each image's references for each of many neurons, as :meth:`search` finds them for one.

        Features are computed once for all neurons, and compared with a block of references after the other, as products
        of matrices: in memory are a block and what it is compared to (about 150 MB), besides what is
        returned, the features of the images and the responses.

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
        self._check_search(images, top_k)
        chosen = self.similarity.neurons(len(several), several).expand(len(images), -1)
        return self._match(self._features_of(images, 0, progress=False), chosen, top_k)

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
        self._check_search(features, top_k)
        neurons = self.similarity.neurons(len(features), target)[:, None]
        match = self._match(self.similarity.checked(features), neurons, top_k)
        return Match(match.indices[:, 0], match.similarities[:, 0])

    @torch.no_grad()
    def _keep(self, features: Tensor | LazyArray, responses: Tensor | ndarray | None, driver_fraction: float) -> None:
        readout = self.similarity.readout
        self._features = FeatureBlocks(features, readout.n_features, readout.weight.device)
        _check_drivers(len(self._features), driver_fraction)
        self._n_drivers = max(1, round(driver_fraction * len(self._features)))
        self.responses: Float[Tensor, "reference neuron"] = self._known(responses)

    def _known(self, responses: Tensor | ndarray | None) -> Float[Tensor, "reference neuron"]:
        """Recorded responses, and predicted ones in place of those that are missing."""
        readout, shape = self.similarity.readout, (len(self._features), self.similarity.readout.n_neurons)
        dtype = torch.promote_types(self._features.dtype, readout.weight.dtype)
        if responses is None:
            known = torch.full(shape, torch.nan, dtype=dtype, device=self._features.device)
        else:
            known = torch.as_tensor(responses).to(self._features.device, dtype, copy=True)
            _check_responses(known, shape)
        if responses is None or bool(known.isnan().any()):
            for first, block in self._features:
                own = known[first : first + len(block)]
                own.copy_(torch.where(own.isnan(), readout(block), own))
        return known

    def _check_search(self, inputs: object, top_k: int) -> None:
        """Raise unless there are inputs to find references for, and drivers enough."""
        check_is_tensor(inputs)
        if isinstance(inputs, Tensor) and len(inputs) == 0:
            raise ValueError("Expected at least one image to find a reference for, but the batch is empty.")
        if not 1 <= top_k <= self._n_drivers:
            raise ValueError(
                f"top_k must be between 1 and the number of drivers ({self._n_drivers}), but is {top_k}. For more, "
                "raise driver_fraction or add images to the bank."
            )

    @torch.no_grad()
    def _features_of(self, images: Tensor, side: int, *, progress: bool) -> Tensor:
        check_is_tensor(images)
        batches = Progress(
            torch.split(images, self._batch_size), desc="features of the references", unit="batch", disable=not progress
        )
        with self.similarity.own() as own, inputs_told(own.encoders[side], images):
            return torch.cat([own.checked(own.encoders[side](batch)) for batch in batches])

    @torch.no_grad()
    def _match(self, features: Tensor, neurons: Int[Tensor, "image neuron"], top_k: int) -> Match:
        """The best references of each image for each of its neurons, in one pass over the bank."""
        device = self._features.device
        searched, positions = torch.unique(neurons.to(device), return_inverse=True)
        order = positions.flatten().argsort(stable=True)  # images of one neuron are compared together
        images = self.similarity.centered(wide(features.to(device)))
        weight = self.similarity.readout.weight.to(device)[searched]
        ranking = Ranking(weight, images, positions.flatten()[order], order // neurons.shape[1], top_k)
        mean, every = self.similarity.readout.feature_mean.to(images), self._n_drivers == len(self.responses)
        drivers = None if every else Drivers(self.responses, searched, self._n_drivers)
        for first, block in self._features:
            indices = torch.arange(first, first + len(block), device=device)
            drives = None if drivers is None else drivers.among(indices)
            ranking.add(References(indices, block, mean, self.responses[indices][:, searched], drives))
            del block  # before the next is read
        rows, shape = order.argsort(), (*neurons.shape, top_k)
        return Match(ranking.indices[rows].reshape(shape), ranking.similarities[rows].reshape(shape).to(features.dtype))


def _check_drivers(n_images: int, driver_fraction: float) -> None:
    if n_images == 0:
        raise ValueError("Expected at least one image of the preferred category, but the bank is empty.")
    if not 0 < driver_fraction <= 1:
        raise ValueError(f"driver_fraction must be above 0 and at most 1, but is {driver_fraction}.")


def _check_responses(responses: Tensor, shape: tuple[int, int]) -> None:
    if responses.shape != shape:
        raise ValueError(
            f"responses must have the shape (reference, neuron) = {shape}, one row an image of the "
            f"bank and one column a neuron of the readout, but has {tuple(responses.shape)}."
        )
    if bool(torch.isinf(responses).any()):
        raise ValueError("responses must be finite, or NaN where none was recorded, but some are infinite.")
