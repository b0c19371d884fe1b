"""The job that brings many units up to date in one run, with a materialization of each output.

A run of its own for each unit would add half a second per unit, and a run of assets over several
partitions would give all of them the same data version. So one op makes the whole plan, stages in
parallel, and logs one materialization per output.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dagster import (
    AssetMaterialization,
    Config,
    DagsterInstance,
    ExecuteInProcessResult,
    Failure,
    InitLoggerContext,
    JobDefinition,
    MetadataValue,
    OpExecutionContext,
    TableRecord,
    in_process_executor,
    job,
    logger,
    op,
)
from pydantic import Field

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import NotFoundError, RefusedError, RegistryError, with_disk_step
from registry_assets.making.batch import Failed, Made, MakeOptions, make_all, read_again
from registry_assets.making.planning import describe_edit, plan_bringing
from registry_assets.making.progress import describe_step
from registry_assets.making.unit import Unit
from registry_assets.model import Registry
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.describing import Describer, Telling
from registry_assets.orchestration.history.claims import claim_names
from registry_assets.orchestration.history.event_log import AssetPartition, Seen, read_seen
from registry_assets.orchestration.history.reporting import Reporter, sync_partitions
from registry_assets.orchestration.internals import SerializableErrorInfo
from registry_assets.orchestration.names import own_name
from registry_assets.orchestration.sensors.automation import BRING_JOB
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.status.unknown_names import check_collection_exists
from registry_assets.registry.translator import COLLECTIONS, RegistryTranslator
from registry_assets.revisions.changes.committing import Written, commit_written

BRING_OP = "bring"

Write = Callable[[AssetMaterialization], None]

_MOST_EXAMPLES = 20
_MOST_NAMED = 100
_CONSOLE = "console"
"""Dagster's own name for the logger that prints."""
_TELL_SECONDS = 20.0
"""How often results are reported to Dagster, at the most."""
_TELLING_SHARE = 0.2
"""The most of the time that this takes, as each time the metafiles have to be read again."""


@dataclass
class Batch:
    """Makes units and reports them to Dagster.

    Attributes:
        dvc: The repository.
        lineage: The graph; read again whenever results are reported.
        instance: The Dagster instance that events are read from.
        report: Takes the output of commands, line by line and from several threads.
        options: Options for making the units.
        run_id: The run; empty outside of one.
    """

    dvc: DvcRepo
    lineage: Lineage
    instance: DagsterInstance
    report: Callable[[str], None]
    options: MakeOptions = field(default_factory=MakeOptions)
    run_id: str = ""
    _untold: list[Made] = field(default_factory=list)
    _seen: dict[AssetPartition, Seen] | None = None
    _problem: RegistryError | None = None

    def run(self, units: Sequence[Unit], write: Write) -> Iterator[Made | Failed]:
        """Makes units, and yields each result as soon as it is known.

        Args:
            units: The units, upstream before downstream.
            write: Writes an event.

        Raises:
            RegistryError: at the end, when results could not be committed.
        """
        claim_names(self.lineage, self.instance)
        tell_at = time.monotonic() + _TELL_SECONDS
        with self.dvc.session():
            try:
                for result in make_all(self.dvc, self.lineage, units, self.report, self.options):
                    if isinstance(result, Made):
                        self._untold.append(result)
                    yield result
                    started = time.monotonic()
                    if started >= tell_at:
                        self.tell(write)
                        now = time.monotonic()
                        pause = (now - started) * (1 / _TELLING_SHARE - 1)
                        tell_at = now + max(pause, _TELL_SECONDS)
            finally:
                self.tell(write)
        if self._problem is not None:
            raise self._problem

    def tell(self, write: Write) -> None:
        """Logs a materialization of every output that was made since the last call."""
        if not self._untold:
            return
        made, self._untold = self._untold, []
        now = read_again(self.dvc, self.lineage, {item.unit.address for item in made})
        self.lineage = now
        try:
            commit_written(self.dvc, list(_written(now, made)), self.run_id, self.report)
        except RegistryError as error:
            # Report what was recorded all the same, and make the remaining units.
            self._problem = self._problem or error
        sync_partitions(now, self.instance)
        position = {group.name: number for number, group in enumerate(now.groups_in_order())}
        if self._seen is None:
            self._seen = read_seen(now, self.instance)
        reporter = Reporter(now, self.instance, self.report, self._seen, write)
        tellings = [
            Telling(
                record,
                now.group_of[node.key],
                node.partition,
                item.outcome,
                item.seconds,
                item.made_on,
            )
            for item in made
            for path, record in item.outputs.items()
            if (node := now.nodes.get(path)) is not None
            and node.key is not None
            and node.version is not None
            and node.version.md5 == record.version.md5
        ]
        # Grouped by asset, so that the events of each are looked up once; upstream first.
        tellings.sort(key=lambda telling: position[telling.group.name])
        metadata = Describer(self.dvc, now).describe(tellings, reporter.commit)
        for telling, found in zip(tellings, metadata, strict=True):
            reporter.report_made(now.nodes[telling.record.path], found)


