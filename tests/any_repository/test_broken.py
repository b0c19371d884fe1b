"""What is broken is one line with file and line, and everything else still loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dvc.repo import Repo

from registry_assets import build_definitions, read_registry
from tests.any_repository.looking import registry, write_repository
from tests.conftest import commit_all, run, write_tree

GOOD = {"good/dvc.yaml": "stages:\n  make:\n    cmd: echo good > out\n    outs: [out]\n"}


def stage(name: str, *, deps: str = "", outs: str = "") -> str:
    return f"  {name}:\n    cmd: echo\n    deps: [{deps}]\n    outs: [{outs}]\n"


BROKEN = {
    "syntax": ("stages:\n  a:\n    cmd: [\n", "4: did not find expected node content"),
    "schema": (
        "stages:\n  a:\n    cmd: echo\n    outs: out.txt\n",
        "4: expected a list: stages.a.outs",
    ),
    "a merge conflict": (
        "stages:\n<<<<<<< HEAD\n" + stage("a") + "=======\n" + stage("b") + ">>>>>>> other\n",
        "2: a merge conflict: choose one side, then commit",
    ),
    "the same output twice": (
        "stages:\n" + stage("one", outs="same") + stage("two", outs="same"),
        "2: stage one makes {0}same, and stage two ({0}dvc.yaml:6) makes {0}same",
    ),
    "an output of a file of its own": (
        "stages:\n" + stage("one", outs="raw"),
        "2: stage one makes {0}raw, and {0}raw.dvc makes {0}raw",
    ),
    "an output inside another": (
        "stages:\n" + stage("inner", outs="out/a") + stage("outer", outs="out"),
        "6: stage outer makes {0}out, and stage inner ({0}dvc.yaml:2) makes {0}out/a",
    ),
    "a circle": (
        "stages:\n" + stage("one", deps="b", outs="a") + stage("two", deps="a", outs="b"),
        "2: stage one and stage two ({0}dvc.yaml:6) wait for one another",
    ),
    "a stage that reads itself": (
        "stages:\n" + stage("own", deps="a/x", outs="a"),
        "2: stage own reads what it makes itself",
    ),
}


def check_that_the_rest_works(root: Path, problems: list[str]) -> None:
    shown = registry(root, "lineage")
    said = sorted(f"registry: left out: {problem}" for problem in problems)
    assert (shown.exit_code, sorted(shown.stderr.splitlines())) == (0, said)
    assert "good/out" in shown.stdout
    assert "good/out" in {"/".join(k.path) for k in keys(root)}
    status = registry(root, "status", "--json")
    assert status.exit_code == 1
    assert sorted(json.loads(status.stdout)["problems"]) == sorted(problems)
    assert "good/out" in {o["path"] for o in json.loads(status.stdout)["outputs"]}
    assert registry(root, "materialize").exit_code == 1
    assert (root / "good/out").read_text() == "good\n"
    check = registry(root, "lineage", "--check")
    assert check.exit_code == 1
    assert all(any(problem in line for line in check.stdout.splitlines()) for problem in problems)


@pytest.mark.parametrize("name", ["syntax", "a circle"])
def test_a_broken_pipeline_at_the_root_is_one_line_and_the_rest_is_shown_and_made(
    name: str, tmp_path: Path
) -> None:
    text, problem = BROKEN[name]
    root = write_repository(tmp_path / "root", GOOD)
    (root / "dvc.yaml").write_text(text)
    check_that_the_rest_works(root, [f"dvc.yaml:{problem.format('')}"])


def test_each_broken_pipeline_is_one_line_and_the_rest_is_shown_and_made(tmp_path: Path) -> None:
    own = "an output of a file of its own/raw"
    root = write_repository(tmp_path / "root", {**GOOD, own: "raw\n"}, added=[own])
    write_tree(root, {f"{name}/dvc.yaml": text for name, (text, _) in BROKEN.items()})
    check_that_the_rest_works(
        root,
        [f"{name}/dvc.yaml:{problem.format(f'{name}/')}" for name, (_, problem) in BROKEN.items()],
    )
    assert (root / own).read_text() == "raw\n"


def keys(root: Path) -> set[object]:
    return set(build_definitions(root).resolve_asset_graph().get_all_asset_keys())


def test_a_stage_that_cannot_be_resolved_leaves_the_others_of_its_file(tmp_path: Path) -> None:
    pipeline = (
        "stages:\n  fine:\n    cmd: echo > fine\n    outs: [fine]\n"
        "  wrong:\n    cmd: echo ${nope} > wrong\n    outs: [wrong]\n"
        "  each:\n    foreach: ${missing}\n    do:\n      cmd: echo\n"
        "  some:\n    foreach: {a: {x: 1}, b: {}}\n    do:\n"
        "      cmd: mkdir -p some && echo ${item.x} > some/${key}\n      outs: ['some/${key}']\n"
    )
    root = write_repository(tmp_path / "root", {"dvc.yaml": pipeline})
    shown = registry(root, "lineage")
    assert shown.stdout.splitlines() == ["some  [1]", "fine"]
    places = [line.split(": ")[2] for line in shown.stderr.splitlines()]
    assert places == ["dvc.yaml:5", "dvc.yaml:8", "dvc.yaml:12"]
    assert "'nope'" in shown.stderr
    assert registry(root, "status").stdout.count("never_run") == 2
    assert registry(root, "materialize").exit_code == 1
    assert (root / "some/a").read_text() == "1\n"


@pytest.mark.parametrize("metafile", ["good/dvc.lock", "raw.dvc"])
def test_a_merge_conflict_is_named_where_it_starts(metafile: str, tmp_path: Path) -> None:
    other = "stages:\n  other:\n    cmd: echo > other\n    outs: [other]\n"
    files = {**GOOD, "raw": "raw\n", "dvc.yaml": other}
    root = write_repository(tmp_path / "root", files, added=["raw"])
    run(root, "dvc", "repro", "--quiet", "--all-pipelines")
    text = (root / metafile).read_text()
    first, rest = text.split("\n", 1)
    (root / metafile).write_text(f"{first}\n<<<<<<< HEAD\n{rest}=======\n{rest}>>>>>>> theirs\n")
    registry_said = registry(root, "status")
    assert registry_said.exit_code == 1
    assert registry_said.stderr.startswith(f"registry: left out: {metafile}:2: a merge conflict")
    assert registry(root, "lineage").stdout.splitlines()[-1] == (
        "other" if "lock" in metafile else "good/out"
    )


def test_what_a_conflict_hides_is_not_told_as_absent(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", GOOD)
    assert registry(root, "materialize").exit_code == 0
    lock = root / "good/dvc.lock"
    text = lock.read_text()
    lock.write_text(f"<<<<<<< HEAD\n{text}")
    assert registry(root, "sync").stdout == "reported 0 materializations and 0 checks\n"
    lock.write_text(text)
    assert registry(root, "lineage", "--check").exit_code == 0


def check_works(root: Path) -> None:
    assert registry(root, "status").exit_code == 1
    assert registry(root, "materialize").exit_code == 0
    assert registry(root, "status").exit_code == 0
    assert registry(root, "sync").exit_code == 0
    assert registry(root, "lineage", "--check").exit_code == 0
    assert read_registry(root).problems == ()


def test_a_missing_lock_file_means_that_nothing_ran(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", GOOD)
    run(root, "dvc", "repro", "--quiet", "--all-pipelines")
    (root / "good/dvc.lock").unlink()
    assert "never_run  good/out" in registry(root, "status").stdout
    check_works(root)


def test_a_detached_head_is_no_obstacle(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", GOOD)
    commit_all(root)
    run(root, "git", "checkout", "--quiet", "HEAD~1")
    check_works(root)


def test_a_repository_without_a_commit_can_be_used(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    write_tree(tmp_path, GOOD)
    check_works(tmp_path)


@pytest.mark.parametrize("is_bare", [False, True])
def test_a_repository_without_a_work_tree_of_git_can_be_used(is_bare: bool, tmp_path: Path) -> None:
    if is_bare:
        run(tmp_path, "git", "init", "--quiet", "--bare", ".")
    Repo.init(str(tmp_path), no_scm=True).close()
    write_tree(tmp_path, GOOD)
    check_works(tmp_path)


def test_a_repository_that_lost_its_git_is_one_clear_line(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", GOOD)
    (root / ".git").rename(tmp_path / "away")
    for command in (["status"], ["lineage"], ["materialize"], ["sync"], ["lineage", "--check"]):
        done = registry(root, *command)
        assert done.exit_code == 1
        assert done.stderr == f"registry: {root} is not a git repository\n"


def test_a_storage_whose_package_is_not_installed_is_one_clear_line(tmp_path: Path) -> None:
    files = {
        **GOOD,
        "far.dvc": "frozen: true\ndeps:\n- etag: abc\n  path: oss://bucket/far\n"
        "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  hash: md5\n  path: far\n",
    }
    root = write_repository(tmp_path / "root", files)
    done = registry(root, "status")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("registry: left out: far.dvc: oss is supported, but requires 'dvc-oss'")
    assert registry(root, "materialize").exit_code == 1
    assert (root / "good/out").exists()


def test_metafiles_of_dvc_0_are_named_with_what_is_wrong(tmp_path: Path) -> None:
    files = {**GOOD, "old.dvc": "cmd: echo > old\nouts:\n- path: old\n  metric: false\n"}
    root = write_repository(tmp_path / "root", files)
    shown = registry(root, "lineage")
    assert shown.stdout == "good/out\n"
    assert shown.stderr.startswith("registry: left out: old.dvc:")
