"""Names that are meant by others, which are no names of anything."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the name that is meant.

    Args:
        name: what was given.
        known: all names that there are.

    Returns:
        A sentence with the nearest ones, or the first ten of all.

    Example:
        >>> nearest("anteriro", ["anterior", "posterior"])
        'did you mean anterior?'
        >>> nearest("V1", ["anterior", "posterior"])
        'there are anterior, posterior.'
    """
    names = [*known]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(names[:10])}{', ...' * (len(names) > 10)}."
