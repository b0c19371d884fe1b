"""Contact sheets in Dagster's history: found by what they show, and removed there.

A materialization holds small pictures of what was recorded, so its event is one more copy of a
picture that is to be forgotten. The events stay; what they showed goes.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
)
from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._serdes import deserialize_value, serialize_value
from sqlalchemy import select
from sqlalchemy.engine import Connection

from registry_assets.errors import RegistryError
from registry_assets.registry.lineage.graph import Lineage

CONTACT_SHEET = "contact_sheet"
"""The metadata that holds pictures."""

_PAGE = 20
_SHOWING = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.HANDLED_OUTPUT}

VersionOf = tuple[str, str]


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of a version.

    Attributes:
        number: Of the event that holds it.
        run_id: Of the run that recorded it.
    """

    key: AssetKey
    number: int
    run_id: str


def find_sheets(
    lineage: Lineage, instance: DagsterInstance, versions: Collection[VersionOf]
) -> list[Sheet]:
    """Finds the contact sheets of some versions of outputs.

    A sheet shows a few files of a version only; which ones is not asked.

    Args:
        lineage: For the assets of outputs; assets of outputs that are gone are looked through, too.
        instance: Whose history.
        versions: Path and md5.
    """
    known = {tuple(key.path) for key in instance.get_asset_keys()}
    nodes = {lineage.nodes[path] for path, _ in versions if path in lineage.nodes}
    filters = {
        (node.key, node.partition) for node in nodes if node.key is not None and node.key in known
    }
    if any(path not in lineage.nodes for path, _ in versions):
        filters |= {(key, None) for key in known}
    found: dict[int, Sheet] = {}
    for key, partition in filters:
        records_filter = AssetRecordsFilter(
            asset_key=AssetKey(list(key)),
            asset_partitions=[partition] if partition is not None else None,
        )
        for record in _materializations(instance, records_filter):
            if _shows(record.event_log_entry, versions):
                sheet = Sheet(AssetKey(list(key)), record.storage_id, record.run_id)
                found[record.storage_id] = sheet
    return [*found.values()]


def _materializations(
    instance: DagsterInstance, records_filter: AssetRecordsFilter
) -> Iterator[EventLogRecord]:
    cursor = None
    while True:
        page = instance.fetch_materializations(records_filter, limit=_PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _metadata(entry: EventLogEntry) -> Mapping[str, Any]:
    event = entry.dagster_event
    if event is None or event.event_type not in _SHOWING:
        return {}
    data: Any = event.event_specific_data
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        data = data.materialization
    return data.metadata or {}


def _shows(entry: EventLogEntry, versions: Collection[VersionOf]) -> bool:
    metadata = _metadata(entry)
    told = [getattr(metadata.get(name), "value", None) for name in ("dvc/path", "dvc/md5")]
    return CONTACT_SHEET in metadata and (told[0], told[1]) in versions


def remove_sheets(
    instance: DagsterInstance, sheets: Collection[Sheet], versions: Collection[VersionOf]
) -> None:
    """Removes contact sheets of versions from the history, wherever Dagster keeps an event.

    Raises:
        RegistryError: when the history is kept by something that cannot do that.
    """
    if not sheets:
        return
    storage: Any = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise RegistryError(
            f"{type(storage).__name__} keeps Dagster's history, and cannot remove contact sheets: "
            f"the runs {', '.join(sorted({sheet.run_id for sheet in sheets}))} hold some"
        )
    for run_id in sorted({sheet.run_id for sheet in sheets}):
        with storage.run_connection(run_id) as connection:
            _overwrite_what_goes(connection)
        for record in storage.get_records_for_run(run_id, of_type=_SHOWING).records:
            if _shows(record.event_log_entry, versions):
                storage.update_event_log_record(
                    record.storage_id, _without_sheet(record.event_log_entry)
                )
        with storage.run_connection(run_id) as connection:
            _empty_log(connection)
    # SQLite keeps a second copy of what concerns assets, and a third of the newest of each.
    with storage.index_connection() as connection:
        _overwrite_what_goes(connection)
        for sheet in sheets:
            _clean_event(connection, sheet)
        for key in {sheet.key for sheet in sheets}:
            _clean_newest(connection, key, versions)
    with storage.index_connection() as connection:
        _empty_log(connection)


def _without_sheet(entry: EventLogEntry) -> EventLogEntry:
    event = entry.dagster_event
    assert event is not None, "it holds a sheet"
    data: Any = event.event_specific_data
    metadata = {name: value for name, value in _metadata(entry).items() if name != CONTACT_SHEET}
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        data = data._replace(materialization=data.materialization.with_metadata(metadata))
    else:
        data = data._replace(metadata=metadata)
    changed: DagsterEvent = event._replace(event_specific_data=data)
    return entry._replace(dagster_event=changed)


def _clean_event(connection: Connection, sheet: Sheet) -> None:
    table = SqlEventLogStorageTable
    (text,) = connection.execute(select(table.c.event).where(table.c.id == sheet.number)).one()
    entry = deserialize_value(text, EventLogEntry)
    if CONTACT_SHEET in _metadata(entry):
        after = serialize_value(_without_sheet(entry))
        connection.execute(table.update().where(table.c.id == sheet.number).values(event=after))


def _clean_newest(connection: Connection, key: AssetKey, versions: Collection[VersionOf]) -> None:
    table, name = AssetKeyTable, key.to_string()
    row = connection.execute(
        select(table.c.last_materialization).where(table.c.asset_key == name)
    ).one_or_none()
    record = deserialize_value(row[0]) if row is not None and row[0] else None
    if isinstance(record, EventLogRecord) and _shows(record.event_log_entry, versions):
        entry = _without_sheet(record.event_log_entry)
        after = serialize_value(record._replace(event_log_entry=entry))
        connection.execute(
            table.update().where(table.c.asset_key == name).values(last_materialization=after)
        )


def _overwrite_what_goes(connection: Connection) -> None:
    """Has SQLite write over what is removed; other databases see to that themselves."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")


def _empty_log(connection: Connection) -> None:
    """Has SQLite's write-ahead log hold nothing, as far as nobody else is reading."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
