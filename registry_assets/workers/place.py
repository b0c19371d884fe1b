"""Where a worker works: a cache that all workers of a machine share, and a work tree of its own.

cache/          objects, as in the cache of a registry
trees/NAME/     the work tree of a process, kept from one stage to the next
running/NAME    exists while a process makes a stage; its mtime is when that began
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from registry_assets.dvc_repo.clones import BEACONS
from registry_assets.dvc_repo.processes import name_of_mine, owner_of
from registry_assets.errors import UnusableError
from registry_assets.workers.guard import Guard

FOLDER = "REGISTRY_WORK_FOLDER"
CACHE = "REGISTRY_WORK_CACHE"
GIGABYTES = "REGISTRY_WORK_GIGABYTES"

_DEFAULT_GIGABYTES = 20.0


def find_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that this machine's workers share.

    Raises:
        UnusableError: when there is no home folder.
    """
    if environment.get(FOLDER):
        return Path(environment[FOLDER]).absolute()
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "registry_assets" / "work"
    try:
        return Path.home() / ".cache" / "registry_assets" / "work"
    except RuntimeError as error:
        raise UnusableError(f"there is no home folder: set {FOLDER}") from error


def has_beacon(cache: Path, name: str) -> bool:
    """Whether a cache is the one of whoever made a beacon in it."""
    return bool(name) and "/" not in name and (cache / BEACONS / name).is_file()


@dataclass
class Place:
    """The folder of this machine's workers, and the work tree of this process in it.

    Attributes:
        snapshot: The commit that was checked out in the work tree last; "" if none was.

    Args:
        folder: The folder.
    """

    folder: Path
    snapshot: str = ""
    _trees: dict[int, tuple[Path, Guard]] = field(default_factory=dict)
    _unseen_bytes: float = float("inf")

    @property
    def cache(self) -> Path:
        """The cache that belongs to the workers."""
        return self.folder / "cache"

    def tree(self) -> tuple[Path, Guard]:
        """The work tree of this process, and who removes it when the process ends."""
        # A fork is another process.
        if os.getpid() not in self._trees:
            self._sweep()
            tree = self.folder / "trees" / name_of_mine()
            tree.mkdir(parents=True)
            self._trees[os.getpid()] = (tree, Guard(tree))
        return self._trees[os.getpid()]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keeps the objects of the cache that are used in the context."""
        mark = self.folder / "running" / name_of_mine()
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Removes what killed workers left."""
        for tree in _left_in(self.folder / "trees"):
            _kill_in(tree)
            shutil.rmtree(tree, ignore_errors=True)
        for mark in _left_in(self.folder / "running"):
            mark.unlink(missing_ok=True)

    # --- the size of the cache -----------------------------------------------------------------

    def limit(self, used_bytes: int) -> None:
        """Removes the objects of the cache that were not used for longest, if it is too large.

        An object was last used when it was linked, which is when its ctime changed. Those used
        since the oldest stage that is still being made began are kept.

        Args:
            used_bytes: What the stage that was made last may have added.
        """
        most = _most_bytes()
        self._unseen_bytes += used_bytes
        if self._unseen_bytes < most / 20:
            return
        self._unseen_bytes = 0
        objects = sorted(_objects_in(self.cache))
        excess = sum(size for _, size, _ in objects) - most
        kept_since = min(
            (mark.stat().st_mtime for mark in (self.folder / "running").glob("*")),
            default=float("inf"),
        )
        for used, size, path in objects:
            if excess <= 0 or used >= kept_since:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - many
            excess -= size


def _most_bytes() -> float:
    try:
        return float(os.environ.get(GIGABYTES) or _DEFAULT_GIGABYTES) * 1e9
    except ValueError as error:
        raise UnusableError(f"{GIGABYTES}={os.environ[GIGABYTES]} is no number") from error


def _objects_in(cache: Path) -> Iterator[tuple[float, int, str]]:
    """Yields when each file was last used, its size and path."""
    for folder, _, names in os.walk(cache):
        for name in names:
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                status = os.stat(path)  # noqa: PTH116 - many
                yield status.st_ctime, status.st_size, path


def _left_in(folder: Path) -> Iterator[Path]:
    """Yields what processes that have ended left in a folder."""
    for place in folder.iterdir() if folder.is_dir() else ():
        owner = owner_of(place.name)
        if owner is not None and not owner.is_alive:
            yield place


def _kill_in(tree: Path) -> None:
    """Kills the processes that work in a folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(tree):
                process.send_signal(signal.SIGKILL)
