"""The names and status of everything in a folder, from one pass over it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

from registry_assets.dvc_repo.folders.state import FileStatus
from registry_assets.fingerprint import FileIdentity, is_shared

LinkedStatuses = dict[int, dict[int, FileStatus]]
"""The status of hard-linked files, by device and inode."""

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
    folders: dict[str, dict[str, FileStatus | None]] = {}
    return FolderScan(place, folders, _scan(place, folders, linked))


def _scan(
    place: str,
    folders: dict[str, dict[str, FileStatus | None]] | None,
    linked: LinkedStatuses | None,
) -> str | None:
    """Returns the stamp of a folder; keeps what is found in `folders`, if that is wanted."""
    digest = hashlib.blake2b(digest_size=16)
    is_told = True
    waiting = [place]
    while waiting:
        folder = waiting.pop()
        found: dict[str, FileStatus | None] = {}
        if folders is not None:
            folders[folder] = found
        try:
            device = os.stat(folder).st_dev
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=attrgetter("name"), reverse=True)
        except OSError:  # `os.walk` skips it, too
            is_told = False
            continue
        known = {} if linked is None else linked.setdefault(device, {})
        facts = [folder]
        # Taken out of the list, as an entry keeps its whole status.
        while entries:
            entry = entries.pop()
            name, inode = entry.name, entry.inode()
            status = known.get(inode)
            if status is None:
                if entry.is_dir():
                    found[name] = None
                    if entry.is_symlink():
                        is_told = False
                    else:
                        waiting.append(entry.path)
                    continue
                status = FileStatus.of(entry.stat(follow_symlinks=False))
                if linked is not None and is_shared(status, device, inode):
                    known[inode] = status
            if folders is not None:
                found[name] = status
            facts += (name, f"{status.st_ino} {status.st_mtime_ns} {status.st_size}")
            if stat.S_ISLNK(status.st_mode):
                facts.append(f"{_target_of(entry.path)}")
            if len(facts) > _MOST_FACTS:
                digest.update(_text_of(facts))
                facts.clear()
        digest.update(_text_of(facts))
    return digest.hexdigest() if is_told else None


def _text_of(facts: Iterable[str]) -> bytes:
    # Names contain no zero byte, so different facts give different text.
    return "".join(f"{fact}\0" for fact in facts).encode("utf-8", "surrogateescape")


def stamp_of(place: str) -> str | None:
    """The stamp of a folder, as in `FolderScan`, or of a file; one of its own where nothing is."""
    try:
        if not os.path.islink(place):
            status = os.stat(place)
            if stat.S_ISDIR(status.st_mode):
                return _scan(place, None, None)
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
