"""Collections that were edited after they were registered: noticed, and what becomes of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import AssetCheckKey, AssetKey, DagsterInstance, SensorResult, build_sensor_context

from registry_assets import build_definitions, read_registry
from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.making.planning import describe_edit, plan_bringing
from registry_assets.orchestration.checks import MATCHES_DVC_LOCK
from registry_assets.orchestration.names import EDIT_SENSOR_NAME
from registry_assets.orchestration.sensors.folders import TAKE_IN_JOB
from registry_assets.registry.status.edits import EditScan, look_for_edits
from registry_assets.registry.status.reading import read_status
from tests.conftest import lineage_of, run, write_tree
from tests.runs import own
from tests.test_sensor import set_settle_seconds


def configure(root: Path, *lines: str) -> None:
    path = root / "pyproject.toml"
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))


@pytest.fixture
def root(materialized_registry: Path) -> Path:
    """A registry with one collection that is registered and taken in; anything is settled."""
    set_settle_seconds(materialized_registry, 0)
    return materialized_registry


def looks(root: Path, before: dict[str, EditScan] | None = None) -> dict[str, EditScan]:
    found = look_for_edits(read_registry(root), before or {}, most_seconds=60)
    return dict(found)


def tick(root: Path, instance: DagsterInstance, cursor: str | None = None) -> SensorResult:
    definitions = build_definitions(root)
    context = build_sensor_context(
        instance=instance,
        cursor=cursor,
        definitions=definitions,
        sensor_name=own(root, EDIT_SENSOR_NAME),
    )
    result = definitions.resolve_sensor_def(own(root, EDIT_SENSOR_NAME))(context)
    assert isinstance(result, SensorResult)
    return result


def said(result: SensorResult) -> str:
    assert not result.run_requests
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def edit(root: Path, text: str = "another\n") -> None:
    """Replaces a file, as an editor does: the recorded one is shared with the cache."""
    place = root / "raw/01_a/one.txt"
    place.unlink()
    place.write_text(text)


def test_what_is_as_registered_is_compared_once_and_found_when_it_changes(root: Path) -> None:
    first = looks(root)
    assert first["01_a"].finding is None
    assert first["01_a"].is_settled
    # Linking what is there once more, as stages and `dvc checkout` do, is no change.
    os.link(root / "raw/01_a/one.txt", root / "linked")
    assert looks(root, first) == first
    write_tree(root, {"raw/01_a/deep/new.txt": "new\n"})
    grown = looks(root, first)
    assert grown["01_a"].is_edited
    assert "registry add 01_a" in str(grown["01_a"].finding)
    (root / "raw/01_a/deep/new.txt").unlink()
    assert looks(root, grown)["01_a"].finding is None
    edit(root)
    changed = looks(root, first)
    assert changed["01_a"].is_edited
    shutil.rmtree(root / "raw/01_a")
    gone = looks(root, changed)
    assert "raw/01_a is missing: `dvc checkout raw/01_a` restores it" in str(gone["01_a"].finding)
    assert not gone["01_a"].is_edited
    assert looks(root, gone) == gone


def test_what_is_still_changing_waits(root: Path) -> None:
    first = looks(root)
    set_settle_seconds(root, 3600)
    write_tree(root, {"raw/01_a/new.txt": "new\n"})
    waiting = looks(root, first)
    assert (waiting["01_a"].finding, waiting["01_a"].is_settled) == (None, False)
    assert looks(root, waiting) == waiting
    assert not looks(root)["01_a"].is_settled
    set_settle_seconds(root, 0)
    assert looks(root, waiting)["01_a"].is_edited


def test_by_default_an_edit_is_left_to_a_person(root: Path, its_history: DagsterInstance) -> None:
    quiet = tick(root, its_history)
    assert said(quiet) == "all collections are as they were registered"
    edit(root)
    assert "raw/01_a was modified: `registry add 01_a`" in said(
        tick(root, its_history, quiet.cursor)
    )


def test_a_collection_that_is_gone_is_told_everywhere(
    root: Path, its_history: DagsterInstance
) -> None:
    quiet = tick(root, its_history)
    shutil.rmtree(root / "raw/01_a")
    status = read_status(lineage_of(root))
    (item,) = [item for item in status.raw if item.collection == "01_a"]
    assert (item.state, status.up_to_date) == ("missing", False)
    assert "`dvc checkout raw/01_a` restores it" in str(item.reason)
    assert "`dvc remove raw/01_a.dvc` removes it" in str(item.reason)
    gone = tick(root, its_history, quiet.cursor)
    assert "raw/01_a is missing: `dvc checkout raw/01_a`" in said(gone)
    assert raw_check(its_history) == (False, "0 of 1 up to date; 1 missing")
    (root / "raw/01_a").symlink_to(root.parent)
    linked = tick(root, its_history, gone.cursor)
    assert "raw/01_a is missing: it is a symbolic link to" in said(linked)
    (root / "raw/01_a").unlink()
    run(root, "dvc", "checkout", "raw/01_a")
    back = tick(root, its_history, gone.cursor)
    assert said(back) == "all collections are as they were registered"
    assert raw_check(its_history) == (True, "1 of 1 up to date.")


def raw_check(instance: DagsterInstance) -> tuple[bool, str]:
    key = AssetCheckKey(AssetKey("raw"), MATCHES_DVC_LOCK)
    (record,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    assert record.evaluation is not None
    description = str(record.evaluation.description)
    return record.evaluation.passed, description.partition(":")[0]


def test_an_edit_is_registered_and_followed_where_that_is_set(
    root: Path, its_history: DagsterInstance
) -> None:
    configure(root, 'modified = "register"')
    quiet = tick(root, its_history)
    edit(root)
    write_tree(root, {"raw/01_a/new.txt": "new\n"})
    result = tick(root, its_history, quiet.cursor)
    (request,) = result.run_requests or ()
    assert request.partition_key == "01_a"
    # One state is one run, as Dagster remembers the key.
    (again,) = tick(root, its_history, result.cursor).run_requests or ()
    assert again.run_key == request.run_key
    job = build_definitions(root).resolve_job_def(own(root, TAKE_IN_JOB))
    assert request.asset_selection is not None
    chosen = job.get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set()
    )
    done = chosen.execute_in_process(instance=its_history, partition_key="01_a")
    assert done.success
    event = its_history.get_latest_materialization_event(AssetKey("raw"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    counts = {name: metadata[f"files/{name}"].value for name in ("added", "removed", "changed")}
    assert counts == {"added": 1, "removed": 0, "changed": 1}
    assert (root / "processed/texts/data/intermediate/upper/01_a/new.txt").exists()
    assert said(tick(root, its_history, result.cursor)) == (
        "all collections are as they were registered"
    )


def test_an_earlier_version_is_not_taken_for_the_next_one(
    root: Path, its_history: DagsterInstance
) -> None:
    configure(root, 'modified = "register"')
    metafile = root / "raw/01_a.dvc"
    first = metafile.read_bytes()
    edit(root)
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    # As after `git checkout` without `dvc checkout`.
    metafile.write_bytes(first)
    assert "`dvc checkout raw/01_a.dvc` restores the current version" in said(
        tick(root, its_history)
    )
    assert metafile.read_bytes() == first


def test_a_manual_data_set_does_not_follow(root: Path, its_history: DagsterInstance) -> None:
    configure(root, 'modified = "register"', 'take_in = { texts = "manual" }')
    edit(root)
    (request,) = tick(root, its_history).run_requests or ()
    assert request.asset_selection == [AssetKey("raw")]


# --- what materializing does with them --------------------------------------------------------

RAW_EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (lambda raw: (raw / "one.txt").unlink(), "1 file (+0 −1 ~0), 4 B (−4 B)"),
    "added": (lambda raw: write_tree(raw, {"a/b.txt": "12\n"}), "3 files (+1 −0 ~0), 11 B (+3 B)"),
    "changed": (lambda raw: edit(raw.parents[1]), "2 files (+0 −0 ~1), 12 B (+4 B)"),
    "renamed": (lambda raw: (raw / "one.txt").rename(raw / "1.txt"), "2 files (+1 −1 ~0), 8 B"),
    "emptied": (lambda raw: [file.unlink() for file in raw.iterdir()], "0 files (+0 −2 ~0)"),
}


@pytest.fixture
def two_files(root: Path) -> Path:
    write_tree(root, {"raw/01_a/two.txt": "two\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    return root


@pytest.mark.parametrize("kind", RAW_EDITS)
@pytest.mark.parametrize("force", [False, True])
def test_an_edit_is_shown_and_left_unless_it_is_named(
    two_files: Path, kind: str, force: bool
) -> None:
    make, said = RAW_EDITS[kind]
    make(two_files / "raw/01_a")
    lineage, dvc = lineage_of(two_files), DvcRepo(two_files)
    status = read_status(lineage)
    plan = plan_bringing(lineage, dvc, status, force=force)
    (line,) = [describe_edit(lineage, path, found) for path, found in plan.edited.items()]
    assert line.startswith(f"left raw/01_a: {said}")
    assert "`registry add 01_a`" in line
    assert ("raw",) not in {key for unit in plan.units for key in unit.keys}
    for named in ({"collections": ["01_a"]}, {"selected": {("raw",)}}):
        chosen = plan_bringing(lineage, dvc, status, **named)  # type: ignore[arg-type]
        assert not chosen.edited
        assert ("raw",) in {key for unit in chosen.units for key in unit.keys}
    configure(two_files, 'modified = "register"')
    registers = plan_bringing(lineage_of(two_files), dvc, status, force=force)
    assert not registers.edited


def test_what_lies_in_the_cache_no_more_is_no_edit(two_files: Path) -> None:
    shutil.rmtree(two_files / ".dvc/cache/files")
    lineage = lineage_of(two_files)
    assert not plan_bringing(lineage, DvcRepo(two_files), read_status(lineage)).edited


def test_what_is_recorded_is_told_with_what_changed(two_files: Path) -> None:
    metafile = two_files / "raw/01_a.dvc"
    before = metafile.read_text()
    (two_files / "raw/01_a/two.txt").unlink()
    done = CliRunner().invoke(main, ["--root", str(two_files), "materialize"])
    assert done.exit_code == 1
    assert "left raw/01_a: 1 file (+0 −1 ~0), 4 B (−4 B): `registry add 01_a`" in done.stdout
    assert "up to date" not in done.stdout
    assert metafile.read_text() == before
    done = CliRunner().invoke(main, ["--root", str(two_files), "add", "01_a"])
    assert done.exit_code == 0
    assert "recorded raw/01_a: 1 file (+0 −1 ~0), 4 B (−4 B)" in done.stdout
    assert metafile.read_text() != before
