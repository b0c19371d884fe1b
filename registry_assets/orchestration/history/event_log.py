"""Reads the outputs of a registry from Dagster's event log."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRunStatus,
)

from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import find_kept_out
from registry_assets.model import Version
from registry_assets.orchestration.describing import MADE_WITH
from registry_assets.orchestration.history.newest_events import read_newest
from registry_assets.orchestration.internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    RUNLESS_RUN_ID,
    get_input_data_version_tag,
)
from registry_assets.provenance.finding import RunOfVersion
from registry_assets.registry.lineage.graph import Lineage, Node
from registry_assets.registry.translator import Key

ABSENT = "absent"
"""The data version of an output that the checked-out commit does not have."""

_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
AT_WORK = [status for status in DagsterRunStatus if status not in _ENDED]
"""What a run is in until it has ended."""

_MOST_HOURS = 6
_MOST_EVENTS = 200
_PAGE = 500
_FEW = 4
_MOST_INPUT_PARTITIONS = 100


def still_at_work() -> datetime:
    """Since when a run or backfill that has not ended counts: others ended without saying so."""
    return datetime.fromtimestamp(time.time() - _MOST_HOURS * 3600, timezone.utc)


@dataclass(frozen=True)
class Seen:
    """The newest materialization of an output.

    Attributes:
        version: Its data version.
        inputs: The recorded data versions of its inputs, by asset.
        code_version: The recorded code version.
        event: The storage ID of the event; None if it was not read yet.
        is_described: Whether its metadata describe the content of the version, which is impossible
            if the cache lacks it.
    """

    version: str
    inputs: Mapping[Key, str] = field(default_factory=dict)
    code_version: str | None = None
    event: int | None = None
    is_described: bool = True


@dataclass(frozen=True)
class AssetPartition:
    """An asset, or one partition of it."""

    key: Key
    partition: str | None


def asset_key(key: Key) -> AssetKey:
    """A key as Dagster's `AssetKey`."""
    return AssetKey(list(key))


def read_seen(lineage: Lineage, instance: DagsterInstance) -> dict[AssetPartition, Seen]:
    """Reads the newest materialization of every partition of every asset of a registry.

    This includes partitions that the metafiles do not have any more.
    """
    assets = [(o.key, g.partitions is not None) for g in lineage.groups for o in g.outputs]
    newest = read_newest(lineage.registry.root, assets, instance)
    found: dict[AssetPartition, Seen] = {}
    for key, events in newest.items():
        inputs = {
            get_input_data_version_tag(asset_key(upstream.key)): upstream.key
            for upstream in lineage.group_of[key].upstream
        }
        for partition, event in events.items():
            version = event.tags.get(DATA_VERSION_TAG)
            if version is not None:
                read = {inputs[tag]: value for tag, value in event.tags.items() if tag in inputs}
                code_version = event.tags.get(CODE_VERSION_TAG)
                found[AssetPartition(key, partition)] = Seen(
                    version, read, code_version, event.number, event.is_described
                )
    return found


def find_gone(lineage: Lineage, seen: Mapping[AssetPartition, Seen]) -> Iterator[AssetPartition]:
    """Finds assets that have a version in Dagster, but not in the checked-out commit.

    The commit has what Git only keeps out of the work tree, as in a sparse checkout.
    """
    there = {of_node(node) for node in lineage.nodes.values() if node.version is not None}
    gone = [a for a, newest in seen.items() if a not in there and newest.version != ABSENT]
    kept_out = find_kept_out(GitRepo(lineage.registry.root)) if gone else None
    for asset in gone:
        metafile = lineage.group_of[asset.key].recorded_in(asset.partition)
        if kept_out is None or not kept_out.lacks(metafile):
            yield asset


def of_node(node: Node) -> AssetPartition | None:
    """The asset that represents a path; None for plain files and sources."""
    if node.key is None or node.address is None:
        return None
    return AssetPartition(node.key, node.partition)


def find_event(instance: DagsterInstance, asset: AssetPartition, version: str) -> int | None:
    """The storage ID of the newest materialization of an asset with a given data version."""
    records = instance.fetch_materializations(
        AssetRecordsFilter(
            asset_key=asset_key(asset.key),
            asset_partitions=[asset.partition] if asset.partition is not None else None,
        ),
        limit=_MOST_EVENTS,
    ).records
    for record in records:
        materialization = record.asset_materialization
        tags = (materialization.tags or {}) if materialization else {}
        if tags.get(DATA_VERSION_TAG) == version:
            return record.storage_id
    return None


