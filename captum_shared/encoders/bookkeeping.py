"""Blocks of a store: which are done and whole, and what is written of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from captum_shared._files import digest_of, file_names, sweep
from captum_shared._progress import Progress
from captum_shared._record import ASIDE, put_aside
from captum_shared._resuming import ResumableFolder
from captum_shared.encoders.chunks import (
    ARRAY,
    GROUP,
    chunk_name,
    chunks_of,
    describe_array,
    describe_group,
    holds,
    write_chunk,
)
from captum_shared.encoders.extraction import BLOCK, ImageBlock
from captum_shared.encoders.store import FEATURES, SCATTER, STORE, content_digest

Dtype: TypeAlias = Literal["float32", "float16"]


@final
class StoreWriter:
    """Writes blocks to a store in order, so that what is gathered over all of them comes out the same after a halt.

    Of every block a part of the work is kept, which says what its chunks are; the sums over all blocks so far are
    another, which is replaced.

    Args:
        folder: of the store.
        layers: names of the layers.
        files: the images.
        dtype: of the features on disk.
    """

    def __init__(
        self, folder: ResumableFolder, layers: tuple[str, ...], files: Sequence[Path], *, dtype: Dtype
    ) -> None:
        self._folder, self._layers, self._files, self._dtype = folder, layers, files, np.dtype(dtype)
        self._folders = dict(zip(layers, file_names(layers, kept="-._"), strict=True))
        self._blocks = list(chunks_of(len(files), BLOCK))
        self._told: dict[int, dict[str, Any]] = {}  # of every block that is done
        self._sums: dict[str, ndarray] = {}  # of the scatter, by layer
        self._n_places: dict[str, int] = {}
        self._gathered = 0  # blocks in the sums
        self._scatter: dict[str, str | None] = {}  # digests, where S is written already
        self._finished: dict[str, Any] = {}
        for kind in (FEATURES, SCATTER):
            for inside in (folder.path / kind, *(self._of(kind, layer) for layer in layers)):
                sweep(inside)
        self._take_over()

    def todo(self, *, progress: bool = False) -> list[tuple[int, tuple[str, ...]]]:
        """Tell what is left to compute.

        Args:
            progress: whether to show a progress bar.

        Returns:
            Number and image files of every block that is not done, or not whole.

        Raises:
            ValueError: if an image has changed since its block was done.
        """
        done = [number for number in range(len(self._blocks)) if number < self._gathered and number in self._told]
        bar = Progress(done, desc="images checked", unit="block", disable=not progress or not done)
        whole = {number for number in bar if self._whole(number)}
        return [
            (number, tuple(str(self._files[row]) for row in rows))
            for number, rows in enumerate(self._blocks)
            if number not in whole
        ]

    def keep(self, number: int, block: ImageBlock) -> None:
        """Write a block, the earlier ones of which are written.

        Args:
            number: its index.
            block: what was computed of it.

        Raises:
            ValueError: if a feature is too large for the dtype.
        """
        rows = self._blocks[number]
        padded = {layer: self._padded(values, block, rows, layer) for layer, values in block.features.items()}
        self._folder.drop(_part(number))
        told = {
            "digests": list(block.digests),
            "skipped": {str(index): reason for index, reason in block.skipped.items()},
            "n_features": {layer: values.shape[1] for layer, values in padded.items()},
            "chunks": {
                layer: write_chunk(self._of(FEATURES, layer), number, values) for layer, values in padded.items()
            },
        }
        if number == self._gathered:
            self._gather(block)
        self._told[number] = told
        self._folder.once(_part(number), lambda: {"told": np.array(json.dumps(told))})
        self._folder.drop(_sums(self._gathered - 1))

    def finish(self, described: Mapping[str, Any]) -> None:
        """Write what the store is of.

        Args:
            described: what is known of it besides the blocks, ready for JSON.

        Raises:
            ValueError: if no image could be read.
        """
        n_features = {layer: n for told in self._told.values() for layer, n in told["n_features"].items()}
        if not n_features:
            raise ValueError("Expected at least one image that can be read, got none.")
        arrays = {layer: self._described(layer, n_features[layer]) for layer in self._layers}
        for folder in ("", f"{FEATURES}/", f"{SCATTER}/"):
            self._folder.add(folder + GROUP, lambda path: path.write_text(describe_group(), encoding="utf-8"))
        told = [self._told[number] for number in range(len(self._blocks))]
        content = {
            **described,
            "digests": [digest for each in told for digest in each["digests"]],
            "skipped": {
                described["images"][rows[int(index)]]: reason
                for rows, each in zip(self._blocks, told, strict=True)
                for index, reason in each["skipped"].items()
            },
            "arrays": arrays,
        }
        content = {**content, "digest": content_digest(content)}
        if self._finished and content != self._finished:
            raise ValueError(
                f"Expected the same features as {self._folder.path} was written with, got others: extract to "
                "another folder."
            )
        self._folder.finish(lambda path: path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))

    def _described(self, layer: str, n_features: int) -> dict[str, Any]:
        """Write what zarr needs to know of the arrays of a layer, and how places scatter."""
        shape, name = (len(self._files), n_features), self._folders[layer]
        arrays = {FEATURES: describe_array(shape, BLOCK, self._dtype)}
        scatter = self._scatter.get(layer)
        if layer in self._sums:
            mean = self._sums[layer] / self._n_places[layer]
            scatter = write_chunk(self._of(SCATTER, layer), 0, mean)
            arrays[SCATTER] = describe_array((len(mean), len(mean)), len(mean), mean.dtype)
        for kind, text in arrays.items():
            self._folder.add(f"{kind}/{name}/{ARRAY}", _text(text))
        return {
            "folder": name,
            "n_features": n_features,
            "scatter": scatter,
            "chunks": [self._told[number]["chunks"].get(layer, "") for number in range(len(self._blocks))],
        }

    def _take_over(self) -> None:
        """What an earlier run has done."""
        if self._folder.finished:
            self._take_over_finished()
            return
        for name in reversed(self._folder.parts(_sums())):
            kept = self._folder.kept(name)
            if kept is not None:
                self._gathered = int(name.split("-")[1])
                self._n_places = json.loads(kept.pop("n_places").item())
                self._sums = {layer: kept[str(index)] for index, layer in enumerate(self._n_places)}
                break
        for number in range(self._gathered):
            kept = self._folder.kept(_part(number))
            if kept is not None:
                self._told[number] = json.loads(kept["told"].item())

    def _take_over_finished(self) -> None:
        """Of a finished store, all that is whole; how places scatter can only be gathered over all images."""
        content = self._finished = json.loads((self._folder.path / STORE).read_text(encoding="utf-8"))
        self._scatter = {layer: known["scatter"] for layer, known in content["arrays"].items()}
        files = {self._of(SCATTER, layer) / chunk_name(0): total for layer, total in self._scatter.items() if total}
        if not self._intact(files):
            self._scatter = {}
            return
        self._gathered = len(self._blocks)
        for number, rows in enumerate(self._blocks):
            skipped = {str(index): content["skipped"].get(content["images"][row]) for index, row in enumerate(rows)}
            known = {layer: array for layer, array in content["arrays"].items() if array["chunks"][number]}
            self._told[number] = {
                "digests": [content["digests"][row] for row in rows],
                "skipped": {index: reason for index, reason in skipped.items() if reason is not None},
                "n_features": {layer: array["n_features"] for layer, array in known.items()},
                "chunks": {layer: array["chunks"][number] for layer, array in known.items()},
            }

    def _whole(self, number: int) -> bool:
        """Whether a block is as it was written, and of the images that are there now."""
        told, rows = self._told[number], self._blocks[number]
        for row, digest in zip(rows, told["digests"], strict=True):
            if digest and digest_of(self._files[row]) != digest:
                raise ValueError(
                    f"Expected the images that {self._folder.path} was begun with, but {self._files[row]} has changed "
                    "since: extract to another folder, or put the image back."
                )
        chunks = {self._of(FEATURES, layer) / chunk_name(number): total for layer, total in told["chunks"].items()}
        return self._intact(chunks)

    def _intact(self, digests: Mapping[Path, str]) -> bool:
        """Whether chunks are as they were written; those that are not, are put aside."""
        damaged = [file for file, total in digests.items() if not holds(file, total)]
        for file in damaged:
            put_aside(file, self._folder.path / ASIDE)
        return not damaged

    def _gather(self, block: ImageBlock) -> None:
        for layer, added in block.scatter.items():
            self._sums[layer] = self._sums[layer] + added if layer in self._sums else added
            self._n_places[layer] = self._n_places.get(layer, 0) + block.n_places[layer]
        self._gathered += 1
        numbers = {str(index): self._sums[layer] for index, layer in enumerate(self._n_places)}
        n_places = np.array(json.dumps(self._n_places))
        self._folder.once(_sums(self._gathered), lambda: {**numbers, "n_places": n_places})

    def _padded(
        self, values: Float[ndarray, "image feature"], block: ImageBlock, rows: range, layer: str
    ) -> Float[ndarray, "row feature"]:
        """A whole chunk, with rows that are not numbers for images that there are not."""
        kept = [index for index in range(len(rows)) if index not in block.skipped]
        with np.errstate(over="ignore"):
            narrow = values.astype(self._dtype)
        lost = np.flatnonzero((np.isinf(narrow) & np.isfinite(values)).any(axis=1))
        if len(lost):
            raise ValueError(
                f"Expected features that {self._dtype} can hold (up to {np.finfo(self._dtype).max:g}), got "
                f"{np.abs(values[lost[0]]).max():g} at {layer} for {self._files[rows[kept[lost[0]]]]}: store them as "
                "float32 (--dtype float32)."
            )
        padded = np.full((BLOCK, values.shape[1]), np.nan, self._dtype)
        padded[kept] = narrow
        return padded

    def _of(self, kind: str, layer: str) -> Path:
        return self._folder.path / kind / self._folders[layer]


def _text(text: str) -> Any:
    return lambda path: path.write_text(text, encoding="utf-8")


def _part(number: int) -> str:
    return f"block-{number:08d}"


def _sums(number: int | None = None) -> str:
    return "sums-" if number is None else f"sums-{number:08d}"
