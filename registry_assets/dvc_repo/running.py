"""Stages brought up to date: one at a time, and many recorded together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.elsewhere import runner_for
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.metafiles import write_lock_entries
from registry_assets.dvc_repo.opening import RepoAccess, Report, translated_errors
from registry_assets.dvc_repo.previous_outputs import recover
from registry_assets.dvc_repo.resolved import Elsewhere
from registry_assets.dvc_repo.results import PendingResult, RecordedOutput
from registry_assets.dvc_repo.stage_run import (
    Before,
    StageRun,
    paths_of,
    recorded_versions,
    stamps_of,
)
from registry_assets.dvc_repo.unseen import asking_once
from registry_assets.dvc_repo.versions import listings_of
from registry_assets.errors import RegistryError, RepositoryChangedError
from registry_assets.model import Version

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def running_stage(
    dvc: RepoAccess,
    address: str,
    *,
    inputs: Sequence[str] = (),
    force: bool = False,
    report: Report,
    before: Before | None = None,
    elsewhere: Elsewhere | None = None,
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
        elsewhere: The machines that run the command (default: this one).

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
            run = runner_for(elsewhere)(dvc, repo, stages[0], stages[1:], head, report, before)
            try:
                run.prepare(force=force)
                if run.outcome is None:
                    run.execute()
                pending = PendingResult(
                    address,
                    run.done(),
                    run.seconds,
                    lambda: _record(dvc, repo, run, report),
                    made_on=run.made_on,
                )
                yield pending
            except BaseException:
                run.close(is_recorded=False)
                raise
            run.close(is_recorded=pending.is_persisted)


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
            with asking_once(repo, [Path(out.fs_path) for r in to_record for out in r.stage.outs]):
                for run in to_record:
                    try:
                        with translated_errors():
                            run.check_nothing_changed(head)
                            run.keep_outputs()
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
        for path, version in recorded_versions(repo, run.stage).items()
    }


def _known(address: str, version: Version | None) -> Version:
    assert version is not None, f"{address} was recorded without a version"
    return version
