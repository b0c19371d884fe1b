"""Hooks of MkDocs: parts of pages that are made from the code, and links into the repository.

A line `<!-- generated: NAME -->` of a page becomes what `GENERATED` makes. A link to a file of the
repository outside `docs/` leads to a page of the site that shows that file, so that the same link
works where the repository is browsed and in the site.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.json_reference import write_objects
from scripts.reference import (
    write_measured,
    write_python,
    write_section,
    write_settings,
    write_videos,
)

ROOT = Path(__file__).parents[1]
DOCS = "docs"
REPOSITORY = "repository"
"""The folder of the site with pages that show files of the repository."""

START = "index.md"

GENERATED: Mapping[str, Callable[[], str]] = {
    "json": write_objects,
    "measured": write_measured,
    "measurements": lambda: write_section("The table"),
    "python": write_python,
    "reasons": lambda: write_section("Reasons"),
    "settings": write_settings,
    "videos": write_videos,
}
"""The parts of pages that are made from the code, by name."""

HOW_TO = "how-to"
"""The generated part that lists the questions; made from the navigation."""

_GENERATED = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)
_MARK = re.compile(r"^ *<!-- (?:run|before): .* -->\n", re.MULTILINE)
_LINK = re.compile(r"(?<=\])\(([^()\s]+)\)")
_FENCE = re.compile(r"^ *(`{3,}).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages for the files of the repository that pages link to, and that these link to."""
    shown: set[str] = set()
    waiting = [
        (f"{DOCS}/{file.src_uri}", expand(file.content_string, config))
        for file in files.documentation_pages()
    ]
    while waiting:
        path, text = waiting.pop()
        for target in _find_files(text, path):
            if target in shown or _is_in_site(target):
                continue
            shown.add(target)
            content = _read(target)
            uri = _page_of(target)
            files.append(File.generated(config, uri, content=_show(target, content)))
            if target.endswith(".md"):
                waiting.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert what is generated, drop the marks of tests, and lead links to pages of the site."""
    uri = page.file.src_uri
    path = uri.removeprefix(f"{REPOSITORY}/")
    path = path.removesuffix(".md") if uri.startswith(f"{REPOSITORY}/") else f"{DOCS}/{uri}"
    text = _MARK.sub("", expand(markdown, config))
    return _outside_fences(text, lambda part: _LINK.sub(lambda link: _lead(link, path, uri), part))


def expand(text: str, config: MkDocsConfig) -> str:
    """Insert the generated parts of a page."""

    def make(found: re.Match[str]) -> str:
        if found[1] == HOW_TO:
            return "\n".join(_list_questions(config.nav or []))
        return GENERATED[found[1]]()

    return _GENERATED.sub(make, text)


def _list_questions(nav: list[Any]) -> Iterator[str]:
    """The how-to pages by group, from the navigation."""
    yield '<div class="questions" markdown>'
    sections = [entry["How-to"] for entry in nav if "How-to" in entry]
    for group in (group for section in sections for group in section):
        ((title, pages),) = group.items()
        yield from ("", "<section markdown>", "", f"**{title}**", "")
        for page in pages:
            yield f"- [{_title_of(page)}]({page})"
        yield from ("", "</section>")
    yield "</div>"


def _title_of(page: str) -> str:
    found = _TITLE.search((ROOT / DOCS / page).read_text(encoding="utf-8"))
    return found[1] if found else page


def _find_files(text: str, path: str) -> Iterator[str]:
    """The files and folders of the repository that a text links to.

    Args:
        text: Markdown.
        path: Its place in the repository.
    """
    for link in _LINK.findall(_FENCE.sub("", text)):
        target = _resolve(link, path)
        if target is not None and (ROOT / target).exists():
            yield target


def _resolve(link: str, path: str) -> str | None:
    """The path in the repository that a link in a file leads to; None if elsewhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    return normpath(PurePosixPath(path).parent / parts.path)


def _lead(link: re.Match[str], path: str, uri: str) -> str:
    """The link as the site has it."""
    target = _resolve(link[1], path)
    if target is None:
        return link[0]
    fragment = urlsplit(link[1]).fragment
    if not _is_in_site(target):
        place = _page_of(target)
    elif (ROOT / target).is_dir():
        place = START  # which lists the pages of each folder
    else:
        place = target.removeprefix(f"{DOCS}/")
    led = relpath(place, PurePosixPath(uri).parent)
    return f"({led}#{fragment})" if fragment else f"({led})"


def _is_in_site(target: str) -> bool:
    return target.startswith(f"{DOCS}/")


def _page_of(target: str) -> str:
    return f"{REPOSITORY}/{target}.md"


def _read(target: str) -> str:
    """The text of a file, or the names of what Git has in a folder."""
    if (ROOT / target).is_dir():
        command = ["git", "-C", str(ROOT), "ls-files", "--", target]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return (ROOT / target).read_text(encoding="utf-8")


def _show(target: str, content: str) -> str:
    """The page that shows a file of the repository; found by its links, not by searching."""
    head = f"---\ntitle: {PurePosixPath(target).name}\nsearch:\n  exclude: true\n---\n"
    if target.endswith(".md"):
        return head + content
    language = _LANGUAGES.get(PurePosixPath(target).suffix, "text")
    return f"{head}# {target}\n\n`````{language}\n{content.rstrip()}\n`````\n"


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    """The text with all changed that is in no code block."""
    parts, at = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(text[at:])])
