"""The programs `dvc` and `registry`, each run anew without the second that its imports take.

`server.py` imports them once, has once built what every process builds at its first use, and forks
for each command; a program on the PATH hands it what it was called with, as `client.py` says. What
runs is what the programs themselves run, in a process of its own, which hears the signals that the
program on the PATH is sent, and ends with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = ("dvc", "registry")


@contextmanager
def serving() -> Iterator[Path]:
    """A folder for the PATH with the programs, for as long as the server lives."""
    # The address of a socket is a short path, and pytest's folders are deep.
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "socket")
        programs = Path(folder) / "bin"
        programs.mkdir()
        for name in PROGRAMS:
            program = programs / name
            text = (HERE / "client.py").read_text(encoding="utf-8")
            program.write_text(f"#!{sys.executable} -IS\nADDRESS = {address!r}\n{text}")
            program.chmod(0o755)
        # It ends with its standard input, so also when nobody is left to end it.
        command = [sys.executable, str(HERE / "server.py"), address]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            with server.stdin:
                assert server.stdout.readline() == b"ready\n"
                yield programs


def program(name: str) -> str:
    """The program that does without the server, where its own start or its children matter."""
    return os.fspath(Path(sys.executable).parent / name)
