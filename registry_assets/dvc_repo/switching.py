"""Data that follows a checkout of Git: what must not get lost before, and brought back after."""

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
from registry_assets.dvc_repo.folders.verifying import Kept, are_kept
from registry_assets.dvc_repo.loading import address_of
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.overlaps import Places
from registry_assets.dvc_repo.previous_outputs import PreviousOutputs, recover
from registry_assets.dvc_repo.versions import caches_of, path_in_repo
from registry_assets.errors import (
    DataNotAvailableError,
    RefusedError,
    RemoteAccessError,
    RemoteUnreachableError,
    RepositoryBusyError,
)
from registry_assets.leftovers import find_leftover_in

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage


_SAY_AGAIN_SECONDS = 10.0


def _say_nothing(_line: str) -> None:
    """Takes a line about one output, of which there may be thousands."""


@dataclass(frozen=True)
class Unsaved:
    """Something in the workspace that the cache does not have.

    Attributes:
        path: Of an output, or of a file in one.
        is_ignored: Whether DVC does not look at it.
    """

    path: str
    is_ignored: bool = False


@dataclass
class Restored:
    """What came of bringing data into the workspace.

    Attributes:
        outputs: How many outputs are recorded.
        linked: Those that were brought from the cache.
        pulled: Those that were brought from a remote.
        edited: Those that hold what is saved nowhere, and were left as they are.
        missing: Those that are nowhere to be had, with the reason; there is nothing at their paths.
        away: Why the remote cannot be used; None as long as it could be.
    """

    outputs: int = 0
    linked: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    away: str | None = None


@contextmanager
def standing_still(dvc: RepoAccess, repo: Repo, report: Report) -> Iterator[None]:
    """While nobody else reads or writes an output of the repository."""
    held = dvc.holding(repo, read=[], write=[str(dvc.root)], report=report, wait_seconds=0)
    with ExitStack() as stack:
        try:
            stack.enter_context(held)
        except RepositoryBusyError as error:
            raise RefusedError(
                f"a run is at work on what would change ({error.holder}): wait until it has ended"
            ) from error
        recover(dvc, repo, report)
        yield


def find_unsaved(repo: Repo, paths: Sequence[str]) -> Iterator[Unsaved]:
    """What stands at paths and would be lost with them: what the cache lacks, or DVC ignores."""
    for path in paths:
        place = Path(repo.root_dir) / path
        if not os.path.lexists(place):
            continue
        version, files, sizes = _hash_all(repo, place)
        if not _is_kept(repo, version, sizes):
            yield Unsaved(path)
        for folder, _, names in os.walk(place):
            for name in names:
                file = (Path(folder) / name).relative_to(place).as_posix()
                if file not in files and find_leftover_in(file) is None:
                    yield Unsaved(f"{path}/{file}", is_ignored=True)


def find_leftovers(dvc: RepoAccess, repo: Repo, declared: Collection[str]) -> Mapping[str, str]:
    """What DVC brought into the workspace, nobody touched since, and nothing declares any more."""
    places = Places(map(dvc.path_of, declared))
    used = {str(dvc.path_of(path)) for path in declared}
    found = {}
    for name in repo.state.get_unused_links(used, repo.fs):
        place = dvc.path_of(name)
        if not places.overlap(place):
            found[dvc.relative(place)] = _hash_all(repo, place)[0]
    return found


def _hash_all(repo: Repo, place: Path) -> tuple[str, Mapping[str, str], Mapping[str, int | None]]:
    """The version of what stands at a path, and of a folder its files, hashed where they changed.

    Third the sizes of all objects, in bytes, where they are known.

    Without what DVC does not look at.
    """
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
    """Whether the cache has a version with its files, whole; where DVC 2 has put them, at all."""
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
    """Moves Git to another commit, and takes away what that does not declare."""
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
    """Brings every recorded version into the workspace: from the cache, else from a remote."""
    outs = [
        out
        for stage in stages
        for out in stage.outs
        if out.use_cache and out.hash_info and out.is_in_repo and not stage.is_partial_import
    ]
    done = Restored(outputs=len(outs))
    said = time.monotonic()
    for number, out in enumerate(outs):
        if time.monotonic() - said >= _SAY_AGAIN_SECONDS:
            said = time.monotonic()
            report(f"looked at {number} of {len(outs)} outputs, pulled {len(done.pulled)}")
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
        # As a whole: of a version that is replaced file by file, a crash would leave a mixture.
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
    """Pulls the recorded version of an output into the cache; says why that cannot be."""
    if done.away is not None and not out.stage.is_repo_import:
        return done.away
    try:
        fetch(repo, out, _say_nothing)
    except DataNotAvailableError as error:
        if isinstance(error.__cause__, RemoteUnreachableError | RemoteAccessError):
            # Whoever waits for it once need not wait for it with every output.
            done.away = error.reason
        return error.reason
    return None
