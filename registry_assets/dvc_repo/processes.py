"""File names that tell which process made a file, and whether that process is alive."""

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
    """A process, distinguishable from a later one with the same PID.

    Attributes:
        pid: Its PID.
        started: Its start in seconds since boot, which does not change when the clock is set.
    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has a PID now.

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
    """A new, unique name for a file or folder of this process.

    Sorted, the names of a process are in the order of the calls.
    """
    mine = Process.of(os.getpid())
    return f"{mine.pid}-{mine.started:.2f}-{next(_numbers):09}_{uuid.uuid4().hex}"


def owner_of(name: str) -> Process | None:
    """The process that made a name with `name_of_mine`; None for other names."""
    found = _NAME.fullmatch(name)
    return Process(int(found[1]), float(found[2])) if found else None
