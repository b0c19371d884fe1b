"""A history in PostgreSQL: its address without the password, and what its server refuses in words.

Dagster's settings name the database: `storage` in ``dagster.yaml``, or an environment variable that
stands there. Dagster and SQLAlchemy are imported late, as few commands open the history.
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
    "no pg_hba.conf entry": "have the server let this machine in (pg_hba.conf)",
    "permission denied": "have the owner of the database grant this user all privileges on it",
    "could not translate host name": "correct the host {where}",
    "starting up": "wait a moment, then run this again",
    "shutting down": "start the server, then run this again",
    "too many clients": "wait until other commands are done, or raise its max_connections",
    "connection slots": "wait until other commands are done, or raise its max_connections",
    "read-only transaction": "name the primary server {where}",
    "No space left": "free some space on the server, then run this again",
    "role ": "make it with `createuser`, or correct the user {where}",
    "database ": "make it with `createdb`, or correct its name {where}",
    "relation ": "another Dagster wrote it: install a newer one, or `dagster instance migrate`",
    "column ": "another Dagster wrote it: install a newer one, or `dagster instance migrate`",
    "": "make sure that the server runs and can be reached, or correct the address {where}",
}
"""What to do about what PostgreSQL says; the first whose words are in there goes."""

_CONNECTING = re.compile(r"connection to server (?:at|on socket) .* failed: ")
_SECRET_HOST = re.compile(r'"[^"\s]*@')

NO_ADDRESS = (
    "`storage` has no address of a database: write postgresql://USER:PASSWORD@HOST:5432/DATABASE, "
    "with what is no letter or digit in the password percent-encoded, as %40 for @"
)
"""What to say of an error that `is_of_address`, as that may quote a part of the password."""


def check_reachable(address: str) -> None:
    """Connects to a database once.

    Dagster tries six times, which takes ten seconds and would be six failures to log in.

    Raises:
        sqlalchemy.exc.DBAPIError: when that does not work.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    create_engine(address, poolclass=NullPool).connect().close()


def show_address(address: str) -> str:
    """An address as it may be shown: without the password, and options that may hold one."""
    from sqlalchemy import URL, make_url

    url = make_url(address)
    # What an `@` in the password that is not percent-encoded makes of it.
    host = (url.host or "").rpartition("@")[2]
    shown = URL.create("postgresql", url.username, None, host, url.port, url.database)
    return printable(shown.render_as_string())


def shown_database(instance: DagsterInstance) -> str | None:
    """The address of the database of an instance, as it may be shown; None if that is elsewhere."""
    from registry_assets.orchestration.internals import postgres_address, sql_event_log

    address = postgres_address(sql_event_log(instance))
    return None if address is None else show_address(address)


def describe_refusal(error: BaseException) -> str:
    """What PostgreSQL says, in one line."""
    said = str(error).strip()
    # It says so of each address of a host, of which the last is the one that got furthest.
    if _CONNECTING.match(said):
        said = _CONNECTING.split(said)[-1]
    first = said.partition("\n")[0].removeprefix("FATAL:").strip()
    return _SECRET_HOST.sub('"…@', first)


def is_of_address(error: BaseException) -> bool:
    """Whether SQLAlchemy cannot take an address apart, or knows no such kind of database."""
    if any(kind.__name__ == "ArgumentError" for kind in type(error).__mro__):
        return True
    raised_in = [frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)][-1]
    return isinstance(error, ValueError) and str(raised_in).startswith("sqlalchemy.")
