"""A picture is taken out of everything, and it is said what is left of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from registry_assets import read_registry
from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.forgotten import read_forgotten
from registry_assets.images import Measurement, Memo
from registry_assets.registry.lineage.file_lineage import Tracer
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import die, is_clean, leftovers, metafiles
from tests.retention.conftest import DATASET, ONE, SAME, call, forget, registry

MD5 = hashlib.md5(b"one\n").hexdigest()
INPUT = f"{DATASET}/data/inputs/01_a/one.txt"
UPPER = f"{DATASET}/data/intermediate/upper/01_a/one.txt"


def places_of(root: Path, content: bytes) -> list[str]:
    """Where the current versions have a content, and where it lies in the work tree."""
    lineage = lineage_of(root)
    tracer = Tracer(lineage, DvcRepo(root).listings())
    holders, unread = tracer.holders(hashlib.md5(content).hexdigest())
    assert unread == []
    inside = (p for top in ("raw", "processed") for p in (root / top).rglob("*") if p.is_file())
    lying = [str(p.relative_to(root)) for p in inside if p.read_bytes() == content]
    return sorted({place.path for place in holders} | set(lying))


def test_a_picture_leaves_every_collection_and_all_that_was_made_of_it(pushed: Path) -> None:
    assert len(places_of(pushed, b"one\n")) == 4
    assert len(places_of(pushed, b"ONE\n\n")) == 2
    found = forget(pushed, ONE)
    assert places_of(pushed, b"one\n") == places_of(pushed, b"ONE\n\n") == []
    assert found["taken_out_of"] == ["raw/01_a", "raw/02_b"]
    assert {place["path"] for place in found["current"]} >= {ONE, SAME, INPUT, UPPER}
    assert (pushed / DATASET / "data/outputs/names/01_a").read_text() == "two.txt\n"
    assert not (pushed / SAME).parent.exists()
    assert is_clean(pushed)
    assert call(pushed, "status").returncode == 0
    assert call(pushed, "lineage", "--check").returncode == 0
    assert leftovers(pushed) == []


def test_the_metafiles_are_those_that_dvc_would_have_written(pushed: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    run(tmp_path, "cp", "-a", str(pushed), str(twin))
    forget(pushed, ONE)
    (twin / ONE).unlink()
    shutil.rmtree((twin / SAME).parent)
    run(twin, "dvc", "add", "raw/01_a", "raw/02_b")
    run(twin, "dvc", "update", *(f"{DATASET}/data/inputs/{n}.dvc" for n in ("01_a", "02_b")))
    run(twin, "dvc", "repro", f"{DATASET}/dvc.yaml")
    assert metafiles(pushed) == metafiles(twin)


@pytest.mark.parametrize("asked", [MD5, INPUT, SAME, "outside.txt"])
def test_a_picture_is_named_by_any_copy_of_it_or_its_md5(
    pushed: Path, tmp_path: Path, asked: str
) -> None:
    (tmp_path / "outside.txt").write_text("one\n")
    found = forget(pushed, asked, "--dry-run")
    assert found["md5"] == MD5
    assert found["taken_out_of"] == ["raw/01_a", "raw/02_b"]


def test_a_dry_run_changes_nothing(pushed: Path) -> None:
    before = metafiles(pushed)
    done = call(pushed, "forget", ONE, "--dry-run")
    assert done.returncode == 0
    assert f"removes   {SAME}" in done.stdout
    assert metafiles(pushed) == before
    assert run(pushed, "git", "status", "--short") == ""
    assert (pushed / ONE).exists()


def test_what_was_made_of_another_file_is_not_forgotten_without_that(pushed: Path) -> None:
    done = call(pushed, "forget", UPPER)
    assert done.returncode == 1
    assert f"{UPPER} was made from {ONE}: forget that file" in done.stderr
    assert run(pushed, "git", "status", "--short") == ""


def test_what_is_unknown_is_one_line(pushed: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for asked in ("empty.jpg", "raw/01_a/none.txt", "0" * 32, "raw/01_a"):
        done = call(pushed, "forget", asked)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("registry: ")
    assert not (pushed / "forgotten.yaml").exists()


def test_an_edit_is_not_recorded_along_with_it(pushed: Path) -> None:
    write_tree(pushed, {"raw/02_b/new.txt": "new\n"})
    done = call(pushed, "forget", ONE)
    assert done.returncode == 1
    assert "raw/02_b differs from its recorded version" in done.stderr
    assert places_of(pushed, b"one\n")
    assert run(pushed, "git", "status", "--short") == ""
    registry(pushed, "add", "02_b")
    forget(pushed, ONE)
    assert places_of(pushed, b"one\n") == []
    assert (pushed / "raw/02_b/new.txt").exists()


def test_collections_that_are_not_in_the_work_tree_are_fetched(pushed: Path) -> None:
    shutil.rmtree(pushed / "raw")
    run(pushed, "git", "checkout", "--quiet", "raw")
    shutil.rmtree(pushed / ".dvc/cache")
    forget(pushed, ONE)
    assert places_of(pushed, b"one\n") == []
    assert is_clean(pushed)


def test_the_only_file_of_a_collection_leaves_an_empty_one(pushed: Path) -> None:
    (pushed / "raw/01_a/two.txt").unlink()
    registry(pushed, "materialize", "--collection", "01_a")
    forget(pushed, ONE)
    assert list((pushed / "raw/01_a").iterdir()) == []
    assert is_clean(pushed)


def test_what_links_to_the_same_content_keeps_it(pushed: Path) -> None:
    os.link(pushed / ONE, pushed.parent / "original.txt")
    done = call(pushed, "forget", ONE)
    assert "It has 1 other hardlink on this disk" in done.stdout
    assert (pushed.parent / "original.txt").read_text() == "one\n"
    (kept,) = DvcRepo(pushed).find_in_cache([MD5])
    assert kept.place.read_text() == "one\n"
    assert kept.other_names == 1


def test_measures_of_it_are_forgotten(pushed: Path) -> None:
    memo = Memo.in_folder(pushed / ".dvc/tmp")
    assert memo is not None
    memo.add(
        Measurement(name, md5=md5, format="PNG", width=1, height=1, mode="L", frames=1)
        for name, md5 in (("one.png", MD5), ("other.png", "1" * 32))
    )
    forget(pushed, ONE)
    with sqlite3.connect(memo.path) as connection:
        assert connection.execute("SELECT md5 FROM measures").fetchall() == [("1" * 32,)]
    assert MD5.encode() not in Path(memo.path).read_bytes()


# --- killed, and asked again ----------------------------------------------------------------------


def test_killed_at_any_moment_the_same_command_does_the_rest(pushed: Path, tmp_path: Path) -> None:
    def work(root: Path) -> None:
        done = CliRunner().invoke(main, ["--root", str(root), "forget", ONE])
        assert done.exit_code == 0, done.output

    def copy(name: str) -> Path:
        target = tmp_path / name
        run(tmp_path, "cp", "-a", str(pushed), str(target))
        return target

    never_killed = copy("never_killed")
    count = die(never_killed, lambda: work(never_killed), at=0)
    assert count > 40
    # Around the record, among the outputs, and at the end; `make faults` has all the others.
    for at in (2, 8, count // 2, count - 1):
        root = copy(str(at))
        die(root, lambda root=root: work(root), at=at)  # type: ignore[misc]
        done = call(root, "forget", ONE)
        assert done.returncode == 0, (at, done.stderr)
        assert places_of(root, b"one\n") == places_of(root, b"ONE\n\n") == [], at
        assert metafiles(root) == metafiles(never_killed), at
        assert read_forgotten(root).keys() == {MD5}, at
        assert leftovers(root) == [], at
        assert call(root, "lineage", "--check").returncode == 0, at
        shutil.rmtree(root)


def test_asked_again_there_is_nothing_to_do(pushed: Path) -> None:
    forget(pushed, ONE, "--reason", "asked for")
    before, entry = metafiles(pushed), read_forgotten(pushed)
    found = forget(pushed, ONE)
    assert found["current"] == found["renewed"] == []
    assert metafiles(pushed) == before
    assert read_forgotten(pushed) == entry


def test_what_a_killed_command_had_set_aside_goes_even_if_nothing_else_is_to_do(
    pushed: Path,
) -> None:
    forget(pushed, ONE)
    # As after a kill right at the end, while the previous outputs are removed.
    left = pushed / ".dvc/tmp/registry/999999999-1.00-000000001_left/0"
    left.parent.mkdir(parents=True)
    left.write_text("one\n")
    forget(pushed, ONE)
    assert not left.parent.exists()


# --- what cannot be done here ---------------------------------------------------------------------


def test_an_import_from_another_repository_is_named_with_the_next_step(
    pushed: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "--quiet")
    write_tree(other, {"photos/copy.txt": "one\n", "photos/more.txt": "more\n"})
    commit_all(other)
    run(
        pushed,
        *("registry", "import", "03_c", "--into", "texts"),
        *("--from", str(other), "--path", "photos"),
    )
    registry(pushed, "materialize")
    path = f"{DATASET}/data/inputs/03_c"
    found = forget(pushed, ONE, "--purge", "--yes", code=1)
    assert list(found["blocked"]) == [path]
    assert f"remove it there, then `registry update {path}`" in found["blocked"][path]
    left = places_of(pushed, b"one\n")
    assert left == [f"{path}/copy.txt"]
    assert found["left"]["cache"]["objects"] > 0  # a current version keeps it

    (other / "photos/copy.txt").unlink()
    commit_all(other)
    registry(pushed, "update")
    registry(pushed, "materialize")
    forget(pushed, ONE, "--purge", "--yes")
    assert DvcRepo(pushed).find_in_cache([MD5]) == []


def test_what_a_stage_gets_from_elsewhere_is_named(pushed: Path) -> None:
    write_tree(
        pushed,
        {
            "code/template.txt": "one\n",
            "code/dvc.yaml": "stages:\n  copy:\n    cmd: cp template.txt made.txt\n"
            "    deps: [template.txt]\n    outs: [made.txt]\n",
        },
    )
    registry(pushed, "materialize")
    found = forget(pushed, ONE, "--purge", "--yes", code=1)
    assert ["code/made.txt still contains it" in line for line in found["failures"]] == [True]
    assert places_of(pushed, b"one\n") == ["code/made.txt"]
    assert found["left"]["cache"]["objects"] > 0


# --- the record -----------------------------------------------------------------------------------


def test_the_record_names_the_author_that_a_commit_would_have(
    pushed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    forget(pushed, ONE)
    (entry,) = read_forgotten(pushed).values()
    assert entry.who == "Ada <ada@example.org>"


def test_the_record_says_what_when_who_and_why_without_the_picture(pushed: Path) -> None:
    forget(pushed, ONE, "--reason", 'it says "no"')
    (entry,) = read_forgotten(pushed).values()
    assert (entry.md5, entry.size, entry.why) == (MD5, 4, 'it says "no"')
    assert entry.who == "Test <test@example.org>"
    assert set(entry.stood_at) == {ONE, SAME}
    assert entry.purged is None
    text = (pushed / "forgotten.yaml").read_text()
    forget(pushed, ONE, "--purge", "--yes")
    (again,) = read_forgotten(pushed).values()
    assert (again.when, again.who, again.why) == (entry.when, entry.who, entry.why)
    assert set(again.purged_from) == {"cache", "storage"}
    assert text.splitlines()[:5] == (pushed / "forgotten.yaml").read_text().splitlines()[:5]


def test_publishing_takes_the_record_along(pushed: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet", "--bare", "origin.git")
    run(pushed, "git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    run(pushed, "git", "push", "--quiet", "origin", "main")
    forget(pushed, ONE)
    registry(pushed, "publish", "--branch", "data/forgotten")
    files = run(pushed, "git", "ls-tree", "-r", "--name-only", "data/forgotten")
    assert "forgotten.yaml" in files.split()
    assert (
        run(pushed, "git", "show", "data/forgotten:forgotten.yaml")
        == (pushed / "forgotten.yaml").read_text()
    )


def test_a_run_that_commits_takes_the_record_along(pushed: Path) -> None:
    write_tree(pushed, {"pyproject.toml": '[tool.registry_assets]\ngit = "commit"\n'})
    commit_all(pushed)
    run(pushed, "git", "switch", "--quiet", "--create", "work")
    forget(pushed, ONE)
    assert run(pushed, "git", "status", "--short") == ""
    assert "forgotten.yaml" in run(pushed, "git", "ls-files")


def test_two_sides_that_forget_different_pictures_merge(pushed: Path) -> None:
    run(pushed, "registry", "init", ".")
    commit_all(pushed)
    run(pushed, "git", "switch", "--quiet", "--create", "other")
    forget(pushed, "raw/01_a/two.txt")
    commit_all(pushed)
    run(pushed, "git", "switch", "--quiet", "main")
    run(pushed, "dvc", "checkout")
    forget(pushed, "raw/02_b/three.txt")
    commit_all(pushed)
    run(pushed, "git", "merge", "--quiet", "--no-edit", "other")
    assert len(read_forgotten(pushed)) == 2


def test_a_record_that_cannot_be_read_is_named(pushed: Path) -> None:
    write_tree(pushed, {"forgotten.yaml": "forgotten: [\n"})
    done = call(pushed, "forget", ONE)
    assert done.returncode == 1
    assert "forgotten.yaml" in done.stderr
    assert done.stderr.count("\n") == 1


# --- when it comes back ---------------------------------------------------------------------------


def test_a_picture_that_comes_back_is_set_aside(pushed: Path) -> None:
    forget(pushed, ONE)
    write_tree(pushed, {"raw/03_c/again.txt": "one\n", "raw/03_c/good.txt": "two\n"})
    done = call(pushed, "add", "03_c")
    assert done.returncode == 0
    assert "set aside raw/03_c/again.txt: forgotten on" in done.stderr
    assert (pushed / "raw/.set_aside/03_c/again.txt").read_text() == "one\n"
    note = (pushed / "raw/03_c/again.txt").read_text()
    assert note.startswith("registry_assets set aside: forgotten on ")
    assert (pushed / "raw/03_c/good.txt").read_text() == "two\n"
    found = forget(pushed, ONE, "--dry-run")
    assert found["current"] == []
    assert found["left"]["raw"] == ["raw/.set_aside/03_c/again.txt"]


def test_a_picture_that_comes_back_with_a_merge_is_said(pushed: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet", "--bare", "origin.git")
    run(pushed, "git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    run(pushed, "git", "push", "--quiet", "origin", "main")
    run(pushed, "git", "switch", "--quiet", "--create", "late")
    write_tree(pushed, {"raw/03_c/late.txt": "one\n"})
    registry(pushed, "add", "03_c")
    commit_all(pushed)
    run(pushed, "git", "switch", "--quiet", "main")
    shutil.rmtree(pushed / "raw/03_c")
    forget(pushed, ONE)
    commit_all(pushed)
    run(pushed, "git", "merge", "--quiet", "--no-edit", "-X", "ours", "late")
    run(pushed, "dvc", "checkout")
    checked = call(pushed, "lineage", "--check")
    assert f"contains a forgotten picture: registry forget {MD5}" in checked.stdout
    published = call(pushed, "publish", "--dry-run")
    assert f"`registry forget {MD5}` removes it" in published.stderr
    forget(pushed, MD5)
    assert places_of(pushed, b"one\n") == []
    assert call(pushed, "lineage", "--check").returncode == 0


def test_whoever_takes_the_entry_out_of_the_record_lets_it_in_again(pushed: Path) -> None:
    forget(pushed, ONE)
    (pushed / "forgotten.yaml").unlink()
    write_tree(pushed, {"raw/03_c/again.txt": "one\n"})
    registry(pushed, "add", "03_c")
    assert places_of(pushed, b"one\n") == ["raw/03_c/again.txt"]


# --- what is left ---------------------------------------------------------------------------------


def test_it_is_said_which_versions_have_it_still(pushed: Path) -> None:
    run(pushed, "git", "tag", "v1")
    taken_in = run(pushed, "git", "log", "-1", "--format=%H", "--", "raw/01_a.dvc").strip()
    forget(pushed, ONE)
    commit_all(pushed, "Forget")
    left = forget(pushed, ONE)["left"]
    raw = {v["path"]: v for v in left["versions"] if v["path"].startswith("raw/")}
    assert raw.keys() == {"raw/01_a", "raw/02_b"}
    assert raw["raw/01_a"]["kept_by"] == ["tag v1"]
    assert raw["raw/01_a"]["commit"] == taken_in
    # The file itself, and what was made of it in both collections.
    assert left["objects"] == 2
    assert left["cache"]["objects"] == 2
    assert [(r["name"], r["objects"]) for r in left["remotes"]] == [("storage", 2)]
    done = call(pushed, "forget", ONE)
    assert "tag v1" in done.stdout
    assert "2 of 2 objects" in done.stdout


def test_a_stash_counts_as_a_version_that_has_it(pushed: Path) -> None:
    write_tree(pushed, {"raw/04_d/late.txt": "late\n"})
    registry(pushed, "add", "04_d")
    run(pushed, "git", "stash", "--include-untracked", "--quiet")
    shutil.rmtree(pushed / "raw/04_d", ignore_errors=True)
    left = forget(pushed, hashlib.md5(b"late\n").hexdigest(), "--dry-run")["left"]
    assert [v["kept_by"] for v in left["versions"]] == [["stash@{0}"]]


def test_what_was_made_of_older_versions_is_found_too(pushed: Path) -> None:
    write_tree(pushed, {f"{DATASET}/upper.py": (pushed / DATASET / "upper.py").read_text() + "\n"})
    text = (pushed / DATASET / "upper.py").read_text().replace(".upper()", ".upper() + '!'")
    write_tree(pushed, {f"{DATASET}/upper.py": text})
    registry(pushed, "materialize")  # an older result that a commit has, and a newer one
    newer = hashlib.md5(b"ONE\n!\n").hexdigest()
    older = hashlib.md5(b"ONE\n\n").hexdigest()
    found = forget(pushed, ONE)
    assert set(found["made_of_it"]) == {newer, older}
    # That newer result was never committed; the run cache tells of it.
    again = forget(pushed, ONE)
    assert set(again["made_of_it"]) == {newer, older}


def test_a_remote_that_cannot_be_asked_is_said(pushed: Path) -> None:
    run(pushed, "dvc", "remote", "add", "gone", "ssh://127.0.0.1:1/nowhere")
    run(pushed, "dvc", "remote", "add", "web", "http://127.0.0.1:1/nowhere")
    left = forget(pushed, ONE, "--dry-run")["left"]
    by_name = {remote["name"]: remote for remote in left["remotes"]}
    assert by_name["storage"]["objects"] == 2
    for name in ("gone", "web"):
        assert by_name[name]["objects"] is None
        assert "cannot be reached" in by_name[name]["problem"]


def test_copies_beside_the_data_are_named(pushed: Path) -> None:
    write_tree(pushed, {"docs/example.txt": "one\n"})
    commit_all(pushed)
    write_tree(pushed, {"raw/.set_aside/01_a.zip": "zip", "raw/not_yet/one.txt": "one\n"})
    left = forget(pushed, ONE, "--dry-run")["left"]
    assert left["git"] == ["docs/example.txt"]
    assert set(left["raw"]) == {"raw/.set_aside/01_a.zip", "raw/not_yet/one.txt"}


def test_a_registry_without_git_is_no_obstacle(pushed: Path) -> None:
    shutil.rmtree(pushed / ".git")
    run(pushed, "dvc", "config", "core.no_scm", "true")
    forget(pushed, ONE)
    assert places_of(pushed, b"one\n") == []
    assert read_registry(pushed).problems == ()
