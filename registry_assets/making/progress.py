"""Messages about the progress of a run, as plain lines."""

from __future__ import annotations

import sys
import time

_LONGEST_LINE = 110


def report_line(line: str) -> None:
    """Writes a line of a command's output to standard error, indented and shortened."""
    sys.stderr.write(f"    {shorten(line)}\n")
    sys.stderr.flush()


def describe_step(outcome: str, path: str, summary: str) -> str:
    """The outcome of one output, as ``recorded raw/a: 65 files (+0 −51 ~0), 3.1 MB (−2.4 MB)``."""
    return f"{outcome} {path}: {summary}".removesuffix(": ")


class Progress:
    """Counts the steps of a plan and estimates the time left.

    Args:
        total: The number of steps.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._started = time.monotonic()

    def step(self) -> str:
        """Counts one more step as done; returns the progress, as ``[3/8, 12 s left]``."""
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"[{self._done}/{self._total}, {left:.0f} s left]"


def shorten(line: str) -> str:
    """Shortens a line that is too long by leaving out its middle."""
    most = _LONGEST_LINE
    return line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 :]}"
