"""Which parts make a creature or an artefact, and where they go."""

from dataclasses import dataclass

import numpy as np

from captum_shared.synthetic.placement import Placement

CATEGORIES = ("creature", "artefact")
"""The two categories, the preferred one first."""


@dataclass(frozen=True)
class _Slot:
    """A part of a figure that faces right, in units of the figure's size; `chance` that it is drawn at all."""

    part: str
    x: int | float
    y: int | float
    scale: float
    rotation: int | float = 0
    mirrored: bool = False
    chance: float = 1.0


_SKETCHES: dict[str, tuple[tuple[_Slot, ...], ...]] = {
    "creature": (
        (  # walking on four limbs
            _Slot("tail", -0.24, -0.04, 0.34, chance=0.6),
            _Slot("limb", -0.12, 0.07, 0.34, 12, chance=0.7),
            _Slot("limb", 0.2, 0.07, 0.34, -12, chance=0.7),
            _Slot("torso", 0, 0, 0.58),
            _Slot("limb", -0.2, 0.07, 0.36, chance=0.9),
            _Slot("limb", 0.13, 0.07, 0.36, chance=0.9),
            _Slot("wing", -0.02, -0.06, 0.42, chance=0.35),
            _Slot("horn", 0.31, -0.15, 0.3, chance=0.45),
            _Slot("head", 0.22, -0.04, 0.34, chance=0.9),
        ),
        (  # upright
            _Slot("tail", -0.08, 0.16, 0.36, chance=0.5),
            _Slot("wing", -0.06, -0.1, 0.46, -20, chance=0.35),
            _Slot("limb", -0.06, 0.18, 0.34, 8),
            _Slot("limb", 0.06, 0.18, 0.34, -10, chance=0.9),
            _Slot("torso", 0, 0.03, 0.5, -80),
            _Slot("limb", 0.04, -0.1, 0.3, -60, chance=0.5),
            _Slot("horn", 0.04, -0.29, 0.3, chance=0.45),
            _Slot("head", -0.04, -0.18, 0.34, chance=0.9),
        ),
        (  # bird
            _Slot("limb", -0.04, 0.1, 0.3, 8, chance=0.7),
            _Slot("limb", 0.06, 0.1, 0.3, -8, chance=0.6),
            _Slot("tail", -0.22, 0.02, 0.3, chance=0.5),
            _Slot("torso", 0, 0, 0.5, -15),
            _Slot("wing", 0, -0.04, 0.48, -15),
            _Slot("horn", 0.25, -0.18, 0.25, chance=0.35),
            _Slot("head", 0.18, -0.1, 0.26, chance=0.9),
        ),
        (  # crawling under a shell
            _Slot("tail", -0.26, 0.04, 0.26, chance=0.6),
            _Slot("limb", -0.18, 0.06, 0.22, 15, chance=0.7),
            _Slot("limb", 0.16, 0.06, 0.22, -15, chance=0.7),
            _Slot("horn", 0.32, -0.06, 0.28, chance=0.4),
            _Slot("head", 0.26, 0.04, 0.28),
            _Slot("dome", 0, 0.06, 0.56),
        ),
        (  # without limbs
            _Slot("tail", -0.2, 0.02, 0.44, chance=0.9),
            _Slot("torso", 0, 0, 0.6, -6),
            _Slot("wing", 0, -0.08, 0.32, chance=0.3),
            _Slot("horn", 0.33, -0.15, 0.32, chance=0.6),
            _Slot("head", 0.24, -0.02, 0.36, chance=0.85),
        ),
    ),
    "artefact": (
        (  # teapot, watering can
            _Slot("spout", 0.16, 0.02, 0.4),
            _Slot("handle", -0.2, 0, 0.36, chance=0.85),
            _Slot("torso", 0, 0.02, 0.56, chance=0.65),
            _Slot("box", 0, 0.02, 0.46, chance=0.45),
            _Slot("dome", 0, -0.12, 0.24, chance=0.7),
            _Slot("limb", -0.1, 0.14, 0.2, chance=0.2),
            _Slot("limb", 0.1, 0.14, 0.2, chance=0.2),
        ),
        (  # chair, table
            _Slot("pole", -0.2, -0.02, 0.4, chance=0.6),
            _Slot("limb", -0.14, 0.1, 0.36, 6, chance=0.6),
            _Slot("limb", 0.2, 0.1, 0.36, -6, chance=0.6),
            _Slot("box", 0, 0, 0.52),
            _Slot("limb", -0.2, 0.1, 0.38, chance=0.9),
            _Slot("limb", 0.14, 0.1, 0.38, chance=0.9),
            _Slot("shade", 0.08, -0.26, 0.22, chance=0.25),
        ),
        (  # lamp
            _Slot("tail", -0.04, 0.34, 0.36, chance=0.6),
            _Slot("pole", 0, 0.34, 0.56),
            _Slot("shade", 0, -0.2, 0.46),
            _Slot("dome", 0, 0.36, 0.32, chance=0.6),
            _Slot("limb", 0.02, 0.2, 0.26, -15, chance=0.35),
        ),
        (  # cart, pram
            _Slot("handle", -0.28, -0.06, 0.36, chance=0.7),
            _Slot("box", 0, 0, 0.56, chance=0.75),
            _Slot("shade", 0, -0.26, 0.4, chance=0.4),
            _Slot("wheel", -0.18, 0.2, 0.26),
            _Slot("wheel", 0.17, 0.2, 0.26, chance=0.9),
            _Slot("horn", 0.26, -0.08, 0.22, 40, chance=0.25),
        ),
        (  # aeroplane
            _Slot("blade", 0.3, 0, 0.26, chance=0.6),
            _Slot("blade", 0.3, 0, 0.26, 180, chance=0.5),
            _Slot("torso", 0, 0, 0.66),
            _Slot("wing", 0, -0.03, 0.46),
            _Slot("wheel", 0.1, 0.2, 0.18, chance=0.6),
            _Slot("tail", -0.28, 0, 0.26, chance=0.25),
        ),
        (  # knife, axe, scythe
            _Slot("pole", 0, 0.42, 0.66, chance=0.9),
            _Slot("blade", 0, -0.14, 0.46, chance=0.6),
            _Slot("blade", 0.02, -0.1, 0.4, 75, chance=0.4),
            _Slot("horn", 0, -0.16, 0.4, 70, chance=0.35),
            _Slot("handle", 0, 0.24, 0.3, chance=0.5),
        ),
        (  # gramophone
            _Slot("horn", 0.04, -0.08, 0.52, 20, chance=0.9),
            _Slot("box", 0, 0.12, 0.5),
            _Slot("handle", -0.22, 0.1, 0.26, chance=0.6),
            _Slot("wheel", 0.0, 0.2, 0.2, chance=0.3),
        ),
        (  # helmet
            _Slot("horn", -0.2, -0.06, 0.36, -30, True, chance=0.8),
            _Slot("horn", 0.2, -0.06, 0.36, 30, chance=0.8),
            _Slot("wing", -0.18, -0.04, 0.36, -20, chance=0.4),
            _Slot("dome", 0, 0.1, 0.54),
            _Slot("tail", -0.1, 0.1, 0.3, -40, chance=0.2),
        ),
        (  # kettle, iron
            _Slot("tail", -0.2, 0.14, 0.4, chance=0.5),
            _Slot("spout", 0.16, 0.06, 0.36, chance=0.8),
            _Slot("handle", 0, -0.16, 0.36, 90),
            _Slot("dome", 0, 0.14, 0.54),
            _Slot("wheel", 0, 0.2, 0.18, chance=0.15),
        ),
        (  # rocking horse, bust, figurehead
            _Slot("pole", 0, 0.24, 0.44, chance=0.5),
            _Slot("head", -0.02, -0.08, 0.4, chance=0.85),
            _Slot("box", 0, 0.18, 0.44, chance=0.8),
            _Slot("wheel", -0.14, 0.34, 0.22, chance=0.5),
            _Slot("wheel", 0.16, 0.34, 0.22, chance=0.5),
        ),
        (  # toy horse on wheels
            _Slot("tail", -0.24, -0.06, 0.3, chance=0.6),
            _Slot("pole", -0.16, 0.28, 0.34, chance=0.9),
            _Slot("pole", 0.16, 0.28, 0.34, chance=0.9),
            _Slot("torso", 0, -0.04, 0.52),
            _Slot("head", 0.2, -0.08, 0.34, chance=0.8),
            _Slot("handle", -0.02, -0.16, 0.24, 90, chance=0.4),
            _Slot("wheel", -0.16, 0.27, 0.22),
            _Slot("wheel", 0.16, 0.27, 0.22, chance=0.9),
        ),
        (  # windmill, fan
            _Slot("pole", 0, 0.44, 0.5, chance=0.8),
            _Slot("blade", 0, -0.06, 0.36, 20),
            _Slot("blade", 0, -0.06, 0.36, 140),
            _Slot("blade", 0, -0.06, 0.36, 260, chance=0.9),
            _Slot("wing", 0.04, -0.02, 0.34, chance=0.25),
            _Slot("shade", 0, 0.34, 0.34, chance=0.5),
        ),
        (  # umbrella
            _Slot("pole", 0, 0.36, 0.6),
            _Slot("dome", 0, -0.1, 0.6),
            _Slot("handle", 0.0, 0.36, 0.24, chance=0.7),
            _Slot("tail", -0.04, 0.3, 0.24, chance=0.15),
        ),
    ),
}
"""The parts of each kind of figure, from back to front."""


