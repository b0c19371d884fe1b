"""A Dask scheduler and its workers as processes, each worker with a machine of its own to see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from registry_assets.workers.place import CACHE, FOLDER
from tests.commands import Fork
from tests.commands.server import MODULES

HOST = "127.0.0.1"
CONTROL = "CONTROL"
"""The variable with the folder by which tests reach commands on workers (`program.py`)."""

_START_SECONDS = 60.0
_END_SECONDS = 10.0
_DEATH_SECONDS = 20
_POLL_SECONDS = 0.05

Process = subprocess.Popen[bytes] | Fork


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Waits for something, and returns what was found; fails after a time."""
    ends = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < ends, f"waited {seconds:.0f} s for {what}"
        time.sleep(_POLL_SECONDS)
    return found


@dataclass
class Machine:
    """A worker process, and the folder that is its machine.

    Attributes:
        name: The name of the worker.
        folder: Has its HOME, its work folder and its log.
        process: The process; with a nanny, that of the nanny.
    """

    name: str
    folder: Path
    process: Process

    @property
    def home(self) -> Path:
        """Its HOME."""
        return self.folder / "home"

    @property
    def work(self) -> Path:
        """The folder that its workers share."""
        return self.folder / "work"

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def processes_at_work(self) -> list[psutil.Process]:
        """The processes whose working directory is in its work trees: commands."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.cwd()).is_relative_to(self.work / "trees"):
                    found.append(process)
        return found

    def trees(self) -> list[Path]:
        """Its work trees."""
        folder = self.work / "trees"
        return sorted(folder.iterdir()) if folder.is_dir() else []


@dataclass
class Cluster:
    """A scheduler, and the workers that were started.

    Attributes:
        folder: Where everything lies.
        control: The folder that commands look into, on all workers.
        forks: The address of a server that has imported what scheduler and workers import.
        settings: Variables of the environment of the scheduler.
        address: Of the scheduler.
        scheduler: Its process.
        machines: The workers by name.
    """

    folder: Path
    control: Path
    forks: str
    settings: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    scheduler: Process | None = None
    machines: dict[str, Machine] = field(default_factory=dict)

    def start_scheduler(self) -> None:
        """Starts the scheduler: the first time on a free port, then on the same one."""
        port = self.address.rpartition(":")[2] or "0"
        found = self.folder / "scheduler.json"
        found.unlink(missing_ok=True)
        self.scheduler = self._start(
            [*_DASK_SCHEDULER, "--host", HOST, "--port", port, "--scheduler-file", str(found)],
            self.folder / "scheduler.log",
            self.settings,
            is_forked=not self.settings,
        )
        self.address = wait_until(lambda: _address_in(found), "the scheduler", _START_SECONDS)

    def start_worker(
        self,
        name: str,
        resources: Mapping[str, float] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        has_nanny: bool = False,
        before: Sequence[str] = (),
    ) -> Machine:
        """Starts a worker with one thread, and a HOME, a work folder and a cache of its own.

        Args:
            name: Of the worker.
            resources: What it has, for Dask.
            environment: What is different for it.
            has_nanny: Whether another process starts it again when it dies.
            before: A program that runs the worker.
        """
        folder = self.folder / name
        for part in ("home", "work", "dask"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        _keep_apart(folder / "home")
        command = [*_DASK_WORKER, self.address, "--name", name, "--host", HOST]
        command += [
            "--local-directory",
            str(folder / "dask"),
            "--death-timeout",
            str(_DEATH_SECONDS),
        ]
        command += ["--nanny" if has_nanny else "--no-nanny"]
        if resources:
            command += ["--resources", " ".join(f"{k}={v:g}" for k, v in resources.items())]
        found = self._environment(folder, environment or {})
        # What is read when modules are imported comes too late for a fork.
        is_forked = not before and not environment
        process = self._start(command, folder / "log", found, before=before, is_forked=is_forked)
        self.machines[name] = machine = Machine(name, folder, process)
        return machine

    def _start(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        before: Sequence[str] = (),
        is_forked: bool,
    ) -> Process:
        # Not where the tests were started, which Python looks into for modules.
        cwd = log.parent
        env = {k: v for k, v in os.environ.items() if k != CACHE} | dict(environment)
        with log.open("ab") as output:
            if is_forked:
                return Fork(self.forks, command, cwd=cwd, env=env, stdout=output, stderr=output)
            return subprocess.Popen(
                [*before, sys.executable, "-m", MODULES[command[0]], *command[1:]],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    def _environment(self, folder: Path, changes: Mapping[str, str]) -> Mapping[str, str]:
        home = folder / "home"
        return {
            "HOME": str(home),
            FOLDER: str(folder / "work"),
            CONTROL: str(self.control),
            "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
            "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
            "DVC_SITE_CACHE_DIR": str(home / "dvc-site-cache"),
            **changes,
        }

    def wait_for_workers(self, count: int) -> None:
        """Waits until the scheduler knows so many workers."""
        wait_until(lambda: self._connected() >= count, f"{count} workers", _START_SECONDS)

    def _connected(self) -> int:
        said = (self.folder / "scheduler.log").read_text(encoding="utf-8", errors="replace")
        return said.count("Register worker") - said.count("Remove worker")

    def stop(self) -> None:
        """Ends everything."""
        for process in [*(m.process for m in self.machines.values()), self.scheduler]:
            if process is not None:
                end(process)

    # --- what commands look at -----------------------------------------------------------------

    def hold(self, *names: str) -> None:
        """Lets the commands for these collections wait once they have begun."""
        self._note("hold", names)

    def release(self, *names: str) -> None:
        """Lets them go on; all of them by default."""
        folder = self.control / "hold"
        for name in names or [place.name for place in folder.glob("*")]:
            (folder / name).unlink(missing_ok=True)

    def let_kill(self, *names: str, worker: str = "*") -> None:
        """Lets the commands for these collections kill a worker that has begun them."""
        self._note("kill", names, worker)

    def _note(self, what: str, names: Sequence[str], text: str = "") -> None:
        for name in names:
            place = self.control / what / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def begin_anew(self) -> None:
        """Has workers that have made nothing: forgets runs, and empties their caches."""
        (self.control / "runs").unlink(missing_ok=True)
        for machine in self.machines.values():
            shutil.rmtree(machine.work / "cache", ignore_errors=True)

    def runs(self, name: str = "") -> list[str]:
        """The collections for which a command has begun, as often as it has; or those of a name."""
        place = self.control / "runs"
        said = place.read_text().split() if place.exists() else []
        return [item for item in said if name in ("", item)]

    def processes_at_work(self) -> list[psutil.Process]:
        """The commands that run on any of its workers."""
        return [
            found for machine in self.machines.values() for found in machine.processes_at_work()
        ]


_DASK_SCHEDULER = ("dask-scheduler", "--no-dashboard", "--no-show")
_DASK_WORKER = (
    *("dask-worker", "--nthreads", "1", "--nworkers", "1"),
    *("--no-dashboard", "--memory-limit", "0"),
)


@contextmanager
def serving_cluster(
    folder: Path, forks: str, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """A scheduler, which workers can be added to; everything ends with the context.

    Args:
        folder: Where everything lies.
        forks: The address of a server that has imported what scheduler and workers import.
        settings: Variables of the environment of the scheduler.
    """
    control = folder / "control"
    control.mkdir(parents=True)
    cluster = Cluster(folder, control, forks, settings or {})
    try:
        cluster.start_scheduler()
        yield cluster
    finally:
        cluster.stop()


def end(process: Process) -> None:
    """Ends a process, gently at first."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _keep_apart(home: Path) -> None:
    """The settings of Git for a user of another machine."""
    (home / ".gitconfig").write_text('[protocol "file"]\n\tallow = always\n', encoding="utf-8")


def _address_in(file: Path) -> str:
    with suppress(OSError, ValueError):
        return str(json.loads(file.read_text())["address"])
    return ""
