"""Starts and stops Dagster's code server, webserver and daemon for `registry ui`.

Each program takes seconds to import Dagster. `dagster dev` starts one after the other; here they
import in parallel.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from registry_assets.errors import UnusableError
from registry_assets.look.guard import LOOK_HOSTS, LOOK_TOKEN, Hosts, new_token

_DAEMON = ("registry_assets.orchestration.daemon", "run")
_CODE_SERVER = ("dagster", "code-server", "start")
_WEBSERVER = ("registry_assets.orchestration.webserver",)

_CODE_LOCATION = "registry_assets.definitions"
"""The module to load, and the name of the code location: Dagster stores sensor cursors under it, so
it must not change."""

_LOOK_SECONDS = 0.1
_RESTART_SECONDS = 5
_ANSWER_SECONDS = 5
_START_SECONDS = 180
_END_SECONDS = 60
_LEAVE_SECONDS = 10


class Services:
    """The code server, the webserver and the daemon.

    Attributes:
        address: The URL of the webserver, with the token that opens the page of pictures.
    """

    def __init__(
        self, root: Path, host: str, port: int, environment: Mapping[str, str], folder: Path
    ) -> None:
        # Only the webserver knows the token: runs have no use for it.
        token, hosts = new_token(), Hosts.of_listener(host, port)
        self._page = {LOOK_TOKEN: token, LOOK_HOSTS: str(hosts)}
        self.address = f"http://{host}:{port}/?token={token}"
        self._host = host
        self._port = port
        self._root = root
        self._environment = environment
        self._socket = folder / "code"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._starter = ThreadPoolExecutor(1)
        self._workspace = folder / "workspace.yaml"
        location = {"location_name": _CODE_LOCATION, "socket": str(self._socket)}
        self._workspace.write_text(
            json.dumps({"load_from": [{"grpc_server": location}]}), encoding="utf-8"
        )

    def start_webserver(self) -> None:
        """Start the webserver: it imports Dagster, then waits for `wait_until_it_answers`."""
        self._start(
            "webserver",
            *_WEBSERVER,
            *("--host", self._host, "--port", str(self._port)),
            *("--workspace", str(self._workspace)),
            stdin=subprocess.PIPE,
            more=self._page,
        )

    def start_code_server(self) -> None:
        """Start the code server, which loads the definitions; needs Dagster's history."""
        self._socket.unlink(missing_ok=True)
        self._start(
            "code server",
            *_CODE_SERVER,
            *("--socket", str(self._socket)),
            *("--module-name", _CODE_LOCATION, "--location-name", _CODE_LOCATION),
            *("--inject-env-vars-from-instance", "--startup-timeout", str(_START_SECONDS)),
            *("--log-level", "warning"),
        )

    def wait_until_it_answers(self) -> None:
        """Start the daemon and wait until the webserver answers.

        Raises:
            UnusableError: when one of the programs exits.
        """
        while not self._has_code_server():
            self._sleep(_LOOK_SECONDS)
        # The webserver starts to serve when its standard input is closed.
        webserver = self._running["webserver"]
        assert webserver.stdin is not None
        webserver.stdin.close()
        self._start("daemon", *_DAEMON, "--workspace", str(self._workspace))
        while not self._answers():
            self._sleep(_LOOK_SECONDS)

    def wait_until_one_ends(self) -> None:
        """Wait while all programs run; restart the code server if it exits.

        Raises:
            UnusableError: when the webserver or the daemon exits.
        """
        while True:
            self._sleep(_RESTART_SECONDS, but="code server")
            if self._running["code server"].poll() is not None:
                self.start_code_server()

    def is_left(self) -> bool:
        """Whether the code server still runs after `end`, because of runs in progress."""
        process = self._running.get("code server")
        return process is not None and process.poll() is None

    def end(self) -> None:
        """Stop all programs; the code server exits once its runs are finished."""
        self._starter.shutdown()
        # Before there is a daemon nothing runs, and a program that is interrupted in its imports
        # prints where it was.
        is_early = "daemon" not in self._running
        for process in self._running.values():
            with suppress(ProcessLookupError):
                if is_early:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.send_signal(signal.SIGINT)
        for name, process in self._running.items():
            seconds = _LEAVE_SECONDS if name == "code server" else _END_SECONDS
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                if name != "code server":
                    process.kill()
                    process.wait()

    def _start(
        self,
        name: str,
        *command: str,
        stdin: int = subprocess.DEVNULL,
        more: Mapping[str, str] | None = None,
    ) -> None:
        # In a thread, as no signal interrupts those: `end` has to know what was started.
        environment = {**self._environment, **(more or {})}
        self._starter.submit(self._launch, name, command, stdin, environment).result()

    def _launch(
        self, name: str, command: Sequence[str], stdin: int, environment: Mapping[str, str]
    ) -> None:
        # In its own session, the process gets no SIGINT from the terminal, only ours.
        self._running[name] = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=stdin,
            env=environment,
            cwd=self._root,
            start_new_session=True,
        )

    def _sleep(self, seconds: float, but: str | None = None) -> None:
        """Sleep, then make sure that all programs except `but` are still running.

        Raises:
            UnusableError: when one has exited.
        """
        time.sleep(seconds)
        for name, process in self._running.items():
            if name != but and process.poll() is not None:
                raise UnusableError(
                    f"Dagster's {name} exited unexpectedly with code {process.returncode}: see its "
                    "output above"
                )

    def _has_code_server(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._socket))
            except OSError:
                return False
        return True

    def _answers(self) -> bool:
        with closing(HTTPConnection(self._host, self._port, timeout=_ANSWER_SECONDS)) as connection:
            try:
                connection.request("GET", "/server_info")
                connection.getresponse()
            except (OSError, HTTPException):
                return False
        return True


@contextmanager
def starting_services(
    root: Path, host: str, port: int, environment: Mapping[str, str]
) -> Iterator[Services]:
    """Start the webserver, which waits for the other programs; stop all of them on exit.

    Args:
        root: The registry.
        host: The address on which the webserver listens.
        port: The port on which the webserver listens.
        environment: The environment of all programs, with DAGSTER_HOME and REGISTRY_ROOT.
    """
    # The path of a Unix socket has to be short, and the path of a registry may be long.
    with tempfile.TemporaryDirectory(prefix="registry-") as folder:
        services = Services(root, host, port, environment, Path(folder))
        try:
            services.start_webserver()
            yield services
        finally:
            services.end()
