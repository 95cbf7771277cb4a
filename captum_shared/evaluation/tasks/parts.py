"""The task ``parts``: four drawn parts an image, one a quadrant."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_shared._resuming import digest
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.embedded import embedded_network
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.windows import local_scatter
from captum_shared.evaluation.tasks.design import (
    Task,
    Trial,
    factorial_design,
    one_shared_design,
    shared_drivers_design,
)
from captum_shared.neurons.encoding import fit_readout
from captum_shared.neurons.readout import LinearReadout
from captum_shared.synthetic.neurons import SyntheticNeuron, record
from captum_shared.synthetic.sketches import assemble
from captum_shared.synthetic.stimuli import CATEGORIES, PARTS, Placement, compose, draw_stimuli

_SIZE = 112
_MARGIN = 0.02
_N_FIGURES = 150
_LAYER = "features"


def parts_task(
    features: LatentFeatures | None = None,
    *,
    n_neurons: int = 48,
    n_fitted: int = 400,
    n_shared: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> Task:
    """Neurons of three driving parts in the embedded world, with readouts estimated from their simulated responses.

    The readouts are fitted, centred, on drawn figures of both categories and spikes of two phases of 8 repetitions. The
    parts of a pair come in the sizes and poses in which figures have them, shrunk where they would not fit into a
    quadrant; a drawing in which one shows too little is made again. None of the images used for fitting is in a pair.

    Args:
        features: encoder of RGB images of 112 x 112 pixels in [0, 1]; None for the embedded network.
        n_neurons: how many neurons; with 0 there are none, but one part that both images of a pair share and six that
            they do not, and the readout is that of plain embedding similarity.
        n_fitted: figures of each category that the readouts are fitted on.
        n_shared: how many driving parts the two images share: 1, the factorial design, or 2 or 3, of which the first
            regions of a trial are those, and the others parts that do not drive and are in one image only.
        seed: of figures, neurons, spikes and pairs.
        progress: whether to show progress bars.

    Returns:
        The task.

    Raises:
        ValueError: if there is no neuron, or ``n_shared`` is not 1 to 3.

    Example:
        >>> task = parts_task(n_neurons=2, n_fitted=8)
        >>> task.trial(5).regions.sum((2, 3)).min() > 0
        tensor(True)
    """
    if n_neurons < 0:
        raise ValueError(f"Expected neurons or none, got n_neurons={n_neurons}.")
    if n_shared not in (1, 2, 3):
        raise ValueError(f"A neuron has three driving parts, of which 1 to 3 can be shared; got n_shared={n_shared}.")
    neurons = [_neuron(index, seed) for index in range(n_neurons)]
    own: dict[str, Any] = {} if n_shared == 1 else {"n_shared": n_shared}
    if features is None:
        features = LatentFeatures(embedded_network(), _LAYER)
    else:
        own["weights"] = digest(value.cpu().numpy().tobytes() for value in features.state_dict().values())
    figures = [
        figure for name in CATEGORIES for figure in draw_stimuli(name, n_fitted, seed=seed + 977, progress=progress)
    ]
    with torch.no_grad(), local_scatter(features) as scatter:
        batches = torch.split(torch.stack([each.image for each in figures]), 64)
        latent = torch.cat([features(batch) for batch in batches])
    readout = LinearReadout.uniform(latent.shape[1], latent.mean(0), scatter.mean)
    if neurons:
        responses = record(neurons, figures, seed=seed).mean(0)
        readout = fit_readout(latent, responses, center=True, neuron_names=[neuron.name for neuron in neurons])
        readout = readout.with_examples(latent, scatter.mean)
    poses = _poses(seed)
    return Task(
        name="parts",
        similarity=NeuronSimilarity(features, readout),
        trial=lambda index: _trial(index, neurons, poses, n_shared=n_shared, seed=seed),
        settings={"n_neurons": n_neurons, "n_fitted": n_fitted, "seed": seed, "layer": features.layer, **own},
    )


def _neuron(index: int, seed: int) -> SyntheticNeuron:
    rng = np.random.default_rng([seed, 4, index])
    drivers = rng.permutation(sorted(PARTS))[:3].tolist()
    tuning = {part: float(rng.uniform(8, 16)) for part in drivers}
    return SyntheticNeuron(f"neuron {index}", tuning, baseline=float(rng.uniform(2, 6)))


def _poses(seed: int) -> dict[str, list[Placement]]:
    """Size, rotation and mirroring of every part in drawn figures."""
    poses: dict[str, list[Placement]] = {part: [] for part in PARTS}
    for index in range(_N_FIGURES):
        for category in CATEGORIES:
            for placement in assemble(category, np.random.default_rng([seed, 5, index])):
                poses[placement.part].append(placement)
    return poses


def _trial(
    index: int, neurons: list[SyntheticNeuron], poses: dict[str, list[Placement]], *, n_shared: int, seed: int
) -> Trial:
    rng = np.random.default_rng([seed, 6, index])
    neuron = index % max(1, len(neurons))
    drivers = sorted(neurons[neuron].tuning) if neurons else []
    others = rng.permutation([part for part in sorted(PARTS) if part not in drivers]).tolist()
    if not neurons:
        contents = one_shared_design(others, others, rng)
    elif n_shared == 1:
        contents = factorial_design(drivers, others[:1], others[1:], rng)
    else:
        contents = shared_drivers_design(drivers, others, n_shared, rng)
    drawn = [_drawn(parts, poses, rng) for parts in contents]
    return Trial(
        images=torch.stack([image for image, _ in drawn]),
        regions=torch.stack([regions for _, regions in drawn[:2]]),
        contents=contents,
        neuron=neuron,
    )


def _drawn(
    parts: tuple[str, ...], poses: dict[str, list[Placement]], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """An image of parts in random quadrants, and the region of each."""
    while True:
        quadrants = rng.permutation(4).tolist()
        posed = [poses[part][int(rng.integers(len(poses[part])))] for part in parts]
        placed = [_put(pose, quadrant, rng) for pose, quadrant in zip(posed, quadrants, strict=True)]
        image, masks = compose(placed, rng, size=_SIZE)
        if set(masks) == set(parts):
            return image, torch.stack([masks[part] for part in parts])


def _put(pose: Placement, quadrant: int, rng: np.random.Generator) -> Placement:
    """The pose somewhere in a quadrant, shrunk where it is too large for it."""
    room = 0.5 - 2 * _MARGIN
    at_origin = Placement(pose.part, 0.0, 0.0, pose.scale, pose.rotation, pose.mirrored)
    outline = at_origin.to_pixels(PARTS[pose.part].outline, size=1)
    low, high = outline.min(0), outline.max(0)
    shrink = min(1.0, room / float((high - low).max()))
    corner = np.array([quadrant % 2, quadrant // 2]) / 2 + _MARGIN
    x, y = corner + rng.uniform(0, 1, 2) * (room - shrink * (high - low)) - shrink * low
    return Placement(pose.part, float(x), float(y), pose.scale * shrink, pose.rotation, pose.mirrored)
