"""Objects on remotes: what is there, sending what is not, fetching, each one verified.

DVC takes a folder for complete when its listing is there, and remembers on this machine what it
has sent. Here the remote itself is asked, object by object.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.db import get_index
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.hash_info import HashInfo
from dvc_objects.errors import ObjectFormatError

from registry_assets.dvc_repo.folders.copying import are_folders, copy_objects
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.opening import Report
from registry_assets.dvc_repo.remote_errors import (
    RemotePlace,
    hidden_cause,
    place_of,
    reaching_remote,
    translate,
)
from registry_assets.dvc_repo.versions import path_in_repo, place_in
from registry_assets.errors import (
    DvcError,
    RemoteAccessError,
    RemoteDamagedError,
    RemoteError,
    RemoteLacksDataError,
)

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

_DIRECTORY = ".dir"
# Up to so many objects are asked for one by one; for more, all that is there is listed.
_FEW = 500
# After so many objects in folders, which answer at once,
_IN_FOLDERS = 1000
# and so many elsewhere for each that is under way at once it is seen whether the remote is still
# there: without, each of the rest would be tried, and wait for what its library takes to give up.
_ROUNDS = 4
_SAY_AGAIN_SECONDS = 10.0


@dataclass(frozen=True)
class RemoteObject:
    """One object of a version, on a remote or missing there.

    Attributes:
        output: The output it belongs to, by path.
        md5: The version of the output.
        name: Its path inside the output; "" for the output itself (of a folder: its listing).
    """

    output: str
    md5: str
    name: str

    def __str__(self) -> str:
        return f"{self.output}/{self.name}" if self.name else self.output


@dataclass(frozen=True)
class RemoteState:
    """How a remote holds one version.

    Attributes:
        remote: The name of the remote.
        objects: How many objects the version has, each content once; a listing counts.
        missing: Those that are not there.
        damaged: Those that do not hold what their names say, as far as was looked.
    """

    remote: str
    objects: int
    missing: tuple[RemoteObject, ...]
    damaged: tuple[RemoteObject, ...]


@dataclass(frozen=True)
class PushResult:
    """What is on the remotes after pushing.

    Attributes:
        remotes: The remotes, by name.
        objects: How many objects were looked for.
        pushed: How many of them were sent just now.
        missing: Those that are not there, or not intact, and could not be sent, as the cache lacks
            them; once for every version that has them.
    """

    remotes: tuple[str, ...]
    objects: int
    pushed: int
    missing: tuple[RemoteObject, ...]


class Store:
    """The objects of one remote.

    Args:
        repo: The opened repository.
        name: The remote; the default one when None.
        hash_name: How DVC calls the hash that objects are named after.

    Raises:
        DvcError: when there is no remote of that name, or no default one.
        RemoteError: when this kind of remote cannot be used here.
    """

    def __init__(self, repo: Repo, name: str | None, hash_name: str) -> None:
        name = name or repo.config["core"].get("remote")
        if not name:
            raise DvcError(
                "there is no default remote: `dvc remote add --default storage URL` makes one, "
                'see "Remotes" in the README'
            )
        self.place: RemotePlace = place_of(repo, name)
        with reaching_remote(self.place):
            self._odb: HashFileDB = repo.cloud.get_remote_odb(name, "push", hash_name)

    def find_sizes(self, oids: Collection[str]) -> Mapping[str, int]:
        """The sizes, in bytes, of those of the objects that are there.

        Raises:
            RemoteError: when the remote cannot be asked.
        """
        with reaching_remote(self.place):
            if are_folders(self._odb):
                return dict(self._sizes_in_folder(oids))
            filesystem = self._odb.fs
            filesystem.fs.invalidate_cache()
            if len(oids) > _FEW and filesystem.protocol != "local":
                return self.list_sizes(oids)
            paths = [self._odb.oid_to_path(oid) for oid in oids]
            infos = filesystem.info(paths, batch_size=filesystem.jobs, return_exceptions=True)
            sizes = {}
            for oid, info in zip(oids, infos, strict=True):
                if isinstance(info, FileNotFoundError):
                    if (cause := hidden_cause(info)) is not None:
                        raise cause
                    continue
                if isinstance(info, BaseException):
                    raise info
                sizes[oid] = int(info["size"])
            return sizes

    def _sizes_in_folder(self, oids: Iterable[str]) -> Iterator[tuple[str, int]]:
        for oid in oids:
            with suppress(FileNotFoundError):
                yield oid, os.stat(place_in(self._odb, oid)).st_size  # noqa: PTH116 - many

    def list_sizes(self, oids: Collection[str]) -> Mapping[str, int]:
        """The same, by listing all that is there, which is quicker for many; not for folders.

        Raises:
            RemoteError: when the remote cannot be asked.
        """
        wanted = set(oids)
        sizes = {}
        with reaching_remote(self.place):
            listed = self._odb.fs.fs.find(self._odb.path, detail=True)
        for path, info in listed.items():
            try:
                oid = self._odb.path_to_oid(path)
            except ValueError:
                continue  # somebody else's file
            if oid in wanted:
                sizes[oid] = int(info["size"])
        return sizes

    def find_damaged(self, oids: Collection[str]) -> set[str]:
        """Reads objects and hashes them; returns those that do not hold what their names say.

        Raises:
            RemoteError: when one cannot be read.
        """

        def is_damaged(oid: str) -> bool:
            path = self._odb.oid_to_path(oid)
            found = file_md5(path, self._odb.fs, name=self._odb.hash_name)
            return bool(found != oid.removesuffix(_DIRECTORY))

        with reaching_remote(self.place), ThreadPoolExecutor(self._odb.fs.jobs) as pool:
            verdicts = list(pool.map(is_damaged, oids))
        return {oid for oid, damaged in zip(oids, verdicts, strict=True) if damaged}

    def send(self, cache: HashFileDB, oids: Sequence[str], report: Report) -> None:
        """Copies objects from the cache, in place of what is there under their names.

        Raises:
            RemoteError: when one does not arrive; what has arrived stays there.
        """
        for chunk in self._chunks(oids, "pushed", report):
            with reaching_remote(self.place):
                errors = _copy(cache, self._odb, chunk, self._odb.fs.jobs, verify=False)
            for error in errors.values():
                raise translate(error, self.place)

    def receive(self, cache: HashFileDB, names: Mapping[str, str], report: Report) -> None:
        """Copies objects into the cache, as far as it lacks them, and hashes each.

        Args:
            cache: Where to; an object that is damaged does not stay there.
            names: What to call each object when there is something to say about it.
            report: Takes lines of progress.

        Raises:
            RemoteError: when one does not arrive, or is damaged; what has arrived stays.
        """
        wanted = [oid for oid in names if not _is_in(cache, oid)]
        for chunk in self._chunks(wanted, "pulled", report):
            with reaching_remote(self.place):
                errors = _copy(self._odb, cache, chunk, self._odb.fs.jobs, verify=True)
            self._check_received(cache, chunk, names, errors)

    def remove(self, oids: Sequence[str], report: Report) -> None:
        """Removes objects, and has DVC forget what it remembers of the remote, as `dvc gc` does.

        Raises:
            RemoteError: when one is still there; what was removed is gone.
        """
        for chunk in self._chunks(oids, "removed", report):
            there = list(self.find_sizes(chunk))
            if there:
                with reaching_remote(self.place):
                    self._remove([self._odb.oid_to_path(oid) for oid in there])
        get_index(self._odb).clear()
        left = self.find_sizes(oids)
        if left:
            raise RemoteAccessError(
                self.place.name, self.place.url, f"{len(left)} objects are still there"
            )

    def _remove(self, paths: Sequence[str]) -> None:
        try:
            self._odb.fs.remove(list(paths))
        except NotImplementedError:
            name, url = self.place.name, self.place.url
            step = "remove it where that gets its files from"
            raise RemoteError(name, url, "lets nobody remove anything", step) from None

    def _check_received(
        self,
        cache: HashFileDB,
        oids: Sequence[str],
        names: Mapping[str, str],
        errors: Mapping[str, BaseException],
    ) -> None:
        for error in errors.values():
            if not isinstance(error, FileNotFoundError):
                raise translate(error, self.place)
        if errors:
            lacks = [names[oid] for oid in errors]
            raise RemoteLacksDataError(self.place.name, self.place.url, lacks)
        damaged = [names[oid] for oid in oids if not Path(cache.oid_to_path(oid)).exists()]
        if damaged:
            raise RemoteDamagedError(self.place.name, self.place.url, damaged)

    def _chunks(self, oids: Sequence[str], verb: str, report: Report) -> Iterator[list[str]]:
        size = _IN_FOLDERS if are_folders(self._odb) else self._odb.fs.jobs * _ROUNDS
        said = time.monotonic()
        for end in range(size, len(oids) + size, size):
            yield list(oids[end - size : end])
            if end < len(oids) and time.monotonic() - said >= _SAY_AGAIN_SECONDS:
                said = time.monotonic()
                report(f"{verb} {end} of {len(oids)} objects")


def _copy(
    source: HashFileDB, target: HashFileDB, oids: list[str], jobs: int, *, verify: bool
) -> Mapping[str, BaseException]:
    """Copies objects, in place of what is there; returns why some of them did not arrive.

    With `verify`, one that does not hash to its name is not there afterwards, without a word.
    """
    if are_folders(source, target):
        return copy_objects(source, target, oids, verify=verify)
    errors: dict[str, BaseException] = {}
    target.add(
        [source.oid_to_path(oid) for oid in oids],
        source.fs,
        oids,
        check_exists=False,
        verify=verify,
        on_error=errors.__setitem__,
        batch_size=jobs,
    )
    return errors


def _is_in(cache: HashFileDB, oid: str) -> bool:
    """Whether the cache has an object; what was not hashed when it came is hashed now."""
    try:
        cache.check(oid)
    except (FileNotFoundError, ObjectFormatError):
        return False
    return True


def fetch_objects(repo: Repo, out: DvcOutput, report: Report) -> None:
    """Brings the recorded version of an output from its remote into the cache.

    Raises:
        RemoteError: when it is not there as it should be.
        DvcError: when there is no remote.
    """
    store = Store(repo, out.remote, out.hash_name)
    version = _Version(path_in_repo(repo, out), out.hash_info)
    store.receive(out.cache, {version.md5: version.path}, report)
    names = {oid: str(item) for oid, item in version.objects_in(out.cache).items()}
    store.receive(out.cache, names, report)


@dataclass(frozen=True)
class _Version:
    """A version of an output."""

    path: str
    info: HashInfo

    @property
    def md5(self) -> str:
        return str(self.info.value)

    def objects_in(self, cache: HashFileDB) -> Mapping[str, RemoteObject]:
        """Its objects by hash as far as the cache knows them, files before the listing."""
        found: dict[str, RemoteObject] = {}
        if self.info.isdir:
            try:
                listed = Listings([Path(cache.path)]).read(self.md5) or {}
            except (ValueError, TypeError, KeyError):  # no listing
                listed = {}
            found = {md5: RemoteObject(self.path, self.md5, name) for name, md5 in listed.items()}
        return {**found, self.md5: RemoteObject(self.path, self.md5, "")}


@dataclass(frozen=True)
class _Group:
    """The versions that are to be on one remote, under one kind of hash."""

    store: Store
    cache: HashFileDB
    versions: Sequence[_Version]

    def fetch_listings(self, report: Report) -> None:
        """Fetches listings that only the remote has, so that the objects of folders are known."""
        lacking = {
            version.md5: version.path
            for version in self.versions
            if version.info.isdir and not Path(self.cache.oid_to_path(version.md5)).exists()
        }
        if lacking:
            there = self.store.find_sizes(lacking)
            self.store.receive(self.cache, {md5: lacking[md5] for md5 in there}, report)

    def look(self, oids: Collection[str], *, full: bool) -> tuple[set[str], set[str]]:
        """Which objects the remote lacks, and which it has damaged.

        An upload that broke off may have left part of an object there, which its size tells.
        """
        sizes = self.store.find_sizes(oids)
        damaged = set()
        for oid, size in sizes.items():
            here = Path(self.cache.oid_to_path(oid))
            if here.exists() and here.stat().st_size != size:
                damaged.add(oid)
        if full:
            damaged |= self.store.find_damaged([oid for oid in sizes if oid not in damaged])
        return set(oids) - set(sizes), damaged

    def not_there(self, oids: Collection[str], *, full: bool) -> list[str]:
        """The objects that are not on the remote as they should be."""
        missing, damaged = self.look(oids, full=full)
        return [oid for oid in oids if oid in missing or oid in damaged]


def push(
    repo: Repo,
    outs: Sequence[DvcOutput],
    *,
    extra: Mapping[str, str],
    full: bool,
    report: Report,
) -> PushResult:
    """Sends to the remotes what they lack of outputs, and looks whether it is there.

    A remote that keeps versions of its own (``version_aware``) is left to DVC.

    Args:
        repo: The opened repository.
        outs: Whose recorded versions.
        extra: Versions to send besides, by path of the output.
        full: Whether to read everything that is there, and replace what is damaged.
        report: Takes lines of progress.

    Raises:
        RemoteError: when a remote cannot be used.
        DvcError: when there is none.
    """
    versioned = [out.fs_path for out in outs if keeps_versions(repo, out.remote)]
    pushed = int(repo.push(versioned)) if versioned else 0
    groups = _groups(repo, [out for out in outs if not keeps_versions(repo, out.remote)], extra)
    looked_for = 0
    missing: list[RemoteObject] = []
    for group in groups:
        group.fetch_listings(report)
        objects: dict[str, list[RemoteObject]] = {}
        for version in group.versions:
            for oid, item in version.objects_in(group.cache).items():
                objects.setdefault(oid, []).append(item)
        wanted = group.not_there(objects, full=full)
        here = [oid for oid in wanted if Path(group.cache.oid_to_path(oid)).exists()]
        # DVC takes a folder for complete when its listing is there.
        for is_listing in (False, True):
            some = [oid for oid in here if oid.endswith(_DIRECTORY) is is_listing]
            group.store.send(group.cache, some, report)
        left = group.not_there(wanted, full=full)
        missing += [item for oid in left for item in objects[oid]]
        looked_for += len(objects)
        pushed += len(here)
    remotes = tuple(dict.fromkeys(group.store.place.name for group in groups))
    return PushResult(remotes, looked_for, pushed, tuple(missing))


def read_remote_states(
    repo: Repo, outs: Sequence[DvcOutput], *, full: bool
) -> Mapping[str, RemoteState]:
    """Looks whether the recorded versions of outputs are on their remotes.

    Args:
        repo: The opened repository.
        outs: Which outputs; those that are not to be pushed are left out.
        full: Whether to read and hash every object; else only sizes are compared.

    Returns:
        By path.

    Raises:
        RemoteError: when a remote cannot be asked.
        DvcError: when there is none, or it keeps versions of its own.
    """
    states = {}
    for group in _groups(repo, outs, {}):
        group.fetch_listings(lambda _line: None)
        objects = {version.path: version.objects_in(group.cache) for version in group.versions}
        every = {oid for items in objects.values() for oid in items}
        missing, damaged = group.look(every, full=full)
        for path, items in objects.items():
            states[path] = RemoteState(
                group.store.place.name,
                len(items),
                tuple(item for oid, item in items.items() if oid in missing),
                tuple(item for oid, item in items.items() if oid in damaged),
            )
    return states


def keeps_versions(repo: Repo, name: str | None) -> bool:
    """Whether a remote keeps files under their own names, with versions of the storage's."""
    name = name or repo.config["core"].get("remote") or ""
    config = repo.config["remote"].get(name.lower(), {})
    return bool(config.get("version_aware") or config.get("worktree"))


def _groups(repo: Repo, outs: Sequence[DvcOutput], extra: Mapping[str, str]) -> list[_Group]:
    """What is to be pushed, by the remote that it goes to."""
    versions: dict[tuple[str | None, str], list[_Version]] = {}
    caches: dict[str, HashFileDB] = {}
    for out in outs:
        if not (out.use_cache and out.can_push and out.hash_info) or out.stage.is_repo_import:
            continue
        path = path_in_repo(repo, out)
        some = versions.setdefault((out.remote, out.hash_name), [])
        some.append(_Version(path, out.hash_info))
        if path in extra and extra[path] != out.hash_info.value:
            some.append(_Version(path, HashInfo(out.hash_name, extra[path])))
        caches[out.hash_name] = out.cache
    return [
        _Group(Store(repo, name, hash_name), caches[hash_name], some)
        for (name, hash_name), some in versions.items()
    ]
