"""What ``captum-shared explain`` computes with, prints and writes."""

import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import typer
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from captum_shared._files import digest_of, write_atomically
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.cli.pictures import Shown
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import latent_features
from captum_shared.encoders.store import FeatureStore, latent_and_scatter
from captum_shared.encoders.windows import local_scatter
from captum_shared.figures import Candidate, explanation_panels, pair_figure, shared_totals, told_share
from captum_shared.images import image_folder
from captum_shared.neurons.readout import LinearReadout
from captum_shared.report.page import is_page
from captum_shared.study.evidence import RANKED, PairEvidence, packed_evidence
from captum_shared.study.pair import PairExplanation

_FEWEST: Final = 10
"""Photographs that tell the mean of features, at least."""


def plain_similarity(
    features: LatentFeatures, photographs: list[Path], center: Path | None, store: FeatureStore | None = None
) -> tuple[NeuronSimilarity, Float[Tensor, " reference"]]:
    """Plain embedding similarity, centred by the photographs of a folder or those at hand; and cosines, uncentred.

    The mean of few photographs is about what they share, so that nothing would be left of it. A store has the features
    of those to centre by; how places scatter is then told by its images alone.
    """
    others = [] if center is None else image_folder(center)[0]
    with local_scatter(features) as gathered:
        latent = latent_features(features, photographs)
        known = latent_features(features, others) if others and store is None else latent
    scatter = gathered.mean
    if store is not None:
        known, scatter = latent_and_scatter(features, others, store)
    mean = known.mean(0)
    if len(known) < _FEWEST:
        mean = torch.zeros_like(mean)
        warnings.filterwarnings("ignore", ".* needs features measured from their mean")
        typer.echo(
            f"Features are not centred, as {len(known)} photographs do not tell their mean: give --center FOLDER with "
            f"{_FEWEST} or more of all sorts.",
            err=True,
        )
    readout = LinearReadout.uniform(latent.shape[1], mean, scatter).to(latent)
    return NeuronSimilarity(features, readout), cosine_similarity(latent[:1], latent[1:])


def chosen_neuron(readout: LinearReadout, neuron: str | None) -> int:
    """Return the neuron that is asked for.

    Args:
        readout: the readout.
        neuron: its name or number; None where there is only one.

    Returns:
        Its index.

    Raises:
        ValueError: if there is no such neuron, or there are several to choose from.
    """
    if neuron is not None:
        return readout.neuron_index(int(neuron) if neuron.isdigit() and neuron not in readout.neuron_names else neuron)
    if readout.n_neurons > 1:
        names = ", ".join(readout.neuron_names[:10]) + (", ..." if readout.n_neurons > 10 else "")
        raise ValueError(f"The readout has {readout.n_neurons} neurons ({names}): choose one with --neuron.")
    return 0


def told_neuron(readout: LinearReadout, neuron: int) -> str:
    """Name a neuron with how well it is predicted, and warn of what the readout does not tell or tells against it.

    Args:
        readout: the readout.
        neuron: its index.

    Returns:
        Its name, and its correlation on held-out images if that is recorded.
    """
    name = f"neuron {readout.neuron_names[neuron]}"
    if readout.origin is None:
        typer.echo("The readout does not record its encoder, so that nothing tells whether this one is it.", err=True)
    if readout.heldout_correlation is None or readout.null_interval is None:
        typer.echo("The readout does not record how well its neurons are predicted.", err=True)
        return name
    correlation, (low, high) = float(readout.heldout_correlation[neuron]), readout.null_interval[neuron].tolist()
    if not readout.predicted[neuron]:
        typer.echo(
            f"Warning: {name} is predicted no better than by chance: r = {correlation:.2f} on held-out images, and of "
            f"neurons that nothing predicts 95 % lie between {low:.2f} and {high:.2f}. Its maps tell nothing about it.",
            err=True,
        )
    return f"{name}, r = {correlation:.2f}"


def print_similarities(explanation: PairExplanation, references: list[Path], seen_by: str) -> None:
    """Print how similar every reference is, the most similar first, and how much the pair shares.

    Args:
        explanation: the pair.
        references: the files of all references.
        seen_by: who compares.
    """
    for index in explanation.similarities.argsort(descending=True).tolist():
        chosen = "  <- chosen" if len(references) > 1 and index == explanation.reference else ""
        similarity = float(explanation.similarities[index])
        typer.echo(f"similarity {similarity:.4f} ({seen_by}) with {references[index]}{chosen}")
    for each in explanation.explanations.values():
        if each.shared is not None:
            typer.echo(f"{each.method.title} ({each.method.name}): {told_share(float(each.shared[0]))}")


