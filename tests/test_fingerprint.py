"""Changes that are told by the status of files: also where many names are one file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry_assets.dvc_repo.folders.scanning import scan_folder, stamp_of
from registry_assets.fingerprint import TreeFingerprint, UntoldChangesError
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
    one = TreeFingerprint()
    other = TreeFingerprint(one.linked)
    one.add(root / "a")
    other.add(root / "b")
    return one.digest(), other.digest()


def test_links_that_are_looked_at_once_have_the_fingerprint_of_links_looked_at_each(
    root: Path,
) -> None:
    alone = TreeFingerprint()
    alone.add(root / "b")
    assert digests(root)[1] == alone.digest()


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
