"""Features in a store: extracted once, read by everything that asks for those of the same images and encoder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from numpy import ndarray
from torch import Tensor

from captum_shared._files import digest_of
from captum_shared._progress import Progress
from captum_shared._reading import opened
from captum_shared.encoders.chunks import ChunkedArray, check_chunk, chunk_name
from captum_shared.encoders.cutting import check_layer
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.origin import differences
from captum_shared.encoders.photographs import latent_features
from captum_shared.encoders.windows import local_scatter

STORE: Final = "store.json"
FEATURES: Final = "features"
SCATTER: Final = "scatter"
_TOLERANCE: Final = 1e-3  # of the preprocessing, as features are taken for those of the encoder
_EXTRACT: Final = "Extract them to another folder (captum-shared features), or name the store that has them."
_CHANGED: Final = "whose content has changed since"
_SKIPPED: Final = "that could not be read then"
_MISSING: Final = "that it does not have"
_FEW: Final = 3


@final
class FeatureStore:
    """Latent features of photographs at one or several layers, in a folder, with what tells whose they are.

    The features of each layer are an array of zarr below ``features/``, how places scatter within the images
    (:mod:`~captum_shared.encoders.windows`) one below ``scatter/``; ``store.json`` says what they are of.

    Args:
        path: the folder; :meth:`open` checks it.
        content: of ``store.json``.

    Attributes:
        path: the folder.
        layers: names of the layers.
        origin: of every layer what :func:`~captum_shared.encoders.origin_of` tells of the encoder.
        images: the image files, in the order of the rows, relative to the folder that all lie in.
        digests: SHA-256 of each.
        skipped: images that could not be read, and why.
        dtype: of the features.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from captum_shared.encoders import encoder_by_name, write_features
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (112, 112), (0, 51, 255)).save(f"{folder}/blue.png")
        ...     store = write_features(
        ...         f"{folder}/store", encoder_by_name("embedded"), [f"{folder}/blue.png"], progress=False
        ...     )
        ...     FeatureStore.open(f"{folder}/store").features("features")[0].shape, store.images
        ((128,), ('blue.png',))
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.origin: dict[str, dict[str, Any]] = dict(content["origin"])
        self.layers: tuple[str, ...] = tuple(self.origin)
        self.skipped: dict[str, str] = dict(content["skipped"])
        self.dtype = np.dtype(content["settings"]["dtype"])
        self._arrays: dict[str, dict[str, Any]] = content["arrays"]
        self._chunk: int = content["settings"]["block"]
        names = content["images"]
        self._kept = np.array([row for row, name in enumerate(names) if name not in self.skipped], dtype=np.int64)
        self.images: tuple[str, ...] = tuple(names[row] for row in self._kept)
        self.digests: tuple[str, ...] = tuple(content["digests"][row] for row in self._kept)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> FeatureStore:
        """Open a store; features are read when they are asked for.

        Args:
            path: the folder.

        Returns:
            The store.

        Raises:
            FileNotFoundError: if there is no finished store.
            ValueError: if it is damaged.
        """
        file = Path(path) / STORE
        if not file.is_file():
            raise FileNotFoundError(
                f"Expected a store of features in {path}, got no {STORE} there: write one by captum-shared features, "
                "or finish it with --resume."
            )
        with opened(file, "store of features"):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content.pop("digest") != content_digest(content):
                raise ValueError(f"Expected {file} as it was written, got other content.")
            return cls(Path(path), content)

    def features(self, layer: str | None = None) -> ChunkedArray:
        """Return the features of a layer, which are read as they are sliced.

        Args:
            layer: its name; None for the only one.

        Returns:
            One row an image, in the order of ``images``; ``.at(rows)`` are some of them, ``[:]`` reads all.

        Raises:
            ValueError: if the store does not have the layer.
        """
        known = self._array(layer)
        folder = self.path / FEATURES / known["folder"]
        return ChunkedArray(folder, known["chunks"], self._chunk, self.dtype, self._kept, known["n_features"])

    def scatter(self, layer: str | None = None) -> Float64[ndarray, "feature feature"] | None:
        """Return how places scatter within the images: S, of all images of the store.

        Args:
            layer: its name; None for the only one.

        Returns:
            S; None if the layer has no positions.

        Raises:
            ValueError: if the store does not have the layer, or S is damaged.
        """
        known = self._array(layer)
        if known["scatter"] is None:
            return None
        file = self.path / SCATTER / known["folder"] / chunk_name(0)
        check_chunk(file, known["scatter"])
        numbers: ndarray = np.fromfile(file, np.float64)
        return numbers.reshape(2 * (round(len(numbers) ** 0.5),))

    def rows(self, paths: Sequence[str | os.PathLike[str]], *, progress: bool = False) -> Int[ndarray, " image"]:
        """Tell which rows are those of some images, by their content.

        Args:
            paths: image files, wherever they lie.
            progress: whether to show a progress bar.

        Returns:
            The index of the row of each.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if an image has changed since, or is not in the store.
        """
        row = {digest: index for index, digest in reversed([*enumerate(self.digests)])}
        bar = Progress(paths, desc="images checked", unit="image", disable=not progress)
        found = [row.get(self._digest(path), -1) for path in bar]
        strangers = [path for path, index in zip(paths, found, strict=True) if index < 0]
        if strangers:
            raise ValueError(self._told(strangers))
        return np.array(found, dtype=np.int64)

    def check(
        self,
        features: LatentFeatures | LayerFeatures,
        paths: Sequence[str | os.PathLike[str]],
        *,
        progress: bool = False,
    ) -> Int[ndarray, " image"]:
        """Refuse what is not of this encoder and these images.

        Args:
            features: the encoder, or several layers of a network.
            paths: image files.
            progress: whether to show a progress bar.

        Returns:
            The index of the row of each image.

        Raises:
            FileNotFoundError: if an image file is missing.
            ValueError: if network, weights, layer, pooling or preprocessing are others, or an image is; what, is named.
        """
        for layer, origin in origins(features).items():
            told = (
                differences(self.origin[layer], origin, tolerance=_TOLERANCE)
                if layer in self.origin
                else [f"one of the layers {', '.join(self.layers)}, but got {layer}"]
            )
            if told:
                raise ValueError(
                    f"{self.path} holds features of another encoder: expected {'; '.join(told)}. {_EXTRACT}"
                )
        return self.rows(paths, progress=progress)

    def _array(self, layer: str | None) -> dict[str, Any]:
        if layer is None and len(self.layers) > 1:
            raise ValueError(f"Expected the name of a layer, as the store has several: {', '.join(self.layers)}.")
        layer = layer or self.layers[0]
        check_layer(layer, list(self.layers), "the store")
        return self._arrays[layer]

    def _digest(self, path: str | os.PathLike[str]) -> str:
        if not Path(path).is_file():
            raise FileNotFoundError(f"Expected an image file, got no file at {path}: check the path.")
        return digest_of(os.fspath(path))

    def _told(self, strangers: Sequence[str | os.PathLike[str]]) -> str:
        """What is wrong with images that the store does not have."""
        told: dict[str, list[str]] = {}
        endings = {tuple(reversed(Path(name).parts)): name for name in (*self.images, *self.skipped)}
        for path in strangers:
            name = next((endings[end] for end in _endings(path) if end in endings), None)
            label = _MISSING if name is None else _SKIPPED if name in self.skipped else _CHANGED
            told.setdefault(label, []).append(str(path))
        parts = "; ".join(f"{len(names)} {label} ({_listed(names)})" for label, names in told.items())
        return f"{self.path} does not hold the features of all images: {parts}. {_EXTRACT}"


