"""PostgreSQL, from Debian's package `postgresql`, on loopback for as long as some tests need it."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import psycopg2

from tests.remotes.servers.processes import HOST, find_free_port, find_program, serving

USER = "team"
PASSWORD = "s3cret/of the@team"
"""With signs in it that an address has to have quoted."""

PACKAGE = "postgresql"
_BIN = "usr/lib/postgresql/*/bin"
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "50",
    # What a power cut takes is of no interest here.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_START_SECONDS = 30.0
_END_SECONDS = 20.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class PostgresServer:
    """A server, and the role that owns all that is in it.

    Attributes:
        port: Where it listens on loopback.
    """

    port: int

    def address(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """The URL of a database, with the password in it."""
        return f"postgresql://{user}:{quote(password, safe='')}@{HOST}:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Executes statements, each in a transaction of its own; returns the rows of the last."""
        connection = psycopg2.connect(self.address(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def find_programs() -> tuple[str, str]:
    """The paths of `initdb` and `postgres`."""
    return find_program("initdb", PACKAGE, _BIN), find_program("postgres", PACKAGE, _BIN)


@contextmanager
def serve() -> Iterator[PostgresServer]:
    """Starts PostgreSQL.

    It refuses to run as root, so there it runs as another user, who cannot reach into the folders
    of pytest.
    """
    initdb, postgres = find_programs()
    user = _find_unprivileged_user() if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="registry-assets-postgres-") as name:
        folder = Path(name)
        password = folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if user is not None:
            for place in (folder, password):
                os.chown(place, user, -1)
        data = folder / "data"
        as_superuser = ("-U", USER, "-A", "scram-sha-256", "--pwfile", password)
        quickly = ("-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
        subprocess.run(
            [initdb, "-D", data, *as_superuser, *quickly],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        port = find_free_port()
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        command = [postgres, "-D", data, "-p", str(port), *settings]
        with serving(command, port, folder / "log", user=user) as process:
            try:
                server = PostgresServer(port)
                _wait_for(server)
                yield server
            finally:
                # At SIGTERM it would wait until everybody has left.
                process.send_signal(signal.SIGINT)
                process.wait(_END_SECONDS)


def _wait_for(server: PostgresServer) -> None:
    """It listens before it lets anybody in."""
    ends = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg2.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _find_unprivileged_user() -> int:
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names["nobody"])
