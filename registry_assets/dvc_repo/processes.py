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
        return cls(pid, round(_started(psutil.Process(pid)), 2))

    @property
    def is_alive(self) -> bool:
        """Whether it is still running."""
        try:
            return abs(_started(running(self.pid)) - self.started) < _SAME_START_SECONDS
        except psutil.NoSuchProcess:
            return False


def running(pid: int) -> psutil.Process:
    """The process that has a PID now.

    One that was killed may stay as a zombie, as in a container whose first process waits for none.

    Raises:
        psutil.NoSuchProcess: when there is none, or it has ended.
    """
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_ZOMBIE:
        raise psutil.ZombieProcess(pid)
    return process


def _started(process: psutil.Process) -> float:
    since = psutil.boot_time()
    return process.create_time() - since


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
