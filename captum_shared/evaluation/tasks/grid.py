"""The task ``grid``: four photographs an image, one a cell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from captum_shared._resuming import digest
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import load_inputs, takes
from captum_shared.encoders.store import FeatureStore, latent_and_scatter
from captum_shared.evaluation.tasks.ceiling import CEILING
from captum_shared.evaluation.tasks.design import Task, Trial, factorial_design, one_shared_design
from captum_shared.evaluation.tasks.labels import label_ceiling
from captum_shared.images import image_folder
from captum_shared.neurons.encoding import fit_readout
from captum_shared.neurons.readout import LinearReadout
from captum_shared.neurons.validation import select_layer

Half: TypeAlias = Literal["development", "report", "all"]

CATCH_ALL = "other"
"""A folder of this name, in small letters or capitals, holds no one category and is left out."""

_FEWEST_PHOTOGRAPHS = 12
_BASELINE, _GAINS = 4.0, (8.0, 16.0)  # spikes/s
_EXPOSURE = 16 * 0.2  # repetitions and seconds


def grid_task(
    images: str | Path,
    encoders: LatentFeatures | Sequence[LatentFeatures],
    *,
    half: Half = "report",
    n_neurons: int = 12,
    seed: int = 0,
    store: FeatureStore | None = None,
    progress: bool = False,
) -> Task:
    """Neurons that answer to three categories of photographs, with readouts fitted on photographs that are in no pair.

    The categories with at least 12 photographs are cut in two halves by name: methods are tuned with drivers of one
    half and reported with drivers of the other, and what is neither comes from the half that is not in use. Every
    second photograph of each category is for fitting: on all of these the readouts are fitted, centred, to Poisson
    counts of 16 repetitions of 0.2 s at 4 spikes/s, and 8 to 16 more for each of the neuron's categories. Of several
    encoders, such as a network cut at several layers, the one that predicts these responses best is taken, by
    cross-validation (:func:`~captum_shared.select_layer`). A grid is twice as high and as wide as a photograph; for a
    network that takes one size only, it is brought to that size.

    Args:
        images: folder of labelled photographs: a folder a category.
        encoders: one encoder, or several cut at different layers; with their ``preprocess`` set.
        half: whose categories drive neurons: ``"development"``, ``"report"``, or ``"all"`` but two.
        n_neurons: how many neurons; with 0 there are none, but one category that both images of a pair share (of the
            half) and six that they do not, and the readout is that of plain embedding similarity, of one encoder.
        seed: of neurons, responses and pairs.
        store: of the features of the photographs; None to compute them. How places scatter is then told by all images
            of the store, those for fitting and others, and the settings name it.
        progress: whether to show progress bars.

    Returns:
        The task.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there are too few categories or no neuron, ``half`` is unknown, two encoders are cut at the same
            layer, or an encoder has no ``preprocess``.
    """
    cut = _by_layer(encoders)
    if n_neurons < 0 or (n_neurons == 0 and len(cut) > 1):
        raise ValueError(f"Expected neurons, or none and one encoder, got n_neurons={n_neurons}, {len(cut)} encoders.")
    files = _files(images)
    used, strangers = _halves(sorted(files), half)
    fitted = {name: paths[::2] for name, paths in files.items()}
    drivers = _drivers(used, n_neurons, seed)
    labels = [name for name, paths in fitted.items() for _ in paths]
    seen = [path for paths in fitted.values() for path in paths]
    known = {layer: latent_and_scatter(each, seen, store, progress=progress) for layer, each in cut.items()}
    readout, means = _readout(known, labels, drivers, seed)
    features = cut[max(means, key=means.__getitem__)]
    size = _size(features, seen[0])
    shown = {name: load_inputs(features, paths[1::2]).cpu() for name, paths in files.items()}
    return Task(
        name="grid",
        similarity=NeuronSimilarity(features, readout),
        trial=lambda index: _resized(_trial(index, drivers, shown, (used, strangers), seed), size),
        settings={
            "half": half,
            "categories": used,
            "neither": strangers,
            "n_neurons": n_neurons,
            "seed": seed,
            "photographs": digest(path.read_bytes() for paths in files.values() for path in paths),
            "weights": digest(value.cpu().numpy().tobytes() for value in features.state_dict().values()),
            "layer": features.layer,
            "layers": {layer: round(mean, 3) for layer, mean in means.items()},
            "pool": features.pool,
            "size": list(size),
            **({} if store is None else {"features": f"{store.dtype}, {len(store.images)} images"}),
        },
        ceilings=(CEILING, label_ceiling(seen, labels, drivers)) if drivers else (CEILING,),
    )


def _files(images: str | Path) -> dict[str, list[Path]]:
    """Files of every category that is large enough."""
    paths, categories = image_folder(images)
    files: dict[str, list[Path]] = {name: [] for name in categories if name.lower() not in ("", CATCH_ALL)}
    for path, name in zip(paths, categories, strict=True):
        if name in files:
            files[name].append(path)
    return {name: paths for name, paths in files.items() if len(paths) >= _FEWEST_PHOTOGRAPHS}


def _halves(categories: Sequence[str], half: str) -> tuple[list[str], list[str]]:
    """Categories of drivers and shared regions, and those of what is neither."""
    if half not in get_args(Half):
        raise ValueError(f"half must be one of {', '.join(get_args(Half))}, but got {half!r}.")
    middle = len(categories) // 2
    first, second = list(categories[:middle]), list(categories[middle:])
    used, strangers = (first, second) if half == "development" else (second, first)
    if half == "all":
        used, strangers = list(categories[:-2]), list(categories[-2:])
    if len(used) < 4 or len(strangers) < 2:
        raise ValueError(
            f"Expected 8 or more categories (6 with half 'all'), each a folder of {_FEWEST_PHOTOGRAPHS} or more "
            f"photographs, got {len(categories)}: {', '.join(categories) or 'none'}. Add some."
        )
    return used, strangers


def _drivers(categories: Sequence[str], n_neurons: int, seed: int) -> list[dict[str, float]]:
    """Gains of every neuron for three categories; all threes occur before one occurs again."""
    rng = np.random.default_rng([seed, 1])
    threes = list(combinations(categories, 3))
    rounds = [rng.permutation(len(threes)) for _ in range(-(-n_neurons // len(threes)))]
    order = np.concatenate([np.zeros(0, dtype=int), *rounds])[:n_neurons]
    return [{name: float(rng.uniform(*_GAINS)) for name in threes[three]} for three in order]


def _by_layer(encoders: LatentFeatures | Sequence[LatentFeatures]) -> dict[str, LatentFeatures]:
    several = [encoders] if isinstance(encoders, LatentFeatures) else list(encoders)
    layers = [each.layer for each in several]
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"Expected encoders that are cut at different layers, got {', '.join(layers) or 'none'}.")
    return dict(zip(layers, several, strict=True))


def _readout(
    known: Mapping[str, tuple[Tensor, Tensor | None]],
    labels: Sequence[str],
    drivers: Sequence[Mapping[str, float]],
    seed: int,
) -> tuple[LinearReadout, Mapping[str, float]]:
    """The neurons, fitted at the layer that predicts them best, and how well each layer does; or no neuron at all."""
    if not drivers:
        ((layer, (features, scatter)),) = known.items()
        return LinearReadout.uniform(features.shape[1], features.mean(0).cpu(), scatter), {layer: 0.0}
    rates = np.array([[_BASELINE + neuron.get(label, 0.0) for neuron in drivers] for label in labels])
    responses = np.random.default_rng([seed, 2]).poisson(rates * _EXPOSURE) / _EXPOSURE
    choice = select_layer({layer: latent for layer, (latent, _) in known.items()}, responses)
    latent, scatter = known[choice.layer]
    readout = fit_readout(latent, responses, center=True, neuron_names=_names(drivers))
    return readout.with_examples(latent, scatter), choice.means


def _size(features: LatentFeatures, photograph: Path) -> tuple[int, int]:
    """Height and width of a grid: twice those of a photograph, or the same where the network takes no other."""
    images = load_inputs(features, [photograph])
    grid = images.tile(1, 1, 2, 2)
    height, width = (grid if takes(features, grid) else images).shape[2:]
    return height, width


def _resized(trial: Trial, size: tuple[int, int]) -> Trial:
    if trial.images.shape[2:] == size:
        return trial
    images = functional.interpolate(trial.images, size, mode="bilinear", antialias=True)
    regions = functional.interpolate(trial.regions.float(), size, mode="nearest-exact").bool()
    return replace(trial, images=images, regions=regions)


def _names(drivers: Sequence[Mapping[str, float]]) -> list[str]:
    return [f"{' + '.join(neuron)} ({number})" for number, neuron in enumerate(drivers)]


def _trial(
    index: int,
    drivers: Sequence[Mapping[str, float]],
    shown: Mapping[str, Tensor],
    categories: tuple[Sequence[str], Sequence[str]],
    seed: int,
) -> Trial:
    rng = np.random.default_rng([seed, 3, index])
    neuron = index % max(1, len(drivers))
    if drivers:
        driving = sorted(drivers[neuron])
        shared = [name for name in categories[0] if name not in driving]
        contents = factorial_design(driving, shared, categories[1], rng)
    else:
        contents = one_shared_design(categories[0], [*categories[0], *categories[1]], rng)
    left = {name: rng.permutation(len(photographs)).tolist() for name, photographs in shown.items()}
    cells = [[shown[name][left[name].pop()] for name in names] for names in contents[:2]]
    cells.append([shown[contents[2][0]][left[contents[2][0]].pop()], *cells[1][1:]])
    orders = [rng.permutation(4).tolist() for _ in cells[:2]]
    laid = [_laid(photographs, order) for photographs, order in zip(cells, [*orders, orders[1]], strict=True)]
    return Trial(
        images=torch.stack([grid for grid, _ in laid]),
        regions=torch.stack([regions for _, regions in laid[:2]]),
        contents=contents,
        neuron=neuron,
    )


def _laid(photographs: Sequence[Tensor], order: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A grid of four photographs, each in the cell that ``order`` gives it, and the region of each."""
    channels, height, width = photographs[0].shape
    grid = photographs[0].new_zeros(channels, 2 * height, 2 * width)
    regions = torch.zeros(4, 2 * height, 2 * width, dtype=torch.bool)
    for kind, (photograph, cell) in enumerate(zip(photographs, order, strict=True)):
        row, column = divmod(cell, 2)
        rows, columns = slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)
        grid[:, rows, columns] = photograph
        regions[kind, rows, columns] = True
    return grid, regions
