"""Orders carried by Dask: to the workers of a scheduler, or to processes on this machine.

Dask queues orders, places them by resources, and gives those of a worker that died to another. It
does not stop what runs when a future is cancelled, so workers keep a register of what they run
(`dask_worker`).
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, LocalCluster

from registry_assets.addresses import without_secrets
from registry_assets.errors import RegistryError, UnusableError
from registry_assets.model import Workers
from registry_assets.workers import dask_worker
from registry_assets.workers.crew import Errand, Report
from registry_assets.workers.orders import Answer
from registry_assets.workers.place import CACHE
from registry_assets.workers.versions import read_versions

_T = TypeVar("_T")

_CONNECT_SECONDS = 15.0
_LOST_SECONDS = 15.0
"""How long the scheduler may be gone."""
_POLL_SECONDS = 0.5
_STOP_SECONDS = 20.0
_ASK_SECONDS = 5.0
_LOOK_SECONDS = 2.0
_WAIT_SECONDS = 30.0
"""How often it is said that no worker is there."""
_LEAST_AT_ONCE = 8
_MOST_DEATHS = 4
_RESTART_SECONDS = 20.0
_MOST_ROUNDS = 20
"""How often an order is given to Dask anew."""

_DONE = None
_NO_MODULE = "No module named"
_NO_PACKAGE = "deserialization of the task graph"
"""In what Dask says if the scheduler lacks a package."""


class DaskEngine:
    """Carries orders by Dask; see `crew.Engine`.

    Args:
        workers: The settings.
        cache: DVC's cache directory, which local workers share.
        report: Takes a line while waiting for workers.

    Raises:
        UnusableError: when the scheduler does not answer.
    """

    def __init__(self, workers: Workers, cache: Path, report: Report) -> None:
        self._let_speak = _silence()
        self._cluster = _start_workers(workers, cache) if workers.local else None
        self._address = workers.scheduler or ""
        try:
            self._client = _within(_CONNECT_SECONDS + _ASK_SECONDS, self._connect)
        except (OSError, TimeoutError, ValueError) as error:
            self._close_cluster()
            raise UnusableError(
                f"no Dask scheduler answers at {without_secrets(self._address)} "
                f"({_first_line(error)}): start it (`dask scheduler`), or correct `scheduler` in "
                "[tool.registry_assets.workers]"
            ) from error
        self._topic = f"registry-{uuid.uuid4().hex}"
        self._lines: dict[str, queue.SimpleQueue[dask_worker.Said | None]] = {}
        self._client.subscribe_topic(self._topic, self._take_event)
        self._lock = Lock()
        self._report = report
        self._told: dict[str, float] = {}
        self._is_lost = False
        self._known: Mapping[str, Mapping[str, float]] = {}
        self._threads = 0
        self._looked = 0.0
        self._had_fit = False
        self._unfit = self._find_unfit()

    def _connect(self) -> Client:
        return Client(
            self._cluster or self._address,
            timeout=_CONNECT_SECONDS,
            name="registry",
            set_as_default=False,
        )

    @property
    def most_at_once(self) -> int:
        """Twice the number of threads of all workers, so that none waits for its next order."""
        self._look()
        return max(2 * self._threads, _LEAST_AT_ONCE)

    def carry(self, errand: Errand, report: Report, stop: Event) -> tuple[Answer, str]:
        """Carries an order to a worker; see `crew.Engine.carry`."""
        address = errand.order.stage.address
        died: list[str] = []
        lacking: str | None = None
        for _ in range(_MOST_ROUNDS):
            if self._is_lost:
                raise self._lost()
            chosen = self._choose(errand, stop) if lacking is None else [lacking]
            pack = None if lacking is None else errand.snapshot.pack
            lacking = None
            started: list[str] = []
            try:
                found = self._carry_once(errand, pack, chosen, started, report, stop)
            except KilledWorker:
                found = None
            if isinstance(found, str):
                lacking = found
            elif found is not None:
                return found
            else:
                # Of a worker that died, Dask suspects whatever it had been given; only what had
                # been started is.
                died += started
            if len(died) >= _MOST_DEATHS:
                raise RegistryError(
                    f"{address} is given up: {len(died)} workers died while they made it, "
                    f"{', '.join(dict.fromkeys(died))}; look at their logs, and at their memory"
                )
        raise RegistryError(
            f"{address} is given up: workers died again and again; look at their logs"
        )

    def _carry_once(
        self,
        errand: Errand,
        pack: bytes | None,
        chosen: Collection[str] | None,
        started: list[str],
        report: Report,
        stop: Event,
    ) -> tuple[Answer, str] | str | None:
        """Gives an order to Dask once.

        `started` gets the machines that begin it.

        Returns:
            The answer and the worker; or only the worker if it needs the pack of the snapshot; None
            if all chosen workers went away.
        """
        address = errand.order.stage.address
        # Dask remembers how long tasks take by what stands before the number: the stage's name.
        name = address.rpartition(":")[2].partition("@")[0]
        key = f"{name}-{uuid.uuid4().hex}"
        said: queue.SimpleQueue[dask_worker.Said | None] = queue.SimpleQueue()
        self._lines[key] = said
        try:
            future = self._submit(key, errand, pack, chosen)
            try:
                has_ended = self._wait(
                    future, key, said, started, report, stop, errand.needs, chosen
                )
            except BaseException:
                # Such as an interrupt of a run that waits in the main thread.
                self._stop(key, future)
                raise
            if not has_ended:
                return None
            data, worker = self._result(future, address)
        finally:
            del self._lines[key]
        return worker if data is None else (Answer.from_json(data), worker)

    def close(self) -> None:
        """Disconnects, and ends local workers."""
        with suppress(OSError):
            _within(_ASK_SECONDS, self._client.close)
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close(timeout=_STOP_SECONDS)
        self._let_speak()

    def _choose(self, errand: Errand, stop: Event) -> Collection[str] | None:
        """The workers that may carry an order; None for any.

        Raises:
            UnusableError: when all were refused, also those that connected within a time.
        """
        avoid, shun = {*errand.avoid, *self._unfit}, errand.shun
        if not avoid and not shun:
            return None
        # A nanny needs a while to start a worker again.
        ends = time.monotonic() + (_RESTART_SECONDS if self._had_fit else 0)
        while True:
            able = [name for name, having in self._look().items() if _has(having, errand.needs)]
            fit = [name for name in able if name not in avoid]
            self._had_fit |= bool(fit)
            if fit or not able:
                return [name for name in fit if name not in shun] or fit or None
            if time.monotonic() >= ends or stop.wait(_POLL_SECONDS):
                break
        raise UnusableError(
            "every worker was refused, as said above: install the same versions there, or set "
            '`versions` in [tool.registry_assets.workers] to "any"'
        )

    def _look(self) -> Mapping[str, Mapping[str, float]]:
        """The resources of each worker by its address, as of a moment ago."""
        with self._lock:
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                # What a scheduler that goes away just now does not say is what it said before.
                with suppress(OSError):
                    info = _within(_ASK_SECONDS, lambda: self._client.scheduler_info(n_workers=-1))
                    found = info["workers"]
                    self._known = {name: item["resources"] for name, item in found.items()}
                    self._threads = sum(item["nthreads"] for item in found.values())
                self._looked = time.monotonic()
            return self._known

    def _submit(
        self, key: str, errand: Errand, pack: bytes | None, chosen: Collection[str] | None
    ) -> Future[Any]:
        """Submits an order.

        The pack of its snapshot is sent to a worker that asks for it. If it were a task, all orders
        would be placed on the workers that hold its result.
        """
        with self._lock, warnings.catch_warnings():
            # A pack is large, and is sent to each worker once.
            warnings.simplefilter("ignore", UserWarning)
            return self._client.submit(
                dask_worker.work,
                errand.order.to_json(),
                pack,
                self._topic,
                key=key,
                pure=False,
                resources=dict(errand.needs) or None,
                workers=None if chosen is None else list(chosen),
            )

    def _take_event(self, event: tuple[float, dask_worker.Said]) -> None:
        """Hands what a worker says on to who waits for it; called by Dask's own thread."""
        said = event[1]
        lines = self._lines.get(said["key"])
        if lines is not None:
            lines.put(said)

    def _wait(
        self,
        future: Future[Any],
        key: str,
        said: queue.SimpleQueue[dask_worker.Said | None],
        started: list[str],
        report: Report,
        stop: Event,
        needs: Mapping[str, float],
        chosen: Collection[str] | None,
    ) -> bool:
        """Waits for an order, and reports what the worker says; `started` gets its machines.

        Returns:
            Whether it has ended; otherwise the chosen workers are gone.
        """
        future.add_done_callback(lambda _future: said.put(_DONE))
        since = time.monotonic()
        lost_since: float | None = None
        stopped: float | None = None
        while True:
            if stop.is_set() and stopped is None:
                stopped = time.monotonic()
                self._stop(key, future)
            if stopped is not None and time.monotonic() - stopped > _STOP_SECONDS:
                raise RegistryError(f"{_known_as(started)} does not answer: its command may run on")
            try:
                item = said.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                pass
            else:
                if item is _DONE:
                    return True
                if item["machine"] and item["is_start"]:
                    if started:
                        report(f"{started[-1]} is gone")
                    started.append(item["machine"])
                    waited = time.monotonic() - since
                    report(f"on {item['machine']}, {waited:.1f} s after it was ordered")
                for line in item["lines"]:
                    report(line)
                continue
            if self._client.status == "running":
                lost_since = None
                if chosen is not None and self._look().keys().isdisjoint(chosen):
                    future.cancel(force=True)
                    return False
                if not started:
                    self._say_waiting(needs)
                continue
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > _LOST_SECONDS:
                raise self._lost()

    def _result(self, future: Future[Any], address: str) -> tuple[Mapping[str, Any] | None, str]:
        try:
            data, worker = future.result(timeout=_CONNECT_SECONDS)
        except KilledWorker:
            raise
        except CancelledError as error:
            if self._client.status != "running":
                raise self._lost() from error
            raise RegistryError(
                f"{address}: the Dask scheduler forgot about it; run this again"
            ) from error
        except TimeoutError as error:
            raise self._lost() from error
        except Exception as error:
            # Whatever a task raises there; `carry_out` makes answers of what can be expected.
            if _NO_PACKAGE in str(error):
                raise UnusableError(
                    f"the Dask scheduler at {without_secrets(self._address)} cannot import "
                    "registry_assets: install the same version in its environment, with the extra "
                    "`dask`, and start it again"
                ) from error
            raise RegistryError(
                f"{address} could not be made: a worker failed with {type(error).__name__} "
                f"({_first_line(error)})"
            ) from error
        return data, worker

    def _find_unfit(self) -> set[str]:
        """The workers that lack this package: they end when they are given an order."""
        answers: Mapping[str, Any] = {}
        with suppress(OSError):
            answers = _within(
                _ASK_SECONDS, lambda: self._client.run(read_versions, on_error="return")
            )
        unfit = {name for name, said in answers.items() if _NO_MODULE in str(said)}
        for worker in unfit:
            self._report(f"{worker} is not used: it lacks this package")
        return unfit

    def _stop(self, key: str, future: Future[Any]) -> None:
        """Has the worker end a command; takes an order back that no worker has begun."""
        if self._client.status != "running":
            return
        running: Mapping[str, bool] = {}
        try:
            running = _within(
                _ASK_SECONDS,
                lambda: self._client.run(dask_worker.stop, key, on_error="ignore"),
            )
        except OSError:
            # Of a worker, or of the scheduler.
            self._report("no answer from Dask: commands on other machines may run on to their end")
        if not any(running.values()):
            future.cancel(force=True)

    def _say_waiting(self, needs: Mapping[str, float]) -> None:
        """Says from time to time that there is no worker with what a stage needs."""
        if any(_has(having, needs) for having in self._look().values()):
            return
        wanted = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
        now = time.monotonic()
        if now - self._told.get(wanted, -_WAIT_SECONDS) < _WAIT_SECONDS:
            return
        self._told[wanted] = now
        self._report(
            f"waiting for a worker {wanted and f'with {wanted} '}to connect to "
            f"{without_secrets(self._address)}"
        )

    def _lost(self) -> UnusableError:
        self._is_lost = True
        return UnusableError(
            f"the Dask scheduler at {without_secrets(self._address)} is gone: start it and its "
            "workers again, and run this again; what they finished is found"
        )


