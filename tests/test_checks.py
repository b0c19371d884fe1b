"""What the asset checks say, run by Dagster and reported from the metafiles."""

import shutil
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey, AssetSelection, DagsterInstance

from registry_assets import build_definitions
from registry_assets.orchestration.checks import (
    IN_CACHE,
    MATCHES_DVC_LOCK,
    NO_DUPLICATES,
    report_checks,
)
from tests.conftest import lineage_of, run, write_tree
from tests.runs import own

DATA = "processed/texts/data"
INPUTS = f"{DATA}/inputs"
UPPER = f"{DATA}/intermediate/upper"
LINES = f"{DATA}/outputs/lines"
NAMES = f"{DATA}/outputs/names"
ALL = {"raw", INPUTS, UPPER, LINES, NAMES}


def execute_checks(
    root: Path, instance: DagsterInstance, name: str, **config: object
) -> dict[str, tuple[bool, dict[str, object]]]:
    """Runs one check of every asset, as the button in the UI does; by asset, with its metadata."""
    definitions = build_definitions(root)
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = {key for key in job.asset_layer.asset_graph.asset_check_keys if key.name == name}
    subset = job.get_subset(asset_check_selection=keys)
    result = subset.execute_in_process(
        instance=instance,
        run_config={"ops": {own(root, name): {"config": config}}} if config else None,
    )
    return {
        evaluation.asset_key.to_user_string(): (
            evaluation.passed,
            {
                key: getattr(value, "records", value.value)
                for key, value in evaluation.metadata.items()
            },
        )
        for evaluation in result.get_asset_check_evaluations()
    }


def failing(found: dict[str, tuple[bool, dict[str, object]]]) -> set[str]:
    assert set(found) == ALL
    return {key for key, (passed, _) in found.items() if not passed}


def reported(root: Path, instance: DagsterInstance) -> set[str]:
    """Assets whose newest evaluation of `matches_dvc_lock` failed, after a report."""
    report_checks(lineage_of(root), instance)
    keys = [AssetCheckKey(AssetKey(key.split("/")), MATCHES_DVC_LOCK) for key in ALL]
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert set(newest) == set(keys)
    return {
        key.asset_key.to_user_string()
        for key, record in newest.items()
        if record.evaluation is not None and not record.evaluation.passed
    }


def objects_by_content(root: Path) -> dict[bytes, Path]:
    cache = root / ".dvc/cache/files/md5"
    return {path.read_bytes(): path for path in cache.rglob("*") if path.is_file()}


def test_every_asset_has_both_checks_and_raw_a_third(materialized_registry: Path) -> None:
    graph = build_definitions(materialized_registry).resolve_asset_graph()
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    both = {(key, name) for key in ALL for name in (MATCHES_DVC_LOCK, IN_CACHE)}
    assert checks == {*both, ("raw", NO_DUPLICATES)}


def test_checks_pass_after_a_run(materialized_registry: Path, its_history: DagsterInstance) -> None:
    found = execute_checks(materialized_registry, its_history, MATCHES_DVC_LOCK)
    assert failing(found) == set()
    assert found[UPPER][1]["outputs"] == 1
    cache = execute_checks(materialized_registry, its_history, IN_CACHE, mode="full")
    assert failing(cache) == set()
    # The listing and the file in it.
    assert cache["raw"][1] | {"objects": 2, "hashed": 2, "missing": 0} == cache["raw"][1]


