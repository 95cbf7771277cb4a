"""Photographs of which little is needed but that there are some."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_photographs(root: Path) -> Path:
    """Eight categories of twelve photographs: noise of a colour."""
    rng = np.random.default_rng(0)
    for category in range(8):
        colour = np.array([category & 1, category & 2, category & 4]) > 0
        folder = root / f"category{category}"
        folder.mkdir()
        for index in range(12):
            picture = 60 + 130 * colour + rng.integers(-60, 60, (12, 12, 3))
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{index:02d}.png")
    return root
