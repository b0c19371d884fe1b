"""A registry with the sample photographs, and a repository of this example that imports from it.

Inside the registry's checkout this example is a folder of it, and neither a Git nor a DVC
repository of its own. A copy elsewhere becomes one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from awesome_ml_model.server import start_server

HERE = Path(__file__).resolve().parent.parent
OUTPUTS = "processed/01_image_dataset/data/outputs"
DATA = ("day_images", "night_images")

_PARTS = (
    ".gitignore",
    "README.md",
    "awesome_ml_model",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    "requirements.lock",
)
_START_SECONDS = 120

Run = Callable[..., str]
"""Runs a command in a folder, and returns what it printed."""


class StepFailedError(Exception):
    """A step of the way did not come to its end."""


def run(folder: Path, *command: str) -> str:
    """Runs a command in a folder with the programs of this environment.

    Raises:
        StepFailedError: with what it printed, when it fails.
    """
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise StepFailedError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def make_registry(folder: Path, run: Run = run) -> None:
    """Makes a registry of the sample photographs, all stages run and pushed, with the tag v1."""
    folder.mkdir(parents=True)
    # Of its own, also inside the checkout of another one.
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    run(folder, "registry", "init", ".")
    run(folder, "registry", "demo")
    commit(folder, "Take in the sample photographs", run)
    run(folder, "git", "tag", "v1")


def make_repository(folder: Path, registry: str, rev: str, run: Run = run) -> None:
    """Makes a repository of this example whose data is imported from a registry.

    Args:
        folder: Where; made, and not there yet.
        registry: The address of the registry.
        rev: The tag, branch or commit that the data is taken at.
        run: Runs the commands.
    """
    folder.mkdir(parents=True)
    for name in _PARTS:
        source = HERE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    run(folder, "dvc", "init", "--quiet")
    (folder / "data").mkdir()
    for name in DATA:
        taken = ("--rev", rev, "--out", f"data/{name}", registry, f"{OUTPUTS}/{name}")
        run(folder, "dvc", "import", "--quiet", *taken)
    commit(folder, f"Import day and night images at {rev}", run)


def commit(folder: Path, message: str, run: Run = run) -> None:
    """Commits everything that Git does not ignore."""
    run(folder, "git", "add", "--all")
    run(folder, "git", *_identity(folder), "commit", "--quiet", "--message", message)


def _identity(folder: Path) -> tuple[str, ...]:
    """A name to commit under, on a machine where Git knows none."""
    known = subprocess.run(
        ["git", "var", "GIT_COMMITTER_IDENT"], cwd=folder, capture_output=True, check=False
    )
    return () if known.returncode == 0 else ("-c", "user.name=demo", "-c", "user.email=none")


@dataclass(frozen=True)
class Server:
    """A server that was started.

    Attributes:
        address: Where it listens.
    """

    address: str
    _process: subprocess.Popen[bytes]
    _log: Path

    def wait(self) -> None:
        """Waits until it answers.

        Raises:
            StepFailedError: when it does not come up.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StepFailedError(f"the MLflow server ended at once: see {self._log}")
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise StepFailedError(f"the MLflow server did not answer within {_START_SECONDS} s")


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Server]:
    """Has an MLflow server run meanwhile, which keeps everything in a folder.

    Args:
        folder: The folder.
        port: Where it listens, if that is free; a free one otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _choose_port(port)
    with (folder / "server.log").open("ab") as log:
        process = start_server(folder, port, log)
        try:
            yield Server(f"http://127.0.0.1:{port}", process, folder / "server.log")
        finally:
            process.terminate()
            process.wait(timeout=_START_SECONDS)


def _choose_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise StepFailedError("no port is free on 127.0.0.1")
