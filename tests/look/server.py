"""The server of the page, started as people start it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.remotes.servers.processes import find_free_port

_END_SECONDS = 10.0


@contextmanager
def looking(root: Path) -> Iterator[str]:
    """Runs `registry look`; gives the address that it prints, with the token."""
    command = ["registry", "look", "--no-browser", "--port", str(find_free_port())]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), address
            yield address
        finally:
            process.terminate()
            process.wait(_END_SECONDS)
