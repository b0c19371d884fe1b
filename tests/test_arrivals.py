"""What DVC cannot store is moved aside, with a note that says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.fingerprint import measure_extent
from registry_assets.images.entries import find_entries
from registry_assets.intake.setting_aside import SET_ASIDE_FOLDER, set_aside_unstorable
from registry_assets.registry.status.arrivals import (
    find_arrivals,
    holds_a_file,
    reject_unseen,
)
from tests.conftest import run, write_tree


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / "01_a"
    write_tree(folder, {"one.txt": "1", "deep/two.txt": "2"})
    return folder


def aside(folder: Path, name: str) -> Path:
    return folder.parent / SET_ASIDE_FOLDER / folder.name / name


def noted_reason(path: Path) -> str:
    """The reason in a note, as the measuring of images reads it."""
    assert path.is_file()
    assert not path.is_symlink()
    (found,) = (entry for entry in find_entries(path.parent) if entry.path == path.name)
    return found.reason


def test_links_that_lead_nowhere_or_out_are_set_aside(collection: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_tree(outside, {"secret.txt": "secret"})
    links = {
        "broken": "nowhere.txt",
        "deep/file": str(outside / "secret.txt"),
        "folder": "../../outside",
    }
    for name, target in links.items():
        (collection / name).symlink_to(target)
    found = set_aside_unstorable(collection, tmp_path / "cache")
    assert set(found) == set(links)
    assert "broken symbolic link to nowhere.txt" in found["broken"]
    assert f"symbolic link out of the collection, to {outside}" in found["deep/file"]
    assert "symbolic link out of the collection, to ../../outside" in found["folder"]
    for name, target in links.items():
        assert found[name] == noted_reason(collection / name)
        assert aside(collection, name).is_symlink()
        assert str(aside(collection, name).readlink()) == target
    assert (outside / "secret.txt").read_text() == "secret"
    assert (collection / "one.txt").read_text() == "1"


def test_links_within_the_collection_and_into_the_cache_stay(
    collection: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    write_tree(cache, {"files/md5/ab/cdef": "cached"})
    links = {
        "inward": "one.txt",
        "deep/up": "../one.txt",
        "folder": "deep",
        "deep/again": "..",
        "cached": str(cache / "files/md5/ab/cdef"),
    }
    for name, target in links.items():
        (collection / name).symlink_to(target)
    before = sorted(collection.rglob("*"))
    assert set_aside_unstorable(collection, cache) == {}
    assert sorted(collection.rglob("*")) == before
    assert {name: str((collection / name).readlink()) for name in links} == links
    assert not (collection.parent / SET_ASIDE_FOLDER).exists()


def test_links_in_a_circle_are_set_aside(collection: Path, tmp_path: Path) -> None:
    (collection / "a").symlink_to("b")
    (collection / "b").symlink_to("a")
    assert set(set_aside_unstorable(collection, tmp_path)) == {"a", "b"}
    assert "symbolic link" in noted_reason(collection / "a")


def test_a_pipe_is_set_aside(collection: Path, tmp_path: Path) -> None:
    os.mkfifo(collection / "deep/pipe.jpg")
    found = set_aside_unstorable(collection, tmp_path)
    assert found == {"deep/pipe.jpg": "not a regular file"}
    assert noted_reason(collection / "deep/pipe.jpg") == "not a regular file"
    assert aside(collection, "deep/pipe.jpg").is_fifo()


def test_a_name_that_is_no_text_is_set_aside(collection: Path, tmp_path: Path) -> None:
    for name in ("deep/b\udcff.jpg", "no\udcfe"):
        (collection / name).parent.mkdir(parents=True, exist_ok=True)
        (collection / name).write_text("x")
    found = set_aside_unstorable(collection, tmp_path)
    assert found == dict.fromkeys(("deep/b�.jpg", "no�"), "its name is not UTF-8")
    assert noted_reason(collection / "deep/b�.jpg") == "its name is not UTF-8"
    assert aside(collection, "deep/b\udcff.jpg").read_text() == "x"
    assert set_aside_unstorable(collection, tmp_path) == {}


AS_NOBODY = """\
import json, os, sys
from pathlib import Path
from registry_assets.intake.setting_aside import set_aside_unstorable
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps(set_aside_unstorable(Path(sys.argv[1]), Path("/nowhere"))))
"""


def test_what_may_not_be_read_is_set_aside(collection: Path) -> None:
    # Root may read anything, so this runs as a user that may not.
    write_tree(collection, {"closed.txt": "x", "shut/three.txt": "3"})
    (collection / "closed.txt").chmod(0)
    (collection / "shut").chmod(0)
    if os.geteuid() == 0:
        for path in (collection.parent, *collection.parent.rglob("*")):
            os.chown(path, 65534, 65534)
        for folder in collection.parents:
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(collection)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "closed.txt": "unreadable: permission denied",
        "shut": "unreadable folder: permission denied",
    }
    assert noted_reason(collection / "closed.txt") == "unreadable: permission denied"
    assert "unreadable folder" in noted_reason(collection / "shut")
    aside(collection, "shut").chmod(0o700)
    aside(collection, "closed.txt").chmod(0o600)
    assert (aside(collection, "shut") / "three.txt").read_text() == "3"
    assert aside(collection, "closed.txt").read_text() == "x"


def test_what_cannot_be_moved_is_an_error_that_says_what_to_do(
    collection: Path, tmp_path: Path
) -> None:
    (collection / "link").symlink_to("nowhere")
    (collection.parent / SET_ASIDE_FOLDER).write_text("in the way")
    said = r"01_a/link cannot be stored .*moving it aside failed .*or remove it"
    with pytest.raises(RegistryError, match=said):
        set_aside_unstorable(collection, tmp_path / "cache")
    assert (collection / "link").is_symlink()


def test_what_was_set_aside_before_is_not_overwritten(collection: Path, tmp_path: Path) -> None:
    for target in ("first", "second", "third"):
        (collection / "link").unlink(missing_ok=True)
        (collection / "link").symlink_to(target)
        assert set(set_aside_unstorable(collection, tmp_path)) == {"link"}
    kept = {str(p.readlink()) for p in aside(collection, "").iterdir()}
    assert kept == {"first", "second", "third"}


def test_what_is_set_aside_stays_out_of_git_and_of_arrivals(
    collection: Path, tmp_path: Path
) -> None:
    run(tmp_path, "git", "init", "--quiet")
    (collection / "link").symlink_to("nowhere")
    set_aside_unstorable(collection, tmp_path / "cache")
    run(tmp_path, "git", "check-ignore", "--quiet", str(aside(collection, "link")))
    assert [arrival.name for arrival in find_arrivals(collection.parent)] == ["01_a"]


def test_a_second_look_finds_nothing(collection: Path, tmp_path: Path) -> None:
    (collection / "link").symlink_to("nowhere")
    assert set_aside_unstorable(collection, tmp_path / "cache")
    assert set_aside_unstorable(collection, tmp_path / "cache") == {}


def test_a_collection_with_all_of_it_can_be_added(text_registry: Path) -> None:
    folder = text_registry / "raw/01_a"
    (folder / "broken").symlink_to("nowhere")
    (folder / "outward").symlink_to(text_registry)
    os.mkfifo(folder / "pipe")
    set_aside_unstorable(folder, text_registry / ".dvc/cache")
    run(text_registry, "dvc", "add", "--quiet", "raw/01_a")
    assert "nfiles: 5" in (text_registry / "raw/01_a.dvc").read_text()


def test_arrivals_are_sorted_folders_without_a_metafile(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"b/x": "", "a/x": "", "c/x": "", "c.dvc": "", "file": "", ".hidden/x": "", "d.dvc/x": ""},
    )
    found = {arrival.name: arrival.reason for arrival in find_arrivals(tmp_path)}
    assert list(found) == ["a", "b", "d.dvc"]
    assert found["a"] is found["b"] is None
    assert "suffix of DVC's own files" in str(found["d.dvc"])
    assert list(find_arrivals(tmp_path / "nowhere")) == []


def test_holding_a_file_looks_into_all_folders(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    assert not holds_a_file(tmp_path)
    write_tree(tmp_path, {"a/b/x": ""})
    assert holds_a_file(tmp_path)
    assert holds_a_file(tmp_path / "a/b/x")


def test_the_extent_counts_everything_and_follows_no_link(collection: Path) -> None:
    before = measure_extent(collection)
    assert (before.nfiles, before.size) == (2, 2)
    (collection / "out").symlink_to("/")
    after = measure_extent(collection)
    assert after.nfiles == 3
    assert after.changed >= before.changed


def test_what_git_tracks_is_named_with_the_step_that_takes_it_over(text_registry: Path) -> None:
    root = text_registry
    run(root, "git", "add", "--force", "raw/01_a")
    arrivals = reject_unseen(DvcRepo(root), find_arrivals(root / "raw"))
    told = {arrival.name: arrival.reason for arrival in arrivals}
    assert told["02_b"] is None
    assert "`git rm -r --cached raw/01_a`, then `registry add 01_a`" in str(told["01_a"])
    run(root, "git", "rm", "--quiet", "-r", "--cached", "raw/01_a")
    run(root, "registry", "add", "01_a")
    assert (root / "raw/01_a.dvc").exists()
