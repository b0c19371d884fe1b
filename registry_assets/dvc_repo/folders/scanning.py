"""The names and status of everything in a folder, from one pass over it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

from registry_assets.dvc_repo.folders.state import FileStatus
from registry_assets.fingerprint import FileIdentity

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


def scan_folder(place: str) -> FolderScan:
    """Scans a folder.

    Raises:
        FileNotFoundError: when a file is removed meanwhile.
    """
    digest = hashlib.blake2b(digest_size=16)
    folders: dict[str, dict[str, FileStatus | None]] = {}
    is_told = True
    waiting = [place]
    while waiting:
        folder = waiting.pop()
        found = folders[folder] = {}
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=attrgetter("name"), reverse=True)
        except OSError:  # `os.walk` skips it, too
            is_told = False
            continue
        facts: list[object] = [folder]
        # Taken out of the list, as an entry keeps its whole status.
        while entries:
            entry = entries.pop()
            if entry.is_dir():
                found[entry.name] = None
                if entry.is_symlink():
                    is_told = False
                else:
                    waiting.append(entry.path)
                continue
            status = found[entry.name] = FileStatus.of(entry.stat(follow_symlinks=False))
            facts += (entry.name, *FileIdentity.of(status))
            if stat.S_ISLNK(status.st_mode):
                facts.append(_target_of(entry.path))
            if len(facts) > _MOST_FACTS:
                digest.update(repr(facts).encode())
                facts.clear()
        digest.update(repr(facts).encode())
    return FolderScan(place, folders, digest.hexdigest() if is_told else None)


def stamp_of(place: str) -> str | None:
    """The stamp of a folder, as in `FolderScan`, or of a file; one of its own where nothing is."""
    try:
        if not os.path.islink(place):
            status = os.stat(place)
            if stat.S_ISDIR(status.st_mode):
                return scan_folder(place).stamp
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
