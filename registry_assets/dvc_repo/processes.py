"""Telling a living process from a dead one, by a name that fits into a file name."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from itertools import count

import psutil

_NAME = re.compile(r"(\d+)-(\d+\.\d\d)-\w+(?:\.tmp)?")
_SAME_START_SECONDS = 0.02
_numbers = count()


@dataclass(frozen=True)
class Process:
    """A process that can be told from a later one with the same number.

    Attributes:
        pid: Its number.
        started: Seconds from the start of the machine, which nobody sets as they set clocks.
    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has a number now.

        Raises:
            psutil.NoSuchProcess: when there is none.
        """
        return cls(pid, round(_started(pid), 2))

    @property
    def is_alive(self) -> bool:
        """Whether it is still running."""
        try:
            has_ended = psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
            return not has_ended and abs(_started(self.pid) - self.started) < _SAME_START_SECONDS
        except psutil.NoSuchProcess:
            return False


def _started(pid: int) -> float:
    since = psutil.boot_time()
    return psutil.Process(pid).create_time() - since


def name_of_mine() -> str:
    """A new name for a file or folder that tells whose it is: this process's.

    The names of one process, sorted, are in the order in which they were given.
    """
    mine = Process.of(os.getpid())
    return f"{mine.pid}-{mine.started:.2f}-{next(_numbers):09}_{uuid.uuid4().hex}"


def owner_of(name: str) -> Process | None:
    """The process that a name was made by; None when it is not such a name."""
    found = _NAME.fullmatch(name)
    return Process(int(found[1]), float(found[2])) if found else None
