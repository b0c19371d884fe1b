"""A proxy between a client and an HTTP server on loopback that does wrong by chance."""

from __future__ import annotations

import http.client
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TROUBLES = ("refuse", "error", "busy", "drop", "cut", "wrong bytes", "stall")
"""What may happen to a request; see `_Handler`."""

_HOST = "127.0.0.1"
_STALL_SECONDS = 8.0
_PER_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class TroubledProxy(ThreadingHTTPServer):
    """Passes on requests, some of them with a trouble.

    Attributes:
        trouble: One of `TROUBLES`; None passes on everything.
        share: Of the requests that get it.
        met: How many requests got it.
    """

    daemon_threads = True

    def __init__(self, server_port: int, chance: random.Random) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.server_port_behind = server_port
        self.trouble: str | None = None
        self.share = 0.0
        self.met = 0
        self._chance, self._lock = chance, threading.Lock()

    def next_trouble(self) -> str | None:
        """The trouble of the next request, if any."""
        with self._lock:
            if self.trouble is None or self._chance.random() >= self.share:
                return None
            self.met += 1
            return self.trouble

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing where a client has left."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def serving(server_port: int, chance: random.Random) -> Iterator[TroubledProxy]:
    """Runs such a proxy before a server."""
    with TroubledProxy(server_port, chance) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TroubledProxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        trouble = self.server.next_trouble()
        status = {"refuse": 403, "error": 500, "busy": 503}.get(trouble or "")
        if status is not None:
            self._answer(status, {}, b"<Error><Code>Trouble</Code></Error>", None)
            return
        if trouble == "stall":
            time.sleep(_STALL_SECONDS)
        if trouble in ("drop", "stall"):
            self.close_connection = True
            return
        behind = http.client.HTTPConnection(_HOST, self.server.server_port_behind, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _PER_CONNECTION}
        behind.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        response = behind.getresponse()
        content = response.read()
        kept = {k: v for k, v in response.getheaders() if k.lower() not in _PER_CONNECTION}
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        if trouble == "wrong bytes" and self.command == "GET":
            content = content[::-1]
        cut = trouble == "cut" and self.command == "GET" and content
        self._answer(
            response.status, kept, content, length, part=len(content) // 2 if cut else None
        )
        behind.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _answer(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        length: str | None,
        part: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:part])
        self.close_connection = self.close_connection or part is not None
