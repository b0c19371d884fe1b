"""Which commit recorded a version, from metafiles in a real Git history."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from registry_assets.git_repo import GitRepo
from registry_assets.revisions.changes.metafile_history import CommitFinder, find_recorded
from tests.conftest import commit_all, run, write_tree


def version(name: str) -> str:
    return f"{hashlib.md5(name.encode()).hexdigest()}.dir"


def dvc_file(path: str, content: str) -> dict[str, str]:
    md5, name = version(content), path.rpartition("/")[2]
    return {f"{path}.dvc": f"outs:\n- md5: {md5}\n  hash: md5\n  path: {name}\n"}


def entry(stage: str, read: str, made: str) -> str:
    """An entry of a ``dvc.lock``: contents that stand for versions."""
    return (
        f"  {stage}:\n    cmd: make {stage}\n    deps:\n    - path: data/in\n      hash: md5\n"
        f"      md5: {version(read)}\n    outs:\n    - path: data/{stage}\n      hash: md5\n"
        f"      md5: {version(made)}\n"
    )


def lock(*entries: str) -> dict[str, str]:
    return {"ds/dvc.lock": "schema: '2.0'\nstages:\n" + "".join(entries)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    run(tmp_path, "git", "init", "--quiet")
    return tmp_path


def commit(root: Path, files: dict[str, str], message: str = "Change") -> str:
    write_tree(root, files)
    return commit_all(root, message)


def found(root: Path, address: str, content: str) -> str | None:
    return CommitFinder(GitRepo(root)).find(address, version(content))


def test_a_later_reader_of_a_version_did_not_record_it(root: Path) -> None:
    made = commit(root, lock(entry("clean", "1", "2")))
    read = commit(root, lock(entry("clean", "1", "2"), entry("day", "2", "3")))
    commit(root, lock(entry("clean", "1", "2"), entry("day", "2", "3"), entry("z", "2", "4")))
    assert found(root, "ds/dvc.yaml:clean", "2") == made
    assert found(root, "ds/dvc.yaml:day", "3") == read


def test_an_equal_version_of_another_stage_is_another_record(root: Path) -> None:
    first = commit(root, lock(entry("clean", "1", "same")))
    second = commit(root, lock(entry("clean", "1", "same"), entry("day", "2", "same")))
    assert found(root, "ds/dvc.yaml:clean", "same") == first
    assert found(root, "ds/dvc.yaml:day", "same") == second


def test_the_commit_is_the_one_on_the_branch_not_the_merge(root: Path) -> None:
    commit(root, dvc_file("raw/a", "1"))
    run(root, "git", "checkout", "--quiet", "-b", "work")
    recorded = commit(root, dvc_file("raw/a", "2"))
    run(root, "git", "checkout", "--quiet", "main")
    commit(root, {"README": "x\n"})
    run(root, "git", "merge", "--quiet", "--no-edit", "work")
    assert found(root, "raw/a.dvc", "2") == recorded


def test_what_is_not_committed_has_no_commit(root: Path) -> None:
    assert found(root, "raw/a.dvc", "1") is None
    commit(root, dvc_file("raw/a", "1"))
    write_tree(root, dvc_file("raw/a", "2"))
    assert found(root, "raw/a.dvc", "2") is None
    commit(root, dvc_file("raw/a", "2"))
    assert found(root, "raw/a.dvc", "1") is None


def test_former_versions_are_found_on_every_branch_newest_first(root: Path) -> None:
    commit(root, dvc_file("raw/a b", "1"))
    first = commit(root, dvc_file("raw/a b", "2"))
    run(root, "git", "checkout", "--quiet", "-b", "work")
    second = commit(root, lock(entry("écart", "2", "1")))
    run(root, "git", "checkout", "--quiet", "main")
    told = list(find_recorded(GitRepo(root), [version("2"), version("1")]))
    assert {(item.output, item.md5) for item in told} == {
        ("raw/a b", version("2")),
        ("raw/a b", version("1")),
        ("ds/data/écart", version("1")),
    }
    commits = {(item.output, item.md5): item.commit for item in told}
    assert commits["raw/a b", version("2")] == first
    assert commits["ds/data/écart", version("1")] == second


def test_many_former_versions_are_found_at_once(root: Path) -> None:
    commits = [commit(root, dvc_file("raw/a", str(number))) for number in range(30)]
    asked = [version(str(number)) for number in range(30)]
    told = {item.md5: item.commit for item in find_recorded(GitRepo(root), asked)}
    assert told == dict(zip(asked, commits, strict=True))
    assert list(find_recorded(GitRepo(root), [])) == []


def test_a_committed_conflict_is_passed_over(root: Path) -> None:
    good = commit(root, dvc_file("raw/a", "1"))
    text = (root / "raw/a.dvc").read_text()
    commit(root, {"raw/a.dvc": f"<<<<<<< ours\n{text}=======\n{text}>>>>>>> theirs\n"})
    commit(root, dvc_file("raw/a", "2"))
    told = list(find_recorded(GitRepo(root), [version("1")]))
    assert [(item.output, item.commit) for item in told] == [("raw/a", good)]


def test_a_lock_file_of_dvc_1_is_read(root: Path) -> None:
    old = "".join(lock(entry("clean", "1", "2")).values()).partition("stages:\n")[2]
    text = "".join(line.removeprefix("  ") for line in old.splitlines(keepends=True))
    first = commit(root, {"ds/dvc.lock": text})
    commit(root, lock(entry("clean", "1", "3")))
    (recorded,) = find_recorded(GitRepo(root), [version("2")])
    assert (recorded.output, recorded.commit) == ("ds/data/clean", first)