def _written(lineage: Lineage, made: Sequence[Made]) -> Iterator[Written]:
    """What the run recorded, for a commit of it."""
    for item in made:
        paths = tuple(path for path in item.outputs if path in lineage.nodes)
        if paths:
            asset = "/".join(lineage.nodes[paths[0]].key or ())
            yield Written(item.unit.address, paths, item.outcome, asset, item.unit.partition)


class BringConfig(Config):
    """Which assets to bring up to date.

    The defaults are values, as the launchpad leaves out what is null or made by a function.
    """

    select: str | None = Field(
        default="", description="Assets, in Dagster's selection syntax (default: all)."
    )
    collections: list[str] = Field(
        default=[],
        description="Collections to take all the way, also into data sets that lack them "
        "(default: the collections that each data set has).",
    )
    force: bool = Field(
        default=False, description="Run commands even though nothing changed since dvc.lock."
    )


def build_bring_job(registry: Registry, translator: RegistryTranslator) -> JobDefinition:
    """Builds the job that brings assets up to date in one run."""

    @op(
        name=own_name(registry, BRING_OP),
        description="Brings collections, imports and stages up to date, stages in parallel; logs "
        "a materialization of each output.",
    )
    def bring_up_to_date(context: OpExecutionContext, config: BringConfig) -> None:
        dvc = DvcRepo(registry.root)
        lineage = build_lineage(read_registry(dvc.root), translator)
        collections = []
        for name in config.collections:
            try:
                check_collection_exists(lineage, name)
            except (NotFoundError, RefusedError) as error:
                context.log.warning(str(error))
            else:
                collections.append(name)
        if config.collections and not collections:
            # Without any it would be everything.
            context.log.warning("nothing was brought up to date: none of these is a collection")
            return
        plan = plan_bringing(
            lineage,
            dvc,
            read_status(lineage, dvc),
            select_keys(lineage, config.select) if config.select else None,
            collections,
            force=config.force,
        )
        for path, edit in plan.edited.items():
            context.log.warning(describe_edit(lineage, path, edit))
        options = MakeOptions(force=config.force)
        batch = Batch(dvc, lineage, context.instance, print, options, context.run_id)

        def say(result: Made | Failed) -> None:
            if isinstance(result, Failed):
                context.log.error(f"{result.unit.address}: {result.error}")
                return
            for path, record in result.outputs.items():
                # To the output of the step, as ten thousand lines are too many for the event log.
                print(describe_step(result.outcome, path, record.summary))

        _make_in_op(context, batch, plan.units, say, [])

    @job(
        name=own_name(registry, BRING_JOB),
        executor_def=in_process_executor,
        description="Brings all stale assets, or those selected, up to date in one run: the fast "
        "way for many collections. The output of commands is in the output of the step.",
    )
    def bring() -> None:
        bring_up_to_date.alias(BRING_OP)()

    return bring


