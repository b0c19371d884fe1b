"""Reading, linking and copying many small files.

Python's lock lets threads do little of it at the same time, so that large folders go to worker
processes, which import this module and must not wait for DVC.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from registry_assets.images.worker_process import allow_time
from registry_assets.images.workers import map_in_order

Item = TypeVar("Item")
Result = TypeVar("Result")

Fields = tuple[int, int, int, int, int, int]
"""Device, inode, mtime in nanoseconds, size, mode and number of links of a file."""

_THREADS = min(4, os.cpu_count() or 1)
_CHUNK = 2**20
_BATCH_BYTES = 2**23
_BATCH_FILES = 250
# Workers take a twentieth of a second to start.
_WORTH_WORKERS = 5_000


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Returns `function(item)` for each item, in their order.

    Items are handed to threads in batches: one by one takes longer than copying a small file.
    """

    def map_some(some: Sequence[Item]) -> list[Result]:
        return [function(item) for item in some]

    with ThreadPoolExecutor(_THREADS) as pool:
        return [*chain.from_iterable(pool.map(map_some, _batches(items)))]


def hash_files(files: Iterable[tuple[str, int]], count: int) -> Iterator[str | None]:
    """Yields the md5 of each file, in their order.

    Args:
        files: The path and expected size of each; consumed as needed where they are many.
        count: How many they are.

    Yields:
        None for a file that has another size.

    Raises:
        OSError: when a file cannot be read.
    """
    batches = _batches(files, itemgetter(1))
    if count >= _WORTH_WORKERS:
        yield from chain.from_iterable(_map_in_workers(_hash_batch, batches))
    elif count:
        # Hashing and reading release Python's lock.
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from chain.from_iterable(pool.map(_hash_batch, batches))


def link_files(
    links: Iterable[tuple[str, str]], count: int, mode: int | None = None
) -> Iterator[Fields | None]:
    """Makes hard links, and yields the status of each, in their order.

    Args:
        links: The source and target of each; consumed as needed where they are many.
        count: How many they are.
        mode: The permissions that the files are to have (default: as they are).

    Yields:
        None where a link could not be made.
    """
    link = partial(_link_batch, mode=mode)
    batches = _batches(links)
    is_worth_it = count >= _WORTH_WORKERS
    return chain.from_iterable(
        _map_in_workers(link, batches) if is_worth_it else map(link, batches)
    )


def _batches(
    items: Iterable[Item], size_of: Callable[[Item], int] = lambda _: 0
) -> Iterator[list[Item]]:
    """Batches that are large enough for a worker, and small enough to balance the load."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if size >= _BATCH_BYTES or len(batch) == _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _map_in_workers(
    function: Callable[[list[Item]], list[Result]], batches: Iterable[list[Item]]
) -> Iterator[list[Result]]:
    def here(batch: list[Item], _reason: str) -> list[Result]:
        return function(batch)

    return map_in_order(function, batches, on_failure=here, chunk_size=1)


def _hash_batch(files: Sequence[tuple[str, int]]) -> list[str | None]:
    return [_md5(path, size) for path, size in files]


def _md5(path: str, size: int) -> str | None:
    digest = hashlib.md5(usedforsecurity=False)
    if size > _CHUNK:
        allow_time(size)
    # Unbuffered, and asking for one byte more than expected, so that one call is usually enough.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    left = size
    try:
        while data := os.read(descriptor, min(_CHUNK, left + 1)):
            digest.update(data)
            left -= len(data)
            if left <= 0:
                break
    finally:
        os.close(descriptor)
    return None if left else digest.hexdigest()


def _link_batch(links: Sequence[tuple[str, str]], mode: int | None) -> list[Fields | None]:
    return [_link(source, target, mode) for source, target in links]


def _link(source: str, target: str, mode: int | None) -> Fields | None:
    try:
        os.link(source, target)
        status = os.stat(target)
    except OSError:
        return None
    if mode is not None and stat.S_IMODE(status.st_mode) != mode:
        # Whoever may not do this leaves it as it is, as DVC does.
        with suppress(OSError):
            os.chmod(target, mode)
    return (
        status.st_dev,
        status.st_ino,
        status.st_mtime_ns,
        status.st_size,
        status.st_mode,
        status.st_nlink,
    )
