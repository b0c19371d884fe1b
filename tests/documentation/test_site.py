"""The built site, as files and as a browser shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.chromium import running_chromium, watched_context
from tests.conftest import write_tree
from tests.documentation.conftest import ROOT, build_site

LOADED = {"audio", "embed", "iframe", "img", "link", "script", "source", "video"}
"""Elements whose `src` or `href` a browser loads by itself."""

ADDRESS = re.compile(r"url\(\s*['\"]?(?:https?:)?//")


class Elements(HTMLParser):
    """The elements of a page, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def anchors(self) -> set[str]:
        return {item[name] for _, item in self.found for name in ("id", "name") if name in item}


def pages_of(site: Path) -> dict[Path, Elements]:
    return {
        page: Elements(page.read_text(encoding="utf-8")) for page in sorted(site.rglob("*.html"))
    }


def test_links_and_anchors_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "docs/index.md": "# Start\n\n[a](nothing.md) [b](#nothing) ![c](nothing.webp)\n",
            "mkdocs.yml": f"INHERIT: {ROOT}/mkdocs.yml\nhooks: []\nplugins: []\nextra_css: []\n"
            "nav: [index.md]\n",
        },
    )
    with pytest.raises(AssertionError, match="Aborted with 3 warnings"):
        build_site(tmp_path / "site", tmp_path / "mkdocs.yml")


def test_every_link_leads_to_a_page_and_anchor_of_the_site(site: Path) -> None:
    pages = pages_of(site)
    assert len(pages) > 15
    lost = []
    for page, elements in pages.items():
        if page.name == "404.html":
            continue  # it is shown at any address, so its links begin at the top
        for tag, attributes in elements.found:
            link = urlsplit(attributes.get("href", attributes.get("src", "")))
            if link.scheme or link.netloc or not (link.path or link.fragment):
                continue
            target = (page.parent / unquote(link.path)).resolve() if link.path else page
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(link.fragment)
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].anchors()
            ):
                lost.append((page.relative_to(site).as_posix(), tag, link.geturl()))
    assert lost == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = [
        (page.name, tag, value)
        for page, elements in pages_of(site).items()
        for tag, attributes in elements.found
        if tag in LOADED and attributes.get("rel") != "canonical"
        for name in ("src", "href", "srcset", "poster", "data")
        if urlsplit(value := attributes.get(name, "")).netloc
    ]
    assert loaded == []
    sheets = [path.name for path in site.rglob("*.css") if ADDRESS.search(path.read_text())]
    assert sheets == []


def test_the_start_page_leads_to_every_page_that_people_read(site: Path) -> None:
    links = {item.get("href", "") for _, item in pages_of(site)[site / "index.html"].found}
    pages = [page.relative_to(site).as_posix() for page in site.rglob("*.html")]
    kinds = ("tutorial", "how-to", "reference", "explanation")
    lost = [page for page in pages if page.startswith(kinds) and page not in links]
    assert lost == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """Host and port of a server as `python -m http.server`, which says nothing."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def search(page: Page, words: str) -> list[str]:
    """Searches as a person does; returns where the results lead, the best first."""
    field = page.locator("input.md-search__input")
    field.click()
    field.press_sequentially(words)
    page.locator(".md-search-result__meta", has_text=re.compile(r"\d.* match")).wait_for()
    links = page.locator("a.md-search-result__link")
    links.first.wait_for()
    return [link.get_attribute("href") or "" for link in links.all()]


QUESTIONS = {
    "forget": "how-to/forget-a-picture",
    "NAS": "how-to/bring-from-a-nas",
    "Slurm": "scale|workers",
    "why was my photo removed": "how-to/look-and-decide",
}
"""What people search for, and a part of the address that one of the first results has."""


@pytest.mark.parametrize("from_files", [False, True], ids=["served", "opened from the disk"])
def test_searching_finds_what_people_look_for(
    browser: Browser, served: str, site: Path, from_files: bool
) -> None:
    host, address = served, f"http://{served}/index.html"
    if from_files:
        host, address = "", f"{(site / 'index.html').as_uri()}"
    with watched_context(browser, host) as watched:
        # From the disk it is the same index in another file: one question tells.
        for words, expected in list(QUESTIONS.items())[: 1 if from_files else None]:
            page = watched.open(address)
            found = search(page, words)[:5]
            assert re.search(expected, " ".join(found), re.IGNORECASE), (words, found)


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)], ids=["desk", "phone"])
def test_pages_fit_and_show_the_colours_of_the_system(
    browser: Browser, served: str, width: int, dark: bool
) -> None:
    with watched_context(browser, served, width=width, dark=dark) as watched:
        page = watched.open(f"http://{served}/index.html")
        for name in ("index", "reference/commands", "reference/tables", "explanation/why-not"):
            page.goto(f"http://{served}/{name}.html")
            page.locator("h1").first.wait_for()
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, name
            red = page.evaluate(
                "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
            )
            assert (red < 80) == dark, name
