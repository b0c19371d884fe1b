"""Mapping a function over many files with several processes, surviving decoders that crash."""

import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNKS_PER_WORKER = 4


def count_usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    on_crash: Callable[[Item], Result],
    executor: Executor | None = None,
    chunk_size: int = 16,
    in_process_below: int = 32,
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items.

    Memory does not grow with the number of items: only a few chunks per worker are under way.

    When a worker dies (a decoder crashed, or the system ran out of memory), the items that were
    under way are run again one by one in a process of their own, and the one that kills it
    again gets `on_crash(item)`.

    Args:
        function: Has to be picklable, as have items and results.
        items: Read as they are needed.
        on_crash: Called in this process.
        executor: Where the function runs. By default a pool with a process for each core, or, for
            fewer than `in_process_below` items, this process, as starting a pool takes longer.
            A given executor is left running. If it breaks, a pool takes over, and what fails in
            it is tried once more on this machine.
        chunk_size: How many items travel to a worker together.
        in_process_below: See `executor`.

    Raises:
        RuntimeError: If worker processes die before they have anything to do.
    """
    iterator = iter(items)
    if executor is None:
        head = list(islice(iterator, in_process_below))
        if len(head) < in_process_below:
            yield from map(function, head)
            return
        iterator = chain(head, iterator)
    chunks = iter(lambda: list(islice(iterator, chunk_size)), [])
    most_pending = _CHUNKS_PER_WORKER * _count_workers(executor)
    pool = executor or _start_pool(count_usable_cores())
    pending: deque[tuple[list[Item], Future[list[Result]] | None]] = deque()
    try:
        while True:
            for chunk in islice(chunks, most_pending - len(pending)):
                pending.append((chunk, _submit(pool, function, chunk)))
            if not pending:
                return
            chunk, future = pending.popleft()
            try:
                results = future.result() if future else None
            except Exception as error:
                # An exception out of our own pool is one of `function`: not to be run again.
                if pool is not executor and not isinstance(error, BrokenExecutor):
                    raise
                results = None
                if isinstance(error, BrokenExecutor):
                    future = None
            if results is not None:
                yield from results
                continue
            yield from _run_one_by_one(function, chunk, on_crash)
            if future is None:
                # The whole pool is lost, with all that was under way.
                for waiting, its_future in pending:
                    yield from _collect(function, waiting, its_future, on_crash)
                pending.clear()
                if pool is not executor:
                    pool.shutdown(wait=False)
                pool = _start_pool(count_usable_cores())
    finally:
        if pool is not executor:
            pool.shutdown(cancel_futures=True)


def _count_workers(executor: Executor | None) -> int:
    # The pools of the standard library know; of others, like Dask's, many workers are assumed.
    if executor is None:
        return count_usable_cores()
    return int(getattr(executor, "_max_workers", 64))


def _start_pool(workers: int) -> ProcessPoolExecutor:
    # Not "fork": the caller may have threads (Dagster has), and a lock that one of them holds at
    # that moment stays locked in the child for ever.
    methods = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in methods else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # Each worker would load them by itself; so the server does, and they inherit them.
        context.set_forkserver_preload(["registry_assets.images.file_measuring"])
    return ProcessPoolExecutor(
        min(workers, 61),  # the most that Windows can wait for
        mp_context=context,
        initializer=_prepare_worker,
    )


def _prepare_worker() -> None:
    # What Pillow warns of is either a reason in the table or no matter here.
    warnings.simplefilter("ignore")
    # Freeing a large block once makes glibc keep memory of up to that size for later, where it
    # would return the pixels of each image to the system, which costs a third of all time
    # (mallopt(3), M_MMAP_THRESHOLD). Other allocators do not mind.
    bytearray(31 << 20)


def _submit(
    pool: Executor, function: Callable[[Item], Result], chunk: list[Item]
) -> Future[list[Result]] | None:
    try:
        return pool.submit(_run_chunk, function, chunk)
    except BrokenExecutor:
        return None


def _run_chunk(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _collect(
    function: Callable[[Item], Result],
    chunk: list[Item],
    future: Future[list[Result]] | None,
    on_crash: Callable[[Item], Result],
) -> Iterator[Result]:
    if future and future.done() and not future.cancelled() and future.exception() is None:
        yield from future.result()
    else:
        yield from _run_one_by_one(function, chunk, on_crash)


def _run_one_by_one(
    function: Callable[[Item], Result], chunk: list[Item], on_crash: Callable[[Item], Result]
) -> Iterator[Result]:
    pool = _start_single_worker()
    try:
        for item in chunk:
            try:
                yield pool.submit(function, item).result()
            except BrokenExecutor:
                yield on_crash(item)
                pool.shutdown(wait=False)
                pool = _start_single_worker()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_single_worker() -> ProcessPoolExecutor:
    pool = _start_pool(1)
    try:
        pool.submit(os.getpid).result()
    except BrokenExecutor:
        raise RuntimeError(
            "worker processes die as soon as they start: a program that measures images needs "
            'its own code under `if __name__ == "__main__":`'
        ) from None
    return pool
