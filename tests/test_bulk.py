"""Many partitions in one run: what Dagster knows of each afterwards."""

from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, AssetMaterialization, DagsterInstance, RunsFilter, Shape
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.snap import JobSnap
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from registry_assets import build_definitions
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.making.batch import Failed, Made, make_all
from registry_assets.making.planning import plan_units
from registry_assets.making.unit import Unit
from registry_assets.orchestration import batch_job, io_manager
from registry_assets.orchestration.batch_job import BRING_JOB, BRING_OP, Batch
from registry_assets.orchestration.comparison import compare
from registry_assets.orchestration.history.event_log import AssetPartition, read_seen
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.publish_job import PUBLISH_JOB, PUBLISH_OP
from tests.conftest import lineage_of, write_tree
from tests.conftest import run as run_program
from tests.runs import define_assets, execute, own, plan_runs

DATA = "processed/texts/data"
KEYS = {
    ("raw",),
    *(tuple(f"{DATA}/{name}".split("/")) for name in ("inputs", "intermediate/upper")),
    *(tuple(f"{DATA}/outputs/{name}".split("/")) for name in ("lines", "names")),
}


def bring(root: Path, instance: DagsterInstance, **config: object) -> bool:
    """Runs the job as the launchpad does; returns whether it succeeded."""
    job = build_definitions(root).resolve_job_def(own(root, BRING_JOB))
    result = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {BRING_OP: {"config": config}}},
    )
    return bool(result.success)


def test_one_run_makes_a_true_materialization_of_every_output(
    text_registry: Path, instance: DagsterInstance
) -> None:
    assert bring(text_registry, instance, collections=["01_a", "02_b"])
    (run,) = instance.get_runs(RunsFilter(job_name=own(text_registry, BRING_JOB)))
    lineage = lineage_of(text_registry)
    seen = read_seen(lineage, instance)
    assert set(seen) == {AssetPartition(key, name) for key in KEYS for name in ("01_a", "02_b")}
    for node in lineage.nodes.values():
        if node.key is not None and node.version is not None:
            assert seen[AssetPartition(node.key, node.partition)].version == node.version.md5
    upper = AssetKey(f"{DATA}/intermediate/upper".split("/"))
    for record in instance.fetch_materializations(upper, limit=10).records:
        materialization = record.asset_materialization
        assert materialization is not None
        assert record.run_id == run.run_id
        assert materialization.metadata["dvc/outcome"].value == "ran"
        assert materialization.metadata["dvc/path"].value == (
            f"{DATA}/intermediate/upper/{materialization.partition}"
        )
    # Nothing is left to tell, to compare or to call stale.
    assert sync(lineage, instance, lambda _line: None).reported == 0
    definitions = build_definitions(text_registry)
    assert compare(lineage, definitions, instance).differences == ()
    resolver = CachingStaleStatusResolver(
        instance, definitions.resolve_asset_graph(), LoadingContextForTest(instance)
    )
    for key in KEYS:
        for name in ("01_a", "02_b"):
            assert resolver.get_status(AssetKey(list(key)), name) == StaleStatus.FRESH


def test_a_mistyped_collection_fails_no_run_and_makes_nothing_else(
    text_registry: Path, instance: DagsterInstance
) -> None:
    assert bring(text_registry, instance, collections=["01_aa", "x; rm"])
    assert read_seen(lineage_of(text_registry), instance) == {}
    (run,) = instance.get_runs()
    said = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert any("did you mean 01_a?" in line for line in said)
    assert any("cannot be the name of a collection" in line for line in said)
    assert "nothing was brought up to date: none of these is a collection" in said
    assert bring(text_registry, instance, collections=["01_aa", "02_b"])
    seen = read_seen(lineage_of(text_registry), instance)
    assert {asset.partition for asset in seen} == {"02_b"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (BRING_JOB, {BRING_OP: {"config": {"collections": [], "force": False, "select": ""}}}),
        (PUBLISH_JOB, {PUBLISH_OP: {"config": {"branch": "", "dry_run": False, "message": ""}}}),
    ],
)
def test_the_launchpad_shows_what_one_may_set_and_nothing_else(
    text_registry: Path, name: str, shown: dict[str, object]
) -> None:
    job = build_definitions(text_registry).resolve_job_def(own(text_registry, name))
    schema = JobSnap.from_job_def(job).config_schema_snapshot
    root = schema.get_config_snap(job.run_config_schema.run_config_schema_type.key)
    assert yaml.safe_load(default_values_yaml_from_type_snap(schema, root)) == {"ops": shown}
    (op,) = job.nodes
    config = op.definition.config_schema.config_type
    assert isinstance(config, Shape)
    for option in config.fields.values():
        assert option.description
        assert not option.is_required


@pytest.mark.parametrize("command", [["add", "01_a"], ["materialize", "--collection", "01_a"]])
def test_the_run_of_a_command_can_be_executed_again_in_the_ui(
    text_registry: Path, command: list[str]
) -> None:
    run_program(text_registry, "registry", *command)
    with open_history(text_registry) as history:
        before = read_seen(lineage_of(text_registry), history)
        assert {asset.partition for asset in before} == {"01_a"}
        (run,) = history.get_runs()
        write_tree(text_registry, {"raw/01_a/three.txt": "three\n"})
        job = build_definitions(text_registry).resolve_job_def(own(text_registry, BRING_JOB))
        assert job.execute_in_process(instance=history, run_config=run.run_config).success
        after = read_seen(lineage_of(text_registry), history)
    assert after.keys() == before.keys()
    assert all(after[asset] != before[asset] for asset in before)


