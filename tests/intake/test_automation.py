"""What follows by itself, and what never does: Dagster's automation, tick by tick."""

from __future__ import annotations

from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, Definitions, evaluate_automation_conditions
from dagster._core.definitions.declarative_automation.automation_condition_tester import (
    EvaluateAutomationConditionsResult,
)
from dagster._core.test_utils import create_run_for_test

from registry_assets import build_definitions
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.names import FOLLOW_SENSOR_NAME
from registry_assets.orchestration.sensors.automation import BRING_JOB
from tests.conftest import lineage_of
from tests.intake.test_edits import configure, edit
from tests.runs import PlannedRun, define_assets, execute, own

Tick = EvaluateAutomationConditionsResult
STAGES = {"upper", "lines", "names"}


def tick(defs: Definitions, instance: DagsterInstance, before: Tick | None = None) -> Tick:
    return evaluate_automation_conditions(
        defs=defs, instance=instance, cursor=before.cursor if before else None
    )


def requested(result: Tick) -> set[tuple[str, str]]:
    return {
        (item.key.path[-1], partition)
        for item in result.results
        for partition in item.true_subset.expensively_compute_partition_keys()
    }


def materialize(root: Path, instance: DagsterInstance, name: str, collection: str) -> None:
    lineage = lineage_of(root)
    (key,) = (key for key in lineage.output_of if key[-1] == name)
    run = PlannedRun((key,), collection, "collections")
    done = execute(define_assets(lineage), instance, run, force=False, tags={})
    assert done.failures == ()


def test_only_what_was_taken_in_follows(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root, instance = materialized_registry, its_history
    defs = build_definitions(root)
    first = tick(defs, instance)
    assert requested(first) == set()

    edit(root)
    materialize(root, instance, "raw", "01_a")
    moved = tick(defs, instance, first)
    assert requested(moved) == {(name, "01_a") for name in {"inputs", *STAGES}}
    # One that is new is nobody's: not asked for, nor when it has a next version.
    materialize(root, instance, "raw", "02_b")
    added = tick(defs, instance, moved)
    assert requested(added) == set()

    # While a run that makes many is at work, it is left to it.
    busy = create_run_for_test(
        instance, job_name=own(root, BRING_JOB), status=DagsterRunStatus.STARTED
    )
    materialize(root, instance, "inputs", "02_b")
    held = tick(defs, instance, added)
    assert requested(held) == set()
    instance.delete_run(busy.run_id)
    taken_in = tick(defs, instance, held)
    assert requested(taken_in) == {(name, "02_b") for name in STAGES}


def test_what_came_from_outside_dagster_in_one_piece_is_no_change(
    materialized_registry: Path, instance: DagsterInstance
) -> None:
    defs = build_definitions(materialized_registry)
    first = tick(defs, instance)
    sync(lineage_of(materialized_registry), instance, lambda _line: None)
    assert requested(tick(defs, instance, first)) == set()


def test_a_manual_data_set_follows_nothing(materialized_registry: Path) -> None:
    names = {sensor.name for sensor in build_definitions(materialized_registry).sensors or ()}
    assert own(materialized_registry, FOLLOW_SENSOR_NAME) in names
    configure(materialized_registry, 'take_in = { texts = "manual" }')
    names = {sensor.name for sensor in build_definitions(materialized_registry).sensors or ()}
    assert own(materialized_registry, FOLLOW_SENSOR_NAME) not in names
