"""What every part of the benchmark gives and takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Time = Callable[[list[str], Path], float]
"""Returns how many seconds a command takes in a folder; ends the benchmark when it fails."""


class Cells(NamedTuple):
    """What stands in a row of the table, see `run.Row`."""

    work: str
    alternative: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    wanted: float | None = None
