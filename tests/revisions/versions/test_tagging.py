"""Versions of data sets: tags that others import at, made only where they can."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RefusedError, RegistryError
from registry_assets.git_repo import GitRemote, GitRepo
from registry_assets.revisions.versions.tagging import make_version, plan_version
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import contents
from tests.revisions.versions.conftest import (
    DATASET,
    OUTPUTS,
    bring_up_to_date,
    draw,
    refused,
    said,
)


def tags(repository: Path) -> list[str]:
    return run(repository, "git", "tag", "--list").split()


def git_remote(root: Path) -> Path:
    return root.parent / "origin.git"


def share_config(root: Path) -> None:
    """Has the first version, too, lead to the remotes of this test."""
    config = (root / ".dvc/config").read_text()
    run(root, "git", "checkout", "--quiet", "-b", "older", "first")
    (root / ".dvc/config").write_text(config)
    commit_all(root, "Move the first version, too")
    run(root, "git", "tag", "--force", "first")
    run(root, "git", "checkout", "--quiet", "main")


def test_a_consumer_imports_at_a_version_and_moves_on_to_the_next(
    root: Path, tmp_path: Path
) -> None:
    share_config(root)
    said(root, "tag", "pictures", "--rev", "first", "--push")
    lines = said(root, "tag", "pictures", "--message", "Darker nights", "--push")
    assert lines[0].startswith("pictures/v2 made, at commit ")
    assert lines[1:4] == [
        "    inputs: 3 collections, 10 images",
        "    day: 2 images",
        "    night: 6 images",
    ]
    assert lines[-1] == "the Git remote has the tag"
    assert tags(git_remote(root)) == ["pictures/v1", "pictures/v2"]

    consumer = tmp_path / "consumer"
    consumer.mkdir()
    run(consumer, "git", "init", "--quiet")
    run(consumer, "dvc", "init", "--quiet")
    url, day = git_remote(root).as_uri(), f"{OUTPUTS}/day"
    # What is on this machine must not help: all comes from the two remotes.
    root.rename(tmp_path / "away")
    run(consumer, "dvc", "import", "--quiet", url, day, "--rev", "pictures/v1", "--out", "data")
    taken = {name for name in contents(consumer / "data") if name.endswith(".jpg")}
    assert taken == {"01_a/dusk.jpg", "01_a/noon.jpg", "01_a/lost.jpg"}
    run(consumer, "dvc", "update", "--quiet", "data.dvc", "--rev", "pictures/v2")
    taken = {name for name in contents(consumer / "data") if name.endswith(".jpg")}
    assert taken == {"01_a/noon.jpg", "01_a/new.jpg"}


def test_a_tag_says_what_it_holds_and_what_changed_since_the_one_before(root: Path) -> None:
    share_config(root)
    said(root, "tag", "pictures", "--rev", "first")
    said(root, "tag", f"{DATASET}", "--message", "Darker nights")
    text = run(root, "git", "tag", "--list", "--format=%(contents)", "pictures/v2")
    assert [" ".join(line.split()) for line in text.strip().splitlines()] == [
        "Darker nights",
        "",
        "inputs: 3 collections, 10 images",
        "day: 2 images",
        "night: 6 images",
        "",
        "Since pictures/v1:",
        "inputs images +4 -1 ~1, 1 renamed (02_b added; 01_a updated)",
        "day images +1 -2 ~1",
        "night images +4 -1, 1 renamed",
        "1 image moved from day to night",
        "1 image of night now left out by keep",
        "changed: params.yaml: bright 100 -> 130 (sort, 2 runs)",
        "changed: params.yaml: dark 20 -> 30 (keep, 2 runs)",
        "",
        f"Registry-Dataset: {DATASET}",
    ]
    assert run(root, "git", "cat-file", "-t", "pictures/v2").strip() == "tag"

    # A tag that somebody made by hand is a version like others.
    run(root, "git", "tag", "pictures/mine", "main")
    lines = said(root, "versions", "pictures")
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        *("pictures/v2", "pictures/v1", "pictures/mine")
    ]
    found = {
        item["version"]: item for item in json.loads("\n".join(said(root, "versions", "--json")))
    }
    assert set(found) == {"pictures/v1", "pictures/v2", "pictures/mine"}
    held = {item["family"]: item["images"] for item in found["pictures/v2"]["contents"]}
    assert held == {f"{DATASET}/data/inputs": 10, f"{OUTPUTS}/day": 2, f"{OUTPUTS}/night": 6}
    assert found["pictures/v1"]["commit"] == run(root, "git", "rev-parse", "first").strip()


def test_an_object_that_several_outputs_have_is_counted_once(root: Path) -> None:
    lines = said(root, "tag", "pictures")
    states = DvcRepo(root).read_remote_states()
    paths = {path for path in states if path.startswith("processed/")}
    counts = [len(states[path].objects) for path in paths]
    objects = {md5 for path in paths for md5 in states[path].objects}
    assert len(objects) < sum(counts), "pictures are in inputs and in a class"
    assert any(line.startswith(f"{len(objects)} objects are on the remote") for line in lines)
    stored = (root.parent / "storage/files/md5").glob("*/*")
    assert {place.parent.name + place.name for place in stored} >= objects


def test_a_version_stays_where_it_is(root: Path) -> None:
    said(root, "tag", "pictures/v7")
    first = run(root, "git", "rev-parse", "pictures/v7^{}").strip()
    assert "version pictures/v7 exists already" in refused(root, "tag", "pictures/v7")
    # Nothing changed, so there is nothing to tag; it is pushed where it was not.
    assert said(root, "tag", "pictures")[0].startswith(
        "pictures/v7 already exists, with the same content"
    )
    assert tags(git_remote(root)) == []
    write_tree(root, draw("raw/04_d", {"four": 140}))
    bring_up_to_date(root, ["04_d"])
    commit_all(root, "Third")
    assert said(root, "tag", "pictures/v7", "--push")[-1] == "the Git remote has the tag"
    assert tags(git_remote(root)) == ["pictures/v7"]
    # What somebody else called so is not taken, though it is not here yet.
    run(git_remote(root), "git", "tag", "pictures/v8", "main")
    run(root, "dvc", "push", "--quiet")
    assert "version pictures/v8 exists already" in refused(root, "tag", "pictures/v8", "--push")
    assert said(root, "tag", "pictures")[0].startswith("pictures/v9 made")
    assert run(root, "git", "rev-parse", "pictures/v7^{}").strip() == first


def test_of_two_who_make_a_version_at_once_one_makes_the_next(root: Path) -> None:
    lineage = lineage_of(root)
    planned = plan_version(lineage, "pictures", rev=None, push=True, report=print)
    run(git_remote(root), "git", "tag", "pictures/v1", "main~1")
    with pytest.raises(RefusedError, match="somebody else created pictures/v1 meanwhile"):
        make_version(planned, GitRepo(root), "Mine\n", push=True)
    assert tags(root) == ["first"]
    assert said(root, "tag", "pictures", "--push")[0].startswith("pictures/v2 made")
    # What could not be pushed as nobody answered is pushed by the same command later.
    origin = git_remote(root).rename(root.parent / "away.git")
    planned = plan_version(lineage, "pictures/v3", rev=None, report=print)
    make_version(planned, GitRepo(root), "Mine\n", push=False)
    with pytest.raises(RegistryError, match="`registry tag pictures/v3 --push` again"):
        make_version(
            replace(planned, is_made=True, remote=GitRemote.find(GitRepo(root), "main")),
            GitRepo(root),
            "",
            push=True,
        )
    origin.rename(git_remote(root))
    assert said(root, "tag", "pictures/v3", "--push")[-1] == "the Git remote has the tag"


def test_only_what_is_complete_is_tagged(root: Path) -> None:
    assert "there is no data set nope: choose one of pictures" in refused(root, "tag", "nope/v1")
    assert "is not a valid tag name" in refused(root, "tag", "pictures/a b")
    assert "no commit, branch or tag gone here" in refused(root, "tag", "pictures", "--rev", "gone")

    write_tree(root, draw("raw/04_d", {"four": 140}))
    bring_up_to_date(root, ["04_d"])
    line = refused(root, "tag", "pictures")
    assert "has uncommitted changes" in line
    commit_all(root, "Third")
    line = refused(root, "tag", "pictures")
    assert "objects are missing or damaged on the remote storage" in line
    assert "`registry push`, then tag" in line
    said(root, "push")

    (root / DATASET / "params.yaml").write_text("dark: 30\nbright: 90\n")
    commit_all(root, "Change a parameter and run nothing")
    line = refused(root, "tag", "pictures")
    assert "pictures is not complete at commit" in line
    assert "params.yaml: bright is modified" in line
    assert tags(root) == ["first"]
    assert said(root, "tag", "pictures", "--rev", "HEAD~1")[0].startswith("pictures/v1 made")


@pytest.mark.parametrize(
    ("url", "why"),
    [(None, "has no default remote"), ("../storage", "is relative to .dvc/config")],
)
def test_a_remote_that_only_this_machine_finds_will_not_do(
    root: Path, url: str | None, why: str
) -> None:
    storage = str(root.parent / "storage")
    run(root, "dvc", "remote", "remove", "storage")
    if url is not None:
        run(root, "dvc", "remote", "add", "--default", "storage", url)
    run(root, "dvc", "remote", "add", "--local", "--default", "--force", "storage", storage)
    commit_all(root, "Change the remote")
    assert why in refused(root, "tag", "pictures")


def test_what_the_remote_lost_is_noticed_also_when_this_machine_has_it(root: Path) -> None:
    md5 = hashlib.md5((root / "raw/02_b/b.jpg").read_bytes()).hexdigest()
    (root.parent / "storage/files/md5" / md5[:2] / md5[2:]).unlink()
    assert "are missing or damaged on the remote storage" in refused(root, "tag", "pictures")
    shutil.rmtree(root.parent / "storage")
    assert "storage" in refused(root, "tag", "pictures")
