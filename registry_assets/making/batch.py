"""Many units brought up to date in one go: collections in turn, stages side by side.

One unit is made as `unit.make` makes it. Here the metafiles are read once for all of them and
written for many at a time, so that the cost of N units is N.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from registry_assets.curation.initial_decisions import decide_before
from registry_assets.dvc_repo import DvcRepo, RecordedOutput, StageTask
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


@dataclass(frozen=True)
class Made:
    """A unit that was brought up to date.

    Attributes:
        outcome: How; see `dvc_repo.results.Outcome`.
        seconds: How long it took.
        outputs: What was recorded, by path.
    """

    unit: Unit
    outcome: str
    seconds: float
    outputs: Mapping[str, RecordedOutput]


@dataclass(frozen=True)
class Failed:
    """A unit that was not made.

    Attributes:
        cause: What failed before it, where it was not tried for that.
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
    """Brings units up to date, and yields the result of each when it is there.

    A failure stops only what depends on it.

    Args:
        dvc: The repository.
        lineage: The graph, as it was when the units were chosen.
        units: What to make, in the order of dependencies.
        report: Takes what commands say, from several threads.
        options: See `MakeOptions`.
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
    """What failed of that which a unit is made of.

    What is made of a whole family is made of what there is of it.
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
    """The graph with what some stages and ``.dvc`` files record now."""
    return build_lineage(reread(dvc, lineage.registry, addresses), lineage.translator)


def _make_data(
    dvc: DvcRepo,
    lineage: Lineage,
    units: Sequence[Unit],
    report: Report,
    options: MakeOptions,
    failed: dict[_Name, Unit],
) -> Iterator[Made | Failed]:
    """Makes collections and imports in turn, and adds those that fail to `failed`."""
    # One question to Git for all units takes no longer than for one.
    dvc.why_unseen([unit.address for unit in units])
    for unit in units:
        cause = _find_cause(lineage, unit, failed) if unit.group.kind == "import" else None
        # What is recorded of a collection is taken in, whatever became of its next version.
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
    # A collection that was just taken in is listed in the metafiles now.
    new = {unit.address for unit in units if unit.partition not in unit.group.addresses}
    now = read_again(dvc, lineage, new)
    tasks: list[StageTask] = []
    by_address: dict[str, Unit] = {}
    undecided: dict[str, set[str]] = {}
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
                gone = f"{unit.address} is declared no more: run the same again"
                yield Failed(unit, RegistryError(gone))
            continue
        made = Unit(found, unit.partition)
        path = made.paths[0]
        of_stage = undecided.setdefault(found.name, set())
        if unit.partition is not None and now.nodes[path].version is None:
            of_stage.add(unit.partition)
        before = decide_before(dvc, now, found, unit.partition, report, of_stage)
        tasks.append(StageTask(address, now.input_addresses(path), before))
        by_address[address] = made
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as executor:
        for result in dvc.run_batch(
            tasks,
            force=options.force,
            executor=executor,
            most_at_once=4 * workers,
            report=report,
        ):
            unit = by_address[result.address]
            if result.outcome is None or result.error is not None:
                error = result.error or RegistryError(f"{result.address} was not run")
                yield Failed(unit, error)
            else:
                yield Made(unit, result.outcome, result.seconds, result.outputs)
