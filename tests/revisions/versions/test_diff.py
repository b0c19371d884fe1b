"""Two versions compared: what became of images, and what changed besides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import commit_all, run, write_tree
from tests.revisions.versions.conftest import (
    DATASET,
    OUTPUTS,
    bring_up_to_date,
    draw,
    refused,
    registry,
    said,
)


def diff(root: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("\n".join(said(root, "diff", "--json", *arguments)))
    return found


def counts(found: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Images added, removed, changed and renamed, by family."""
    return {
        family["name"].removeprefix(f"{DATASET}/data/"): tuple(
            family["images"][kind] for kind in ("added", "removed", "changed", "renamed")
        )
        for family in found["families"]
    }


def flows(found: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {
        (
            flow["way"],
            flow["images"],
            *(flow[end] and flow[end].removeprefix(f"{OUTPUTS}/") for end in ("source", "target")),
            flow["stage"],
        )
        for flow in found["flows"]
    }


def test_images_are_told_by_content_and_by_the_stage_that_decided(root: Path) -> None:
    found = diff(root, "first", "main", "--files")
    assert counts(found) == {
        # `new` came, `lost` went, `noon` is another picture, `moon` has another name; 02_b is new.
        "raw": (4, 1, 1, 1),
        "inputs": (4, 1, 1, 1),
        "outputs/day": (1, 2, 1, 0),
        "outputs/night": (4, 1, 0, 1),
    }
    assert flows(found) == {
        ("moved", 1, "day", "night", None),
        ("left out", 1, "night", None, "keep"),
    }
    reasons = {
        (r["kind"], r["what"]): (r["before"], r["after"], r["runs"]) for r in found["reasons"]
    }
    assert reasons == {
        ("parameter", f"{DATASET}/params.yaml: dark"): (20, 30, 2),
        ("parameter", f"{DATASET}/params.yaml: bright"): (100, 130, 2),
    }
    files = {file["path"]: (file["kind"], file["before"]) for file in found["files"]}
    assert files[f"{OUTPUTS}/night/01_a/dusk.jpg"] == ("moved", f"{OUTPUTS}/day/01_a/dusk.jpg")
    assert files["raw/01_a/full_moon.jpg"] == ("renamed", "raw/01_a/moon.jpg")
    assert files["raw/01_a/noon.jpg"] == ("changed", None)
    assert files[f"{OUTPUTS}/night/01_a/dawn.jpg"] == ("removed", None)
    # The other way round, what was left out is kept.
    assert ("kept", 1, None, "night", "keep") in flows(diff(root, "main..first"))


def test_people_read_the_same_in_lines(root: Path) -> None:
    lines = said(root, "diff", "first", "main")
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "raw images +4 -1 ~1, 1 renamed (02_b added; 01_a updated)",
        "pictures",
        "inputs images +4 -1 ~1, 1 renamed (02_b added; 01_a updated)",
        "day images +1 -2 ~1",
        "night images +4 -1, 1 renamed",
        "1 image moved from day to night",
        "1 image of night now left out by keep",
        "changed: params.yaml: bright 100 -> 130 (sort, 2 runs)",
        "changed: params.yaml: dark 20 -> 30 (keep, 2 runs)",
    ]
    listed = said(root, "diff", "first", "main", "--files", "--most", "2")[len(lines) :]
    assert len(listed) == 3
    assert listed[-1].endswith("more files: `--most 0` lists all")


def test_a_data_set_or_a_collection_is_looked_at_alone(root: Path) -> None:
    run(root, "git", "tag", "pictures/v1", "first")
    found = diff(root, "v1", "main", "--dataset", "pictures", "--collection", "03_c")
    assert found["families"] == []
    assert {reason["runs"] for reason in found["reasons"]} == {1}
    only = diff(root, "first", "main", "--collection", "02_b")
    assert counts(only)["outputs/night"] == (3, 0, 0, 0)
    assert "there is no data set nope" in refused(root, "diff", "--dataset", "nope")
    assert "neither version has a collection nope" in refused(root, "diff", "--collection", "nope")


