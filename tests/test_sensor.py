"""The sensor that takes in new folders: what it asks for, when, and what it leaves alone."""

import os
import shutil
import time
from pathlib import Path

import pytest
from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    SensorResult,
    build_sensor_context,
)

from registry_assets import build_definitions
from registry_assets.orchestration.names import ARRIVAL_SENSOR_NAME
from registry_assets.orchestration.sensors.folders import TAKE_IN_JOB
from tests.conftest import run, write_tree
from tests.runs import own


def set_settle_seconds(root: Path, seconds: float) -> None:
    path = root / "pyproject.toml"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("settle_seconds")]
    path.write_text("\n".join([*kept, f"settle_seconds = {seconds}"]) + "\n")


@pytest.fixture
def root(text_registry: Path) -> Path:
    """A registry with two settled new folders: here anything is settled at once."""
    set_settle_seconds(text_registry, 0)
    return text_registry


def tick(
    root: Path,
    instance: DagsterInstance,
    cursor: str | None = None,
    definitions: Definitions | None = None,
) -> SensorResult:
    """One tick, of a freshly loaded code location unless one is given."""
    definitions = definitions or build_definitions(root)
    context = build_sensor_context(
        instance=instance,
        cursor=cursor,
        definitions=definitions,
        sensor_name=own(root, ARRIVAL_SENSOR_NAME),
    )
    result = definitions.resolve_sensor_def(own(root, ARRIVAL_SENSOR_NAME))(context)
    assert isinstance(result, SensorResult)
    return result


def run_keys(result: SensorResult) -> dict[str | None, str | None]:
    return {request.partition_key: request.run_key for request in result.run_requests or ()}


def skip_message(result: SensorResult) -> str:
    assert not result.run_requests
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message is not None
    return result.skip_reason.skip_message


def test_it_runs_by_default_and_takes_a_collection_all_the_way(root: Path) -> None:
    definitions = build_definitions(root)
    sensor = definitions.resolve_sensor_def(own(root, ARRIVAL_SENSOR_NAME))
    assert sensor.default_status == DefaultSensorStatus.RUNNING
    assert sensor.job_name == own(root, TAKE_IN_JOB)
    job = definitions.resolve_job_def(own(root, TAKE_IN_JOB))
    assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == {
        "raw",
        "inputs",
        "upper",
        "lines",
        "names",
    }


def test_each_settled_new_folder_is_one_run_and_one_partition(
    root: Path, instance: DagsterInstance
) -> None:
    result = tick(root, instance)
    assert set(run_keys(result)) == {"01_a", "02_b"}
    assert len(result.run_requests or ()) == 2
    (added,) = result.dynamic_partitions_requests or ()
    assert added.partitions_def_name == own(root, "collections")
    assert set(added.partition_keys) == {"01_a", "02_b"}
    assert result.skip_reason is None


def test_the_run_that_it_asks_for_takes_the_collection_in(
    root: Path, instance: DagsterInstance
) -> None:
    (request, *_) = tick(root, instance).run_requests or ()
    assert request.partition_key == "01_a"
    instance.add_dynamic_partitions(own(root, "collections"), ["01_a"])
    job = build_definitions(root).resolve_job_def(own(root, TAKE_IN_JOB))
    assert job.execute_in_process(instance=instance, partition_key="01_a").success
    assert (root / "processed/texts/data/intermediate/upper/01_a/one.txt").exists()
    assert set(run_keys(tick(root, instance))) == {"02_b"}


def test_a_folder_that_is_still_changing_waits_and_is_named(
    root: Path, instance: DagsterInstance
) -> None:
    set_settle_seconds(root, 3600)
    message = skip_message(tick(root, instance))
    assert "01_a is still changing" in message
    assert "02_b is still changing" in message


def test_dates_kept_by_a_copy_do_not_make_a_folder_look_settled(
    root: Path, instance: DagsterInstance
) -> None:
    set_settle_seconds(root, 3600)
    long_ago = time.time() - 1e6
    for path in (root / "raw/01_a/one.txt", root / "raw/01_a/two.txt", root / "raw/01_a"):
        os.utime(path, (long_ago, long_ago))
    assert "01_a is still changing" in skip_message(tick(root, instance))


def test_a_folder_that_settles_beside_one_that_does_not_is_taken(
    root: Path, instance: DagsterInstance
) -> None:
    set_settle_seconds(root, 2)
    definitions = build_definitions(root)
    time.sleep(2.1)
    write_tree(root, {"raw/02_b/late.txt": "late\n"})
    assert set(run_keys(tick(root, instance, definitions=definitions))) == {"01_a"}


