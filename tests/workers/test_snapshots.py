"""Code and metafiles as they are in the work tree, sent to another machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from registry_assets.errors import RefusedError, RegistryError
from registry_assets.git_repo import GitRepo, Snapshot, take_snapshot, unpack_snapshot
from tests.conftest import commit_all, run, write_tree

FILES = {
    ".gitignore": "*.secret\n/cache/\n",
    "code.py": "print(1)\n",
    "raw/.gitignore": "/01_a\n",
    "raw/01_a.dvc": "outs: []\n",
    "raw/notes.txt": "by hand\n",
    "ds/dvc.yaml": "stages: {}\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvc/config": "",
}


def in_raw(path: str) -> bool:
    return path.startswith("raw/")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A committed repository with code, metafiles and a family."""
    root = tmp_path / "repository"
    write_tree(root, FILES)
    run(root, "git", "init", "--quiet")
    commit_all(root)
    return root


def take(
    root: Path,
    *declared: str,
    is_data: Callable[[str], bool] = in_raw,
) -> Snapshot:
    return take_snapshot(GitRepo(root), declared=declared, is_data=is_data)


def unpacked(snapshot: Snapshot, tree: Path) -> Mapping[str, str]:
    """The files of a snapshot, unpacked into a folder, by path."""
    unpack_snapshot(tree, snapshot.commit, snapshot.pack)
    return files_in(tree)


def files_in(tree: Path) -> Mapping[str, str]:
    return {
        place.relative_to(tree).as_posix(): place.read_text()
        for place in tree.rglob("*")
        if place.is_file() and ".git" not in place.relative_to(tree).parts[:1]
    }


def state_of(root: Path) -> Collection[tuple[str, str]]:
    """Everything in ``.git``, by path."""
    return sorted(
        (str(place), hashlib.md5(place.read_bytes()).hexdigest())
        for place in (root / ".git").rglob("*")
        if place.is_file()
    )


def test_it_has_the_tracked_files_but_of_families_their_metafiles_only(
    repository: Path, tmp_path: Path
) -> None:
    wanted = {path: text for path, text in FILES.items() if path != "raw/notes.txt"}
    assert unpacked(take(repository), tmp_path / "tree") == wanted


def test_edits_and_new_metafiles_are_in_it_and_other_new_files_are_not(
    repository: Path, tmp_path: Path
) -> None:
    write_tree(
        repository,
        {
            "code.py": "print(2)\n",
            "staged.py": "",
            "new.py": "",
            "new/dvc.yaml": "stages: {new: {}}\n",
            "new/.gitignore": "/out\n",
            "raw/02_b.dvc": "outs: []\n",
            "raw/02_b/one.jpg": "raw",
            "cache/lost.dvc": "",
        },
    )
    run(repository, "git", "add", "staged.py")
    (repository / "ds" / "dvc.yaml").unlink()
    found = unpacked(take(repository), tmp_path / "tree")
    assert found["code.py"] == "print(2)\n"
    assert {"staged.py", "new/dvc.yaml", "new/.gitignore", "raw/02_b.dvc"} <= found.keys()
    assert found.keys().isdisjoint({"ds/dvc.yaml", "new.py", "raw/02_b/one.jpg", "cache/lost.dvc"})


def test_what_is_declared_is_in_it_even_if_git_ignores_it(repository: Path, tmp_path: Path) -> None:
    write_tree(
        repository,
        {
            "key.secret": "1",
            "cache/deep/table.csv": "2",
            "cache/other.csv": "3",
            "new.py": "4",
            "raw/01_a/one.jpg": "raw",
        },
    )
    (repository / "link.py").symlink_to("new.py")
    snapshot = take(
        repository, "key.secret", "cache/deep", "link.py", "raw/01_a", "gone", "../else"
    )
    found = unpacked(snapshot, tmp_path / "tree")
    new = {"key.secret", "cache/deep/table.csv", "new.py", "link.py"}
    assert found.keys() - FILES.keys() == new
    assert (tmp_path / "tree" / "link.py").is_symlink()


def test_the_repository_stays_as_it_was(repository: Path, tmp_path: Path) -> None:
    write_tree(repository, {"code.py": "print(2)\n", "staged.py": "", "new/dvc.yaml": ""})
    run(repository, "git", "add", "staged.py")
    hook = repository / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    hook.chmod(0o755)
    before = state_of(repository)
    take(repository, "new")
    assert state_of(repository) == before
    assert not (tmp_path / "called").exists()


def test_equal_work_trees_have_equal_commits(repository: Path, tmp_path: Path) -> None:
    first = take(repository)
    assert take(repository).commit == first.commit
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(repository), str(clone))
    assert take(clone).commit == first.commit
    write_tree(repository, {"code.py": "print(3)\n"})
    assert take(repository).commit != first.commit


