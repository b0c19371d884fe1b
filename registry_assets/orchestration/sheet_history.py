"""Removes the contact sheets that version 0.1.0 wrote into Dagster's history.

It wrote each sheet into two events, as base64, and Dagster keeps copies of events. The events stay,
with the address of the sheet instead, as newer events have it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dagster import (
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    EventLogEntry,
    EventLogRecord,
)
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from registry_assets.errors import RegistryError
from registry_assets.model import Registry
from registry_assets.orchestration.describing import CONTACT_SHEET, contact_sheet_metadata
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.postgres import shown_database
from registry_assets.orchestration.internals import (
    event_tables,
    read_event,
    run_shards,
    sql_event_log,
    write_event,
)
from registry_assets.registry.home import choose_home, has_history
from registry_assets.registry.kept_answers import write_kept

_HELD = "![contact sheet](data:image/jpeg;base64,"
"""How the metadata of an event with an embedded sheet begins."""

_LOOKED_AT = "registry_assets_sheets"
"""The file in the home folder with the number of the last event that was checked."""

_PAGE = 50
_SHOWING = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.HANDLED_OUTPUT}


@dataclass(frozen=True)
class Stripped:
    """What was removed from a history.

    Attributes:
        sheets: The number of contact sheets, one per materialization.
        size: The size of all their copies, in bytes.
    """

    sheets: int
    size: int


def check_no_sheets(root: Path) -> None:
    """Checks that the history of a registry contains no sheets; each event is read only once.

    Raises:
        RegistryError: when it contains one.
    """
    if not has_history(root):
        return
    with open_history(root) as instance:
        newest = _newest_event(instance)
        known = _read_mark(root, instance)
        if any(_find_sheets(instance, known if known <= newest else 0)):
            raise RegistryError(
                "Dagster's history contains contact sheets written by version 0.1.0, and one may "
                "show the picture: remove them once with `registry sync --strip-sheets`, then run "
                "this again"
            )
        if newest != known:
            _write_mark(root, instance, newest)


def strip_sheets(registry: Registry) -> Stripped:
    """Takes the contact sheets out of the history of a registry, wherever Dagster keeps an event.

    Raises:
        RegistryError: when the storage of the history does not allow that.
    """
    root, name = registry.root, registry.name
    if not has_history(root):
        return Stripped(0, 0)
    with open_history(root) as instance:
        storage = sql_event_log(instance)
        if storage is None:
            raise RegistryError(
                f"Dagster's history is kept by {type(instance.event_log_storage).__name__}, which "
                "cannot change events: start a new history"
            )
        newest = _newest_event(instance)
        events, assets = event_tables()
        others = [
            taken
            for run_id in run_shards(storage)
            for taken in _strip(name, partial(storage.run_connection, run_id), events.c.event)
        ]
        # The copy of each asset's newest event.
        others += _strip(name, storage.index_connection, assets.c.last_materialization)
        # Last, since `check_no_sheets` looks here: an interruption is noticed and can be repeated.
        found = _strip(name, storage.index_connection, events.c.event)
        _write_mark(registry.root, instance, newest)
    count = sum(taken.is_materialization for taken in found)
    return Stripped(count, sum(taken.size for taken in (*found, *others)))


def _newest_event(instance: DagsterInstance) -> int:
    storage = sql_event_log(instance)
    # Other storages have no number to continue from.
    return (storage.get_maximum_record_id() or 0) if storage is not None else 0


def _read_mark(root: Path, instance: DagsterInstance) -> int:
    """Up to which event there are none; 0 where that was said of another database."""
    with suppress(OSError, ValueError):
        number, _, database = (choose_home(root) / _LOOKED_AT).read_text("utf-8").partition(" ")
        if database == (shown_database(instance) or ""):
            return int(number)
    return 0


def _write_mark(root: Path, instance: DagsterInstance, newest: int) -> None:
    text = f"{newest} {shown_database(instance) or ''}".strip()
    write_kept(choose_home(root) / _LOOKED_AT, text.encode())


def _find_sheets(instance: DagsterInstance, after: int) -> Iterator[EventLogRecord]:
    """Finds the materializations after an event that contain a sheet."""
    for key in instance.get_asset_keys():
        records_filter = AssetRecordsFilter(asset_key=key, after_storage_id=after)
        cursor, has_more = None, True
        while has_more:
            page = instance.fetch_materializations(records_filter, limit=_PAGE, cursor=cursor)
            yield from (item for item in page.records if _holds_sheet(item.event_log_entry))
            cursor, has_more = page.cursor, page.has_more


def _metadata(entry: EventLogEntry) -> Mapping[str, Any]:
    event = entry.dagster_event
    if event is None or event.event_type not in _SHOWING:
        return {}
    data: Any = event.event_specific_data
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        data = data.materialization
    return data.metadata or {}


def _holds_sheet(entry: EventLogEntry) -> bool:
    text = getattr(_metadata(entry).get(CONTACT_SHEET), "value", None)
    return isinstance(text, str) and text.startswith(_HELD)


@dataclass(frozen=True)
class _Taken:
    is_materialization: bool
    size: int


def _strip(registry_name: str, connect: Callable[[], Any], column: Any) -> list[_Taken]:
    """Takes the pictures out of a column of events, a few rows at a time.

    Args:
        registry_name: What the registry is called in addresses.
        connect: Opens a connection, in a transaction.
        column: The column that contains the events.
    """
    found: list[_Taken] = []
    number, after, rows = column.table.c.id, 0, [None]
    while rows:
        with connect() as connection:
            # Makes SQLite overwrite deleted content; other databases do so themselves.
            is_sqlite = connection.dialect.name == "sqlite"
            if is_sqlite:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            wanted = select(number, column).where(
                number > after, column.contains(_HELD, autoescape=True)
            )
            rows = connection.execute(wanted.order_by(number).limit(_PAGE)).all()
            for after, text in rows:
                event = read_event(text)
                entry = event.event_log_entry if isinstance(event, EventLogRecord) else event
                shorter = _with_address(registry_name, entry)
                if shorter is None:
                    continue
                is_record = isinstance(event, EventLogRecord)
                changed = write_event(
                    event._replace(event_log_entry=shorter) if is_record else shorter
                )
                change = column.table.update().where(number == after)
                connection.execute(change.values({column: changed}))
                kind = shorter.dagster_event_type
                found.append(
                    _Taken(kind == DagsterEventType.ASSET_MATERIALIZATION, len(text) - len(changed))
                )
    if found and is_sqlite:
        # Shrinks the file, unless somebody else is reading it.
        with suppress(OperationalError), connect() as connection:
            connection.exec_driver_sql("VACUUM")
        with connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


def _with_address(registry_name: str, entry: EventLogEntry) -> EventLogEntry | None:
    """The event with the address of its sheet instead of the sheet; None if it has no sheet."""
    event = entry.dagster_event
    if event is None or not _holds_sheet(entry):
        return None
    metadata = {name: value for name, value in _metadata(entry).items() if name != CONTACT_SHEET}
    told = [getattr(metadata.get(name), "value", None) for name in ("dvc/path", "dvc/md5")]
    if all(told):
        metadata |= contact_sheet_metadata(registry_name, *map(str, told))
    data: Any = event.event_specific_data
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        data = data._replace(materialization=data.materialization.with_metadata(metadata))
    else:
        data = data._replace(metadata=metadata)
    return entry._replace(dagster_event=event._replace(event_specific_data=data))
