"""Folders into the cache and out of it: what `dvc add` and `dvc checkout` leave, to the byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.edits import Edit
from registry_assets.dvc_repo.folders.hashing import read_folder
from registry_assets.dvc_repo.folders.links import copy_file
from registry_assets.dvc_repo.folders.many_files import hash_files, link_files
from registry_assets.dvc_repo.folders.storing import note_outputs, read_outputs, store_outputs
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.errors import (
    DataBeingWrittenError,
    DataModifiedError,
    DataNotAvailableError,
    FileNotStorableError,
)
from tests.conftest import run, write_tree
from tests.persisting.helpers import (
    build_repository,
    contents,
    copy_repository,
    is_clean,
    leftovers,
    metafiles,
)

KINDS = ("hardlink", "hardlink, copy", "copy", "reflink, copy", "symlink", "symlink, hardlink")
MANY = 5_000
FILES = {
    ".dvcignore": "*.bak\n/raw/a/secret\n",
    "raw/a/1.jpg": "one\n",
    "raw/a/sub/deep/2.jpg": "two\n",
    "raw/a/sub/twin.jpg": "one\n",
    "raw/a/empty.txt": "",
    "raw/a/sub/empty too.txt": "",
    "raw/a/z.bak": "ignored\n",
    "raw/a/secret/3.jpg": "ignored, too\n",
    "raw/a/with space.txt": "1\n",
    "raw/a/Ünïcode ✓.txt": "2\n",
    "raw/a/new\nline.txt": "3\n",
    'raw/a/quo"te.txt': "4\n",
    "raw/a/back\\slash.txt": "5\n",
    "raw/a/-dash": "6\n",
    "raw/a/program": "#!/bin/sh\n",
    "raw/a/large": "more than a program holds at once\n" * 50_000,
    "raw/a.b/x": "beside\n",
}


def quiet(_line: str) -> None:
    pass


def build(root: Path, kinds: str) -> Path:
    build_repository(root, {"x": ""})
    run(root, "dvc", "config", "cache.type", kinds.replace(" ", ""))
    write_tree(root, FILES)
    (root / "raw/a/program").chmod(0o755)
    (root / "raw/a/nothing in it").mkdir()
    (root / "raw/a/leads to sub").symlink_to("sub")
    return root


def track(root: Path) -> str:
    with DvcRepo(root).tracking("raw/a", report=quiet) as pending:
        return pending.persist()["raw/a"].version.md5


def objects(root: Path) -> dict[str, tuple[int, bytes]]:
    """What the cache holds, and who may write to it."""
    cache = root / ".dvc/cache/files/md5"
    return {
        path.relative_to(cache).as_posix(): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in cache.rglob("*")
        if path.is_file()
    }


def unknown_files(root: Path) -> list[str]:
    """The files that DVC would have to hash, as its state does not know them."""
    with DvcRepo(root).open() as repo:
        (stage,) = load_stages(repo, root, ["raw/a.dvc"])
        tree = stage.outs[0].get_obj()
        paths = {f"{root}/raw/a/{'/'.join(key)}": info for key, _, info in tree}
        return [path for path, info in paths.items() if repo.state.get(path, repo.fs)[1] != info]


def change(root: Path) -> None:
    """Files come, go and change, as people do it: what is linked is replaced."""
    (root / "raw/a/1.jpg").unlink()
    (root / "raw/a/sub/twin.jpg").unlink()
    write_tree(root, {"raw/a/1.jpg": "changed\n", "raw/a/sub/new.jpg": "two\n"})


@pytest.mark.parametrize("kinds", KINDS)
def test_adding_leaves_what_dvc_leaves(tmp_path: Path, kinds: str) -> None:
    ours = build(tmp_path / "ours", kinds)
    theirs = copy_repository(ours, tmp_path / "theirs")
    for step in (lambda _root: None, change):
        for root in (ours, theirs):
            step(root)
        track(ours)
        run(theirs, "dvc", "add", "--quiet", "raw/a")
        assert metafiles(ours) == metafiles(theirs)
        assert objects(ours) == objects(theirs)
        assert contents(ours / "raw/a") == contents(theirs / "raw/a")
        assert unknown_files(ours) == []
        assert is_clean(ours)
        assert leftovers(ours) == []
    with DvcRepo(ours).open() as repo, DvcRepo(theirs).open() as other:
        assert list(repo.state.links) == list(other.state.links) == ["raw/a"]
        # Both would clean it up, and nothing else, when nothing declares it any more.
        assert repo.state.get_unused_links([], repo.fs) == ["raw/a"]


@pytest.mark.parametrize("kinds", ["hardlink", "hardlink, copy"])
def test_hard_links_are_one_with_the_cache_also_where_two_files_are_the_same(
    tmp_path: Path, kinds: str
) -> None:
    root = build(tmp_path / "root", kinds)
    track(root)
    cached = {path.stat().st_ino for path in (root / ".dvc/cache").rglob("*") if path.is_file()}
    files = [path for path in (root / "raw/a").rglob("*") if path.is_file()]
    tracked = [p for p in files if p.suffix != ".bak" and "secret" not in p.parts]
    full = [path for path in tracked if path.stat().st_size]
    assert all(path.stat().st_ino in cached for path in full)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in full)
    # As with DVC: hundreds of thousands of empty files cannot be one.
    assert not any(path.stat().st_ino in cached for path in tracked if path not in full)


def test_dvc_is_needed_for_nothing_but_links_among_the_files(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "hardlink")
    track(root)
    with DvcRepo(root).open() as repo:
        (stage,) = load_stages(repo, root, ["raw/a.dvc"])
        (out,) = stage.outs
        content = read_folder(repo, out)
        assert content is not None
        assert content.hash_info == out.hash_info
        assert out.get_hash() == out.hash_info
        (root / "raw/a/link.jpg").symlink_to("1.jpg")
        assert read_folder(repo, out) is None
    write_tree(root, {"raw/other": ""})
    twin = copy_repository(root, tmp_path / "twin")
    track(root)
    run(twin, "dvc", "add", "--quiet", "raw/a")
    assert metafiles(root) == metafiles(twin)


def test_damaged_and_half_objects_are_replaced(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "hardlink, copy")
    never_damaged = copy_repository(root, tmp_path / "never_damaged")
    track(never_damaged)
    for name, (_, data) in objects(never_damaged).items():
        place = root / ".dvc/cache/files/md5" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        # Read-only ones are those that somebody looked at.
        place.write_bytes(data[: len(data) // 2])
    halves = {hashlib.md5(data).hexdigest() for _, data in objects(root).values()}
    track(root)
    # What they held is kept, under names of its own: whether somebody wrote that cannot be told.
    found = objects(root)
    assert found.items() >= objects(never_damaged).items()
    assert {name.replace("/", "") for name in found.keys() - objects(never_damaged)} <= halves
    assert is_clean(root)


@pytest.mark.parametrize("kinds", ["hardlink", "copy"])
def test_what_changes_while_it_is_stored_is_not_stored(tmp_path: Path, kinds: str) -> None:
    root = build(tmp_path / "root", kinds)
    dvc = DvcRepo(root)
    with dvc.open() as repo:
        stage = repo.stage.create(
            single_stage=True,
            validate=False,
            fname=str(root / "raw/a.dvc"),
            wdir=str(root / "raw"),
            outs=["a"],
        )
        hashed = read_outputs(repo, stage)
        with (root / "raw/a/sub/deep/2.jpg").open("a") as stream:
            stream.write("more\n")
        with dvc.write_lock(repo, quiet):
            note_outputs(stage, hashed)
            with pytest.raises(DataBeingWrittenError, match=r"2\.jpg changed .* run this again"):
                store_outputs(repo, stage, hashed)
    assert not [name for name in objects(root) if name.endswith(".dir")]
    track(root)
    assert is_clean(root)
    assert run(root, "dvc", "list", ".", "raw/a/sub/deep").split() == ["2.jpg"]


def test_a_cache_on_another_file_system(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    ours = build(tmp_path / "ours", "hardlink, copy")
    theirs = copy_repository(ours, tmp_path / "theirs")
    caches = [shared / f"{tmp_path.name}-{os.getpid()}-{name}" for name in ("ours", "theirs")]
    try:
        for root, cache in zip((ours, theirs), caches, strict=True):
            run(root, "dvc", "cache", "dir", str(cache))
        track(ours)
        run(theirs, "dvc", "add", "--quiet", "raw/a")
        assert metafiles(ours) == metafiles(theirs)
        assert contents(caches[0]) == contents(caches[1])
        shutil.rmtree(ours / "raw/a")
        DvcRepo(ours).ensure_in_workspace(["raw/a.dvc"], report=quiet)
        assert is_clean(ours)
    finally:
        for cache in caches:
            shutil.rmtree(cache, ignore_errors=True)


def test_a_cache_that_a_group_shares(tmp_path: Path) -> None:
    ours = build(tmp_path / "ours", "copy")
    run(ours, "dvc", "config", "cache.shared", "group")
    theirs = copy_repository(ours, tmp_path / "theirs")
    track(ours)
    run(theirs, "dvc", "add", "--quiet", "raw/a")

    def modes(root: Path) -> dict[str, int]:
        cache = root / ".dvc/cache/files/md5"
        return {p.relative_to(cache).as_posix(): p.stat().st_mode for p in cache.rglob("*")}

    assert modes(ours) == modes(theirs)


@pytest.mark.parametrize("kinds", KINDS)
def test_checking_out_brings_what_dvc_brings(tmp_path: Path, kinds: str) -> None:
    ours = build(tmp_path / "ours", kinds)
    metafile = ours / "raw/a.dvc"
    track(ours)
    first = metafile.read_text()
    change(ours)
    track(ours)
    theirs = copy_repository(ours, tmp_path / "theirs")
    second = metafile.read_text()
    for text in (first, second):
        for root in (ours, theirs):
            (root / "raw/a.dvc").write_text(text)
        DvcRepo(ours).ensure_in_workspace(["raw/a.dvc"], report=quiet)
        run(theirs, "dvc", "checkout", "--quiet", "raw/a.dvc")
        assert contents(ours / "raw/a") == contents(theirs / "raw/a")
        assert unknown_files(ours) == []
        assert is_clean(ours)
    for root in (ours, theirs):
        shutil.rmtree(root / "raw/a")
    DvcRepo(ours).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    run(theirs, "dvc", "checkout", "--quiet", "raw/a.dvc")

    def links(root: Path) -> dict[str, tuple[bool, int]]:
        found = [path for path in (root / "raw/a").rglob("*") if path.is_file()]
        return {
            path.relative_to(root).as_posix(): (path.is_symlink(), path.lstat().st_nlink)
            for path in found
        }

    assert links(ours) == links(theirs)
    assert is_clean(ours)
    assert leftovers(ours) == []


def test_other_processes_help_with_many_files_and_leave_what_dvc_leaves(tmp_path: Path) -> None:
    ours = build(tmp_path / "ours", "hardlink, copy")
    write_tree(ours, {f"raw/a/many/{n}.txt": f"{n % MANY}\n" for n in range(MANY + 10)})
    theirs = copy_repository(ours, tmp_path / "theirs")
    track(ours)
    assert any("worker_process" in " ".join(p.cmdline()) for p in psutil.Process().children())
    run(theirs, "dvc", "add", "--quiet", "raw/a")
    assert metafiles(ours) == metafiles(theirs)
    assert objects(ours) == objects(theirs)
    shutil.rmtree(ours / "raw/a")
    DvcRepo(ours).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    (theirs / "raw/a/z.bak").unlink()
    shutil.rmtree(theirs / "raw/a/secret")
    assert contents(ours / "raw/a") == contents(theirs / "raw/a")
    assert unknown_files(ours) == []
    assert is_clean(ours)
    assert leftovers(ours) == []


def test_other_processes_tell_what_is_wrong_with_one_of_many_files(tmp_path: Path) -> None:
    file, missing = tmp_path / "file", tmp_path / "missing"
    file.write_text("one\n")
    whole, md5 = (str(file), 4), hashlib.md5(b"one\n").hexdigest()
    found = [*hash_files([*[whole] * MANY, (str(file), 5), (str(file), 3)], MANY + 2)]
    assert found == [*[md5] * MANY, None, None]
    with pytest.raises(FileNotFoundError, match="missing"):
        list(hash_files([*[whole] * MANY, (str(missing), 0)], MANY + 1))
    links = [(str(missing), f"{file}0"), *((str(file), f"{file}{n}") for n in range(MANY))]
    lacking, *made = link_files([*links, links[1]], MANY + 2, mode=0o444)
    assert (lacking, made.pop()) == (None, None)
    assert {fields[1] for fields in made if fields} == {file.stat().st_ino}
    assert len(made) == MANY == file.stat().st_nlink - 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_checking_out_loses_nothing_that_is_saved_nowhere(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "hardlink, copy")
    track(root)
    (root / "raw/a/1.jpg").unlink()
    (root / "raw/a/sub/deep/2.jpg").unlink()
    write_tree(root, {"raw/a/sub/twin2.jpg": "one\n", "raw/a/1.jpg": "saved nowhere\n"})
    before = contents(root / "raw/a")
    with pytest.raises(DataModifiedError):
        DvcRepo(root).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    assert contents(root / "raw/a") == before
    (root / "raw/a/1.jpg").unlink()
    # What is left is in the cache, under this name or another.
    DvcRepo(root).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    assert is_clean(root)


def test_a_folder_where_a_file_was_and_the_other_way_round(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "hardlink, copy")
    track(root)
    first = (root / "raw/a.dvc").read_text()
    (root / "raw/a/1.jpg").unlink()
    shutil.rmtree(root / "raw/a/sub")
    (root / "raw/a/leads to sub").unlink()
    write_tree(root, {"raw/a/1.jpg/now a folder.txt": "1\n", "raw/a/sub": "now a file\n"})
    track(root)
    assert is_clean(root)
    (root / "raw/a.dvc").write_text(first)
    shutil.rmtree(root / "raw/a")
    DvcRepo(root).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    assert is_clean(root)


def test_part_of_a_version_is_missing(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "hardlink, copy")
    track(root)
    shutil.rmtree(root / "raw/a")
    name = next(name for name, (_, data) in objects(root).items() if data == b"two\n")
    (root / ".dvc/cache/files/md5" / name).unlink()
    with pytest.raises(DataNotAvailableError, match="raw/a"):
        DvcRepo(root).ensure_in_workspace(["raw/a.dvc"], report=quiet)


def test_pushed_to_a_folder_and_pulled_back_by_either(tmp_path: Path) -> None:
    ours = build(tmp_path / "ours", "hardlink, copy")
    track(ours)
    theirs = copy_repository(ours, tmp_path / "theirs")
    for root in (ours, theirs):
        run(
            root, "dvc", "remote", "add", "--default", "storage", str(root.parent / f"{root.name}s")
        )
    assert DvcRepo(ours).push(report=quiet).missing == ()
    run(theirs, "dvc", "push", "--quiet")

    def stored(root: Path) -> dict[str, tuple[int, bytes]]:
        store = root.with_name(f"{root.name}s")
        return {
            path.relative_to(store).as_posix(): (path.stat().st_mode, path.read_bytes())
            for path in store.rglob("*")
            if path.is_file()
        }

    assert stored(ours) == stored(theirs)
    before = objects(ours)
    for root in (ours, theirs):
        shutil.rmtree(root / "raw/a")
        shutil.rmtree(root / ".dvc/cache")
        # Each from what the other has pushed.
        other = "theirss" if root == ours else "ourss"
        run(root, "dvc", "remote", "modify", "storage", "url", str(tmp_path / other))
    DvcRepo(ours).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    run(theirs, "dvc", "pull", "--quiet")
    assert contents(ours / "raw/a") == contents(theirs / "raw/a")
    assert objects(ours) == objects(theirs) == before
    assert is_clean(ours)


def test_a_damaged_object_in_a_folder_does_not_reach_the_cache(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "hardlink, copy")
    track(root)
    run(root, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "store"))
    DvcRepo(root).push(report=quiet)
    name = next(name for name, (_, data) in objects(root).items() if data == b"two\n")
    place = tmp_path / "store/files/md5" / name
    place.chmod(0o644)
    place.write_bytes(b"owt\n")
    shutil.rmtree(root / "raw/a")
    shutil.rmtree(root / ".dvc/cache")
    with pytest.raises(DataNotAvailableError, match=r"2\.jpg"):
        DvcRepo(root).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    assert name not in objects(root)
    place.write_bytes(b"two\n")
    DvcRepo(root).ensure_in_workspace(["raw/a.dvc"], report=quiet)
    assert is_clean(root)


ON_A_FULL_DISK = """\
import resource, signal, sys
from registry_assets.dvc_repo.folders.links import copy_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
copy_file(*sys.argv[1:])
"""


def test_a_disk_that_gets_full_leaves_no_part_for_the_whole(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"x" * 600_000)
    places = [str(tmp_path / "whole"), str(tmp_path / "copy")]
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, *places], capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    copy_file(places[0], str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


def test_what_dvc_would_wait_for_or_break_off_at_is_named(tmp_path: Path) -> None:
    root = build(tmp_path / "registry", "hardlink, copy")
    track(root)
    place = f"{root}/raw/a/b\udcff.txt"
    Path(place).write_text("a name of bytes that are no text\n")
    (state,) = DvcRepo(root).output_states(["raw/a.dvc"]).values()
    assert state.changes == ("raw/a/b�.txt cannot be stored: its name is not UTF-8",)
    Path(place).unlink()
    os.mkfifo(root / "raw/a/pipe")
    (state,) = DvcRepo(root).output_states(["raw/a.dvc"]).values()
    assert state.changes == ("raw/a/pipe cannot be stored: not a regular file",)
    assert DvcRepo(root).find_edit("raw/a.dvc", "raw/a") == Edit(is_known=False)
    with pytest.raises(FileNotStorableError, match=r"pipe.*`registry add NAME` sets it aside"):
        track(root)
