"""Measures this project beside the `dvc` command line and others, and prints ratios: `make bench`.

Whole processes, start-up included; in each comparison both work on copies of the same registry, in
turn, and have to leave the same metafiles. Times differ from machine to machine and from run to
run: the ratio counts. RESULTS.md keeps the rows of parts that did not run this time.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from cells import Cells
from elsewhere import measure_elsewhere
from history import measure_history
from images import measure_memory, measure_photographs
from large import measure_large, measure_right_after
from looking import measure_looking
from million import measure_pictures
from peers import measure_measuring, measure_peers
from registries import DATASET, STAGES, build_registry, copy_registry
from scale import measure_arrival, measure_definitions, measure_tick
from transfers import measure_transfers
from waiting import measure_waiting

RESULTS = Path(__file__).with_name("RESULTS.md")
_REMARKS = "\n## What takes the time\n"

_Parts = dict[str, Callable[[Path, argparse.Namespace], Iterator[Cells]]]
_PARTS: _Parts = {
    "stages": lambda scratch, sizes: measure(scratch, sizes.collections, sizes.runs),
    "after": lambda scratch, sizes: measure_right_after(scratch, sizes.collections // 2, _time),
    "growth": lambda scratch, sizes: measure_sizes(scratch, sizes.sizes),
    "waiting": lambda scratch, sizes: measure_waiting(scratch, max(sizes.runs, 3), _time),
    "definitions": lambda scratch, sizes: measure_definitions(
        scratch, sizes.datasets, 10 * sizes.datasets, sizes.runs, _time
    ),
    "tick": lambda scratch, sizes: measure_tick(scratch, sizes.folders),
    "transfers": lambda scratch, sizes: measure_transfers(
        scratch, sizes.files, sizes.file_size, sizes.runs, _time
    ),
    "photographs": lambda scratch, sizes: measure_photographs(
        scratch, sizes.photographs, sizes.runs, _time
    ),
    "looking": lambda scratch, sizes: measure_looking(scratch, sizes.pictures, _time),
    "workers": lambda scratch, sizes: measure_elsewhere(
        scratch, sizes.workers, 40, 20.0, sizes.units
    ),
    "history": lambda scratch, sizes: measure_history(scratch, sizes.history, _time),
    "memory": lambda scratch, sizes: measure_memory(scratch, sizes.small_images),
    "large": lambda scratch, sizes: measure_large(scratch, sizes.large, _time),
    "peers": lambda scratch, sizes: chain(
        measure_peers(scratch, sizes.files, sizes.file_size, sizes.runs, _time),
        measure_measuring(scratch, sizes.photographs, sizes.runs, _time),
    ),
}
_LONG: _Parts = {
    "million": lambda scratch, sizes: measure_pictures(
        sizes.built or scratch / "pictures",
        sizes.large_collections,
        sizes.large_pictures,
        _time,
        is_kept=sizes.built is not None,
    ),
}


def main() -> None:
    """Runs the parts that are asked for, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"what to measure: {', '.join(_PARTS)} (default: all these); or, as it takes an "
        f"hour: {', '.join(_LONG)}",
    )
    parser.add_argument("--collections", type=int, default=100, help="to compare with dvc")
    parser.add_argument("--sizes", type=int, nargs="*", default=[50, 400], help="of registries")
    parser.add_argument("--datasets", type=int, default=100, help="to load")
    parser.add_argument("--folders", type=int, default=10_000, help="to watch")
    parser.add_argument("--photographs", type=int, default=1000, help="of 640 x 480")
    parser.add_argument("--small-images", type=int, default=3000, help="to measure memory with")
    parser.add_argument("--pictures", type=int, default=20_000, help="to look at")
    parser.add_argument("--files", type=int, default=20_000, help="to transfer")
    parser.add_argument("--file-size", type=int, default=8192, help="of each of them, in bytes")
    parser.add_argument("--workers", type=int, default=16, help="for stages that sleep")
    parser.add_argument("--units", type=int, nargs="*", default=[300, 1000], help="on 2 workers")
    parser.add_argument("--history", type=int, default=100, help="runs to remember")
    parser.add_argument(
        "--large", type=int, nargs="*", default=[2000], help="pictures in one collection, rising"
    )
    parser.add_argument("--large-collections", type=int, default=100, help="of `million`")
    parser.add_argument("--large-pictures", type=int, default=10_000, help="in each of them")
    parser.add_argument(
        "--built", type=Path, help="the registry of `million`, which is built if need be, and stays"
    )
    parser.add_argument("--runs", type=int, default=1, help="of each; the median counts")
    arguments = parser.parse_args()
    parts = _PARTS | _LONG
    if unknown := set(arguments.parts) - parts.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    # As people run it: with our modules compiled, as those of DVC and Dagster are.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # `dvc` and `registry` are those of this environment, also where it is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for name in arguments.parts or _PARTS:
        with tempfile.TemporaryDirectory() as scratch:
            rows = []
            for cells in parts[name](Path(scratch), arguments):
                rows.append(_row(cells))
                print(_line(rows[-1]), flush=True)
        # After each part, since a later one may fail.
        _keep(rows)
    print(f"written to {RESULTS.name}")


