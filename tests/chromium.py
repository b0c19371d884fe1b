"""Chromium, from Debian's package, looking at a page for a test.

Its headless shell, where that is installed: it draws no window that nobody sees, and takes a fifth
of the CPU time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.remotes.servers.processes import MissingServerError, find_program

PACKAGE = "chromium-headless-shell"
PATIENCE = 60_000
"""How long a page may take for anything, in ms, on a machine that does much else."""
_ARGUMENTS = [
    "--no-sandbox",  # which it cannot have as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_LOCAL_SCHEMES = {"about", "blob", "data"}

expect.set_options(timeout=PATIENCE)


def find_chromium() -> str:
    """The path of Chromium's headless shell, or else of `chromium`."""
    try:
        return find_headless_shell()
    except MissingServerError:
        if found := shutil.which("chromium"):
            return found
        raise


def find_headless_shell() -> str:
    """The path of Chromium's headless shell."""
    return find_program(PACKAGE, PACKAGE)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Starts Chromium.

    Playwright's event loop runs in this thread as long as Chromium does: `asyncio.run` has to wait.
    """
    program = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class WatchedContext:
    """A browser context of its own, and what went wrong in its pages.

    Attributes:
        context: The context; its pages are watched.
        host: The only host and port that pages may ask.
        faults: Errors on the console, uncaught exceptions, refusals by the content policy, and
            requests to other hosts, in order.
        expected: Parts of faults that a test provokes on purpose.
    """

    context: BrowserContext
    host: str
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        """Opens a page and waits until it has loaded."""
        page = self.context.new_page()
        page.goto(address)
        return page

    def unexpected_faults(self) -> list[str]:
        """The faults that no test has announced."""
        return [fault for fault in self.faults if not any(part in fault for part in self.expected)]

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location['url']})")

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in _LOCAL_SCHEMES and address.netloc != self.host:
            self.faults.append(f"request to another host: {request.url}")

    def watch(self) -> None:
        """Starts to note what goes wrong."""
        self.context.on("console", self._note_message)
        self.context.on("request", self._note_request)
        self.context.on("weberror", lambda error: self.faults.append(f"uncaught: {error.error}"))


@contextmanager
def watched_context(
    browser: Browser, host: str, *, width: int = 1400, height: int = 900, dark: bool = False
) -> Iterator[WatchedContext]:
    """Opens a context for a test, and fails the test at its end if anything went wrong in it.

    Args:
        browser: Who opens it.
        host: Host and port that its pages may ask.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        dark: Whether the person prefers dark pages.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    watched = WatchedContext(context, host)
    watched.watch()
    yield watched
    context.close()
    if faults := watched.unexpected_faults():
        raise AssertionError("\n".join(["The page must not:", *faults]))
