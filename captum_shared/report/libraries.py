"""JavaScript libraries that come with a page, compressed."""

import base64
import functools
import gzip
from dataclasses import dataclass
from typing import Final, final

CHARTS: Final = "plotly"
"""The library that draws charts."""


@final
@dataclass(frozen=True)
class Library:
    """A library as a page holds it: text that nothing executes until the page asks for it.

    Attributes:
        source: its JavaScript.
        packed: the same compressed (gzip), in base 64.

    Example:
        >>> library = Library.of("var answer = 42;")
        >>> gzip.decompress(base64.b64decode(library.packed)).decode()
        'var answer = 42;'
    """

    source: str
    packed: str

    @classmethod
    def of(cls, source: str) -> "Library":
        """Pack a library.

        Args:
            source: its JavaScript.

        Returns:
            The library; the same source gives the same bytes.
        """
        packed = gzip.compress(source.encode(), compresslevel=9, mtime=0)
        return cls(source, base64.b64encode(packed).decode())


@functools.cache
def library(name: str) -> Library:
    """Return a library by its name.

    Args:
        name: :data:`CHARTS`, which is plotly.js (MIT licence), as the Python package plotly brings it along.

    Returns:
        The library.

    Raises:
        ValueError: if the name is another.
    """
    if name != CHARTS:
        raise ValueError(f"Expected {CHARTS!r} as the name of a library, got {name!r}.")
    from plotly.offline import get_plotlyjs

    return Library.of(get_plotlyjs())
