"""Many stages in one go: commands side by side, metafiles read once and written together.

What `running_stage` does for one stage, with the same steps and the same care, in one thread that
asks DVC and others that wait for commands. The cost of N stages is N: DVC itself reads and writes
all of ``dvc.lock`` for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.metafiles import entry_names, replace_text
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.previous_outputs import recover
from registry_assets.dvc_repo.results import Outcome, RecordedOutput
from registry_assets.dvc_repo.running import Before, StageRun, paths_of, record_all, stamps_of
from registry_assets.dvc_repo.staged_listings import StagedListings
from registry_assets.errors import RegistryError, RepositoryBusyError, RepositoryChangedError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage


@dataclass(frozen=True)
class StageTask:
    """A stage to bring up to date.

    Attributes:
        address: The stage.
        inputs: The stages and ``.dvc`` files that make its inputs; those of them that are tasks
            themselves come first.
        before: See `running.Before`.
    """

    address: str
    inputs: tuple[str, ...] = ()
    before: Before | None = None


@dataclass(frozen=True)
class StageResult:
    """What came of one task.

    Attributes:
        outcome: How it came about, None when it failed.
        seconds: How long it took.
        outputs: By path.
        error: Why it failed, or was not tried.
    """

    address: str
    outcome: Outcome | None
    seconds: float = 0.0
    outputs: Mapping[str, RecordedOutput] = field(default_factory=dict)
    error: RegistryError | None = None


def run_stages(
    dvc: RepoAccess,
    tasks: Sequence[StageTask],
    *,
    force: bool,
    executor: Executor,
    most_at_once: int,
    report: Report,
) -> Iterator[StageResult]:
    """Brings stages up to date, as many at once as their dependencies and `most_at_once` allow.

    One that fails does not stop the others, but for those that are made of its outputs.

    Args:
        dvc: The repository.
        tasks: The stages.
        force: Whether commands run even though nothing changed.
        executor: Where commands are waited for: threads.
        most_at_once: How many stages to hold at once.
        report: Takes a command's output, line by line, from several threads.

    Yields:
        A result for each task, as they come.
    """
    with dvc.open() as repo:
        yield from _Batch(dvc, repo, tasks, force, executor, most_at_once, report).run()


class _Batch:
    def __init__(
        self,
        dvc: RepoAccess,
        repo: Repo,
        tasks: Sequence[StageTask],
        force: bool,
        executor: Executor,
        most_at_once: int,
        report: Report,
    ) -> None:
        self.dvc, self.repo, self.force, self.report = dvc, repo, force, report
        self.executor, self.most_at_once = executor, most_at_once
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
        self.ready = deque(address for address, makers in self.waiting_for.items() if not makers)
        self.running: dict[Future[None], StageRun] = {}
        # Everything that is prepared and not yet recorded or put back, with what it holds.
        self.in_hand: dict[StageRun, ExitStack] = {}
        self._load()
        self.order = list(self._new_names())
        places = [Path(out.fs_path) for a in self.tasks for out in self.stages[a].outs]
        self.ignore_files = {place.with_name(".gitignore") for place in places}
        self.ignored_before = self._ignored()
        self.lines_to_ignore = list(dict.fromkeys(f"/{place.name}" for place in places))

    def _new_names(self) -> Iterator[str]:
        """New entries of ``dvc.lock``, in the order of the tasks, whichever is done first."""
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
        """What the ``.gitignore`` beside each output says, line by line."""
        return {
            file: file.read_text(encoding="utf-8").splitlines() if file.exists() else []
            for file in self.ignore_files
        }

    def _order_ignored(self) -> None:
        """Puts what the batch has Git ignore in the order of the tasks, whichever came first.

        At once, as a stage may read a folder with such a file in it.
        """
        for file, lines in self._ignored().items():
            added = {line for line in lines if line not in self.ignored_before.get(file, ())}
            wanted = [line for line in lines if line not in added]
            wanted += [line for line in self.lines_to_ignore if line in added]
            if set(wanted) == set(lines) and wanted != lines:
                replace_text(file, "".join(f"{line}\n" for line in wanted))

    def run(self) -> Iterator[StageResult]:
        recover(self.dvc, self.repo, self.report)
        try:
            while self.ready or self.running:
                yield from self._start()
                yield from self._finish()
        finally:
            self._give_up()

    def _give_up(self) -> None:
        """Ends what is under way and puts the outputs before it back.

        An interrupt meanwhile must not leave them aside: it comes through when that is done.
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
                        self._put_back(run)
                    except Exception as error:  # those of the others come back all the same
                        problem = problem or error
                        del self.in_hand[run]
            except BaseException as interrupt:
                problem = interrupt
        if problem is not None:
            raise problem

    def _put_back(self, run: StageRun) -> None:
        with self.in_hand[run]:
            run.put_back()
        del self.in_hand[run]

    # --- starting ------------------------------------------------------------------------------

    def _start(self) -> Iterator[StageResult]:
        """Prepares what is ready; what needs no command is done at once."""
        head = self.dvc.git.head()
        restored: list[StageRun] = []
        for _ in range(len(self.ready)):
            if len(self.in_hand) >= self.most_at_once:
                break
            address = self.ready.popleft()
            # While it holds anything, it must not wait for somebody who may wait for that.
            is_alone = not self.in_hand
            try:
                run = self._prepare(address, head, is_alone=is_alone)
            except RepositoryBusyError as error:
                if is_alone:
                    yield from self._fail(address, error)
                else:
                    self.ready.append(address)
            except RegistryError as error:
                yield from self._fail(address, error)
            else:
                if run.outcome is None:
                    self.running[self.executor.submit(run.execute)] = run
                else:
                    restored.append(run)
        yield from self._record(restored)

    def _prepare(self, address: str, head: str | None, *, is_alone: bool) -> StageRun:
        """Holds a stage and prepares it; waits for others where there is nothing else to do."""
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
                # Somebody else has recorded something.
                self._load()
                if paths_of(self.stages[address]) != (read, write):
                    raise RepositoryChangedError(address, "what it reads and writes changed")
            upstream = [self.stages[maker] for maker in self.tasks[address].inputs]
            stage = self.stages[address]
            report, before = self._report_of(address), self.tasks[address].before
            run = StageRun(self.dvc, self.repo, stage, upstream, head, report, before)
            try:
                run.prepare(force=self.force)
            except BaseException:
                run.put_back()
                raise
            self.in_hand[run] = held.pop_all()
            return run

    def _report_of(self, address: str) -> Report:
        """Names the stage in each line: those of several stand in between each other."""
        name = address.partition(":")[2]
        return lambda line: self.report(f"{name}: {line}")

    # --- finishing -----------------------------------------------------------------------------

    def _finish(self) -> Iterator[StageResult]:
        """Records, in one go, what has finished by now."""
        if not self.running:
            return
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        finished = []
        for future in done:
            run = self.running.pop(future)
            error = future.exception()
            if error is None:
                finished.append(run)
                continue
            if not isinstance(error, RegistryError):
                raise error
            self._put_back(run)
            yield from self._fail(run.address, error)
        yield from self._record(finished)

    def _record(self, runs: Sequence[StageRun]) -> Iterator[StageResult]:
        if not runs:
            return

        def written() -> None:
            self.known |= stamps_of([run.stage for run in runs])
            self._order_ignored()

        recorded = record_all(
            self.dvc, self.repo, runs, self.report, order=self.order, written=written
        )
        self.listings.drop()
        for run, outputs in zip(runs, recorded, strict=True):
            is_recorded = not isinstance(outputs, RegistryError)
            with self.in_hand[run]:
                run.close(is_recorded=is_recorded)
            del self.in_hand[run]
            if isinstance(outputs, RegistryError):
                yield from self._fail(run.address, outputs)
                continue
            self._let_go(run.address)
            yield StageResult(run.address, run.done(), run.seconds, outputs)

    def _let_go(self, address: str) -> None:
        for reader in self.readers.get(address, ()):
            makers = self.waiting_for.get(reader)
            if makers is None:
                # Another of its makers has failed.
                continue
            makers.discard(address)
            if not makers:
                self.ready.append(reader)

    def _fail(self, address: str, error: RegistryError) -> Iterator[StageResult]:
        """A failure, and those of all that is made of it."""
        yield StageResult(address, None, error=error)
        failed = [address]
        while failed:
            maker = failed.pop()
            for reader in self.readers.get(maker, ()):
                if self.waiting_for.pop(reader, None) is not None:
                    failed.append(reader)
                    yield StageResult(
                        reader, None, error=RegistryError(f"{reader}: not run, as {maker} failed")
                    )
