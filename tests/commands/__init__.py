"""The programs `dvc` and `registry`, each run anew without the second that its imports take.

`server.py` imports them once, has once built what every process builds at its first use, and forks
for each command; a program on the PATH hands it what it was called with, as `client.py` says. What
runs is what the programs themselves run, in a process of its own, which hears the signals that the
program on the PATH is sent, and ends with it.

Where tests need no program in between, they have the server fork directly: see `Fork`.
"""

from __future__ import annotations

import marshal
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
PROGRAMS = ("dvc", "registry")
SOCKET, BIN = "socket", "bin"


@contextmanager
def serving() -> Iterator[Path]:
    """A folder for the PATH with the programs, for as long as the server lives."""
    with forking(*PROGRAMS) as address:
        programs = Path(address).parent / BIN
        programs.mkdir()
        for name in PROGRAMS:
            program = programs / name
            text = (HERE / "client.py").read_text(encoding="utf-8")
            program.write_text(f"#!{sys.executable} -IS\nADDRESS = {address!r}\n{text}")
            program.chmod(0o755)
        yield programs


@contextmanager
def forking(*programs: str) -> Iterator[str]:
    """The address of a server that has imported some programs, for as long as it lives."""
    # The address of a socket is a short path, and pytest's folders are deep.
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / SOCKET)
        # It ends with its standard input, so also when nobody is left to end it.
        command = [sys.executable, str(HERE / "server.py"), address, *programs]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            with server.stdin:
                assert server.stdout.readline() == b"ready\n"
                yield address


class Fork:
    """A program in a fork of a server, with what a `subprocess.Popen` has.

    Args:
        address: Of the server.
        command: The program and its arguments.
        cwd: Where it runs.
        env: Its environment.
        stdout: Where its output goes.
        stderr: Where its errors go.
    """

    def __init__(
        self,
        address: str,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        self._said = b""
        self._call = socket.socket(socket.AF_UNIX)
        self._call.connect(address)
        called = marshal.dumps({"argv": [*command], "cwd": str(cwd), "env": dict(env)})
        with Path(os.devnull).open("rb") as nothing:
            streams = (nothing, stdout, stderr)
            socket.send_fds(self._call, [b"."], [stream.fileno() for stream in streams])
        self._call.sendall(b"%d\n" % len(called) + called)
        with self._call.makefile("rb", buffering=0) as answers:
            self.pid = int(answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._call.settimeout(timeout)
            try:
                # The server hangs up when it is gone.
                while more := self._call.recv(16):
                    self._said += more
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._call.close()
            self.returncode = int(self._said or -signal.SIGKILL)
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Sends it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it."""
        self.send_signal(signal.SIGKILL)


def run_anew(
    command: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, without input; raises nothing when it fails."""
    found = shutil.which(command[0], path=env["PATH"]) if command[0] in PROGRAMS else None
    address = Path(found).parent.parent / SOCKET if found else Path()
    if not address.is_socket():
        return subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=env,
            check=False,
        )
    # The program that calls the server would take as long to start as the fork.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
    ):
        code = Fork(str(address), command, cwd=cwd, env=env, stdout=out, stderr=err).wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def program(name: str) -> str:
    """The program that does without the server, where its own start or its children matter."""
    return os.fspath(Path(sys.executable).parent / name)
