"""Opens Dagster's history of a registry, and translates errors of its database into ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.bounded import check_yaml, read_text
from registry_assets.errors import MetafileError, RegistryError, UnusableError
from registry_assets.orchestration.history.postgres import (
    NEXT_STEPS,
    NO_ADDRESS,
    check_reachable,
    describe_refusal,
    is_of_address,
    show_address,
)
from registry_assets.registry.home import check_place, choose_home, event_log_file
from registry_assets.registry.sharing import find_locked_database, owner_of, share_history
from registry_assets.units import cut, printable

if TYPE_CHECKING:
    from dagster import DagsterInstance

_UNSET = re.compile(r'environment variable "([^"]+)" which is not set')
_VALUE = re.compile(r'Value ".*"(?= of type )')
_NEEDED = ("compute_log_manager", "run_coordinator")
_START_AFRESH = "move its `history` and `schedules` away; `registry sync` tells what is in Git"
_NEXT_STEPS = {
    "locked": "wait until other commands are done, then run this again",
    "readonly": "make it writable for you, or set DAGSTER_HOME to a folder that is",
    "unable to open": (
        "make it writable for you, free some space if its disk is full or your quota used up, or "
        "set DAGSTER_HOME to another folder"
    ),
    "disk is full": "free some space, then run this again",
    "disk I/O error": (
        "check whether the disk is full or damaged, or your quota is used up, then run this again"
    ),
    "malformed": _START_AFRESH,
    "not a database": _START_AFRESH,
    "no such": (
        "another version of Dagster made the tables: upgrade Dagster, or run `dagster instance "
        "migrate`"
    ),
}
"""The next step for an error of SQLite or Alembic, by words of its message."""


@contextmanager
def open_history(root: Path, *, launches_runs: bool = False) -> Iterator[DagsterInstance]:
    """Opens the Dagster instance of a registry, which its UI shows.

    Args:
        root: The registry.
        launches_runs: Whether runs will be launched from it, as by the UI.

    Raises:
        MetafileError: when `dagster.yaml` cannot be read or has a setting that does not work.
        UnusableError: when the database cannot be used, now or while the instance is open.
    """
    from registry_assets.orchestration.internals import (
        find_postgres_address,
        open_instance,
        read_migrations_once,
        show_logs_in_this_process,
        stay_connected,
    )

    home = choose_home(root).resolve()
    check_place(home)
    settings = _name_settings(root, home)
    _check_settings(home, settings)
    overrides, database, place = {}, None, printable(str(home))
    if event_log_file(home) is None:
        with _translated_settings_errors(settings):
            database = find_postgres_address(home)
            place = place if database is None else show_address(database)
    else:
        own = {
            "module": "registry_assets.orchestration.history.event_storage",
            "class": "OpenSqliteStorage",
        }
        overrides["storage"] = {"custom": {**own, "config": {"base_dir": str(home)}}}
    with ExitStack() as stack:
        stack.enter_context(_translated_database_errors(place, settings))
        if database is None:
            _check_writable(home)
        else:
            check_reachable(database)
        stack.callback(share_history, home)
        read_migrations_once()
        show_logs_in_this_process()
        with _translated_settings_errors(settings):
            instance = stack.enter_context(open_instance(home, overrides))
            # Dagster would load them when a run starts, and the run would fail without a step.
            for needed in _NEEDED + (("run_launcher",) if launches_runs else ()):
                getattr(instance, needed)
            instance.get_handlers()
            stay_connected(instance)
        share_history(home)
        yield instance


def _check_settings(home: Path, settings: str) -> None:
    """Checks that Dagster can read its settings in bounded time, and without a crash.

    Raises:
        MetafileError: when it cannot.
    """
    # What is no YAML is left to Dagster.
    with suppress(FileNotFoundError):
        check_yaml(read_text(home / "dagster.yaml", settings), settings)


def _check_writable(home: Path) -> None:
    """Checks that this user can write a history, before any file is written to it.

    Raises:
        UnusableError: when somebody else owns its database, or its disk is read-only.
    """
    locked = find_locked_database(home)
    if locked is not None and os.statvfs(locked).f_flag & os.ST_RDONLY:
        raise _unusable(
            printable(str(home)),
            "the file system is mounted read-only",
            "mount it for writing, or set DAGSTER_HOME to a folder on another one",
        )
    if locked is not None:
        raise _unusable(
            printable(str(home)),
            f"{locked.name} belongs to {owner_of(locked)}, and you cannot write it",
            "to share it, set `git config core.sharedRepository group` and have its owner run "
            "`registry sync` once; else set DAGSTER_HOME to a folder of your own",
        )


def _name_settings(root: Path, home: Path) -> str:
    """The name of the settings file for messages: people edit the one at the root."""
    path = home / "dagster.yaml"
    return "dagster.yaml" if path.resolve() == (root / "dagster.yaml").resolve() else str(path)


@contextmanager
def _translated_settings_errors(file: str) -> Iterator[None]:
    """Translates errors while Dagster applies its settings into a `MetafileError`."""
    try:
        yield
    except (RegistryError, OSError):
        raise
    except Exception as error:
        if is_of_address(error):
            raise MetafileError(file, NO_ADDRESS) from None
        if _is_of_database(error):
            raise
        if type(error).__module__.partition(".")[0] == "yaml":
            mark = getattr(error, "problem_mark", None)
            said = getattr(error, "problem", None) or str(error)
            line = None if mark is None else mark.line + 1
            raise MetafileError(file, f"not valid YAML: {_in_one_line(said)}", line) from error
        raise MetafileError(file, _describe_refusal(error)) from error


def _describe_refusal(error: Exception) -> str:
    """Why Dagster refuses its settings, without the list of all that it would accept."""
    first, *_ = getattr(error, "error_messages", None) or [str(error) or type(error).__name__]
    said = _in_one_line(first.partition(" Expected: ")[0].removeprefix("Failure condition: "))
    unset = _UNSET.search(first)
    if unset is not None:
        return f"the environment variable {unset[1]} is not set: set it, or write the value there"
    # Dagster's message names the module; it raises its own error while handling the import error.
    if isinstance(error.__cause__ or error.__context__, ImportError):
        is_extra = "dagster_postgres" in said
        needed = "`registry-assets[postgres]`" if is_extra else "the package that has it"
        return f"{said}: install {needed}, or take the setting out"
    # The value may be a password.
    said = _VALUE.sub("A value", said)
    return f"{said.removesuffix('.')}: correct the setting, or take it out"


@contextmanager
def _translated_database_errors(place: str, settings: str) -> Iterator[None]:
    """Translates errors of the database of a history into an `UnusableError`."""
    try:
        yield
    except Exception as error:
        if not _is_of_database(error):
            raise
        cause = _find_cause(error)
        if _package_of(cause) == "psycopg2":
            said = describe_refusal(cause)
            step = next(step for words, step in NEXT_STEPS.items() if words in said)
            next_step = step.format(where=f"in `storage` of {settings}")
        else:
            said = _in_one_line(str(cause)) or type(cause).__name__
            next_step = _next_step(said)
        raise _unusable(place, said, next_step) from error


def _unusable(place: str, reason: str, next_step: str) -> UnusableError:
    return UnusableError(f"Dagster's history in {place}: {reason}: {next_step}")


def _is_of_database(error: BaseException) -> bool:
    """Compares module names, since importing SQLAlchemy takes longer than most commands."""
    return _package_of(error) in (
        "alembic",
        "dagster_postgres",
        "psycopg2",
        "sqlalchemy",
        "sqlite3",
    )


def _package_of(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _find_cause(error: BaseException) -> BaseException:
    """What the database itself raised: SQLAlchemy wraps it, and Dagster may wrap that."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(cause := getattr(found, "orig", None), BaseException):
            return cause
        found = found.__cause__
    return error


def _next_step(said: str) -> str:
    known = (step for words, step in _NEXT_STEPS.items() if words in said)
    return next(known, "check that it can be reached, and `storage` in dagster.yaml")


def _in_one_line(text: str, most: int = 300) -> str:
    return cut(" ".join(text.split()), most)
