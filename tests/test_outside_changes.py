"""What changed outside Dagster is told to it, as much of it as can be read."""

import asyncio
from pathlib import Path

import psutil
from dagster import (
    AssetCheckKey,
    DagsterInstance,
    Definitions,
    OpExecutionContext,
    SensorResult,
    build_sensor_context,
    job,
    op,
)
from dagster._core.loader import LoadingContextForTest

from registry_assets import build_definitions, read_registry
from registry_assets.orchestration.checks import MATCHES_DVC_LOCK
from registry_assets.orchestration.history.event_log import asset_key, read_seen
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import Reporter, sync
from registry_assets.orchestration.names import CHANGE_SENSOR_NAME
from registry_assets.registry.lineage.code_versions import CodeReader
from tests.conftest import lineage_of, run, write_tree
from tests.runs import own

CONFLICT = "<<<<<<< ours\n=======\n>>>>>>> theirs\n"


def report(root: Path, instance: DagsterInstance) -> list[str]:
    said: list[str] = []
    sync(lineage_of(root), instance, said.append)
    return said


def test_what_cannot_be_read_is_not_told_to_be_gone(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    assert report(materialized_registry, its_history) == []
    metafile = materialized_registry / "raw/01_a.dvc"
    text = metafile.read_text()
    metafile.write_text(CONFLICT + text)
    assert report(materialized_registry, its_history) == []
    metafile.write_text(text)
    assert report(materialized_registry, its_history) == []
    metafile.unlink()
    assert any("as absent" in line for line in report(materialized_registry, its_history))


def test_what_takes_too_long_goes_on_the_next_time(
    materialized_registry: Path, instance: DagsterInstance
) -> None:
    lineage = lineage_of(materialized_registry)
    # Every call tells something, however little time it has.
    assert sync(lineage, instance, print, most_seconds=0)[:2] == (1, False)
    assert sync(lineage, instance, print, most_seconds=0)[:2] == (1, False)
    done = sync(lineage, instance, print)
    assert done.is_complete
    assert done.reported == 3
    assert sync(lineage, instance, print)[:2] == (0, True)


def tick(
    root: Path,
    instance: DagsterInstance,
    cursor: str | None = None,
    *,
    definitions: Definitions | None = None,
) -> tuple[str, str | None]:
    """What the sensor says, and its cursor."""
    definitions = definitions or build_definitions(root)
    # Not by `own`, as the settings may be unreadable.
    names = (sensor.name for sensor in definitions.sensors or ())
    (name,) = (name for name in names if name.endswith(f"__{CHANGE_SENSOR_NAME}"))
    context = build_sensor_context(
        instance=instance, cursor=cursor, definitions=definitions, sensor_name=name
    )
    result = definitions.resolve_sensor_def(name)(context)
    assert isinstance(result, SensorResult)
    assert result.skip_reason is not None
    return result.skip_reason.skip_message or "", result.cursor or cursor


def test_what_is_left_out_is_said_as_long_as_it_is(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root = materialized_registry
    (root / "raw").rename(root.parent / "large")
    (root / "raw").symlink_to(root.parent / "large")
    cursor = None
    for _ in range(3):
        said, cursor = tick(root, its_history, cursor)
    assert said.startswith("left out: raw is a symbolic link to")
    (root / "raw").unlink()
    (root.parent / "large").rename(root / "raw")
    for _ in range(3):
        said, cursor = tick(root, its_history, cursor)
    assert said == "nothing changed"


def test_a_partition_that_is_no_collection_goes_away_once_its_run_has_ended(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root, history = materialized_registry, its_history
    partitions = own(root, "collections")
    cursor = None
    for _ in range(3):
        said, cursor = tick(root, history, cursor)
    assert said == "nothing changed"
    before = list(history.get_dynamic_partitions(partitions))
    history.add_dynamic_partitions(partitions, ["01_aa"])

    @job
    def waits() -> None:
        pass

    launched = history.create_run_for_job(waits, tags={"dagster/partition": "01_aa"})
    history.report_run_canceling(launched)
    _, cursor = tick(root, history, cursor)
    assert "01_aa" in history.get_dynamic_partitions(partitions)
    history.report_run_canceled(launched)
    _, cursor = tick(root, history, cursor)
    assert list(history.get_dynamic_partitions(partitions)) == before


def shown_checks(root: Path, instance: DagsterInstance) -> set[str]:
    """Assets of which the UI shows what `matches_dvc_lock` said."""
    keys = [AssetCheckKey(asset_key(key), MATCHES_DVC_LOCK) for key in lineage_of(root).output_of]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)

    async def find() -> set[str]:
        context = LoadingContextForTest(instance)
        return {
            key.asset_key.to_user_string()
            for key, record in records.items()
            if await record.targets_latest_materialization(context)
        }

    return asyncio.run(find())


def test_what_a_check_said_is_shown_again_after_a_run_that_made_the_same(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root, instance = materialized_registry, its_history
    said, cursor = tick(root, instance)
    assert "waiting until they are quiet" in said
    said, cursor = tick(root, instance, cursor)
    assert said.startswith("reported 0 materializations")
    everything = shown_checks(root, instance)
    assert len(everything) == 5
    said, cursor = tick(root, instance, cursor)
    assert said == "nothing changed"

    lineage = lineage_of(root)
    node = lineage.nodes["processed/texts/data/intermediate/upper/01_a"]

    @op
    def make_again(context: OpExecutionContext) -> None:
        seen = read_seen(lineage, instance)
        Reporter(lineage, instance, print, seen, context.log_event).report_made(node, {})

    @job
    def again() -> None:
        make_again()

    again.execute_in_process(instance=instance)
    assert shown_checks(root, instance) < everything
    said, cursor = tick(root, instance, cursor)
    assert said == "reported 1 checks"
    assert shown_checks(root, instance) == everything
    assert tick(root, instance, cursor)[0] == "nothing changed"


def test_settings_that_cannot_be_read_do_not_take_the_code_location_down(
    text_registry: Path, instance: DagsterInstance
) -> None:
    definitions = build_definitions(text_registry)
    with (text_registry / "pyproject.toml").open("a") as settings:
        settings.write("x = [\n")
    assert "pyproject.toml" in tick(text_registry, instance, definitions=definitions)[0]


def test_code_that_dvc_ignores_makes_nothing_stale(text_registry: Path) -> None:
    write_tree(
        text_registry,
        {
            ".dvcignore": "*.bak\n",
            "processed/own/dvc.yaml": "stages:\n  copy:\n    cmd: mkdir out && cp code/a.txt out\n"
            "    deps: [code]\n    outs: [out]\n",
            "processed/own/code/a.txt": "a\n",
            "processed/own/code/notes.bak": "notes\n",
        },
    )
    run(text_registry, "dvc", "repro", "--quiet", "processed/own/dvc.yaml")
    registry = read_registry(text_registry)
    stage = registry.stage_of["processed/own/out"]
    assert list(CodeReader(registry).changes(stage)) == []
    before = CodeReader(registry).version(stage)
    write_tree(text_registry, {"processed/own/code/notes.bak": "others\n"})
    assert CodeReader(registry).version(stage) == before
    write_tree(text_registry, {"processed/own/code/b.txt": "b\n"})
    assert list(CodeReader(registry).changes(stage)) == ["processed/own/code is modified"]
    assert CodeReader(registry).version(stage) != before


def test_many_runs_leave_few_files_open(text_registry: Path) -> None:
    @op
    def do_nothing() -> None:
        pass

    @job
    def nothing() -> None:
        do_nothing()

    with open_history(text_registry) as instance:
        nothing.execute_in_process(instance=instance)
        before = psutil.Process().num_fds()
        for _ in range(8):
            nothing.execute_in_process(instance=instance)
        assert psutil.Process().num_fds() < before + 12