def measure(scratch: Path, collections: int, runs: int) -> Iterator[Cells]:
    """Stages of collections beside `dvc`: from nothing, with nothing to do, and their status."""
    base = scratch / "base"
    build_registry(base, collections)
    ours, theirs = [], []
    for number in range(runs):
        one, other = copy_registry(base, f"ours{number}"), copy_registry(base, f"theirs{number}")
        ours.append(_time(["registry", "materialize"], one))
        theirs.append(_time(["dvc", "repro", "--quiet", f"{DATASET}/dvc.yaml"], other))
        _same_metafiles(one, other)
    stages = len(STAGES) * collections
    yield Cells(f"{stages} trivial stages, from nothing", "dvc repro", ours, theirs, 10)
    yield _in_turn(
        f"nothing to do, {stages} stages",
        "dvc repro",
        lambda: _time(["registry", "materialize"], one),
        lambda: _time(["dvc", "repro", "--quiet", f"{DATASET}/dvc.yaml"], other),
        max(runs, 3),
        5,
    )
    yield _in_turn(
        f"status, {stages} stages",
        "dvc status",
        lambda: _time(["registry", "status"], one),
        lambda: _time(["dvc", "status", "--quiet"], other),
        max(runs, 3),
    )


def measure_sizes(scratch: Path, sizes: Sequence[int]) -> Iterator[Cells]:
    """What one collection costs in registries of several sizes; in the largest, one more."""
    for size in sizes:
        root = scratch / f"size{size}"
        build_registry(root, size)
        seconds = _time(["registry", "materialize"], root)
        yield Cells(f"per collection of {size}", "itself", [seconds / size])
        if size == max(sizes):
            yield from measure_arrival(root, size, _time)
        shutil.rmtree(root)


def _in_turn(
    work: str,
    alternative: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    runs: int,
    wanted: float | None = None,
) -> Cells:
    pairs = [(ours(), theirs()) for _ in range(runs)]
    return Cells(work, alternative, [a for a, _ in pairs], [b for _, b in pairs], wanted)


def _time(command: list[str], root: Path) -> float:
    started = time.monotonic()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return seconds


def _same_metafiles(one: Path, other: Path) -> None:
    for path in (f"{DATASET}/dvc.lock", *(f"{DATASET}/data/{s}/.gitignore" for s in STAGES)):
        if (one / path).read_bytes() != (other / path).read_bytes():
            raise SystemExit(f"{path} differs from what dvc wrote")


_Row = tuple[str, ...]
_COLUMNS = ("work", "alternative", "here", "there", "times faster", "wanted", "measured")


def _row(cells: Cells) -> _Row:
    ours = statistics.median(cells.ours)
    theirs = statistics.median(cells.theirs) if cells.theirs else None
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    return (
        cells.work,
        cells.alternative,
        f"{ours:.2f}",
        "-" if theirs is None else f"{theirs:.2f}",
        "-" if theirs is None else f"{theirs / ours:.1f} x",
        "-" if cells.wanted is None else f"{cells.wanted:.3g} x",
        f"{today}, load {os.getloadavg()[0]:.0f}",
    )


def _line(row: _Row) -> str:
    return f"| {' | '.join(row)} |"


def _keep(rows: Sequence[_Row]) -> None:
    """Writes the table anew: with these rows, and those that it has of other work."""
    before, _, remarks = RESULTS.read_text(encoding="utf-8").partition(_REMARKS)
    found = {row[:2]: row for row in map(_read_line, before.splitlines()) if row is not None}
    found |= {row[:2]: row for row in rows}
    missed = [row for row in found.values() if _misses(row)]
    others = [row for row in found.values() if not _misses(row)]
    packages = ", ".join(f"{name} {version(name)}" for name in ("dagster", "dvc"))
    text = (
        "# Measured\n\n"
        "`make bench`, whole processes, medians in seconds where no other unit is named. Last on "
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{packages}; collections of three small text files, hard links. Photographs are derived "
        "from those in `samples/` by crops, light, fog and noise; one of twenty is PNG, the others "
        "JPEG. Where the alternative is a time or a size, that is the limit.\n\n"
        f"## What misses its mark\n\n{_table(missed)}\n## All else\n\n{_table(others)}"
    )
    RESULTS.write_text(f"{text}{_REMARKS}{remarks}", encoding="utf-8")


def _table(rows: Sequence[_Row]) -> str:
    lines = [_line(_COLUMNS), "|---" * len(_COLUMNS) + "|", *map(_line, rows)]
    return "".join(f"{line}\n" for line in lines)


def _read_line(line: str) -> _Row | None:
    cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
    is_row = len(cells) == len(_COLUMNS) and cells != _COLUMNS and not cells[0].startswith("---")
    return cells if is_row else None


def _misses(row: _Row) -> bool:
    times, wanted = (cell.removesuffix(" x") for cell in row[4:6])
    return "-" not in (times, wanted) and float(times) < float(wanted)


if __name__ == "__main__":
    main()
