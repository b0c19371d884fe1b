"""Objects that were edited in place, through a link in the workspace: found before they do harm."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo, PendingResult
from registry_assets.errors import DataNotAvailableError
from tests.conftest import run, write_tree
from tests.persisting.helpers import build_repository, contents, copy_repository, is_clean

FILES = {"raw/a/1.txt": "one\n", "raw/a/sub/2.txt": "two\n", "raw/a/3.txt": "three\n"}
TWO = "raw/a/sub/2.txt"


def append(path: Path) -> None:
    with path.open("a") as stream:
        stream.write("more\n")


def overwrite(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"TWO\n")


def chmod_and_append(path: Path) -> None:
    path.chmod(0o644)
    append(path)


def append_with_old_date(path: Path) -> None:
    before = path.stat()
    append(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit_another_name(path: Path) -> None:
    other = path.parents[3] / "elsewhere.txt"
    os.link(path, other, follow_symlinks=True)
    append(other)


EDITS: list[Callable[[Path], object]] = [
    append,
    overwrite,
    chmod_and_append,
    lambda path: os.truncate(path, 0),
    append_with_old_date,
    edit_another_name,
]
NAMES = ["append", "overwrite", "chmod", "truncate", "old date", "another name"]


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = build_repository(tmp_path_factory.mktemp("made") / "registry", {})
    write_tree(root, FILES)
    storage = root.parent / "storage"
    run(root, "dvc", "remote", "add", "--default", "storage", str(storage))
    track(root)
    DvcRepo(root).push(report=quiet)
    return root


@pytest.fixture
def root(_made: Path, tmp_path: Path) -> Path:
    """A registered collection, linked, and pushed to a remote of its own."""
    root = copy_repository(_made, tmp_path / "registry")
    shutil.copytree(_made.parent / "storage", tmp_path / "storage")
    run(root, "dvc", "remote", "modify", "storage", "url", str(tmp_path / "storage"))
    shutil.rmtree(root / "raw/a")
    restore(root)
    assert (root / TWO).stat().st_nlink == 2
    return root


def quiet(_line: str) -> None:
    pass


def track(root: Path) -> tuple[PendingResult, list[str]]:
    said: list[str] = []
    with DvcRepo(root).tracking("raw/a", report=said.append) as result:
        result.persist()
    return result, said


def restore(root: Path) -> list[str]:
    said: list[str] = []
    with DvcRepo(root).restoring("raw/a.dvc", report=said.append) as result:
        result.persist()
    return said


def damaged(root: Path) -> list[str]:
    found = []
    for place in (root / ".dvc/cache/files/md5").glob("??/*"):
        name = place.parent.name + place.name.removesuffix(".dir")
        if hashlib.md5(place.read_bytes()).hexdigest() != name:
            found.append(name)
    return found


@pytest.mark.parametrize("edit", EDITS, ids=NAMES)
@pytest.mark.parametrize("is_pushed", [True, False])
def test_registering_keeps_both_versions_apart(
    root: Path, edit: Callable[[Path], object], is_pushed: bool
) -> None:
    first = (root / "raw/a.dvc").read_text()
    if not is_pushed:
        shutil.rmtree(root.parent / "storage")
    edit(root / TWO)
    now = (root / TWO).read_text()
    result, said = track(root)
    assert result.outcome == "recorded"
    assert any(line.startswith(f"damaged {TWO}: edited in place") for line in said)
    assert any(line.startswith("fetched" if is_pushed else "lost") for line in said)
    assert damaged(root) == []
    assert is_clean(root)
    second = (root / "raw/a.dvc").read_text()
    shutil.rmtree(root / "raw/a")
    restore(root)
    assert (root / TWO).read_text() == now
    (root / "raw/a.dvc").write_text(first)
    if is_pushed:
        restore(root)
        assert contents(root / "raw/a") == {k[len("raw/a/") :]: v for k, v in FILES.items()}
        return
    with pytest.raises(DataNotAvailableError, match="pulling it failed"):
        restore(root)
    (root / "raw/a.dvc").write_text(second)
    restore(root)
    assert (root / TWO).read_text() == now


@pytest.mark.parametrize("edit", EDITS, ids=NAMES)
@pytest.mark.parametrize("is_pushed", [True, False])
def test_what_was_edited_in_place_is_not_handed_out(
    root: Path, edit: Callable[[Path], object], is_pushed: bool
) -> None:
    edit(root / TWO)
    now = (root / TWO).read_bytes()
    shutil.rmtree(root / "raw/a")
    if not is_pushed:
        shutil.rmtree(root.parent / "storage")
        with pytest.raises(DataNotAvailableError, match=r"sub/2\.txt was damaged"):
            restore(root)
        assert not (root / TWO).exists()
    else:
        assert any("damaged object of sub/2.txt" in line for line in restore(root))
        assert contents(root / "raw/a") == {k[len("raw/a/") :]: v for k, v in FILES.items()}
    # What somebody wrote is not lost with it.
    held = hashlib.md5(now).hexdigest()
    place = root / ".dvc/cache/files/md5" / held[:2] / held[2:]
    assert place.read_bytes() == now
    assert damaged(root) == []


def test_a_copy_of_what_was_damaged_is_not_replaced_by_it(root: Path) -> None:
    append(root / TWO)
    write_tree(root, {"raw/b/2.txt": "two\n"})
    with DvcRepo(root).tracking("raw/b", report=quiet) as result:
        result.persist()
    assert (root / "raw/b/2.txt").read_text() == "two\n"
    assert damaged(root) == []


@pytest.mark.parametrize("edit", EDITS[:-1], ids=NAMES[:-1])
def test_the_last_good_copy_is_not_replaced(root: Path, edit: Callable[[Path], object]) -> None:
    write_tree(root, {"raw/a/4.txt": "four\n"})
    track(root)
    link = root.parent / "link.txt"
    os.link(root / TWO, link)
    (root / TWO).unlink()
    write_tree(root, {TWO: "two\n"})
    edit(link)
    unsaved = [item.path for item in DvcRepo(root).find_unsaved(["raw/a"])]
    assert unsaved == ["raw/a"]


def test_a_damaged_object_replaces_nothing_on_a_remote(root: Path) -> None:
    append(root / TWO)
    pushed = DvcRepo(root).push(report=quiet)
    assert [item.name for item in pushed.missing] == ["sub/2.txt"]
    restore_in(root)


def test_a_damaged_listing_is_not_pushed(root: Path) -> None:
    (listing,) = (root / ".dvc/cache/files/md5").glob("??/*.dir")
    theirs = next(root.parent.glob(f"storage/files/md5/{listing.parent.name}/{listing.name}"))
    theirs.unlink()
    listing.chmod(0o644)
    listing.write_text(listing.read_text().replace("3.txt", "4.txt"))
    listing.chmod(0o444)
    DvcRepo(root).push(report=quiet)
    assert not theirs.exists()


def restore_in(root: Path) -> None:
    shutil.rmtree(root / "raw/a")
    restore(root)
    assert contents(root / "raw/a") == {k[len("raw/a/") :]: v for k, v in FILES.items()}


def test_a_damaged_listing_is_fetched_anew(root: Path) -> None:
    (listing,) = (root / ".dvc/cache/files/md5").glob("??/*.dir")
    listing.chmod(0o644)
    listing.write_text(listing.read_text().replace("3.txt", "4.txt"))
    listing.chmod(0o444)
    restore_in(root)


def test_what_is_edited_after_unprotect_leaves_the_cache_alone(root: Path) -> None:
    first = (root / "raw/a.dvc").read_text()
    run(root, "dvc", "unprotect", "raw/a")
    append(root / TWO)
    _, said = track(root)
    assert not any("damaged" in line for line in said)
    assert (root / TWO).read_text() == "two\nmore\n"
    (root / "raw/a.dvc").write_text(first)
    restore(root)
    assert (root / TWO).read_text() == "two\n"


def test_a_symbolic_link_is_no_way_around(root: Path) -> None:
    run(root, "dvc", "config", "cache.type", "symlink")
    shutil.rmtree(root / "raw/a")
    restore(root)
    assert (root / TWO).is_symlink()
    (root / TWO).resolve().chmod(0o644)
    append(root / TWO)
    (root / TWO).resolve().chmod(0o444)
    _, said = track(root)
    assert any(line.startswith(f"damaged {TWO}") for line in said)
    assert damaged(root) == []


def test_dates_to_come_are_hashed_once(root: Path) -> None:
    place = (root / TWO).resolve()
    os.utime(place, (4e9, 4e9))
    restore_in(root)
    restore_in(root)
