"""Orders carried by a command of the user's, such as ``ssh gpu1 registry work - --attached``.

The command reads the order from standard input, as one line, and has `registry work` carry it out
somewhere. It gives the answer on standard output, and what is said meanwhile on standard error.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from threading import Event

from registry_assets.addresses import without_secrets
from registry_assets.errors import RegistryError
from registry_assets.workers.crew import Errand, Report
from registry_assets.workers.orders import Answer, Order

_LAST_LINES = 12
_POLL_SECONDS = 0.2
_STOP_SECONDS = 5.0


class CommandEngine:
    """Carries each order by a command; see `crew.Engine`.

    Args:
        command: The command, for the shell. Its environment has the resources that the stage needs,
            such as ``REGISTRY_NEEDS_GPU=1``.
        most_at_once: How many run at a time.
    """

    def __init__(self, command: str, most_at_once: int) -> None:
        self._command = command
        self._most_at_once = most_at_once

    @property
    def most_at_once(self) -> int:
        """How many commands run at a time."""
        return self._most_at_once

    def carry(self, errand: Errand, report: Report, stop: Event) -> tuple[Answer, str]:
        """Carries an order by the command; see `crew.Engine.carry`."""
        order = errand.order
        pack = base64.b64encode(errand.snapshot.pack).decode()
        needed = {f"REGISTRY_NEEDS_{name.upper()}": f"{n:g}" for name, n in errand.needs.items()}
        process = subprocess.Popen(
            self._command,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **needed, "REGISTRY_STAGE": order.stage.address},
            start_new_session=True,
        )
        assert process.stdin is not None
        last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        said: list[bytes] = []
        readers = [
            threading.Thread(target=_report_lines, args=(process, report, last_lines), daemon=True),
            threading.Thread(target=_read_all, args=(process, said), daemon=True),
        ]
        for reader in readers:
            reader.start()
        line = json.dumps({"order": order.to_json(), "pack": pack}).encode()
        # Who does not read it must not keep this from being stopped.
        writer = threading.Thread(target=_write, args=(process, line), daemon=True)
        writer.start()
        try:
            while process.poll() is None and not stop.wait(_POLL_SECONDS):
                pass
        finally:
            _end(process, writer)
        for reader in readers:
            reader.join(_STOP_SECONDS)
        return self._read_answer(b"".join(said), order, process.returncode, list(last_lines)), ""

    def close(self) -> None:
        """Nothing runs on between orders."""

    def _read_answer(
        self, text: bytes, order: Order, code: int, last_lines: Collection[str]
    ) -> Answer:
        # What a login shell or a queue says comes first.
        line = next((part for part in reversed(text.splitlines()) if part.startswith(b"{")), b"")
        try:
            return Answer.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            shown = without_secrets("".join(f"\n  | {line}" for line in last_lines))
            raise RegistryError(
                f"{order.stage.address}: `{without_secrets(self._command)}` ended with exit code "
                f"{code} and gave no answer: it has to run `registry work -` somewhere, with its "
                f"own standard input and output{shown}"
            ) from error


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Writes a line; the input stays open, as `registry work --attached` stops when it ends."""
    assert process.stdin is not None
    with suppress(BrokenPipeError, ValueError):
        process.stdin.write(line + b"\n")
        process.stdin.flush()


def _read_all(process: subprocess.Popen[bytes], said: list[bytes]) -> None:
    assert process.stdout is not None
    said.append(process.stdout.read())


def _report_lines(process: subprocess.Popen[bytes], report: Report, last_lines: deque[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        text = line.decode(errors="replace").rstrip("\r\n")
        last_lines.append(text)
        report(text)


def _end(process: subprocess.Popen[bytes], writer: threading.Thread) -> None:
    """Closes the command's input, and ends it if it does not end by that."""
    assert process.stdin is not None
    if not writer.is_alive():
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    writer.join(_STOP_SECONDS)
    with suppress(BrokenPipeError, ValueError):
        process.stdin.close()
