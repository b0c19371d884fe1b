"""A DVC repository opened, locked, and its errors turned into ours."""

from __future__ import annotations

import getpass
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import psutil
from dvc.config import Config, ConfigError
from dvc.exceptions import NotDvcRepoError
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.rwlock import rwlock

from registry_assets.addresses import is_local, without_secrets
from registry_assets.dvc_repo.folders.ignoring import DataHidingIgnore
from registry_assets.dvc_repo.unseen import check_links
from registry_assets.dvc_repo.versions import caches_of
from registry_assets.errors import (
    DvcError,
    NotFoundError,
    RepositoryBusyError,
    UnusableError,
)
from registry_assets.git_repo import GitRepo

T = TypeVar("T")

Report = Callable[[str], None]
"""Takes one line of progress; in a run, the run's log."""

# What DVC reads Git with knows less than Git: no sparse index, for one.
_GIT_LIBRARY = "dulwich"
_RETRY_SECONDS = 0.1
_MOST_RETRY_SECONDS = 1.0
_SAY_AGAIN_SECONDS = 30.0


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns whatever DVC and its libraries raise inside into a `DvcError` with the same words."""
    try:
        yield
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        if library == _GIT_LIBRARY:
            raise DvcError(
                f"DVC cannot read this Git repository ({type(error).__name__}): if its index is "
                "sparse, run `git sparse-checkout reapply --no-sparse-index`"
            ) from error
        if library != "scmrepo" and not library.startswith("dvc"):
            raise
        cause = str(error.__cause__ or "")
        what = "DVC's configuration cannot be used: " if isinstance(error, ConfigError) else ""
        more = f" ({cause})" if cause and cause not in str(error) else ""
        said = without_secrets(f"{what}{error}{more}".strip())
        raise DvcError(said or type(error).__name__) from error


def check_user() -> None:
    """Makes sure that this process's user has a name, as DVC asks for one.

    Raises:
        UnusableError: when the machine has none, as in a container, nor the environment.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError) as error:
        raise UnusableError(
            f"this machine has no name for the user {os.getuid()}, and DVC asks for one: set "
            "LOGNAME to any"
        ) from error


STORAGE = ".dvc/storage"
"""The folder of the default remote that a registry has within itself, from the root."""


def find_origin_remote(config: Config, root: Path) -> Mapping[str, Mapping[str, str]]:
    """The default remote of a clone, led to the storage of the registry that it came from.

    A remote within a registry is told from where that lies, so that it moves along. A clone on the
    same machine has no storage of its own, but can read that of its origin.

    Args:
        config: DVC's configuration of the clone.
        root: The clone.

    Returns:
        The settings that differ, by the remote's name; nothing where it is as it should be.
    """
    name = config["core"].get("remote")
    own = root / STORAGE
    if not name or config["remote"].get(name, {}).get("url") != str(own) or own.exists():
        return {}
    for address in GitRepo(root).remotes():
        theirs = Path(address.removeprefix("file://")) / STORAGE
        if is_local(address) and theirs.is_dir():
            return {name: {"url": str(theirs.resolve())}}
    return {}


class _Repo(Repo):  # type: ignore[misc]
    """DVC's own, in whose index is nothing that somebody put into a collection."""

    @cached_property
    def dvcignore(self) -> DataHidingIgnore:
        return DataHidingIgnore(self.fs, self.root_dir)


