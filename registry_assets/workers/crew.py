"""The workers of a registry, as `dvc_repo` sees them: stages in, made stages out."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from threading import Event, Lock
from typing import Protocol

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.resolved import MadeStage, ResolvedStage
from registry_assets.errors import (
    NotTrackedError,
    RefusedError,
    RegistryError,
    RepositoryChangedError,
    StageFailedError,
    UnusableError,
)
from registry_assets.git_repo.snapshots import Snapshot, take_snapshot
from registry_assets.model import Registry, Workers
from registry_assets.workers.orders import Answer, Order, Problem
from registry_assets.workers.versions import read_versions

Report = Callable[[str], None]

_MOST_TRIES = 3
_MOST_EDITS = 1_000_000
"""In bytes. With larger edits a new snapshot is taken."""
_CLOCK_SECONDS = 0.05
"""File systems date changes by the last tick of the kernel's clock."""


@dataclass(frozen=True)
class Errand:
    """An order to carry to a worker.

    Attributes:
        order: The order.
        snapshot: The snapshot that it names.
        needs: The resources that the worker must have.
        avoid: Workers that have refused an order.
        shun: Workers that could not make this one; they get it only if there is no other.
    """

    order: Order
    snapshot: Snapshot
    needs: Mapping[str, float]
    avoid: Collection[str] = ()
    shun: Collection[str] = ()


class Engine(Protocol):
    """What carries orders to workers, and answers back."""

    @property
    def most_at_once(self) -> int:
        """How many orders to have in progress at a time."""

    def carry(self, errand: Errand, report: Report, stop: Event) -> tuple[Answer, str]:
        """Carries an order to a worker, and waits for the answer.

        Args:
            errand: The order, and who may have it.
            report: Takes lines of progress, and the command's output.
            stop: When set, the command is terminated.

        Returns:
            The answer, and the worker's name for `avoid`; "" if it cannot be avoided.

        Raises:
            UnusableError: when the engine itself cannot be used, or went away.
            RegistryError: when no worker survives the order.
        """

    def close(self) -> None:
        """Ends everything that it started on this machine."""


@dataclass
class Crew:
    """Implements `dvc_repo.resolved.Elsewhere` with an engine.

    Its methods raise `UnusableError` when workers cannot be reached, or what connects to them is
    not installed.

    Attributes:
        dvc: The repository.
        registry: What it declares.
        workers: The settings.
        beacon: See `orders.Order`.
        connect: Builds the engine, when the first stage has to be made.
    """

    dvc: DvcRepo
    registry: Registry
    workers: Workers
    beacon: str
    connect: Callable[[], Engine]
    _engine: Engine | None = None
    _refused: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)
    _snapshot: Snapshot | None = None

    @property
    def engine(self) -> Engine:
        """What carries orders."""
        with self._lock:
            if self._engine is None:
                self._engine = self.connect()
            return self._engine

    def close(self) -> None:
        """Disconnects."""
        if self._engine is not None:
            self._engine.close()

    @property
    def most_at_once(self) -> int:
        """How many stages to have in progress at a time."""
        return self.engine.most_at_once

    @property
    def keeps_remote(self) -> bool:
        """Whether outputs stay on the remote."""
        return self.workers.keep == "remote"

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        return read_versions() if self.workers.versions == "same" else {}

    def make(
        self,
        stage: ResolvedStage,
        files: Sequence[str],
        send: Callable[[Sequence[str]], None],
        report: Report,
        stop: Event,
    ) -> MadeStage:
        """Makes a stage on a worker; see `dvc_repo.resolved.Elsewhere.make`."""
        for path in filter(self.registry.is_below_family, files):
            raise NotTrackedError(
                f"{stage.address} reads {path}, which DVC does not track, and workers get data "
                f"from DVC: `registry add {PurePosixPath(path).name}` tracks it"
            )
        needs = self.workers.resources_for(stage.address) or {}
        sent: set[str] = set()
        unable: set[str] = set()
        tries = 0
        while True:
            snapshot, edits = self._read_code(files)
            order = Order(
                stage, snapshot.commit, snapshot.prefix, edits, self.beacon, self._versions
            )
            avoid = frozenset(self._refused)
            errand = Errand(order, snapshot, needs, avoid, unable)
            answer, worker = self.engine.carry(errand, report, stop)
            if answer.made is not None:
                return replace(answer.made, versions=answer.versions)
            problem = answer.problem
            assert problem is not None, "an answer without outputs names a problem"
            if problem.kind == "lacking" and not sent.issuperset(problem.paths):
                send(problem.paths)
                sent.update(problem.paths)
            elif problem.kind == "refused" and worker and worker not in avoid:
                self._refuse(worker, problem, report)
            elif problem.kind == "unusable" and tries + 1 < _MOST_TRIES and not stop.is_set():
                tries += 1
                unable.add(worker)
                report(f"{problem.machine}: {problem.reason}; trying again")
            else:
                raise _error_of(stage.address, problem)

    def _refuse(self, worker: str, problem: Problem, report: Report) -> None:
        """Uses a worker no more, and says so once."""
        with self._lock:
            is_new = worker not in self._refused
            self._refused.add(worker)
        if is_new:
            report(f"{problem.machine} is not used: {problem.reason}")

    def _read_code(self, files: Sequence[str]) -> tuple[Snapshot, Mapping[str, str | None]]:
        """A snapshot, and what changed since among some files and folders."""
        with self._lock:
            if self._snapshot is not None:
                edits = _read_edits(self.dvc.root, files, self._snapshot.taken)
                if edits is not None:
                    return self._snapshot, edits
            self._snapshot = take_snapshot(
                self.dvc.git,
                declared=self.registry.code_files,
                is_data=self.registry.is_below_family,
            )
            return self._snapshot, {}


