"""Runs of assets in this process, of one partition each, as the UI starts them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    DynamicPartitionsDefinition,
    in_process_executor,
)

from registry_assets.making.planning import plan_units, units_of
from registry_assets.making.unit import Unit
from registry_assets.orchestration.assets import build_lineage_assets
from registry_assets.orchestration.batch_job import read_failures
from registry_assets.orchestration.building import build_resources
from registry_assets.orchestration.describing import SUMMARY
from registry_assets.orchestration.names import own_name
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.translator import Key


@dataclass(frozen=True)
class PlannedRun:
    """One run: assets that go together, for one partition or for none.

    Attributes:
        partitions: The name of the partitions that `partition` is one of.
    """

    keys: tuple[Key, ...]
    partition: str | None = None
    partitions: str | None = None


@dataclass(frozen=True)
class StepResult:
    """One asset that was materialized.

    Attributes:
        path: Of the output, from the root.
        summary: What it holds now, and how that differs from before.
    """

    key: Key
    partition: str | None
    outcome: str
    path: str
    summary: str
    nfiles: int | None


@dataclass(frozen=True)
class RunResult:
    """What came of one run.

    Attributes:
        failures: What failed, a line each.
    """

    run: PlannedRun
    run_id: str
    steps: tuple[StepResult, ...]
    failures: tuple[str, ...] = field(default=())


def own(root: Path, name: str) -> str:
    """What Dagster calls a job, a sensor, a schedule or the partitions of a registry."""
    return own_name(read_registry(root), name)


def define_assets(lineage: Lineage) -> Definitions:
    """What running assets takes: no checks, jobs or sensors."""
    return Definitions(
        assets=build_lineage_assets(lineage),
        resources=build_resources(lineage.registry),
        executor=in_process_executor,
    )


def plan_runs(
    lineage: Lineage, selected: Collection[Key], collections: Sequence[str] = ()
) -> list[PlannedRun]:
    """Plans runs so that whatever a run reads was materialized before it.

    A run holds assets of the same partitions only (Dagster refuses others) and one partition
    (a run over several gives them all one data version).
    """
    return runs_of(lineage, plan_units(lineage, selected, collections))


def runs_of(lineage: Lineage, units: Sequence[Unit]) -> list[PlannedRun]:
    """The runs that make units."""
    chosen = {unit.group.name: unit.group for unit in units}
    wanted = {(unit.group.name, unit.partition) for unit in units}
    names = list(dict.fromkeys(unit.partition for unit in units))
    plan = []
    for phase in _phases(lineage, list(chosen.values())):
        for name in names:
            having = [group for group in phase if (group.name, name) in wanted]
            if having:
                plan.append(PlannedRun(_keys(having), name, phase[0].partitions))
    return plan


def plan_run(lineage: Lineage, path: str) -> PlannedRun:
    """Plans the run that materializes one output, with all that is made together with it."""
    (unit,) = units_of(lineage, [path])
    return PlannedRun(unit.keys, unit.partition, unit.group.partitions)


def _keys(groups: Sequence[AssetGroup]) -> tuple[Key, ...]:
    """All outputs, also where one was selected: what is made together is recorded together."""
    return tuple(output.key for group in groups for output in group.outputs)


def _phases(lineage: Lineage, chosen: Sequence[AssetGroup]) -> Iterator[list[AssetGroup]]:
    """Groups in an order that serves dependencies, as many as go together in each step."""
    by_name = {group.name: group for group in chosen}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for group in chosen:
        makers = (lineage.group_of.get(upstream.key) for upstream in group.upstream)
        sorter.add(group.name, *(m.name for m in makers if m and m.name in by_name))
    sorter.prepare()
    ready = [by_name[name] for name in sorter.get_ready()]
    while ready:
        phase: list[AssetGroup] = []
        partitions = ready[0].partitions
        while fitting := [group for group in ready if group.partitions == partitions]:
            phase.extend(fitting)
            sorter.done(*(group.name for group in fitting))
            ready = [g for g in ready if g not in fitting]
            ready += [by_name[name] for name in sorter.get_ready()]
        yield phase


def execute(
    definitions: Definitions,
    instance: DagsterInstance,
    run: PlannedRun,
    *,
    force: bool,
    tags: Mapping[str, str],
    update: bool = False,
) -> RunResult:
    """Executes one planned run in this process.

    Args:
        definitions: What Dagster has loaded.
        instance: Where the run is recorded.
        run: The run.
        force: Whether commands run even though nothing changed.
        tags: Tags of the run.
        update: Whether imports from elsewhere move on to what their sources have now.
    """
    keys = [AssetKey(list(key)) for key in run.keys]
    if run.partition is not None:
        partitions = definitions.resolve_assets_def(keys[0]).partitions_def
        assert isinstance(partitions, DynamicPartitionsDefinition), run
        assert partitions.name is not None, run
        instance.add_dynamic_partitions(partitions.name, [run.partition])
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None, run
    said = {name: True for name, is_said in (("force", force), ("update", update)) if is_said}
    ops = {definitions.resolve_assets_def(key).op.name for key in keys} if said else set()
    result = job.execute_in_process(
        instance=instance,
        partition_key=run.partition,
        asset_selection=keys,
        tags=dict(tags),
        raise_on_error=False,
        run_config={
            "ops": {name: {"config": said} for name in sorted(ops)},
        },
    )
    steps = []
    for event in result.all_events:
        if event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            metadata = {name: value.value for name, value in materialization.metadata.items()}
            steps.append(
                StepResult(
                    tuple(materialization.asset_key.path),
                    materialization.partition,
                    str(metadata.get("dvc/outcome", "")),
                    str(metadata.get("dvc/path", "/".join(materialization.asset_key.path))),
                    str(metadata.get(SUMMARY, "")),
                    metadata.get("dvc/nfiles"),  # type: ignore[arg-type]
                )
            )
    failures = read_failures(result)
    if not failures:
        made = {step.key for step in steps}
        failures = tuple(
            f"{'/'.join(key)} was not made, though its run says that it succeeded"
            for key in run.keys
            if key not in made
        )
    return RunResult(run, result.run_id, tuple(steps), failures)
