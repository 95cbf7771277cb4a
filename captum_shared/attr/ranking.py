r"""The most similar references of many images for many neurons, by products of matrices, as exact as in float64.

.. math:: s_k(x, r) = \frac{(w_k^2 \circ v(x)) \cdot v(r)}{\lVert w_k \circ v(x) \rVert \; \lVert w_k \circ v(r) \rVert}

For all pairs at once the numerators are one product of matrices and the squared norms of the references another. Both
are computed in single precision, by which no reference is passed over that may be among the best within the error of
rounding, and those that are left are compared in float64.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_shared.attr.cosines import pairwise_similarity, rescaled, weighted, wide

_AT_ONCE: Final = 2**23
"""Similarities in memory at once: 32 MiB in single precision."""

_FAINT: Final = 2.0**-90
"""Squared norms below it are lost in single precision."""

_RESOLUTION: Final = 2.0**46
"""Similarities that differ by less than its inverse, as rounding in float64 may make them, are equal."""

_CHUNK: Final = 64
"""References of which only the largest similarity is looked at first."""

_COPYING: Final = 40
"""Images in the time of whose comparison with a reference its features are copied."""


@final
@dataclass(frozen=True)
class References:
    """Some of the references, in the order of the bank.

    Attributes:
        indices: in the bank.
        features: f(r), as they are stored.
        mean: m of the readout, in :func:`~captum_shared.attr.cosines.wide` precision.
        responses: to the references, of the neurons that are searched.
        drives: which references are drivers of which of these neurons; None where all are.
    """

    indices: Int[Tensor, " reference"]
    features: Float[Tensor, "reference feature"]
    mean: Float[Tensor, " feature"]
    responses: Float[Tensor, "reference neuron"]
    drives: Bool[Tensor, "reference neuron"] | None

    def driving(self) -> "References":
        """Those that are drivers of any of the neurons."""
        if self.drives is None or bool((rows := self.drives.any(1)).all()):
            return self
        return References(self.indices[rows], self.features[rows], self.mean, self.responses[rows], self.drives[rows])

    def centered(self, rows: Tensor | slice) -> Float[Tensor, "row feature"]:
        """Features v(r) of some of the references, in :func:`~captum_shared.attr.cosines.wide` precision."""
        return wide(self.features[rows]) - self.mean

    @cached_property
    def scaled(self) -> Float[Tensor, "reference feature"]:
        """Features v(r) in single precision, those of a reference scaled so that the largest is 1."""
        scaled = torch.empty_like(self.features, dtype=torch.float32)
        for row in range(0, len(scaled), 1024):  # which stay in the cache
            scaled[row : row + 1024] = rescaled(self.centered(slice(row, row + 1024)))
        return scaled

    @cached_property
    def squares(self) -> Float[Tensor, "reference feature"]:
        """Squares of the scaled features."""
        return self.scaled.square()

    @cached_property
    def present(self) -> Float[Tensor, "reference feature"]:
        """1 where v(r) is not zero."""
        return (self.centered(slice(None)) != 0).float()


@final
class Ranking:
    """The best references so far of pairs of a neuron and an image, each pair a row.

    Args:
        weight: of the neurons.
        images: centred features v(x), in :func:`~captum_shared.attr.cosines.wide` precision.
        neuron_of: the neuron of each row, in ascending order.
        image_of: the image of each row.
        top_k: how many references are ranked.

    Attributes:
        indices: of the best references in the bank, best first; ties in the order of the responses, then of the bank.
        similarities: of these references, in the precision of the images.
    """

    def __init__(
        self,
        weight: Float[Tensor, "neuron feature"],
        images: Float[Tensor, "image feature"],
        neuron_of: Int[Tensor, " row"],
        image_of: Int[Tensor, " row"],
        top_k: int,
    ) -> None:
        self._weight, self._images, self._top_k = rescaled(wide(weight)), images, top_k
        self._neuron_of, self._image_of = neuron_of, image_of
        self._error = 2 * (images.shape[1] + 8) * 2.0**-24  # of sums, whatever their order, of norms and of rounding
        self.indices: Int[Tensor, "row top_k"] = neuron_of.new_full((len(neuron_of), top_k), -1)
        self.similarities: Float[Tensor, "row top_k"] = images.new_full((len(neuron_of), top_k), -torch.inf)
        self._responses = self.similarities.clone()

    def add(self, references: References) -> None:
        """Compare with references that come after all others so far in the bank."""
        references = references.driving()
        if len(references.features) == 0:
            return
        n_rows = max(1, _AT_ONCE // max(len(references.features), self._images.shape[1]))
        for rows in torch.split(torch.arange(len(self._neuron_of), device=self._images.device), n_rows):
            self._compare(rows, references)

    def _compare(self, rows: Int[Tensor, " row"], references: References) -> None:
        """Compare the images of some rows with a block, as one product of matrices for all of their neurons."""
        neurons, counts = torch.unique_consecutive(self._neuron_of[rows], return_counts=True)
        inverse, faint = inverse_norms(references, self._weight[neurons])
        drives = None if references.drives is None else references.drives[:, neurons]
        apart = drives is not None and _copying_pays(drives, len(rows))
        lengths = counts.tolist()
        numerators = None if apart else torch.split(product(self._readings(rows), references.scaled), lengths)
        every = torch.arange(len(references.features), device=rows.device)
        for number, own in enumerate(torch.split(rows, lengths)):
            drivers = every if drives is None else drives[:, number].nonzero()[:, 0]
            if len(drivers) == 0:
                continue
            if numerators is None:
                cosines = product(self._readings(own), references.scaled[drivers])
            else:
                cosines = numerators[number] if len(drivers) == len(every) else numerators[number][:, drivers]
            cosines.mul_(inverse[number, drivers])
            lost = None if faint is None else faint[number, drivers]
            self._rank_close(own, references, drivers, cosines, lost)

    def _rank_close(
        self, rows: Tensor, references: References, drivers: Tensor, cosines: Tensor, lost: Tensor | None
    ) -> None:
        """Rank those drivers of one neuron that may be among the best, by cosines in single precision."""
        if lost is not None:
            cosines.masked_fill_(lost, -torch.inf)  # which are not to be what others are measured by
        near, columns = close_columns(cosines, self.similarities[rows, -1], self._top_k, self._error)
        if lost is not None and bool(lost.any()):
            near = torch.arange(len(rows), device=rows.device)
            columns = torch.unique(torch.cat([columns, lost.nonzero()[:, 0]]))
        self._rank(rows[near], references, drivers[columns])

    def _readings(self, rows: Int[Tensor, " row"]) -> Float[Tensor, "row feature"]:
        """What a product with v(r) turns into numerators: w ∘ w ∘ v(x) / |w ∘ v(x)|, in single precision."""
        weight = self._weight[self._neuron_of[rows]]
        return (weight * weighted(weight, self._images[self._image_of[rows]])).float()

    def _rank(self, rows: Int[Tensor, " row"], references: References, columns: Int[Tensor, " column"]) -> None:
        """Compare the images of rows of one neuron with some of its drivers in a block, as the equation has it."""
        if len(rows) == 0:
            return
        neuron = int(self._neuron_of[rows[0]])
        columns = columns[references.responses[columns, neuron].argsort(descending=True, stable=True)]
        images = self._images[self._image_of[rows]]
        for part in torch.split(columns, max(1, _AT_ONCE // 4 // max(len(rows), images.shape[1]))):
            exact = pairwise_similarity(images, references.centered(part), self._weight[neuron])
            exact = (exact * _RESOLUTION).round() / _RESOLUTION
            best = first_of_the_largest(exact, min(self._top_k, len(part)))
            responses = references.responses[part[best], neuron].to(exact.dtype)
            self._merge(rows, references.indices[part][best], exact.gather(1, best), responses)

    def _merge(self, rows: Tensor, indices: Tensor, similarities: Tensor, responses: Tensor) -> None:
        """Rank what was best so far together with references after them, of equal responses in order of the bank."""
        indices, similarities, responses = (
            torch.cat([before[rows], now], 1)
            for before, now in (
                (self.indices, indices),
                (self.similarities, similarities),
                (self._responses, responses),
            )
        )
        order = responses.argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, similarities.gather(1, order).argsort(dim=1, descending=True, stable=True))
        order = order[:, : self._top_k]
        self.indices[rows] = indices.gather(1, order)
        self.similarities[rows] = similarities.gather(1, order)
        self._responses[rows] = responses.gather(1, order)


def inverse_norms(
    references: References, weight: Float[Tensor, "neuron feature"]
) -> tuple[Float[Tensor, "neuron reference"], Bool[Tensor, "neuron reference"] | None]:
    r"""Compute the inverse norms of weighted references, zero for a norm of zero.

    .. math:: 1 / \sqrt{W^2 (R^2)^\top}

    Args:
        references: a block, whose scaled features are R.
        weight: W, of neurons, scaled so that the largest of each is 1.

    Returns:
        The inverse norms, and which norms are not zero but too faint for single precision, None for none of them:
        their inverse is zero as well.
    """
    power = product(weight.square().float(), references.squares)
    lost = power < _FAINT
    if not bool(lost.any()):
        return power.rsqrt(), None
    uses = product((weight != 0).float(), references.present) > 0
    return power.rsqrt().masked_fill(lost, 0), lost & uses


def close_columns(
    cosines: Float[Tensor, "row column"], least: Float[Tensor, " row"], top_k: int, error: float
) -> tuple[Int[Tensor, " near"], Int[Tensor, " close"]]:
    """Find where the largest cosines may be, those that are known within an error.

    Of each few columns the largest cosine is looked at first.

    Args:
        cosines: of which each may be off by the error.
        least: the exact cosine of each row that one has to reach to be of use.
        top_k: how many of the largest of each row are of use.
        error: the largest one.

    Returns:
        Rows that may have a cosine of use, and columns, in ascending order, in which any row may have one.

    Example:
        >>> close_columns(torch.tensor([[0.5, 0.7, 0.69], [0.1, 0.2, 0.3]]), torch.tensor([0.0, 0.6]), 1, 0.02)
        (tensor([0]), tensor([1, 2]))
    """
    n_columns = cosines.shape[1]
    width = max(1, min(_CHUNK, n_columns // (8 * top_k)))
    whole = n_columns - n_columns % width
    largest = torch.unflatten(cosines[:, :whole], 1, (-1, width)).amax(2)
    if whole < n_columns:
        largest = torch.cat([largest, cosines[:, whole:].amax(1, keepdim=True)], 1)
    floor = least - error
    if largest.shape[1] >= top_k:
        floor = torch.maximum(floor, largest.topk(top_k).values[:, -1] - 2 * error)
    rows, chunks = (largest >= floor[:, None]).nonzero().mT[..., None]
    columns = (chunks * width + torch.arange(width, device=cosines.device)).clamp(max=n_columns - 1)
    close = cosines[rows, columns] >= floor[rows]
    return torch.unique(rows[close.any(1)]), torch.unique(columns[close])


def first_of_the_largest(values: Float[Tensor, "row column"], k: int) -> Int[Tensor, "row k"]:
    """Find the k largest values of each row, of equal ones the first.

    Args:
        values: without NaN.
        k: at most as many as there are columns.

    Returns:
        Their columns, the largest first, equal ones in their order.

    Example:
        >>> first_of_the_largest(torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0]]), 3)
        tensor([[1, 3, 2]])
    """
    smallest = values.topk(k, dim=1).values[:, -1:]
    above, equal = values > smallest, values == smallest
    chosen = above | (equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True)))
    columns = chosen.nonzero()[:, 1].reshape(len(values), k)
    return columns.gather(1, values.gather(1, columns).argsort(stable=True, dim=1, descending=True))


def product(
    rows: Float[Tensor, "row feature"], references: Float[Tensor, "column feature"]
) -> Float[Tensor, "row column"]:
    """Multiply matrices in single precision, also where torch was told to be less precise.

    Args:
        rows: one of them.
        references: the other, transposed.

    Returns:
        A row by a reference each.

    Example:
        >>> product(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        tensor([[11.,  1.]])
    """
    with torch.autocast(rows.device.type, enabled=False):
        if torch.get_float32_matmul_precision() == "highest":
            return rows @ references.mT
        return (wide(rows) @ wide(references).mT).float()


def _copying_pays(drives: Bool[Tensor, "reference neuron"], n_rows: int) -> bool:
    """Whether to copy the drivers of each neuron is cheaper than to compare all references."""
    n_images, share = n_rows / drives.shape[1], float(drives.float().mean())
    return share * (1.5 * n_images + _COPYING) < n_images
