"""File permissions in a registry that several users share.

Git (`core.sharedRepository`) and DVC (`cache.shared`) set the permissions of their own files. All
other files that this package and Dagster write follow the umask of the process, which is set once
at its start: by a command, or by `registry_assets.definitions`. SQLite ignores the umask and
creates its files with mode 0644.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from configparser import Error as ConfigError
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from registry_assets.errors import MetafileError
from registry_assets.git_repo import GitRepo
from registry_assets.model import DVC_FOLDER

_GROUP = 0o070
_OTHERS_READ = 0o005
_DATABASES = ("history", "history/runs", "schedules")


def share_files(start: Path) -> None:
    """Set the umask of this process so that all users of the registry can write its files.

    Called by commands and by `registry_assets.definitions`; a code location of your own may too.

    Args:
        start: Any folder of the registry.
    """
    folder = start.resolve()
    around = (place for place in (folder, *folder.parents) if (place / DVC_FOLDER).is_dir())
    root = next(around, folder)
    if root.is_dir():
        shared = GitRepo(root).setting("core.sharedRepository")
        mask = os.umask(0o077)
        os.umask(_mask(mask, shared, _is_cache_shared(root)))


def _mask(mask: int, shared: str | None, is_cache_shared: bool) -> int:
    """The umask for a value of `core.sharedRepository` (git-config(1))."""
    said = (shared or "").lower()
    if len(said) > 1 and said.startswith("0") and said.isdigit():
        mode = int(said, 8)
        return 0o777 & ~(mode | (mode & 0o444) >> 2)
    if said in ("all", "world", "everybody", "2"):
        return mask & ~(_GROUP | _OTHERS_READ)
    if is_cache_shared or said in ("group", "true", "yes", "on", "1"):
        return mask & ~_GROUP
    return mask


def _is_cache_shared(root: Path) -> bool:
    """Whether DVC's cache is shared; parsed here because importing DVC is slow."""
    # Here, as it takes as long as all else that a command needs to start.
    from registry_assets.bounded import read_text

    for name in ("config.local", "config"):
        parser = RawConfigParser(strict=False, allow_no_value=True)
        with suppress(ConfigError, OSError, MetafileError):
            parser.read_string(read_text(root / DVC_FOLDER / name))
        if parser.has_option("cache", "shared"):
            return parser.get("cache", "shared") == "group"
    return False


def share_history(home: Path) -> None:
    """Give the databases of a Dagster instance the permissions that the umask gives other files."""
    mode = _mode_of_new_files(home)
    if not mode & 0o022:
        return
    for entry in _find_databases(home):
        status = entry.stat(follow_symlinks=False)
        if status.st_uid == os.geteuid() and stat.S_ISREG(status.st_mode):
            wanted = stat.S_IMODE(status.st_mode) | mode
            if wanted != stat.S_IMODE(status.st_mode):
                with suppress(OSError):
                    Path(entry.path).chmod(wanted)


def _mode_of_new_files(folder: Path) -> int:
    """The mode of a new file in a folder; 0 if none can be created.

    Creates a file to find out: the umask can only be read by setting it, for all threads at once.
    With `O_TMPFILE` (Linux) the file has no name, so a crash leaves nothing behind.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC
    named = folder / f".{uuid4().hex}.tmp"
    for place, kind in ((folder, getattr(os, "O_TMPFILE", None)), (named, os.O_CREAT | os.O_EXCL)):
        if kind is None:
            continue
        with suppress(OSError):
            descriptor = os.open(place, flags | kind, 0o666)
            try:
                return stat.S_IMODE(os.fstat(descriptor).st_mode)
            finally:
                os.close(descriptor)
                named.unlink(missing_ok=True)
    return 0


def owner_of(place: Path) -> str:
    """The owner of a file by name, or by user id if that has no name here."""
    try:
        return place.owner()
    except KeyError:
        return f"user {place.stat().st_uid}"


def find_locked_database(home: Path) -> Path | None:
    """A database of an instance that this user cannot write; those of single runs are not checked.

    Opening one anyway would leave files beside it that its owner cannot write.
    """
    for entry in _find_databases(home, _DATABASES[0], _DATABASES[2]):
        if not os.access(entry.path, os.W_OK):
            return Path(entry.path)
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        place = home / _DATABASES[1] / name
        if place.exists() and not os.access(place, os.W_OK):
            return place
    return None


def _find_databases(home: Path, *folders: str) -> Iterator[os.DirEntry[str]]:
    for folder in folders or _DATABASES:
        with suppress(OSError), os.scandir(home / folder) as listing:
            yield from (entry for entry in listing if ".db" in entry.name)
