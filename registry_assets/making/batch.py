"""Many units brought up to date in one batch: collections one by one, stages in parallel.

Each unit is made as `unit.make` makes it, but metafiles are read once per batch and written for
many units at a time, so that the cost grows linearly with the number of units.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from registry_assets.curation.initial_decisions import decide_before
from registry_assets.dvc_repo import DvcRepo, MadeOn, RecordedOutput, StageTask
from registry_assets.errors import RegistryError
from registry_assets.making.unit import ForeignSource, Report, Unit, make
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.lineage.taking_in import (
    dataset_with_inputs,
    is_taken_in,
    not_taken_in,
)
from registry_assets.registry.reading import reread
from registry_assets.workers.crew import hiring


@dataclass(frozen=True)
class Made:
    """A unit that was brought up to date.

    Attributes:
        outcome: See `dvc_repo.results.Outcome`.
        seconds: How long it took.
        outputs: The recorded outputs, by path.
        made_on: The machine that ran the command, if it was another one.
    """

    unit: Unit
    outcome: str
    seconds: float
    outputs: Mapping[str, RecordedOutput]
    made_on: MadeOn | None = None


@dataclass(frozen=True)
class Failed:
    """A unit that was not made.

    Attributes:
        cause: The upstream unit whose failure kept this one from being run; None if it was run.
    """

    unit: Unit
    error: RegistryError
    cause: Unit | None = None


@dataclass(frozen=True)
class MakeOptions:
    """Options of a batch.

    Attributes:
        force: Whether commands run even though nothing changed.
        update: Whether imports from elsewhere are updated to what their sources have now.
        sources: Sources of imports that do not exist yet, by address (default: the raw folder).
    """

    force: bool = False
    update: bool = False
    sources: Mapping[str, ForeignSource] = field(default_factory=dict)


def make_all(
    dvc: DvcRepo,
    lineage: Lineage,
    units: Sequence[Unit],
    report: Report,
    options: MakeOptions | None = None,
) -> Iterator[Made | Failed]:
    """Brings units up to date, and yields each result as soon as it is known.

    A failed unit stops only the units downstream of it.

    Args:
        dvc: The repository.
        lineage: The graph, as it was when the units were chosen.
        units: The units, upstream before downstream.
        report: Takes the output of commands, line by line and from several threads.
        options: Options of the batch.
    """
    options = options or MakeOptions()
    failed: dict[_Name, Unit] = {}
    for is_stage, group in groupby(units, lambda unit: unit.group.kind == "stage"):
        if not is_stage:
            yield from _make_data(dvc, lineage, list(group), report, options, failed)
            continue
        runnable = []
        for unit in group:
            cause = _find_cause(lineage, unit, failed)
            if cause is None:
                runnable.append(unit)
            else:
                failed[_name(unit)] = unit
                yield _not_run(unit, cause)
        yield from _make_stages(dvc, lineage, runnable, report, options)


_Name = tuple[str, str | None]


def _name(unit: Unit) -> _Name:
    return unit.group.name, unit.partition


def _find_cause(lineage: Lineage, unit: Unit, failed: Mapping[_Name, Unit]) -> Unit | None:
    """The failed unit that a unit reads, if there is one.

    A unit that reads a whole family is made from the partitions that exist, so none stops it.
    """
    for upstream in unit.group.upstream:
        maker = lineage.group_of.get(upstream.key)
        if maker is None:
            continue
        for name in upstream.read_by(unit.partition) or ():
            if (maker.name, name) in failed:
                return failed[maker.name, name]
    return None


def _not_run(unit: Unit, cause: Unit) -> Failed:
    error = RegistryError(f"{unit.address}: not run, as {cause.address} failed")
    return Failed(unit, error, cause)


def read_again(dvc: DvcRepo, lineage: Lineage, addresses: set[str]) -> Lineage:
    """The graph, after reading again what some stages and ``.dvc`` files record."""
    return build_lineage(reread(dvc, lineage.registry, addresses), lineage.translator)


def _make_data(
    dvc: DvcRepo,
    lineage: Lineage,
    units: Sequence[Unit],
    report: Report,
    options: MakeOptions,
    failed: dict[_Name, Unit],
) -> Iterator[Made | Failed]:
    """Makes collections and imports one by one, and adds those that fail to `failed`."""
    # Asks Git once for all units: that takes no longer than asking for one.
    dvc.why_unseen([unit.address for unit in units])
    for unit in units:
        cause = _find_cause(lineage, unit, failed) if unit.group.kind == "import" else None
        # An import takes the recorded version, even if recording the next one failed.
        if cause is not None and not dvc.path_of(cause.address).exists():
            failed[_name(unit)] = unit
            yield _not_run(unit, cause)
            continue
        source = options.sources.get(unit.address)
        try:
            with make(
                dvc,
                lineage,
                unit,
                report,
                force=options.force,
                update=options.update,
                source=source,
            ) as result:
                outputs = result.persist()
        except RegistryError as error:
            failed[_name(unit)] = unit
            yield Failed(unit, error)
        else:
            yield Made(unit, result.outcome, result.seconds, outputs)


def _make_stages(
    dvc: DvcRepo, lineage: Lineage, units: Sequence[Unit], report: Report, options: MakeOptions
) -> Iterator[Made | Failed]:
    # The metafiles list a collection only since it was taken in.
    new = {unit.address for unit in units if unit.partition not in unit.group.addresses}
    now = read_again(dvc, lineage, new)
    tasks: list[StageTask] = []
    by_address: dict[str, Unit] = {}
    undecided: dict[str, set[str]] = {}
    workers = now.registry.settings.workers
    for unit in units:
        found = now.group_of.get(unit.group.outputs[0].key)
        address = found.addresses.get(unit.partition) if found else None
        if found is None or address is None:
            dataset = dataset_with_inputs(now.registry, unit.group)
            if (
                dataset
                and unit.partition
                and not is_taken_in(now.registry, dataset, unit.partition)
            ):
                stage = unit.group.address.partition("@")[0]
                yield Failed(unit, not_taken_in(unit.partition, stage, dataset.name))
            elif unit.partition in unit.group.addresses:
                gone = f"{unit.address} is no longer declared: run this again"
                yield Failed(unit, RegistryError(gone))
            continue
        made = Unit(found, unit.partition)
        path = made.paths[0]
        of_stage = undecided.setdefault(found.name, set())
        if unit.partition is not None and now.nodes[path].version is None:
            of_stage.add(unit.partition)
        before = decide_before(dvc, now, found, unit.partition, report, of_stage)
        is_elsewhere = workers is not None and workers.resources_for(address) is not None
        tasks.append(StageTask(address, now.input_addresses(path), before, is_elsewhere))
        by_address[address] = made
    threads = os.cpu_count() or 1
    with (
        hiring(dvc, now.registry, [t.address for t in tasks if t.is_elsewhere], report) as crew,
        ThreadPoolExecutor(threads) as executor,
    ):
        for result in dvc.run_batch(
            tasks,
            force=options.force,
            executor=executor,
            most_at_once=4 * threads,
            report=report,
            elsewhere=crew,
        ):
            unit = by_address[result.address]
            if result.outcome is None or result.error is not None:
                error = result.error or RegistryError(f"{result.address} was not run")
                yield Failed(unit, error)
            else:
                yield Made(unit, result.outcome, result.seconds, result.outputs, result.made_on)
