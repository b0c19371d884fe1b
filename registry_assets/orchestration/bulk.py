"""One run for many partitions, with a true materialization of each.

A run costs Dagster half a second, and a run of assets over several partitions gives all of them
one data version. So here one op brings a whole plan up to date, all stages side by side, and logs
an event of its own for every output.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath

from dagster import (
    AssetMaterialization,
    Config,
    DagsterInstance,
    Failure,
    JobDefinition,
    MetadataValue,
    OpExecutionContext,
    TableRecord,
    job,
    op,
)
from dagster._core.definitions.metadata import RawMetadataValue
from pydantic import Field

from registry_assets.curation.duplicates import find_duplicates, holds_table
from registry_assets.curation.initial_decisions import decide_before
from registry_assets.dvc_repo import DvcRepo, RecordedOutput, StageTask
from registry_assets.errors import CollectionNotTakenInError, RegistryError
from registry_assets.orchestration.assets import bring
from registry_assets.orchestration.history.event_log import AssetPartition, Seen, read_seen
from registry_assets.orchestration.history.reporting import Reporter, sync_partitions
from registry_assets.orchestration.materializing import (
    PlannedRun,
    describe_left,
    plan_bringing,
    read_failures,
)
from registry_assets.orchestration.metadata import (
    decisions_metadata,
    duplicates_metadata,
    origins_metadata,
    output_metadata,
)
from registry_assets.orchestration.progress import PROGRESS_LOGGER, describe_step, progress_logger
from registry_assets.orchestration.resources import DvcRepoResource
from registry_assets.orchestration.sensors.automation import BRING_JOB
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import AssetGroup, Lineage, Node
from registry_assets.registry.lineage.taking_in import dataset_with_inputs, is_taken_in
from registry_assets.registry.reading import read_registry, reread
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.translator import RegistryTranslator
from registry_assets.revisions.changes.committing import Written, commit_written

BRING_OP = "bring"

Write = Callable[[AssetMaterialization], None]

_MOST_EXAMPLES = 20
_TELL_SECONDS = 20.0
"""How long results wait to be told to Dagster: telling reads the metafiles anew."""


@dataclass(frozen=True)
class Made:
    """One stage, collection or import that was brought up to date.

    Attributes:
        outputs: What was recorded, by path.
    """

    address: str
    partition: str | None
    outcome: str
    seconds: float
    outputs: Mapping[str, RecordedOutput]


@dataclass(frozen=True)
class Failed:
    """One that was not."""

    address: str
    partition: str | None
    error: RegistryError


@dataclass
class Bulk:
    """Brings a plan up to date and tells Dagster.

    Attributes:
        dvc: The repository.
        lineage: The graph, as it was when the plan was made, and as far as it was told since.
        instance: Where events are read.
        report: Takes what commands say, from several threads.
        force: Whether commands run even though nothing changed.
        run_id: The run, where there is one.
    """

    dvc: DvcRepo
    lineage: Lineage
    instance: DagsterInstance
    report: Callable[[str], None]
    force: bool = False
    run_id: str = ""
    _untold: list[Made] = field(default_factory=list)
    _seen: dict[AssetPartition, Seen] | None = None

    def run(self, plan: Sequence[PlannedRun], write: Write) -> Iterator[Made | Failed]:
        """Yields what came of each stage, collection and import, as they come.

        Args:
            plan: What to bring up to date.
            write: Writes an event.
        """
        told = time.monotonic()
        failed: set[str | None] = set()
        with self.dvc.session():
            try:
                for is_stage, steps in groupby(_steps(self.lineage, plan), _is_stage):
                    there = [(g, partition) for g, partition in steps if partition not in failed]
                    for result in self._stages(there) if is_stage else self._collections(there):
                        if isinstance(result, Made):
                            self._untold.append(result)
                        elif not is_stage and result.partition is not None:
                            failed.add(result.partition)
                        yield result
                        if time.monotonic() - told > _TELL_SECONDS:
                            self.tell(write)
                            told = time.monotonic()
            finally:
                self.tell(write)

    def tell(self, write: Write) -> None:
        """Logs a materialization of every output that was made since the last time."""
        if not self._untold:
            return
        made, self._untold = self._untold, []
        self.lineage = now = self._reread({item.address for item in made})
        problem = None
        try:
            commit_written(self.dvc, list(_written(now, made)), self.run_id, self.report)
        except RegistryError as error:
            # What was recorded is told all the same.
            problem = error
        sync_partitions(now, self.instance)
        tracer = Tracer(now, self.dvc.listings())
        position = {group.name: number for number, group in enumerate(now.groups_in_order())}
        if self._seen is None:
            self._seen = read_seen(now, self.instance)
        writer = Reporter(now, self.instance, self.report, self._seen, write)
        outputs = [
            (now.nodes[path], record, item)
            for item in made
            for path, record in item.outputs.items()
            if path in now.nodes
        ]
        # Asset by asset, those that are read first: so the events of each are looked up once.
        outputs.sort(key=lambda one: position[now.group_of[one[0].key or ()].name])
        duplicates = self._duplicates(now, [(node, record) for node, record, _ in outputs])
        for node, record, item in outputs:
            if node.version is not None and node.version.md5 == record.version.md5:
                metadata: dict[str, RawMetadataValue] = {
                    "dvc/outcome": item.outcome,
                    **output_metadata(self.dvc, record, writer.commit),
                    **origins_metadata(tracer, node.path),
                    **duplicates.get(node.path, {}),
                    **decisions_metadata(
                        now.registry, now.group_of[node.key or ()], node.partition
                    ),
                }
                writer.materialize(node, metadata)
        if problem is not None:
            raise problem

    def _duplicates(
        self, now: Lineage, recorded: Sequence[tuple[Node, RecordedOutput]]
    ) -> dict[str, Mapping[str, MetadataValue]]:
        """What other collections have, too, of those that were recorded; all in one go."""
        listings = self.dvc.listings()
        raw = {
            node.path: PurePosixPath(node.path).name for node, _ in recorded if node.kind == "raw"
        }
        measured = {
            node.path: node.partition
            for node, record in recorded
            if node.kind == "stage" and node.partition and holds_table(listings, record.version)
        }
        told: dict[str, Mapping[str, MetadataValue]] = {}
        for names, distance in (
            (raw, None),
            (measured, now.registry.settings.duplicate_distance),
        ):
            if names:
                found = find_duplicates(now, listings, set(names.values()), distance=distance)
                told |= {path: duplicates_metadata(found, name) for path, name in names.items()}
        return told

    def _reread(self, addresses: Collection[str]) -> Lineage:
        registry = reread(self.dvc, self.lineage.registry, addresses)
        return build_lineage(registry, self.lineage.translator)

    def _collections(
        self, steps: Sequence[tuple[AssetGroup, str | None]]
    ) -> Iterator[Made | Failed]:
        # Asked about all at once, Git takes no longer than for one.
        self.dvc.why_unseen([group.address_of(partition) for group, partition in steps])
        refused: set[str | None] = set()
        for group, partition in steps:
            if group.kind == "import" and partition in refused:
                continue
            address = group.address_of(partition)
            try:
                with bring(
                    self.dvc, self.lineage, group, partition, self.force, self.report
                ) as result:
                    outputs = result.persist()
            except RegistryError as error:
                yield Failed(address, partition, error)
                if group.kind == "raw" and not self.dvc.path_of(address).exists():
                    # There is nothing to take in.
                    refused.add(partition)
            else:
                yield Made(address, partition, result.outcome, result.seconds, outputs)

    def _stages(self, steps: Sequence[tuple[AssetGroup, str | None]]) -> Iterator[Made | Failed]:
        # A collection that was just taken in is listed in the metafiles now.
        new = {group.address_of(name) for group, name in steps if name not in group.addresses}
        now = self._reread(new)
        tasks, partitions = [], {}
        undecided: dict[str, set[str]] = {}
        for group, partition in steps:
            found = now.group_of.get(group.outputs[0].key)
            address = found.addresses.get(partition) if found else None
            if found is None or address is None:
                dataset = dataset_with_inputs(now.registry, group)
                if dataset and partition and not is_taken_in(now.registry, dataset, partition):
                    stage = group.address.partition("@")[0]
                    error = CollectionNotTakenInError(partition, stage, dataset.name)
                    yield Failed(group.address_of(partition), partition, error)
                continue
            path = found.path_of(found.outputs[0], partition)
            new = undecided.setdefault(found.name, set())
            if partition is not None and now.nodes[path].version is None:
                new.add(partition)
            before = decide_before(self.dvc, now, found, partition, self.report, new)
            tasks.append(StageTask(address, now.input_addresses(path), before))
            partitions[address] = partition
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as executor:
            for result in self.dvc.run_batch(
                tasks,
                force=self.force,
                executor=executor,
                most_at_once=4 * workers,
                report=self.report,
            ):
                partition = partitions[result.address]
                if result.outcome is None or result.error is not None:
                    yield Failed(
                        result.address,
                        partition,
                        result.error or RegistryError(f"{result.address} was not run"),
                    )
                else:
                    yield Made(
                        result.address, partition, result.outcome, result.seconds, result.outputs
                    )


def _written(lineage: Lineage, made: Sequence[Made]) -> Iterator[Written]:
    """What was recorded, for the commit that may be made of it."""
    for item in made:
        paths = tuple(path for path in item.outputs if path in lineage.nodes)
        # What is unchanged was written by somebody else, who may want to look at it first.
        if paths and (item.outcome != "unchanged" or item.address.endswith(".dvc")):
            partition = f" [{item.partition}]" if item.partition else ""
            asset = "/".join(lineage.nodes[paths[0]].key or ())
            yield Written(item.address, paths, f"{asset}{partition}")


def _is_stage(step: tuple[AssetGroup, str | None]) -> bool:
    return step[0].kind == "stage"


def _steps(lineage: Lineage, plan: Sequence[PlannedRun]) -> Iterator[tuple[AssetGroup, str | None]]:
    """A plan without the borders of its runs: each group, in the order of dependencies."""
    wanted: dict[str, dict[str | None, None]] = {}
    for run in plan:
        for key in run.keys:
            wanted.setdefault(lineage.group_of[key].name, {})[run.partition] = None
    for group in lineage.groups_in_order():
        for partition in wanted.get(group.name, ()):
            yield group, partition


class BringConfig(Config):
    """What to bring up to date."""

    select: str | None = Field(
        default=None, description="Assets, in Dagster's selection syntax; all when not given."
    )
    collections: list[str] = Field(
        default_factory=list,
        description="Collections to take all the way, also into data sets that lack them; those "
        "that each data set has when empty.",
    )
    force: bool = Field(
        default=False, description="Run commands even though nothing changed since dvc.lock."
    )


def build_bring_job(translator: RegistryTranslator) -> JobDefinition:
    """The job that brings everything, or what is asked for, up to date in one run."""

    @op(
        name=BRING_OP,
        description="Brings stages, collections and imports up to date, side by side; logs a "
        "materialization of each output.",
    )
    def bring_up_to_date(
        context: OpExecutionContext, config: BringConfig, dvc_repo: DvcRepoResource
    ) -> None:
        dvc = dvc_repo.dvc()
        lineage = build_lineage(read_registry(dvc.root), translator)
        plan = plan_bringing(
            lineage,
            dvc,
            read_status(lineage, dvc),
            config.select,
            config.collections,
            force=config.force,
        )
        for path, edit in plan.left.items():
            context.log.warning(describe_left(lineage, path, edit))
        bulk = Bulk(
            dvc, lineage, context.instance, print, force=config.force, run_id=context.run_id
        )
        failures = []
        for result in bulk.run(plan.runs, context.log_event):
            if isinstance(result, Failed):
                failures.append(result)
                context.log.error(f"{result.address}: {result.error}")
                continue
            for path, record in result.outputs.items():
                # Not an event, of which there may be ten thousand: in the output of the step.
                print(describe_step(result.outcome, path, record.summary))
        _raise(failures)

    @job(
        name=BRING_JOB,
        description="Brings everything that is not up to date, up to date in one run; the quick "
        "way for many collections. What commands say is in the output of the step.",
    )
    def bring() -> None:
        bring_up_to_date()

    return bring


def bring_in_process(
    bulk: Bulk,
    plan: Sequence[PlannedRun],
    say: Callable[[Made | Failed], None],
    tags: Mapping[str, str],
) -> list[Failed]:
    """Brings a plan up to date in this process, in a run of the same job.

    Args:
        bulk: How; its events become those of the run.
        plan: What.
        say: Takes each result as it comes.
        tags: Tags of the run.

    Returns:
        What failed.
    """
    failures: list[Failed] = []

    @op(name=BRING_OP)
    def bring_up_to_date(context: OpExecutionContext) -> None:
        bulk.run_id = context.run_id
        for result in bulk.run(plan, context.log_event):
            say(result)
            if isinstance(result, Failed):
                failures.append(result)
        _raise(failures)

    @job(name=BRING_JOB, logger_defs={PROGRESS_LOGGER: progress_logger})
    def bring() -> None:
        bring_up_to_date()

    result = bring.execute_in_process(
        instance=bulk.instance,
        tags=dict(tags),
        raise_on_error=False,
        run_config={"loggers": {PROGRESS_LOGGER: {}}},
    )
    # Stages that failed have ended the run with `Failure`; anything else ended it before.
    is_said = any(
        event.step_failure_data.user_failure_data is not None
        for event in result.all_events
        if event.is_step_failure
    )
    if not result.success and not is_said:
        before = f"; before that, {failures[0].error}" if failures else ""
        raise RegistryError(read_failures(result)[0] + before)
    return failures


def _raise(failures: Sequence[Failed]) -> None:
    if failures:
        raise Failure(
            f"{len(failures)} failed: {failures[0].error}",
            metadata={
                "failures": MetadataValue.table(
                    [
                        TableRecord({"stage": item.address, "error": str(item.error)})
                        for item in failures[:_MOST_EXAMPLES]
                    ]
                )
            },
            allow_retries=False,
        )
