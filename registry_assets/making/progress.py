"""Messages about the progress of a run, as plain lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from registry_assets.units import without_middle


def build_reporter() -> Callable[[str], None]:
    """A function that writes what a command says to standard error, set in.

    Lines are cut to the width of the terminal, where that is one. This is to be called before a
    run, during which Dagster has standard error go through a pipe.
    """
    width = find_width(sys.stderr)

    def report_line(line: str) -> None:
        said = f"    {line}"
        sys.stderr.write(f"{said if width is None else without_middle(said, width)}\n")
        sys.stderr.flush()

    return report_line


def find_width(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream leads to; None where it is no terminal."""
    # One that does not know its size says 0.
    return (os.get_terminal_size(stream.fileno()).columns or None) if stream.isatty() else None


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
