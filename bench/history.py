"""What the history of many runs takes on the disk, and of the time of the next run."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import median

from cells import Cells, Time
from registries import STAGES, build_registry

from registry_assets.registry.home import choose_home

_COLLECTIONS = 10
_CHANGED = "c00000"
_COMPARED = 20
# Of each run: the collection, its import, and what the stages make.
_OUTPUTS = 2 + len(STAGES)


def measure_history(scratch: Path, runs: int, time: Time) -> Iterator[Cells]:
    """Runs of one collection that changes each time.

    Args:
        scratch: A folder for a registry.
        runs: How many.
        time: Returns how long a command takes in a folder.
    """
    root = scratch / "history"
    build_registry(root, _COLLECTIONS)
    time(["registry", "materialize"], root)
    home = choose_home(root)
    before = _size(home)
    seconds = []
    for number in range(runs):
        changed = root / f"raw/{_CHANGED}/0.txt"
        # It is a hard link to an object in the cache.
        changed.unlink()
        changed.write_text(f"{number}\n", encoding="utf-8")
        seconds.append(_run(root, "materialize", "--collection", _CHANGED))
    kilobytes = (_size(home) - before) / runs / _OUTPUTS / 1e3
    yield Cells(f"kB of history per output, {runs:,} runs", "20 kB", [kilobytes], [20], 1)
    first, last = median(seconds[:_COMPARED]), median(seconds[-_COMPARED:])
    work = f"CPU seconds of a run of {_OUTPUTS} outputs, after {runs:,} others"
    yield Cells(work, "the first ones", [last], [first], 0.9)


def _size(folder: Path) -> int:
    return sum(place.stat().st_size for place in folder.rglob("*") if place.is_file())


def _run(root: Path, *arguments: str) -> float:
    """The processor time of a command, without its imports: in a copy of this process."""
    from registry_assets.cli import main

    child = os.fork()
    if not child:
        os.chdir(root)
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            try:
                main([*arguments], standalone_mode=False)
            except SystemExit as end:
                os._exit(1 if end.code else 0)
            except BaseException:
                # Whatever it is, this copy must not go on; it is printed, and the part fails.
                traceback.print_exc(file=sys.__stderr__)
                os._exit(1)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"registry {' '.join(arguments)} failed")
    return usage.ru_utime + usage.ru_stime
