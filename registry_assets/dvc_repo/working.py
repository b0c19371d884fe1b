"""Making a stage away from its repository: in a work tree that has code and metafiles only.

No index is read: the stage is given with all versions (`resolved.ResolvedStage`). Its inputs come
from a cache or a remote, its outputs go there, and the work tree is as it was afterwards.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from dvc.config_schema import RelPath
from dvc.dependency import ParamsDependency
from dvc.dvcfile import PROJECT_FILE, ProjectFile
from dvc.exceptions import DvcException
from dvc.output import Output as DvcOutput
from dvc.stage import PipelineStage
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile

from registry_assets.dvc_repo.commands import run_command
from registry_assets.dvc_repo.data import link_from_cache
from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.folders.hashing import hash_by_dvc, hash_folder
from registry_assets.dvc_repo.folders.storing import note_outputs, read_outputs, store_outputs
from registry_assets.dvc_repo.opening import RepoAccess, Report, translated_errors
from registry_assets.dvc_repo.remote_runs import RemoteRuns
from registry_assets.dvc_repo.remotes import keeps_versions, objects_of, push
from registry_assets.dvc_repo.resolved import DataVersion, MadeStage, ResolvedStage
from registry_assets.dvc_repo.run_cache import RunCache, name_of
from registry_assets.dvc_repo.stage_run import is_for_run_cache
from registry_assets.dvc_repo.staged_listings import StagedListings, hashing
from registry_assets.dvc_repo.store import Store
from registry_assets.dvc_repo.syncing import sync_stored
from registry_assets.dvc_repo.versions import path_in_repo, place_in
from registry_assets.errors import (
    DataNotAvailableError,
    DependencyOutdatedError,
    InputsLackingError,
    RefusedError,
    RegistryError,
    RemoteAccessError,
    RemoteError,
    RemoteUnreachableError,
    StageFailedError,
    UnusableError,
)
from registry_assets.model import is_folder
from registry_assets.units import few_of

_LEAST_FREE_BYTES = 2**24

if TYPE_CHECKING:
    from dvc.dependency.base import Dependency
    from dvc.repo import Repo


def make_resolved(
    dvc: RepoAccess,
    stage: ResolvedStage,
    *,
    is_cache_shared: bool,
    report: Report,
    stop: Event,
    note_command: Callable[[int], None] = lambda _pid: None,
) -> MadeStage:
    """Makes a stage in a work tree with code and metafiles, as `dvc repro` would.

    Outputs that a run cache has, in the cache or on the remote, are not made again.

    Args:
        dvc: The repository of the work tree, for this process alone.
        stage: The stage.
        is_cache_shared: Whether whoever asked has this same cache. Otherwise outputs are pushed.
        report: Takes the command's output, line by line.
        stop: When set, the command is terminated.
        note_command: Takes the process group of each command, once it has started.

    Raises:
        StageFailedError: when the command fails, is stopped, or does not make an output.
        InputsLackingError: when inputs are neither in the cache nor on a remote.
        DependencyOutdatedError: when a file is not what the stage was to be made with.
        RefusedError: when there is no remote that other machines reach.
        UnusableError: when the command fails and the disk is full.
        RemoteError: when a remote cannot be used.
    """
    with dvc.open() as repo:
        work = _Work(dvc, repo, stage, is_cache_shared, report, stop)
        listings = StagedListings(repo)
        try:
            with translated_errors():
                return work.make(_Noting(note_command))
        finally:
            work.clean_up()
            listings.drop()


@dataclass(frozen=True)
class _Noting:
    """What `run_command` has to know: there are no previous outputs here."""

    note_command: Callable[[int], None]
    has_any: bool = False


class _Work:
    def __init__(
        self,
        dvc: RepoAccess,
        repo: Repo,
        resolved: ResolvedStage,
        is_cache_shared: bool,
        report: Report,
        stop: Event,
    ) -> None:
        self.dvc, self.repo, self.resolved = dvc, repo, resolved
        self.is_cache_shared, self.report, self.stop = is_cache_shared, report, stop
        self.stage = _load(repo, resolved)
        self.runs = RunCache(repo)
        self.inputs = [_output_of(repo, version) for version in resolved.inputs]
        self.previous = [_output_of(repo, version) for version in resolved.previous]

    def make(self, noting: _Noting) -> MadeStage:
        if not self.is_cache_shared:
            self._check_remotes()
        entry = None if self.resolved.force else self.runs.find(self.stage)
        if entry is not None:
            self.report("found in the run cache, without running the command")
        elif not self.is_cache_shared and not self.resolved.force:
            entry = self._find_remote_run()
            if entry is not None:
                self.report("found in the run cache of the remote, without running the command")
                return self._made("restored", entry, 0.0)
        if entry is not None:
            self._push(entry)
            return self._made("restored", entry, 0.0)
        self._bring_inputs()
        started = time.monotonic()
        self._run(noting)
        seconds = time.monotonic() - started
        entry = self._store()
        self._push(entry)
        return self._made("ran", entry, seconds)

    def _made(self, outcome: Any, entry: Mapping[str, Any], seconds: float) -> MadeStage:
        # An entry of the run cache has another order of keys, and other dependencies of their size.
        StageLoader.fill_from_lock(self.stage, {"outs": entry.get("outs", []), **self.given})
        lock = to_single_stage_lockfile(self.stage)
        return MadeStage(outcome, lock, seconds, socket.gethostname(), self.is_cache_shared)

    @property
    def given(self) -> Mapping[str, Any]:
        """The given entry: the versions of dependencies and the values of parameters."""
        return {name: value for name, value in self.resolved.entry.items() if name != "outs"}

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StageFailedError(self.resolved.address, "it was stopped", has_previous=False)

    # --- looking -------------------------------------------------------------------------------

    def _check_remotes(self) -> None:
        """Checks that outputs can go where others find them.

        Raises:
            RefusedError: when they cannot.
        """
        for out in self.stage.outs:
            if not out.can_push:
                raise RefusedError(
                    f"{path_in_repo(self.repo, out)} is declared `push: false`, and its remote is "
                    "the only way from here: have workers use the cache of the registry"
                )
        for name in {out.remote for out in self.stage.outs}:
            self._check_remote(name)

    def _check_remote(self, name: str | None) -> None:
        name = name or self.repo.config["core"].get("remote")
        if not name:
            raise RefusedError(
                "there is no default remote to bring the outputs of stages to: `dvc remote add "
                "--default storage URL` makes one; or have workers use the cache of the registry"
            )
        if isinstance(self.repo.config["remote"].get(name.lower(), {}).get("url"), RelPath):
            raise RefusedError(
                f"remote {name} is a folder beside the registry, which other machines do not "
                f"reach: `dvc remote modify {name} url ADDRESS` gives it an absolute path or a URL "
                "that all of them reach; or have workers use the cache of the registry"
            )
        if keeps_versions(self.repo, name):
            raise RefusedError(
                f"remote {name} is version_aware, which workers cannot use: have them use the "
                "cache of the registry"
            )

    def _find_remote_run(self) -> Mapping[str, Any] | None:
        """An entry of the remote's run cache whose outputs are all on the remote."""
        folder = self.runs.place_for(self.stage)
        if folder is None or not self._has_default_remote:
            return None
        for entry in RemoteRuns(self.repo).read(folder):
            with contextlib.suppress(InputsLackingError):
                if self._are_on_remotes(self._outputs_in(entry)):
                    return entry
        return None

    @property
    def _has_default_remote(self) -> bool:
        return bool(self.repo.config["core"].get("remote"))

    def _are_on_remotes(self, outs: Sequence[DvcOutput]) -> bool:
        for store, some in self._by_store(outs):
            self._receive(store, some, listings=True)
            objects = {oid for out in some for oid in objects_of(self.repo, out)}
            if objects - store.find_sizes(objects).keys():
                return False
        return True

    def _outputs_in(self, entry: Mapping[str, Any]) -> list[DvcOutput]:
        """The outputs that an entry of ``dvc.lock`` names, each with its remote."""
        outs: list[DvcOutput] = self.runs.stage_of(entry, self.stage.wdir).outs
        remotes = {out.def_path: out.remote for out in self.stage.outs}
        for out in outs:
            out.remote = remotes.get(out.def_path)
        return outs

    # --- inputs --------------------------------------------------------------------------------

    def _bring_inputs(self) -> None:
        """Brings inputs and previous outputs into the work tree, and checks the dependencies."""
        for out in self.stage.outs:
            # Outputs that Git has are in the snapshot, and are not for the command to see.
            if not out.persist:
                _remove(Path(out.fs_path))
        self._fetch_inputs()
        try:
            self._link_inputs()
        except DataNotAvailableError:
            # Another worker has just made room in the cache, before they were in use.
            self._fetch_inputs()
            self._link_inputs()
        for out in self.previous:
            out.unprotect()
        self._check_dependencies()

    def _fetch_inputs(self) -> None:
        lacking = [out for out in [*self.inputs, *self.previous] if not is_in_cache(out)]
        for store, outs in self._by_store(lacking):
            self._check_stop()
            self._receive(store, outs, listings=True)
            self._receive(store, outs, listings=False)

    def _link_inputs(self) -> None:
        for out in [*self.inputs, *self.previous]:
            self._check_stop()
            link_from_cache(self.dvc, self.repo, out)

    def _by_store(self, outs: Iterable[DvcOutput]) -> Iterator[tuple[Store, list[DvcOutput]]]:
        by_remote: dict[tuple[str | None, str], list[DvcOutput]] = {}
        for out in outs:
            by_remote.setdefault((out.remote, out.hash_name), []).append(out)
        for (remote, hash_name), some in by_remote.items():
            if not (remote or self._has_default_remote):
                # Where the cache is shared, there need not be one.
                raise InputsLackingError([path_in_repo(self.repo, o) for o in some], "no remote")
            self._check_remote(remote)
            yield Store(self.repo, remote, hash_name), some

    def _receive(self, store: Store, outs: Sequence[DvcOutput], *, listings: bool) -> None:
        """Fetches the listings of folders, or all other objects.

        Raises:
            InputsLackingError: when the remote lacks some.
        """
        objects: dict[str, str] = {}
        for out in outs:
            found = objects_of(self.repo, out).items()
            objects |= {oid: str(item) for oid, item in found if is_folder(oid) is listings}
        if not objects:
            return
        cache = outs[0].cache
        try:
            store.receive(cache, objects, self.report)
        except (RemoteAccessError, RemoteUnreachableError):
            raise
        except RemoteError as error:
            there = store.find_sizes(objects)
            lacking = [
                path_in_repo(self.repo, out)
                for out in outs
                if any(
                    oid in objects and oid not in there and not Path(place_in(cache, oid)).exists()
                    for oid in objects_of(self.repo, out)
                )
            ]
            if not lacking:
                raise
            raise InputsLackingError(lacking, error.reason) from None

    def _check_dependencies(self) -> None:
        """Checks that all dependencies have the recorded version.

        Raises:
            DependencyOutdatedError: when one has another.
        """
        brought = {out.fs_path: out.hash_info for out in self.inputs}
        for dep in self.stage.deps:
            if dep.hash_info and brought.get(dep.fs_path) == dep.hash_info:
                continue
            reason = _why_outdated(self.repo, dep)
            if reason is not None:
                path = path_in_repo(self.repo, dep)
                raise DependencyOutdatedError(self.resolved.address, path, reason)

    # --- outputs -------------------------------------------------------------------------------

    def _run(self, noting: _Noting) -> None:
        self._check_stop()
        Path(self.stage.wdir).mkdir(parents=True, exist_ok=True)
        try:
            run_command(self.stage, noting, self.report, self.stop)
        except StageFailedError as error:
            if self.stop.is_set() or shutil.disk_usage(self.dvc.root).free >= _LEAST_FREE_BYTES:
                raise
            # Each program fails in its own way then, and would not elsewhere.
            raise UnusableError(f"{error.reason}, and its disk is full") from error

    def _store(self) -> Mapping[str, Any]:
        """Puts the outputs into the cache; returns the entry."""
        repo, stage = self.repo, self.stage
        contents = read_outputs(repo, stage)
        with hashing:
            before = note_outputs(stage, contents)
        entry: Mapping[str, Any] = to_single_stage_lockfile(stage)
        if is_for_run_cache(stage):
            self.runs.save(stage)
        if stage.outs:
            self.runs.keep_uncached(stage, entry)
        store_outputs(repo, stage, contents, before)
        # Whoever records it may not be on this machine.
        sync_stored(repo)
        return entry

    def _push(self, entry: Mapping[str, Any]) -> None:
        """Pushes what the remotes lack: objects, then the entry of the run cache."""
        if self.is_cache_shared or not entry.get("outs"):
            return
        outs = self._outputs_in(entry)
        result = push(self.repo, outs, extra={}, full=False, report=self.report)
        if result.missing:
            lost = few_of([str(item) for item in result.missing])
            raise RegistryError(f"{lost} is not in the cache any more: run it again")
        folder = self.runs.place_for(self.stage)
        if folder is not None and is_for_run_cache(self.stage) and self._has_default_remote:
            RemoteRuns(self.repo).write(folder / name_of(entry), entry)

    def clean_up(self) -> None:
        """Removes inputs and outputs from the work tree."""
        for out in [*self.inputs, *self.previous, *self.stage.outs]:
            if out.is_in_repo:
                # What cannot be removed goes with the next snapshot.
                with contextlib.suppress(OSError):
                    _remove(Path(out.fs_path))


