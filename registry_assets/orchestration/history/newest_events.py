"""The newest materialization of each partition of an asset, and what was read of them before.

Dagster takes half a millisecond to make an object of each stored event, and commands ask for those
of all partitions: seconds with a thousand collections. An event never changes, so what was read of
it is cached by its number, its storage ID. The cache can be deleted safely.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
    MetadataValue,
)

from registry_assets.orchestration.describing import SUMMARY, UNREAD
from registry_assets.registry.kept_answers import KEPT_FOLDER, write_kept
from registry_assets.registry.translator import Key

_KEPT = f"{KEPT_FOLDER}/newest_events.json"
_PAGE = 500


class Event(NamedTuple):
    """A materialization.

    Attributes:
        number: Its storage ID; later events have larger ones.
        tags: Its tags, such as data version and code version.
        is_described: Whether its metadata describe the content of the version.
    """

    number: int
    tags: Mapping[str, str]
    is_described: bool


def is_described(metadata: Mapping[str, MetadataValue]) -> bool:
    """Whether the metadata of a materialization describe the content of its version."""
    return SUMMARY in metadata and UNREAD not in metadata


def newest_numbers(
    key: Key, is_partitioned: bool, instance: DagsterInstance
) -> Mapping[str | None, int]:
    """The storage ID of the newest materialization of each partition of an asset."""
    asset = AssetKey(list(key))
    if is_partitioned:
        newest = instance.get_latest_storage_id_by_partition(
            asset, DagsterEventType.ASSET_MATERIALIZATION
        )
        return {partition: number for partition, number in newest.items()}  # noqa: C416 - wider
    records = instance.fetch_materializations(asset, limit=1).records
    return {None: records[0].storage_id} if records else {}


def read_newest(
    root: Path, assets: Iterable[tuple[Key, bool]], instance: DagsterInstance
) -> Mapping[Key, Mapping[str | None, Event]]:
    """The newest materialization of each partition of some assets.

    Args:
        root: Of the registry, where what was read is cached.
        assets: The key of each asset, and whether it has partitions.
        instance: The Dagster instance.
    """
    known, mark = _read_kept(root, instance)
    found: dict[Key, dict[str | None, Event]] = {}
    newest: tuple[Key, EventLogRecord] | None = None
    for key, is_partitioned in assets:
        numbers = newest_numbers(key, is_partitioned, instance)
        found[key] = {
            partition: known[number] for partition, number in numbers.items() if number in known
        }
        for record in _fetch(key, [n for n in numbers.values() if n not in known], instance):
            event = record.asset_materialization
            if event is None:
                continue
            found[key][event.partition] = Event(
                record.storage_id, event.tags or {}, is_described(event.metadata)
            )
            if newest is None or newest[1].storage_id < record.storage_id:
                newest = key, record
    if newest is not None:
        key, record = newest
        if mark is None or mark["number"] < record.storage_id:
            mark = {"key": key, "number": record.storage_id, "facts": _facts(record)}
        with suppress(OSError, ValueError):
            events = [event for each in found.values() for event in each.values()]
            write_kept(root / _KEPT, json.dumps({"mark": mark, "events": events}).encode())
    return found


def _read_kept(
    root: Path, instance: DagsterInstance
) -> tuple[Mapping[int, Event], dict[str, Any] | None]:
    """What was read before, by storage ID, and the newest event of it.

    A log only grows, so it is still the same one if that event is the same: not if it was replaced,
    or put back to an earlier state and then went on.
    """
    try:
        kept = json.loads((root / _KEPT).read_bytes())
        mark = kept["mark"]
        (record,) = _fetch(tuple(mark["key"]), [mark["number"]], instance)
        if _facts(record) != mark["facts"]:
            return {}, None
        return {number: Event(number, tags, is_) for number, tags, is_ in kept["events"]}, mark
    except Exception:
        # A broken cache, or one that another version wrote: read the events instead.
        return {}, None


def _facts(record: EventLogRecord) -> list[object]:
    """What no other event with the same storage ID has."""
    return [record.run_id, record.timestamp]


def _fetch(key: Key, numbers: list[int], instance: DagsterInstance) -> Iterator[EventLogRecord]:
    for start in range(0, len(numbers), _PAGE):
        wanted = AssetRecordsFilter(
            asset_key=AssetKey(list(key)), storage_ids=numbers[start : start + _PAGE]
        )
        yield from instance.fetch_materializations(wanted, limit=_PAGE).records
