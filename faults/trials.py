"""What a part of `make faults` is given, and what it gives back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path


@dataclass(frozen=True)
class Order:
    """What a part is given.

    Attributes:
        seed: What chance starts with.
        end: When to begin no further trial, as `time.monotonic` counts; each part makes one.
        scratch: An empty folder for whatever the part needs.
        shared: The folder for what several parts need; it may not be there yet.
        jobs: How many trials may run at the same time.
    """

    seed: int
    end: float
    scratch: Path
    shared: Path
    jobs: int

    @property
    def is_over(self) -> bool:
        """Whether no further trial should begin."""
        return time.monotonic() >= self.end

    def chance(self, *names: object) -> random.Random:
        """Random numbers that are the same for the same seed and names."""
        return random.Random(":".join(map(str, (self.seed, *names))))


@dataclass(frozen=True)
class Trial:
    """One disturbance, and what came of it.

    Attributes:
        kind: What was disturbed, as `registry add`; trials are counted by it.
        how: The disturbance, such that it can be made again.
        faults: What is wrong afterwards, a line each; none if all is well.
    """

    kind: str
    how: str
    faults: tuple[str, ...] = ()


def side_by_side(
    order: Order, work: Callable[[int], Trial], threads: ThreadPoolExecutor | None = None
) -> Iterator[Trial]:
    """Makes trials, numbered from 0, in threads or (default) in forks of this process."""
    with threads or ProcessPoolExecutor(order.jobs, get_context("fork")) as pool:
        begun = 0
        running: set[Future[Trial]] = set()
        while running or begun == 0 or not order.is_over:
            while len(running) < order.jobs and (begun == 0 or not order.is_over):
                running.add(pool.submit(work, begun))
                begun += 1
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for trial in ended:
                error = trial.exception()
                yield (
                    trial.result()
                    if error is None
                    else Trial("trials that broke off", order.scratch.name, (repr(error),))
                )


@dataclass(frozen=True)
class Part:
    """One part of `make faults`.

    Attributes:
        about: What it does to the product, in one line.
        share: How much of the time it gets, beside the others that run.
        run: Yields its trials as they end, until the order is over.
    """

    about: str
    share: int
    run: Callable[[Order], Iterator[Trial]]
