"""Forks for each call of `dvc` or `registry`, from a process that has what they import."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import select
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

MODULES = {"dvc": "dvc.cli", "registry": "registry_assets.cli"}
LONGEST_MESSAGE = 1 << 20
tried: set[str] = set()
"""Names of modules that were learned, among them those that only exist in a process."""


def serve(address: str) -> None:
    """Answers calls until the standard input ends."""
    learning, teaching = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    teaching.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST_MESSAGE)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([learning, listening, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if learning in readable:
            learn(learning.recv(LONGEST_MESSAGE).decode().split())
        if listening in readable:
            call, _ = listening.accept()
            with call:
                if os.fork() == 0:
                    listening.close()
                    answer(call, teaching)


def learn(names: list[str]) -> None:
    """Imports what a command has imported, so that the next one need not."""
    # Accelerators come with what they speed up: `_asyncio` first leaves asyncio in two halves.
    for name in (name for name in names if not name.startswith("_")):
        with suppress(Exception):
            importlib.import_module(name)
    tried.update(names)
    # A fork copies what the collector of garbage touches.
    gc.freeze()


def answer(call: socket.socket, teaching: socket.socket) -> None:
    """Runs one program to its end, as if it had been started where the call came from."""
    code, known = 1, tried | set(sys.modules)
    try:
        _, streams, _, _ = socket.recv_fds(call, 1, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        with call.makefile("rb") as request:
            called = json.load(request)
        os.chdir(called["cwd"])
        os.environ.clear()
        os.environ.update(called["env"])
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
            call.sendall(str(code).encode())
        with suppress(OSError):
            # Where a message may not be that long, the next command imports them by itself.
            if learned := set(sys.modules) - known:
                teaching.send("\n".join(sorted(learned)).encode())
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
    for module in MODULES.values():
        importlib.import_module(module)
    serve(sys.argv[1])