def latent_and_scatter(
    features: LatentFeatures,
    paths: Sequence[str | os.PathLike[str]],
    store: FeatureStore | None = None,
    *,
    progress: bool = False,
) -> tuple[Float[Tensor, "image feature"], Float[Tensor, "feature feature"] | None]:
    """Look up the latent features of photographs in a store, or compute them.

    Args:
        features: the encoder, with its ``preprocess`` set.
        paths: image files, at least one.
        store: that has them; None to compute them.
        progress: whether to show a progress bar.

    Returns:
        The features, and S, how places scatter within the images, of a store within all of its images; None if the
        layer has no positions. Both are on the encoder's device.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the store is of another encoder or does not have all images, or an image cannot be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from captum_shared.encoders import encoder_by_name
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (112, 112), (0, 51, 255)).save(f"{folder}/blue.png")
        ...     latent, scatter = latent_and_scatter(encoder_by_name("embedded"), [f"{folder}/blue.png"])
        >>> latent.shape, scatter.shape
        (torch.Size([1, 128]), torch.Size([128, 128]))
    """
    if store is None:
        with local_scatter(features) as gathered:
            latent = latent_features(features, paths, progress=progress)
        return latent, gathered.mean
    like = next((each for each in features.parameters() if each.is_floating_point()), torch.empty(0))
    rows = store.check(features, paths, progress=progress)
    latent, scatter = (
        torch.from_numpy(store.features(features.layer).at(rows)[:]).to(like),
        store.scatter(features.layer),
    )
    return latent, None if scatter is None else torch.from_numpy(scatter).to(like.device)


def origins(features: LatentFeatures | LayerFeatures) -> dict[str, dict[str, Any]]:
    """Describe an encoder at each of its layers.

    Args:
        features: the encoder, or several layers of a network.

    Returns:
        What :func:`~captum_shared.encoders.origin_of` tells, by layer.
    """
    if isinstance(features, LatentFeatures):
        return {features.layer: features.origin}
    return {layer: features.at(layer).origin for layer in features.layers}


def content_digest(content: Mapping[str, Any]) -> str:
    """Sum up what ``store.json`` says.

    Args:
        content: without the digest.

    Returns:
        SHA-256, in hexadecimal.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _endings(path: str | os.PathLike[str]) -> list[tuple[str, ...]]:
    """The last parts of a path, last first; the longest of them first."""
    parts = tuple(reversed(Path(path).parts))
    return [parts[:length] for length in range(len(parts), 0, -1)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")
