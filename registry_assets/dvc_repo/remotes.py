"""What remotes have of outputs: looked at, sent, fetched.

DVC takes a folder for complete when its listing is there. Here each of its files is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.hash_info import HashInfo

from registry_assets.dvc_repo.folders.state import HASH, FileStatus
from registry_assets.dvc_repo.folders.verifying import dates_of, find_damaged
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.opening import Report
from registry_assets.dvc_repo.store import Store
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.model import is_folder

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


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


def receive_objects(repo: Repo, out: DvcOutput, names: Mapping[str, str], report: Report) -> None:
    """Brings single objects from the remote of an output into the cache.

    Args:
        repo: The opened repository.
        out: The output.
        names: What to call each when there is something to say about it.
        report: Takes lines of progress.

    Raises:
        RemoteError: when one is not there as it should be.
        DvcError: when there is no remote.
    """
    Store(repo, out.remote, out.hash_name).receive(out.cache, names, report)


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

    def find_whole(self, repo: Repo, oids: Sequence[str]) -> list[str]:
        """Those of some objects that the cache has, whole: a damaged one replaces nothing."""
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
    """Sends to the remotes what they lack of outputs, and looks whether it is there."""
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
        # DVC takes a folder for complete when its listing is there.
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
    """Looks whether the recorded versions of outputs are on their remotes."""
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