def _read_edits(root: Path, files: Sequence[str], taken: float) -> Mapping[str, str | None] | None:
    """The content of files that changed since a snapshot, in base64; None if it is too large."""
    edits: dict[str, str | None] = {}
    size = 0
    for path in files:
        for place in _files_in(root / path):
            status = place.lstat()
            # The time of the last change of a file's status cannot be set by programs.
            if status.st_ctime < taken - _CLOCK_SECONDS:
                continue
            size += status.st_size
            if size > _MOST_EDITS or place.is_symlink():
                return None
            name = place.relative_to(root).as_posix()
            edits[name] = base64.b64encode(place.read_bytes()).decode()
    return edits


def _files_in(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        if os.path.lexists(place):
            yield place
        return
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names)


def _error_of(address: str, problem: Problem) -> RegistryError:
    """The error for a problem that nothing here can solve."""
    where = f" on {problem.machine}" if problem.machine else ""
    if problem.kind in ("failed", "stopped"):
        reason = f"{problem.reason}{where}"
        return StageFailedError(address, reason, problem.lines, has_previous=False)
    if problem.kind == "settings":
        # Without the stage, as it is the same for all.
        return RefusedError(problem.reason)
    if problem.kind == "outdated":
        return RepositoryChangedError(address, f"{', '.join(problem.paths)} changed")
    return RegistryError(f"{address} could not be made{where}: {problem.reason}")


@contextmanager
def hiring(
    dvc: DvcRepo, registry: Registry, stages: Sequence[str], report: Report
) -> Iterator[Crew | None]:
    """The workers that the settings name; None if they make none of the stages.

    They are connected to when the first stage has to be made.

    Args:
        dvc: The repository.
        registry: What it declares.
        stages: The addresses of stages to make.
        report: Takes a line while waiting for workers.
    """
    workers = registry.settings.workers
    if workers is None or all(workers.resources_for(stage) is None for stage in stages):
        yield None
        return
    # Starting a process takes a second.
    needed = replace(workers, local=min(workers.local, len(stages)))
    with dvc.beacon() as beacon:
        crew = Crew(
            dvc, registry, workers, beacon, partial(_build_engine, dvc.cache_root, needed, report)
        )
        try:
            yield crew
        finally:
            crew.close()


def _build_engine(cache: Path, workers: Workers, report: Report) -> Engine:
    if workers.command is not None:
        from registry_assets.workers.command_engine import CommandEngine

        return CommandEngine(workers.command, workers.at_once)
    try:
        from registry_assets.workers.dask_engine import DaskEngine
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise UnusableError(
            "stages are made by workers, and Dask is not installed: `pip install "
            "'registry-assets[dask]'`, or take [tool.registry_assets.workers] out of pyproject.toml"
        ) from error
    return DaskEngine(workers, cache, report)
