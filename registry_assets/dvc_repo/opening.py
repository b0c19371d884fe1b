"""Opening a DVC repository, locking it, and translating DVC's errors."""

from __future__ import annotations

import getpass
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil
from dvc import env
from dvc.config import Config, ConfigError
from dvc.exceptions import NotDvcRepoError
from dvc.fs import LocalFileSystem
from dvc.ignore import DvcIgnore
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.scm import Git, NoSCM

from registry_assets.addresses import is_local, without_secrets
from registry_assets.bounded import check_ignore_rules, check_yaml, read_text
from registry_assets.dvc_repo import clones
from registry_assets.dvc_repo.folders.ignoring import DataHidingIgnore
from registry_assets.dvc_repo.metafiles import remove_ignore_line
from registry_assets.dvc_repo.path_locks import hold_paths
from registry_assets.dvc_repo.unseen import IgnoredByGit, check_links, editing_ignore_file
from registry_assets.dvc_repo.versions import caches_of
from registry_assets.errors import (
    DvcError,
    MetafileError,
    NotFoundError,
    RefusedError,
    RepositoryBusyError,
    UnusableError,
    with_disk_step,
)
from registry_assets.git_repo import GitRepo, check_own
from registry_assets.model import DVC_FOLDER, DVC_SUFFIX, LOCK_FILE

T = TypeVar("T")

Report = Callable[[str], None]
"""Takes one line of progress."""

# DVC reads Git repositories with it. It does not support a sparse index, for example.
_GIT_LIBRARY = "dulwich"
_YAML = {".yaml", ".yml", ".dvc", ".lock"}
_RETRY_SECONDS = 0.1
_MOST_RETRY_SECONDS = 1.0
_REPORT_SECONDS = 30.0


def find_outer_cache(repo: Repo) -> Path | None:
    """The cache directory of a repository, where that is outside of it."""
    cache = Path(repo.cache.local_cache_dir).resolve()
    return None if cache.is_relative_to(Path(repo.root_dir).resolve()) else cache


def describe_missing_cache(cache: Path) -> str:
    """The message for a cache directory outside of a clone that is not there."""
    return (
        f"there is no folder {cache}, where the settings lead DVC's cache: mount the disk or "
        "share that it is on, make it, or keep the data of this clone elsewhere: `dvc cache "
        "dir --local FOLDER`"
    )


def find_missing_cache(repo: Repo) -> Path | None:
    """The cache directory outside of a repository that is not there, as its disk is not mounted.

    DVC would make another one in its place. One is made for what is recorded first, and in the
    folder of another clone, which may have stored nothing yet.
    """
    cache = find_outer_cache(repo)
    if cache is None or cache.is_dir():
        return None
    is_of_clone = cache.parent.name == DVC_FOLDER and cache.parent.is_dir()
    return None if is_of_clone or not _has_metafiles(Path(repo.root_dir)) else cache


def _has_metafiles(root: Path) -> bool:
    found = (place for pattern in (f"*{DVC_SUFFIX}", LOCK_FILE) for place in root.rglob(pattern))
    return any(place.is_file() for place in found)


def check_cache_of(repo: Repo) -> None:
    """Makes sure that no cache is made where the disk of the one that there is is not mounted.

    Raises:
        RefusedError: when it would be.
    """
    cache = find_missing_cache(repo)
    if cache is not None:
        raise missing_cache(cache)


def missing_cache(cache: Path) -> RefusedError:
    """The error for what needs a cache directory that is not there."""
    return RefusedError(f"{describe_missing_cache(cache)}; then run this again")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns errors of DVC and its libraries into a `DvcError` with the same message."""
    try:
        yield
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        if library == _GIT_LIBRARY:
            raise DvcError(
                f"DVC cannot read this Git repository ({type(error).__name__}): if its index is "
                "sparse, run `git sparse-checkout reapply --no-sparse-index`"
            ) from error
        if isinstance(error, sqlite3.Error):
            raise DvcError(_describe_database_error(error)) from error
        if library != "scmrepo" and not library.startswith("dvc"):
            raise
        cause = str(error.__cause__ or "")
        what = "DVC's configuration cannot be used: " if isinstance(error, ConfigError) else ""
        more = f" ({cause})" if cause and cause not in str(error) else ""
        message = without_secrets(f"{what}{error}{more}".strip())
        raise DvcError(with_disk_step(message or type(error).__name__)) from error


def _describe_database_error(error: sqlite3.Error) -> str:
    place = (
        os.environ.get(env.DVC_SITE_CACHE_DIR) or "`core.site_cache_dir`, by default /var/tmp/dvc"
    )
    said = with_disk_step(f"DVC's databases in {place} cannot be used: {error}")
    is_damaged = "malformed" in said or "not a database" in said
    return f"{said}: delete them, DVC makes them anew" if is_damaged else said


def check_user() -> None:
    """Checks that the user of this process has a name, which DVC needs.

    Raises:
        UnusableError: when neither the system nor the environment has one, as in a container.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError) as error:
        raise UnusableError(
            f"the user {os.getuid()} has no name on this machine, and DVC needs one: set the "
            "environment variable LOGNAME to any name"
        ) from error


