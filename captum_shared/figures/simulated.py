"""A pair of a simulated recording, with the parts that truly drive the neuron outlined."""

from dataclasses import replace

import torch
from matplotlib.figure import Figure

from captum_shared.evaluation.simulated import ScoredPair
from captum_shared.figures.pair import explanation_panels, pair_figure, shared_totals


def known_pair_figure(
    pair: ScoredPair, *, similarity: float, titles: tuple[str, str] = ("image", "reference")
) -> Figure:
    """Draw a pair under the maps of its methods, and outline the parts that drive the neuron and are in both images.

    Args:
        pair: of :func:`~captum_shared.evaluation.score_simulated_pairs`, its inputs RGB between 0 and 1.
        similarity: neuron-specific similarity of the two images.
        titles: what stands above image and reference.

    Returns:
        The figure.
    """
    pictures = torch.cat(pair.inputs)
    panels = [
        replace(panel, region=pair.regions[side, 0])
        for side, panel in enumerate(explanation_panels(pair.explanations, pictures, titles))
    ]
    parts = " and ".join(pair.shared_parts) or "nothing"
    title = f"{pair.neuron}: similarity {similarity:.2f}, shared: {parts} (outlined)"
    return pair_figure(*panels, title=title, shared=shared_totals(pair.explanations))