def _load(repo: Repo, resolved: ResolvedStage) -> PipelineStage:
    path, _, name = resolved.address.partition(":")
    file = ProjectFile(repo, str(Path(repo.root_dir) / path))
    stage: PipelineStage = StageLoader.load_stage(file, name, deepcopy(dict(resolved.definition)))
    outs, stage.outs = stage.outs, []
    # An entry without outputs would make DVC take theirs for those of DVC 2.
    StageLoader.fill_from_lock(stage, dict(resolved.entry))
    stage.outs = outs
    return stage


def _output_of(repo: Repo, version: DataVersion) -> DvcOutput:
    """An output with a version, of a stage that stands for whatever made it."""
    stage = PipelineStage(repo, str(Path(repo.root_dir) / PROJECT_FILE), wdir=repo.root_dir)
    info = {"md5": version.md5, "size": version.size, "nfiles": version.nfiles}
    return DvcOutput(
        stage, version.path, info=info, remote=version.remote, hash_name=version.hash_name
    )


def _why_outdated(repo: Repo, dep: Dependency) -> str | None:
    """Why a dependency is not what was recorded; None if it is."""
    try:
        if isinstance(dep, ParamsDependency):
            return "has other parameters" if dep.workspace_status() else None
        if not dep.exists:
            return "does not exist"
        with hashing:
            found = hash_folder(repo, dep) or hash_by_dvc(dep)
    except DvcException as error:
        return f"cannot be read ({' '.join(str(error).split())})"
    return None if found == dep.hash_info else "is not as it was recorded"


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
