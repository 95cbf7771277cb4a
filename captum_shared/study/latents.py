"""The latent features of a study: from a store, which it makes for itself unless there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int
from numpy import ndarray
from torch import Tensor

from captum_shared._engine import Engine
from captum_shared._resuming import ResumableFolder
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.store import FeatureStore
from captum_shared.encoders.writing import write_features


@final
@dataclass(frozen=True)
class Latents:
    """The latent features of all images of a study, at one or several layers.

    Attributes:
        store: where they are.
        rows: of the images in it.
    """

    store: FeatureStore
    rows: Int[ndarray, " image"]

    @classmethod
    def of(
        cls,
        features: LatentFeatures | LayerFeatures,
        paths: Sequence[Path],
        store: FeatureStore | None = None,
        *,
        folder: ResumableFolder,
        engine: Engine | None = None,
        progress: bool = False,
    ) -> Latents:
        """Look up features in a store, or compute them all in one pass.

        Args:
            features: the encoder, or several layers of a network.
            paths: the image files.
            store: that has them; None to compute them.
            folder: of the study, where what is computed is kept until it is finished.
            engine: what computes them; None: this process.
            progress: whether to show a progress bar.

        Returns:
            The features.

        Raises:
            ValueError: if the store is of another encoder, or does not have all images.
        """
        if store is not None:
            return cls(store, store.check(features, paths, progress=progress))
        computed = write_features(
            folder.inner("features"), features, paths, engine=engine, resume=True, progress=progress
        )
        return cls(computed, np.arange(len(paths)))

    def at(self, layer: str, chosen: Bool[ndarray, " image"] | None = None) -> Float32[Tensor, "row feature"]:
        """Read the features of a layer.

        Args:
            layer: its name.
            chosen: of which images; None: all.

        Returns:
            One row for each of them.
        """
        rows = self.rows if chosen is None else self.rows[chosen]
        return torch.from_numpy(self.store.features(layer).at(rows)[:].astype(np.float32, copy=False))

    def scatter(self, layer: str) -> Float64[ndarray, "feature feature"] | None:
        """Tell how places scatter within images (:mod:`~captum_shared.encoders.windows`).

        Args:
            layer: its name.

        Returns:
            S, of all images of the store; None if the layer has no positions.
        """
        return self.store.scatter(layer)
