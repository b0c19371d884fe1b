"""Dagster's history in PostgreSQL: its address without the password, and messages for its errors.

`storage` in ``dagster.yaml`` gives the address of the database, or names an environment variable
that holds it. Dagster and SQLAlchemy are imported lazily, as few commands open the history.
"""

from __future__ import annotations

import re
from traceback import walk_tb
from typing import TYPE_CHECKING

from registry_assets.units import printable

if TYPE_CHECKING:
    from dagster import DagsterInstance

NEXT_STEPS = {
    "password authentication failed": "correct the user and the password {where}",
    "no password supplied": "write the password {where}",
    "no pg_hba.conf entry": "allow this machine in the server's pg_hba.conf",
    "permission denied": "ask the owner of the database to grant this user all privileges on it",
    "could not translate host name": "correct the host {where}",
    "starting up": "wait a moment, then run this again",
    "shutting down": "start the server, then run this again",
    "too many clients": "wait for other commands to finish, or raise its max_connections",
    "connection slots": "wait for other commands to finish, or raise its max_connections",
    "read-only transaction": "set the address of the primary server {where}",
    "No space left": "free some space on the server, then run this again",
    "role ": "create it with `createuser`, or correct the user {where}",
    "database ": "create it with `createdb`, or correct its name {where}",
    "relation ": (
        "another version of Dagster made the tables: upgrade Dagster, or run `dagster instance "
        "migrate`"
    ),
    "column ": (
        "another version of Dagster made the tables: upgrade Dagster, or run `dagster instance "
        "migrate`"
    ),
    "": "make sure that the server is running and reachable, or correct the address {where}",
}
"""The next step by a part of PostgreSQL's message; the first part that occurs in it counts."""

_CONNECTING = re.compile(r"connection to server (?:at|on socket) .* failed: ")
_SECRET_HOST = re.compile(r'"[^"\s]*@')

NO_ADDRESS = (
    "`storage` is not the address of a database: set postgresql://USER:PASSWORD@HOST:5432/DATABASE "
    "and percent-encode all but letters and digits in the password, for example %40 for @"
)
"""The message for an error that `is_of_address`: the error itself may quote the password."""


def check_reachable(address: str) -> None:
    """Try once to connect to a database.

    Dagster tries six times, which takes ten seconds and counts as six failed logins.

    Raises:
        sqlalchemy.exc.DBAPIError: when the connection fails.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    create_engine(address, poolclass=NullPool).connect().close()


def show_address(address: str) -> str:
    """Remove from an address the password and the options, which may hold one."""
    from sqlalchemy import URL, make_url

    url = make_url(address)
    # After an unencoded `@` in the password, SQLAlchemy takes the rest of it for the host.
    host = (url.host or "").rpartition("@")[2]
    shown = URL.create("postgresql", url.username, None, host, url.port, url.database)
    return printable(shown.render_as_string())


def shown_database(instance: DagsterInstance) -> str | None:
    """The address of an instance's PostgreSQL database without secrets; None if it has none."""
    from registry_assets.orchestration.internals import postgres_address, sql_event_log

    address = postgres_address(sql_event_log(instance))
    return None if address is None else show_address(address)


def describe_refusal(error: BaseException) -> str:
    """The message of PostgreSQL in one line."""
    said = str(error).strip()
    # libpq reports each IP address of the host; the last one got furthest.
    if _CONNECTING.match(said):
        said = _CONNECTING.split(said)[-1]
    first = said.partition("\n")[0].removeprefix("FATAL:").strip()
    return _SECRET_HOST.sub('"…@', first)


def is_of_address(error: BaseException) -> bool:
    """Whether SQLAlchemy cannot parse the address, or does not know the kind of database."""
    if any(kind.__name__ == "ArgumentError" for kind in type(error).__mro__):
        return True
    raised_in = [frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)][-1]
    return isinstance(error, ValueError) and str(raised_in).startswith("sqlalchemy.")