def test_runs_that_were_launched_with_nulls_can_be_executed_again(
    text_registry: Path, instance: DagsterInstance
) -> None:
    assert bring(text_registry, instance, select=None, collections=["02_b"], force=False)
    assert {a.partition for a in read_seen(lineage_of(text_registry), instance)} == {"02_b"}


def test_a_second_run_makes_nothing_and_an_edit_what_follows_from_it(
    text_registry: Path, instance: DagsterInstance
) -> None:
    assert bring(text_registry, instance, collections=["01_a", "02_b"])
    before = read_seen(lineage_of(text_registry), instance)
    assert bring(text_registry, instance)
    assert read_seen(lineage_of(text_registry), instance) == before
    write_tree(text_registry, {"raw/01_a/three.txt": "three\n"})
    # An edit of raw data is left to a person, unless it is named.
    assert bring(text_registry, instance)
    assert read_seen(lineage_of(text_registry), instance) == before
    assert bring(text_registry, instance, collections=["01_a"])
    after = read_seen(lineage_of(text_registry), instance)
    changed = {asset for asset in after if after[asset] != before[asset]}
    assert changed == {AssetPartition(key, "01_a") for key in KEYS}


def test_a_selection_is_all_that_is_made(text_registry: Path, instance: DagsterInstance) -> None:
    assert bring(text_registry, instance, collections=["01_a"], select='key:"raw"')
    assert set(read_seen(lineage_of(text_registry), instance)) == {AssetPartition(("raw",), "01_a")}
    assert not bring(text_registry, instance, select='key:"nothing"')


def test_a_collection_that_fails_fails_the_run_after_the_others_are_made(
    text_registry: Path, instance: DagsterInstance
) -> None:
    (text_registry / "raw/01_a/one.txt").write_bytes(b"\xff\xfe not text")
    assert not bring(text_registry, instance, collections=["01_a", "02_b", "03_missing"])
    seen = {
        (asset.key[-1], asset.partition) for asset in read_seen(lineage_of(text_registry), instance)
    }
    assert {part for part in seen if part[1] == "02_b"} == {(key[-1], "02_b") for key in KEYS}
    assert {part for part in seen if part[1] == "01_a"} == {("raw", "01_a"), ("inputs", "01_a")}
    assert not any(part[1] == "03_missing" for part in seen)
    (run,) = instance.get_runs(RunsFilter(job_name=own(text_registry, BRING_JOB)))
    failures = [
        log.dagster_event.step_failure_data
        for log in instance.all_logs(run.run_id)
        if log.dagster_event is not None and log.dagster_event.is_step_failure
    ]
    assert len(failures) == 1
    # The stage, what is made of it, and the collection that is not there.
    assert "failed" in str(failures[0].user_failure_data or failures[0].error)


def test_what_cannot_be_committed_is_told_and_the_rest_is_made(
    text_registry: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RegistryError("Git does not know who you are")

    monkeypatch.setattr(batch_job, "_TELL_SECONDS", 0.0)
    monkeypatch.setattr(batch_job, "commit_written", refuse)
    units = plan_units(lineage_of(text_registry), lineage_of(text_registry).output_of, ["01_a"])
    batch = Batch(DvcRepo(text_registry), lineage_of(text_registry), instance, print)
    told: list[AssetMaterialization] = []
    made: list[Made | Failed] = []

    def write(event: AssetMaterialization) -> None:
        told.append(event)
        instance.report_runless_asset_event(event)

    def run() -> None:
        # One by one: what was made before it ends in an error counts.
        for result in batch.run(units, write):
            made.append(result)

    with pytest.raises(RegistryError, match="who you are"):
        run()
    assert [type(result) for result in made] == [Made] * len(units)
    assert len(told) == sum(len(result.outputs) for result in made if isinstance(result, Made))


def test_what_fails_in_one_data_set_stops_nothing_in_another(text_registry: Path) -> None:
    lineage, dvc = lineage_of(text_registry), DvcRepo(text_registry)
    (imported,) = [group for group in lineage.groups if group.kind == "import"]
    stages = [group for group in lineage.groups if group.kind == "stage" and group.partitions]
    # An import that fails, beside a unit of the same name that is made of something else.
    (text_registry / "raw/01_a/.gitkeep").touch()
    units = [Unit(imported, "01_a"), *(Unit(group, "01_a") for group in stages)]
    results = list(make_all(dvc, lineage, units, print))
    assert all(isinstance(result, Failed) for result in results)
    assert len(results) == len(units)
    assert "not run, as processed/texts/data/inputs/01_a.dvc failed" in str(results[1].error)


def test_a_run_that_cannot_commit_tells_what_it_recorded(
    text_registry: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RegistryError("Git does not know who you are")

    monkeypatch.setattr(io_manager, "commit_written", refuse)
    lineage = lineage_of(text_registry)
    (planned,) = plan_runs(lineage, {("raw",)}, ["01_a"])
    done = execute(define_assets(lineage), instance, planned, force=False, tags={})
    assert [failure.endswith("who you are") for failure in done.failures] == [True]
    told = instance.fetch_materializations(AssetKey(["raw"]), limit=2).records
    assert [record.partition_key for record in told] == ["01_a"]
