"""What somebody waits for who looks at pictures: the page, a slider; and the memory it takes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from time import monotonic
from typing import IO, Any
from urllib.parse import urlencode

from cells import Cells, Time
from images import DATASET, build_registry_of
from photographs import build_photographs

_SMALL = (64, 48)
_ROWS = 60
_RUNS = 3
_LIMITS = range(5, 105, 5)


def measure_looking(scratch: Path, count: int, time: Time) -> Iterator[Cells]:
    """Seconds until the first pictures, seconds of a slider's answer, and MB at the peak.

    Args:
        scratch: A folder for the registry.
        count: The number of pictures.
        time: Returns how long a command takes in a folder.
    """
    pictures, root = scratch / "pictures", scratch / "looking"
    build_photographs(pictures, count, _SMALL)
    build_registry_of(root, pictures)
    time(["registry", "materialize"], root)
    waits: list[float] = []
    sliders: list[float] = []
    peaks: list[float] = []
    for _ in range(_RUNS):
        started = monotonic()
        with looking(root) as page:
            rows = page.ask("api/pictures", limit=_ROWS)["rows"]
            page.get(f"thumbnails/{next(row['md5'] for row in rows if row['brightness'])}")
            waits.append(monotonic() - started)
            for limit in _LIMITS:
                began = monotonic()
                page.ask("api/thresholds", values=json.dumps({"dark_image_threshold": limit}))
                sliders.append(monotonic() - began)
            peaks.append(page.peak())
    yield Cells(f"`registry look` until its first picture, {count:,} pictures", "-", waits)
    yield Cells(f"an answer to a slider, {count:,} pictures", "-", sliders)
    yield Cells(f"MB of `registry look` at its peak, {count:,} pictures", "-", peaks)
    shutil.rmtree(root)
    shutil.rmtree(pictures)


class Page:
    """Requests to a page that somebody looks at."""

    def __init__(self, address: str, process: int) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._process = process
        with self._opener.open(address, timeout=60) as answer:
            self._base = answer.geturl().partition("?")[0]

    def get(self, path: str, **query: object) -> bytes:
        """The body of an answer."""
        asked = urlencode({"source": DATASET, **query})
        with self._opener.open(f"{self._base}{path}?{asked}", timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def ask(self, path: str, **query: object) -> Any:
        """The JSON of an answer."""
        return json.loads(self.get(path, **query))

    def peak(self) -> float:
        """The largest resident set of the server so far, in MB; Linux only."""
        status = Path(f"/proc/{self._process}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024 / 1e6


@contextmanager
def looking(root: Path) -> Iterator[Page]:
    """Serves the page of a registry; gives its requests."""
    command: Sequence[str] = ["registry", "look", DATASET, "--no-browser"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Page(_find_address(process.stdout), process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _find_address(said: IO[str]) -> str:
    for line in said:
        if line.startswith("http"):
            return line.strip().partition("#")[0]
    raise SystemExit("`registry look` ended without an address")
