"""Figures on disk."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from captum_shared._files import write_atomically


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure under a temporary name first, so that no half-written file is left.

    Args:
        figure: the figure.
        path: where to; the extension decides the format (png, pdf, svg, ...).

    Raises:
        ValueError: if the extension is not a format that matplotlib writes.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> save_figure(Figure(), Path(folder.name) / "empty.png")
        >>> [path.name for path in Path(folder.name).iterdir()]
        ['empty.png']
        >>> folder.cleanup()
    """
    check_output(path)
    # journals ask for fonts that remain text
    with write_atomically(path) as temporary, rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
        figure.savefig(temporary)


def check_output(path: str | Path) -> None:
    """Raise an error if no figure can be written to a path, before there is one.

    Args:
        path: where a figure is to go.

    Raises:
        ValueError: if its extension is not a format that matplotlib writes, or it is a folder.

    Example:
        >>> check_output("pair.pdf")
    """
    formats = Figure().canvas.get_supported_filetypes()
    if Path(path).is_dir() or Path(path).suffix.lstrip(".").lower() not in formats:
        raise ValueError(f"Cannot write a figure to {path}: give it one of the extensions {', '.join(formats)}.")
