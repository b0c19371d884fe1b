"""The names and status of everything in a folder, from one pass over it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from registry_assets.dvc_repo.folders.state import FileStatus
from registry_assets.fingerprint import FileIdentity, is_shared

LinkedStatuses = dict[int, dict[int, FileStatus]]
"""The status of hard-linked files, by device and inode."""

_Folders = dict[str, dict[str, FileStatus | None]]

_MOST_FACTS = 10_000


@dataclass(frozen=True)
class FolderScan:
    """A folder at one moment.

    Attributes:
        place: The folder, absolute.
        folders: By the path of each folder: the names in it, with the status of files, and None for
            folders. Links to folders are not followed.
        stamp: Changes when files or folders do; None if changes cannot be told by it. Based on the
            attributes by which DVC recognizes files: mtime, size and inode.
    """

    place: str
    folders: Mapping[str, Mapping[str, FileStatus | None]]
    stamp: str | None

    def walk(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """Walks the folder like `os.walk`: without the folders that are taken out of the list."""
        waiting = [self.place]
        while waiting:
            folder = waiting.pop()
            found = self.folders[folder]
            folders = [name for name, status in found.items() if status is None]
            yield folder, folders, [name for name, status in found.items() if status is not None]
            below = (f"{folder}{os.sep}{name}" for name in reversed(folders))
            waiting += (path for path in below if path in self.folders)


def scan_folder(place: str, linked: LinkedStatuses | None = None) -> FolderScan:
    """Scans a folder.

    Args:
        place: The folder, absolute.
        linked: The hard-linked files that were found at the same moment in other folders, to which
            those of this one are added: each is looked at once, under one of its names.

    Raises:
        FileNotFoundError: when a file is removed meanwhile.
    """
    folders: _Folders = {}
    return FolderScan(place, folders, _Scan(folders, linked).run(place))


class _Scan:
    """A pass over a folder.

    Args:
        folders: Where to keep what is found, if that is wanted.
        linked: See `scan_folder`.
    """

    def __init__(
        self, folders: _Folders | None = None, linked: LinkedStatuses | None = None
    ) -> None:
        self._folders = folders
        self._linked = linked
        self._digest = hashlib.blake2b(digest_size=16)
        self._is_told = True
        self._waiting: list[str] = []

    def run(self, place: str) -> str | None:
        """Returns the stamp of a folder."""
        self._waiting.append(place)
        while self._waiting:
            folder = self._waiting.pop()
            found: dict[str, FileStatus | None] = {}
            if self._folders is not None:
                self._folders[folder] = found
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:  # `os.walk` skips it, too
                self._is_told = False
                continue
            try:
                self._list(folder, descriptor, found)
            except FileNotFoundError as error:
                error.filename = f"{folder}{os.sep}{error.filename}"
                raise
            finally:
                os.close(descriptor)
        return self._digest.hexdigest() if self._is_told else None

    def _list(self, folder: str, descriptor: int, found: dict[str, FileStatus | None]) -> None:
        with os.scandir(descriptor) as listing:
            # Without the entries themselves, which are twice as large.
            entries = sorted((entry.name, entry.inode()) for entry in listing)
        device = os.fstat(descriptor).st_dev
        known = {} if self._linked is None else self._linked.setdefault(device, {})
        # Names contain no zero byte, so different facts give different text.
        facts = [f"{folder}\0"]
        for name, inode in entries:
            status: FileStatus | os.stat_result | None = known.get(inode)
            if status is None:
                # From the folder on, a path is found faster than from the root.
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                is_file = stat.S_ISREG(status.st_mode)
                if not is_file and self._is_folder(f"{folder}{os.sep}{name}", status):
                    found[name] = None
                    continue
                if self._linked is not None and is_shared(status, device, inode):
                    known[inode] = status = FileStatus.of(status)
            if self._folders is not None:
                found[name] = status if isinstance(status, FileStatus) else FileStatus.of(status)
            facts.append(f"{name}\0{status.st_ino} {status.st_mtime_ns} {status.st_size}\0")
            if stat.S_ISLNK(status.st_mode):
                facts.append(f"{_target_of(f'{folder}{os.sep}{name}')}\0")
            if len(facts) > _MOST_FACTS:
                self._digest.update(_as_bytes(facts))
                facts.clear()
        self._digest.update(_as_bytes(facts))

    def _is_folder(self, path: str, status: os.stat_result) -> bool:
        """Whether something is a folder, to be scanned later, or a link to one."""
        if stat.S_ISDIR(status.st_mode):
            self._waiting.append(path)
            return True
        if stat.S_ISLNK(status.st_mode) and os.path.isdir(path):
            self._is_told = False
            return True
        return False


def _as_bytes(facts: Iterable[str]) -> bytes:
    return "".join(facts).encode("utf-8", "surrogateescape")


def stamp_of(place: str) -> str | None:
    """The stamp of a folder, as in `FolderScan`, or of a file; one of its own where nothing is."""
    try:
        if not os.path.islink(place):
            status = os.stat(place)
            if stat.S_ISDIR(status.st_mode):
                return _Scan().run(place)
            return repr(FileIdentity.of(status))
        if os.path.isdir(place):
            return None
        return repr((FileIdentity.of(os.lstat(place)), _target_of(place)))
    except FileNotFoundError:
        return None if os.path.lexists(place) else "missing"
    except OSError:
        return None


def _target_of(link: str) -> FileIdentity | None:
    with suppress(FileNotFoundError):
        return FileIdentity.of(os.stat(link))
    return None
