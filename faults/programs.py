"""The programs `registry` and `dvc`, started without the seconds that their imports take.

This process has what they import, and forks for each of them. What runs is what the programs
themselves run, in a session and process group of its own, with pipes, environment and folder of its
own. `git` and all that commands start are programs as ever.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NoReturn

import psutil

from tests.commands.server import prepare_dvc, use_once

_MODULES = {"dvc": "dvc.cli", "registry": "registry_assets.cli"}
# Names of modules that were learned, among them those that only exist in one program.
_tried: set[str] = set()
CHANGES = {
    "os.rename": 2,
    "os.remove": 1,
    "os.link": 2,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.symlink": 2,
    "shutil.copyfile": 2,
}
"""Audit events of Python that change the file system, with how many paths they name at first."""
_TRIAL = "FAULTS_TRIAL"


def import_all() -> None:
    """Imports and builds what each of the programs needs, so that a fork has it."""
    for name in _MODULES.values():
        importlib.import_module(name)
    prepare_dvc()
    # DVC has the streams of this process, and tells what it does there.
    logging.disable(logging.INFO)
    use_once()
    logging.disable(logging.NOTSET)
    # Dagster has SIGTERM interrupt a process, which would tell where it was.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()


def _import_too(names: Sequence[str]) -> None:
    """Imports what a program has imported late, so that the next one need not."""
    # Accelerators come with what they speed up.
    for name in (name for name in names if not name.startswith("_")):
        with suppress(Exception):
            importlib.import_module(name)
    _tried.update(names)
    gc.freeze()


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: Its exit code; -9 if it was killed.
        output: What it printed, on both streams.
        seconds: How long it took.
        changes: How often it was about to change a file below its folder, if that was counted.
        is_killed: Whether the kill met anything; it may come too late.
    """

    code: int
    output: str
    seconds: float
    changes: int = 0
    is_killed: bool = False


@dataclass(frozen=True)
class Kill:
    """When to kill a program with its process group.

    Attributes:
        after: Seconds after its start.
        at: Before its n-th change of the file system, of those that Python makes.
        only: Kills what it has started with these words in its command line, and nothing else.
    """

    after: float | None = None
    at: int | None = None
    only: str = ""

    def __str__(self) -> str:
        if self.after is not None:
            return f"{self.only} killed after {self.after:.3f} s".strip()
        return f"killed before change {self.at}"


def run(
    folder: Path,
    *command: str,
    environment: Mapping[str, str] | None = None,
    kill: Kill | None = None,
    count: bool = False,
    watched: Path | None = None,
) -> Ended:
    """Runs a program in a folder to its end, or until it is killed.

    Args:
        folder: Where it starts; what it starts itself is found by it.
        command: Its name and arguments.
        environment: Variables beside those of this process.
        kill: When to kill it.
        count: Whether to count the changes it makes.
        watched: Where changes are counted (default: the folder).
    """
    variables = {**os.environ, **(environment or {}), _TRIAL: str(folder)}
    if command[0] not in _MODULES and kill is None:
        return _run_other(folder, command, variables)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as told:
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            at = kill.at if kill and kill.at else 0 if count else None
            _become(
                folder,
                command,
                variables,
                output.fileno(),
                _Watch(str(watched or folder), told, at),
            )
        met: list[int] = []
        end = (
            partial(_kill, pid)
            if kill is None or not kill.only
            else partial(_kill_only, folder, kill.only, met)
        )
        code = _wait(pid, None if kill is None else kill.after, started, end)
        seconds = time.monotonic() - started
        output.seek(0)
        text = output.read().decode(errors="replace")
        told.seek(0)
        changes, _, modules = told.read().decode().partition(" ")
    _import_too(modules.split())
    is_killed = bool(met) or (kill is not None and code == -signal.SIGKILL)
    return Ended(code, text, seconds, int(changes or 0), is_killed)


