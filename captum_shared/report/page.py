"""One HTML file, self-contained and inert: texts are escaped, and a policy forbids what it does not bring along."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from captum_shared._files import digest_of, write_atomically
from captum_shared._resuming import digest, versions
from captum_shared.figures.page import shortened
from captum_shared.report.libraries import library

TEMPLATES: Final = Path(__file__).parent / "templates"
_STYLE, _SCRIPT = "page.css", "page.js"
REPORT: Final = "report.html"
"""What a page is called in the folder that it is of."""

_GENERATOR: Final = '<meta name="generator" content="captum-shared'
_NAME: Final = 60
"""Letters of a name that a line shows."""


@final
@dataclass(frozen=True)
class Part:
    """A part of a page: what one file of this room has to show.

    Attributes:
        template: of the folder ``templates``, which is rendered with ``context``.
        context: what the template needs; everything is escaped, nothing may be missing.
        data: by identifier what scripts need, ready for JSON; ``dataOf("identifier")`` of ``page.js`` reads it.
        scripts: JavaScript files of ``templates``; those of all parts are one script in strict mode, in their order
            and each once, so that their functions know each other and no name may be given twice.
        styles: CSS files of ``templates``, likewise.
        libraries: names of the libraries that the scripts ask for (:mod:`captum_shared.report.libraries`).

    Example:
        >>> Part("sentence.html.jinja", {"sentence": "<none>"}).rendered()
        Markup('<p>&lt;none&gt;</p>')
    """

    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def rendered(self) -> Markup:
        """Fill in the template.

        Returns:
            HTML.

        Raises:
            jinja2.UndefinedError: if the context lacks something.
        """
        return Markup(_environment().get_template(self.template).render(self.context))  # nosec B704


def write_page(path: str | Path, title: str, parts: Sequence[Part]) -> None:
    """Write a page, whole or not at all.

    The page requests nothing, from nobody: its policy (Content-Security-Policy) allows pictures that it holds itself,
    and the very scripts and styles that it was written with.

    Args:
        path: the file.
        title: what stands at its top and in the browser's title.
        parts: what it shows, in their order.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = Path(folder.name) / "page.html"
        >>> write_page(file, "</title><script>", [Part("sentence.html.jinja", {"sentence": "Nothing."})])
        >>> "<title>&lt;/title&gt;&lt;script&gt;</title>" in file.read_text(encoding="utf-8")
        True
        >>> folder.cleanup()
    """
    style = _together([_STYLE, *(name for part in parts for name in part.styles)])
    script = '"use strict";\n' + _together([_SCRIPT, *(name for part in parts for name in part.scripts)])
    data = [(name, embedded(content)) for part in parts for name, content in part.data.items()]
    libraries = {name: library(name) for part in parts for name in part.libraries}
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=title,
            parts=[part.rendered() for part in parts],
            data=data,
            style=Markup(style),  # nosec B704  # our own files
            script=Markup(script),  # nosec B704
            libraries=[(name, Markup(each.packed)) for name, each in libraries.items()],  # nosec B704
            policy=_policy(style, [script, *(each.source for each in libraries.values())]),
            version=versions("captum-shared")["captum-shared"],
        )
    )
    with write_atomically(path) as temporary:
        # names of files may have bytes that are no text: they are spelled out
        temporary.write_bytes(page.encode(errors="backslashreplace"))


def embedded(content: Any) -> Markup:
    r"""Write data so that no text in it can end the element that holds it.

    Args:
        content: ready for JSON, without NaN.

    Returns:
        JSON in ASCII, without the signs that HTML knows.

    Raises:
        ValueError: if there is a NaN.

    Example:
        >>> print(embedded({"name": "</script>&"}))
        {"name":"\u003c/script\u003e\u0026"}
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # nosec B704  # escaped above


def digest_of_looks() -> str:
    """Sum up what makes pages look as they do, so that one that was written by another version is known.

    Returns:
        SHA-256 of all templates, scripts and styles, and of the versions of what writes them.
    """
    told = [f"{name} {version}" for name, version in versions("captum-shared", "jinja2", "pillow", "plotly").items()]
    files = [digest_of(path) for path in sorted(TEMPLATES.iterdir())]
    return digest(text.encode() for text in (*told, *files))


def is_page(path: str | Path) -> bool:
    """Tell whether a file is a page that captum-shared wrote.

    Args:
        path: the file.

    Returns:
        Whether it is.

    Example:
        >>> is_page("no such file")
        False
    """
    try:
        with Path(path).open("rb") as file:
            return _GENERATOR.encode() in file.read(2000)
    except OSError:
        return False


def number(value: float | int | None, form: str = ".2f") -> str:
    """Write a number, or a dash where there is none.

    Args:
        value: the number.
        form: how to write it.

    Returns:
        The text, with a minus that is one.

    Example:
        >>> number(-0.314), number(float("nan")), number(1234.5, ".3g")
        ('−0.31', '–', '1.23e+03')
    """
    if value is None or value != value:
        return "\N{EN DASH}"
    return format(value, form).replace("-", "\N{MINUS SIGN}", 1)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["short"] = lambda text, length=_NAME: shortened(str(text), length)
    return environment


def _together(names: Iterable[str]) -> str:
    files = [(TEMPLATES / name).read_text(encoding="utf-8").strip() for name in dict.fromkeys(names)]
    return "\n".join(files) + "\n"


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Allow the scripts by their digests; styles likewise, unless there are libraries, which make some of their own."""
    styles = _allowed(style) if len(scripts) == 1 else "'unsafe-inline'"
    return (
        f"default-src 'none'; img-src data:; style-src {styles}; script-src {' '.join(map(_allowed, scripts))}; "
        "base-uri 'none'; form-action 'none'"
    )


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
