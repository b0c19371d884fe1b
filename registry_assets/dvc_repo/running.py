"""One stage: unchanged, restored from the cache, or run as DVC runs it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from dvc.dependency.base import DependencyDoesNotExistError
from dvc.dvcfile import LOCK_FILE

from registry_assets.dvc_repo.commands import run_command
from registry_assets.dvc_repo.data import ensure, ensure_input, fetch
from registry_assets.dvc_repo.folders.comparing import StatusReader, is_in_cache
from registry_assets.dvc_repo.folders.remembered import remembered, stamp_of
from registry_assets.dvc_repo.folders.storing import (
    Contents,
    describe_overwritten,
    note_outputs,
    read_outputs,
    store_outputs,
)
from registry_assets.dvc_repo.loading import address_of, load_stages
from registry_assets.dvc_repo.metafiles import read_lock, write_lock_entries
from registry_assets.dvc_repo.opening import RepoAccess, Report, translated_errors
from registry_assets.dvc_repo.overlaps import overlap
from registry_assets.dvc_repo.previous_outputs import PreviousOutputs, recover
from registry_assets.dvc_repo.remotes import is_unused
from registry_assets.dvc_repo.results import Outcome, PendingResult, RecordedOutput
from registry_assets.dvc_repo.run_cache import RunCache
from registry_assets.dvc_repo.staged_listings import hashing
from registry_assets.dvc_repo.states import is_changed
from registry_assets.dvc_repo.versions import (
    listings_of,
    path_in_repo,
    version_of,
    version_of_run,
)
from registry_assets.errors import (
    DataNotAvailableError,
    NotFoundError,
    RegistryError,
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


@contextmanager
def running_stage(
    dvc: RepoAccess,
    address: str,
    *,
    inputs: Sequence[str] = (),
    force: bool = False,
    report: Report,
    before: Before | None = None,
) -> Iterator[PendingResult]:
    """Brings the outputs of a stage up to date in the workspace, ready to be recorded.

    Its inputs are restored first. If nothing changed since ``dvc.lock``, the recorded outputs are
    restored; else outputs from the run cache, if it has them; else the command runs. Only the
    inputs and outputs of the stage are locked meanwhile.

    Args:
        dvc: The repository.
        address: The stage.
        inputs: The stages and ``.dvc`` files that make its inputs.
        force: Whether to run the command even if nothing changed.
        report: Takes the command's output, line by line.
        before: See `Before`.

    Yields:
        The pending result. If the block ends without `PendingResult.persist`, the previous outputs
        are restored.

    Raises:
        StageFailedError: when the command fails or does not make an output.
        RepositoryChangedError: when the stage was edited while waiting for the lock; from
            `PendingResult.persist`, when the branch, the code or an input changed meanwhile.
        DataNotAvailableError: when an input is neither in the cache nor on a remote.
        NotFoundError: when a dependency that no stage makes is missing.
        DataModifiedError: when an input was edited by hand.
    """
    with dvc.open() as repo:
        stages = load_stages(repo, dvc.root, [address, *inputs])
        stamps, (read, write) = stamps_of(stages), paths_of(stages[0])
        with dvc.holding(repo, read=read, write=write, report=report):
            recover(dvc, repo, report)
            if stamps_of(stages) != stamps:
                # The process that held the lock has recorded something.
                stages = load_stages(repo, dvc.root, [address, *inputs])
                if paths_of(stages[0]) != (read, write):
                    raise RepositoryChangedError(address, "its dependencies or outputs changed")
            head = dvc.git.head()
            run = StageRun(dvc, repo, stages[0], stages[1:], head, report, before)
            try:
                run.prepare(force=force)
                if run.outcome is None:
                    run.execute()
                pending = PendingResult(
                    address, run.done(), run.seconds, lambda: _record(dvc, repo, run, report)
                )
                yield pending
            except BaseException:
                run.put_back()
                raise
            run.close(is_recorded=pending.is_persisted)


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
        made: The hashed outputs of the command, until they are recorded.
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
        self.recorded = _recorded_versions(repo, stage)
        self.made: Contents | None = None
        self.stop = Event()
        self.report = report
        self._dvc, self._repo, self._upstream = dvc, repo, upstream
        self._before = before
        self._started = time.monotonic()
        self._read: Mapping[str, str] | None = None
        self._aside = PreviousOutputs(
            dvc, self.address, {p: v.md5 if v else None for p, v in self.recorded.items()}
        )

    @property
    def seconds(self) -> float:
        """Seconds since the inputs were ready."""
        return time.monotonic() - self._started

    @translated_errors()
    def prepare(self, *, force: bool) -> None:
        """Restores the inputs, and the outputs if possible; else sets the outputs aside."""
        ensured = _ensure_inputs(self._dvc, self._repo, self.stage, self._upstream, self.report)
        new = _new_inputs(self.stage, ensured) if self._before is not None else []
        if self._before is not None and new:
            self._before(new)
        self._started = time.monotonic()
        self._read = _stamps_of_deps(self.stage, ensured)
        self.outcome = _restore_outputs(
            self._dvc, self._repo, self.stage, ensured, self._aside, force=force, report=self.report
        )

    @translated_errors()
    def execute(self) -> None:
        """Runs the command and hashes the outputs.

        Raises:
            StageFailedError: when the command fails, is stopped, or does not make an output.
        """
        run_command(self.stage, self._aside, self.report, self.stop)
        # Hashed now, to hold the write lock for a short time only.
        self.made = read_outputs(self._repo, self.stage)
        for out in self.stage.outs:
            if self.made[out.fs_path] is None:
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
        if self._read is not None and self._read == _stamps_of_deps(self.stage):
            return
        for dep in self.stage.deps:
            before = dep.hash_info
            is_there = dep.protocol != "local" or dep.exists
            if is_there:
                dep.save()
            if not is_there or dep.hash_info != before:
                raise RepositoryChangedError(self.address, f"{dep.def_path} changed")

    def done(self) -> Outcome:
        """The outcome, once there is one."""
        assert self.outcome is not None, f"{self.address} was not executed"
        return self.outcome

    def put_back(self) -> None:
        """Restores the previous outputs."""
        self._aside.put_back()

    def close(self, *, is_recorded: bool) -> None:
        """Removes the previous outputs, or restores them if nothing was recorded."""
        if is_recorded:
            self._aside.drop()
        else:
            self._aside.put_back()


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
    stage: PipelineStage, ensured: Collection[str] = ()
) -> Mapping[str, str] | None:
    """The stamp of each dependency of a stage, to notice changes; None if one has no stamp.

    Args:
        stage: The stage.
        ensured: Paths that were just hashed; their stamp from before hashing is used.
    """
    stamps = {}
    for dep in stage.deps:
        if dep.protocol != "local":
            return None
        place = str(dep.fs_path)
        known = remembered(stage.repo).stamp_of(place) if place in ensured else None
        stamp = known or stamp_of(place)
        if stamp is None:
            return None
        stamps[place] = stamp
    return stamps


def _ensure_inputs(
    dvc: RepoAccess,
    repo: Repo,
    stage: PipelineStage,
    upstream: Sequence[PipelineStage],
    report: Report,
) -> Mapping[str, DvcOutput]:
    """Restores the inputs of a stage into the workspace; returns them by absolute path."""
    paths, _ = paths_of(stage)
    ensured = {}
    for maker in upstream:
        for out in maker.outs:
            if any(overlap(path, out.fs_path) for path in paths):
                ensure_input(dvc, repo, out, report)
                ensured[out.fs_path] = out
    return ensured


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


def _save_deps(stage: PipelineStage, ensured: Mapping[str, DvcOutput]) -> None:
    """Hashes the dependencies of a stage, except folders that were just hashed.

    Raises:
        NotFoundError: when a dependency is missing.
    """
    for dep in stage.deps:
        out = ensured.get(dep.fs_path)
        if out is not None and out.hash_info.isdir and out.hash_name == dep.hash_name:
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


def _restore_outputs(
    dvc: RepoAccess,
    repo: Repo,
    stage: PipelineStage,
    ensured: Mapping[str, DvcOutput],
    aside: PreviousOutputs,
    *,
    force: bool,
    report: Report,
) -> Outcome | None:
    """Restores the outputs without running the command; None if it has to run."""
    if stage.frozen:
        changed = [ensure(dvc, repo, out, report) for out in stage.outs]
        return "restored" if any(changed) else "unchanged"
    is_current = not force and _is_recorded(stage) and not is_changed(stage)
    if is_current:
        reader = StatusReader()
        if not any(reader.status(out) for out in stage.outs):
            return "unchanged"
        _fetch_missing(repo, stage, report)
    _take(stage, aside, repo)
    run_cache = RunCache(repo)
    if is_current and _restore(dvc, repo, stage, report, run_cache.restore):
        return "restored"
    _save_deps(stage, ensured)
    # Checked before taking the lock, which takes longer than the look-up.
    is_known = not force and run_cache.knows(stage)
    if is_known and _restore(dvc, repo, stage, report, run_cache.take):
        return "restored"
    return None


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


def _take(stage: PipelineStage, aside: PreviousOutputs, repo: Repo) -> None:
    for out in stage.outs:
        aside.take(path_in_repo(repo, out), keep_in_place=out.persist)


def _restore(
    dvc: RepoAccess,
    repo: Repo,
    stage: PipelineStage,
    report: Report,
    restore: Callable[[PipelineStage], bool],
) -> bool:
    """Links the outputs for these inputs from the cache; False if the cache lacks them."""
    with dvc.write_lock(repo, report):
        if not restore(stage):
            return False
    report("restored from the cache, without running the command")
    return True


def _record(
    dvc: RepoAccess, repo: Repo, run: StageRun, report: Report
) -> Mapping[str, RecordedOutput]:
    (result,) = record_all(dvc, repo, [run], report)
    if isinstance(result, RegistryError):
        raise result
    return result


def record_all(
    dvc: RepoAccess,
    repo: Repo,
    runs: Sequence[StageRun],
    report: Report,
    *,
    order: Sequence[str] = (),
    written: Callable[[], None] = lambda: None,
) -> list[Mapping[str, RecordedOutput] | RegistryError]:
    """Puts outputs into the cache, links them back, then writes each ``dvc.lock`` once.

    Args:
        dvc: The repository.
        repo: The same, opened.
        runs: The runs to record.
        report: Takes a line while waiting for another process.
        order: The order of new entries; see `write_lock_entries`.
        written: Called after the metafiles are written, still under the lock.

    Returns:
        For each run its outputs by path, or an error if it was not recorded: the branch, the code
        or an input changed meanwhile, or its outputs cannot be stored.
    """
    to_record = [run for run in runs if run.done() != "unchanged" and not run.stage.frozen]
    errors: dict[str, RegistryError] = {}
    if to_record:
        with dvc.write_lock(repo, report), repo.scm_context(quiet=True):
            head = dvc.git.head()
            for run in to_record:
                try:
                    with translated_errors():
                        run.check_nothing_changed(head)
                        _keep_outputs(repo, run)
                except RegistryError as error:
                    errors[run.address] = error
            kept = [run for run in to_record if run.address not in errors]
            write_lock_entries([run.stage for run in kept], order)
            written()
    return [errors.get(run.address) or _recorded(repo, run) for run in runs]


def _recorded(repo: Repo, run: StageRun) -> Mapping[str, RecordedOutput]:
    listings = listings_of(repo)
    return {
        path: RecordedOutput(path, _known(run.address, version), run.recorded[path], listings)
        for path, version in _recorded_versions(repo, run.stage).items()
    }


def _recorded_versions(repo: Repo, stage: PipelineStage) -> dict[str, Version | None]:
    """The recorded version of each output; for a stage without outputs, of its last run."""
    if not stage.outs:
        address = address_of(stage)
        return {address: version_of_run(read_lock(Path(stage.path), [stage.name]), stage.name)}
    return {path_in_repo(repo, out): version_of(out) for out in stage.outs}


def _keep_outputs(repo: Repo, run: StageRun) -> None:
    stage = run.stage
    # As in `dvc repro`: the run cache excludes stages with other uncached outputs.
    in_run_cache = all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
    contents = read_outputs(repo, stage, run.made)
    run.made = None
    before = note_outputs(stage, contents)
    if in_run_cache:
        RunCache(repo).save(stage)
    for place, md5 in store_outputs(repo, stage, contents, before).items():
        run.report(describe_overwritten(repo, place, md5))


def _known(address: str, version: Version | None) -> Version:
    assert version is not None, f"{address} was recorded without a version"
    return version
