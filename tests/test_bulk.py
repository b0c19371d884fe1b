"""Many partitions in one run: what Dagster knows of each afterwards."""

from pathlib import Path

from dagster import AssetKey, DagsterInstance, RunsFilter
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from registry_assets import build_definitions
from registry_assets.orchestration.batch_job import BRING_JOB, BRING_OP
from registry_assets.orchestration.comparison import compare
from registry_assets.orchestration.history.event_log import AssetPartition, read_seen
from registry_assets.orchestration.history.reporting import sync
from tests.conftest import lineage_of, write_tree

DATA = "processed/texts/data"
KEYS = {
    ("raw",),
    *(tuple(f"{DATA}/{name}".split("/")) for name in ("inputs", "intermediate/upper")),
    *(tuple(f"{DATA}/outputs/{name}".split("/")) for name in ("lines", "names")),
}


def bring(root: Path, instance: DagsterInstance, **config: object) -> bool:
    """Runs the job as the launchpad does; returns whether it succeeded."""
    job = build_definitions(root).resolve_job_def(BRING_JOB)
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
    (run,) = instance.get_runs(RunsFilter(job_name=BRING_JOB))
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
    (run,) = instance.get_runs(RunsFilter(job_name=BRING_JOB))
    failures = [
        log.dagster_event.step_failure_data
        for log in instance.all_logs(run.run_id)
        if log.dagster_event is not None and log.dagster_event.is_step_failure
    ]
    assert len(failures) == 1
    # The stage, what is made of it, and the collection that is not there.
    assert "failed" in str(failures[0].user_failure_data or failures[0].error)
