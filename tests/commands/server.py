"""Forks for each call of a program, from a process that has what it imports."""

from __future__ import annotations

import gc
import importlib
import logging
import marshal
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path

MODULES = {
    "dvc": "dvc.cli",
    "registry": "registry_assets.cli",
    "dask-scheduler": "distributed.cli.dask_scheduler",
    "dask-worker": "distributed.cli.dask_worker",
}
IMPORTED_LATER = {
    # When a worker is given an order, and makes its first stage.
    "dask-worker": ("registry_assets.workers.dask_worker", "registry_assets.dvc_repo.working"),
}
LONGEST_MESSAGE = 1 << 20
HISTORY = "registry_assets.orchestration.history.opening"
tried: set[str] = set()
"""Names of modules that were learned, among them those that only exist in a process."""


def serve(address: str) -> None:
    """Answers calls until the standard input ends, and ends what still runs for them."""
    learning, teaching = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    teaching.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST_MESSAGE)
    waking = wake_when_one_ends()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    print("ready", flush=True)
    watched = select.poll()
    for source in (learning, listening, waking, sys.stdin):
        watched.register(source, select.POLLIN)
    calls: dict[int, socket.socket] = {}
    while True:
        ready = {number for number, _ in watched.poll()}
        is_over = sys.stdin.fileno() in ready
        for process, call in calls.items():
            # Who called was ended: so is what it called, which is itself for those who look.
            if is_over or call.fileno() in ready:
                os.kill(process, signal.SIGKILL)
        if is_over:
            for process in calls:
                os.waitpid(process, 0)
            return
        if learning.fileno() in ready:
            learn(learning.recv(LONGEST_MESSAGE).decode().split())
        if waking.fileno() in ready:
            waking.recv(LONGEST_MESSAGE)
            for process in ended():
                call = calls.pop(process)
                watched.unregister(call)
                call.close()
        if listening.fileno() in ready:
            call, _ = listening.accept()
            process = os.fork()
            if process == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (listening, *calls.values()):
                    other.close()
                answer(call, teaching)
            calls[process] = call
            # What it says is for the process to read; here it matters when it hangs up.
            watched.register(call, 0)


def wake_when_one_ends() -> socket.socket:
    """What can be read from when a process has ended."""
    waking, woken = socket.socketpair()
    woken.setblocking(False)
    # Without a function of its own, the signal would be ignored.
    signal.signal(signal.SIGCHLD, lambda number, _: None)
    signal.set_wakeup_fd(woken.detach(), warn_on_full_buffer=False)
    return waking


def ended() -> Iterator[int]:
    """The processes that have ended since."""
    with suppress(ChildProcessError):
        while process := os.waitpid(-1, os.WNOHANG)[0]:
            yield process


def learn(names: list[str]) -> None:
    """Imports what a command has imported, so that the next one need not."""
    # Accelerators come with what they speed up: `_asyncio` first leaves asyncio in two halves.
    for name in (name for name in names if not name.startswith("_")):
        with suppress(Exception):
            importlib.import_module(name)
    if HISTORY in names and HISTORY not in tried:
        use_once()
    tried.update(names)
    # A fork copies what the collector of garbage touches.
    gc.freeze()


def prepare_dvc() -> None:
    """Builds the parsers of arguments and of settings: a third of a short command of `dvc`."""
    from dvc.cli import parser
    from dvc.config import get_compiled_schema

    parser.get_main_parser = cache(parser.get_main_parser)
    parser.get_main_parser()
    get_compiled_schema()


def use_once() -> None:
    """Records a collection, so that no command has to build anew what each of them builds.

    These are the parsers of templates, the migrations of the history, the tables of its database,
    and what turns a registry into JSON: a fourth of a short command.
    """
    from tqdm import TMonitor

    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.intake.initialising import init_registry
    from registry_assets.making.unit import Unit
    from registry_assets.orchestration.batch_job import Batch, make_in_process
    from registry_assets.orchestration.checks import report_checks
    from registry_assets.orchestration.history.opening import open_history
    from registry_assets.orchestration.history.reporting import sync
    from registry_assets.registry.lineage.building import build_lineage
    from registry_assets.registry.reading import read_registry

    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as unread,
        redirect_stdout(unread),
        redirect_stderr(unread),
    ):
        root = Path(folder) / "registry"
        list(init_registry(root))
        (root / "raw/01_a").mkdir()
        (root / "raw/01_a/one.txt").write_text("one\n")
        dvc, lineage = DvcRepo(root), build_lineage(read_registry(root))
        raw = next(group for group in lineage.groups if group.folder == "raw")
        with open_history(root) as instance:
            sync(lineage, instance, print)
            batch = Batch(dvc, lineage, instance, print)
            assert make_in_process(batch, [Unit(raw, "01_a")], print, {}) == []
            report_checks(batch.lineage, instance)
        read_registry(root)
    for thread in threading.enumerate():
        if isinstance(thread, TMonitor):
            # The next progress bar starts another one.
            thread.exit()
    assert threading.active_count() == 1, f"a fork lacks {threading.enumerate()}"


def answer(call: socket.socket, teaching: socket.socket) -> None:
    """Runs one program to its end, as if it had been started where the call came from."""
    code, known = 1, tried | set(sys.modules)
    try:
        _, streams, _, _ = socket.recv_fds(call, 1, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        with call.makefile("rb") as request:
            called = marshal.loads(request.read(int(request.readline())))
        call.sendall(b"%d\n" % os.getpid())
        os.chdir(called["cwd"])
        os.environ.clear()
        os.environ.update(called["env"])
        # The folder for temporary files, which the environment names.
        tempfile.tempdir = None
        name, *arguments = called["argv"]
        code = run(Path(name).name, arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        with suppress(OSError):
            # Where a message may not be that long, the next command imports them by itself.
            if learned := set(sys.modules) - known:
                teaching.send("\n".join(sorted(learned)).encode())
        # At last, as this process ends with the one that waits for it.
        with suppress(OSError):
            call.sendall(b"%d\n" % code)
        os._exit(code)


def run(name: str, arguments: list[str]) -> int:
    """The exit code of a program."""
    sys.argv = [str(Path(sys.executable).parent / name), *arguments]
    try:
        code = importlib.import_module(MODULES[name]).main()
    except SystemExit as end:
        code = end.code
    return int(code or 0)


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.executable).parent)
    given, *programs = sys.argv[1:]
    for program in programs:
        for module in (MODULES[program], *IMPORTED_LATER.get(program, ())):
            importlib.import_module(module)
    if "dvc" in programs:
        prepare_dvc()
    serve(given)