class RepoAccess:
    """The way into one DVC repository on this machine.

    Holds no state of its own: every operation opens the repository anew, but within a `session`,
    and reads the metafiles as they are.

    Args:
        root: Any folder of the repository.
        wait_seconds: How long to wait for somebody else's lock before giving up.

    Raises:
        NotFoundError: when there is no DVC repository at or above the folder.
        UnusableError: when the user has no name.
    """

    def __init__(self, root: Path, *, wait_seconds: float = 3600.0) -> None:
        check_user()
        try:
            self.root = Path(Repo.find_root(str(root)))
        except NotDvcRepoError as error:
            raise NotFoundError(
                f"no DVC repository at or above {root}: run `registry init {root}` to make one, or "
                "name one with --root"
            ) from error
        self.wait_seconds = wait_seconds
        self._opened = threading.local()

    @property
    def git(self) -> GitRepo:
        """The Git repository around this one."""
        return GitRepo(self.root)

    @cached_property
    def cache_folder(self) -> Path:
        """Where the content of this repository is kept on this machine."""
        with self.open() as repo:
            return Path(repo.cache.local.path)

    @cached_property
    def object_folders(self) -> tuple[Path, ...]:
        """Where its objects lie, those of DVC 2 as well."""
        with self.open() as repo:
            return tuple(Path(cache.path) for cache in caches_of(repo))

    @contextmanager
    def open(self) -> Iterator[Repo]:
        """Opens DVC's own object; its errors come out as `RegistryError`s."""
        opened: Repo | None = getattr(self._opened, "repo", None)
        with translated_errors():
            if opened is not None:
                yield opened
                return
            repo = _Repo(str(self.root))
            remote = find_origin_remote(repo.config, self.root)
            if remote:
                repo.close()
                # What is said here outlasts DVC's reading its configuration again.
                repo = _Repo(str(self.root), config={"remote": remote})
            try:
                yield repo
            finally:
                repo.close()

    @contextmanager
    def session(self) -> Iterator[None]:
        """While many operations of this thread follow each other: opens the repository once.

        A change of DVC's configuration is not seen meanwhile; metafiles are read each time.
        """
        with self.open() as repo:
            before = getattr(self._opened, "repo", None)
            self._opened.repo = repo
            try:
                yield
            finally:
                self._opened.repo = before
                self._opened.known = {}

    def forget_ignored(self) -> None:
        """Has the ignore files of the repository read again in this session: some were moved."""
        opened: Repo | None = getattr(self._opened, "repo", None)
        if opened is not None:
            opened.__dict__.pop("dvcignore", None)
            opened.state.ignore = opened.dvcignore

    def remember(self, known: object) -> None:
        """Keeps what was found out until the session ends; nothing outside of one."""
        if getattr(self._opened, "repo", None) is not None:
            self._opened.known = {**getattr(self._opened, "known", {}), type(known): known}

    def recall(self, kind: type[T]) -> T | None:
        """What of a kind was remembered in this session."""
        found: T | None = getattr(self._opened, "known", {}).get(kind)
        return found

    def path_of(self, path: str) -> Path:
        """The absolute place of a path from the root."""
        return self.root / path

    def relative(self, path: str | Path) -> str:
        """A path from the root, with ``/``."""
        return Path(path).relative_to(self.root).as_posix()

    @contextmanager
    def write_lock(self, repo: Repo, report: Report) -> Iterator[None]:
        """Holds DVC's own lock on the repository, waiting for whoever has it.

        Raises:
            RepositoryBusyError: after `wait_seconds`.
        """
        lock = self._acquire(
            lambda: lock_repo(repo),
            lambda _error: f"the repository is locked by {_lock_holder(repo)}",
            report,
            self.wait_seconds,
        )
        with _entered(lock):
            yield

    @contextmanager
    def holding(
        self,
        repo: Repo,
        *,
        read: Sequence[str],
        write: Sequence[str],
        report: Report,
        wait_seconds: float | None = None,
    ) -> Iterator[None]:
        """Holds inputs and outputs in DVC's own ``rwlock``, without locking the repository.

        Entries of processes that died are dropped by DVC.

        Args:
            repo: The opened repository.
            read: Absolute paths that must not change meanwhile.
            write: Absolute paths that nobody else may read or write meanwhile.
            report: Takes a line when there is somebody to wait for.
            wait_seconds: How long to wait; as long as for everything else when None.

        Raises:
            RepositoryBusyError: after that time, naming the process that holds a path.
            RefusedError: when something to write lies behind a link out of the repository.
        """
        check_links(repo, write)

        def attempt() -> AbstractContextManager[None]:
            # The same words as DVC's own: it takes an equal entry for its own when it nests.
            lock: AbstractContextManager[None] = rwlock(
                repo.tmp_dir,
                repo.fs,
                " ".join(sys.argv),
                list(read),
                list(write),
                repo.config["core"].get("hardlink_lock", False),
            )
            return lock

        lock = self._acquire(
            attempt,
            # DVC goes on to say how to do away with a lock by hand.
            lambda error: " ".join(str(error).partition("\n\n")[0].split())[:300],
            report,
            self.wait_seconds if wait_seconds is None else wait_seconds,
        )
        with _entered(lock):
            yield

    def everything_held(self, repo: Repo, report: Report) -> AbstractContextManager[None]:
        """Waits until no stage, import or `dvc` command is at work, and lets none begin meanwhile.

        Objects that are in the cache already, and named by a metafile only in a moment, are theirs.

        Raises:
            RepositoryBusyError: after `wait_seconds`.
        """
        return self.holding(repo, read=[], write=[str(self.root)], report=report)

    def _acquire(
        self,
        attempt: Callable[[], AbstractContextManager[None]],
        holder: Callable[[LockError], str],
        report: Report,
        wait_seconds: float,
    ) -> AbstractContextManager[None]:
        """Enters a DVC lock, again and again; DVC itself gives up after three seconds."""
        started = time.monotonic()
        said = -_SAY_AGAIN_SECONDS
        pause = _RETRY_SECONDS
        while True:
            lock = attempt()
            try:
                lock.__enter__()
            except LockError as error:
                waited = time.monotonic() - started
                if waited >= wait_seconds:
                    raise RepositoryBusyError(waited, holder(error)) from error
                if waited - said >= _SAY_AGAIN_SECONDS:
                    said = waited
                    report(f"waiting: {holder(error)}")
                # Many that ask too often would keep the holder from letting go.
                time.sleep(pause)
                pause = min(pause * 1.5, _MOST_RETRY_SECONDS)
            else:
                return lock


@contextmanager
def _entered(lock: AbstractContextManager[None]) -> Iterator[None]:
    """Leaves a context manager that was entered elsewhere."""
    try:
        yield
    except BaseException:
        if not lock.__exit__(*sys.exc_info()):
            raise
    else:
        lock.__exit__(None, None, None)


def _lock_holder(repo: Repo) -> str:
    """Who has the lock on the repository: DVC's lock file holds the number of the process."""
    try:
        pid = int(Path(repo.lock.lockfile).read_text(encoding="utf-8"))
        return f"{' '.join(psutil.Process(pid).cmdline())} (PID {pid})"
    except (OSError, ValueError, psutil.Error):
        return "another process"
