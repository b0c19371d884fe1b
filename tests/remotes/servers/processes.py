"""Starting servers on loopback, and getting those that are no Python packages: `make servers`."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"

# Taken before the tests hide the home folder: a second run finds here what the first one fetched.
_OWN_HOME = Path.home()
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or _OWN_HOME / ".cache") / "registry-assets-tests"

_START_SECONDS = 30.0
_END_SECONDS = 5.0
_INSTALL_SECONDS = 600.0
_POLL_SECONDS = 0.05


def find_free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str | Path],
    port: int,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until it is left; what it says goes to a file.

    Args:
        command: The program, with its arguments.
        port: Where it listens.
        log: The file.
        env: Goes before the environment of this process.
        user: Whom it runs as; like this process by default.

    Raises:
        RuntimeError: when nobody listens on its port in time, with what the server said.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            user=user,
        )
    try:
        _wait_for(port, process, log)
        yield process
    finally:
        # With what it started: a program of a virtual environment may be a wrapper around another.
        _signal(process, signal.SIGTERM)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], sent: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, sent)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with socket.create_connection((HOST, port), timeout=1):
                return
        except OSError:
            time.sleep(_POLL_SECONDS)
    said = log.read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"{process.args!r} does not listen on port {port}:\n{said}")


class MissingServerError(RuntimeError):
    """A server that this machine lacks, with the commands that install it."""

    def __init__(self, name: str, command: str) -> None:
        super().__init__(f"{name} is missing here: run `make servers`, or `{command}`")


def place_of(name: str) -> Path:
    """Where something from outside is kept for this user, once it was fetched."""
    return _CACHE / name


def fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder of something from outside, fetched the first time.

    Args:
        name: With the version in it.
        fetch: Fills an empty folder.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    folder = place_of(name)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not folder.is_dir():
            part = _CACHE / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            fetch(part)
            part.rename(folder)
    return folder


def install(*command: str, folder: Path) -> None:
    """Runs a package manager with the settings of the person at this machine.

    Raises:
        RuntimeError: with what it said.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "HOME": str(_OWN_HOME), "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise RuntimeError(f"{command[0]} is needed to install a server for the tests") from error
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


def find_program(name: str, package: str, *folders: str) -> str:
    """The path of a program from one of Debian's packages.

    Args:
        name: The program.
        package: What has it.
        folders: Where to look after the PATH, as patterns from the root of the file system; of what
            one matches, the last by name goes first.

    Raises:
        MissingServerError: when it is not there, with the command that installs it.
    """
    places = [os.environ["PATH"]]
    for pattern in folders:
        places += sorted(map(str, Path("/").glob(pattern)), reverse=True)
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return found
    raise MissingServerError(name, f"sudo apt-get install --no-install-recommends {package}")


def install_packages(*names: str) -> None:
    """Installs packages of Debian, as root or with `sudo`."""
    become_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*become_root, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    install(*apt, "update", folder=Path("/"))
    install(*apt, "install", "-y", "--no-install-recommends", *names, folder=Path("/"))
