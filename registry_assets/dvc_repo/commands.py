"""Running the command of a stage as DVC runs it: same shell, same environment, same folder."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Protocol

from dvc.dvcfile import PROJECT_FILE
from dvc.stage.run import get_executable, prepare_kwargs

from registry_assets.dvc_repo.internals import shell_command
from registry_assets.dvc_repo.loading import address_of
from registry_assets.dvc_repo.opening import Report
from registry_assets.errors import StageFailedError

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

_LAST_LINES = 12
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.1


class Aside(Protocol):
    """Who ends the command if this process is killed, and has the previous outputs."""

    @property
    def has_any(self) -> bool:
        """Whether there are previous outputs."""

    def note_command(self, pid: int) -> None:
        """Takes the process group of the command."""


def run_command(stage: PipelineStage, aside: Aside, report: Report, stop: Event) -> None:
    """Runs the command of a stage as DVC does: same shell, same environment, same folder.

    In addition, the folder of this interpreter comes first on PATH, as in an activated virtual
    environment, so that `python` in a command has the installed packages.

    Args:
        stage: The stage.
        aside: See `Aside`.
        report: Takes the output of the command, line by line.
        stop: When set, the command and its child processes are terminated.

    Raises:
        StageFailedError: when the command fails, is stopped, or does not make an output.
    """
    commands = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
    options = prepare_kwargs(stage)
    # DVC sets it relative to the working directory, which is arbitrary in a Dagster run.
    options["env"]["DVC_STAGE"] = address_of(stage).removeprefix(f"{PROJECT_FILE}:")
    options["env"]["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), options["env"].get("PATH", os.defpath)]
    )
    for command in commands:
        report(f"> {command}")
        _run_line(stage, command, options, aside, report, stop)
    for out in stage.outs:
        if not out.exists:
            raise _failed(stage, aside, f"the command did not make {out.def_path}")


def _failed(
    stage: PipelineStage, aside: Aside, reason: str, last_lines: Sequence[str] = ()
) -> StageFailedError:
    return StageFailedError(address_of(stage), reason, last_lines, has_previous=aside.has_any)


def _run_line(
    stage: PipelineStage,
    command: str,
    options: Mapping[str, object],
    aside: Aside,
    report: Report,
    stop: Event,
) -> None:
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)
    process = subprocess.Popen(
        shell_command(get_executable(), command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A process group of its own, so that its child processes can be killed with it.
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )
    aside.note_command(process.pid)
    try:
        for line in _lines(process, stop):
            last_lines.append(line)
            report(line)
        if stop.is_set():
            raise _failed(stage, aside, f"`{command}` was stopped")
        code = process.wait()
    except BaseException:
        _end_group(process)
        raise
    if code != 0:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise _failed(stage, aside, f"`{command}` {how}", list(last_lines))


def _lines(process: subprocess.Popen[bytes], stop: Event) -> Iterator[str]:
    """Yields the output of a command until it exits or `stop` is set.

    Does not wait for child processes that keep the pipe open.
    """
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    newlines = io.IncrementalNewlineDecoder(decoder, translate=True)
    text = ""
    has_ended = False
    while not stop.is_set():
        if select.select([process.stdout], [], [], 0 if has_ended else _POLL_SECONDS)[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            *lines, text = (text + newlines.decode(chunk)).split("\n")
            yield from lines
        elif has_ended:
            break
        else:
            has_ended = process.poll() is not None
    *lines, text = (text + newlines.decode(b"", final=True)).split("\n")
    yield from lines
    if text:
        yield text


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Terminates the process group, then kills it."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
