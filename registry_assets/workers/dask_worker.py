"""What runs on a Dask worker: one order, and the request to stop it.

Only plain values cross Dask's connection, so that a head and a worker of other versions understand
each other well enough to refuse.
"""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Callable, Mapping
from threading import Event, Lock
from typing import Any, TypedDict

from distributed import Worker, get_worker

from registry_assets.workers.orders import Order
from registry_assets.workers.worker import carry_out, has_snapshot

_SAY_SECONDS = 0.3
_MOST_REMEMBERED = 10_000

_lock = Lock()
_stops: dict[str, Event] = {}
"""The orders that this process has begun or was told to stop, by key."""


class Said(TypedDict):
    """What a worker says about an order.

    Attributes:
        key: The order.
        machine: The names of the machine and of the worker.
        is_start: Whether it has just begun.
        lines: The next lines of output.
    """

    key: str
    machine: str
    is_start: bool
    lines: list[str]


def work(
    data: Mapping[str, Any], pack: bytes | None, topic: str
) -> tuple[Mapping[str, Any] | None, str]:
    """Carries out an order, and streams what its command says to a topic of Dask's.

    Returns:
        The answer as JSON, or None if this worker needs the pack of the snapshot, and its address.
    """
    worker = get_worker()
    _stop_profiling(worker)
    order = Order.from_json(data)
    if pack is None and not has_snapshot(order):
        return None, worker.address
    key = str(worker.get_current_task())
    stop = _stop_of(key)
    speech = _Speech(
        key, f"{platform.node()} ({worker.name})", lambda said: worker.log_event(topic, said)
    )
    try:
        answer = carry_out(order, pack, speech.say, stop)
    finally:
        speech.end()
        with _lock:
            _stops.pop(key, None)
    return answer.to_json(), worker.address


def stop(key: str) -> bool:
    """Ends the command of an order; returns whether this process is carrying it out."""
    with _lock:
        is_begun = key in _stops
        if len(_stops) > _MOST_REMEMBERED:
            return False
        _stops.setdefault(key, Event()).set()
    return is_begun


def _stop_of(key: str) -> Event:
    with _lock:
        return _stops.setdefault(key, Event())


def _stop_profiling(worker: Worker) -> None:
    """Keeps a worker of Python 3.11 from hanging.

    There `sys._current_frames`, which Dask's profiler calls 100 times a second, waits forever when
    the garbage collector starts inside it while another thread begins or ends (python/cpython
    issue 106883). Dask itself leaves out the other one of its two profilers there.
    """
    profiler = worker.periodic_callbacks.get("profile")
    if sys.version_info[:2] == (3, 11) and profiler is not None:
        worker.loop.add_callback(profiler.stop)


class _Speech:
    """Collects lines, and sends them on a few times a second."""

    def __init__(self, key: str, machine: str, send: Callable[[Said], None]) -> None:
        self._key, self._machine, self._send = key, machine, send
        self._lines: list[str] = []
        self._lock = Lock()
        self._ended = Event()
        self._send(self._said(is_start=True))
        self._sender = threading.Thread(target=self._send_regularly, daemon=True)
        self._sender.start()

    def say(self, line: str) -> None:
        """Takes one line."""
        with self._lock:
            self._lines.append(line)

    def end(self) -> None:
        """Sends what is left."""
        self._ended.set()
        self._sender.join()

    def _send_regularly(self) -> None:
        while not self._ended.wait(_SAY_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            said = self._said()
            self._lines.clear()
        if said["lines"]:
            self._send(said)

    def _said(self, *, is_start: bool = False) -> Said:
        return Said(key=self._key, machine=self._machine, is_start=is_start, lines=[*self._lines])
