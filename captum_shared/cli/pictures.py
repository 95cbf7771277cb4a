"""What ``captum-shared explain`` draws on request: matching parts, a point's counterpart, what is more than chance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import typer
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr import (
    NeuronSimilarity,
    PixelSharedCorrespondence,
    Significance,
    components,
    counterpart,
    significance,
)
from captum_shared.encoders.photographs import load_inputs
from captum_shared.figures import components_figure, counterpart_figure, save_figure
from captum_shared.images import image_folder


@final
@dataclass(frozen=True, eq=False)
class Shown:
    """A pair as it is explained and drawn.

    Attributes:
        similarity: encoder and readout.
        inputs: image and reference, inputs of the network.
        target: the neuron.
        pictures: image and reference as RGB between 0 and 1.
        titles: what stands above each.
    """

    similarity: NeuronSimilarity
    inputs: tuple[Float[Tensor, "1 channel height width"], Float[Tensor, "1 channel height width"]]
    target: int
    pictures: Float[Tensor, "2 3 height width"]
    titles: tuple[str, str]

    @property
    def _heads(self) -> tuple[str, str]:
        """The titles in one line."""
        return self.titles[0].replace("\n", ": "), self.titles[1].replace("\n", ": ")

    def draw_components(self, path: Path) -> None:
        """Draw which part of the image matches which part of the reference, and print their shares.

        Args:
            path: file of the figure.
        """
        parts = components(self.similarity, self.inputs, self.target)
        first, second = PixelSharedCorrespondence(self.similarity).attribute(self.inputs, self.target)
        maps = first.cpu(), second.cpu()
        pictures = self.pictures[0], self.pictures[1]
        save_figure(components_figure(pictures, parts, maps=maps, titles=self._heads), path)
        for number, share in enumerate(parts.shares.tolist()):
            drives = ", ".join(parts.drivers(number))
            typer.echo(f"component {number + 1}: {100 * share:.0f} %" + (f", drives {drives}" if drives else ""))
        if len(parts) == 0:
            typer.echo("no components: the pair shares nothing")

    def draw_counterpart(self, point: tuple[float, float], path: Path) -> None:
        """Draw where a point of the image is found in the reference.

        Args:
            point: x and y in pixels of the image as the figure shows it.
            path: file of the figure.
        """
        found = counterpart(self.similarity, self.inputs, self.target, point=point)
        pictures = self.pictures[0], self.pictures[1]
        save_figure(counterpart_figure(pictures, found, point, titles=self._heads), path)

    def significant(self, null: Path) -> Significance:
        """Test the maps against those with photographs that do not drive the neuron, and print how they come out.

        Args:
            null: folder of these photographs.

        Returns:
            The maps of image and reference against chance.
        """
        encoder: Any = self.similarity.image_features
        photographs = load_inputs(encoder, image_folder(null)[0])
        tested = significance(self.similarity, self.inputs, self.target, null_references=photographs)
        for title, p_value in zip(("image", "reference"), tested.p_values[0].tolist(), strict=True):
            typer.echo(f"more than chance in the {title}: p = {p_value:.3f} ({len(photographs)} null references)")
        return tested


def point_of(text: str, size: tuple[int, int]) -> tuple[float, float]:
    """Read a point of an image.

    Args:
        text: x and y with a comma between.
        size: height and width of the image in pixels.

    Returns:
        The point.

    Raises:
        ValueError: if it is something else, or outside of the image.

    Example:
        >>> point_of("120,80.5", (224, 224))
        (120.0, 80.5)
    """
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"Expected a point such as --match 120,80, x and y in pixels, but got {text!r}.") from error
    height, width = size
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"The point {text} lies outside of the image, which is {width} x {height} pixels.")
    return x, y


def beside(output: Path, what: str) -> Path:
    """Name a file beside another.

    Args:
        output: a file.
        what: what the other file holds.

    Returns:
        The file.

    Example:
        >>> beside(Path("out/pair.png"), "components").name
        'pair-components.png'
    """
    return output.with_name(f"{output.stem}-{what}{output.suffix}")
