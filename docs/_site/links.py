"""What is wrong with a site that was built: links to nothing, and requests to another host."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}


class _Page(HTMLParser):
    """The anchors of a page, and what it links to or loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag, name) == ("a", "name")):
                self.anchors.add(value)
            if value and ((tag, name) == ("a", "href") or (tag, name) in LOADED):
                self.links.append((value, (tag, name) in LOADED))


def faults(site: Path) -> list[str]:
    """What is wrong with the pages and style sheets of a folder, a sentence each.

    Args:
        site: folder of a site that was built.

    Returns:
        Links and pictures without a file, links without an anchor, whatever would be loaded from another host, and
        links to other hosts that are not https.
    """
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    found = [
        f"{path.relative_to(site.resolve())}: {fault}"
        for path, page in pages.items()
        if path.name != "404.html"
        for link, loaded in page.links
        for fault in _faults_of(link, path, pages, loaded=loaded)
    ]
    return found + [f"{path.name} loads from another host" for path in site.rglob("*.css") if _loads(path)]


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _faults_of(link: str, path: Path, pages: dict[Path, _Page], *, loaded: bool) -> Iterator[str]:
    split = urlsplit(link)
    if split.scheme == "data" or (split.scheme == "mailto" and not loaded):
        return
    if split.scheme or split.netloc:
        if loaded:
            yield f"loads {link} from another host"
        elif split.scheme != "https" or "." not in split.netloc:
            yield f"{link} is no address with https"
        return
    target = (path.parent / unquote(split.path)).resolve() if split.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        yield f"{link} leads to no file"
    elif split.fragment and target in pages and unquote(split.fragment) not in pages[target].anchors:
        yield f"{link} leads to no anchor"


def _loads(style: Path) -> bool:
    text = style.read_text(encoding="utf-8")
    return any(sign in text for sign in ("url(http", "url(//", "@import"))