def test_versions_are_named_as_git_names_them_and_the_work_tree_is_one(root: Path) -> None:
    assert "no data differs" in said(root, "diff")
    short = run(root, "git", "rev-parse", "--short", "first").strip()
    run(root, "git", "branch", "other", "first")
    wanted = counts(diff(root, "first", "main"))
    for names in ([short], ["other"], [f"{short}..main"], ["HEAD~2", "HEAD"]):
        assert counts(diff(root, *names)) == wanted
    write_tree(root, draw("raw/04_d", {"four": 140}))
    bring_up_to_date(root, ["04_d"])
    assert counts(diff(root)) == {
        "raw": (1, 0, 0, 0),
        "inputs": (1, 0, 0, 0),
        "outputs/day": (1, 0, 0, 0),
        "outputs/night": (0, 0, 0, 0),
    }
    assert run(root, "git", "diff", "--cached", "--name-only") == ""
    assert "there is no commit, branch or tag nope here" in refused(root, "diff", "nope")


def test_a_shallow_clone_says_how_to_get_what_it_lacks(root: Path) -> None:
    shallow = root.parent / "shallow"
    origin = (root.parent / "origin.git").as_uri()
    run(root.parent, "git", "clone", "--quiet", "--depth", "1", origin, str(shallow))
    assert "in this shallow clone: `git fetch --unshallow --tags`" in refused(
        shallow, "diff", "HEAD~1"
    )


def test_changed_code_is_named_also_where_it_made_no_difference(root: Path) -> None:
    with (root / DATASET / "sort.sh").open("a") as script:
        script.write("true\n")
    bring_up_to_date(root, ["01_a"])
    lines = said(root, "diff")
    assert lines[1:] == ["no data differs", "pictures", "  changed: sort.sh  (sort, 1 run)"]


def test_what_people_decided_about_single_images_is_told_image_by_image(root: Path) -> None:
    text = (
        'decisions:\n  - md5: "0f3c1b7e9d52a8460c4e9a7b1d6f2e85"\n    decision: "deny"\n'
        '    path: "noon.jpg"\n    by: "Ada"\n    why: "a thumb"\n'
    )
    write_tree(root, {f"{DATASET}/decisions/01_a.yaml": text})
    commit_all(root, "Decide")
    lines = said(root, "diff", "main~1", "main", "--dataset", "pictures")
    assert lines[1:] == [
        "no data differs",
        "pictures",
        "  decided: 01_a/noon.jpg: denied by Ada: a thumb",
    ]
    assert said(root, "diff", "main~1", "main", "--collection", "02_b")[1:] == ["no data differs"]
    (found,) = diff(root, "main", "main~1")["decisions"]
    assert (found["dataset"], found["collection"], found["after"]) == ("pictures", "01_a", None)


def test_a_listing_that_the_cache_lacks_is_fetched_and_no_file_with_it(root: Path) -> None:
    wanted = diff(root, "first", "main")
    shutil.rmtree(root / ".dvc/cache/files")
    assert diff(root, "first", "main") == wanted
    fetched = [path.name for path in (root / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert fetched
    assert all(name.endswith(".dir") for name in fetched)

    shutil.rmtree(root / ".dvc/cache/files")
    (root.parent / "storage").rename(root.parent / "away")
    done = registry(root, "diff", "first", "main")
    assert done.exit_code == 1
    assert "not counted: 2 versions without a listing" in done.stdout
    assert "changed: params.yaml: dark 20 -> 30" in done.stdout
    assert "registry: incomplete: the listing of " in done.stderr


def test_what_the_work_tree_does_not_declare_any_more_is_told_by_its_own_version(
    root: Path,
) -> None:
    shutil.rmtree(root / DATASET)
    commit_all(root, "Give the data set up")
    found = diff(root, "main~1", "--dataset", "pictures")
    assert counts(found)["outputs/day"] == (0, 2, 0, 0)
    assert {family["dataset"] for family in found["families"]} == {"pictures"}
