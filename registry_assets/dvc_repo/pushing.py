"""Versions pushed to their remotes, and each of their objects verified to be there.

`dvc push` takes a folder for pushed once its listing is on the remote; what is published must not
rest on that. So every object is looked for, members of folders included, before and after.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.cachemgr import LEGACY_HASH_NAMES
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.status import status
from dvc_data.hashfile.transfer import transfer
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from registry_assets.addresses import without_secrets
from registry_assets.dvc_repo.collecting import collect
from registry_assets.dvc_repo.opening import Report
from registry_assets.dvc_repo.sources import reaching
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.errors import RegistryError

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


@dataclass(frozen=True)
class MissingObject:
    """An object that is on no remote and not in the cache either.

    Attributes:
        output: The output it belongs to, by path.
        md5: The version of the output.
        name: Its path inside the output; "" for the output itself (of a folder: its listing).
    """

    output: str
    md5: str
    name: str


@dataclass(frozen=True)
class PushResult:
    """What is on the remotes after pushing.

    Attributes:
        remotes: The remotes, by name.
        objects: How many objects were looked for.
        pushed: How many of them were pushed just now.
        missing: Those that could not be.
    """

    remotes: tuple[str, ...]
    objects: int
    pushed: int
    missing: tuple[MissingObject, ...]


@dataclass
class _Target:
    """What is to be on one remote, by hash."""

    remote: str
    cache: HashFileDB
    odb: HashFileDB
    objects: dict[str, tuple[HashInfo, MissingObject]] = field(default_factory=dict)

    def want(self, path: str, version: HashInfo) -> None:
        """Notes the objects of a version."""
        md5 = str(version.value)
        self.objects.setdefault(md5, (version, MissingObject(path, md5, "")))
        if version.isdir:
            tree = self._read_listing(version)
            for key, _, info in tree or ():
                missing = MissingObject(path, md5, "/".join(key))
                self.objects.setdefault(str(info.value), (info, missing))

    def _read_listing(self, version: HashInfo) -> Tree | None:
        for odb in (self.cache, self.odb):
            try:
                return Tree.load(odb, version)
            except (FileNotFoundError, ObjectFormatError):
                continue
        return None

    def lacking(self, infos: set[HashInfo]) -> set[HashInfo]:
        """Those of some objects that the remote does not have, asking for each of them."""
        missing: set[HashInfo] = status(self.odb, infos, cache_odb=self.cache).missing
        return missing


def push_verified(repo: Repo, root: Path, extra: Mapping[str, str], report: Report) -> PushResult:
    """Pushes what the metafiles name to the remotes, and looks whether it is there.

    What was imported from another repository stays there, as with `dvc push`.

    Args:
        repo: The opened repository.
        root: Its root.
        extra: Versions that must be there, too, by path: those that were current a moment ago.
        report: Takes progress.

    Raises:
        RegistryError: when there is no default remote, or objects could not be pushed.
        SourceUnreachableError: when a remote cannot be reached.
    """
    targets = _targets(repo, root, extra)
    pushed = 0
    missing: list[MissingObject] = []
    for target in targets:
        with reaching(f"the DVC remote `{target.remote}`"):
            now, lost = _push(target, report)
        pushed += now
        missing += lost
    missing.sort(key=lambda item: (item.output, item.name))
    names = tuple(dict.fromkeys(target.remote for target in targets))
    objects = sum(len(target.objects) for target in targets)
    return PushResult(names, objects, pushed, tuple(missing))


def _push(target: _Target, report: Report) -> tuple[int, list[MissingObject]]:
    """Pushes what one remote lacks; returns how many objects, and those that it still lacks."""
    lacking = target.lacking({info for info, _ in target.objects.values()})
    if not lacking:
        return 0, []
    report(f"pushing to `{target.remote}`: it lacks {len(lacking)} objects")
    with _failures() as reasons:
        done = transfer(target.cache, target.odb, lacking)
    if done.failed:
        why = f" ({reasons[0]})" if reasons else ""
        raise RegistryError(
            f"{len(done.failed)} of {len(lacking)} objects could not be pushed to "
            f"`{target.remote}`{why}: once that is mended, run it again, it carries on"
        )
    left = [str(info.value) for info in target.lacking(lacking)]
    # A listing waits for its files: without one, it is kept back, and is not missing.
    lost = [md5 for md5 in left if not target.cache.exists(md5)] or left
    return len(done.transferred), [target.objects[md5][1] for md5 in lost]


def _targets(repo: Repo, root: Path, extra: Mapping[str, str]) -> list[_Target]:
    targets: dict[tuple[str, bool], _Target] = {}
    for stage in collect(repo, root).stages:
        if stage.is_repo_import or stage.is_partial_import:
            continue
        for out in stage.outs:
            if not out.use_cache or not out.can_push or not out.hash_info:
                continue
            path = path_in_repo(repo, out)
            versions = {out.hash_info}
            if path in extra:
                versions.add(HashInfo(out.hash_info.name, extra[path]))
            key = _remote_of(repo, out), out.hash_info.name in LEGACY_HASH_NAMES
            if key not in targets:
                with reaching(f"the DVC remote `{key[0]}`"):
                    targets[key] = _open(repo, out, *key)
            with reaching(f"the DVC remote `{key[0]}`"):
                for version in versions:
                    targets[key].want(path, version)
    return list(targets.values())


def _remote_of(repo: Repo, out: DvcOutput) -> str:
    name = out.remote or repo.config["core"].get("remote")
    if not name:
        raise RegistryError(
            "there is no default DVC remote, so nobody else could get the data: run "
            "`dvc remote add -d storage URL`"
        )
    if name not in repo.config["remote"]:
        raise RegistryError(
            f"the DVC remote `{name}` has no address: run `dvc remote add -d {name} URL`"
        )
    return str(name)


def _open(repo: Repo, out: DvcOutput, remote: str, is_legacy: bool) -> _Target:
    odb = repo.cloud.get_remote_odb(remote, "push", hash_name=out.hash_info.name)
    return _Target(remote, repo.cache.legacy if is_legacy else repo.cache.local, odb)


@contextmanager
def _failures() -> Iterator[list[str]]:
    """Collects why objects could not be pushed, which DVC says in its log only."""
    reasons: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                reasons.append(without_secrets(" ".join(str(record.exc_info[1]).split())))

    log = logging.getLogger(transfer.__module__)
    collector, propagated = Collector(), log.propagate
    log.addHandler(collector)
    log.propagate = False
    try:
        yield reasons
    finally:
        log.removeHandler(collector)
        log.propagate = propagated
