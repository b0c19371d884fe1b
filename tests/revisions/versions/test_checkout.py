"""The work tree brought to another commit with its data; nothing that is saved nowhere is lost."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from registry_assets import read_registry
from registry_assets.dvc_repo import DvcRepo
from registry_assets.registry.status.arrivals import find_arrivals
from registry_assets.revisions.versions.checking_out import check_out
from tests.conftest import commit_all, run, write_tree
from tests.persisting.helpers import contents, copy_repository, die, is_clean, leftovers, metafiles
from tests.revisions.versions.conftest import (
    DATASET,
    OUTPUTS,
    bring_up_to_date,
    refused,
    registry,
    said,
)


def data(root: Path) -> dict[str, dict[str, str]]:
    """All data in the workspace."""
    return {folder: contents(root / folder) for folder in ("raw", f"{DATASET}/data")}


def test_data_follows_to_a_tag_and_back_and_dagster_knows(root: Path) -> None:
    before = data(root)
    write_tree(root, {"raw/99_new/own.txt": "mine\n"})
    lines = said(root, "checkout", "first")
    assert "as a detached HEAD: `registry checkout main` goes back" in lines[0]
    assert is_clean(root)
    assert not (root / "raw/02_b").exists()
    assert "moon.jpg" in contents(root / "raw/01_a")
    assert "01_a/dusk.jpg" in contents(root / OUTPUTS / "day")
    assert registry(root, "lineage", "--check").exit_code == 0
    assert said(root, "checkout", "-")[0] == "checked out the branch main"
    assert registry(root, "lineage", "--check").exit_code == 0
    assert is_clean(root)
    assert (root / "raw/99_new/own.txt").read_text() == "mine\n"
    shutil.rmtree(root / "raw/99_new")
    assert data(root) == before
    assert run(root, "git", "status", "--porcelain") == ""
    assert leftovers(root) == []


def test_what_is_saved_nowhere_is_named_and_nothing_changes(root: Path) -> None:
    run(root, "dvc", "unprotect", "raw/02_b")
    edited = root / "raw/02_b/mine.jpg"
    edited.write_text("77\n")
    assert "would lose raw/02_b (not in the cache): `registry add 02_b`" in refused(
        root, "checkout", "first"
    )
    assert edited.read_text() == "77\n"
    edited.unlink()

    (root / ".dvcignore").write_text("*.tmp\n")
    ignored = root / "raw/02_b/notes.tmp"
    ignored.write_text("mine\n")
    assert "raw/02_b/notes.tmp (DVC ignores it)" in refused(root, "checkout", "first")
    assert ignored.exists()
    ignored.unlink()

    (root / DATASET / "params.yaml").write_text("dark: 31\nbright: 130\n")
    assert f"would lose {DATASET}/params.yaml (not committed)" in refused(root, "checkout", "first")
    assert "no commit, branch or tag nope" in refused(root, "checkout", "nope")
    assert run(root, "git", "branch", "--show-current").strip() == "main"
    assert (root / DATASET / "params.yaml").read_text() == "dark: 31\nbright: 130\n"
    run(root, "git", "checkout", "--quiet", ".")
    run(root, "git", "merge", "--quiet", "--no-commit", "--no-ff", "--strategy=ours", "first")
    write_tree(root, {".git/MERGE_HEAD": run(root, "git", "rev-parse", "first")})
    assert "a merge or rebase is in progress" in refused(root, "checkout", "first")


def test_what_an_earlier_checkout_of_git_left_goes_as_with_dvc(root: Path) -> None:
    # Here DVC knows what it linked.
    for folder in ("raw/02_b", f"{DATASET}/data"):
        shutil.rmtree(root / folder)
    run(root, "git", "checkout", "--quiet", ".")
    said(root, "checkout", "main")
    write_tree(root, {"raw/99_new/own.txt": "mine\n"})
    run(root, "git", "checkout", "--quiet", "first")
    assert (root / "raw/02_b").is_dir()
    # Edited since, it is data like any other.
    run(root, "dvc", "unprotect", "raw/02_b")
    (root / "raw/02_b/mine.jpg").write_text("7\n")
    lines = said(root, "checkout", "first")
    assert "4 removed, which it does not have" in lines[1]
    assert sorted(path.name for path in (root / "raw").iterdir() if path.is_dir()) == [
        *("01_a", "02_b", "03_c", "99_new")
    ]
    assert not list((root / DATASET).rglob("02_b*"))
    assert is_clean(root)
    shutil.rmtree(root / "raw/02_b")
    said(root, "checkout", "main")
    assert is_clean(root)

    # What no commit records, or the cache lacks, stays.
    write_tree(root, {"raw/04_d/four.jpg": "140\n"})
    bring_up_to_date(root, ["04_d"])
    run(root, "git", "clean", "--force", "--quiet", "raw")
    run(root, "git", "checkout", "--quiet", "--", ".")
    said(root, "checkout", "main")
    assert (root / "raw/04_d/four.jpg").read_text() == "140\n"
    run(root, "git", "checkout", "--quiet", "first")
    version = run(root, "git", "show", "main:raw/02_b.dvc").split("md5: ")[1].split()[0]
    listing = DvcRepo(root).listings().place_of(version)
    assert listing is not None
    kept = listing.rename(root.parent / "kept")
    line = refused(root, "checkout", "first")
    assert "would lose" in line
    # All of them, as no terminal reads it.
    assert line.count("(not in the cache)") == 4
    assert "raw/02_b (not in the cache): move it elsewhere" in line
    assert (root / "raw/02_b/b.jpg").exists()
    kept.rename(listing)
    said(root, "checkout", "first")
    assert not (root / "raw/02_b").exists()
    assert leftovers(root) == []


def test_what_a_sparse_checkout_left_stays(root: Path) -> None:
    run(root, "git", "sparse-checkout", "set", "processed", ".dvc")
    before = contents(root / "raw/02_b")
    said(root, "checkout", "first")
    said(root, "checkout", "main")
    assert contents(root / "raw/02_b") == before


def test_an_edit_of_what_both_commits_have_is_carried_along(root: Path) -> None:
    run(root, "dvc", "unprotect", "raw/03_c")
    write_tree(root, {"raw/03_c/mine.jpg": "5\n", "notes.txt": "mine\n"})
    assert "edited   raw/03_c  (left as it is)" in said(root, "checkout", "first")
    assert (root / "raw/03_c/mine.jpg").read_text() == "5\n"
    assert (root / "notes.txt").read_text() == "mine\n"


def test_what_only_the_arrangement_of_files_tells_is_not_lost_either(root: Path) -> None:
    run(root, "dvc", "unprotect", "raw/03_c", "raw/01_a")
    (root / "raw/01_a/new.jpg").rename(root / "raw/01_a/newest.jpg")
    assert "would lose raw/01_a (not in the cache)" in refused(root, "checkout", "first")
    (root / "raw/01_a/newest.jpg").rename(root / "raw/01_a/new.jpg")
    # The remote may lack it, too, so a listing must not go with what it lists.
    version = read_registry(root).outputs["raw/02_b"].version
    assert version is not None
    listing = DvcRepo(root).listings().place_of(version.md5)
    assert listing is not None
    listing.unlink()
    assert "would lose raw/02_b (not in the cache)" in refused(root, "checkout", "first")
    run(root, "dvc", "commit", "--quiet", "--force", "raw/02_b.dvc")
    (root / "raw/03_c/same.jpg").rename(root / "raw/03_c/other.jpg")
    assert "edited   raw/03_c  (left as it is)" in said(root, "checkout", "first")
    assert list(contents(root / "raw/03_c")) == ["other.jpg"]


def test_metafiles_that_are_not_committed_and_the_same_there_do_not_stand_in_the_way(
    root: Path,
) -> None:
    write_tree(root, {"raw/04_d/four.jpg": "140\n"})
    bring_up_to_date(root, ["04_d"])
    done = registry(root, "publish", "--branch", "four")
    assert done.exit_code == 0, done.output
    assert said(root, "checkout", "four")[0] == "checked out the branch four"
    assert run(root, "git", "status", "--porcelain") == ""
    assert is_clean(root)


def hold(root: Path, held: multiprocessing.synchronize.Event, let: object) -> None:
    """Works on an output, as a run does, until it is let go."""
    dvc = DvcRepo(root)
    place = str(root / OUTPUTS / "day/03_c")
    with dvc.open() as repo, dvc.holding(repo, read=[], write=[place], report=print):
        held.set()
        let.wait(60)  # type: ignore[attr-defined]


def test_while_a_run_is_at_work_nothing_moves_and_it_is_named(root: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, let = context.Event(), context.Event()
    process = context.Process(target=hold, args=(root, held, let))
    process.start()
    assert held.wait(60)
    line = refused(root, "checkout", "first")
    let.set()
    process.join()
    assert "a run is using data that would change" in line
    assert f"PID {process.pid}" in line
    assert run(root, "git", "branch", "--show-current").strip() == "main"


def test_data_is_pulled_and_what_is_nowhere_is_named_until_it_is_there(
    root: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(root.parent / "origin.git"), str(clone))
    new = DvcRepo(root).read_listing(read_registry(root).outputs["raw/01_a"].version.md5)  # type: ignore[union-attr]
    assert new is not None
    lost = root.parent / "storage/files/md5" / new["new.jpg"][:2] / new["new.jpg"][2:]
    lost.rename(tmp_path / "kept")

    done = registry(clone, "checkout", "main")
    assert done.exit_code == 1
    missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert {line.split()[1] for line in missing} == {
        *("raw/01_a", f"{DATASET}/data/inputs/01_a", f"{DATASET}/data/intermediate/keep/01_a"),
        f"{OUTPUTS}/day/01_a",
    }
    assert all("new.jpg" in line for line in missing)
    # Half a collection would pass for an edited one.
    assert not (clone / "raw/01_a").exists()
    assert contents(clone / "raw/02_b") == contents(root / "raw/02_b")
    assert contents(clone / OUTPUTS / "night") == contents(root / OUTPUTS / "night")

    (tmp_path / "kept").rename(lost)
    said(clone, "checkout", "main")
    assert is_clean(clone)
    assert data(clone) == data(root)


def test_the_hook_of_dvc_does_not_check_out_a_second_time(root: Path) -> None:
    run(root, "dvc", "install")
    hook = root / ".git/hooks/post-checkout"
    # What stands there is DVC's; what follows tells that it ended well, and quickly.
    hook.write_text(hook.read_text().replace("exec ", "") + "echo $? >> hook_ended\n")
    write_tree(root, {".git/info/exclude": "/hook_ended\n"})
    said(root, "checkout", "first")
    assert (root / "hook_ended").read_text() == "0\n"
    assert is_clean(root)


def test_where_git_itself_refuses_data_is_back_where_it_was(tmp_path: Path) -> None:
    root = tmp_path / "top/registry"
    write_tree(tmp_path, {"top/README": "one\n", "top/registry/raw/.gitignore": ""})
    run(tmp_path / "top", "git", "init", "--quiet")
    run(root, "dvc", "init", "--quiet", "--subdir")
    commit_all(tmp_path / "top", "One")
    run(root, "git", "tag", "one")
    write_tree(tmp_path, {"top/README": "two\n", "top/registry/raw/01_a/a.jpg": "1\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    commit_all(tmp_path / "top", "Two")
    # Outside the registry it is Git's to say.
    write_tree(tmp_path, {"top/README": "mine\n"})
    line = refused(root, "checkout", "one")
    assert "would be overwritten by checkout" in line
    assert "README" in line
    assert contents(root / "raw/01_a") == {"a.jpg": "1\n"}
    assert leftovers(root) == []
    run(root, "git", "checkout", "--quiet", "../README")
    said(root, "checkout", "one")
    assert not (root / "raw/01_a").exists()


MATRIX = """\
stages:
  train:
    matrix:
      rate: [1, 2]
    cmd: cat data/* > model-${item.rate}.bin && echo 1 > metrics-${item.rate}.yaml
    deps:
      - data
    outs:
      - model-${item.rate}.bin
    metrics:
      - metrics-${item.rate}.yaml:
          cache: false
"""


def test_any_repository_of_dvc_is_compared_and_brought_back(bare: Path) -> None:
    write_tree(bare, {"data/a.png": "1\n", "dvc.yaml": MATRIX})
    run(bare, "dvc", "add", "--quiet", "data")
    run(bare, "dvc", "repro", "--quiet")
    commit_all(bare, "One")
    run(bare, "git", "tag", "one")
    write_tree(bare, {"dvc.yaml": MATRIX.replace("[1, 2]", "[2, 3]")})
    run(bare, "dvc", "repro", "--quiet")
    commit_all(bare, "Two")
    # What DVC left in dvc.lock of the item that is gone is still recorded.
    assert said(bare, "diff", "one", "main")[1:] == [
        "metrics-*.yaml  files +1 -0",
        "model-*.bin     files +1 -0",
    ]
    said(bare, "checkout", "one")
    assert is_clean(bare)
    assert sorted(path.name for path in bare.glob("m*")) == [
        *("metrics-1.yaml", "metrics-2.yaml", "model-1.bin", "model-2.bin")
    ]
    assert "a pipeline at the root" in refused(bare, "tag", ".")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", "[tool"),
        ("pyproject.toml", "\udcff"),
        (f"{DATASET}/collections.yaml", "collections: [\n"),
        (".dvcignore", f"{'*a' * 24}\n"),
        (".dvc/config", "[core\n"),
        (".dvc/config", "[core]\n    nonsense = 1\n"),
        ("raw/.dvcignore", f"{'*a' * 24}\n"),
    ],
)
def test_a_commit_that_cannot_be_read_can_be_left(root: Path, path: str, text: str) -> None:
    before = data(root)
    run(root, "git", "checkout", "--quiet", "-b", "broken")
    (root / path).write_text(text, encoding="utf-8", errors="surrogateescape")
    commit_all(root, "Break it")
    assert said(root, "checkout", "main")[0] == "checked out the branch main"
    assert run(root, "git", "status", "--porcelain") == ""
    assert data(root) == before


def test_a_commit_that_cannot_be_read_stays_as_it_is_where_the_checkout_is_refused(
    root: Path,
) -> None:
    run(root, "git", "checkout", "--quiet", "-b", "broken")
    (root / "pyproject.toml").write_text("[tool")
    commit_all(root, "Break it")
    run(root, "dvc", "unprotect", "raw/02_b")
    (root / "raw/02_b/mine.jpg").write_text("77\n")
    assert "would lose raw/02_b" in refused(root, "checkout", "first")
    assert (root / "pyproject.toml").read_text() == "[tool"
    (root / "raw/02_b/mine.jpg").unlink()
    (root / "pyproject.toml").write_text("[tool]]")
    assert "pyproject.toml: " in refused(root, "checkout", "main")
    assert (root / "pyproject.toml").read_text() == "[tool]]"


def test_killed_at_any_moment_the_same_again_goes_on(root: Path, tmp_path: Path) -> None:
    def go(there: Path) -> None:
        check_out(there, "first", lambda _line: None)

    never_killed = copy_repository(root, tmp_path / "never_killed")
    commit_all(never_killed)
    count = die(copy_repository(root, tmp_path / "counted"), lambda: go(tmp_path / "counted"), at=0)
    assert count > 30
    go(never_killed)
    wanted = data(never_killed), metafiles(never_killed)
    # While things are set aside, and while the rest is brought; `make faults` has all the others.
    for at in (1, 5, 9, 13, *range(16, count + 1, count // 3)):
        there = copy_repository(root, tmp_path / str(at))
        die(there, lambda there=there: go(there), at=at)  # type: ignore[misc]
        # What the sensors take in and record by themselves: they must see no folder that is only on
        # its way, and no half of one.
        assert [arrival.name for arrival in find_arrivals(there / "raw")] == [], at
        assert contents(there / "raw/02_b") in ({}, contents(root / "raw/02_b")), at
        go(there)
        assert (data(there), metafiles(there)) == wanted, at
        assert leftovers(there) == [], at
        assert run(there, "git", "status", "--porcelain") in ("", " M .dvc/config\n"), at
        shutil.rmtree(there)
    assert is_clean(never_killed)


def test_a_lock_of_git_that_a_kill_left_is_named_with_the_next_step(root: Path) -> None:
    lock = root / ".git/index.lock"
    lock.touch()
    done = registry(root, "checkout", "HEAD~1")
    assert done.exit_code == 1
    step = f"if none runs any more, remove {lock}, then run this again"
    assert step in done.stderr
    # It may be that of a living one.
    assert lock.exists()
    lock.unlink()
    assert registry(root, "checkout", "HEAD~1").exit_code == 0
