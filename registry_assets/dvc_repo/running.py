"""One stage: unchanged, restored from the cache, or run the way DVC runs it."""

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
from registry_assets.dvc_repo.data import ensure, fetch
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
"""Called with those inputs of a stage that it was not recorded with, before it is prepared.

They stand in the workspace, the stage is held, and what else it reads was not looked at yet: a file
that follows from its inputs, and that people edit, can be written now.
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
    """Brings the outputs of one stage into the workspace and holds them while they are recorded.

    Its inputs are brought into the workspace first. When nothing changed since ``dvc.lock`` the
    recorded outputs are restored; when the run cache knows the answer, that is; else the command
    runs, outside every lock but the one on its own inputs and outputs.

    Args:
        dvc: The repository.
        address: The stage.
        inputs: The stages and ``.dvc`` files that make its inputs.
        force: Whether to run the command in any case.
        report: Takes the command's output, line by line.
        before: See `Before`.

    Yields:
        The pending result. When the block is left without `PendingResult.persist`, the previous
        version is put back.

    Raises:
        StageFailedError: when the command fails or leaves an output out.
        RepositoryChangedError: when the declaration changed while this waited for its turn; from
            `PendingResult.persist`, when the branch, the code or an input changed meanwhile.
        DataNotAvailableError: when an input is nowhere to be had.
        NotFoundError: when a file is missing that it reads and nothing makes.
        DataModifiedError: when an input was edited by hand.
    """
    with dvc.open() as repo:
        stages = load_stages(repo, dvc.root, [address, *inputs])
        stamps, (read, write) = stamps_of(stages), paths_of(stages[0])
        with dvc.holding(repo, read=read, write=write, report=report):
            recover(dvc, repo, report)
            if stamps_of(stages) != stamps:
                # Whoever this waited for has recorded something.
                stages = load_stages(repo, dvc.root, [address, *inputs])
                if paths_of(stages[0]) != (read, write):
                    raise RepositoryChangedError(address, "what it reads and writes changed")
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
    """One stage on its way from what is recorded to what is there, in three steps.

    `prepare` and `record_all` ask DVC and belong into one thread; `execute` runs the command, and
    may do so in another. Whoever makes one holds what the stage reads and writes.

    Args:
        dvc: The repository.
        repo: The same, opened.
        stage: The stage, as its metafiles declare and record it now.
        upstream: The stages and ``.dvc`` files that make its inputs.
        head: What is checked out.
        report: Takes the command's output, line by line.
        before: See `Before`.

    Attributes:
        outcome: How it came about, None as long as the command has to run.
        recorded: What the metafile recorded of each output before.
        made: What the command made, hashed, until it is recorded.
        stop: When it is set, from whichever thread, the command is ended.
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
        """How long it has been going on."""
        return time.monotonic() - self._started

    @translated_errors()
    def prepare(self, *, force: bool) -> None:
        """Brings the inputs, and restores the outputs where that can be; else sets them aside."""
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
        """Runs the command; the outputs stand there afterwards.

        Raises:
            StageFailedError: when the command fails, is stopped, or leaves an output out.
        """
        run_command(self.stage, self._aside, self.report, self.stop)
        # Hashed now, as the time under the write lock is to be short.
        self.made = read_outputs(self._repo, self.stage)
        for out in self.stage.outs:
            if self.made[out.fs_path] is None:
                with hashing if out.isdir() else contextlib.nullcontext():
                    out.get_hash()
        self.outcome = "ran"

    def check_nothing_changed(self, head: str | None) -> None:
        """Makes sure that the outputs are those of what is in the workspace now.

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
        """How it came about."""
        assert self.outcome is not None, f"{self.address} was not executed"
        return self.outcome

    def put_back(self) -> None:
        """Puts the previous outputs back."""
        self._aside.put_back()

    def close(self, *, is_recorded: bool) -> None:
        """Lets go of the previous outputs, or puts them back where nothing was recorded."""
        if is_recorded:
            self._aside.drop()
        else:
            self._aside.put_back()


def paths_of(stage: PipelineStage) -> tuple[list[str], list[str]]:
    """What a stage reads and what it writes."""
    read = [dep.fs_path for dep in stage.deps if dep.protocol == "local"]
    return read, [out.fs_path for out in stage.outs]


def stamps_of(stages: Sequence[PipelineStage]) -> set[tuple[str, FileIdentity]]:
    """What tells the metafiles of stages from later ones."""
    found = set()
    for path in {Path(stage.path) for stage in stages}:
        for metafile in (path, path.with_name(LOCK_FILE)):
            with contextlib.suppress(FileNotFoundError):
                found.add((str(metafile), FileIdentity.of(metafile.stat())))
    return found


def _stamps_of_deps(
    stage: PipelineStage, ensured: Collection[str] = ()
) -> Mapping[str, str] | None:
    """What tells each dependency of a stage from later ones; None when only reading them can.

    Args:
        stage: The stage.
        ensured: Places of which the hash was just made sure of: what they were then counts.
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
    """Brings inputs into the workspace; returns those that stand there as recorded, by place."""
    paths, _ = paths_of(stage)
    ensured = {}
    for maker in upstream:
        for out in maker.outs:
            if any(overlap(path, out.fs_path) for path in paths):
                ensure(dvc, repo, out, report)
                ensured[out.fs_path] = out
    return ensured