def test_an_edit_of_data_is_seen_by_the_check_that_looks_at_the_workspace(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root = materialized_registry
    write_tree(root, {"raw/01_a/more.txt": "more\n"})
    found = execute_checks(root, its_history, MATCHES_DVC_LOCK)
    assert failing(found) == {"raw"}
    (example,) = found["raw"][1]["examples"]  # type: ignore[attr-defined]
    assert example.data["path"] == "raw/01_a"
    assert example.data["state"] == "modified"
    # What is reported from the metafiles does not take back what was seen.
    (root / "processed/texts/params.yaml").write_text("suffix: 2\n")
    assert reported(root, its_history) == {"raw", UPPER}
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    assert reported(root, its_history) == {INPUTS, UPPER}


@pytest.mark.parametrize(
    ("path", "text", "stale"),
    [
        ("processed/texts/params.yaml", "suffix: 2\n", {UPPER}),
        ("processed/texts/upper.py", "raise SystemExit\n", {UPPER}),
    ],
)
def test_a_change_of_code_or_parameters_is_reported_from_the_metafiles(
    materialized_registry: Path,
    its_history: DagsterInstance,
    path: str,
    text: str,
    stale: set[str],
) -> None:
    root = materialized_registry
    assert reported(root, its_history) == set()
    before = (root / path).read_text()
    (root / path).write_text(text)
    assert reported(root, its_history) == stale
    assert report_checks(lineage_of(root), its_history) == 0, "the same is not said twice"
    (root / path).write_text(before)
    assert reported(root, its_history) == set()


def test_a_new_item_and_a_stage_run_by_dvc_are_reported(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root = materialized_registry
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    run(root / INPUTS, "dvc", "import-url", "--quiet", "../../../../raw/02_b", "02_b")
    collections = root / "processed/texts/collections.yaml"
    collections.write_text(collections.read_text() + '  - "02_b"\n')
    assert reported(root, its_history) == {UPPER, LINES, NAMES}
    run(root, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    assert reported(root, its_history) == set()


def test_missing_and_damaged_objects_are_told_apart(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root = materialized_registry
    place = objects_by_content(root)[b"one\n"]
    place.unlink()
    found = execute_checks(root, its_history, IN_CACHE)
    assert failing(found) == {"raw", INPUTS}
    assert found["raw"][1]["missing"] == 1
    assert found["raw"][1]["damaged"] == 0
    (example,) = found["raw"][1]["examples"]  # type: ignore[attr-defined]
    assert example.data == {
        "path": "raw/01_a/one.txt",
        "state": "missing",
        "why": "run `dvc pull raw/01_a`",
    }
    place.write_bytes(b"two\n")
    found = execute_checks(root, its_history, IN_CACHE, mode="full")
    assert failing(found) == {"raw", INPUTS}
    assert (found["raw"][1]["missing"], found["raw"][1]["damaged"]) == (0, 1)
    # Where nothing is hashed, that it is there is all that can be said.
    assert failing(execute_checks(root, its_history, IN_CACHE, mode="sampled", sample=0)) == set()


def test_lineage_check_finds_a_damaged_object_when_asked_to_hash(
    materialized_registry: Path,
) -> None:
    root = materialized_registry
    run(root, "registry", "sync")
    place = objects_by_content(root)[b"ONE\n\n"]
    place.chmod(0o644)
    place.write_bytes(b"else")
    run(root, "registry", "lineage", "--check")
    with pytest.raises(AssertionError, match="is damaged"):
        run(root, "registry", "lineage", "--check", "--full")


def test_a_check_in_a_clone_without_data_says_what_to_pull(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    root = materialized_registry
    shutil.rmtree(root / ".dvc/cache")
    found = execute_checks(root, its_history, IN_CACHE)
    assert failing(found) == ALL
    assert found[LINES][1]["missing"] == 1


def test_the_cache_is_looked_at_once_without_being_asked_and_then_every_night(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    report_checks(lineage_of(materialized_registry), its_history)
    keys = [AssetCheckKey(AssetKey(key.split("/")), IN_CACHE) for key in ALL]
    newest = its_history.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert {key for key, record in newest.items() if record.evaluation} == set(keys)
    assert report_checks(lineage_of(materialized_registry), its_history) == 0
    definitions = build_definitions(materialized_registry)
    job = own(materialized_registry, "check_cache")
    schedule = own(materialized_registry, "check_cache_every_night")
    assert definitions.resolve_schedule_def(schedule).job_name == job
    result = definitions.resolve_job_def(job).execute_in_process(instance=its_history)
    found = {e.asset_key.to_user_string() for e in result.get_asset_check_evaluations()}
    assert found == ALL
    assert {e.check_name for e in result.get_asset_check_evaluations()} == {IN_CACHE}


def test_a_run_of_one_asset_brings_its_checks_along(
    materialized_registry: Path, its_history: DagsterInstance
) -> None:
    definitions = build_definitions(materialized_registry)
    keys = [AssetKey(UPPER.split("/"))]
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    result = job.execute_in_process(
        instance=its_history, asset_selection=keys, partition_key="01_a"
    )
    names = {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
    assert names == {MATCHES_DVC_LOCK, IN_CACHE}
    take_in = definitions.resolve_job_def(own(materialized_registry, "take_in_collection"))
    assert take_in.asset_layer.executable_asset_keys
    assert not AssetSelection.all_asset_checks().resolve_checks(take_in.asset_layer.asset_graph)