def make_in_process(
    batch: Batch,
    units: Sequence[Unit],
    say: Callable[[Made | Failed], None],
    tags: Mapping[str, str],
) -> list[Failed]:
    """Makes units in this process, in a run of the same job.

    Args:
        batch: Makes the units; its events are logged to the run.
        units: The units, upstream before downstream.
        say: Takes each result as soon as it is known.
        tags: Tags of the run.

    Returns:
        The units that failed.

    Raises:
        RegistryError: when the run failed for any other reason.
    """
    failures: list[Failed] = []

    registry = batch.lineage.registry

    # The config is for who executes the run again.
    @op(name=own_name(registry, BRING_OP))
    def bring_up_to_date(context: OpExecutionContext, config: BringConfig) -> None:
        batch.run_id = context.run_id
        _make_in_op(context, batch, units, say, failures)

    # The command prints the results itself.
    @job(name=own_name(registry, BRING_JOB), logger_defs={_CONSOLE: _silent})
    def bring() -> None:
        bring_up_to_date.alias(BRING_OP)()

    result = bring.execute_in_process(
        instance=batch.instance,
        tags=dict(tags),
        raise_on_error=False,
        run_config={
            "loggers": {_CONSOLE: {}},
            "ops": {BRING_OP: {"config": _config_of(units, batch.options)}},
        },
    )
    # Failed units end the run with a `Failure`; any other error ended it early.
    is_said = any(
        event.step_failure_data.user_failure_data is not None
        for event in result.all_events
        if event.is_step_failure
    )
    if not result.success and not is_said:
        before = f"; before that, {failures[0].error}" if failures else ""
        raise RegistryError(read_failures(result)[0] + before)
    return failures


def _config_of(units: Sequence[Unit], options: MakeOptions) -> dict[str, object]:
    """The config with which the job in the UI brings the same units up to date.

    Dagster's "Re-execute" takes it from the run. Of many collections none is named, which is all
    that the data sets have.
    """
    keys = dict.fromkeys(key for unit in units for key in unit.keys)
    names = dict.fromkeys(
        unit.partition
        for unit in units
        if unit.partition is not None and unit.group.partitions == COLLECTIONS
    )
    return {
        "select": " or ".join(f'key:"{"/".join(key)}"' for key in keys),
        "collections": list(names) if len(names) <= _MOST_NAMED else [],
        "force": options.force,
    }


@logger
def _silent(_context: InitLoggerContext) -> logging.Logger:
    """A logger without output."""
    logger = logging.Logger(_CONSOLE)
    logger.addHandler(logging.NullHandler())
    return logger


def _make_in_op(
    context: OpExecutionContext,
    batch: Batch,
    units: Sequence[Unit],
    say: Callable[[Made | Failed], None],
    failures: list[Failed],
) -> None:
    """Makes units as the work of an op, and adds those that fail to `failures`.

    Raises:
        Failure: when a unit failed; all others were made.
    """
    for result in batch.run(units, context.log_event):
        say(result)
        if isinstance(result, Failed):
            failures.append(result)
    if failures:
        raise Failure(
            f"{len(failures)} failed: {failures[0].error}",
            metadata={
                "failures": MetadataValue.table(
                    [
                        TableRecord({"stage": item.unit.address, "error": str(item.error)})
                        for item in failures[:_MOST_EXAMPLES]
                    ]
                )
            },
            allow_retries=False,
        )


def read_failures(result: ExecuteInProcessResult) -> tuple[str, ...]:
    """The failures of a run, a line each; empty only if the run succeeded.

    A run that fails before its first step, or is canceled, has a line although no step failed.
    """
    failures = tuple(
        describe_failure(event.step_failure_data.error, "the step failed")
        for event in result.all_events
        if event.is_step_failure
    )
    if failures or result.success:
        return failures
    status = result.dagster_run.status.value.lower()
    errors = (getattr(e.event_specific_data, "error", None) for e in reversed(result.all_events))
    error = next((error for error in errors if isinstance(error, SerializableErrorInfo)), None)
    return (f"the run ended as {status}: {describe_failure(error, 'no reason was given')}",)


def describe_failure(error: SerializableErrorInfo | None, otherwise: str) -> str:
    """The message of our own error if it is among the causes, else of the root cause."""
    message = otherwise
    while error is not None:
        name, _, words = error.message.strip().partition(": ")
        if name.endswith(".DagsterExecutionInterruptedError"):
            return (
                "interrupted: what was recorded stays, and everything else was restored; run the "
                "command again to continue"
            )
        if name.startswith("registry_assets."):
            return words
        message = " ".join(error.message.split()) or message
        error = error.cause
    return with_disk_step(message)
