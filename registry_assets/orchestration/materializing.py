"""Materializing in process, one run after the other, recorded where the UI looks."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    DagsterError,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
)
from dagster_shared.error import SerializableErrorInfo

from registry_assets.dvc_repo import DvcRepo, Edit
from registry_assets.errors import RegistryError
from registry_assets.model import check_collection_name
from registry_assets.orchestration.assets import build_lineage_assets
from registry_assets.orchestration.metadata import SUMMARY
from registry_assets.orchestration.progress import PROGRESS_LOGGER, describe_step
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.lineage.taking_in import dataset_with_inputs, is_taken_in
from registry_assets.registry.status.values import RegistryStatus
from registry_assets.registry.translator import COLLECTIONS, Key


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


def select_keys(lineage: Lineage, selection: str | None) -> frozenset[Key]:
    """The assets that a selection in Dagster's syntax names; all when None.

    Raises:
        RegistryError: when it cannot be read, or names nothing.
    """
    if selection is None:
        return frozenset(lineage.output_of)
    built = build_lineage_assets(lineage)
    assets = [item for item in built if isinstance(item, AssetsDefinition)]
    specs = [item for item in built if isinstance(item, AssetSpec)]
    if specs:
        assets.append(AssetsDefinition(specs=specs))
    try:
        chosen = AssetSelection.from_string(selection)
        keys = frozenset(tuple(key.path) for key in chosen.resolve(assets))
    except DagsterError as error:
        raise RegistryError(f"cannot read the selection {selection!r}: {error}") from error
    if not keys:
        raise RegistryError(
            f"the selection {selection!r} names no asset: `registry lineage` lists what there is"
        )
    return keys


def plan_runs(
    lineage: Lineage, selected: Collection[Key], collections: Sequence[str] = ()
) -> list[PlannedRun]:
    """Plans runs so that whatever a run reads was materialized before it.

    A run holds assets of the same partitions only (Dagster refuses others) and one partition
    (a run over several gives them all one data version).

    Args:
        lineage: The graph.
        selected: The assets.
        collections: Collections to take all the way, also into data sets that lack them and whose
            `take_in` wants them. When empty, each data set gets those that it has.
    """
    for name in collections:
        check_collection_name(name)
    plan = []
    for phase in _phases(lineage, selected):
        partitions = phase[0].partitions
        if partitions is None:
            plan.append(PlannedRun(_keys(phase)))
            continue
        is_given = bool(collections) and partitions == COLLECTIONS
        names = collections if is_given else lineage.partition_keys.get(partitions, ())
        for name in names:
            having = [
                group
                for group in phase
                if name in group.addresses or (is_given and _wants(lineage, group, name))
            ]
            if having:
                plan.append(PlannedRun(_keys(having), name, partitions))
    return plan


def _wants(lineage: Lineage, group: AssetGroup, name: str) -> bool:
    """Whether a data set takes in a collection that it lacks."""
    dataset = dataset_with_inputs(lineage.registry, group)
    return (
        dataset is None
        or dataset.take_in.wants(name)
        or is_taken_in(lineage.registry, dataset, name)
    )


def plan_run(lineage: Lineage, path: str) -> PlannedRun:
    """Plans the run that materializes one output, with all that is made together with it.

    Raises:
        OutputNotFoundError: when nothing declares it.
    """
    node = lineage.node(path)
    assert node.key is not None, f"{path} has no asset"
    group = lineage.group_of[node.key]
    return PlannedRun(_keys([group]), node.partition, group.partitions)


def _keys(groups: Sequence[AssetGroup]) -> tuple[Key, ...]:
    """All outputs, also where one was selected: what is made together is recorded together."""
    return tuple(output.key for group in groups for output in group.outputs)


def _phases(lineage: Lineage, selected: Collection[Key]) -> Iterator[list[AssetGroup]]:
    """Groups in an order that serves dependencies, as many as go together in each step."""
    chosen = [g for g in lineage.groups if any(o.key in selected for o in g.outputs)]
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


@dataclass(frozen=True)
class Plan:
    """What there is to bring up to date.

    Attributes:
        runs: The runs, upstream before downstream.
        left: Raw data that was edited and is left to a person, by path.
    """

    runs: tuple[PlannedRun, ...]
    left: Mapping[str, Edit]


def plan_bringing(
    lineage: Lineage,
    dvc: DvcRepo,
    status: RegistryStatus,
    selection: str | None = None,
    collections: Sequence[str] = (),
    *,
    force: bool = False,
) -> Plan:
    """Plans what brings everything, or what is asked for, up to date.

    With `modified = "leave"`, raw data that was edited is planned only where it is named: by a
    selection, or as a collection.

    Args:
        lineage: The graph.
        dvc: The repository.
        status: How it stands.
        selection: The assets, in Dagster's selection syntax; all when None.
        collections: Collections to take all the way.
        force: Whether commands run even though nothing changed.

    Raises:
        RegistryError: when the selection cannot be read, or names nothing.
    """
    runs = plan_runs(lineage, select_keys(lineage, selection), collections)
    leaves = lineage.registry.settings.modified == "leave" and selection is None
    edits = _find_edits(lineage, dvc, status) if leaves else {}
    left = {p: edit for p, edit in edits.items() if lineage.nodes[p].partition not in collections}
    held = _find_held(lineage, left)
    if not force:
        runs = only_stale(runs, lineage, status, held)
    return Plan(tuple(_without(runs, lineage, held)), left)


def describe_left(lineage: Lineage, path: str, edit: Edit) -> str:
    """What to say of an edit that is left to a person, with what to do about it."""
    node = lineage.nodes[path]
    folder, _, name = path.rpartition("/")
    is_collection = folder == lineage.registry.raw_folder
    keep = f"`registry add {name}`" if is_collection else f"`dvc commit {node.address}`"
    said = describe_step("left", path, edit.summary or "it was edited")
    return f"{said}: {keep} records it, `dvc checkout --force {node.address}` drops the edit"


def _find_edits(lineage: Lineage, dvc: DvcRepo, status: RegistryStatus) -> dict[str, Edit]:
    """Raw data whose content is not any more what its metafile records, by path."""
    suspects = [item.path for item in status.raw if item.state == "modified"]
    suspects += [item.path for item in status.outputs if item.state == "stale"]
    found = {}
    for path in suspects:
        node = lineage.nodes[path]
        if node.kind == "raw" and node.address is not None:
            edit = dvc.find_edit(node.address, path)
            if edit is not None and edit.is_changed:
                found[path] = edit
    return found


def _find_held(lineage: Lineage, left: Collection[str]) -> frozenset[str]:
    """What waits for edits: they themselves, and stages that would read them as they stand there.

    An import takes what is recorded.
    """
    held = set(left)
    waiting = list(left)
    while waiting:
        for target in lineage.downstream_of.get(waiting.pop(), ()):
            if target not in held and lineage.nodes[target].kind == "stage":
                held.add(target)
                waiting.append(target)
    return frozenset(held)


def _without(
    runs: Iterable[PlannedRun], lineage: Lineage, held: Collection[str]
) -> Iterator[PlannedRun]:
    """A plan without some outputs; runs of which nothing is left are left out."""
    for run in runs:
        groups = ((key, lineage.group_of[key]) for key in run.keys)
        keys = tuple(
            key
            for key, group in groups
            if not any(group.path_of(output, run.partition) in held for output in group.outputs)
        )
        if keys:
            yield replace(run, keys=keys)


def stale_keys(
    lineage: Lineage, status: RegistryStatus, held: Collection[str] = ()
) -> frozenset[tuple[Key, str | None]]:
    """What is not up to date, by asset and partition, and all that is made of it.

    Args:
        lineage: The graph.
        status: How it stands.
        held: Outputs that are not brought up to date, so that nothing need follow them.
    """
    stale = {
        output.path
        for output in status.outputs
        if output.state != "up_to_date"
        and (output.state != "behind" or _follows(lineage, output.path))
    }
    stale |= {item.path for item in status.raw if item.state in ("new", "modified", "missing")}
    stale -= set(held)
    downstream: dict[str, list[str]] = {}
    for source, target in lineage.edges:
        downstream.setdefault(source, []).append(target)
    waiting = list(stale)
    while waiting:
        for target in downstream.get(waiting.pop(), ()):
            if target not in stale:
                stale.add(target)
                waiting.append(target)
    nodes = (lineage.nodes[path] for path in stale if path in lineage.nodes)
    return frozenset((node.key, node.partition) for node in nodes if node.key is not None)


def _follows(lineage: Lineage, path: str) -> bool:
    """Whether materializing an import that is behind moves it on; others are updated on request."""
    imported = lineage.registry.import_of.get(path)
    return imported is not None and imported.repository is None


def only_stale(
    plan: Sequence[PlannedRun],
    lineage: Lineage,
    status: RegistryStatus,
    held: Collection[str] = (),
) -> list[PlannedRun]:
    """Leaves out of a plan what is up to date, and runs of which nothing is left."""
    stale = stale_keys(lineage, status, held)
    shorter = []
    for run in plan:
        groups = dict.fromkeys(lineage.group_of[key].name for key in run.keys)
        wanted = {
            group.name
            for group in lineage.groups
            if group.name in groups
            and (
                run.partition not in group.addresses
                or any((output.key, run.partition) in stale for output in group.outputs)
            )
        }
        keys = tuple(key for key in run.keys if lineage.group_of[key].name in wanted)
        if keys:
            shorter.append(replace(run, keys=keys))
    return shorter


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
    if run.partition is not None and run.partitions is not None:
        instance.add_dynamic_partitions(run.partitions, [run.partition])
    keys = [AssetKey(list(key)) for key in run.keys]
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    if job is None:
        raise RegistryError(f"Dagster has no job for {', '.join(map(str, run.keys))}")
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
            "loggers": {PROGRESS_LOGGER: {}},
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


def read_failures(result: ExecuteInProcessResult) -> tuple[str, ...]:
    """What failed in a run, a line each; nothing only where the run itself says it succeeded.

    A run can also fail before its first step, or be canceled, and then no step says why.
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
    """What failed, in the words of our own error where there is one, else of the first cause."""
    message = otherwise
    while error is not None:
        name, _, words = error.message.strip().partition(": ")
        if name.startswith("registry_assets."):
            return words
        message = " ".join(error.message.split()) or message
        error = error.cause
    return message
