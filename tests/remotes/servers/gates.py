"""What stands between a client and a server, and can be shut while they talk."""

from __future__ import annotations

import http.client
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from tests.remotes.servers.processes import HOST

_BLOCK = 65536
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Gate(Protocol):
    """A way to a server.

    Attributes:
        port: Where clients find it.
    """

    port: int

    def shut_after(self, size: int) -> None:
        """Lets so many more bytes through in the direction of more, then no more."""

    def reopen(self) -> None:
        """Lets everything through again."""


class ConnectionGate:
    """Passes on bytes; shut, it drops all connections and takes no new ones, as a dead machine."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._left: int | None = None
        self._is_shut = False
        self._open: set[socket.socket] = set()
        self.port = 0
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        listener = socket.create_server((HOST, self.port))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection((HOST, self._server_port))
            except OSError:
                return
            with self._lock:
                if self._is_shut:
                    client.close()
                    server.close()
                    return
                self._open |= {client, server}
            for end in (client, server):
                # Without, small packets wait for the answer to the one before, 40 ms each.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                with self._lock:
                    is_last = self._left is not None and self._left <= len(block)
                    if self._left is not None:
                        block = block[: self._left]
                        self._left -= len(block)
                target.sendall(block)
                if is_last:
                    self.shut()
        _drop(source, target)

    def shut_after(self, size: int) -> None:
        with self._lock:
            self._left = size

    def shut(self) -> None:
        """Drops all connections and takes no new ones."""
        with self._lock:
            if self._is_shut:
                return
            self._is_shut = True
            ends, self._open = self._open, set()
        _drop(self._listener, *ends)

    def reopen(self) -> None:
        with self._lock:
            self._left = None
            self._listener = self._listen()
            self._is_shut = False


def _drop(*ends: socket.socket) -> None:
    for end in ends:
        # Closing alone neither wakes up who waits for it, nor tells the other side meanwhile.
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


class RequestGate:
    """Passes on HTTP requests; shut, it refuses each, as a service whose account was disabled.

    For services whose libraries take a minute and more to give up on a dead machine, which nothing
    in DVC's settings changes.

    Args:
        server_port: The server behind it.
        answer: Answers a request in place of the server: status and text, or None to pass it on.
    """

    def __init__(
        self,
        server_port: int,
        answer: Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes] | None]
        | None = None,
    ) -> None:
        self.server_port = server_port
        self.answer = answer
        self.left: int | None = None
        self.lock = threading.Lock()
        self._server = _Server((HOST, 0), _Handler, self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def shut_after(self, size: int) -> None:
        self.left = size

    def reopen(self) -> None:
        self.left = None

    def shut(self) -> None:
        """Ends for good."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], gate: RequestGate
    ) -> None:
        super().__init__(address, handler)
        self.gate = gate

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing where a client has left, as they do with an answer that they know."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def _handle(self) -> None:
        body = self._read_body()
        gate = self.server.gate
        with gate.lock:
            is_shut = gate.left is not None and gate.left <= 0
            if gate.left is not None:
                gate.left -= len(body)
        if is_shut:
            self._answer(403, {"x-ms-error-code": "AccountIsDisabled"}, b"The account is disabled")
            return
        answered = gate.answer and gate.answer(self.command, self.path, dict(self.headers), body)
        if answered:
            self._answer(answered[0], {"Content-Type": "application/json"}, answered[1])
            return
        self._forward(gate, body)

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

    def _forward(self, gate: RequestGate, body: bytes) -> None:
        connection = http.client.HTTPConnection(HOST, gate.server_port, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        connection.request(
            self.command, self.path, body, {**headers, "Content-Length": str(len(body))}
        )
        response = connection.getresponse()
        content = response.read()
        if gate.left is not None:
            with gate.lock:
                gate.left -= len(content)
        kept = [(k, v) for k, v in response.getheaders() if k.lower() not in _HOP_BY_HOP]
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        self._answer(response.status, dict(kept), content, length)
        connection.close()

    def _answer(
        self, status: int, headers: Mapping[str, str], content: bytes, length: str | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
