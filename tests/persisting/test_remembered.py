"""What is known of a folder without reading it: never more than what stands there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.folders.hashing import hash_folder, read_folder
from registry_assets.dvc_repo.folders.ignoring import without_ignored
from registry_assets.dvc_repo.folders.storing import read_outputs
from tests.conftest import run, write_tree
from tests.persisting.helpers import build_repository

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo

IGNORES = {
    ".dvcignore": "*.bak\n/data/a/secret\n!keep.bak\n**/cache/\nnot-here/*.jpg\n#no\n",
    "data/.dvcignore": "/a/one.txt\n*.tmp\nb/\n!*.tmp.bak\n",
    "data/a/deep/.dvcignore": "*\n!wanted.jpg\n",
    "data/a/one.txt": "1",
    "data/a/two.txt": "2",
    "data/a/x.bak": "3",
    "data/a/keep.bak": "4",
    "data/a/y.tmp": "5",
    "data/a/y.tmp.bak": "6",
    "data/a/secret/7.jpg": "7",
    "data/a/secretary/8.jpg": "8",
    "data/a/cache/9.jpg": "9",
    "data/a/cached": "10",
    "data/a/.git": "a file of that name",
    "data/a/deep/wanted.jpg": "11",
    "data/a/deep/other.jpg": "12",
    "data/a/deep/er/wanted.jpg": "13",
    "data/a/b/14.jpg": "14",
    "data/a/new\nline.bak": "15",
    "data/b/16.jpg": "16",
    "data/repo/17.jpg": "17",
    "data/not-here/18.jpg": "18",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = build_repository(tmp_path / "root", {"x": ""})
    write_tree(root, {"a/1.jpg": "one\n", "a/sub/2.jpg": "two\n"})
    run(root, "dvc", "add", "--quiet", "a")
    return root


@pytest.fixture
def repo(root: Path) -> Iterator[Repo]:
    with DvcRepo(root).open() as repo:
        yield repo


def output(repo: Repo, name: str) -> DvcOutput:
    root = repo.root_dir
    stage = repo.stage.create(
        single_stage=True, validate=False, fname=f"{root}/{name}.dvc", wdir=root, outs=[name]
    )
    return stage.outs[0]


def read(repo: Repo, name: str) -> dict[str, tuple[str, bool]]:
    """The md5s of a folder's files, and whether each was found to be an object of the cache."""
    content = read_folder(repo, output(repo, name))
    assert content is not None
    assert hash_folder(repo, output(repo, name)) == content.hash_info
    return {file.name: (file.md5, file.is_object) for file in content.files}


def test_links_to_what_was_hashed_need_not_be_read(root: Path, repo: Repo) -> None:
    known = {name: md5 for name, (md5, _) in read(repo, "a").items()}
    (root / "b/other").mkdir(parents=True)
    os.link(root / "a/1.jpg", root / "b/other/name.jpg")
    os.link(root / "a/sub/2.jpg", root / "b/2.jpg")
    write_tree(root, {"b/new.jpg": "one\n"})
    assert read(repo, "b") == {
        "2.jpg": (known["sub/2.jpg"], True),
        "new.jpg": (known["1.jpg"], False),
        "other/name.jpg": (known["1.jpg"], True),
    }


def test_a_link_through_which_was_written_is_read(root: Path, repo: Repo) -> None:
    before = read(repo, "a")["1.jpg"][0]
    (root / "b").mkdir()
    os.link(root / "a/1.jpg", root / "b/1.jpg")
    (root / "b/1.jpg").chmod(0o644)
    with (root / "b/1.jpg").open("a") as stream:
        stream.write("more\n")
    md5, is_object = read(repo, "b")["1.jpg"]
    assert (md5 == before, is_object) == (False, False)


@pytest.mark.parametrize("what", ["gone", "another", "writable"])
def test_links_to_what_is_no_object_any_more_are_read(root: Path, repo: Repo, what: str) -> None:
    md5 = read(repo, "a")["1.jpg"][0]
    (root / "b").mkdir()
    os.link(root / "a/1.jpg", root / "b/1.jpg")
    place = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    if what == "writable":
        place.chmod(0o644)
    else:
        place.unlink()
        if what == "another":
            place.write_text("two\n")
    assert read(repo, "b") == {"1.jpg": (md5, False)}


def test_a_folder_is_read_again_when_a_file_of_it_changed(root: Path, repo: Repo) -> None:
    out = output(repo, "a")
    before = hash_folder(repo, out)
    (root / "a/1.jpg").unlink()
    write_tree(root, {"a/1.jpg": "eno\n"})
    changed = hash_folder(repo, out)
    (root / "a/1.jpg").rename(root / "a/3.jpg")
    renamed = hash_folder(repo, out)
    (root / "a/3.jpg").rename(root / "a/1.jpg")
    assert len({before.value, changed.value, renamed.value}) == 3
    assert hash_folder(repo, out) == changed


def test_only_what_changed_is_read_before_it_is_stored(root: Path, repo: Repo) -> None:
    stage = output(repo, "a").stage
    before = read_outputs(repo, stage)
    same = read_outputs(repo, stage, before)
    assert list(same.values()) == list(before.values())
    assert all(one is other for one, other in zip(same.values(), before.values(), strict=True))
    write_tree(root, {"a/4.jpg": "four\n"})
    (now,) = read_outputs(repo, stage, before).values()
    assert now is not None
    assert {file.name for file in now.files} == {"1.jpg", "4.jpg", "sub/2.jpg"}


def test_ignored_is_what_dvc_ignores(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "root", {"x": ""})
    write_tree(root, IGNORES)
    run(root / "data/repo", "dvc", "init", "--subdir", "--quiet")
    with DvcRepo(root).open() as ours, DvcRepo(root).open() as theirs:
        asked = 0
        for folder, folders, files in os.walk(root / "data"):
            assert without_ignored(ours, folder, [*folders], [*files]) == theirs.dvcignore(
                folder, [*folders], [*files]
            )
            asked += len(files)
        assert asked > len(IGNORES) - 2
        # Asked for the first time of a folder that is ignored as a whole.
        with DvcRepo(root).open() as fresh:
            assert without_ignored(fresh, f"{root}/data/a/secret", [], ["7.jpg"]) == ([], [])
