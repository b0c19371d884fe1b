"""Merging the work of two people, in real repositories."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.intake.initialising import init_registry
from tests.conftest import PIPELINE, UPPER, commit_all, run, write_tree
from tests.persisting.helpers import (
    build_repository,
    is_clean,
    lock_entries,
    make_upper,
    metafiles,
    take_in,
)

PIPELINE_OF_ONE = PIPELINE[: PIPELINE.index("  count:")]
LISTED = "processed/texts/collections.yaml"
INPUTS = "processed/texts/data/inputs"
LOCK = "processed/texts/dvc.lock"


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def build(root: Path) -> Path:
    return build_repository(
        root,
        {
            "processed/texts/dvc.yaml": PIPELINE_OF_ONE,
            "processed/texts/upper.py": UPPER,
            "processed/texts/params.yaml": "suffix: 1\n",
            LISTED: "collections: []\n",
            "raw/.gitignore": "",
        },
    )


def merge(root: Path, branch: str) -> int:
    done = subprocess.run(
        ["git", "merge", "--no-edit", branch], cwd=root, capture_output=True, check=False
    )
    return done.returncode


def unmerged(root: Path) -> set[str]:
    return set(run(root, "git", "diff", "--name-only", "--diff-filter=U").split())


def test_collections_of_two_people_merge_with_the_driver_and_resolve_without(
    tmp_path: Path,
) -> None:
    root = build(tmp_path / "registry")
    for name in ("01_a", "02_b"):
        run(root, "git", "checkout", "--quiet", "-b", name, "main")
        write_tree(root, {f"raw/{name}/one.txt": f"{name}\n"})
        take_in(root, name)
        make_upper(root, name)
        commit_all(root, name)
        run(root, "dvc", "checkout", "--quiet")

    # Nothing but the attributes: Git merges lines, and stops.
    write_tree(root, {".gitattributes": "dvc.lock merge=registry\n"})
    assert merge(root, "01_a") == 1
    assert unmerged(root) >= {LOCK, LISTED, "raw/.gitignore"}
    resolved = registry(root, "resolve")
    assert resolved.exit_code == 0, resolved.output
    assert "git commit" in resolved.output
    assert unmerged(root) == set()
    run(root, "git", "commit", "--quiet", "--no-edit")
    run(root, "dvc", "checkout", "--quiet")
    assert is_clean(root)
    by_hand = metafiles(root)
    listed = (root / LISTED).read_text()

    # With what `registry init` sets, it does not stop.
    run(root, "git", "reset", "--quiet", "--hard", "02_b")
    list(init_registry(root))
    commit_all(root, "Fit")
    assert merge(root, "01_a") == 0
    assert metafiles(root) == by_hand
    assert (root / LISTED).read_text() == listed == 'collections:\n  - "02_b"\n  - "01_a"\n'
    assert "nothing to resolve" in registry(root, "resolve").output.lower()


def test_a_stage_that_both_ran_is_named_and_resolved_once_it_is_made_anew(tmp_path: Path) -> None:
    root = build(tmp_path / "registry")
    list(init_registry(root))
    write_tree(root, {"raw/01_a/one.txt": "1\n"})
    take_in(root, "01_a")
    make_upper(root)
    commit_all(root, "Take in")
    run(root, "git", "checkout", "--quiet", "-b", "thresholds")
    write_tree(root, {"processed/texts/params.yaml": "suffix: 2\n"})
    make_upper(root)
    write_tree(root, {"raw/02_b/three.txt": "3\n"})
    take_in(root, "02_b")
    make_upper(root, "02_b")
    commit_all(root, "Tune")
    run(root, "git", "checkout", "--quiet", "main")
    write_tree(root, {"raw/01_a/two.txt": "2\n"})
    take_in(root, "01_a")
    make_upper(root)
    commit_all(root, "More")

    assert merge(root, "thresholds") == 1
    left = registry(root, "resolve")
    assert left.exit_code == 1
    assert "upper@01_a: both sides ran it" in left.output
    assert 'key:"processed/texts/data/intermediate/upper"' in left.output
    assert "stale     processed/texts/data/intermediate/upper/01_a" in left.output
    assert unmerged(root) == {LOCK}
    # What is left is valid, and of our side where both sides changed it; also where a merge driver
    # failed, after which Git leaves what our side had.
    merged = lock_entries(root)
    (root / LOCK).write_text(run(root, "git", "show", f"main:{LOCK}"))
    ours = lock_entries(root)
    assert registry(root, "resolve").exit_code == 1
    assert lock_entries(root) == merged
    assert merged.keys() - ours.keys() == {"upper@02_b"}
    assert merged["upper@01_a"] == ours["upper@01_a"]

    run(root, "dvc", "checkout", "--quiet")
    make_upper(root)
    assert registry(root, "resolve").exit_code == 0
    assert unmerged(root) == set()
    run(root, "git", "commit", "--quiet", "--no-edit")
    assert is_clean(root)


@pytest.mark.parametrize("stage", ["raw", INPUTS])
def test_the_other_version_of_a_collection_is_chosen_as_it_is_said(
    tmp_path: Path, stage: str
) -> None:
    root = build(tmp_path / "registry")
    write_tree(root, {"raw/01_a/one.txt": "1\n"})
    take_in(root, "01_a")
    commit_all(root, "Take in")
    for branch, text in (("theirs", "theirs\n"), ("main", "ours\n")):
        options = [] if branch == "main" else ["-b"]
        run(root, "git", "checkout", "--quiet", *options, branch)
        run(root, "dvc", "checkout", "--quiet", "raw/01_a.dvc", f"{INPUTS}/01_a.dvc")
        write_tree(root, {"raw/01_a/more.txt": text})
        take_in(root, "01_a")
        commit_all(root, branch)
    theirs = run(root, "git", "show", f"theirs:{stage}/01_a.dvc")
    assert merge(root, "theirs") == 1
    said = registry(root, "resolve").output
    (line,) = [line for line in said.splitlines() if line.startswith(f"{stage}/01_a.dvc")]
    first, second = re.findall("`(.*?)`", line)
    for command in (first, second):
        run(root, *command.split())
    registry(root, "resolve")
    assert (root / f"{stage}/01_a.dvc").read_text() == theirs
    assert (root / stage / "01_a/more.txt").read_text() == "theirs\n"
