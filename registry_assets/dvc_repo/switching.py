"""Keeping data in step with `git checkout`: unsaved data, leftovers, restoring."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.build import build
from dvc_data.hashfile.tree import Tree

from registry_assets.dvc_repo.data import fetch, is_as_recorded, link_from_cache, remove_empty
from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.folders.hashing import check_place_ends
from registry_assets.dvc_repo.folders.verifying import Kept, are_kept
from registry_assets.dvc_repo.loading import address_of
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.overlaps import Places
from registry_assets.dvc_repo.previous_outputs import PreviousOutputs, recover
from registry_assets.dvc_repo.versions import caches_of, path_in_repo
from registry_assets.errors import (
    DataNotAvailableError,
    FileNotStorableError,
    RefusedError,
    RemoteAccessError,
    RemoteError,
    RemoteUnreachableError,
    RepositoryBusyError,
)
from registry_assets.leftovers import find_leftover_in

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage


_REPORT_SECONDS = 10.0


def _say_nothing(_line: str) -> None:
    """Drops a line about one output, of which there may be thousands."""


@dataclass(frozen=True)
class Unsaved:
    """Data in the workspace that is not in the cache.

    Attributes:
        path: The path of an output, or of an ignored file in one.
        is_ignored: Whether DVC ignores it.
    """

    path: str
    is_ignored: bool = False


@dataclass
class Restored:
    """The result of restoring all outputs.

    Attributes:
        outputs: The number of recorded outputs.
        linked: Outputs restored from the cache.
        pulled: Outputs restored from a remote.
        edited: Outputs left alone, as their content is not in the cache.
        missing: Outputs that are not available, with the reason; nothing is at their paths.
        away: Why the remote cannot be used; None if it can.
    """

    outputs: int = 0
    linked: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    away: RemoteError | None = None


@contextmanager
def standing_still(dvc: RepoAccess, repo: Repo, report: Report) -> Iterator[None]:
    """Locks all outputs, so that no other process reads or writes one meanwhile."""
    held = dvc.holding(repo, read=[], write=[str(dvc.root)], report=report, wait_seconds=0)
    with ExitStack() as stack:
        try:
            # As DVC does: a `dvc` command that has begun fails at a path that is locked after that.
            with dvc.write_lock(repo, report):
                stack.enter_context(held)
        except RepositoryBusyError as error:
            raise RefusedError(
                f"a run is using data that would change ({error.holder}): wait until it has ended"
            ) from error
        recover(dvc, repo, report)
        yield


def find_unsaved(repo: Repo, paths: Sequence[str]) -> Iterator[Unsaved]:
    """Finds data at paths that would be lost with them: not in the cache, or ignored by DVC."""
    for path in paths:
        place = Path(repo.root_dir) / path
        if not os.path.lexists(place):
            continue
        try:
            version, files, sizes = _hash_all(repo, place)
        except FileNotStorableError:
            yield Unsaved(path)
            continue
        if not _is_kept(repo, version, sizes):
            yield Unsaved(path)
        for folder, _, names in os.walk(place):
            for name in names:
                file = (Path(folder) / name).relative_to(place).as_posix()
                if file not in files and find_leftover_in(file) is None:
                    yield Unsaved(f"{path}/{file}", is_ignored=True)


def find_leftovers(dvc: RepoAccess, repo: Repo, declared: Collection[str]) -> Mapping[str, str]:
    """Finds unmodified data that DVC linked into the workspace and nothing declares any more."""
    used = {str(dvc.path_of(path)) for path in declared}
    places = Places(used)
    found = {}
    for name in repo.state.get_unused_links(used, repo.fs):
        place = dvc.path_of(name)
        if not places.overlap(str(place)):
            found[dvc.relative(place)] = _hash_all(repo, place)[0]
    return found


def _hash_all(repo: Repo, place: Path) -> tuple[str, Mapping[str, str], Mapping[str, int | None]]:
    """Hashes a file or folder, without ignored files.

    Returns:
        The version, the md5s of the files in a folder, and the known sizes of all objects in bytes.

    Raises:
        FileNotStorableError: for what reading it would never end at.
    """
    check_place_ends(repo, str(place))
    cache = repo.cache.local
    _, meta, found = build(
        cache, str(place), repo.fs, cache.hash_name, ignore=repo.dvcignore, dry_run=True
    )
    version = str(found.hash_info.value)
    if not isinstance(found, Tree):
        return version, {}, {version: meta.size}
    files = {"/".join(key): str(info.value) for key, _, info in found}
    sizes = {str(info.value): of_file.size for _, of_file, info in found}
    return version, files, {**sizes, version: None}


def _is_kept(repo: Repo, version: str, sizes: Mapping[str, int | None]) -> bool:
    """Whether the cache has all objects of a version; those of DVC 3 are checked for damage."""
    local, legacy = caches_of(repo)
    here = {
        md5: Kept(None, size)
        for md5, size in sizes.items()
        if not Path(legacy.oid_to_path(md5)).exists()
    }
    return are_kept(repo, local, here, version)


def switch(
    dvc: RepoAccess,
    repo: Repo,
    gone: Mapping[str, tuple[str, str | None]],
    move: Callable[[], None],
    report: Report,
) -> list[str]:
    """Checks out another commit in Git, and removes outputs that it does not declare."""
    taken: dict[str, PreviousOutputs] = {}
    with dvc.write_lock(repo, report):
        try:
            for path, (address, md5) in gone.items():
                if os.path.lexists(dvc.path_of(path)):
                    taken[path] = PreviousOutputs(dvc, address, {path: md5})
                    taken[path].take(path)
            move()
        except BaseException:
            for aside in taken.values():
                aside.put_back()
            raise
    for path, aside in taken.items():
        aside.drop()
        remove_empty(dvc.path_of(path).parent, dvc.root)
    return list(taken)


def restore_all(
    dvc: RepoAccess, repo: Repo, stages: Sequence[DvcStage], report: Report
) -> Restored:
    """Restores every recorded version into the workspace, pulling what the cache lacks."""
    outs = [
        out
        for stage in stages
        for out in stage.outs
        if out.use_cache and out.hash_info and out.is_in_repo and not stage.is_partial_import
    ]
    done = Restored(outputs=len(outs))
    reported = time.monotonic()
    for number, out in enumerate(outs):
        if time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            report(f"checked {number} of {len(outs)} outputs, pulled {len(done.pulled)}")
        _restore(dvc, repo, out, done)
    return done


def _restore(dvc: RepoAccess, repo: Repo, out: DvcOutput, done: Restored) -> None:
    path = path_in_repo(repo, out)
    if is_as_recorded(repo, out):
        return
    unsaved = list(find_unsaved(repo, [path]))
    if not all(item.is_ignored for item in unsaved):
        done.edited.append(path)
        return
    is_here = is_in_cache(out)
    missing = None if is_here else _fetch(repo, out, done)
    with dvc.write_lock(repo, _say_nothing):
        # The old version is removed as a whole: a crash while replacing files would leave a mix.
        if out.exists and not unsaved:
            aside = PreviousOutputs(dvc, address_of(out.stage), {path: None})
            aside.take(path)
            aside.drop()
        if missing is None:
            link_from_cache(dvc, repo, out)
    if missing is not None:
        done.missing.append((path, missing))
    else:
        (done.linked if is_here else done.pulled).append(path)


def _fetch(repo: Repo, out: DvcOutput, done: Restored) -> str | None:
    """Pulls the recorded version of an output into the cache; returns why that failed, if so."""
    if done.away is not None and not out.stage.is_repo_import:
        return done.away.reason
    try:
        fetch(repo, out, _say_nothing)
    except DataNotAvailableError as error:
        if isinstance(error.__cause__, RemoteUnreachableError | RemoteAccessError):
            # Not tried again for every output: it may take long to fail.
            done.away = error.__cause__
        return error.reason
    return None
