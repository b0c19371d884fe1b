"""Pushing outputs to remotes, fetching and checking them.

DVC takes a folder for complete when the remote has its listing. Here each file is looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.hash_info import HashInfo

from registry_assets.dvc_repo.folders.state import HASH, FileStatus
from registry_assets.dvc_repo.folders.verifying import dates_of, find_damaged
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.opening import Report, check_cache_of
from registry_assets.dvc_repo.store import Store
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.model import is_folder

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


@dataclass(frozen=True)
class RemoteObject:
    """An object of a version, on a remote or missing there.

    Attributes:
        output: The path of the output.
        md5: The version of the output.
        name: The path inside the output; "" for the output itself (for a folder, its listing).
        oid: Its own hash: of several versions that have it, it is one object.
    """

    output: str
    md5: str
    name: str
    oid: str

    def __str__(self) -> str:
        return f"{self.output}/{self.name}" if self.name else self.output


@dataclass(frozen=True)
class RemoteState:
    """The state of a version on a remote.

    Attributes:
        remote: The name of the remote.
        objects: The hashes of the objects of the version, including its listing.
        missing: The objects that the remote lacks.
        damaged: Objects with a wrong size or, if they were hashed, a wrong hash.
    """

    remote: str
    objects: frozenset[str]
    missing: tuple[RemoteObject, ...]
    damaged: tuple[RemoteObject, ...]


@dataclass(frozen=True)
class PushResult:
    """The state of the remotes after a push.

    Attributes:
        remotes: The names of the remotes.
        objects: The number of objects that were looked up.
        pushed: The number of objects that were sent.
        missing: Objects that the remote lacks, or has damaged, and the cache lacks, too; listed
            once for every version that has them.
    """

    remotes: tuple[str, ...]
    objects: int
    pushed: int
    missing: tuple[RemoteObject, ...]


def count_objects(items: Iterable[RemoteObject]) -> int:
    """The number of objects, each counted once, however many versions have it."""
    return len({item.oid for item in items})


def fetch_objects(repo: Repo, out: DvcOutput, report: Report) -> None:
    """Fetches the recorded version of an output from its remote into the cache.

    Raises:
        RemoteError: when an object is missing or damaged, or the remote cannot be used.
        DvcError: when there is no remote.
    """
    store = Store(repo, out.remote, out.hash_name)
    version = _Version(path_in_repo(repo, out), out.hash_info)
    store.receive(out.cache, {version.md5: version.path}, report)
    names = {oid: str(item) for oid, item in version.objects_in(out.cache).items()}
    store.receive(out.cache, names, report)


def send_objects(repo: Repo, out: DvcOutput, report: Report) -> None:
    """Sends the recorded version of an output to its remote, where the remote lacks it.

    Also one of an import, whose objects `push` leaves to the remote of its source.

    Raises:
        RemoteError: when the remote cannot be used.
        DvcError: when there is no remote.
    """
    store = Store(repo, out.remote, out.hash_name)
    objects = objects_of(repo, out)
    lacking = objects.keys() - store.find_sizes(objects).keys()
    # Listings last: DVC takes a folder for complete when the remote has its listing.
    for is_listing in (False, True):
        store.send(out.cache, [oid for oid in lacking if is_folder(oid) is is_listing], report)


def find_missing(repo: Repo, out: DvcOutput, report: Report) -> frozenset[str]:
    """The objects of the recorded version of an output that its remote lacks.

    The listing of a folder is fetched into the cache.

    Raises:
        RemoteError: when the remote lacks the listing, or cannot be used.
        DvcError: when there is no remote.
    """
    store = Store(repo, out.remote, out.hash_name)
    if out.hash_info.isdir:
        store.receive(out.cache, {str(out.hash_info.value): path_in_repo(repo, out)}, report)
    objects = objects_of(repo, out)
    return frozenset(objects.keys() - store.find_sizes(objects).keys())


def objects_of(repo: Repo, out: DvcOutput) -> Mapping[str, RemoteObject]:
    """The objects of the recorded version of an output by hash, files before the listing.

    Of a folder only its listing, if the cache lacks that.
    """
    return _Version(path_in_repo(repo, out), out.hash_info).objects_in(out.cache)


def receive_objects(repo: Repo, out: DvcOutput, names: Mapping[str, str], report: Report) -> None:
    """Fetches single objects from the remote of an output into the cache.

    Args:
        repo: The opened repository.
        out: The output.
        names: The name of each object in messages, by md5.
        report: Takes lines of progress.

    Raises:
        RemoteError: when an object is missing or damaged, or the remote cannot be used.
        DvcError: when there is no remote.
    """
    Store(repo, out.remote, out.hash_name).receive(out.cache, names, report)


def is_unused(repo: Repo, out: DvcOutput) -> bool:
    """Whether the remote of an output is a folder of this repository that nobody pushed to yet."""
    name = out.remote or repo.config["core"].get("remote")
    url = repo.config["remote"].get(str(name).lower(), {}).get("url")
    if not url:
        return False
    # One that lies elsewhere may have gone away, which somebody should know.
    return Path(url).is_relative_to(str(repo.root_dir)) and not Path(url).exists()


@dataclass(frozen=True)
class _Version:
    """A version of an output."""

    path: str
    info: HashInfo

    @property
    def md5(self) -> str:
        return str(self.info.value)

    def objects_in(self, cache: HashFileDB) -> Mapping[str, RemoteObject]:
        """Its objects by hash, files before the listing; only the listing if the cache lacks it."""
        found: dict[str, RemoteObject] = {}
        if self.info.isdir:
            try:
                listed = Listings([Path(cache.path)]).read(self.md5) or {}
            except (ValueError, TypeError, KeyError):  # no listing
                listed = {}
            found = {
                md5: RemoteObject(self.path, self.md5, name, md5) for name, md5 in listed.items()
            }
        return {**found, self.md5: RemoteObject(self.path, self.md5, "", self.md5)}


@dataclass(frozen=True)
class _Group:
    """The versions to push to one remote, with one kind of hash."""

    store: Store
    cache: HashFileDB
    versions: Sequence[_Version]

    def fetch_listings(self, report: Report) -> None:
        """Fetches listings that the cache lacks, so that the objects of folders are known."""
        lacking = {
            version.md5: version.path
            for version in self.versions
            if version.info.isdir and not Path(self.cache.oid_to_path(version.md5)).exists()
        }
        if lacking:
            there = self.store.find_sizes(lacking)
            self.store.receive(self.cache, {md5: lacking[md5] for md5 in there}, report)

    def look(self, oids: Collection[str], *, full: bool) -> tuple[set[str], set[str]]:
        """Finds the objects that the remote lacks, and those that are damaged there.

        An interrupted upload may leave a partial object, which has another size.
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
        """The objects that the remote lacks or has damaged."""
        missing, damaged = self.look(oids, full=full)
        return [oid for oid in oids if oid in missing or oid in damaged]

    def find_whole(self, repo: Repo, oids: Sequence[str]) -> list[str]:
        """Filters objects that the cache has, undamaged."""
        if not oids:
            return []
        trusted = dates_of(self.cache, (version.md5 for version in self.versions))
        here = []
        written = {}
        for oid in oids:
            try:
                status = Path(self.cache.oid_to_path(oid)).stat()
            except FileNotFoundError:
                continue
            here.append(oid)
            if status.st_mtime_ns > trusted.get(oid, -1):
                written[oid] = FileStatus.of(status)
        if self.cache.hash_name != HASH:
            return here
        damaged = find_damaged(repo, self.cache, written)
        return [oid for oid in here if oid not in damaged]


