"""The watch over pages: a test fails whose page does what it must not."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.chromium import running_chromium, watched_context
from tests.remotes.servers.processes import MissingServerError

PAGES = {
    "/quiet": "<p>quiet</p>",
    "/console": "<script>console.error('from the console')</script>",
    "/exception": "<script>throw new Error('from a script')</script>",
    "/elsewhere": "<img src='http://127.0.0.2:9/picture.png'>",
    "/missing": "<img src='/nowhere.png'>",
}


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGES.get(self.path, "").encode()
        self.send_response(200 if body or self.path == "/favicon.ico" else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_quiet_page_passes(browser: Browser, host: str) -> None:
    with watched_context(browser, host) as watched:
        assert watched.open(f"http://{host}/quiet").inner_text("p") == "quiet"


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("console", "console: from the console"),
        ("exception", "uncaught: from a script"),
        ("elsewhere", "request to another host: http://127.0.0.2:9/picture.png"),
        ("missing", "404"),
    ],
)
def test_what_a_page_must_not_do_fails_the_test(
    browser: Browser, host: str, path: str, fault: str
) -> None:
    with pytest.raises(AssertionError, match=fault), watched_context(browser, host) as watched:
        watched.open(f"http://{host}/{path}").wait_for_timeout(100)


def test_a_fault_that_was_announced_passes(browser: Browser, host: str) -> None:
    with watched_context(browser, host) as watched:
        watched.expected.append("from the console")
        watched.open(f"http://{host}/console")
        assert len(watched.faults) == 1


def test_a_missing_chromium_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with (
        pytest.raises(MissingServerError, match=r"run `make servers`.*apt-get install.* chromium"),
        running_chromium(),
    ):
        pass
