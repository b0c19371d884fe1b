"""Mapping a function over many files in worker processes; a crash costs only one file.

Untrusted files are decoded only in such a process; see `worker_process` for its limits.

A worker is a new interpreter. A fork would start faster, but this process may be Dagster, with
threads whose locks would stay locked in the child, or with open lock files. The forkserver of
`multiprocessing` imports the main module of the program in each child, which takes longer than
starting Python, and needs a main module written for that. Idle workers are kept for a minute, for
the next contact sheet or collection.
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

# NumPy's libraries would start threads that are not needed here.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from registry_assets.images.worker_process import main; main()"
)


def count_usable_cores() -> int:
    """Return the number of cores that this process may use."""
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

    Memory use does not depend on the number of items: only a few chunks per worker are pending.

    If a worker dies (its decoder crashed, or the system ran out of memory), the item is tried once
    more in a new process: an earlier item may have been the cause.

    Args:
        function: Must be picklable, like items and results.
        items: Consumed lazily.
        on_failure: Returns the result for a failed item from the item and the reason: `CRASHED`,
            `TOO_LONG` or `TOO_LARGE`. Called in this process.
        executor: Runs the function instead of local worker processes, which take over where it
            fails. It is not shut down.
        chunk_size: The number of items that are sent to a worker at once.

    Raises:
        RuntimeError: If worker processes cannot be started.
    """
    iterator = iter(items)
    chunks = iter(lambda: list(islice(iterator, chunk_size)), [])
    guard = _Guard(function, on_failure)
    workers = count_usable_cores()
    # Executors of the standard library have this attribute; for others, like Dask's, 64 is assumed.
    most_pending = _CHUNKS_PER_WORKER * int(
        getattr(executor, "_max_workers", 64) if executor else workers
    )
    pending: deque[tuple[list[Item], Future[list[Result]] | None]] = deque()
    # Each thread waits for one process. Threads are started on demand.
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
    # Clusters raise various errors when they lose a worker. An error of the function itself is
    # raised again when the chunk is run locally.
    try:
        return future.result() if future else None
    except Exception:
        return None


class _Guard(Generic[Item, Result]):
    """Runs the chunks of one call of `map_in_order` in workers, and handles their crashes."""

    def __init__(
        self, function: Callable[[Item], Result], on_failure: Callable[[Item, str], Result]
    ) -> None:
        self._function, self._on_failure = function, on_failure
        self._busy: set[_Worker] = set()
        self._is_abandoned = False

    def run(self, chunk: list[Item]) -> list[Result]:
        """Return the result of each item; called from several threads."""
        results: list[Result] = []
        died_at: int | None = None
        while len(results) < len(chunk):
            worker = _take_worker()
            self._busy.add(worker)
            try:
                # Checked after adding the worker, so that `abandon` cannot miss it.
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
        """Kill all busy workers, when the results are no longer needed."""
        self._is_abandoned = True
        for worker in [*self._busy]:
            worker.kill()


class _WorkerDiedError(Exception):
    """A worker process ended without answering.

    Attributes:
        took_too_long: Whether it was killed by its time limit.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.took_too_long = -status in TIME_SIGNALS


class _Worker:
    """A worker process and its pipes."""

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
                f"a worker process ended immediately after its start ({error}): see its output "
                "above for the reason"
            ) from None
        self._is_idle = kind == READY

    @property
    def is_usable(self) -> bool:
        """Whether it is alive and idle."""
        return self._is_idle and self._process.poll() is None

    def work(
        self, function: Callable[[Item], Result], items: list[Item]
    ) -> Iterator[tuple[str, Any]]:
        """Yield the kind and value of the answer for each item.

        Raises:
            _WorkerDiedError: If the worker ends without answering.
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
                raise error from RuntimeError(f"in a worker process:\n{text}")
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
        # It is about to exit if it has closed its pipe; if it sent garbage, it must be killed.
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return _WorkerDiedError(status)

    def release(self) -> None:
        """Return it to the pool of idle workers, or kill it."""
        if self.is_usable and len(_idle) < count_usable_cores():
            _idle.append(self)
        else:
            self.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                _close(pipe)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()


def _close(pipe: Any) -> None:
    # Closing flushes, which fails as the process is gone.
    try:
        pipe.close()
    except OSError:
        return


# A deque, whose methods are thread-safe.
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


# A forked child must not use the workers of its parent.
os.register_at_fork(after_in_child=_idle.clear)
