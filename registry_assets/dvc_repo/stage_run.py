"""One run of a stage: unchanged, restored from the cache, or made by its command as DVC runs it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from dvc.dependency.base import DependencyDoesNotExistError
from dvc.dvcfile import LOCK_FILE

from registry_assets.dvc_repo.commands import run_command
from registry_assets.dvc_repo.data import ensure, ensure_input, fetch
from registry_assets.dvc_repo.folders.comparing import StatusReader, is_in_cache
from registry_assets.dvc_repo.folders.remembered import remembered
from registry_assets.dvc_repo.folders.scanning import stamp_of
from registry_assets.dvc_repo.folders.storing import (
    Contents,
    describe_overwritten,
    note_outputs,
    read_outputs,
    store_outputs,
)
from registry_assets.dvc_repo.loading import address_of
from registry_assets.dvc_repo.metafiles import read_lock
from registry_assets.dvc_repo.opening import RepoAccess, Report, translated_errors
from registry_assets.dvc_repo.overlaps import overlap
from registry_assets.dvc_repo.previous_outputs import PreviousOutputs
from registry_assets.dvc_repo.remotes import is_unused
from registry_assets.dvc_repo.results import MadeOn, Outcome
from registry_assets.dvc_repo.run_cache import RunCache
from registry_assets.dvc_repo.staged_listings import hashing
from registry_assets.dvc_repo.states import is_changed
from registry_assets.dvc_repo.versions import (
    path_in_repo,
    version_of,
    version_of_run,
)
from registry_assets.errors import (
    DataNotAvailableError,
    NotFoundError,
    RepositoryChangedError,
)
from registry_assets.fingerprint import FileIdentity
from registry_assets.model import Version

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import PipelineStage


Before = Callable[[Collection[str]], None]
"""Called with the changed inputs of a stage, before its other dependencies are hashed.

