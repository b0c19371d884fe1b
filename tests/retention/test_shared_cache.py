"""In a cache of several clones, nothing is freed that any of them needs."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.clones import FOLDER, locked, read_clones, register
from registry_assets.errors import RepositoryBusyError
from registry_assets.intake.cloning import clone_repository, fit_clone
from registry_assets.retention.disk_use import free, read_disk_use
from registry_assets.revisions.changes.snapshots import Snapshots
from registry_assets.units import format_size
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import at_once, is_clean
from tests.retention.conftest import call, call_as_anybody, registry, without_permissions
from tests.retention.test_disk_use import change, gc


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "nas/cache"


@pytest.fixture
def first(pushed: Path, cache: Path) -> Path:
    """A registry whose cache is on a disk that others have, too."""
    cache.parent.mkdir()
    shutil.move(pushed / ".dvc/cache", cache)
    run(pushed, "dvc", "cache", "dir", str(cache))
    commit_all(pushed, "Share the cache")
    return pushed


@pytest.fixture
def second(first: Path, tmp_path: Path) -> Path:
    """A clone of it on a disk of its own, which uses the same cache."""
    (tmp_path / "disk").mkdir()
    root = clone_repository(str(first), tmp_path / "disk/second", quiet)
    # All that `registry clone` does but for the history, which takes longest.
    list(fit_clone(root))
    DvcRepo(root).restore_all(quiet)
    return root


def quiet(_line: str) -> None:
    pass


def objects(cache: Path) -> set[str]:
    return {place.parent.name + place.name for place in cache.glob("files/md5/??/*")}


def entries(cache: Path) -> dict[str, Path]:
    """The files of the register, by the clones that they are of."""
    return {
        json.loads(place.read_text())["path"]: place for place in (cache / FOLDER).glob("*.json")
    }


def inode(root: Path) -> int:
    return (root / ".dvc").stat().st_ino


def rewrite(place: Path, **values: object) -> None:
    place.write_text(json.dumps({**json.loads(place.read_text()), **values}))


def is_whole(root: Path) -> bool:
    """Whether all that the metafiles name can be brought back from the cache alone."""
    shutil.rmtree(root / "raw/01_a")
    shutil.rmtree(root / "processed/texts/data/intermediate/upper/01_a")
    run(root, "dvc", "checkout")
    return is_clean(root)


def make_unneeded(root: Path) -> None:
    """Commits two next versions, of which the first is needed by nothing any more."""
    for text in ("next\n", "and the next\n"):
        change(root, text)
        commit_all(root)


def refused(root: Path, cache: Path) -> str:
    """What is said when nothing may be freed; makes sure that nothing is."""
    before = objects(cache)
    done = call(root, "gc", "--yes")
    assert done.returncode == 1
    assert objects(cache) == before
    return done.stderr


def test_what_any_clone_needs_stays_and_the_rest_goes(
    first: Path, second: Path, cache: Path
) -> None:
    change(second, "not committed\n")
    make_unneeded(first)
    found = gc(first)
    assert found["clones"] == [str(second)]
    assert found["unneeded"]["objects"] > 0
    before = objects(cache)
    assert gc(first, "--yes")["removed"] == len(before - objects(cache)) > 0
    assert is_whole(first)
    assert is_whole(second)
    assert (second / "raw/01_a/two.txt").read_text() == "not committed\n"
    # What a tag of the other one names stays; without it, it goes.
    commit_all(second)
    run(second, "git", "tag", "v1")
    change(second, "another\n")
    commit_all(second)
    run(second, "git", "switch", "--quiet", "--detach", "HEAD~")
    run(second, "dvc", "checkout")
    run(second, "git", "switch", "--quiet", "-")
    run(second, "dvc", "checkout")
    assert gc(first)["unneeded"]["objects"] == 0
    run(second, "git", "tag", "--delete", "v1")
    assert gc(first, "--yes")["removed"] > 0
    assert is_whole(second)


def test_what_the_work_tree_of_another_clone_links_to_stays(first: Path, second: Path) -> None:
    run(second, "dvc", "config", "--local", "cache.type", "symlink")
    change(second, "before\n")
    commit_all(second)
    run(second, "dvc", "checkout", "--relink")
    assert (second / "raw/01_a/two.txt").is_symlink()
    run(second, "git", "revert", "--no-edit", "HEAD")
    assert "kept, as a link leads there" in call(first, "gc").stdout
    assert gc(first, "--yes")["linked"] > 0
    assert (second / "raw/01_a/two.txt").read_text() == "before\n"


def test_what_only_another_clone_needs_is_called_so(first: Path, second: Path) -> None:
    change(second, "of the second\n")
    commit_all(second)
    found, shown = gc(first), call(first, "gc").stdout
    assert found["others"] > len("of the second\n")
    assert found["others"] <= found["needed"]
    assert f"{format_size(found['others'])}              needed by other clones alone" in shown
    assert "recorded by no commit" not in shown


def test_the_other_clone_sees_the_same(first: Path, second: Path, cache: Path) -> None:
    change(first, "next\n")
    found = gc(second)
    assert found["clones"] == [str(first)]
    assert gc(second, "--yes")["unneeded"]["objects"] == 0
    assert is_whole(first)
    assert set(entries(cache)) == {str(first), str(second)}


def test_several_registries_may_share_a_cache(first: Path, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run(tmp_path, "registry", "init", str(other))
    run(other, "dvc", "cache", "dir", str(cache))
    write_tree(other, {"raw/09_x/x.txt": "of another registry\n"})
    registry(other, "add", "09_x")
    assert gc(first, "--yes")["clones"] == [str(other)]
    shutil.rmtree(other / "raw/09_x")
    run(other, "dvc", "checkout")
    assert (other / "raw/09_x/x.txt").read_text() == "of another registry\n"


def test_it_is_said_that_plain_clones_are_not_known(first: Path) -> None:
    make_unneeded(first)
    done = call(first, "gc", "--yes")
    assert done.returncode == 0
    assert "in which no `registry` command ever ran, is not known" in done.stderr


def test_a_clone_that_was_moved_is_not_taken_for_deleted(
    first: Path, second: Path, cache: Path
) -> None:
    write_tree(second, {"raw/09_z/alone.txt": "nowhere else\n"})
    registry(second, "add", "09_z")
    (second.parent / "sub").mkdir()
    moved = second.rename(second.parent / "sub/second")
    before = objects(cache)
    shown, done = call(first, "gc", "--raw"), call(first, "gc", "--yes", "--raw")
    for said in (shown.stdout, done.stderr):
        assert f"the clone {second} of" in said
        assert "is missing: if it was moved, run `registry init .` in it" in said
        assert f"if it is gone for good, delete {entries(cache)[str(second)]}" in said
    assert "frees it" not in shown.stdout
    assert "nothing is freed until it is known what is needed" in shown.stdout
    assert (done.returncode, objects(cache)) == (1, before)
    run(moved, "registry", "init", ".")
    assert set(entries(cache)) == {str(first), str(moved)}
    assert gc(first, "--yes", "--raw")["clones"] == [str(moved)]
    shutil.rmtree(moved / "raw/09_z")
    run(moved, "dvc", "checkout", "raw/09_z.dvc")
    assert (moved / "raw/09_z/alone.txt").read_text() == "nowhere else\n"


def test_only_people_take_a_deleted_clone_out_of_the_register(
    first: Path, second: Path, cache: Path
) -> None:
    make_unneeded(first)
    shutil.rmtree(second)
    assert "is missing: if it was moved" in refused(first, cache)
    entry = entries(cache)[str(second)]
    # Neither does another clone in its place.
    run(second.parent, "registry", "clone", str(first), "second")
    if entry.exists() and json.loads(entry.read_text())["folder"] != inode(second):
        assert str(entry) in refused(first, cache)
        entry.unlink()
    assert gc(first, "--yes")["removed"] > 0
    assert set(entries(cache)) == {str(first), str(second)}


def test_another_clone_in_the_place_of_a_moved_one_does_not_hide_it(
    first: Path, second: Path, cache: Path
) -> None:
    make_unneeded(first)
    entry = entries(cache)[str(second)]
    (second.parent / "sub").mkdir()
    moved = second.rename(second.parent / "sub/second")
    run(second.parent, "registry", "clone", str(first), "second")
    error = refused(first, cache)
    assert "is missing, and something else is in its place" in error
    assert f"delete {entry}" in error
    run(moved, "registry", "init", ".")
    assert gc(first, "--yes")["clones"] == sorted([str(second), str(moved)])


def test_a_clone_on_a_disk_with_other_numbers_is_the_same(
    first: Path, second: Path, cache: Path
) -> None:
    rewrite(entries(cache)[str(second)], folder=1)
    assert gc(first)["clones"] == [str(second)]
    assert gc(first)["unknown_clones"] == []
    entry = entries(cache)[str(second)]
    registry(second, "status")
    assert entries(cache)[str(second)] == entry
    assert json.loads(entry.read_text())["folder"] == inode(second)


def test_a_renamed_clone_is_found(first: Path, second: Path, cache: Path) -> None:
    change(second, "of the second\n")
    renamed = second.rename(second.with_name("renamed"))
    assert gc(first, "--yes")["clones"] == [str(renamed)]
    assert is_whole(renamed)
    moved = renamed.rename(renamed.parent.with_name("moved"))
    registry(moved, "materialize")
    assert gc(first)["clones"] == [str(moved)]
    assert set(entries(cache)) == {str(first), str(moved)}


def unmount(second: Path) -> None:
    second.parent.rename(second.parent.with_name("elsewhere"))


def unmount_from_a_folder(second: Path) -> None:
    unmount(second)
    second.parent.mkdir()


def leave_an_empty_folder(second: Path) -> None:
    second.rename(second.with_name("elsewhere"))
    second.mkdir()


def mount_point_is_gone(second: Path) -> None:
    cache = second.parent.parent / "nas/cache"
    rewrite(entries(cache)[str(second)], is_mounted=True)
    second.rename(second.parent.parent / "elsewhere")


def break_a_metafile(second: Path) -> None:
    write_tree(second, {"raw/02_b.dvc": "<<<<<<< ours\nouts:\n"})


def break_the_settings(second: Path) -> None:
    write_tree(second, {".dvc/config.local": "[nonsense\n"})


def another_machine(second: Path) -> None:
    cache = second.parent.parent / "nas/cache"
    rewrite(entries(cache)[str(second)], machine="another", folder=1)


def another_machine_without_it(second: Path) -> None:
    another_machine(second)
    shutil.rmtree(second)


def a_run_on_another_machine(second: Path) -> None:
    cache = second.parent.parent / "nas/cache"
    rewrite(entries(cache)[str(second)], machine="another")
    lock = {"write": {}, "read": {str(second / "raw"): [{"pid": 999_999, "cmd": "dvc repro"}]}}
    (second / ".dvc/tmp/rwlock").write_text(json.dumps(lock))


def break_the_entry(second: Path) -> None:
    cache = second.parent.parent / "nas/cache"
    entries(cache)[str(second)].write_text("{")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (unmount, "cannot be read (No such file or directory): mount its disk"),
        (unmount_from_a_folder, "is missing, and its disk is not mounted: mount it"),
        (leave_an_empty_folder, "something else is in its place: mount its disk"),
        (mount_point_is_gone, "is missing, and its disk is not mounted: mount it"),
        (break_a_metafile, "raw/02_b.dvc"),
        (break_the_settings, "DVC's configuration cannot be used"),
        (another_machine, "is on another machine"),
        (another_machine_without_it, "is on another machine"),
        (a_run_on_another_machine, "a command on another machine may be running in"),
        (break_the_entry, "cannot be read: restore it, or delete it if no other clone uses"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_a_clone_needs_that_is_not_known_is_not_freed(
    first: Path, second: Path, cache: Path, what: Any, said: str
) -> None:
    make_unneeded(first)
    entry = entries(cache)[str(second)]
    what(second)
    error = refused(first, cache)
    assert said in error
    assert str(second) in error or str(entry) in error
    if what not in (break_a_metafile, break_the_settings, a_run_on_another_machine):
        # The next step, where it is gone for good.
        assert f"delete {entry}" in error or "delete it" in error
        assert gc(first)["unknown_clones"] != []
        entry.unlink()
        assert gc(first, "--yes")["removed"] > 0


@pytest.mark.parametrize("of_whom", ["another clone", "its own", "its work tree"])
def test_a_folder_that_cannot_be_read_may_need_anything(
    first: Path, second: Path, cache: Path, tmp_path: Path, of_whom: str
) -> None:
    root = {"another clone": second, "its own": first}.get(of_whom, tmp_path / "tree")
    if of_whom == "its work tree":
        run(first, "git", "worktree", "add", "--quiet", "--detach", str(root))
    write_tree(root, {"raw/09_z/alone.txt": "nowhere else\n"})
    run(root, "dvc", "add", "raw/09_z")
    before = objects(cache)
    with without_permissions(root / "raw"):
        shown = call_as_anybody(first, "gc", "--raw")
        done = call_as_anybody(first, "gc", "--yes", "--raw")
    assert objects(cache) == before
    assert done.returncode == 1
    assert "nothing was freed" in done.stderr
    assert str(root) in done.stderr or of_whom == "its own"
    assert "raw/" in done.stderr
    # What is ignored is not looked into, and what it needs would be freed.
    assert ".dvcignore" not in done.stderr
    assert "ermission denied" in done.stderr
    assert "ermission denied" in shown.stdout + shown.stderr
    assert gc(first, "--yes", "--raw")["originals"]["files"] == []
    shutil.rmtree(root / "raw/09_z")
    run(root, "dvc", "checkout", "raw/09_z.dvc")
    assert (root / "raw/09_z/alone.txt").read_text() == "nowhere else\n"


def test_links_that_cannot_be_read_may_need_anything(
    first: Path, second: Path, cache: Path
) -> None:
    run(second, "dvc", "config", "--local", "cache.type", "symlink")
    make_unneeded(first)
    before = objects(cache)
    with without_permissions(second / "raw/01_a"):
        done = call_as_anybody(first, "gc", "--yes")
    assert done.returncode == 1
    assert f"{second}/raw/01_a cannot be read" in done.stderr
    assert objects(cache) == before


def test_a_clone_that_another_machine_wrote_down_counts_where_it_can_be_read(
    first: Path, second: Path, cache: Path
) -> None:
    change(second, "of the second\n")
    rewrite(entries(cache)[str(second)], machine="another")
    assert gc(first, "--yes")["clones"] == [str(second)]
    assert is_whole(second)


def test_a_copy_is_a_clone_of_its_own(first: Path, cache: Path, tmp_path: Path) -> None:
    registry(first, "status")
    run(tmp_path, "cp", "-a", str(first), str(tmp_path / "copy"))
    change(tmp_path / "copy", "of the copy\n")
    assert set(entries(cache)) == {str(first), str(tmp_path / "copy")}
    gc(first, "--yes")
    assert is_whole(tmp_path / "copy")


def test_clones_of_a_moment_are_not_written_down(first: Path, cache: Path) -> None:
    registry(first, "status")
    commit = run(first, "git", "rev-parse", "HEAD").strip()
    with ExitStack() as stack:
        assert Snapshots(stack).read_here(first, commit).nodes
    assert set(entries(cache)) == {str(first)}


def test_a_clone_that_uses_the_cache_of_another_keeps_what_that_needs(
    pushed: Path, tmp_path: Path
) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(pushed), "second")
    second = tmp_path / "second"
    run(second, "dvc", "cache", "dir", "--local", str(pushed / ".dvc/cache"))
    registry(second, "materialize")
    change(pushed, "of the first\n")
    change(second, "of the second\n")
    assert gc(second, "--yes")["clones"] == [str(pushed)]
    assert gc(pushed, "--yes")["clones"] == [str(second)]
    assert is_whole(pushed)
    assert is_whole(second)


def test_the_register_is_nothing_to_dvc(first: Path, second: Path, cache: Path) -> None:
    change(first, "next\n")
    run(first, "dvc", "gc", "--workspace", "--force", "--projects", str(second))
    assert set(entries(cache)) == {str(first), str(second)}
    assert is_whole(second)


def test_the_group_may_write_the_register(first: Path, cache: Path) -> None:
    run(first, "dvc", "config", "cache.shared", "group")
    registry(first, "status")
    make_unneeded(first)
    gc(first, "--yes")
    for place in (cache / FOLDER, *(cache / FOLDER).iterdir()):
        assert place.stat().st_mode & stat.S_IWGRP, place


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_who_may_not_write_beside_the_cache_is_told(first: Path, cache: Path) -> None:
    cache.chmod(0o555)
    assert "cannot be noted beside the cache" in call(first, "init", str(first)).stdout
    cache.chmod(0o755)


def test_it_waits_for_a_run_in_another_clone(first: Path, second: Path, cache: Path) -> None:
    make_unneeded(first)
    before = objects(cache)
    lineage = lineage_of(first)
    use = read_disk_use(lineage, DvcRepo(first))
    with subprocess.Popen(["sleep", "60"]) as holder:
        lock = {"write": {str(second / "raw/01_a"): {"pid": holder.pid, "cmd": "dvc repro"}}}
        (second / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
        with pytest.raises(RepositoryBusyError, match="dvc repro"):
            free(lineage, DvcRepo(first, wait_seconds=0), use, print)
        holder.kill()
    assert objects(cache) == before
    assert len(free(lineage, DvcRepo(first), use, print)) > 0


# What `dvc add` does: it locks the repository, and the path only when it has looked around.
SLOW_DVC = """
import sys, time
from dvc.repo import Repo, lock_repo
from dvc.rwlock import rwlock
repo = Repo()
with lock_repo(repo):
    print("begun", flush=True)
    time.sleep(1)
    with rwlock(repo.tmp_dir, repo.fs, "dvc add", [], [repo.root_dir + "/raw/07_x"], False):
        print("done", flush=True)
