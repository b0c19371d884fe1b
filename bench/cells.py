"""What every part of the benchmark gives and takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Time = Callable[[list[str], Path], float]
"""Returns how many seconds a command takes in a folder; ends the benchmark when it fails."""


class Cells(NamedTuple):
    """One comparison.

    Attributes:
        work: What is done.
        alternative: What it is compared with; a limit, where that is a time or a size.
        ours: Seconds, or what `work` names, each run.
        theirs: The same of the alternative; none where it would take too long.
        wanted: The ratio that is promised, where one is.
    """

    work: str
    alternative: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    wanted: float | None = None
