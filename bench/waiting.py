"""What a person waits for: the first status, the UI, and a dropped folder's run."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import browser
from cells import Cells, Time
from registries import build_registry, shoot

from registry_assets.registry.kept_answers import KEPT_FOLDER

_COLLECTIONS = 10
_MOST_SECONDS = 180.0
_PAUSE = 0.1
_GRAPH = "{ assetNodes { id } }"
_RUNS = "{ runsOrError { ... on Runs { results { startTime endTime tags { key value } } } } }"
_DROPPED = "dropped"


def measure_waiting(scratch: Path, runs: int, time: Time) -> Iterator[Cells]:
    """Waiting times of a person with a small registry.

    Args:
        scratch: A folder for the registry.
        runs: How often the status is asked for.
        time: Returns how long a command takes in a folder.
    """
    root = scratch / "waiting"
    build_registry(root, _COLLECTIONS)
    time(["registry", "materialize"], root)
    ours, theirs = [], []
    for _ in range(runs):
        shutil.rmtree(root / KEPT_FOLDER, ignore_errors=True)
        ours.append(time(["registry", "status"], root))
        theirs.append(time(["dvc", "status", "--quiet"], root))
    yield Cells(f"first status, {_COLLECTIONS} collections", "dvc status", ours, theirs)
    yield from _measure_ui(root)
    shutil.rmtree(root, ignore_errors=True)


def _measure_ui(root: Path) -> Iterator[Cells]:
    with serving_ui(root) as (port, seconds):
        yield Cells("`registry ui` until it has the graph", "-", [seconds])
        if browser.is_there():
            paint = browser.measure_first_paint(f"http://127.0.0.1:{port}/")
            yield Cells("its first page until the first paint, in Chromium", "-", [paint])
        shoot(root, _DROPPED, 20)
        dropped = monotonic()
        _wait_for(lambda: _run_has(port, "startTime"))
        work = "a folder dropped into raw/ until its run starts, 30 s of quiet included"
        yield Cells(work, "-", [monotonic() - dropped])
        # A code server waits for its runs, and would wait for ever once the registry is gone.
        _wait_for(lambda: _run_has(port, "endTime"))


@contextmanager
def serving_ui(root: Path) -> Iterator[tuple[int, float]]:
    """Starts the UI of a registry; gives its port, and the seconds until it has the graph."""
    port = _free_port()
    started = monotonic()
    with (root.parent / "ui.log").open("w") as log:
        ui = subprocess.Popen(
            ["registry", "ui", "--port", str(port)], cwd=root, stdout=log, stderr=log
        )
    try:
        _wait_for(lambda: _query(port, _GRAPH)["assetNodes"])
        yield port, monotonic() - started
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait(60)


def _run_has(port: int, moment: str) -> bool:
    """Whether the dropped folder's run has come to its start or end."""
    for run in _query(port, _RUNS)["runsOrError"]["results"]:
        names = {tag["value"] for tag in run["tags"] if tag["key"] == "dagster/partition"}
        if _DROPPED in names and run[moment]:
            return True
    return False


def _query(port: int, text: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": text}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def _wait_for(found: Callable[[], object]) -> None:
    end = monotonic() + _MOST_SECONDS
    while monotonic() < end:
        try:
            if found():
                return
        except OSError:
            pass
        sleep(_PAUSE)
    raise SystemExit(f"nothing came of it within {_MOST_SECONDS:g} s")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
