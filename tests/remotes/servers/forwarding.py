"""HTTP requests forwarded to a server on loopback, or answered in its place."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.remotes.servers.processes import HOST

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it gets.

    Attributes:
        status: The status.
        content: The body.
        headers: Those of the body and the service.
        length: Of the body, where the answer has a length and no body.
        sent: How many bytes of the body are sent before the connection ends; None for all.
    """

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    length: str | None = None
    sent: int | None = None


class Forwarder(ThreadingHTTPServer):
    """Listens on a port of its own, and begins at once.

    Args:
        server_port: The server behind it.
    """

    daemon_threads = True

    def __init__(self, server_port: int) -> None:
        super().__init__((HOST, 0), _Handler)
        self._behind = server_port
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, request: Request) -> Answer | None:
        """Answers a request; None ends the connection without an answer."""
        return self.forward(request)

    def forward(self, request: Request) -> Answer:
        """What the server behind answers."""
        kept = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        connection = http.client.HTTPConnection(HOST, self._behind, timeout=_SECONDS)
        try:
            length = {"Content-Length": str(len(request.body))}
            connection.request(request.method, request.path, request.body, {**kept, **length})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        headers = {k: v for k, v in response.getheaders() if k.lower() not in _HOP_BY_HOP}
        has_no_body = request.method == "HEAD"
        return Answer(
            response.status,
            content,
            headers,
            length=response.getheader("Content-Length") if has_no_body else None,
        )

    def shut(self) -> None:
        """Ends for good."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing where a client has left, as they do with an answer that they know."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Forwarder

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def _handle(self) -> None:
        request = Request(self.command, self.path, dict(self.headers), self._read_body())
        answer = self.server.answer(request)
        if answer is None:
            self.close_connection = True
        else:
            self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.length or str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content[: answer.sent])
        if answer.sent is not None:
            self.close_connection = True
