"""Links into a cache that is not there are recorded data that is elsewhere, never an edit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import LinksLeadNowhereError, RefusedError
from registry_assets.intake.setting_aside import SET_ASIDE_FOLDER
from registry_assets.registry.status.edits import EditScan, look_for_edits
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import is_clean
from tests.retention.conftest import call

A = "raw/01_a"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """What the cache lies on; renamed while it is not mounted."""
    return tmp_path / "disk"


@pytest.fixture
def linked(materialized_registry: Path, disk: Path) -> Path:
    """A registry whose data is symbolic links into a cache on a disk of its own."""
    root = materialized_registry
    disk.mkdir()
    shutil.move(root / ".dvc/cache", disk / "cache")
    run(root, "dvc", "cache", "dir", str(disk / "cache"))
    run(root, "dvc", "config", "cache.type", "symlink")
    run(root, "dvc", "checkout", "--relink")
    assert (root / A / "one.txt").is_symlink()
    commit_all(root, "Keep the cache on a disk of its own")
    return root


def unmount(disk: Path) -> Path:
    return disk.rename(disk.with_name("not mounted"))


def lose_objects(disk: Path) -> Path:
    """Has the cache lack the objects, though it is there."""
    kept = disk / "objects"
    shutil.move(disk / "cache/files", kept)
    return kept


def metafiles(root: Path) -> dict[Path, str]:
    return {
        place: place.read_text()
        for pattern in ("raw/*.dvc", "processed/**/*.dvc", "processed/**/dvc.lock")
        for place in root.glob(pattern)
    }


def refuse(root: Path, *command: str) -> str:
    """Runs a command that has to leave everything as it is; returns what it says."""
    before = metafiles(root)
    links = {place: place.readlink() for place in (root / A).iterdir()}
    done = call(root, *command)
    assert done.returncode == 1, done.stdout
    assert metafiles(root) == before
    assert {place: place.readlink() for place in (root / A).iterdir()} == links
    assert not (root / "raw" / SET_ASIDE_FOLDER).exists()
    return done.stdout + done.stderr


COMMANDS: Sequence[tuple[str, ...]] = (
    ("add", "01_a"),
    ("materialize",),
    ("import", "01_a", "--into", "texts"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_recorded_nor_made_where_a_disk_is_not_mounted(
    linked: Path, disk: Path, command: tuple[str, ...]
) -> None:
    elsewhere = unmount(disk)
    assert f"there is no folder {disk / 'cache'}" in refuse(linked, *command)
    assert not disk.exists()
    said = call(linked, "status").stdout
    assert f"there is no folder {disk / 'cache'}" in said
    assert "dvc pull" not in said
    assert "registry add" not in said.partition("\n")[0]
    assert not disk.exists()
    elsewhere.rename(disk)
    assert call(linked, "status").stdout.startswith("2 of 2") or is_clean(linked)
    call(linked, *command)
    assert is_clean(linked)


def test_what_the_cache_lacks_is_not_recorded_as_removed(linked: Path, disk: Path) -> None:
    objects = lose_objects(disk)
    said = refuse(linked, "add", "01_a")
    assert f"{A} is not here in full" in said
    assert f"`dvc pull {A}`" in said
    assert f"`dvc pull {A}`" in refuse(linked, "materialize")
    shutil.copytree(objects, disk / "cache/files", dirs_exist_ok=True)
    assert is_clean(linked)


def test_what_is_pulled_is_whole_again(linked: Path, disk: Path) -> None:
    run(linked, "dvc", "push")
    shutil.rmtree(disk / "cache/files")
    refuse(linked, "add", "01_a")
    run(linked, "dvc", "pull", A)
    assert (linked / A / "one.txt").read_text() == "one\n"
    assert call(linked, "add", "01_a").returncode == 0


def test_an_edit_beside_what_is_not_there_waits_too(linked: Path, disk: Path) -> None:
    lose_objects(disk)
    (linked / A / "more.txt").symlink_to("one.txt")
    assert f"{A} is not here in full" in refuse(linked, "add", "01_a")


def test_the_sensor_says_it_and_asks_for_no_run(linked: Path, disk: Path) -> None:
    objects = lose_objects(disk)
    settings = replace(lineage_of(linked).registry.settings, settle_seconds=0.0)
    registry = replace(lineage_of(linked).registry, settings=settings)
    scans: dict[str, EditScan] = {}
    for _ in range(2):
        scans = dict(look_for_edits(registry, scans, most_seconds=60))
    assert not scans["01_a"].is_edited
    assert f"`dvc pull {A}`" in str(scans["01_a"].finding)
    shutil.copytree(objects, disk / "cache/files", dirs_exist_ok=True)
    scans = dict(look_for_edits(registry, scans, most_seconds=60))
    assert scans["01_a"].finding is None


def test_a_new_folder_of_such_links_is_not_stored(linked: Path, disk: Path) -> None:
    shutil.copytree(linked / A, linked / "raw/03_c", symlinks=True)
    lose_objects(disk)
    said = refuse(linked, "add", "03_c")
    assert "mount the disk that the cache is on, or take such links away" in said
    assert not (linked / "raw/03_c.dvc").exists()


def test_the_library_refuses_as_the_commands_do(linked: Path, disk: Path) -> None:
    lose_objects(disk)
    dvc = DvcRepo(linked)
    with pytest.raises(LinksLeadNowhereError), dvc.tracking(A, report=print):
        pass
    shutil.rmtree(disk)
    with pytest.raises(RefusedError, match="there is no folder"), dvc.tracking(A, report=print):
        pass
    assert not disk.exists()


def test_another_link_that_leads_nowhere_is_set_aside(text_registry: Path) -> None:
    write_tree(text_registry, {"raw/03_c/one.txt": "one\n"})
    (text_registry / "raw/03_c/two.txt").symlink_to("nowhere/two.txt")
    assert call(text_registry, "add", "03_c").returncode == 0
    assert (text_registry / "raw" / SET_ASIDE_FOLDER / "03_c/two.txt").is_symlink()
