"""Stages on workers: how near they come to the ideal time, and what a unit costs the head."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from cells import Cells
from registries import commit_and_add, shoot, start_repository

_START_SECONDS = 300.0
_MOST_COLLECTIONS = 300
"""Stages share them, as DVC takes ever longer to add more."""
_SLEEP = f"{sys.executable} work.py raw/${{item}} data/${{key}} sleep"
_BURN = f"{sys.executable} work.py raw/${{item}} data/${{key}} burn"
_COPY = "mkdir -p data/${key} && cp raw/${item}/* data/${key}/"

_PROGRAM = """
import shutil
import sys
import time

source, target, how, seconds = sys.argv[1:]
if how == "sleep":
    time.sleep(float(seconds))
while time.process_time() < float(seconds) and how == "burn":
    sum(range(10_000))
shutil.copytree(source, target)
"""


def measure_elsewhere(
    scratch: Path, workers: int, units: int, seconds: float, sizes: Sequence[int]
) -> Iterator[Cells]:
    """Rows about stages on workers, each a process with a home of its own.

    Args:
        scratch: A folder for registries and workers.
        workers: How many workers.
        units: How many stages that sleep.
        seconds: How long each of them sleeps.
        sizes: How many trivial stages to measure the cost of.
    """
    with _cluster(scratch / "many", workers) as scheduler:
        _materialize(_build(scratch / "warm", 2 * workers, _COPY, scheduler))
        took, _ = _materialize(_build(scratch / "sleep", units, f"{_SLEEP} {seconds}", scheduler))
        ideal = -(-units // workers) * seconds
        work = f"{units} stages that sleep {seconds:g} s, {workers} warm workers"
        yield Cells(work, "ideal time", [took], [ideal], 1 / 1.3)
    with _cluster(scratch / "two", 2) as scheduler:
        _materialize(_build(scratch / "warm", 4, _COPY, scheduler))
        for size in sizes:
            here = _materialize(_build(scratch / "here", size, _COPY, None))
            there = _materialize(_build(scratch / "there", size, _COPY, scheduler))
            _check_same(scratch / "here", scratch / "there")
            work = f"CPU ms of the head for a trivial stage, {size:,} stages on 2 workers"
            yield Cells(work, "made here", [there[1] / size * 1e3], [here[1] / size * 1e3])
    burnt = []
    for count in (1, 2):
        with _cluster(scratch / f"burn{count}", count) as scheduler:
            _materialize(_build(scratch / "warm", 2 * count, _COPY, scheduler))
            took, _ = _materialize(_build(scratch / "burn", 12, f"{_BURN} 5", scheduler))
            burnt.append(took)
    yield Cells("12 stages of 5 s CPU, 2 workers", "1 worker", [burnt[1]], [burnt[0]], 1.7)


def _build(root: Path, count: int, command: str, scheduler: str | None) -> Path:
    """A registry with some stages of one collection each, for workers if there is a scheduler."""
    shutil.rmtree(root, ignore_errors=True)
    start_repository(root)
    names = [f"c{number:03}" for number in range(min(count, _MOST_COLLECTIONS))]
    for name in names:
        shoot(root, name, 2)
    storage = root.with_name(f"{root.name}_storage")
    shutil.rmtree(storage, ignore_errors=True)
    modify = ["dvc", "remote", "modify", "storage", "url", str(storage)]
    subprocess.run([sys.executable, "-m", *modify], cwd=root, check=True)
    (root / "work.py").write_text(_PROGRAM, encoding="utf-8")
    items = (f"      u{number:05}: {names[number % len(names)]}" for number in range(count))
    lines = ["stages:", "  work:", "    foreach:", *items, "    do:"]
    lines += [f"      cmd: {command}", "      deps: ['raw/${item}', work.py]"]
    lines += ["      outs: ['data/${key}']", ""]
    (root / "dvc.yaml").write_text("\n".join(lines), encoding="utf-8")
    if scheduler is not None:
        with (root / "pyproject.toml").open("a", encoding="utf-8") as settings:
            settings.write(f'\n[tool.registry_assets.workers]\nscheduler = "{scheduler}"\n')
    commit_and_add(root)
    return root


def _materialize(root: Path) -> tuple[float, float]:
    """Seconds of `registry materialize`, and of CPU time of its process."""
    started = monotonic()
    process = subprocess.Popen(
        ["registry", "materialize"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"registry materialize failed:\n{said.decode()[-3000:]}")
    return monotonic() - started, usage.ru_utime + usage.ru_stime


def _check_same(one: Path, other: Path) -> None:
    for name in ("dvc.lock", "data/.gitignore"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            raise SystemExit(f"{name} differs from what was made here")


@contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[str]:
    """A Dask scheduler and workers, each with a home of its own; gives its address."""
    folder.mkdir()
    file = folder / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(file)]
    python = [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    worker = [*python, "distributed.cli.dask_worker", "--nthreads", "1"]
    with (folder / "log").open("w", encoding="utf-8") as log:
        started = [subprocess.Popen([*scheduler, *common], stdout=log, stderr=log, cwd=folder)]
        try:
            _wait_for(file.exists)
            for number in range(workers):
                home = folder / f"home{number}"
                home.mkdir()
                environment = {**os.environ, "HOME": str(home)}
                environment.pop("XDG_CACHE_HOME", None)
                command = [*worker, *common, "--local-directory", str(home)]
                started.append(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
                )
            yield str(json.loads(file.read_text(encoding="utf-8"))["address"])
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(60)
            shutil.rmtree(folder)


def _wait_for(is_there: Callable[[], bool]) -> None:
    until = monotonic() + _START_SECONDS
    while not is_there():
        if monotonic() > until:
            raise SystemExit("the Dask scheduler did not start")
        sleep(0.1)
