"""Carrying out an order: the side of a worker. It needs neither Dagster nor a registry."""

from __future__ import annotations

import base64
import errno
import os
import shutil
import socket
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Event, Lock

from registry_assets.addresses import without_secrets
from registry_assets.dvc_repo.resolved import MadeStage, ResolvedStage
from registry_assets.errors import (
    DependencyOutdatedError,
    FileNotStorableError,
    InputsLackingError,
    RefusedError,
    RegistryError,
    StageFailedError,
    UnusableError,
)
from registry_assets.git_repo import unpack_snapshot
from registry_assets.model import DVC_FOLDER
from registry_assets.workers.guard import Guard
from registry_assets.workers.orders import FORMAT, Answer, Order, Problem, ProblemKind
from registry_assets.workers.place import CACHE, Place, find_folder, has_beacon
from registry_assets.workers.versions import differing, read_versions

Report = Callable[[str], None]

_MOST_LINES = 100
_POLL_SECONDS = 0.1
_LEAST_FREE_BYTES = 2**20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_place_of = cache(Place)
# DVC is not made for several threads; a process makes one stage at a time.
_one = Lock()


def carry_out(
    order: Order, pack: bytes | None, report: Report, stop: Event, *, folder: Path | None = None
) -> Answer:
    """Makes a stage in a work tree of this process.

    Whatever can be expected to go wrong becomes a `Problem`.

    Args:
        order: The order.
        pack: The pack of its snapshot; None if this process had it before.
        report: Takes the output of the command, line by line.
        stop: When set, the command is terminated.
        folder: Where to work (default: see `place.find_folder`).
    """
    log: deque[str] = deque(maxlen=_MOST_LINES)

    def tell(line: str) -> None:
        log.append(line)
        report(line)

    def answer(problem: Problem) -> Answer:
        return Answer(problem=problem, versions=read_versions(), log=list(log))

    refusal = _why_refused(order)
    if refusal:
        return answer(_problem("refused", refusal))
    while not _one.acquire(timeout=_POLL_SECONDS):
        if stop.is_set():
            return answer(_problem("stopped", "it was stopped before it began"))
    try:
        place = _place_of(folder or find_folder())
        made = _Unit(place, order, tell, stop).make(pack)
        return Answer(made, versions=read_versions(), log=list(log))
    except (RegistryError, OSError, sqlite3.Error) as error:
        return answer(_explain(error, stop))
    finally:
        _one.release()


def has_snapshot(order: Order) -> bool:
    """Whether this process can make a stage without the pack of its snapshot."""
    try:
        return _place_of(find_folder()).snapshot == order.snapshot
    except UnusableError:
        # As `carry_out` is going to say.
        return True


def _why_refused(order: Order) -> str:
    if order.format != FORMAT:
        return f"it understands orders of format {FORMAT}, and not {order.format}"
    return differing(read_versions(), order.versions)


class _Unit:
    """One order.

    Args:
        place: Where to work.
        order: The order.
        report: Takes the output of the command, line by line.
        stop: When set, the command is terminated.
    """

    def __init__(self, place: Place, order: Order, report: Report, stop: Event) -> None:
        self.place, self.order, self.report, self.stop = place, order, report, stop

    def make(self, pack: bytes | None) -> MadeStage:
        """Makes the stage."""
        tree, guard = self.place.tree()
        with self.place.running():
            self._unpack(tree, pack)
            _edit(tree, self.order)
            made = self._make_in(tree / self.order.prefix, guard)
        if not made.is_in_cache:
            self.place.limit(_bytes_of(self.order.stage, made))
        return made

    def _unpack(self, tree: Path, pack: bytes | None) -> None:
        try:
            unpack_snapshot(tree, self.order.snapshot, pack)
            self.place.snapshot = self.order.snapshot
        except RegistryError as error:
            if shutil.disk_usage(tree).free >= _LEAST_FREE_BYTES:
                raise
            # Git does not say it of each file.
            raise UnusableError(f"its disk is full: {error}") from error

    def _make_in(self, root: Path, guard: Guard) -> MadeStage:
        # Importing DVC takes a second.
        from registry_assets.dvc_repo import RepoAccess, make_resolved

        if not (root / DVC_FOLDER).is_dir():
            raise RegistryError("the snapshot has no DVC repository: commit `.dvc/config`")
        cache = self._choose_cache(root)
        access = RepoAccess(
            root,
            # Nobody needs to know what this tree has: it records nothing.
            registers=False,
            # Nor does Git here: DVC would ask it about each output.
            settings={"core": {"no_scm": True}},
        )
        try:
            return make_resolved(
                access,
                self.order.stage,
                is_cache_shared=has_beacon(cache, self.order.beacon),
                report=self.report,
                stop=self.stop,
                note_command=guard.note,
            )
        finally:
            guard.note(None)

    def _choose_cache(self, root: Path) -> Path:
        """Chooses the cache, and leads DVC there.

        Raises:
            UnusableError: when the one that was asked for is not there.
        """
        from registry_assets.dvc_repo import find_caches, lead_to_cache

        named = os.environ.get(CACHE)
        if named and not Path(named).is_dir():
            raise UnusableError(f"there is no folder {named}, which {CACHE} names")
        others = [Path(named).absolute()] if named else find_caches(root)
        shared = (cache for cache in others if has_beacon(cache, self.order.beacon))
        chosen = next(shared, others[0] if others else self.place.cache)
        is_own = chosen == self.place.cache
        if is_own:
            chosen.mkdir(parents=True, exist_ok=True)
        lead_to_cache(root, chosen, sets_links=is_own)
        return chosen


def _edit(tree: Path, order: Order) -> None:
    """Applies the edits that were made since the snapshot.

    Raises:
        RegistryError: when one is of a file outside the snapshot.
    """
    for path, content in order.edits.items():
        place = Path(os.path.normpath(tree / order.prefix / path))
        if not place.is_relative_to(tree) or not place.parent.resolve().is_relative_to(
            tree.resolve()
        ):
            raise RegistryError(f"{path} is outside of the snapshot")
        mode = place.stat().st_mode if place.exists() else None
        place.unlink(missing_ok=True)
        if content is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(base64.b64decode(content))
            if mode is not None:
                place.chmod(mode)


def _bytes_of(stage: ResolvedStage, made: MadeStage) -> int:
    """An upper bound of what a stage added to the cache."""
    sizes = [version.size for version in (*stage.inputs, *stage.previous)]
    return sum(filter(None, [*sizes, *(out.get("size") for out in made.entry.get("outs", []))]))


def _explain(error: Exception, stop: Event) -> Problem:
    """The problem that an error is."""
    if isinstance(error, StageFailedError):
        if stop.is_set():
            return _problem("stopped", error.reason)
        return _problem("failed", error.reason, lines=error.last_lines)
    if isinstance(error, InputsLackingError):
        return _problem("lacking", str(error), error.paths)
    if isinstance(error, DependencyOutdatedError):
        return _problem("outdated", f"{error.path} {error.reason}", [error.path])
    if isinstance(error, FileNotStorableError):
        return _problem("failed", str(error))
    if isinstance(error, RefusedError):
        return _problem("settings", str(error))
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return _problem("unusable", f"its disk is full: {error.strerror}")
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return _problem("unusable", f"{place}{error.strerror or error}")
    return _problem("unusable", str(error) or type(error).__name__)


def _problem(
    kind: ProblemKind, reason: str, paths: Sequence[str] = (), *, lines: Sequence[str] = ()
) -> Problem:
    return Problem(kind, without_secrets(reason), list(paths), list(lines), socket.gethostname())
