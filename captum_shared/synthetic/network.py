"""The training of the embedded network, which names the parts in a synthetic image.

``python -m captum_shared.synthetic.network --output FILE`` trains it again.
"""

import argparse
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from captum_shared._files import write_atomically
from captum_shared._progress import Progress
from captum_shared.encoders.embedded import embedded_network
from captum_shared.synthetic.stimuli import CATEGORIES, PARTS, Stimulus, draw_stimuli

_HELD_OUT = 1_000_000
_BATCH = 64


def average_precisions(network: nn.Module, stimuli: Sequence[Stimulus]) -> dict[str, float]:
    """Judge how well a network names the parts.

    Args:
        network: Maps images to one logit per name in ``PARTS``; its mode is left alone.
        stimuli: At least one.

    Returns:
        Average precision in [0, 1] for every part that at least one stimulus shows.

    Raises:
        ValueError: If there are no stimuli.

    Example:
        >>> stimuli = draw_stimuli("creature", 20, seed=1) + draw_stimuli("artefact", 20, seed=1)
        >>> min(average_precisions(embedded_network(), stimuli).values()) > 0.5
        True
    """
    if not stimuli:
        raise ValueError("Expected at least one stimulus, got none. Draw some with draw_stimuli.")
    with torch.no_grad():
        batches = torch.split(torch.stack([stimulus.image for stimulus in stimuli]), _BATCH)
        logits = torch.cat([network(batch) for batch in batches]).numpy()
    present = _labels(stimuli).bool().numpy()
    shown = np.flatnonzero(present.any(axis=0))
    names = list(PARTS)
    return {names[part]: float(average_precision_score(present[:, part], logits[:, part])) for part in shown}


def train(
    network: nn.Module | None = None,
    *,
    seed: int = 0,
    images: int = 8000,
    epochs: int = 12,
    learning_rate: float = 5e-3,
    progress: bool = True,
) -> nn.Module:
    """Train a network to name the parts present: binary cross-entropy, one term per part.

    Deterministic for a seed on one machine; elsewhere weights agree up to rounding that training amplifies.

    Args:
        network: From RGB images of 112 x 112 pixels in [0, 1] to one logit for every part, trained in place; None for
            the embedded network with initial weights of the seed.
        seed: Of the images, the initial weights and the order of the images.
        images: How many to draw, at least 2; half of them, rounded down, of each category.
        epochs: Passes over them, at least 1, each with fresh mirroring, colour and contrast.
        learning_rate: The highest of the schedule.
        progress: Whether to show progress bars.

    Returns:
        The trained network in evaluation mode.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> train(images=4, epochs=1, progress=False).training
        False
    """
    if images < 2 or epochs < 1:
        raise ValueError(f"Expected at least 2 images and 1 epoch, got {images} and {epochs}. Ask for more.")
    stimuli = [s for c in CATEGORIES for s in draw_stimuli(c, images // 2, seed=seed, progress=progress)]
    labels = _labels(stimuli)
    pixels = torch.stack([(255 * stimulus.image).round().to(torch.uint8) for stimulus in stimuli])
    del stimuli
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = embedded_network(weights=None) if network is None else network
        network = network.train().to(memory_format=torch.channels_last)  # faster
        steps = epochs * -(-len(pixels) // _BATCH)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=learning_rate, total_steps=steps + 1)
        batches = Progress(
            _batches(pixels, labels, epochs=epochs), total=steps, desc="training", unit="batch", disable=not progress
        )
        for batch, present in batches:
            loss = nn.functional.binary_cross_entropy_with_logits(network(batch), present)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            batches.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return network.eval().to(memory_format=torch.contiguous_format)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge on held-out images and write the weights: the command of this module.

    Nothing is written before the end, and then under another name that is moved into place.

    Args:
        arguments: Of the command line, without the program's name; None reads them from there.

    Example:
        >>> main(["--help"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    parser = argparse.ArgumentParser(prog="python -m captum_shared.synthetic.network", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--seed", type=int, default=0, help="of images, initial weights and order")
    parser.add_argument("--images", type=int, default=8000, help="training images to draw")
    parser.add_argument("--epochs", type=int, default=12, help="passes over them")
    parser.add_argument("--held-out", type=int, default=2000, help="fresh images to judge on")
    chosen = parser.parse_args(arguments)
    if not chosen.output.parent.is_dir():
        parser.error(f"--output: {str(chosen.output.parent)!r} is no folder; create it first")
    if chosen.held_out < 2:
        parser.error(f"--held-out: expected at least 2, got {chosen.held_out}; 1000 or more judge well")
    network = train(seed=chosen.seed, images=chosen.images, epochs=chosen.epochs)
    fresh = [s for c in CATEGORIES for s in draw_stimuli(c, chosen.held_out // 2, seed=_HELD_OUT + chosen.seed)]
    precisions = average_precisions(network, fresh)
    for part, precision in precisions.items():
        Progress.write(f"{part:>8} {precision:.3f}")
    Progress.write(f"{'mean':>8} {np.mean(list(precisions.values())):.4f}")
    with write_atomically(chosen.output) as temporary:
        temporary.write_bytes(save(network.state_dict(), _metadata(chosen, precisions)))


def _labels(stimuli: Sequence[Stimulus]) -> Float[Tensor, "image part"]:
    """1 where a part is visible, 0 elsewhere."""
    return torch.tensor([[float(part in stimulus.masks) for part in PARTS] for stimulus in stimuli])


def _batches(
    pixels: UInt8[Tensor, "image 3 height width"], labels: Float[Tensor, "image part"], *, epochs: int
) -> Iterator[tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch part"]]]:
    """Shuffled batches, each mirrored or not, with channels exchanged and contrast changed at random."""
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(pixels)), _BATCH):
            batch = pixels[chosen][:, torch.randperm(3)].float() / 255
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            contrast = torch.empty(len(batch), 1, 1, 1).uniform_(0.7, 1.3)
            yield ((batch - 0.5) * contrast + 0.5).clamp(0, 1), labels[chosen]


def _metadata(chosen: argparse.Namespace, precisions: dict[str, float]) -> dict[str, str]:
    packages = ("captum-shared", "torch", "numpy", "pillow")
    return {
        "seed": str(chosen.seed),
        "images": str(chosen.images),
        "epochs": str(chosen.epochs),
        "held_out_images": str(chosen.held_out),
        "mean_average_precision": f"{np.mean(list(precisions.values())):.4f}",
        "average_precision": ",".join(f"{precision:.4f}" for precision in precisions.values()),
        "parts": ",".join(PARTS),
        "versions": ",".join(f"{name}={importlib.metadata.version(name)}" for name in packages),
    }


if __name__ == "__main__":
    main()
