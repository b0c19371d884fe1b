"""Running many stages at once: commands in parallel, metafiles read once and written together.

Each stage goes through the same steps as in `running_stage`. One thread uses DVC, others wait for
commands. N stages cost N, while DVC reads and writes all of ``dvc.lock`` for each.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.bounded import read_text
from registry_assets.dvc_repo.elsewhere import runner_for
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.metafiles import entry_names, replace_text, scratch_folder
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.previous_outputs import recover
from registry_assets.dvc_repo.resolved import Elsewhere
from registry_assets.dvc_repo.results import MadeOn, Outcome, RecordedOutput
from registry_assets.dvc_repo.running import record_all
from registry_assets.dvc_repo.stage_run import Before, StageRun, paths_of, stamps_of
from registry_assets.dvc_repo.staged_listings import StagedListings
from registry_assets.errors import RegistryError, RepositoryBusyError, RepositoryChangedError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

_RECORDING_SHARE = 0.2
"""The most of the time that recording takes, as it reads and writes all of ``dvc.lock``."""
_MOST_WAITING = 1_000
"""Threads that wait for other machines."""
_MOST_UNRECORDED_SECONDS = 10.0
"""How long a result waits for being recorded at the most, since a crash loses it."""


@dataclass(frozen=True)
class StageTask:
    """A stage to bring up to date.

    Attributes:
        address: The stage.
        inputs: The stages and ``.dvc`` files that make its inputs; if they are tasks themselves,
            they run first.
        before: See `stage_run.Before`.
        is_elsewhere: Whether its command runs on another machine.
    """

    address: str
    inputs: tuple[str, ...] = ()
    before: Before | None = None
    is_elsewhere: bool = False


@dataclass(frozen=True)
class StageResult:
    """The result of a task.

    Attributes:
        outcome: How the result came about; None if the task failed.
        seconds: How long it took.
        outputs: The recorded outputs, by path.
        error: Why it failed, or was not run.
        made_on: The machine that ran the command, if it was another one.
    """

    address: str
    outcome: Outcome | None
    seconds: float = 0.0
    outputs: Mapping[str, RecordedOutput] = field(default_factory=dict)
    error: RegistryError | None = None
    made_on: MadeOn | None = None


def run_stages(
    dvc: RepoAccess,
    tasks: Sequence[StageTask],
    *,
    force: bool,
    executor: Executor,
    most_at_once: int,
    report: Report,
    elsewhere: Elsewhere | None = None,
) -> Iterator[StageResult]:
    """Brings stages up to date in parallel, upstream stages first.

    If a stage fails, its downstream stages are not run; all others are.

    Args:
        dvc: The repository.
        tasks: The stages.
        force: Whether to run commands even if nothing changed.
        executor: A pool of threads to wait for commands.
        most_at_once: The maximum number of stages in progress on this machine.
        report: Takes a command's output, line by line; called from several threads.
        elsewhere: Other machines, for the tasks that are made elsewhere.

    Yields:
        A result for each task, in order of completion.
    """
    with dvc.open() as repo:
        places = [_Place(executor, lambda: most_at_once)]
        with ExitStack() as started:
            if elsewhere is not None:
                machines = elsewhere
                waiting = started.enter_context(ThreadPoolExecutor(_MOST_WAITING))
                places.append(_Place(waiting, lambda: machines.most_at_once, machines))
            yield from _Batch(dvc, repo, tasks, force, places, report).run()


@dataclass
class _Place:
    """Where commands run: on this machine or elsewhere.

    Attributes:
        executor: Threads that wait for commands.
        most_at_once: Returns the maximum number of stages in progress. Machines come and go.
        elsewhere: The other machines; None for this one.
        ready: The stages to start next.
        in_progress: The prepared runs that have not finished.
    """

    executor: Executor
    most_at_once: Callable[[], int]
    elsewhere: Elsewhere | None = None
    ready: deque[str] = field(default_factory=deque)
    in_progress: set[StageRun] = field(default_factory=set)


class _Batch:
    def __init__(
        self,
        dvc: RepoAccess,
        repo: Repo,
        tasks: Sequence[StageTask],
        force: bool,
        places: Sequence[_Place],
        report: Report,
    ) -> None:
        self.dvc, self.repo, self.force, self.report = dvc, repo, force, report
        self.places = places
        self.listings = StagedListings(repo)
        self.tasks = {task.address: task for task in tasks}
        self.waiting_for = {
            task.address: {address for address in task.inputs if address in self.tasks}
            for task in tasks
        }
        self.readers: dict[str, list[str]] = {}
        for address, makers in self.waiting_for.items():
            for maker in makers:
                self.readers.setdefault(maker, []).append(address)
        for address, makers in self.waiting_for.items():
            if not makers:
                self._place_of(address).ready.append(address)
        self.running: dict[Future[None], StageRun] = {}
        # The runs that have finished since results were recorded.
        self.finished: list[StageRun] = []
        self.record_at = 0.0
        # The results that are not yet yielded; those with a run are recorded, but not cleaned up.
        self.results: deque[tuple[StageRun | None, StageResult]] = deque()
        # The prepared runs that are not yet cleaned up or put back, with their locks.
        self.in_hand: dict[StageRun, ExitStack] = {}
        self._load()
        self.order = list(self._new_names())
        outputs = [Path(out.fs_path) for a in self.tasks for out in self.stages[a].outs]
        self.ignore_files = {path.with_name(".gitignore") for path in outputs}
        self.ignored_before = self._ignored()
        self.lines_to_ignore = list(dict.fromkeys(f"/{path.name}" for path in outputs))

    def _place_of(self, address: str) -> _Place:
        return self.places[-1 if self.tasks[address].is_elsewhere else 0]

    def _new_names(self) -> Iterator[str]:
        """The names of new entries in ``dvc.lock``, in the order of the tasks."""
        known = {
            path: entry_names(path)
            for path in {Path(self.stages[address].path) for address in self.tasks}
        }
        for address in self.tasks:
            name = address.partition(":")[2]
            if name not in known[Path(self.stages[address].path)]:
                yield name

    def _load(self) -> None:
        addresses = [*self.tasks, *(a for task in self.tasks.values() for a in task.inputs)]
        unique = list(dict.fromkeys(addresses))
        self.stages: dict[str, PipelineStage] = dict(
            zip(unique, load_stages(self.repo, self.dvc.root, unique), strict=True)
        )
        self.known = stamps_of(list(self.stages.values()))

    def _ignored(self) -> Mapping[Path, list[str]]:
        """The lines of the ``.gitignore`` beside each output."""
        return {
            file: read_text(file).splitlines() if file.exists() else []
            for file in self.ignore_files
        }

    def _order_ignored(self) -> None:
        """Sorts new lines of ``.gitignore`` files in the order of the tasks.

        Done immediately, as a stage may depend on a folder with such a file.
        """
        for file, lines in self._ignored().items():
            added = {line for line in lines if line not in self.ignored_before.get(file, ())}
            wanted = [line for line in lines if line not in added]
            wanted += [line for line in self.lines_to_ignore if line in added]
            if set(wanted) == set(lines) and wanted != lines:
                text = "".join(f"{line}\n" for line in wanted)
                replace_text(file, text, scratch=scratch_folder(self.repo))

    def run(self) -> Iterator[StageResult]:
        recover(self.dvc, self.repo, self.report)
        try:
            while self.running or self.finished or any(place.ready for place in self.places):
                has_started = [self._start(place) for place in self.places]
                yield from self._hand_over()
                self._finish(may_wait=any(has_started))
            yield from self._hand_over()
        finally:
            self._give_up()

    def _hand_over(self) -> Iterator[StageResult]:
        """Yields the results, and cleans up after them, while the next commands run."""
        while self.results:
            run, result = self.results[0]
            if run is not None:
                self._close(run)
            self.results.popleft()
            yield result

    def _give_up(self) -> None:
        """Stops all commands and restores the previous outputs.

        An interrupt meanwhile is raised only when all outputs are restored.
        """
        problem: BaseException | None = None
        while self.in_hand:
            try:
                for run in self.in_hand:
                    run.stop.set()
                for future in self.running:
                    future.cancel()
                wait(self.running)
                while self.in_hand:
                    run = next(iter(self.in_hand))
                    try:
                        self._close(run)
                    except Exception as error:  # the others are still restored
                        problem = problem or error
                        self._forget(run)
            except BaseException as interrupt:
                problem = interrupt
        if problem is not None:
            raise problem

    def _close(self, run: StageRun) -> None:
        with self.in_hand[run]:
            run.close(is_recorded=any(run is recorded for recorded, _ in self.results))
        self._forget(run)

    def _forget(self, run: StageRun) -> None:
        del self.in_hand[run]
        self._place_of(run.address).in_progress.discard(run)

    # --- starting ------------------------------------------------------------------------------

    def _start(self, place: _Place) -> bool:
        """Prepares ready stages, and starts their commands, unless they need none.

        Returns:
            Whether there was one.
        """
        head = self.dvc.git.head()
        before = len(self.in_hand)
        # Asking connects to other machines.
        most = place.most_at_once() if place.ready else 0
        for _ in range(len(place.ready)):
            is_late = bool(self.finished) and time.monotonic() >= self.record_at
            if is_late or len(place.in_progress) >= most:
                break
            address = place.ready.popleft()
            # To avoid a deadlock, wait for locks only while holding none.
            is_alone = not self.in_hand
            try:
                run = self._prepare(address, head, is_alone=is_alone)
            except RepositoryBusyError as error:
                if is_alone:
                    self._fail(address, error)
                else:
                    place.ready.append(address)
            except RegistryError as error:
                self._fail(address, error)
            else:
                if run.outcome is None:
                    self.running[place.executor.submit(run.execute)] = run
                else:
                    self._has_finished(run)
        return len(self.in_hand) > before

    def _prepare(self, address: str, head: str | None, *, is_alone: bool) -> StageRun:
        """Locks and prepares a stage; waits for the lock only if nothing else is in progress."""
        concerned = (address, *self.tasks[address].inputs)
        with ExitStack() as held:
            read, write = paths_of(self.stages[address])
            held.enter_context(
                self.dvc.holding(
                    self.repo,
                    read=read,
                    write=write,
                    report=self.report,
                    wait_seconds=None if is_alone else 0,
                )
            )
            if not stamps_of([self.stages[a] for a in concerned]) <= self.known:
                # Another process has recorded something.
                self._load()
                if paths_of(self.stages[address]) != (read, write):
                    raise RepositoryChangedError(address, "its dependencies or outputs changed")
            upstream = [self.stages[maker] for maker in self.tasks[address].inputs]
            stage = self.stages[address]
            report, before = self._report_of(address), self.tasks[address].before
            place = self._place_of(address)
            start = runner_for(place.elsewhere)
            run = start(self.dvc, self.repo, stage, upstream, head, report, before)
            try:
                run.prepare(force=self.force)
            except BaseException:
                run.close(is_recorded=False)
                raise
            self.in_hand[run] = held.pop_all()
            place.in_progress.add(run)
            return run

    def _report_of(self, address: str) -> Report:
        """Prefixes each line with the stage, as lines of parallel stages are interleaved."""
        name = address.partition(":")[2]
        return lambda line: self.report(f"{name}: {line}")

    # --- finishing -----------------------------------------------------------------------------

    def _finish(self, *, may_wait: bool) -> None:
        """Waits for the next command, and records what has finished, unless it just did.

        Args:
            may_wait: Whether results may wait for later ones although no command is running.
        """
        if self.running:
            seconds = max(self.record_at - time.monotonic(), 0) if self.finished else None
            done, _ = wait(self.running, timeout=seconds, return_when=FIRST_COMPLETED)
            for future in done:
                run = self.running.pop(future)
                error = future.exception()
                if error is None:
                    self._has_finished(run)
                    continue
                if not isinstance(error, RegistryError):
                    raise error
                self._close(run)
                self._fail(run.address, error)
        is_going_on = bool(self.running) or may_wait
        if self.finished and (not is_going_on or time.monotonic() >= self.record_at):
            runs, self.finished = self.finished, []
            self._record(runs)

    def _has_finished(self, run: StageRun) -> None:
        self._place_of(run.address).in_progress.discard(run)
        self.finished.append(run)

    def _record(self, runs: Sequence[StageRun]) -> None:
        def written() -> None:
            self.known |= stamps_of([run.stage for run in runs])
            self._order_ignored()

        started = time.monotonic()
        recorded = record_all(
            self.dvc, self.repo, runs, self.report, order=self.order, written=written
        )
        pause = (time.monotonic() - started) * (1 / _RECORDING_SHARE - 1)
        self.record_at = time.monotonic() + min(pause, _MOST_UNRECORDED_SECONDS)
        self.listings.drop()
        for run, outputs in zip(runs, recorded, strict=True):
            if isinstance(outputs, RegistryError):
                self._close(run)
                self._fail(run.address, outputs)
                continue
            result = StageResult(run.address, run.done(), run.seconds, outputs, made_on=run.made_on)
            self.results.append((run, result))
            self._let_go(run.address)

    def _let_go(self, address: str) -> None:
        for reader in self.readers.get(address, ()):
            makers = self.waiting_for.get(reader)
            if makers is None:
                # Another upstream stage has failed.
                continue
            makers.discard(address)
            if not makers:
                self._place_of(reader).ready.append(reader)

    def _fail(self, address: str, error: RegistryError) -> None:
        """Notes a failure, and those of all downstream stages."""
        self.results.append((None, StageResult(address, None, error=error)))
        failed = [address]
        while failed:
            maker = failed.pop()
            for reader in self.readers.get(maker, ()):
                if self.waiting_for.pop(reader, None) is not None:
                    failed.append(reader)
                    reason = RegistryError(f"{reader}: not run, as {maker} failed")
                    self.results.append((None, StageResult(reader, None, error=reason)))
