"""Mapping a function over many files in processes that may die, and that cost one file then.

What strangers wrote is decoded in such a process only, see `worker_process` for what it may use.

Each is a new interpreter. A fork of this process would be quicker, but this may be Dagster, with
threads whose locks would stay locked in the child, or hold somebody's lock file open. The
forkserver of `multiprocessing` imports the main module of the program in each child, which takes
longer than starting Python, and asks that it be written for that. To make up for it, processes
that have done their work are kept for a minute, for the next sheet or collection.
"""

import atexit
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, TypeVar

from registry_assets.images.worker_process import (
    DONE,
    NO_MEMORY,
    RAISED,
    READY,
    TIME_SIGNALS,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

CRASHED = "decoder crashed"
TOO_LONG = "takes too long to decode"
TOO_LARGE = "too large: decoding needs more memory than there is"

_CHUNKS_PER_WORKER = 4

# The libraries that NumPy brings would start threads of their own, for nothing that is used here.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from registry_assets.images.worker_process import main; main()"
)


def count_usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    on_failure: Callable[[Item, str], Result],
    executor: Executor | None = None,
    chunk_size: int = 8,
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items.

    Memory does not grow with the number of items: only a few chunks per worker are under way.

    An item whose worker dies (a decoder crashed, or the system ran out of memory) is tried a second
    time, in a new process: what killed it may have been an item before.

    Args:
        function: Has to be picklable, as have items and results.
        items: Read as they are needed.
        on_failure: Gives the result of an item that could not be done, from the reason: `CRASHED`,
            `TOO_LONG` or `TOO_LARGE`. Called in this process.
        executor: Where the function runs instead of worker processes of this machine, which do what
            it fails at. It is left running.
        chunk_size: How many items travel to a worker together.

    Raises:
        RuntimeError: If worker processes cannot be started.
    """
    iterator = iter(items)
    chunks = iter(lambda: list(islice(iterator, chunk_size)), [])
    guard = _Guard(function, on_failure)
    workers = count_usable_cores()
    # The pools of the standard library know; of others, like Dask's, many workers are assumed.
    most_pending = _CHUNKS_PER_WORKER * int(
        getattr(executor, "_max_workers", 64) if executor else workers
    )
    pending: deque[tuple[list[Item], Future[list[Result]] | None]] = deque()
    # Each thread waits for one process, and is not started before there is work for it.
    threads = ThreadPoolExecutor(workers)
    try:
        while True:
            for chunk in islice(chunks, most_pending - len(pending)):
                if executor is None:
                    pending.append((chunk, threads.submit(guard.run, chunk)))
                else:
                    pending.append((chunk, _submit(executor, function, chunk)))
            if not pending:
                return
            chunk, future = pending.popleft()
            if executor is None and future is not None:
                yield from future.result()
            else:
                yield from _result_or_none(future) or guard.run(chunk)
    finally:
        guard.abandon()
        threads.shutdown(cancel_futures=True)


def _submit(
    executor: Executor, function: Callable[[Item], Result], chunk: list[Item]
) -> Future[list[Result]] | None:
    try:
        return executor.submit(_run_chunk, function, chunk)
    except Exception:
        return None


def _run_chunk(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _result_or_none(future: Future[list[Result]] | None) -> list[Result] | None:
    # Clusters raise what they like when they lose a worker. What is the function's own error comes
    # up again here.
    try:
        return future.result() if future else None
    except Exception:
        return None


class _Guard(Generic[Item, Result]):
    """One mapping: which processes work for it, and what happens to those that die."""

    def __init__(
        self, function: Callable[[Item], Result], on_failure: Callable[[Item, str], Result]
    ) -> None:
        self._function, self._on_failure = function, on_failure
        self._busy: set[_Worker] = set()
        self._is_abandoned = False

    def run(self, chunk: list[Item]) -> list[Result]:
        """Return the result of each item; runs in several threads at once."""
        results: list[Result] = []
        died_at: int | None = None
        while len(results) < len(chunk):
            worker = _take_worker()
            self._busy.add(worker)
            try:
                # Looked at last, so that no process is overlooked by who abandons all of them.
                if self._is_abandoned:
                    raise CancelledError
                for kind, value in worker.work(self._function, chunk[len(results) :]):
                    if kind == NO_MEMORY:
                        value = self._on_failure(chunk[len(results)], TOO_LARGE)
                    results.append(value)
            except _WorkerDiedError as died:
                if self._is_abandoned:
                    raise CancelledError from None
                item, is_second_time = chunk[len(results)], died_at == len(results)
                if died.took_too_long or is_second_time:
                    reason = TOO_LONG if died.took_too_long else CRASHED
                    results.append(self._on_failure(item, reason))
                else:
                    died_at = len(results)
            finally:
                self._busy.discard(worker)
                worker.release()
        return results

    def abandon(self) -> None:
        """End what is still under way, when nobody waits for the results any more."""
        self._is_abandoned = True
        for worker in [*self._busy]:
            worker.kill()


class _WorkerDiedError(Exception):
    """A worker process ended before it had answered.

    Attributes:
        took_too_long: Whether it was ended because its time was over.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.took_too_long = -status in TIME_SIGNALS


