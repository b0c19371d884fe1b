"""What holds for every kind of remote, each with a real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dvc.repo import Repo
from dvc_data.hashfile.db import HashFileDB

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.store import Store
from registry_assets.errors import (
    DataNotAvailableError,
    RemoteAccessError,
    RemoteError,
)
from tests.persisting.helpers import contents
from tests.remotes.conftest import FILE_SIZE, FILES, INPUT, RAW, materialize, sign_in
from tests.remotes.servers import SERVERS
from tests.remotes.servers.storage import Storage

# Eight files and their listing, the same again in capitals, and two tables.
OBJECTS = 2 * (FILES + 1) + 2
SERVED = [name for name in SERVERS if name != "folder"]


def push(root: Path, *, full: bool = False) -> int:
    """Pushes, and returns how many objects were sent."""
    result = DvcRepo(root).push(full=full, report=lambda _line: None)
    assert (result.objects, result.missing) == (OBJECTS, ())
    return result.pushed


def pull(root: Path, path: str = RAW) -> None:
    DvcRepo(root).ensure_in_workspace([f"{path}.dvc"], report=lambda _line: None)


def lacking(root: Path, *, full: bool = False) -> set[str]:
    """The files that are not on the remote as they should be."""
    states = DvcRepo(root).read_remote_states(full=full).values()
    return {str(item) for state in states for item in (*state.missing, *state.damaged)}


def cached(root: Path) -> dict[Path, int]:
    """The objects in the cache, and when they were written."""
    folder = DvcRepo(root).cache_folder
    return {path: path.stat().st_mtime_ns for path in folder.glob("??/*")}


def is_one_clear_line(error: RemoteError | DataNotAvailableError, *, names: str) -> bool:
    said = str(error)
    return "\n" not in said and names in said and "Traceback" not in said and len(said) < 600


def test_what_is_pushed_is_verified_and_comes_into_a_fresh_clone(
    registry: Path, clone: Path
) -> None:
    assert len(lacking(registry)) > OBJECTS - 2
    assert push(registry) == OBJECTS
    assert lacking(registry, full=True) == set()
    assert push(registry) == 0
    pull(clone)
    assert contents(clone / RAW) == contents(registry / RAW)
    assert lacking(clone) == set()  # a clone knows what is there, too


def test_what_went_missing_or_was_cut_short_is_sent_again(registry: Path) -> None:
    push(registry)
    one, other = ((registry / RAW / name).read_bytes() for name in ("01.txt", "02.txt"))
    with remote_objects(registry) as objects:
        objects.delete(md5_of(one))
        replace(objects, md5_of(other), other[: FILE_SIZE // 2])
    assert {name for name in lacking(registry) if name.startswith(RAW)} == {
        f"{RAW}/01.txt",
        f"{RAW}/02.txt",
    }
    assert push(registry) == 2
    assert lacking(registry, full=True) == set()


def test_a_push_that_breaks_off_says_so_and_goes_on_where_it_stopped(
    registry: Path, storage: Storage
) -> None:
    storage.gate.shut_after(9 * FILE_SIZE)
    with pytest.raises(RemoteError) as failed:
        push(registry)
    assert is_one_clear_line(failed.value, names="remote storage (")
    storage.gate.reopen()
    left = lacking(registry)
    assert RAW in left  # a listing without its files would pass for all of them
    assert 0 < push(registry) < OBJECTS
    assert lacking(registry, full=True) == set()


def test_a_pull_that_breaks_off_says_so_and_goes_on_where_it_stopped(
    registry: Path, clone: Path, storage: Storage
) -> None:
    push(registry)
    storage.gate.shut_after(5 * FILE_SIZE)
    with pytest.raises(DataNotAvailableError) as failed:
        pull(clone)
    assert is_one_clear_line(failed.value, names=RAW)
    assert not (clone / RAW).exists()
    storage.gate.reopen()
    first = cached(clone)
    assert 0 < len(first) < FILES + 1
    pull(clone)
    assert contents(clone / RAW) == contents(registry / RAW)
    assert first.items() <= cached(clone).items()


@pytest.mark.parametrize("storage", SERVED, indirect=True)
def test_listing_all_that_is_there_finds_the_same_as_asking(registry: Path) -> None:
    push(registry)
    with Repo(str(registry)) as repo:
        store = Store(repo, None, "md5")
        asked_for = [*(path.parent.name + path.name for path in cached(registry)), "0" * 32]
        sizes = store.find_sizes(asked_for)
        assert len(sizes) == OBJECTS
        assert store.list_sizes(asked_for) == sizes


# Who may use a folder is a matter of the file system.
@pytest.mark.parametrize("storage", SERVED, indirect=True)
def test_wrong_credentials_are_refused_and_told_to_nobody(
    registry: Path,
    clone: Path,
    storage: Storage,
    instance: DagsterInstance,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sign_in(registry, storage.wrong_credentials)
    with pytest.raises(RemoteAccessError) as refused:
        push(registry)
    assert is_one_clear_line(refused.value, names="dvc remote modify --local storage")
    sign_in(clone, storage.wrong_credentials)
    failures = materialize(clone, instance)
    assert len(failures) == 1
    assert "refuses access" in failures[0]
    said = [str(refused.value), *failures, *capfd.readouterr(), caplog.text]
    kept = [path.read_bytes() for path in (tmp_path / "history").rglob("*") if path.is_file()]
    assert any(b"refuses access" in content for content in kept)
    for secret in storage.secrets:
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in content for content in kept)


def test_a_damaged_object_is_found_before_it_reaches_a_data_set(
    registry: Path, clone: Path
) -> None:
    push(registry)
    original = (registry / RAW / "03.txt").read_bytes()
    with remote_objects(registry) as objects:
        replace(objects, md5_of(original), original[::-1])
    assert lacking(registry) == set()  # its size is right
    assert lacking(registry, full=True) == {f"{RAW}/03.txt", f"{INPUT}/03.txt"}

    for path in (RAW, INPUT):
        with pytest.raises(DataNotAvailableError, match=f"damaged objects: {path}/03.txt") as found:
            pull(clone, path)
        assert is_one_clear_line(found.value, names="registry push --full")
        assert not (clone / path).exists()
    assert not any(path.read_bytes() == original[::-1] for path in cached(clone))

    assert push(registry, full=True) == 1
    pull(clone, INPUT)
    assert contents(clone / INPUT) == contents(registry / RAW)


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@contextmanager
def remote_objects(root: Path) -> Iterator[HashFileDB]:
    """The remote as DVC sees it, to do to it what should not happen."""
    with Repo(str(root)) as repo:
        yield repo.cloud.get_remote_odb()


def replace(objects: HashFileDB, md5: str, content: bytes) -> None:
    path = objects.oid_to_path(md5)
    if objects.fs.protocol == "local":
        Path(path).chmod(0o644)
    objects.fs.pipe_file(path, content)


def test_what_is_forgotten_is_removed_and_nothing_else(registry: Path) -> None:
    push(registry)
    dvc = DvcRepo(registry)
    every, forgotten = objects_of(registry)
    assert len(dvc.find_on_remote("storage", forgotten).sizes) == FILES
    dvc.remove_from_remote("storage", forgotten, report=print)
    dvc.remove_from_remote("storage", forgotten, report=print)  # nothing is left to do
    assert dvc.find_on_remote("storage", forgotten).sizes == {}
    assert dvc.find_on_remote("storage", every).sizes.keys() == set(every) - set(forgotten)


# Not Google's: its library goes on trying to delete for more than two minutes.
@pytest.mark.parametrize("storage", [kind for kind in SERVERS if kind != "gs"], indirect=True)
def test_a_removal_that_breaks_off_says_so_and_goes_on(registry: Path, storage: Storage) -> None:
    push(registry)
    dvc = DvcRepo(registry)
    _, forgotten = objects_of(registry)
    storage.gate.shut_after(0)
    with pytest.raises(RemoteError) as stopped:
        dvc.remove_from_remote("storage", forgotten, report=print)
    assert is_one_clear_line(stopped.value, names="storage")
    answer = dvc.find_on_remote("storage", forgotten)
    assert answer.problem is not None
    assert answer.sizes == {}
    storage.gate.reopen()
    dvc.remove_from_remote("storage", forgotten, report=print)
    assert dvc.find_on_remote("storage", forgotten).sizes == {}


def objects_of(registry: Path) -> tuple[list[str], list[str]]:
    """The md5s of all that the cache has, and those of the files of the raw collection."""
    every = [path.parent.name + path.name for path in cached(registry)]
    return every, [md5_of(path.read_bytes()) for path in sorted((registry / RAW).iterdir())]