def _new_inputs(stage: PipelineStage, ensured: Mapping[str, DvcOutput]) -> list[str]:
    """The inputs in the workspace that a stage was not recorded with."""
    # DVC does not look at what a frozen stage reads.
    return [
        path_in_repo(stage.repo, dep)
        for dep in stage.deps
        if not stage.frozen
        and dep.fs_path in ensured
        and dep.hash_info != ensured[dep.fs_path].hash_info
    ]


def _save_deps(stage: PipelineStage, ensured: Mapping[str, DvcOutput]) -> None:
    """Hashes what a stage reads, but for folders of which the hash was just made sure of.

    Raises:
        NotFoundError: when something that it reads is not there.
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
                f"{address_of(stage)} reads {path}, which is not there: bring it back "
                f"(`git restore {path}`), run what writes it again (`registry materialize "
                "--force`), or take it out of the deps"
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
    """Brings the outputs without running anything; None when the command has to run."""
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
    # Without the lock first, as opening and closing it costs more than the question.
    is_known = not force and run_cache.knows(stage)
    if is_known and _restore(dvc, repo, stage, report, run_cache.take):
        return "restored"
    return None


def _is_recorded(stage: PipelineStage) -> bool:
    return all(out.hash_info for out in stage.outs)


def _fetch_missing(repo: Repo, stage: PipelineStage, report: Report) -> None:
    """Pulls recorded outputs; when that cannot be, the command makes them anew."""
    for out in stage.outs:
        if out.use_cache and not is_in_cache(out):
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
    """Links outputs that the cache holds for exactly these inputs; False when it lacks them."""
    with dvc.write_lock(repo, report):
        if not restore(stage):
            return False
    report(f"{address_of(stage)}: restored from the cache, the command did not have to run")
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
    """Moves outputs into the cache, links them back, then writes ``dvc.lock``, once for all.

    Args:
        dvc: The repository.
        repo: The same, opened.
        runs: What to record.
        report: Takes a line when there is somebody to wait for.
        order: Of new entries; see `write_lock_entries`.
        written: Called when the metafiles are written, while nobody else can write them.

    Returns:
        For each run its outputs by path; an error, and nothing recorded, for one whose branch,
        code or input changed meanwhile, or whose outputs cannot be stored.
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
    """What is recorded of each output; of the run, where the stage makes nothing."""
    if not stage.outs:
        address = address_of(stage)
        return {address: version_of_run(read_lock(Path(stage.path), [stage.name]), stage.name)}
    return {path_in_repo(repo, out): version_of(out) for out in stage.outs}


def _keep_outputs(repo: Repo, run: StageRun) -> None:
    stage = run.stage
    # As `dvc repro`: outputs that DVC does not keep make a stage unfit for the run cache.
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