def candidates_of(
    explanation: PairExplanation, shown: Float[Tensor, "image 3 height width"], references: list[Path]
) -> list[Candidate]:
    """All references with their similarities, the most similar first; none where there is no choice."""
    if len(references) == 1:
        return []
    return [
        Candidate(
            references[index].name,
            shown[1 + index],
            float(explanation.similarities[index]),
            chosen=index == explanation.reference,
        )
        for index in explanation.similarities.argsort(descending=True).tolist()
    ]


def figure_of(
    explanation: PairExplanation,
    pair: Shown,
    candidates: list[Candidate],
    regions: Tensor | None,
    *,
    title: str,
) -> Figure:
    """Draw the pair under its maps.

    Args:
        explanation: the pair.
        pair: as it is drawn.
        candidates: the references to choose from.
        regions: pixels to outline in image and reference, or None.
        title: what stands above the figure.

    Returns:
        The figure.
    """
    panels = [
        replace(panel, region=None if regions is None else regions[side])
        for side, panel in enumerate(explanation_panels(explanation.explanations, pair.pictures, pair.titles))
    ]
    totals = shared_totals(explanation.explanations)
    return pair_figure(panels[0], panels[1], title=title, shared=totals, candidates=candidates)


def made_before(maps_file: Path) -> list[Path]:
    """Tell which files an earlier run of the command made, and nobody has changed since.

    Args:
        maps_file: the file of its maps.

    Returns:
        It and its figures; nothing if it is something else.
    """
    try:
        with np.load(maps_file) as kept:
            figures = dict(zip(kept["figures"].tolist(), kept["figures_sha256"].tolist(), strict=True))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return []
    beside = {maps_file.with_name(name): total for name, total in figures.items()}
    page = maps_file.with_suffix(".html")
    figures_left = [path for path, total in beside.items() if path.is_file() and digest_of(path) == total]
    return [maps_file, *figures_left, *([page] if is_page(page) else [])]


def told_of(
    explanation: PairExplanation,
    pair: Shown,
    shown: Float[Tensor, "image 3 height width"],
    evidence: PairEvidence | None,
    *,
    title: str,
) -> dict[str, Any]:
    """Collect what a report of a pair shows besides its maps.

    Args:
        explanation: the pair.
        pair: as it is drawn.
        shown: image and all references as RGB between 0 and 1.
        evidence: why its maps are what they are; None where that is not known.
        title: what stands above.

    Returns:
        Arrays by name, for :func:`save_maps`.
    """
    ranked = explanation.similarities.argsort(descending=True).tolist()[:RANKED]
    best = 1 + explanation.reference
    return {
        "title": title,
        "methods": np.array(list(explanation.explanations)),
        "pictures": to_bytes(shown[[0, best]]),
        "ranked": np.array(ranked),
        "ranked_similarities": explanation.similarities[ranked].numpy(),
        "ranked_pictures": to_bytes(shown[[1 + index for index in ranked]]),
        **({} if evidence is None else packed_evidence([evidence])),
    }


def to_bytes(shown: Float[Tensor, "image 3 height width"]) -> UInt8[ndarray, "image height width 3"]:
    """Return images as bytes.

    Args:
        shown: RGB between 0 and 1.

    Returns:
        RGB between 0 and 255.

    Example:
        >>> to_bytes(torch.full((1, 3, 1, 1), 0.5))[0, 0, 0]
        array([128, 128, 128], dtype=uint8)
    """
    pixels: ndarray = (255 * shown.permute(0, 2, 3, 1)).round().clamp(0, 255).byte().cpu().numpy()
    return pixels


def save_maps(
    explanation: PairExplanation, path: Path, photographs: list[Path], figures: list[Path], told: dict[str, Any]
) -> None:
    """Write the attributions of a pair, and what is known of it, as arrays.

    Args:
        explanation: the pair.
        path: the file.
        photographs: the files of the image and all references.
        figures: the files of the figures, beside it.
        told: what a report shows besides (:func:`told_of`).
    """
    figures = list(dict.fromkeys([*figures, *made_before(path)[1:]]))
    maps: dict[str, Any] = {
        f"{name}_{side}": one[0].cpu().numpy()
        for name, each in explanation.explanations.items()
        for side, one in zip(("image", "reference"), each.attributions, strict=True)
    }
    totals: dict[str, Any] = {
        f"{name}_shared": float(each.shared[0])
        for name, each in explanation.explanations.items()
        if each.shared is not None
    }
    with write_atomically(path) as temporary:
        np.savez_compressed(
            temporary,
            image=str(photographs[0]),
            reference=str(photographs[1 + explanation.reference]),
            references=np.array([str(photograph) for photograph in photographs[1:]]),
            similarity=float(explanation.similarities[explanation.reference]),
            figures=np.array([figure.name for figure in figures]),
            figures_sha256=np.array([digest_of(figure) for figure in figures]),
            **told,
            **totals,
            **maps,
        )
