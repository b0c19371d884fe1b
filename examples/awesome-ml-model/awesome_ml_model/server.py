"""The MLflow server of this repository: on this machine only, with its store in one file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

FOLDER = ".mlflow"
PORT = 5000


def start_server(folder: Path, port: int, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Starts MLflow's tracking server and model registry on the loopback address.

    Args:
        folder: Where the database (SQLite) and the artifacts are kept; made when it is not there.
        port: Where it listens.
        log: Takes what it says; the terminal when None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder.resolve() / 'mlflow.db'}"),
        *("--artifacts-destination", (folder.resolve() / "artifacts").as_uri()),
    ]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        # Jobs of language models, which would cost two processes more.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