STORAGE = ".dvc/storage"
"""The folder of the default remote inside a registry, relative to the root."""


def find_origin_remote(config: Config, root: Path) -> Mapping[str, Mapping[str, str]]:
    """Finds the default remote's storage in the registry that a local clone was made from.

    The URL of a remote inside a registry is relative, so it points to a missing folder in a clone.
    A clone on the same machine can use the folder of its origin instead, or of the registry that
    its origin was cloned from.

    Args:
        config: DVC's configuration of the clone.
        root: The clone.

    Returns:
        The settings to override, by remote name; empty if there is nothing to change.
    """
    name = config["core"].get("remote")
    own = root / STORAGE
    if not name or config["remote"].get(name, {}).get("url") != str(own) or own.exists():
        return {}
    theirs = _find_storage(root, {root.resolve()})
    return {} if theirs is None else {name: {"url": str(theirs)}}


def _find_storage(clone: Path, seen: set[Path]) -> Path | None:
    """The storage of the nearest registry on this machine that a clone came from."""
    for address in GitRepo(clone).remotes():
        path = address.removeprefix("file://")
        origin = (clone / path).resolve() if is_local(path) else None
        if origin is None or origin in seen or not origin.is_dir():
            continue
        if (origin / STORAGE).is_dir():
            return origin / STORAGE
        found = _find_storage(origin, {*seen, origin})
        if found is not None:
            return found
    return None


def _check_config(root: Path) -> None:
    """Checks that the configuration in Git can be used, whatever else this machine has.

    Raises:
        MetafileError: when it cannot.
    """
    name = f"{DVC_FOLDER}/{Config.CONFIG}"
    try:
        Config.validate(Config.load_file(str(root / name)))
    except FileNotFoundError:
        return
    except ConfigError as error:
        raise MetafileError(name, f"DVC's configuration cannot be used: {error}") from error


class _BoundedFiles(LocalFileSystem):  # type: ignore[misc]
    """The files of this machine, of which metafiles may name any: no text is read without end.

    DVC reads with it what `dvc.yaml` names: variables, parameters, ignore files.
    """

    def open(
        self, path: str, mode: str = "r", encoding: str | None = None, **options: Any
    ) -> IO[Any]:
        if mode == "r":
            text = read_text(Path(path))
            if Path(path).suffix in _YAML:
                check_yaml(text, str(path))
            elif Path(path).name == DvcIgnore.DVCIGNORE_FILE:
                check_ignore_rules(text, str(path))
            return StringIO(text)
        opened: IO[Any] = super().open(path, mode, encoding=encoding, **options)
        return opened


class _Repo(Repo):  # type: ignore[misc]
    """DVC's repository, without metafiles inside collections in its index.

    Whether Git ignores a path takes the same time however many collections there are.
    """

    @cached_property
    def scm(self) -> Git | NoSCM:
        scm = super().scm
        if isinstance(scm, Git):
            root = Path(self.root_dir)
            scm.is_ignored = IgnoredByGit(root, scm.is_ignored)
            scm.ignore = editing_ignore_file(self, scm.ignore)
            scm.ignore_remove = editing_ignore_file(self, partial(remove_ignore_line, self))
        return scm

    @cached_property
    def dvcignore(self) -> DataHidingIgnore:
        return DataHidingIgnore(self.fs, self.root_dir)