def test_settings_of_a_clone_stay_in_it_even_if_git_tracks_them(
    repository: Path, tmp_path: Path
) -> None:
    write_tree(repository, {".dvc/config.local": "password", "sub/.dvc/tmp/lock": "1"})
    run(repository, "git", "add", "--force", ".dvc/config.local", "sub/.dvc/tmp/lock")
    found = unpacked(take(repository, ".dvc/config.local"), tmp_path / "tree")
    assert found.keys().isdisjoint({".dvc/config.local", "sub/.dvc/tmp/lock"})
    assert ".dvc/config" in found


def test_files_out_of_a_sparse_checkout_come_from_the_index(
    repository: Path, tmp_path: Path
) -> None:
    whole = take(repository)
    run(repository, "git", "sparse-checkout", "set", "--cone", "raw")
    assert not (repository / "ds").exists()
    assert take(repository).commit == whole.commit


def test_an_edit_counts_even_if_git_was_told_not_to_look(repository: Path, tmp_path: Path) -> None:
    run(repository, "git", "update-index", "--skip-worktree", "code.py")
    run(repository, "git", "update-index", "--assume-unchanged", "ds/dvc.yaml")
    write_tree(repository, {"code.py": "print(2)\n", "ds/dvc.yaml": "stages: {a: {}}\n"})
    found = unpacked(take(repository), tmp_path / "tree")
    assert found["code.py"] == "print(2)\n"
    assert found["ds/dvc.yaml"] == "stages: {a: {}}\n"


def test_a_registry_in_a_subfolder(repository: Path, tmp_path: Path) -> None:
    write_tree(repository, {"ds/raw/01_a.dvc": "", "ds/raw/01_a/one.jpg": "raw", "lib.secret": "1"})
    run(repository, "git", "add", "ds")
    snapshot = take(repository / "ds", "../lib.secret")
    found = unpacked(snapshot, tmp_path / "tree")
    assert snapshot.prefix == "ds/"
    # `raw/` at the top is none of its families.
    wanted = {*FILES, "ds/raw/01_a.dvc", "lib.secret"}
    assert found.keys() == wanted


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    root = tmp_path / "new"
    write_tree(root, FILES)
    run(root, "git", "init", "--quiet")
    found = unpacked(take(root, "code.py"), tmp_path / "tree")
    assert found.keys() == FILES.keys() - {"raw/notes.txt"}


def test_unmerged_files_are_in_it_as_they_are(repository: Path, tmp_path: Path) -> None:
    run(repository, "git", "checkout", "--quiet", "-b", "other")
    write_tree(repository, {"code.py": "print('other')\n"})
    commit_all(repository)
    run(repository, "git", "checkout", "--quiet", "main")
    write_tree(repository, {"code.py": "print('main')\n"})
    commit_all(repository)
    with pytest.raises(AssertionError):
        run(repository, "git", "merge", "other")
    text = (repository / "code.py").read_text()
    assert "<<<<<<<" in text
    assert unpacked(take(repository), tmp_path / "tree")["code.py"] == text


def test_without_a_git_repository_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="git init"):
        take(tmp_path)


def test_a_tree_that_is_used_again_has_nothing_of_the_stage_before(
    repository: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    first = take(repository)
    wanted = unpacked(first, tree)
    write_tree(tree, {"code.py": "broken", "out/one": "", "ds/__pycache__/x": "", "a.secret": ""})
    (tree / "ds" / "dvc.yaml").unlink()
    (tree / "raw" / ".gitignore").rename(tree / "raw" / "other")
    write_tree(tree, {".dvc/tmp/lock": "kept", ".dvc/config.local": "kept"})
    (tree / "out").chmod(0o500)
    kept = {".dvc/tmp/lock": "kept", ".dvc/config.local": "kept"}
    unpack_snapshot(tree, first.commit, None)
    assert files_in(tree) == {**wanted, **kept}
    write_tree(repository, {"code.py": "print(2)\n"})
    second = take(repository)
    unpack_snapshot(tree, second.commit, second.pack)
    assert files_in(tree) == {**wanted, **kept, "code.py": "print(2)\n"}
    unpack_snapshot(tree, first.commit, None)
    assert files_in(tree) == {**wanted, **kept}


def test_what_did_not_change_is_not_checked_out_again(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    first = take(repository)
    unpack_snapshot(tree, first.commit, first.pack)
    before = (tree / "ds" / "dvc.yaml").stat().st_ino
    write_tree(repository, {"code.py": "print(2)\n"})
    second = take(repository)
    unpack_snapshot(tree, second.commit, second.pack)
    assert (tree / "ds" / "dvc.yaml").stat().st_ino == before


def test_a_snapshot_that_was_not_sent_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="not sent along"):
        unpack_snapshot(tmp_path / "tree", take(repository).commit, None)
