"""Telling that files changed from their names, times and sizes, without reading them."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path


class UntoldChangesError(Exception):
    """A link to a folder: changes in there cannot be seen from outside."""


class Stamp:
    """A digest of names, times and sizes.

    Attributes:
        newest: The newest time, in nanoseconds since the epoch.

    Args:
        is_strict: Whether the time at which an entry itself changed (``ctime``) counts too. No
            program can set that back, but another link to a file changes it.
    """

    def __init__(self, *, is_strict: bool) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._is_strict = is_strict
        self.newest = 0

    def digest(self) -> str:
        """The digest of all that was added."""
        return self._digest.hexdigest()

    def add(self, place: Path) -> None:
        """Adds a file, or all that is in a folder; what is not there counts as that.

        Raises:
            UntoldChangesError: when a link leads to a folder.
        """
        try:
            status = place.lstat()
        except FileNotFoundError:
            self._line(str(place))
            return
        self._entry(str(place), status)
        waiting = [str(place)] if stat.S_ISDIR(status.st_mode) else []
        while waiting:
            with os.scandir(waiting.pop()) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                self._entry(entry.path, entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)

    def _entry(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            # What is in it tells more than its own times.
            self._line(path, status.st_mode)
            return
        self._file(path, status)
        if stat.S_ISLNK(status.st_mode):
            with suppress(FileNotFoundError):
                target = Path(path).stat()
                if stat.S_ISDIR(target.st_mode):
                    raise UntoldChangesError(path)
                self._file(path, target)

    def _file(self, path: str, status: os.stat_result) -> None:
        times = [status.st_mtime_ns]
        if self._is_strict:
            times += [status.st_ctime_ns, status.st_mode]
        self.newest = max(self.newest, status.st_mtime_ns, status.st_ctime_ns)
        self._line(path, status.st_ino, status.st_size, *times)

    def _line(self, path: str, *values: int) -> None:
        self._digest.update(f"{path}\0{values}\n".encode("utf-8", "surrogateescape"))
