"""Reports to Dagster what changed outside it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from dagster import (
    AssetMaterialization,
    DagsterInstance,
    MetadataValue,
    RunsFilter,
)
from sqlalchemy.exc import IntegrityError

from registry_assets.dvc_repo import DvcRepo, Listings, RecordedOutput
from registry_assets.git_repo import GitRepo
from registry_assets.model import Version
from registry_assets.orchestration.describing import (
    Describer,
    Metadata,
    Telling,
    describe_version,
    is_readable,
)
from registry_assets.orchestration.history.claims import claim_names
from registry_assets.orchestration.history.event_log import (
    ABSENT,
    AT_WORK,
    AssetPartition,
    Input,
    Seen,
    asset_key,
    find_event,
    find_gone,
    input_versions,
    made_by,
    of_node,
    read_seen,
    recorded_inputs,
    still_at_work,
    tells_the_same,
)
from registry_assets.orchestration.history.newest_events import is_described, newest_numbers
from registry_assets.orchestration.internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    PARTITION_NAME_TAG,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
    has_open_backfills,
    show_partitions_as_missing,
)
from registry_assets.orchestration.names import own_name, partitions_definition
from registry_assets.registry.lineage.graph import Lineage, Node
from registry_assets.registry.status.arrivals import find_arriving_names, find_kept_out_names
from registry_assets.registry.translator import COLLECTIONS, Key

_FEW = 20
_AT_ONCE = 200
"""How many outputs are described at once: their pictures are compared with all others each time."""
_OTHER_CODE = "other"
"""The code version of outputs that no code made, or code other than the current one. Dagster reads
no provenance from events without a code version."""


class Synced(NamedTuple):
    """The result of bringing Dagster's event log up to date with the metafiles.

    Attributes:
        reported: The number of materializations reported.
        is_complete: Whether nothing is left to report.
        unread: A few outputs whose content the cache lacks, and their versions.
    """

    reported: int
    is_complete: bool
    unread: Mapping[str, str] = MappingProxyType({})


def sync(
    lineage: Lineage,
    instance: DagsterInstance,
    report: Callable[[str], None],
    *,
    most_seconds: float = math.inf,
) -> Synced:
    """Brings Dagster's event log up to date with the metafiles.

    Only metafiles, and the cache for the content of versions, are read. Each output gets a
    materialization if Dagster does not know its recorded version or recorded inputs; one that the
    checked-out commit does not have gets a materialization with the data version ``absent``.
    Upstream assets come before downstream ones. If ``dvc.lock`` records an older version of an
    input, that version is reported before the current one, since for partitions Dagster compares
    the events that a materialization points at, not data versions.

    Nothing is reported as absent while a metafile cannot be read, as it may declare the output; nor
    if Git only keeps the metafile out of the work tree, as in a sparse checkout.

    Args:
        lineage: The graph.
        instance: The Dagster instance.
        report: Takes a line for each materialization.
        most_seconds: How long to go on; the rest is left to the next call.

    Returns:
        How many materializations were reported, and whether that was all.

    Raises:
        RefusedError: when another registry of the instance has this one's name or keys.
    """
    started = time.monotonic()
    claim_names(lineage, instance)
    sync_partitions(lineage, instance)
    reporter = Reporter(lineage, instance, report, read_seen(lineage, instance))
    untold = [node for node in _upstream_first(lineage) if reporter.needs_report(node)]
    for start in range(0, len(untold), _AT_ONCE):
        page = untold[start : start + _AT_ONCE]
        for node, _ in zip(page, reporter.describe(page), strict=True):
            reporter.report_recorded(node)
            # Checked afterwards, so that every call makes progress.
            if time.monotonic() - started > most_seconds and node is not untold[-1]:
                return Synced(reporter.count, is_complete=False)
    if not lineage.registry.problems:
        reporter.report_absent()
        show_as_missing(lineage, instance, reporter.seen)
        remove_partitions(lineage, instance)
    return Synced(reporter.count, is_complete=True, unread=dict(islice(reporter.unread(), _FEW)))


def sync_partitions(lineage: Lineage, instance: DagsterInstance) -> None:
    """Adds the partitions of the metafiles that Dagster does not know yet."""
    for shared_name, keys in lineage.partition_keys.items():
        name = own_name(lineage.registry, shared_name)
        known = set(instance.get_dynamic_partitions(name))
        missing = [key for key in keys if key not in known]
        if missing:
            _add_partitions(instance, name, missing)


def _add_partitions(instance: DagsterInstance, name: str, keys: Sequence[str]) -> None:
    """Adds partitions, also where another process adds the same ones meanwhile."""
    # After each failure at least one more of them is there.
    for failures_left in range(len(keys), -1, -1):
        try:
            instance.add_dynamic_partitions(name, keys)
            return
        except IntegrityError:
            if not failures_left:
                raise


def remove_partitions(lineage: Lineage, instance: DagsterInstance) -> None:
    """Removes partitions without a metafile, a raw folder or an archive.

    A partition stays while a run or backfill needs it, which Dagster could not load without it.
    """
    # Includes families of which nothing is left in the work tree.
    kept = find_kept_out_names(lineage.registry.root)
    for shared_name in {group.partitions for group in lineage.groups if group.partitions}:
        name = own_name(lineage.registry, shared_name)
        declared = set(lineage.partition_keys.get(shared_name, ()))
        gone = set(instance.get_dynamic_partitions(name)) - declared - kept
        if gone and shared_name == COLLECTIONS:
            gone -= find_arriving_names(lineage.registry)
        if gone and has_open_backfills(instance, still_at_work()):
            return
        for key in gone:
            for_it = RunsFilter(
                tags={PARTITION_NAME_TAG: key}, statuses=AT_WORK, created_after=still_at_work()
            )
            if not instance.get_runs_count(for_it):
                instance.delete_dynamic_partition(name, key)


def show_as_missing(
    lineage: Lineage, instance: DagsterInstance, seen: Mapping[AssetPartition, Seen]
) -> None:
    """Makes Dagster count the partitions that the checked-out commit lacks as missing.

    Otherwise it counts each partition that ever had a materialization, even with the data version
    ``absent``.

    Args:
        lineage: The graph.
        instance: The Dagster instance.
        seen: The newest materializations.
    """
    absent: dict[Key, list[str]] = {}
    for asset, newest in seen.items():
        if newest.version == ABSENT and asset.partition is not None:
            absent.setdefault(asset.key, []).append(asset.partition)
    for key, names in absent.items():
        partitions = partitions_definition(lineage.registry, lineage.group_of[key])
        if partitions is not None:
            show_partitions_as_missing(instance, asset_key(key), partitions, names)


@dataclass
class Reporter:
    """Writes materializations with their provenance: data version, code version and inputs.

    Attributes:
        lineage: The graph, as the metafiles record it now.
        instance: The Dagster instance that events are read from.
        report: Takes a line for each materialization.
        seen: The newest materializations; updated with those that are written.
        write: Writes an event (default: to the event log, outside any run).
        count: The number of materializations written.
    """

    lineage: Lineage
    instance: DagsterInstance
    report: Callable[[str], None]
    seen: dict[AssetPartition, Seen]
    write: Callable[[AssetMaterialization], None] | None = None
    count: int = 0
    commit: str | None = field(init=False)
    _described: dict[str, Metadata] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit = GitRepo(self.lineage.registry.root).commit()

    @cached_property
    def _dvc(self) -> DvcRepo:
        return DvcRepo(self.lineage.registry.root)

    @cached_property
    def _listings(self) -> Listings:
        return self._dvc.listings()

    def needs_report(self, node: Node) -> bool:
        """Whether Dagster's newest materialization of an output differs, or lacks its content."""
        asset = of_node(node)
        if asset is None or node.version is None:
            return False
        told = self.seen.get(asset)
        if not tells_the_same(self.lineage, node, told):
            return True
        assert told is not None, "it tells the same"
        return not told.is_described and is_readable(
            self._dvc, RecordedOutput(node.path, node.version, None, self._listings)
        )

    def unread(self) -> Iterator[tuple[str, str]]:
        """Outputs whose content the cache lacks, and their versions."""
        for node in self.lineage.nodes.values():
            asset = of_node(node)
            told = self.seen.get(asset) if asset is not None else None
            if told is not None and node.version is not None and not told.is_described:
                yield node.path, node.version.md5

    def describe(self, nodes: Sequence[Node]) -> Iterator[Node]:
        """Yields outputs to report, each when its metadata are known."""
        tellings = [
            Telling(self._record(node, node.version), self.lineage.group_of[key], node.partition)
            for node in nodes
            if node.version is not None and (key := node.key) is not None
        ]
        found = Describer(self._dvc, self.lineage).describe(tellings, self.commit)
        for node, metadata in zip(nodes, found, strict=True):
            self._described = {node.path: metadata}
            yield node

    def _record(self, node: Node, version: Version) -> RecordedOutput:
        """A recorded version, with the version reported last as the previous one."""
        asset = of_node(node)
        told = self.seen.get(asset) if asset is not None else None
        is_other = told is not None and told.version not in (ABSENT, version.md5)
        previous = Version(told.version) if told is not None and is_other else None
        return RecordedOutput(node.path, version, previous, self._listings)

    def report_recorded(self, node: Node) -> None:
        """Reports the version that the metafiles record of an output, if that is still needed."""
        asset = of_node(node)
        assert asset is not None, f"{node.path} is no output"
        assert node.version is not None, f"{node.path} was never recorded"
        # It may have been reported meanwhile, as the input of another output.
        if not self.needs_report(node):
            return
        self._report_version(asset, node, node.version, recorded_inputs(self.lineage, node))
        self.report(f"reported {node.path}")

    def report_made(self, node: Node, metadata: Mapping[str, MetadataValue]) -> None:
        """Reports the version that was just made of an output, as the metafiles record it.

        Args:
            node: The output, with a version.
            metadata: The metadata of the materialization.
        """
        asset = of_node(node)
        assert asset is not None, f"{node.path} is no output"
        assert node.version is not None, f"{node.path} was never recorded"
        tags = self._tags(asset, node, node.version, recorded_inputs(self.lineage, node))
        self._write_event(asset, tags, metadata, None)

    def _tags(
        self, asset: AssetPartition, node: Node, version: Version, inputs: Sequence[Input]
    ) -> dict[str, str]:
        code_version = made_by(self.lineage, node) or _OTHER_CODE
        return {
            DATA_VERSION_TAG: version.md5,
            CODE_VERSION_TAG: code_version,
            **self._input_tags(asset, inputs),
        }

    def _input_tags(self, asset: AssetPartition, inputs: Sequence[Input]) -> dict[str, str]:
        pointers: dict[Key, int] = {}
        for item in inputs:
            # Of several partitions of an upstream asset, the newest event counts.
            event = self._event_of(item)
            pointers[item.asset.key] = max(event, pointers.get(item.asset.key, 0))
        versions = input_versions(inputs)
        # Tagged as in a run, so that an external upstream asset, or one of which this partition
        # reads nothing, does not count as a new dependency.
        unread = {
            tag: value
            for upstream in self.lineage.group_of[asset.key].upstream
            if upstream.key not in pointers
            for tag, value in (
                (get_input_data_version_tag(asset_key(upstream.key)), DEFAULT_DATA_VERSION.value),
                (get_input_event_pointer_tag(asset_key(upstream.key)), NULL_EVENT_POINTER),
            )
        }
        return {
            **unread,
            **{get_input_data_version_tag(asset_key(k)): v for k, v in versions.items()},
            **{get_input_event_pointer_tag(asset_key(k)): str(v) for k, v in pointers.items()},
        }

    def _event_of(self, item: Input) -> int:
        """The event of an input that a downstream asset points at; reported now if missing."""
        current = self.seen.get(item.asset)
        if current is not None and current.version == item.version.md5:
            return self._number_of(item.asset)
        event = find_event(self.instance, item.asset, item.version.md5)
        if event is None:
            source = self.lineage.nodes[item.path]
            self._report_version(item.asset, source, item.version, ())
            event = self._number_of(item.asset)
            self.report(f"reported {item.path} as it was")
            if current is not None and source.version and current.version == source.version.md5:
                # The older version is now the newest event: report the current one again.
                inputs = recorded_inputs(self.lineage, source)
                self._report_version(item.asset, source, source.version, inputs)
                self.report(f"reported {item.path}")
        return event

    def _number_of(self, asset: AssetPartition) -> int:
        """The storage ID of an asset's newest event, read for all of its partitions at once."""
        if self.seen[asset].event is None:
            numbers = newest_numbers(asset.key, asset.partition is not None, self.instance)
            for partition, number in numbers.items():
                other = AssetPartition(asset.key, partition)
                if other in self.seen:
                    self.seen[other] = replace(self.seen[other], event=number)
        event = self.seen[asset].event
        assert event is not None, f"the event of {asset} was stored"
        return event

    def _report_version(
        self, asset: AssetPartition, node: Node, version: Version, inputs: Sequence[Input]
    ) -> None:
        is_current = node.version is not None and node.version.md5 == version.md5
        metadata = self._described.get(node.path) if is_current else None
        if metadata is None:
            metadata = describe_version(
                self._dvc,
                self.lineage.registry.name,
                self._record(node, version),
                self.commit,
            )
        tags = self._tags(asset, node, version, inputs)
        self._write_event(asset, tags, metadata, "Recorded by DVC outside Dagster.")

    def report_absent(self) -> None:
        """Reports outputs that the checked-out commit lacks as ``absent``."""
        for asset in list(find_gone(self.lineage, self.seen)):
            tags = {DATA_VERSION_TAG: ABSENT, CODE_VERSION_TAG: _OTHER_CODE}
            metadata: Metadata = {}
            if self.commit is not None:
                metadata["git/commit"] = MetadataValue.text(self.commit)
            self._write_event(asset, tags, metadata, "The checked-out commit does not have it.")
            name = "/".join(asset.key)
            self.report(f"reported {name} {asset.partition or ''} as absent")

    def _write_event(
        self,
        asset: AssetPartition,
        tags: Mapping[str, str],
        metadata: Mapping[str, MetadataValue],
        description: str | None,
    ) -> None:
        write = self.write or self.instance.report_runless_asset_event
        write(
            AssetMaterialization(
                asset_key(asset.key),
                description=description,
                metadata=metadata,
                partition=asset.partition,
                tags=tags,
            )
        )
        self.count += 1
        self.seen[asset] = Seen(tags[DATA_VERSION_TAG], is_described=is_described(metadata))


def _upstream_first(lineage: Lineage) -> Iterator[Node]:
    done: set[str] = set()

    def visit(path: str) -> Iterator[Node]:
        stack = [(path, iter(lineage.upstream_of.get(path, ())))]
        done.add(path)
        while stack:
            current, sources = stack[-1]
            source = next((s for s in sources if s not in done), None)
            if source is None:
                stack.pop()
                yield lineage.nodes[current]
            else:
                done.add(source)
                stack.append((source, iter(lineage.upstream_of.get(source, ()))))

    for path in sorted(lineage.nodes):
        if path not in done:
            yield from visit(path)
