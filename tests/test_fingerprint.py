"""Changes that are told by the status of files: also where many names are one file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

from registry_assets.dvc_repo.folders.scanning import scan_folder, stamp_of
from registry_assets.dvc_repo.folders.state import FileStatus
from registry_assets.fingerprint import (
    CoveredFolder,
    TreeFingerprint,
    UntoldChangesError,
    read_clock,
)
from tests.conftest import write_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder `a`, and a folder `b` with hard links to some files of it."""
    write_tree(tmp_path, {"a/1.jpg": "one", "a/sub/2.jpg": "two", "b/3.jpg": "three"})
    os.link(tmp_path / "a/1.jpg", tmp_path / "b/1.jpg")
    os.link(tmp_path / "a/sub/2.jpg", tmp_path / "b/2.jpg")
    return tmp_path


def digests(root: Path) -> tuple[str, str]:
    """The fingerprints of `a` and `b` at the same moment."""
    fingerprint = TreeFingerprint()
    fingerprint.add(root / "a")
    fingerprint.add(root / "b")
    found = fingerprint.finish()
    return found.at(str(root / "a")), found.at(str(root / "b"))


def test_links_that_are_looked_at_once_have_the_fingerprint_of_links_looked_at_each(
    root: Path,
) -> None:
    alone = TreeFingerprint()
    alone.add(root / "b")
    assert digests(root)[1] == alone.finish().at(str(root / "b"))


def test_what_is_written_through_a_link_changes_every_folder_that_has_it(root: Path) -> None:
    before = digests(root)
    with (root / "b/1.jpg").open("a") as stream:
        stream.write("more")
    after = digests(root)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_link_that_is_replaced_by_a_copy_changes_its_folder(root: Path) -> None:
    copy = root / "copy"
    copy.write_text("one")
    status = (root / "b/1.jpg").stat()
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.link(root / "b/1.jpg", root / "kept")
    before = digests(root)
    copy.replace(root / "b/1.jpg")
    assert before[1] != digests(root)[1]


_COUNT = 200


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder `a` with many files, a folder `b` with hard links to them, and a link more."""
    write_tree(tmp_path, {f"a/{number}.jpg": f"{number}" for number in range(_COUNT)})
    (tmp_path / "b").mkdir()
    for number in range(_COUNT):
        os.link(tmp_path / f"a/{number}.jpg", tmp_path / f"b/{number}.jpg")
    os.link(tmp_path / "a/1.jpg", tmp_path / "c.jpg")
    return tmp_path


def both(root: Path, before: Mapping[str, CoveredFolder] | None = None) -> TreeFingerprint:
    fingerprint = TreeFingerprint(before)
    fingerprint.add(root / "a")
    fingerprint.add(root / "b")
    fingerprint.finish()
    return fingerprint


def write_and_put_times_back(file: Path) -> None:
    before = file.stat()
    file.write_text("?")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


COVERED_EDITS: Mapping[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "a file more": lambda root: write_tree(root, {"b/more.jpg": "more"}),
    "a link more": lambda root: os.link(root / "a/0.jpg", root / "b/more.jpg"),
    "a file less": lambda root: (root / "b/1.jpg").unlink(),
    "another name": lambda root: (root / "b/1.jpg").rename(root / "b/one.jpg"),
    "two names exchanged": lambda root: (
        (root / "b/1.jpg").rename(root / "b/x"),
        (root / "b/2.jpg").rename(root / "b/1.jpg"),
        (root / "b/x").rename(root / "b/2.jpg"),
    ),
    "written through a link": lambda root: (root / "b/1.jpg").write_text("another"),
    "written through a link outside": lambda root: write_and_put_times_back(root / "c.jpg"),
    "another mode": lambda root: (root / "b/1.jpg").chmod(0o600),
    "a copy": lambda root: (root / "c.jpg").replace(root / "b/2.jpg"),
    "the covering folder gone": lambda root: (root / "a").rename(root / "away"),
    "the folder exchanged": lambda root: (
        shutil.copytree(root / "b", root / "copy"),
        shutil.rmtree(root / "b"),
        (root / "copy").rename(root / "b"),
    ),
    "a folder in it": lambda root: write_tree(root, {"b/sub/1.jpg": "1"}),
}


@pytest.mark.parametrize("name", COVERED_EDITS)
def test_a_folder_that_is_not_listed_has_the_fingerprint_of_one_that_is(
    linked: Path, name: str
) -> None:
    first = both(linked)
    assert first.covered.keys() == {str(linked / "b")}
    read_clock(linked / "clock")
    COVERED_EDITS[name](linked)
    fresh, again = both(linked), both(linked, first.covered)
    assert again.digest() == fresh.digest()
    assert again.covered == fresh.covered
    assert (fresh.digest() == first.digest()) is (name == "nothing")


def test_a_covered_folder_is_not_listed(linked: Path) -> None:
    # A change that the status of the folder does not tell, as no program can make it.
    covered = both(linked).covered
    (place,) = covered
    found = {place: covered[place]._replace(digest="0" * 32)}
    assert both(linked, found).digest() != both(linked).digest()


@pytest.mark.parametrize("name", ["a", "a/1.jpg"])
def test_a_stamp_changes_with_what_stands_there(root: Path, name: str) -> None:
    stamps = [stamp_of(str(root / name))]
    with (root / "a/1.jpg").open("a") as stream:
        stream.write("more")
    stamps.append(stamp_of(str(root / name)))
    (root / "a").rename(root / "c")
    stamps.append(stamp_of(str(root / name)))
    assert None not in stamps
    assert len(set(stamps)) == 3


def test_a_link_to_a_file_has_a_stamp_and_one_to_a_folder_has_none(root: Path) -> None:
    link = root / "a/link"
    link.symlink_to("1.jpg")
    stamps = {stamp_of(str(link)), stamp_of(str(root / "a"))}
    (root / "a/1.jpg").write_text("another")
    stamps |= {stamp_of(str(link)), stamp_of(str(root / "a"))}
    assert len(stamps - {None}) == 4
    link.unlink()
    link.symlink_to("sub")
    assert stamp_of(str(link)) is None
    assert stamp_of(str(root / "a")) is None
    with pytest.raises(UntoldChangesError):
        TreeFingerprint().add(root / "a")


def test_a_scan_is_walked_as_the_folder_itself(root: Path) -> None:
    write_tree(root, {"a/other/deep/5.jpg": "five", "a/other/6.jpg": "six"})
    (root / "a/link").symlink_to("sub")
    scan = scan_folder(str(root / "a"))

    def walked(walk: object) -> dict[str, tuple[list[str], list[str]]]:
        found = {}
        for folder, folders, files in walk:  # type: ignore[attr-defined]
            found[folder] = sorted(folders), sorted(files)
            folders[:] = [name for name in folders if name != "deep"]
        return found

    assert walked(scan.walk()) == walked(os.walk(root / "a"))


@pytest.mark.parametrize("seed", range(20))
def test_the_time_of_a_file_is_that_of_python_to_the_last_bit(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "file"
    file.touch()
    time_ns = Random(seed).randrange(2_000_000_000_000_000_000)
    os.utime(file, ns=(time_ns, time_ns))
    assert FileStatus.of(file.stat()).st_mtime == file.stat().st_mtime
