"""Blocking work in a bounded number of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class TooManyWaitingError(Exception):
    """More work is waiting than will be done while somebody waits for it."""


class Threads:
    """Threads for one kind of work.

    Args:
        name: The prefix of their names.
        at_once: How many run in parallel.
        waiting: How many calls may run or wait.
    """

    def __init__(self, name: str, *, at_once: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(at_once, name)
        self._most_waiting = waiting
        self._waiting = 0

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call a function in one of the threads.

        Raises:
            TooManyWaitingError: when too many calls wait already.
        """
        if self._waiting >= self._most_waiting:
            raise TooManyWaitingError
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, function, *arguments)
        finally:
            self._waiting -= 1
