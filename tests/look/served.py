"""A real server of `registry look`, asked over HTTP as a browser, or somebody else, would."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from registry_assets import read_registry
from tests.dagster_ui import free_port, wait_for

WRITING = {"X-Registry-Look": "1", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that runs.

    Attributes:
        address: What it printed.
        base: The path of the page.
        cookie: What a browser would send.
    """

    process: subprocess.Popen[str]
    address: str
    base: str
    cookie: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def token(self) -> str:
        return urlsplit(self.address).query.removeprefix("token=")

    def send(
        self,
        target: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """What it answers to a request with these headers and, by default, no cookie."""
        connection = HTTPConnection(self.host, timeout=60)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            given = {"Host": self.host, **(headers or {})}
            if body or method == "POST":
                given["Content-Length"] = str(len(body))
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            found = connection.getresponse()
            fields = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, fields, found.read())
        finally:
            connection.close()

    def open(self) -> Served:
        """Open the address that it printed, as a browser does, and keep the cookie."""
        found = self.send(f"/?token={self.token}")
        assert found.status == 303, found
        assert found.headers["location"] == self.base
        self.cookie = found.headers["set-cookie"].partition(";")[0]
        return self

    def get(self, path: str = "", method: str = "GET", /, **query: str) -> Answer:
        """What it answers the page."""
        asked = f"?{urlencode(query)}" if query else ""
        return self.send(f"{self.base}{path}{asked}", method, {"Cookie": self.cookie})

    def settled_state(self) -> str:
        """The registry's state, once a further change could be told from what was read."""
        wait_for(10, lambda: self.get("api/state").json["state"] != "unknown", "a known state")
        return str(self.get("api/state").json["state"])

    def post(self, path: str, body: object) -> Answer:
        """What it answers the page when it writes."""
        headers = {"Cookie": self.cookie, **WRITING}
        return self.send(f"{self.base}{path}", "POST", headers, json.dumps(body).encode())

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """End it; its exit code, and what else it said."""
        self.process.send_signal(number)
        said, errors = self.process.communicate(timeout=30)
        return self.process.returncode, said, errors


@contextmanager
def serving(root: Path, *arguments: str, port: int | None = 0) -> Iterator[Served]:
    """Start a server, and end it.

    Args:
        root: The registry.
        arguments: Of `registry look`.
        port: 0 for a free one, None for none given.
    """
    chosen = () if port is None else ("--port", str(port or free_port()))
    with subprocess.Popen(
        ["registry", "--root", str(root), "look", "--no-browser", *chosen, *arguments],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), process.stderr.read()
            yield Served(process, address, f"/registry/{read_registry(root).name}/look/")
        finally:
            process.kill()