def _run_other(folder: Path, command: Sequence[str], variables: Mapping[str, str]) -> Ended:
    """Runs a program that is none of `_MODULES`, without a fork of this large process."""
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        check=False,
    )
    seconds = time.monotonic() - started
    return Ended(done.returncode, done.stdout.decode(errors="replace"), seconds)


def check(folder: Path, *command: str, environment: Mapping[str, str] | None = None) -> str:
    """Runs a program to its end, and returns what it printed.

    Raises:
        RuntimeError: when it fails.
    """
    ended = run(folder, *command, environment=environment)
    if ended.code != 0:
        raise RuntimeError(f"{' '.join(command)} in {folder}: {ended.output}")
    return ended.output


def find_running(folder: Path) -> list[psutil.Process]:
    """What was started in a folder by `run` and still runs, itself or by what it started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_below = Path(process.cwd()).is_relative_to(folder)
            if is_below or process.environ().get(_TRIAL) == str(folder):
                found.append(process)
    return found


def _wait(pid: int, kill_after: float | None, started: float, kill: Callable[[], object]) -> int:
    if kill_after is not None:
        pause = max(0, kill_after - (time.monotonic() - started))
        killer = threading.Timer(pause, kill)
        killer.start()
    # Waited for without being reaped, so that its id is nobody else's while it may be killed.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if kill_after is not None:
        killer.cancel()
        killer.join()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has no group of its own yet.
        os.kill(pid, signal.SIGKILL)


def _kill_only(folder: Path, words: str, met: list[int]) -> None:
    for process in find_running(folder):
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                process.kill()
                met.append(process.pid)


class _Watch:
    """Counts changes of the file system below a folder, and kills this process group at one.

    Args:
        folder: The folder.
        told: Where to write how many there were, and which modules were imported.
        at: The number of the change; 0 to count only, None to do neither.
    """

    def __init__(self, folder: str, told: IO[bytes], at: int | None) -> None:
        self._folder = folder
        self._told = told
        self._at = at
        self._count = 0
        self._process = os.getpid()
        self._known = {*sys.modules, *_tried}

    def begin(self) -> None:
        """Begins to count."""
        self._process = os.getpid()
        if self._at is not None:
            sys.addaudithook(self._see)

    def end(self) -> None:
        """Writes what it was."""
        modules = sorted(sys.modules.keys() - self._known)
        self._told.write(f"{self._count} {' '.join(modules)}".encode())
        self._told.flush()

    def _see(self, event: str, arguments: tuple[object, ...]) -> None:
        names = changed_names(event, arguments)
        # Names without a folder come from the removal of whole trees.
        is_here = any(not name.startswith("/") or self._is_below(name) for name in names)
        if is_here and os.getpid() == self._process:
            self._count += 1
            if self._count == self._at:
                os.killpg(0, signal.SIGKILL)

    def _is_below(self, name: str) -> bool:
        return name.startswith(f"{self._folder}/")


def changed_names(
    event: str, arguments: tuple[object, ...], changes: Mapping[str, int] = CHANGES
) -> list[str]:
    """The paths that are about to change, from an audit event (`sys.addaudithook`)."""
    if event in changes:
        paths = arguments[: changes[event]]
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE:
        paths = arguments[:1]
    else:
        return []
    return [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]


def _become(
    folder: Path,
    command: Sequence[str],
    variables: Mapping[str, str],
    output: int,
    watch: _Watch,
) -> NoReturn:
    """Turns a fork into a program."""
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        if command[0] not in _MODULES:
            os.execvpe(command[0], [*command], variables)
        # This process may have put something else in the place of its own streams.
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.environ.clear()
        os.environ.update(variables)
        tempfile.tempdir = None
        sys.argv = [str(Path(sys.executable).parent / command[0]), *command[1:]]
        watch.begin()
        try:
            code = int(importlib.import_module(_MODULES[command[0]]).main() or 0)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            watch.end()
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