def push(
    repo: Repo,
    outs: Sequence[DvcOutput],
    *,
    extra: Mapping[str, str],
    full: bool,
    report: Report,
) -> PushResult:
    """Pushes the objects of outputs that their remotes lack, and checks that they arrived.

    Raises:
        RefusedError: when the disk of the cache is not mounted.
    """
    check_cache_of(repo)
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
        here = group.find_whole(repo, wanted)
        # Listings last: DVC takes a folder for complete when the remote has its listing.
        for is_listing in (False, True):
            some = [oid for oid in here if is_folder(oid) is is_listing]
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
    """Checks whether the recorded versions of outputs are on their remotes."""
    states = {}
    for group in _groups(repo, outs, {}):
        group.fetch_listings(lambda _line: None)
        objects = {version.path: version.objects_in(group.cache) for version in group.versions}
        every = {oid for items in objects.values() for oid in items}
        missing, damaged = group.look(every, full=full)
        for path, items in objects.items():
            states[path] = RemoteState(
                group.store.place.name,
                frozenset(items),
                tuple(item for oid, item in items.items() if oid in missing),
                tuple(item for oid, item in items.items() if oid in damaged),
            )
    return states


def keeps_versions(repo: Repo, name: str | None) -> bool:
    """Whether a remote is ``version_aware``: files keep their names, the storage their versions."""
    name = name or repo.config["core"].get("remote") or ""
    config = repo.config["remote"].get(name.lower(), {})
    return bool(config.get("version_aware") or config.get("worktree"))


def _groups(repo: Repo, outs: Sequence[DvcOutput], extra: Mapping[str, str]) -> list[_Group]:
    """Groups the versions to push by remote and kind of hash."""
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
