"""A pair of a simulated recording, with the parts that truly drive the neuron outlined."""

from matplotlib.figure import Figure

from captum_shared.evaluation.simulated import ScoredPair
from captum_shared.figures.pair import Panel, pair_figure


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
    panels = [
        Panel(
            title,
            pair.inputs[side][0],
            {name: maps[side][0] for name, maps in pair.maps.items()},
            pair.regions[side, 0],
        )
        for side, title in enumerate(titles)
    ]
    shared = " and ".join(pair.shared_parts) or "nothing"
    title = f"{pair.neuron}: similarity {similarity:.2f}, shared: {shared} (outlined)"
    return pair_figure(*panels, title=title)
