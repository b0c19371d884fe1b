"""What the cache holds is told by version; what nothing needs is freed, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.processes import name_of_mine
from registry_assets.errors import RepositoryBusyError
from registry_assets.retention.disk_use import free, read_disk_use
from registry_assets.revisions.changes.version_history import read_version_history
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import is_clean
from tests.retention.conftest import DATASET, call, call_as_anybody, registry, without_permissions
from tests.retention.test_purging import cached

TWO = hashlib.md5(b"two\n").hexdigest()


def gc(root: Path, *options: str) -> dict[str, Any]:
    done = call(root, "gc", "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def change(root: Path, text: str) -> str:
    """A next version of a collection, processed; returns its text of the metafile."""
    (root / "raw/01_a/two.txt").unlink()
    write_tree(root, {"raw/01_a/two.txt": text})
    registry(root, "materialize", "--collection", "01_a")
    return (root / "raw/01_a.dvc").read_text()


def versions(found: dict[str, Any], path: str) -> dict[str, list[dict[str, Any]]]:
    (output,) = (o for o in found["outputs"] if o["path"] == path)
    states: dict[str, list[dict[str, Any]]] = {}
    for version in output["versions"]:
        states.setdefault(version["state"], []).append(version)
    return states


def test_every_object_is_counted_once_by_collection_and_version(pushed: Path) -> None:
    run(pushed, "git", "tag", "v1")
    first = run(pushed, "git", "log", "-1", "--format=%H", "--", "raw/01_a.dvc").strip()
    change(pushed, "a second text\n")
    commit_all(pushed)
    change(pushed, "a third text, which is longer\n")
    commit_all(pushed)
    found = gc(pushed)
    of_raw = versions(found, "raw/01_a")
    assert sorted(of_raw) == ["current", "kept", "old"]
    assert (of_raw["kept"][0]["commit"], of_raw["kept"][0]["kept_by"]) == (first, ["tag v1"])
    # one.txt, two.txt and the listing; older versions add the last two.
    assert of_raw["current"][0]["objects"] == of_raw["kept"][0]["objects"] == 3
    assert of_raw["old"][0]["freed"] == of_raw["old"][0]["own"] > len("a second text\n")
    assert of_raw["kept"][0]["freed"] == 0
    objects = (pushed / ".dvc/cache/files/md5").glob("??/*")
    assert found["size"] == sum(place.stat().st_size for place in objects)
    assert found["size"] == sum(v["own"] for o in found["outputs"] for v in o["versions"])
    assert found["needed"] + found["unneeded"]["size"] == found["size"]
    done = call(pushed, "gc")
    assert done.returncode == 0
    assert "raw/01_a  (2 older versions)" in done.stdout
    assert "`registry gc --yes` frees it" in done.stdout


def test_what_no_branch_or_tag_needs_is_freed_as_dvc_would(pushed: Path, tmp_path: Path) -> None:
    run(pushed, "git", "tag", "v1")
    change(pushed, "second\n")
    commit_all(pushed)
    change(pushed, "third\n")
    commit_all(pushed)
    twin = tmp_path / "twin"
    run(tmp_path, "cp", "-a", str(pushed), str(twin))
    before = cached(pushed)
    found = gc(pushed, "--yes")
    assert found["removed"] == found["unneeded"]["objects"] == len(before - cached(pushed)) > 0
    run(twin, "dvc", "gc", "--workspace", "--all-branches", "--all-tags", "--force")
    assert cached(pushed) == cached(twin)
    assert is_clean(pushed)
    run(pushed, "git", "checkout", "--quiet", "v1")
    run(pushed, "dvc", "checkout")
    assert (pushed / "raw/01_a/two.txt").read_text() == "two\n"
    run(pushed, "git", "checkout", "--quiet", "main")
    assert gc(pushed)["unneeded"]["objects"] == 0


def test_what_killed_commands_did_not_finish_is_freed(pushed: Path) -> None:
    by_dvc = pushed / ".dvc/cache/files/md5/00/.buTy3mDsT0TdxGQOOwuBdA.tmp"
    write_tree(by_dvc.parent, {by_dvc.name: "half a picture"})
    by_us = pushed / f".dvc/cache/runs/00/{name_of_mine()}.tmp"
    write_tree(by_us.parent, {by_us.name: "half an entry"})
    assert gc(pushed)["unfinished"] == {"objects": 2, "size": 27}
    assert "in 2 files that killed commands did not" in call(pushed, "gc").stdout
    assert by_dvc.exists()
    assert gc(pushed, "--yes")["removed"] == 0
    assert not by_dvc.exists()
    assert not by_us.exists()
    assert is_clean(pushed)


def test_nothing_is_freed_unless_it_is_asked_for(pushed: Path) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    before = cached(pushed)
    assert gc(pushed)["unneeded"]["objects"] > 0
    assert call(pushed, "gc").returncode == 0
    assert cached(pushed) == before


def test_what_a_stash_the_index_or_the_work_tree_has_is_needed(pushed: Path) -> None:
    change(pushed, "stashed\n")
    run(pushed, "git", "stash", "--quiet")
    run(pushed, "dvc", "checkout")
    change(pushed, "staged\n")
    run(pushed, "git", "add", "--all")
    change(pushed, "not even staged\n")
    before = cached(pushed)
    assert gc(pushed, "--yes")["unneeded"] == {"objects": 0, "size": 0}
    assert cached(pushed) == before


def test_a_new_version_without_a_commit_survives(pushed: Path) -> None:
    write_tree(pushed, {"raw/03_c/new.txt": "new\n"})
    run(pushed, "dvc", "add", "raw/03_c")
    shutil.rmtree(pushed / "raw/03_c")
    gc(pushed, "--yes")
    run(pushed, "dvc", "checkout")
    assert (pushed / "raw/03_c/new.txt").read_text() == "new\n"


def test_what_a_work_tree_is_linked_to_stays(pushed: Path) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    twice = pushed / ".dvc/cache/files/md5" / TWO[:2] / TWO[2:]
    os.link(twice, pushed.parent / "of_another_clone.txt")
    found = gc(pushed, "--yes")
    assert found["linked"] == 1
    assert twice.exists()


@pytest.mark.parametrize("where", ["work tree", "branch"])
def test_what_a_broken_metafile_needs_is_not_known(pushed: Path, where: str) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    if where == "branch":
        run(pushed, "git", "switch", "--quiet", "--create", "broken")
    write_tree(pushed, {"raw/02_b.dvc": "<<<<<<< ours\nouts:\n"})
    if where == "branch":
        commit_all(pushed)
        run(pushed, "git", "switch", "--quiet", "main")
    before = cached(pushed)
    done = call(pushed, "gc", "--yes")
    assert done.returncode == 1
    assert "raw/02_b.dvc" in done.stderr
    assert "nothing was freed" in done.stderr
    assert cached(pushed) == before


def test_a_folder_without_collections_that_cannot_be_read_can_be_ignored(pushed: Path) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    before = cached(pushed)
    (pushed / "notes").mkdir()
    with without_permissions(pushed / "notes"):
        done = call_as_anybody(pushed, "gc", "--yes")
        assert (done.returncode, cached(pushed)) == (1, before)
        assert "notes/: the metafiles in it are not known" in done.stderr
        assert "or add it to .dvcignore if there are none" in done.stderr
        with (pushed / ".dvcignore").open("a") as file:
            file.write("/notes\n")
        assert call_as_anybody(pushed, "gc", "--yes").returncode == 0
    assert cached(pushed) < before


def test_it_waits_for_a_run_that_is_at_work(pushed: Path) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    before = cached(pushed)
    lineage = lineage_of(pushed)
    use = read_disk_use(lineage, DvcRepo(pushed))
    place = str(pushed / DATASET / "data/outputs/lines/01_a")
    with subprocess.Popen(["sleep", "60"]) as holder:
        lock = {"write": {place: {"pid": holder.pid, "cmd": "dvc repro"}}}
        (pushed / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
        with pytest.raises(RepositoryBusyError, match="dvc repro"):
            free(lineage, DvcRepo(pushed, wait_seconds=0), use, print)
        holder.kill()
    assert cached(pushed) == before
    assert len(free(lineage, DvcRepo(pushed), use, print)) > 0


def test_what_is_needed_by_now_does_not_count_as_removed(pushed: Path) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    lineage = lineage_of(pushed)
    use = read_disk_use(lineage, DvcRepo(pushed))
    assert use.freed > 0
    run(pushed, "git", "tag", "before", "HEAD~")
    before = cached(pushed)
    assert list(free(lineage, DvcRepo(pushed), use, print)) == []
    assert cached(pushed) == before


def test_a_listing_that_is_nowhere_stops_it(pushed: Path) -> None:
    change(pushed, "second\n")
    commit_all(pushed)
    for place in (pushed / ".dvc").rglob("*.dir"):
        place.unlink()
    done = call(pushed, "gc", "--yes")
    assert done.returncode == 1
    assert "dvc fetch" in done.stderr


def test_listings_that_only_the_remote_has_are_asked_for(pushed: Path) -> None:
    run(pushed, "git", "tag", "v1")
    change(pushed, "second\n")
    commit_all(pushed)
    registry(pushed, "push")
    for place in (pushed / ".dvc/cache").rglob("*.dir"):
        place.unlink()
    before = {name for name in cached(pushed) if not name.endswith(".dir")}
    gc(pushed, "--yes")
    assert {name for name in cached(pushed) if not name.endswith(".dir")} == before


def test_history_knows_long_paths_odd_names_and_merges(pushed: Path) -> None:
    run(pushed, "git", "switch", "--quiet", "--create", "side")
    name = "a_collection_with_a_name_that_is_so_long_that_a_line_of_yaml_is_folded_before_it"
    odd = "raw/it's: odd #1"
    write_tree(pushed, {f"raw/{name}/x.txt": "x\n", f"{odd}/y.txt": "y\n"})
    run(pushed, "dvc", "add", f"raw/{name}", odd)
    commit_all(pushed)
    run(pushed, "git", "switch", "--quiet", "main")
    run(pushed, "dvc", "checkout")
    write_tree(pushed, {"raw/04_d/x.txt": "xx\n"})
    registry(pushed, "add", "04_d")
    commit_all(pushed)
    run(pushed, "git", "merge", "--quiet", "--no-edit", "-X", "ours", "side")
    history = read_version_history(lineage_of(pushed).registry)
    assert history.unread == {}
    known = {path for path, _ in history.versions}
    assert {f"raw/{name}", odd, "raw/04_d"} <= known
    used = DvcRepo(pushed)
    with used.open() as repo:
        of_dvc = {
            info.value
            for infos in repo.used_objs(all_branches=True, all_tags=True).values()
            for info in infos
        }
    assert {md5 for md5 in of_dvc if md5.endswith(".dir")} <= history.needed_objects()