The inputs are in the workspace and the stage is locked, so the callback can write a dependency that
is derived from them, such as a file that people edit.
"""


class StageRun:
    """One stage in three steps: `prepare`, `execute` and `record_all`.

    `prepare` and `record_all` use DVC and must run in the same thread; `execute` runs the command
    and may run in another. The caller holds the locks on the inputs and outputs of the stage.

    Args:
        dvc: The repository.
        repo: The same, opened.
        stage: The stage.
        upstream: The stages and ``.dvc`` files that make its inputs.
        head: The checked-out branch or commit.
        report: Takes the command's output, line by line.
        before: See `Before`.

    Attributes:
        outcome: How the result came about; None while the command has to run.
        recorded: The previously recorded version of each output.
        made_on: The machine that ran the command, if it was another one.
        stop: When set, from any thread, the command is terminated.
    """

    def __init__(
        self,
        dvc: RepoAccess,
        repo: Repo,
        stage: PipelineStage,
        upstream: Sequence[PipelineStage],
        head: str | None,
        report: Report,
        before: Before | None = None,
    ) -> None:
        self.stage = stage
        self.address = address_of(stage)
        self.head = head
        self.outcome: Outcome | None = None
        self.recorded = recorded_versions(repo, stage)
        self.made_on: MadeOn | None = None
        self.stop = Event()
        self.report = report
        self.dvc, self.repo, self.upstream = dvc, repo, upstream
        # Inputs that are not in the workspace, by absolute path: none, where the command runs here.
        self.absent: Mapping[str, DvcOutput] = {}
        self._before = before
        self._made: Contents | None = None
        self._started = time.monotonic()
        self._read: Mapping[str, str] | None = None
        self.aside = PreviousOutputs(
            dvc, self.address, {p: v.md5 if v else None for p, v in self.recorded.items()}
        )

    @property
    def seconds(self) -> float:
        """Seconds since the inputs were ready."""
        return time.monotonic() - self._started

    @translated_errors()
    def prepare(self, *, force: bool) -> None:
        """Restores the inputs, and the outputs if possible; else sets the outputs aside."""
        inputs = self.find_inputs()
        new = _new_inputs(self.stage, inputs) if self._before is not None else []
        if self._before is not None and new:
            for out in self.absent.values():
                ensure_input(self.dvc, self.repo, out, self.report)
            self.absent = {}
            self._before(new)
        self._started = time.monotonic()
        self._read = _stamps_of_deps(self.stage, inputs, self.absent)
        self.outcome = self._restore_outputs(inputs, force=force)

    def find_inputs(self) -> Mapping[str, DvcOutput]:
        """Restores the inputs of the stage into the workspace; returns them by absolute path."""
        inputs = self.read_inputs()
        for out in inputs.values():
            ensure_input(self.dvc, self.repo, out, self.report)
        return inputs

    def read_inputs(self) -> Mapping[str, DvcOutput]:
        """The outputs that the stage reads, by absolute path."""
        paths, _ = paths_of(self.stage)
        return {
            out.fs_path: out
            for maker in self.upstream
            for out in maker.outs
            if any(overlap(path, out.fs_path) for path in paths)
        }

    def _restore_outputs(self, inputs: Mapping[str, DvcOutput], *, force: bool) -> Outcome | None:
        """Restores the outputs without running the command; None if it has to run."""
        stage, repo = self.stage, self.repo
        if stage.frozen:
            changed = [ensure(self.dvc, repo, out, self.report) for out in stage.outs]
            return "restored" if any(changed) else "unchanged"
        known = _find_known(stage, inputs, self.absent)
        is_current = not force and _is_recorded(stage) and not is_changed(stage, known)
        if is_current:
            reader = StatusReader()
            if not any(reader.status(out) for out in stage.outs if not self.may_lack(out)):
                return "unchanged"
            _fetch_missing(repo, stage, self.report)
        for out in stage.outs:
            self.aside.take(path_in_repo(repo, out), keep_in_place=out.persist)
        run_cache = RunCache(repo)
        if is_current and self._restore(run_cache.restore):
            return "restored"
        _save_deps(stage, known)
        # Checked before taking the lock, which takes longer than the look-up.
        is_known = not force and run_cache.knows(stage)
        if is_known and self._restore(run_cache.take):
            return "restored"
        return None

    def may_lack(self, _out: DvcOutput) -> bool:
        """Whether an output may be missing from the workspace, as it is kept elsewhere."""
        return False

    def _restore(self, restore: Callable[[PipelineStage], bool]) -> bool:
        """Links the outputs for these inputs from the cache; False if the cache lacks them."""
        with self.dvc.write_lock(self.repo, self.report):
            if not restore(self.stage):
                return False
        self.report("restored from the cache, without running the command")
        return True

    @translated_errors()
    def execute(self) -> None:
        """Runs the command and hashes the outputs.

        Raises:
            StageFailedError: when the command fails, is stopped, or does not make an output.
        """
        run_command(self.stage, self.aside, self.report, self.stop)
        # Hashed now, to hold the write lock for a short time only.
        self._made = read_outputs(self.repo, self.stage)
        for out in self.stage.outs:
            if self._made[out.fs_path] is None:
                with hashing if out.isdir() else contextlib.nullcontext():
                    out.get_hash()
        self.outcome = "ran"

    def check_nothing_changed(self, head: str | None) -> None:
        """Checks that nothing that the outputs depend on has changed since `prepare`.

        Raises:
            RepositoryChangedError: when the branch, the code or an input changed meanwhile.
        """
        if self.head != head:
            raise RepositoryChangedError(self.address, "the checked-out branch changed")
        if self._read is not None and self._read == _stamps_of_deps(self.stage, (), self.absent):
            return
        for dep in self.stage.deps:
            if dep.fs_path in self.absent and not dep.exists:
                continue
            before = dep.hash_info
            is_there = dep.protocol != "local" or dep.exists
            if is_there:
                dep.save()
            if not is_there or dep.hash_info != before:
                raise RepositoryChangedError(self.address, f"{dep.def_path} changed")

    def keep_outputs(self) -> None:
        """Puts the outputs into the cache and links them back; call it under the write lock."""
        stage, repo = self.stage, self.repo
        contents = read_outputs(repo, stage, self._made)
        self._made = None
        before = note_outputs(stage, contents)
        if is_for_run_cache(stage):
            RunCache(repo).save(stage)
        overwritten = store_outputs(repo, stage, contents, before)
        # What DVC checks entries of the run cache with leaves a cycle that holds this frame.
        del contents
        for place, md5 in overwritten.items():
            self.report(describe_overwritten(repo, place, md5))

    def done(self) -> Outcome:
        """The outcome, once there is one."""
        assert self.outcome is not None, f"{self.address} was not executed"
        return self.outcome

    def close(self, *, is_recorded: bool) -> None:
        """Removes the previous outputs, or restores them if nothing was recorded."""
        if is_recorded:
            self.aside.drop()
        else:
            self.aside.put_back()


def paths_of(stage: PipelineStage) -> tuple[list[str], list[str]]:
    """The absolute paths of the local dependencies and of the outputs of a stage."""
    read = [dep.fs_path for dep in stage.deps if dep.protocol == "local"]
    return read, [out.fs_path for out in stage.outs]


def stamps_of(stages: Sequence[PipelineStage]) -> set[tuple[str, FileIdentity]]:
    """The identities of the metafiles of stages, to notice changes."""
    found = set()
    for path in {Path(stage.path) for stage in stages}:
        for metafile in (path, path.with_name(LOCK_FILE)):
            with contextlib.suppress(FileNotFoundError):
                found.add((str(metafile), FileIdentity.of(metafile.stat())))
    return found


def _stamps_of_deps(
    stage: PipelineStage, ensured: Collection[str] = (), absent: Collection[str] = ()
) -> Mapping[str, str] | None:
    """The stamp of each dependency of a stage, to notice changes; None if one has no stamp.

    Args:
        stage: The stage.
        ensured: Paths that were just hashed; their stamp from before hashing is used.
        absent: Inputs that need not be in the workspace.
    """
    stamps = {}
    for dep in stage.deps:
        if dep.protocol != "local":
            return None
        place = str(dep.fs_path)
        known = remembered(stage.repo).stamp_of(place) if place in ensured else None
        stamp = known or stamp_of(place)
        if stamp is None and place in absent:
            continue
        if stamp is None:
            return None
        stamps[place] = stamp
    return stamps


def _new_inputs(stage: PipelineStage, ensured: Mapping[str, DvcOutput]) -> list[str]:
    """The restored inputs whose version differs from the one recorded for the stage."""
    # DVC ignores the dependencies of a frozen stage.
    return [
        path_in_repo(stage.repo, dep)
        for dep in stage.deps
        if not stage.frozen
        and dep.fs_path in ensured
        and dep.hash_info != ensured[dep.fs_path].hash_info
    ]


def _find_known(
    stage: PipelineStage, inputs: Mapping[str, DvcOutput], absent: Collection[str]
) -> Mapping[str, DvcOutput]:
    """The inputs that need not be hashed: folders that were just compared, and absent ones."""
    return {
        dep.fs_path: out
        for dep in stage.deps
        if (out := inputs.get(dep.fs_path)) is not None
        and (out.hash_info.isdir or dep.fs_path in absent)
        and out.hash_name == dep.hash_name
    }


def _save_deps(stage: PipelineStage, known: Mapping[str, DvcOutput]) -> None:
    """Hashes the dependencies of a stage, except those that need not be.

    Raises:
        NotFoundError: when a dependency is missing.
    """
    for dep in stage.deps:
        out = known.get(dep.fs_path)
        if out is not None:
            dep.hash_info, dep.meta, dep.obj, dep.files = out.hash_info, out.meta, None, None
            continue
        try:
            dep.save()
        except DependencyDoesNotExistError as error:
            path = path_in_repo(stage.repo, dep)
            raise NotFoundError(
                f"{address_of(stage)} reads {path}, which does not exist: restore it "
                f"(`git restore {path}`), run the stage that writes it again (`registry "
                "materialize --force`), or remove it from the deps"
            ) from error


def _is_recorded(stage: PipelineStage) -> bool:
    return all(out.hash_info for out in stage.outs)


def _fetch_missing(repo: Repo, stage: PipelineStage, report: Report) -> None:
    """Pulls recorded outputs; if one is not available, the command will make them again."""
    for out in stage.outs:
        if out.use_cache and not is_in_cache(out):
            if is_unused(repo, out):
                return
            try:
                fetch(repo, out, report)
            except DataNotAvailableError as error:
                report(f"{error.path} cannot be pulled, so the stage runs again")
                return


def recorded_versions(repo: Repo, stage: PipelineStage) -> dict[str, Version | None]:
    """The recorded version of each output; for a stage without outputs, of its last run."""
    if not stage.outs:
        address = address_of(stage)
        return {address: version_of_run(read_lock(Path(stage.path), [stage.name]), stage.name)}
    return {path_in_repo(repo, out): version_of(out) for out in stage.outs}


def is_for_run_cache(stage: PipelineStage) -> bool:
    """Whether DVC saves the outputs of a stage in the run cache: not with other uncached ones."""
    return all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