def open_bounded(root: Path) -> Repo:
    """DVC's repository at a root, whose files are read in bounded time; to be closed."""
    return _Repo(str(root), fs=_BoundedFiles())


@dataclass
class _Session:
    """A repository that stays open until all who share it have ended their sessions."""

    repo: Repo
    closing: ExitStack
    sharers: int = 0
    known: dict[type, Any] = field(default_factory=dict)


class _Sessions(threading.local):
    """The sessions of this thread."""

    def __init__(self) -> None:
        self.open: dict[str, _Session] = {}


_sessions = _Sessions()


class RepoAccess:
    """Access to a DVC repository on this machine.

    Every operation opens the repository and reads its metafiles again, except within a `session`.

    Args:
        root: Any folder of the repository.
        wait_seconds: How long to wait for another process's lock before giving up.
        registers: Whether to register the repository with a cache outside it.
        settings: Settings that take precedence over those of DVC's configuration, by section.

    Raises:
        NotFoundError: when there is no DVC repository at or above the folder.
        RefusedError: when Git tracks what is each clone's own.
        UnusableError: when the user has no name.
    """

    def __init__(
        self,
        root: Path,
        *,
        wait_seconds: float = 3600.0,
        registers: bool = True,
        settings: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        check_user()
        try:
            self.root = Path(Repo.find_root(str(root)))
        except NotDvcRepoError as error:
            raise NotFoundError(
                f"no DVC repository at or above {root}: run `registry init {root}` to make one, or "
                "name one with --root"
            ) from error
        check_own(self.root)
        self.wait_seconds = wait_seconds
        self._registers = registers
        self._settings = settings or {}
        self._name = f"{self.root} {self._settings}"

    @property
    def git(self) -> GitRepo:
        """The Git repository around this one."""
        return GitRepo(self.root)

    @cached_property
    def cache_folder(self) -> Path:
        """The folder of the cache."""
        with self.open() as repo:
            return Path(repo.cache.local.path)

    @cached_property
    def object_folders(self) -> tuple[Path, ...]:
        """The folders with the objects of the cache, including that of DVC 2."""
        with self.open() as repo:
            return tuple(Path(cache.path) for cache in caches_of(repo))

    @contextmanager
    def open(self) -> Iterator[Repo]:
        """Opens DVC's repository object; DVC's errors are raised as `RegistryError`."""
        with translated_errors():
            if self._session is not None:
                yield self._session.repo
                return
            # Another branch may be checked out by now.
            check_own(self.root)
            # A config passed here survives when DVC reloads its configuration.
            try:
                repo = _Repo(str(self.root), fs=_BoundedFiles(), config=self._settings)
            except ConfigError:
                _check_config(self.root)
                raise
            remote = find_origin_remote(repo.config, self.root)
            if remote:
                repo.close()
                settings = {**self._settings, "remote": remote}
                repo = _Repo(str(self.root), fs=_BoundedFiles(), config=settings)
            try:
                self._register(repo)
                yield repo
            finally:
                repo.close()

    def _register(self, repo: Repo) -> None:
        """Has those who free objects in a cache outside of this clone know what it needs."""
        if not self._registers:
            return
        cache = find_outer_cache(repo)
        if cache is not None:
            # Who may not write there stores nothing there; `registry init` says so.
            with suppress(OSError):
                clones.register(cache, self.root)
            if not cache.is_dir():
                # What is stored first makes it, or it is on a disk that is mounted later.
                return
        self._registers = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """Opens the repository once for all operations of this thread within the context.

        Those of other objects with the same root and settings share it.

        Changes of DVC's configuration are not noticed meanwhile; metafiles are read each time.
        """
        shared = self._session
        if shared is None:
            closing = ExitStack()
            shared = _Session(closing.enter_context(self.open()), closing)
            _sessions.open[self._name] = shared
        shared.sharers += 1
        try:
            with translated_errors():
                yield
        finally:
            shared.known.clear()
            shared.sharers -= 1
            if not shared.sharers:
                _sessions.open.pop(self._name, None)
                shared.closing.close()

    @property
    def _session(self) -> _Session | None:
        return _sessions.open.get(self._name)

    def forget_ignored(self) -> None:
        """Makes DVC read the ignore files again in this session."""
        if self._session is not None:
            self._session.known.clear()
            opened = self._session.repo
            opened.__dict__.pop("dvcignore", None)
            opened.state.ignore = opened.dvcignore

    def remember(self, known: object) -> None:
        """Caches a value, by its type, until the session ends; does nothing outside a session."""
        if self._session is not None:
            self._session.known[type(known)] = known

    def recall(self, kind: type[T]) -> T | None:
        """The value of a type that was cached in this session, if any."""
        found: T | None = None if self._session is None else self._session.known.get(kind)
        return found

    def path_of(self, path: str) -> Path:
        """The absolute path for a path from the root."""
        return self.root / path

    def relative(self, path: str | Path) -> str:
        """The path from the root, with ``/``, for an absolute path."""
        return Path(path).relative_to(self.root).as_posix()

    @contextmanager
    def write_lock(self, repo: Repo, report: Report) -> Iterator[None]:
        """Holds DVC's lock on the repository, waiting for it if necessary.

        Raises:
            RefusedError: when the cache is outside of the repository, and not there.
            RepositoryBusyError: after `wait_seconds`.
        """
        check_cache_of(repo)
        with self._acquired(repo, lambda: lock_repo(repo), report):
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
        """Locks inputs and outputs in DVC's ``rwlock``, without locking the repository.

        Args:
            repo: The opened repository.
            read: Absolute paths that must not change meanwhile.
            write: Absolute paths that no other process may read or write meanwhile.
            report: Takes a line while waiting for another process.
            wait_seconds: How long to wait (default: `wait_seconds` of this object).

        Raises:
            RepositoryBusyError: after that time, naming the process that holds a path.
            RefusedError: when a path to write lies behind a link that leads out of the repository,
                or the cache is outside of the repository, and not there.
        """
        check_cache_of(repo)
        check_links(repo, write)
        with self._acquired(repo, lambda: hold_paths(repo, read, write), report, wait_seconds):
            yield

    @contextmanager
    def everything_held(self, repo: Repo, report: Report) -> Iterator[None]:
        """Locks the repository and all of its paths against stages, imports and `dvc` commands.

        Otherwise objects could be removed that one of them has put into the cache and is about to
        record. The repository comes first, as in DVC: a `dvc` command waits for it, but fails at
        a path that was locked after it had begun.

        Raises:
            RepositoryBusyError: after `wait_seconds`.
            RefusedError: when the cache is outside of the repository, and not there.
        """
        check_cache_of(repo)

        @contextmanager
        def lock_all() -> Iterator[None]:
            with lock_repo(repo), hold_paths(repo, [], [str(self.root)]):
                yield

        with self._acquired(repo, lock_all, report):
            yield

    @contextmanager
    def _acquired(
        self,
        repo: Repo,
        attempt: Callable[[], AbstractContextManager[None]],
        report: Report,
        wait_seconds: float | None = None,
    ) -> Iterator[None]:
        """Holds a DVC lock once an attempt succeeds; DVC itself gives up after three seconds."""
        limit = self.wait_seconds if wait_seconds is None else wait_seconds
        started = time.monotonic()
        reported = -_REPORT_SECONDS
        pause = _RETRY_SECONDS
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(attempt())
                    break
                except LockError as error:
                    waited = time.monotonic() - started
                    if waited >= limit:
                        raise RepositoryBusyError(waited, _describe(error, repo)) from error
                    if waited - reported >= _REPORT_SECONDS:
                        reported = waited
                        report(f"waiting: {_describe(error, repo)}")
                    # Many processes that retry too often would keep the holder from releasing it.
                    time.sleep(pause)
                    pause = min(pause * 1.5, _MOST_RETRY_SECONDS)
            yield


def _describe(error: LockError, repo: Repo) -> str:
    """Who holds the lock: DVC names only those that hold a path."""
    text = str(error)
    if "blocked by" not in text:
        return f"the repository is locked by {_lock_holder(repo)}"
    # Without DVC's advice on how to remove the lock by hand.
    return " ".join(text.partition("\n\n")[0].split())[:300]


def _lock_holder(repo: Repo) -> str:
    """The process that holds the repository lock, by the PID in DVC's lock file."""
    try:
        pid = int(Path(repo.lock.lockfile).read_text(encoding="utf-8"))
        return f"{' '.join(psutil.Process(pid).cmdline())} (PID {pid})"
    except (OSError, ValueError, psutil.Error):
        return "another process"
