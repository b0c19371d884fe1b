"""When a browser first paints a page: Chromium without a screen, spoken to through a pipe.

The protocol is that of Chromium's developer tools (`--remote-debugging-pipe`): messages in JSON,
each ended by a zero, in on descriptor 3 and out on 4.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_PAINT = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0]"
_MOST_SECONDS = 60.0


def is_there() -> bool:
    """Whether this machine has a Chromium."""
    return any(map(shutil.which, _NAMES))


def measure_first_paint(address: str) -> float:
    """Seconds from asking for a page to its first paint with anything in it."""
    with _Browser.start() as browser:
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.ask("Page.navigate", session, url=address)
        end = monotonic() + _MOST_SECONDS
        while monotonic() < end:
            found = browser.ask("Runtime.evaluate", session, expression=_PAINT)["result"]
            if "value" in found:
                return float(found["value"]) / 1000
            sleep(0.05)
    raise SystemExit(f"nothing was painted within {_MOST_SECONDS:g} s")


class _Browser:
    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._said = b""
        self._number = 0

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[_Browser]:
        program = next(filter(None, map(shutil.which, _NAMES)))
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        def place() -> None:
            # By way of higher numbers, as 3 and 4 may be taken by the other one.
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
            for end, wanted in zip(ends, (3, 4), strict=True):
                os.dup2(end, wanted)

        with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            process = subprocess.Popen(
                [program, *_QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=place,
                pass_fds=(3, 4),
            )
            os.close(theirs_in)
            os.close(theirs_out)
            try:
                yield cls(ours_in, ours_out)
            finally:
                os.close(ours_out)
                os.close(ours_in)
                process.terminate()
                process.wait(30)

    def ask(self, method: str, session: str | None = None, **params: object) -> Mapping[str, Any]:
        """Sends a command and returns its result; what is said besides is passed over."""
        self._number += 1
        asked: dict[str, object] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            asked["sessionId"] = session
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                result: Mapping[str, Any] = answer.get("result", {})
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._said:
            block = os.read(self._read, 1 << 16)
            if not block:
                raise SystemExit("the browser went away")
            self._said += block
        message, _, self._said = self._said.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed
