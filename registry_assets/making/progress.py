"""What a run says while it runs, as plain lines."""

from __future__ import annotations

import sys
import time

_LONGEST_LINE = 110


def report_line(line: str) -> None:
    """Writes what a command says to standard error, set in and cut to what fits."""
    sys.stderr.write(f"    {shorten(line)}\n")
    sys.stderr.flush()


def describe_step(outcome: str, path: str, summary: str) -> str:
    """What came of one output: ``recorded raw/a: 65 files (+0 −51 ~0), 3.1 MB (−2.4 MB)``."""
    return f"{outcome} {path}: {summary}".removesuffix(": ")


class Progress:
    """How far a plan is, and how long the rest may take.

    Args:
        total: The steps of the plan.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._started = time.monotonic()

    def step(self) -> str:
        """One more step is done; returns where that leaves the plan, as ``[3/8, 12 s left]``."""
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"[{self._done}/{self._total}, {left:.0f} s left]"


def shorten(line: str) -> str:
    """Cuts a line to what fits, leaving the middle out."""
    most = _LONGEST_LINE
    return line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 :]}"
