"""A proxy between a client and an HTTP server on loopback that does wrong by chance."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.remotes.servers.forwarding import Answer, Forwarder, Request

TROUBLES = ("refuse", "error", "busy", "drop", "cut", "wrong bytes", "stall")
"""What may happen to a request; see `TroubledProxy.answer`."""

_STATUS = {"refuse": 403, "error": 500, "busy": 503}
_STALL_SECONDS = 8.0


class TroubledProxy(Forwarder):
    """Forwards requests, some of them with a trouble.

    Attributes:
        trouble: One of `TROUBLES`; None forwards everything.
        share: Of the requests that get it.
        met: How many requests got it.
    """

    def __init__(self, server_port: int, chance: random.Random) -> None:
        self.trouble: str | None = None
        self.share = 0.0
        self.met = 0
        self._chance, self._lock = chance, threading.Lock()
        super().__init__(server_port)

    def answer(self, request: Request) -> Answer | None:
        """Answers a request, or does wrong."""
        trouble = self._next_trouble()
        if trouble in _STATUS:
            return Answer(_STATUS[trouble], b"<Error><Code>Trouble</Code></Error>")
        if trouble == "stall":
            time.sleep(_STALL_SECONDS)
        if trouble in ("drop", "stall"):
            return None
        answer = self.forward(request)
        if request.method != "GET" or not answer.content:
            return answer
        if trouble == "wrong bytes":
            return replace(answer, content=answer.content[::-1])
        if trouble == "cut":
            return replace(answer, sent=len(answer.content) // 2)
        return answer

    def _next_trouble(self) -> str | None:
        """The trouble of the next request, if any."""
        with self._lock:
            if self.trouble is None or self._chance.random() >= self.share:
                return None
            self.met += 1
            return self.trouble


@contextmanager
def serving(server_port: int, chance: random.Random) -> Iterator[TroubledProxy]:
    """Runs such a proxy before a server."""
    proxy = TroubledProxy(server_port, chance)
    try:
        yield proxy
    finally:
        proxy.shut()
