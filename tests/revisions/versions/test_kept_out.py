"""What Git keeps out of the work tree is not deleted, and is not recorded a second time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_assets import build_lineage, read_registry
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import DvcError, RefusedError
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import find_kept_out
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.history.event_log import ABSENT, read_seen
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import sync
from registry_assets.revisions.changes.version_history import read_version_history
from registry_assets.revisions.publishing.planning import plan_publication
from registry_assets.revisions.publishing.publication import Nothing, Publication
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import RAW, materialize
from tests.revisions.versions.conftest import DATASET, draw, refused, registry, said
from tests.runs import own


def clone(root: Path, *options: str) -> Path:
    target = root.parent / "clone"
    origin = (root.parent / "origin.git").as_uri()
    run(root.parent / "origin.git", "git", "config", "uploadpack.allowFilter", "true")
    run(root.parent, "git", "clone", "--quiet", *options, origin, str(target))
    return target


def hide_raw(target: Path, flag: str) -> None:
    """Has Git not look at anything in `raw/`, and takes it away."""
    files = run(target, "git", "ls-files", "raw").split()
    run(target, "git", "update-index", flag, *files)
    for file in files:
        (target / file).unlink()
    (target / "raw").rmdir()


def cone(target: Path, *options: str) -> None:
    run(target, "git", "sparse-checkout", "set", *options, "processed", ".dvc")


def patterns(target: Path) -> None:
    run(target, "git", "sparse-checkout", "set", "--no-cone", "/*", "!/raw/")


WAYS: dict[str, tuple[tuple[str, ...], Callable[[Path], None]]] = {
    "cone": ((), cone),
    "sparse index": ((), lambda target: cone(target, "--sparse-index")),
    "blobless": (("--filter=blob:none", "--no-checkout"), cone),
    "patterns": ((), patterns),
    "skip-worktree": ((), lambda target: hide_raw(target, "--skip-worktree")),
    "assume-unchanged": ((), lambda target: hide_raw(target, "--assume-unchanged")),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_git_says_is_there_is_not_published_as_a_deletion(root: Path, way: str) -> None:
    options, hide = WAYS[way]
    target = clone(root, *options)
    if "--no-checkout" not in options:
        with open_history(target) as instance:
            sync(lineage_of(target), instance, print)
    hide(target)
    if "--no-checkout" in options:
        run(target, "git", "checkout", "--quiet")
    assert not (target / "raw").exists()
    assert run(target, "git", "status", "--porcelain") == ""

    lineage = lineage_of(target)
    plan = plan_publication(lineage)
    assert isinstance(plan, Nothing)
    assert plan.reason == "nothing to publish: origin/main has every metafile"
    assert said(target, "diff")[-1] == "no data differs"
    # Commits have it, so no object of it is free to go.
    version = read_registry(root).outputs["raw/01_a"].version
    assert version is not None
    history = read_version_history(lineage.registry)
    assert "HEAD" in history.keepers_of("raw/01_a", version.md5)
    with open_history(target) as instance:
        sync(lineage, instance, print)
        assert ABSENT not in {seen.version for seen in read_seen(lineage, instance).values()}
        assert "02_b" in instance.get_dynamic_partitions(own(target, "collections"))

    # What is new is published, and nothing is lost with it.
    write_tree(target, draw("raw/04_d", {"d": 140}))
    list(init_registry(target))
    if way == "sparse index":
        with pytest.raises(DvcError, match="git sparse-checkout reapply --no-sparse-index"):
            materialize(target, RAW, "04_d")
        run(target, "git", "sparse-checkout", "reapply", "--no-sparse-index")
    materialize(target, RAW, "04_d")
    plan = plan_publication(lineage_of(target))
    assert isinstance(plan, Publication)
    assert plan.title == "Add 04_d"
    assert {file.path for file in plan.files} == {"raw/.gitignore", "raw/04_d.dvc"}
    assert run(target, "git", "show", f"{plan.tree}:raw/.gitignore") == (
        "/01_a\n/03_c\n/02_b\n/04_d\n"
    )


def test_what_is_kept_out_is_named_and_nothing_is_written_over_it(
    root: Path, tmp_path: Path
) -> None:
    target = clone(root)
    cone(target)
    before = run(target, "git", "ls-files", "--stage")
    state = json.loads(registry(target, "status", "--json").stdout)
    assert (
        "outside the sparse checkout: raw/01_a.dvc, raw/02_b.dvc, raw/03_c.dvc" in state["notes"][0]
    )

    write_tree(tmp_path, draw("elsewhere/02_b", {"b": 1}))
    line = refused(target, "add", str(tmp_path / "elsewhere/02_b"))
    assert "raw/02_b.dvc is recorded, but Git keeps it out of this work tree" in line
    assert "`git sparse-checkout add raw`" in line
    assert not (target / "raw").exists()
    # A folder that `git sparse-checkout` left, as Git does not track what is in it.
    write_tree(target, draw("raw/02_b", {"b": 1}))
    (item,) = json.loads(registry(target, "status", "--json").stdout)["raw"]
    assert (item["state"], item["collection"]) == ("rejected", "02_b")
    assert "Git keeps it out" in item["reason"]
    with pytest.raises(RefusedError, match="Git keeps it out"):
        materialize(target, RAW, "02_b")
    dvc = DvcRepo(target)
    taking_in = dvc.importing(
        "raw/02_b", "processed/b", collections_file=None, new_files={}, report=print
    )
    with pytest.raises(RefusedError, match="Git keeps it out"), taking_in:
        pass
    with pytest.raises(RefusedError, match="Git keeps it out"):
        dvc.write_text("raw/01_a.dvc", "outs: []\n")
    assert run(target, "git", "status", "--porcelain") == ""
    assert run(target, "git", "ls-files", "--stage") == before

    run(target, "git", "sparse-checkout", "add", "raw")
    assert not json.loads(registry(target, "status", "--json").stdout)["notes"]
    assert read_registry(target).outputs.keys() == read_registry(root).outputs.keys()


def test_results_outside_the_cone_stay_when_a_stage_writes_beside_them(root: Path) -> None:
    target = clone(root)
    lock = f"{DATASET}/dvc.lock"
    run(target, "git", "update-index", "--skip-worktree", lock)
    (target / lock).unlink()
    plan = plan_publication(lineage_of(target))
    assert isinstance(plan, Nothing)
    done = registry(target, "materialize", "--collection", "03_c")
    assert done.exit_code == 1
    assert f"{lock} is recorded, but Git keeps it out" in done.output
    assert not (target / lock).exists()


def test_an_edit_that_git_was_told_not_to_see_is_not_published(root: Path) -> None:
    path = root / "raw/03_c.dvc"
    run(root, "git", "update-index", "--assume-unchanged", "raw/03_c.dvc")
    path.write_text(path.read_text() + "# mine\n")
    write_tree(root, draw("raw/04_d", {"d": 140}))
    materialize(root, RAW, "04_d")
    plan = plan_publication(lineage_of(root))
    assert isinstance(plan, Publication)
    assert "raw/03_c.dvc" not in {file.path for file in plan.files}
    done = registry(root, "publish", "--switch", "--branch", "four")
    assert done.exit_code == 0, done.output
    assert run(root, "git", "status", "--porcelain") == ""
    assert "raw/03_c.dvc" in find_kept_out(GitRepo(root)).files


def test_a_picture_outside_the_cone_is_not_said_to_be_forgotten(root: Path) -> None:
    picture = root.parent / "b.jpg"
    picture.write_text((root / "raw/02_b/b.jpg").read_text())
    run(root, "git", "sparse-checkout", "set", "processed", ".dvc")
    done = registry(root, "forget", str(picture), "--dry-run")
    assert "stays in  raw/02_b: it is recorded, but Git keeps it out" in done.output


def test_where_no_commit_was_ever_checked_out_nothing_is_deleted(root: Path) -> None:
    target = clone(root, "--no-checkout")
    assert "no commit is checked out into this work tree yet: run `git checkout`" in refused(
        target, "init", str(target)
    )
    run(target, "git", "--work-tree", ".", "archive", "--output", "all.tar", "HEAD")
    run(target, "tar", "-xf", "all.tar")
    assert "no commit is checked out into this work tree yet" in refused(target, "publish")


def test_a_collection_that_is_deleted_beside_a_sparse_checkout_is_told(root: Path) -> None:
    run(root, "git", "sparse-checkout", "set", "processed", ".dvc")
    run(root, "git", "rm", "--quiet", "--cached", "--sparse", "raw/02_b.dvc")
    commit_all(root, "Remove")
    run(root, "git", "push", "--quiet")
    (root / f"{DATASET}/data/inputs/03_c.dvc").unlink()
    plan = plan_publication(build_lineage(read_registry(root)))
    assert isinstance(plan, Publication)
    assert f"{DATASET}/data/inputs/03_c.dvc" in {file.path for file in plan.files}
    assert not {file.path for file in plan.files if file.path.startswith("raw/")}