def check_category(category: str) -> None:
    """Refuse a name that is not in ``CATEGORIES``.

    Raises:
        ValueError: With the two names.

    Example:
        >>> check_category("creature")
    """
    if category not in CATEGORIES:
        raise ValueError(f"Expected category to be one of {CATEGORIES}, got {category!r}. Use one of the two names.")


def assemble(category: str, rng: np.random.Generator) -> list[Placement]:
    """Put a random figure of a category together.

    Args:
        category: "creature" or "artefact".
        rng: Source of every choice: kind of figure, optional parts, pose, size and position.

    Returns:
        Its parts from back to front, in fractions of the image.

    Raises:
        ValueError: If the category is unknown.

    Example:
        >>> figure = assemble("creature", np.random.default_rng(0))
        >>> {"torso", "dome"} & {placement.part for placement in figure} != set()
        True
    """
    check_category(category)
    kinds = _SKETCHES[category]
    slots = [slot for slot in kinds[rng.integers(len(kinds))] if rng.random() < slot.chance]
    size, tilt, mirrored = rng.uniform(0.68, 1.0), rng.normal(0, 10), bool(rng.random() < 0.5)
    side, centre = -1 if mirrored else 1, 0.5 + rng.uniform(-0.08, 0.08, 2)
    cos, sin = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    placements = []
    for slot in slots:
        x, y = side * slot.x + rng.normal(0, 0.012), slot.y + rng.normal(0, 0.012)
        placements.append(
            Placement(
                slot.part,
                x=float(centre[0] + size * (cos * x - sin * y)),
                y=float(centre[1] + size * (sin * x + cos * y)),
                scale=float(slot.scale * size * np.exp(rng.normal(0, 0.1))),
                rotation=float(side * (slot.rotation + rng.normal(0, 9)) + tilt),
                mirrored=slot.mirrored != mirrored,
            )
        )
    return placements
