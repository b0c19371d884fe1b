"""Measures this project beside the `dvc` command line and prints ratios: `make bench`.

Whole processes, start-up included; in each comparison both work on copies of the same registry, in
turn, and have to leave the same metafiles. Times differ from machine to machine and from run to
run: the ratio counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from elsewhere import measure_elsewhere
from images import measure_memory, measure_photographs
from looking import measure_looking
from registries import DATASET, STAGES, build_registry, copy_registry
from scale import measure_arrival, measure_definitions, measure_tick
from transfers import measure_transfers
from waiting import measure_waiting

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        ours: Seconds, each run.
        theirs: The same of the alternative; none where it would take too long.
        wanted: The ratio that is promised, where one is.
    """

    work: str
    alternative: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    wanted: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times longer the alternative takes, by the medians."""
        if not self.theirs:
            return None
        return statistics.median(self.theirs) / statistics.median(self.ours)


def main() -> None:
    """Runs what is asked for, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=int, default=100, help="to compare with dvc; 0: none")
    parser.add_argument("--sizes", type=int, nargs="*", default=[50, 400])
    parser.add_argument("--no-waiting", action="store_true", help="leave the UI out")
    parser.add_argument("--datasets", type=int, default=100, help="to load; 0: none of these rows")
    parser.add_argument("--folders", type=int, default=10_000, help="to watch; 0: none")
    parser.add_argument("--photographs", type=int, default=1000, help="0: none of these rows")
    parser.add_argument(
        "--small-images", type=int, default=3000, help="to measure memory with; 0: none"
    )
    parser.add_argument("--pictures", type=int, default=20_000, help="to look at; 0: none")
    parser.add_argument("--files", type=int, default=20_000, help="to transfer; 0: none")
    parser.add_argument("--file-size", type=int, default=8192, help="of each of them, in bytes")
    parser.add_argument("--workers", type=int, default=16, help="for stages that sleep; 0: none")
    parser.add_argument("--units", type=int, nargs="*", default=[300, 1000], help="on 2 workers")
    parser.add_argument("--runs", type=int, default=1, help="of each; the median counts")
    arguments = parser.parse_args()
    # As people run it: with our modules compiled, as those of DVC and Dagster are.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # `dvc` and `registry` are those of this environment, also where it is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as scratch:
        rows = []
        for row in _all_rows(Path(scratch), arguments):
            print(_line(row), flush=True)
            rows.append(row)
    RESULTS.write_text(_report(rows), encoding="utf-8")
    print(f"written to {RESULTS.name}")


def _all_rows(scratch: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    if arguments.collections:
        yield from measure(scratch, arguments.collections, arguments.runs)
    yield from measure_sizes(scratch, arguments.sizes)
    if not arguments.no_waiting:
        for cells in measure_waiting(scratch, max(arguments.runs, 3), _time):
            yield Row(*cells)
    if arguments.datasets:
        for cells in measure_definitions(
            scratch, arguments.datasets, 10 * arguments.datasets, arguments.runs, _time
        ):
            yield Row(*cells)
    if arguments.folders:
        for cells in measure_tick(scratch, arguments.folders):
            yield Row(*cells)
    if arguments.files:
        for cells in measure_transfers(
            scratch, arguments.files, arguments.file_size, arguments.runs, _time
        ):
            yield Row(*cells)
    if arguments.photographs:
        for cells in measure_photographs(scratch, arguments.photographs, arguments.runs, _time):
            yield Row(*cells)
    if arguments.pictures:
        for cells in measure_looking(scratch, arguments.pictures, _time):
            yield Row(*cells)
    if arguments.workers:
        for cells in measure_elsewhere(scratch, arguments.workers, 40, 20.0, arguments.units):
            yield Row(*cells)
    if arguments.small_images:
        for cells in measure_memory(scratch, arguments.small_images):
            yield Row(*cells)


def measure(scratch: Path, collections: int, runs: int) -> Iterator[Row]:
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
    yield Row(f"{stages} trivial stages, from nothing", "dvc repro", ours, theirs, 10)
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


def measure_sizes(scratch: Path, sizes: Sequence[int]) -> Iterator[Row]:
    """What one collection costs in registries of several sizes; in the largest, one more."""
    for size in sizes:
        root = scratch / f"size{size}"
        build_registry(root, size)
        seconds = _time(["registry", "materialize"], root)
        yield Row(f"per collection of {size}", "itself", [seconds / size])
        if size == max(sizes):
            for cells in measure_arrival(root, size, _time):
                yield Row(*cells)
        shutil.rmtree(root)


def _in_turn(
    work: str,
    alternative: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    runs: int,
    wanted: float | None = None,
) -> Row:
    pairs = [(ours(), theirs()) for _ in range(runs)]
    return Row(work, alternative, [a for a, _ in pairs], [b for _, b in pairs], wanted)


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


def _line(row: Row) -> str:
    theirs = f"{statistics.median(row.theirs):.2f}" if row.theirs else "-"
    ratio = f"{row.ratio:.1f} x" if row.ratio is not None else "-"
    wanted = f"{row.wanted:g} x" if row.wanted is not None else "-"
    cells = (row.work, row.alternative, f"{statistics.median(row.ours):.2f}", theirs, ratio, wanted)
    return f"| {' | '.join(cells)} |"


def _report(rows: Sequence[Row]) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("dagster", "dvc"))
    return (
        "# Measured\n\n"
        f"`make bench`, whole processes, medians in seconds. {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, {packages}; collections of "
        "three small text files, hardlinks. Photographs are derived from those in `samples/` by "
        "crops, light, fog and noise; one of twenty is PNG, the others JPEG. Where the alternative "
        "is a time, that is the limit. Load at the end: "
        f"{os.getloadavg()[0]:.1f}.\n\n"
        "| work | alternative | this project | alternative | times faster | wanted |\n"
        "|---|---|---|---|---|---|\n" + "".join(f"{_line(row)}\n" for row in rows) + _remarks()
    )


def _remarks() -> str:
    """What people wrote below the table of the last time."""
    _, heading, remarks = RESULTS.read_text(encoding="utf-8").partition("\n## ")
    return f"{heading}{remarks}"


if __name__ == "__main__":
    main()
