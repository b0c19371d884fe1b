"""Telling that files changed from their names, times and sizes, without reading them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from operator import attrgetter
from pathlib import Path


class UntoldChangesError(Exception):
    """A link to a folder: changes in there cannot be seen from outside."""


class Stamp:
    """A digest of names, times and sizes.

    Attributes:
        newest: The newest time that counts, in nanoseconds since the epoch; of a strict one.

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
            self._add([str(place)])
            return
        self._add(self._lines(str(place), status))
        waiting = [str(place)] if stat.S_ISDIR(status.st_mode) else []
        while waiting:
            lines: list[str] = []
            with os.scandir(waiting.pop()) as listing:
                entries = sorted(listing, key=attrgetter("name"))
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                lines += self._lines(entry.path, status)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
            self._add(lines)

    def _lines(self, path: str, status: os.stat_result) -> list[str]:
        """What counts of an entry."""
        if stat.S_ISDIR(status.st_mode):
            # What is in it tells more than its own times.
            return [f"{path}\0{status.st_mode}"]
        lines = [self._line(path, status)]
        if stat.S_ISLNK(status.st_mode):
            with suppress(FileNotFoundError):
                target = Path(path).stat()
                if stat.S_ISDIR(target.st_mode):
                    raise UntoldChangesError(path)
                lines.append(self._line(path, target))
        return lines

    def _line(self, path: str, status: os.stat_result) -> str:
        line = f"{path}\0{status.st_ino} {status.st_size} {status.st_mtime_ns}"
        if not self._is_strict:
            return line
        self.newest = max(self.newest, status.st_mtime_ns, status.st_ctime_ns)
        return f"{line} {status.st_ctime_ns} {status.st_mode}"

    def _add(self, lines: Iterable[str]) -> None:
        # No name has a zero in it, so that nothing else has these lines.
        text = "".join(f"{line}\0\n" for line in lines)
        self._digest.update(text.encode("utf-8", "surrogateescape"))