def find_run(instance: DagsterInstance, node: Node, version: str) -> RunOfVersion | None:
    """The newest run that recorded a version of an output.

    Returns:
        A value without a run if the version was reported outside any run; None if Dagster does not
        know the version.
    """
    asset = of_node(node)
    if asset is None:
        return None
    records_filter = AssetRecordsFilter(
        asset_key=asset_key(asset.key),
        asset_partitions=[asset.partition] if asset.partition is not None else None,
    )
    run, made_with, cursor = None, None, None
    # A few at a time: it is usually among the first.
    for _ in range(_MOST_EVENTS // _FEW):
        page = instance.fetch_materializations(records_filter, limit=_FEW, cursor=cursor)
        for record in page.records:
            materialization = record.asset_materialization
            tags = (materialization.tags or {}) if materialization else {}
            if materialization is None or tags.get(DATA_VERSION_TAG) != version:
                continue
            # Prefer a run to an event reported outside any (`RUNLESS_RUN_ID` is "").
            run = run or record.run_id
            told = materialization.metadata.get(MADE_WITH)
            made_with = made_with or (None if told is None else str(told.value))
            if run != RUNLESS_RUN_ID and made_with is not None:
                return RunOfVersion(run, made_with)
        if not page.has_more:
            break
        cursor = page.cursor
    return None if run is None else RunOfVersion(run, made_with)


def tells_the_same(lineage: Lineage, node: Node, seen: Seen | None) -> bool:
    """Whether Dagster's newest materialization agrees with the metafile of an output."""
    if seen is None or node.version is None or seen.version != node.version.md5:
        return False
    told = comparable_inputs(lineage, node)
    return all(
        version == told.get(key, version) for key, version in seen.inputs.items()
    ) and made_by(lineage, node) in (None, seen.code_version)


def made_by(lineage: Lineage, node: Node) -> str | None:
    """The code version that made the recorded version; None if it is not the current one."""
    stage = lineage.registry.stage_of.get(node.path)
    if stage is None or node.key is None:
        return None
    if lineage.code_changes[stage.address]:
        return None
    return lineage.group_of[node.key].code_version


@dataclass(frozen=True)
class Input:
    """One output, or one partition of a family, that another output was made from.

    Attributes:
        version: The version that the metafile of the downstream output records; the current version
            of the input if the dependency is not a whole output.
    """

    path: str
    asset: AssetPartition
    version: Version


def recorded_inputs(lineage: Lineage, node: Node) -> tuple[Input, ...]:
    """The inputs of an output, as its metafile records them."""
    found = []
    for path, version in lineage.versions_read(node.path).items():
        asset = of_node(lineage.nodes[path])
        if asset is not None:
            found.append(Input(path, asset, version))
    return tuple(found)


def comparable_inputs(lineage: Lineage, node: Node) -> Mapping[Key, str]:
    """The input versions that a metafile and Dagster record alike, by asset.

    If a partition reads some partitions of another asset, but not the one with the same key, the
    edge in Dagster comes from all partitions, and a run records the versions of all of them.
    """
    inputs = recorded_inputs(lineage, node)
    read = Counter(item.asset.key for item in inputs)
    upstream = lineage.group_of[node.key].upstream if node.key is not None else ()
    wider = {
        edge.key
        for edge in upstream
        if edge.partitions == "all"
        and edge.key in lineage.group_of
        and read[edge.key] < len(lineage.group_of[edge.key].addresses)
    }
    return input_versions(item for item in inputs if item.asset.key not in wider)


def input_versions(inputs: Iterable[Input]) -> Mapping[Key, str]:
    """The input data versions that Dagster records for a materialization, by asset.

    For an unpartitioned asset this is its data version; for a partitioned one, the SHA-256 of the
    versions of the partitions read, ordered by partition key (Dagster 1.13, `DataVersionCache`).
    Dagster records none if a hundred partitions or more are read.
    """
    by_key: dict[Key, list[Input]] = {}
    for item in inputs:
        by_key.setdefault(item.asset.key, []).append(item)
    versions: dict[Key, str] = {}
    for key, items in by_key.items():
        if items[0].asset.partition is None:
            versions[key] = items[0].version.md5
        elif len(items) < _MOST_INPUT_PARTITIONS:
            ordered = sorted(items, key=lambda item: item.asset.partition or "")
            joined = "".join(item.version.md5 for item in ordered)
            versions[key] = hashlib.sha256(joined.encode()).hexdigest()
    return versions