class _Worker:
    """A process, and the pipes to it."""

    def __init__(self) -> None:
        paths = [path for path in sys.path if isinstance(path, str)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ENVIRONMENT,
        )
        self._is_idle = False
        try:
            kind, _ = self._receive()
        except _WorkerDiedError as error:
            raise RuntimeError(
                f"a process for decoding ended as soon as it was started ({error}); what it "
                "printed says why"
            ) from None
        self._is_idle = kind == READY

    @property
    def is_usable(self) -> bool:
        """Whether it is alive and waits for work."""
        return self._is_idle and self._process.poll() is None

    def work(
        self, function: Callable[[Item], Result], items: list[Item]
    ) -> Iterator[tuple[str, Any]]:
        """Yield the kind and value of the answer for each item.

        Raises:
            _WorkerDiedError: If there is none; those before it were yielded.
        """
        self._is_idle = False
        assert self._process.stdin is not None
        data = pickle.dumps((function, items), pickle.HIGHEST_PROTOCOL)
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError:
            raise self._died() from None
        for number in range(len(items)):
            kind, value = self._receive()
            if kind == RAISED:
                self._is_idle = True
                error, text = pickle.loads(value)
                raise error from RuntimeError(f"in a process for decoding:\n{text}")
            self._is_idle = number == len(items) - 1
            yield kind, value

    def _receive(self) -> tuple[str, Any]:
        assert self._process.stdout is not None
        try:
            kind, value = pickle.load(self._process.stdout)
        # A process with damaged memory may write anything.
        except Exception:
            raise self._died() from None
        if kind not in (READY, DONE, RAISED, NO_MEMORY):
            raise self._died()
        return kind, value

    def _died(self) -> _WorkerDiedError:
        assert self._process.stdout is not None
        # One that closed its end is about to go; one that wrote nonsense has to be ended.
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return _WorkerDiedError(status)

    def release(self) -> None:
        """Keep it for the next who needs one, or end it."""
        if self.is_usable and len(_idle) < count_usable_cores():
            _idle.append(self)
        else:
            self.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                _close(pipe)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()


def _close(pipe: Any) -> None:
    # What was not written yet cannot be any more.
    try:
        pipe.close()
    except OSError:
        return


# Its methods are atomic.
_idle: deque[_Worker] = deque()


def _take_worker() -> _Worker:
    while True:
        try:
            worker = _idle.pop()
        except IndexError:
            return _Worker()
        if worker.is_usable:
            return worker
        worker.release()


@atexit.register
def _end_idle_workers() -> None:
    while _idle:
        worker = _idle.pop()
        worker._is_idle = False
        worker.release()


# A fork must not talk to the processes of its parent.
os.register_at_fork(after_in_child=_idle.clear)
