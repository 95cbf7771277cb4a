"""What the site has beside the pages of docs: reference, options of commands, tutorials, changelog, code and results.

All of it is made as the site is built, from the package and the repository, so that it cannot fall behind them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "captum_shared"
sys.path.insert(0, str(ROOT / "docs" / "_site"))

from commands import told_commands  # noqa: E402
from docstrings import faces, homes  # noqa: E402
from gallery import told_gallery  # noqa: E402
from links import faults  # noqa: E402
from notebooks import tutorial_pages  # noqa: E402

LINK = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+|[\w/]+\.ipynb|_site/\w+\.py)")


def reference_pages() -> Iterator[tuple[str, str]]:
    """A page a room, with all of its public names, and one that lists the names of the package."""
    for room in rooms():
        yield f"reference/{room}.md", f"# captum_shared.{room}\n\n::: captum_shared.{room}\n"
    named = homes()
    lines = [
        "# Reference\n",
        "What `captum_shared` offers is loaded when it is used. The names that are wanted most can be imported from it",
        "directly; each is explained on the page of its room.\n",
        *(f"- [`captum_shared.{name}`][{named[name]}.{name}]" for name in faces()["captum_shared"] if name in named),
        "- [`captum_shared.engine_by_name`][captum_shared._engine.engine_by_name]",
        "\n## Rooms\n",
        *(f"- [`captum_shared.{room}`]({room}.md)" for room in rooms()),
        "\n## Engines\n",
        "::: captum_shared._engine.engine_by_name",
        "    options: {show_root_heading: true, show_root_full_path: false, heading_level: 3}",
    ]
    yield "reference/index.md", "\n".join(lines) + "\n"


def rooms() -> list[str]:
    """The rooms that have a page."""
    return ["images", *(name.removeprefix("captum_shared.") for name in faces() if "." in name)]


def code_pages() -> Iterator[tuple[str, str]]:
    """A page for every script that documentation points to."""
    for folder in ("benchmarks", "tutorials", "docs/_site"):
        for script in sorted((ROOT / folder).glob("*.py")):
            name = str(script.relative_to(ROOT).as_posix())
            text = script.read_text(encoding="utf-8")
            yield f"code/{name}.md", f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n````python\n{text}````\n"


def generated(config: MkDocsConfig) -> Iterator[File]:
    """All files that are made for the site."""
    pages = [*reference_pages(), *code_pages(), ("changelog.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))]
    if (ROOT / "CONTRIBUTING.md").exists():
        pages.append(("contributing.md", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    for name, content in [*pages, *tutorial_pages(ROOT / "tutorials")]:
        yield File.generated(config, name, content=content)
    for folder in ("benchmarks/results", "tutorials"):
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in (".json", ".png", ".jpg"):
                yield File.generated(config, f"code/{folder}/{path.name}", abs_src_path=str(path))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give the nav the pages that are made."""
    for section in config.nav or []:
        if "Reference" in section:
            section["Reference"] = [f"reference/{room}.md" for room in ["index", *rooms()]]
        if "Project" in section and (ROOT / "CONTRIBUTING.md").exists():
            section["Project"].insert(1, {"Contributing": "contributing.md"})
        if "Start" in section:
            titles = [name for name, _ in tutorial_pages(ROOT / "tutorials") if name.endswith(".md")]
            section["Start"] = [
                {"Tutorials": titles} if isinstance(each, dict) and "Tutorials" in each else each
                for each in section["Start"]
            ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made."""
    for file in generated(config):
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that lead out of docs to where the site has their files, and list the options of commands."""
    for mark, told in (("<!-- commands -->", told_commands), ("<!-- gallery -->", lambda: told_gallery(ROOT))):
        if mark in markdown:
            markdown = markdown.replace(mark, told())
    folder = Path(page.file.src_uri).parent.as_posix()
    above = {"changelog.md": "", "contributing.md": "", "tutorials": "tutorials"}
    source = above.get(page.file.src_uri, above.get(folder, normpath(f"docs/{folder}")))

    def within(link: re.Match[str]) -> str:
        target = normpath(f"{source}/{link[1]}")
        return relpath(in_site(target), folder) if out_of_place(target, source) else link[1]

    return LINK.sub(within, markdown)


def out_of_place(target: str, source: str) -> bool:
    """Whether the site has a file elsewhere than a page of the repository links to it."""
    return not (target.startswith("docs/") and source.startswith("docs")) or target.startswith("docs/_site/")


def in_site(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/") and not path.startswith("docs/_site/"):
        return path.removeprefix("docs/")
    if path.endswith(".ipynb"):
        return path.replace(".ipynb", ".md")
    if path == "CHANGELOG.md" or path == "CONTRIBUTING.md":
        return path.lower()
    return f"code/{path}.md" if path.endswith(".py") else f"code/{path}"


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that links to nothing, or loads anything from another host."""
    if found := faults(Path(config.site_dir)):
        raise Abort("\n".join(found))