def _start_workers(workers: Workers, cache: Path) -> LocalCluster:
    needed: dict[str, float] = {}
    for needs in workers.stages.values():
        for name, amount in needs.items():
            needed[name] = max(amount, needed.get(name, 0))
    return LocalCluster(
        n_workers=workers.local,
        threads_per_worker=1,
        processes=True,
        # Dask listens on a port of this kind in any case: on all interfaces, if not told otherwise.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.ERROR,
        resources=needed or None,
        env={CACHE: str(cache)},
    )


def _silence() -> Callable[[], None]:
    """Keeps Dask's remarks about connections that end from the terminal; returns what undoes it."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)

    def undo() -> None:
        for logger, level in levels.items():
            logger.setLevel(level)

    return undo


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """Calls a function that may wait forever, as for a machine that hangs.

    Raises:
        TimeoutError: when it has not returned in time; it goes on in its thread.
    """
    answer: futures.Future[_T] = futures.Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            # It is raised where somebody waits for the answer.
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return answer.result(seconds)
    except futures.TimeoutError:
        raise TimeoutError(f"no answer in {seconds:.0f} s") from None


def _has(having: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    return all(having.get(name, 0) >= amount for name, amount in needs.items())


def _known_as(machines: Sequence[str]) -> str:
    return machines[-1] if machines else "the Dask scheduler"


def _first_line(error: BaseException) -> str:
    lines = without_secrets(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