BAD = {
    "x; rm -rf ~": "letters, digits",
    "-rf": "with a letter or digit first",
    "été": "letters, digits",
    "a...b": "range of partitions",
}


def test_bad_names_and_empty_folders_are_left_alone_with_the_reason(
    root: Path, instance: DagsterInstance
) -> None:
    for name in ("01_a", "02_b"):
        run(root, "dvc", "add", "--quiet", f"raw/{name}")
    write_tree(root, {f"raw/{name}/one.txt": "1" for name in BAD})
    (root / "raw/03_empty/deep").mkdir(parents=True)
    (root / "raw/04_link").symlink_to(root / "raw/01_a")
    (root / "raw/.hidden").mkdir()
    (root / "raw/IMG_1.jpg").touch()
    (root / "raw/shoot.rar").touch()
    before = sorted((root / "raw").rglob("*"))
    result = tick(root, instance)
    message = skip_message(result)
    for name, reason in BAD.items():
        assert f"{name} is left alone" in message
        assert reason in message
    assert "03_empty is left alone: it contains no files" in message
    assert "04_link is left alone: it is a symbolic link" in message
    assert "IMG_1.jpg is left alone: it lies in raw/ itself" in message
    assert "shoot.rar is left alone: .rar archives are not supported" in message
    assert ".hidden" not in message
    assert not result.dynamic_partitions_requests
    assert sorted((root / "raw").rglob("*")) == before
    # Said again in every tick, as the reason for skipping; in the log once.
    assert skip_message(tick(root, instance, result.cursor)) == message


def test_no_run_starts_for_what_would_be_seen_by_nobody(
    root: Path, instance: DagsterInstance
) -> None:
    (root / ".gitignore").write_text("raw/**\n!raw/*.dvc\n")
    result = tick(root, instance)
    assert "01_a is left alone: raw/01_a.dvc: Git ignores raw/" in skip_message(result)
    assert not result.run_requests


def test_a_rejected_folder_does_not_keep_others_from_being_taken(
    root: Path, instance: DagsterInstance
) -> None:
    write_tree(root, {"raw/x; rm -rf ~/one.txt": "1"})
    assert set(run_keys(tick(root, instance))) == {"01_a", "02_b"}


def test_tracked_folders_are_ignored_also_when_they_change(
    root: Path, instance: DagsterInstance
) -> None:
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    write_tree(root, {"raw/01_a/new.txt": "new\n", "raw/file.txt": "not a folder\n"})
    assert set(run_keys(tick(root, instance))) == {"02_b"}
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    assert skip_message(tick(root, instance)) == "nothing new in raw/"


def test_one_state_of_a_folder_is_one_run_also_after_a_restart(
    root: Path, instance: DagsterInstance
) -> None:
    first = tick(root, instance)
    assert run_keys(tick(root, instance, first.cursor)) == run_keys(first)
    # Nothing is remembered but what is in the folder: a lost cursor changes nothing.
    assert run_keys(tick(root, instance)) == run_keys(first)
    write_tree(root, {"raw/01_a/three.txt": "3"})
    changed = run_keys(tick(root, instance, first.cursor))
    assert changed["01_a"] != run_keys(first)["01_a"]
    assert changed["02_b"] == run_keys(first)["02_b"]


def test_a_change_of_content_alone_is_a_new_state(root: Path, instance: DagsterInstance) -> None:
    first = run_keys(tick(root, instance))
    place = root / "raw/01_a/one.txt"
    long_ago = place.stat().st_mtime
    place.write_text("eno\n")
    os.utime(place, (long_ago, long_ago))
    assert run_keys(tick(root, instance))["01_a"] != first["01_a"]


def test_a_raw_folder_that_is_not_there_is_nothing_new(
    root: Path, instance: DagsterInstance
) -> None:
    definitions = build_definitions(root)
    shutil.rmtree(root / "raw")
    assert skip_message(tick(root, instance, definitions=definitions)) == "nothing new in raw/"


def test_ten_thousand_tracked_folders_ask_for_nothing(
    root: Path, instance: DagsterInstance
) -> None:
    definitions = build_definitions(root)
    for name in ("01_a", "02_b"):
        (root / f"raw/{name}.dvc").touch()
    for number in range(10_000):
        (root / f"raw/{number:05}_c").mkdir()
        (root / f"raw/{number:05}_c.dvc").touch()
    assert skip_message(tick(root, instance, definitions=definitions)) == "nothing new in raw/"
    write_tree(root, {"raw/new/one.txt": "1"})
    assert set(run_keys(tick(root, instance, definitions=definitions))) == {"new"}
