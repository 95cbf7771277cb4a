"""A pair on a page: two pictures under maps on one scale, and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.colors import Normalize, PowerNorm
from numpy import ndarray

from captum_shared.attr.heatmaps import SMOOTHING
from captum_shared.figures.components import COLOURS as COMPONENT_COLOURS
from captum_shared.figures.overlay import COLOURS, OPACITY, absolute_scale, density, scale, ticks
from captum_shared.figures.shown import unit
from captum_shared.methods.method import Method
from captum_shared.report.arrays import packed, reduced
from captum_shared.report.page import number
from captum_shared.study.evidence import PairEvidence

SCRIPTS: Final = ("arrays.js", "fields.js", "overlay.js", "pair.js", "sections.js")
STYLES: Final = ("pair.css",)
SIDES: Final = ("image", "reference")
_SHARES: Final = ("recommended",)
"""Methods whose maps are shared out among the components: they sum to what the components sum to."""


@final
@dataclass(frozen=True, eq=False)
class PairMaps:
    """The two maps of a pair by one method.

    Attributes:
        method: the method.
        heats: of image and reference, not negative, not normalised.
        told: how strong they are, in words.
    """

    method: Method
    heats: tuple[Float[ndarray, "row column"], Float[ndarray, "reference_row reference_column"]]
    told: str

    @property
    def drawn(self) -> list[Float[ndarray, "row column"]]:
        """The maps as the figures draw them: as densities, where their sums are shares."""
        return [density(heat) if self.method.absolute else heat for heat in self.heats]

    @property
    def norm(self) -> Normalize:
        """The scale of both, which is that of the figures."""
        return absolute_scale() if self.method.absolute else scale(max(float(heat.max()) for heat in self.heats))


@final
@dataclass(frozen=True, eq=False)
class PairView:
    """What a page shows of a pair.

    Attributes:
        address: identifier of its section, unique on the page.
        title: what stands above.
        names: of image and reference.
        pictures: keys of the two pictures.
        maps: by one or more methods.
        evidence: what matches what, and what is more than chance; None where that is not known.
        facts: labels and numbers, ready to read.
        references: those that the reference was chosen among, best first; empty where they are not known.
        unknown: why there is no evidence, in a sentence, and no references.
    """

    address: str
    title: str
    names: tuple[str, str]
    pictures: tuple[int, int]
    maps: Sequence[PairMaps]
    evidence: PairEvidence | None
    facts: Mapping[str, str]
    references: Sequence[Mapping[str, Any]] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def shares(self) -> list[str]:
        """The shares of the components, ready to read."""
        return [] if self.evidence is None else [f"{100 * share:.0f} %" for share in self.evidence.shares]

    @property
    def data(self) -> dict[str, Any]:
        """What ``pair.js`` needs, ready for JSON."""
        arrays: dict[str, ndarray] = {
            f"maps/{index}/{side}": reduced(heat)
            for index, maps in enumerate(self.maps)
            for side, heat in enumerate(maps.drawn)
        }
        if self.evidence is not None:
            arrays |= {"correspondence": self.evidence.correspondence, "components": self.evidence.components}
            if self.evidence.significant is not None:
                outlined = [reduced(region.astype(np.float32)) for region in self.evidence.significant]
                arrays |= {f"significant/{side}": region for side, region in enumerate(outlined)}
        return {
            "pictures": self.pictures,
            "names": self.names,
            "methods": [_method(maps, self.names) for maps in self.maps],
            "shared_out": next((i for i, maps in enumerate(self.maps) if maps.method.name in _SHARES), None),
            "packed": packed(arrays),
        }


def looks() -> dict[str, Any]:
    """Return what all overlays have in common, which is as in the figures.

    Returns:
        Colours and opacities, ready for JSON.

    Example:
        >>> len(looks()["colours"]), looks()["components"][0]
        (256, '#D55E00')
    """
    absolute = absolute_scale()
    return {
        "colours": np.rint(255 * colormaps[COLOURS](np.linspace(0, 1, 256))[:, :3]).astype(int).tolist(),
        "components": list(COMPONENT_COLOURS),
        "opacity": OPACITY,
        "absolute": {"top": absolute.vmax, "power": 0.5},
        "smoothing": SMOOTHING,
    }


def chance_told(evidence: PairEvidence) -> dict[str, str]:
    """Tell whether what a pair shares is more than chance.

    Args:
        evidence: of the pair.

    Returns:
        Labels and p-values, ready to read.

    Example:
        >>> one, two = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 2, 1, 1), np.float32)
        >>> chance_told(PairEvidence(one, two, None, (0.02, 0.3)))
        {'chance, image': 'p = 0.020', 'chance, reference': 'p = 0.300'}
    """
    if evidence.p_values is None:
        return {"chance": "not tested: no images to compare with"}
    return {f"chance, {side}": f"p = {value:.3f}" for side, value in zip(SIDES, evidence.p_values, strict=True)}


def _method(maps: PairMaps, names: tuple[str, str]) -> dict[str, Any]:
    norm = maps.norm
    return {
        "title": maps.method.title,
        "told": maps.told,
        "unit": unit(maps.method),
        "top": float(norm.vmax or 1.0),
        "power": norm.gamma if isinstance(norm, PowerNorm) else 1.0,
        "ticks": [[float(norm(value)), f"{value:.3g}"] for value in ticks(norm)],
        "labels": [_alternative(maps, side, name) for side, name in enumerate(names)],
    }


def _alternative(maps: PairMaps, side: int, name: str) -> str:
    """What the picture under its map shows, in words."""
    heat, begin = maps.drawn[side], f"{SIDES[side].capitalize()} {name} under the map of {maps.method.title}"
    if not heat.any():
        return f"{begin}: nothing shared."
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    right, down = (100 * (index + 0.5) / size for index, size in zip((column, row), heat.shape[::-1], strict=True))
    covered = 100 * float((np.asarray(maps.norm(heat)) >= 0.5).mean())
    return (
        f"{begin}: {maps.told}; highest, {number(float(heat.max()), '.2g')}, {right:.0f} % from the left and "
        f"{down:.0f} % from the top; above half of the scale on {covered:.0f} % of the image."
    )