"""


@pytest.mark.parametrize("command", ["gc --yes", "checkout HEAD"])
def test_it_waits_for_a_command_of_dvc_that_has_begun(
    first: Path, second: Path, command: str
) -> None:
    registry(second, "status")
    make_unneeded(first)
    where = first if command == "gc --yes" else second
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_DVC], cwd=second, stdout=subprocess.PIPE, text=True
    ) as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "begun\n"
        run(where, "registry", *command.split())
        assert slow.stdout.read() == "done\n"
    assert slow.returncode == 0


def test_a_clone_that_begins_meanwhile_waits(first: Path, cache: Path) -> None:
    registry(first, "status")
    (cache / FOLDER).joinpath(entries(cache)[str(first)].name).unlink()
    began = threading.Thread(target=register, args=(cache, first))
    with locked(cache):
        began.start()
        time.sleep(0.5)
        assert entries(cache) == {}
    began.join()
    assert set(entries(cache)) == {str(first)}
    assert read_clones(cache, first).readable == ()


@pytest.mark.parametrize("how", ["registry", "dvc"])
def test_what_is_added_while_another_clone_frees_is_kept(
    first: Path, second: Path, cache: Path, how: str
) -> None:
    change(first, "there once\n")
    commit_all(first)
    make_unneeded(first)
    run(second, "git", "pull", "--quiet")
    run(second, "dvc", "checkout")
    # The object is in the cache, and nothing needs it until the metafile is written.
    write_tree(second, {"raw/07_x/again.txt": "there once\n"})
    command = ["registry", "add", "07_x"] if how == "registry" else ["dvc", "add", "raw/07_x"]
    for delay in (0.0, 0.3, 0.6):
        shutil.rmtree(second / ".dvc/cache", ignore_errors=True)

        def add(delay: float = delay) -> None:
            time.sleep(delay)
            run(second, *command)

        at_once(lambda: gc(first, "--yes"), add)
        shutil.rmtree(second / "raw/07_x")
        run(second, "dvc", "checkout")
        assert (second / "raw/07_x/again.txt").read_text() == "there once\n"
        (second / "raw/07_x.dvc").unlink()
