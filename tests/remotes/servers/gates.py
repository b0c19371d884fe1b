"""What stands between a client and a server, and can be shut while they talk."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tests.remotes.servers.forwarding import Answer, Forwarder, Request
from tests.remotes.servers.processes import HOST

_BLOCK = 65536


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
    """Passes on bytes; shut, it drops all connections and takes no new ones, as a dead machine.

    Silent, it keeps connections and passes on nothing, as a network that loses every packet.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._left: int | None = None
        self._is_shut = False
        self._silence: threading.Event | None = None
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
                    silence = self._silence if is_last else None
                target.sendall(block)
                if silence is not None:
                    silence.wait()
                    break
                if is_last:
                    self.shut()
        _drop(source, target)

    def shut_after(self, size: int) -> None:
        with self._lock:
            self._left = size

    def be_silent_after(self, size: int) -> None:
        """Lets so many more bytes through, then keeps all others back until it is reopened."""
        with self._lock:
            self._silence = threading.Event()
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
            if self._silence is not None:
                self._silence.set()
                self._silence = None
            if self._is_shut or self._listener.fileno() < 0:
                self._listener = self._listen()
            self._is_shut = False


def _drop(*ends: socket.socket) -> None:
    for end in ends:
        # Closing alone neither wakes up who waits for it, nor tells the other side meanwhile.
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


class RequestGate(Forwarder):
    """Forwards HTTP requests; shut, it refuses each, as a service whose account was disabled.

    For services whose libraries take a minute and more to give up on a dead machine, which nothing
    in DVC's settings changes.

    Args:
        server_port: The server behind it.
        doorman: Answers a request in place of the server: an answer, or None to forward it.
    """

    def __init__(
        self, server_port: int, doorman: Callable[[Request], Answer | None] | None = None
    ) -> None:
        self._doorman = doorman
        self._left: int | None = None
        self._lock = threading.Lock()
        super().__init__(server_port)

    def shut_after(self, size: int) -> None:
        self._left = size

    def reopen(self) -> None:
        self._left = None

    def answer(self, request: Request) -> Answer:
        if self._is_shut_for(len(request.body)):
            refusal = {"x-ms-error-code": "AccountIsDisabled"}
            return Answer(403, b"The account is disabled", refusal)
        answered = self._doorman and self._doorman(request)
        if answered:
            return answered
        answer = self.forward(request)
        self._is_shut_for(len(answer.content))
        return answer

    def _is_shut_for(self, size: int) -> bool:
        """Counts so many bytes, and says whether it was shut before them."""
        with self._lock:
            is_shut = self._left is not None and self._left <= 0
            if self._left is not None:
                self._left -= size
        return is_shut
