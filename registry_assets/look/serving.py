"""The server of `registry look`."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import uvicorn
from starlette.types import ASGIApp

from registry_assets.errors import UnusableError

DEFAULT_PORT = 3100

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_LEAVE_SECONDS = 1
"""How long requests that are being answered keep the server from ending."""


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens.

    Args:
        host: A name or an address of this machine.
        port: The port; None for the default one, or a free one if that is taken.

    Raises:
        UnusableError: when nothing can listen there.
    """
    try:
        try:
            return _bind(host, port or DEFAULT_PORT)
        except OSError as error:
            if port is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return _bind(host, 0)
    except OSError as error:
        raise cannot_listen("look", host, port or DEFAULT_PORT, error) from error


def cannot_listen(command: str, host: str, port: int, error: OSError) -> UnusableError:
    """The error for an address that a command of `registry` cannot listen on."""
    # Python's message repeats the address.
    reason = (error.strerror or str(error)).partition(" (while ")[0]
    step = (
        f"choose another with --port: `registry {command} --port {port % 65535 + 1}`"
        if error.errno in (errno.EADDRINUSE, errno.EACCES)
        else "give an IPv4 address or a name of this machine with --host: `registry "
        f"{command} --host 127.0.0.1`"
    )
    return UnusableError(f"cannot listen on {host}:{port}: {reason}; {step}")


def _bind(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on a host."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def serve(app: ASGIApp, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve an application until this process is interrupted; in its main thread only.

    Args:
        app: The application.
        listener: A socket that listens.
        on_start: Called once it answers.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",
        # The access log would hold the token.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_LEAVE_SECONDS,
        ws="none",
    )
    _Server(config, on_start).run([listener])


class _Server(uvicorn.Server):
    """Ends on SIGINT, SIGTERM and SIGHUP without raising anything."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The one of uvicorn sends itself the signal again at the end, still inside the event loop,
        # and a handler that raises would break off what closes it.
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
