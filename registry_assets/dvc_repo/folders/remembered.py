"""What was hashed while a repository is open, so that it is not hashed, nor looked up, again.

The folder that one stage writes is read by the next, which links files of it into its own: the
same files under other names. DVC's state, which is asked otherwise, goes by their names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from registry_assets.dvc_repo.folders.state import FileStatus, HashedFile
from registry_assets.dvc_repo.versions import place_in
from registry_assets.fingerprint import TreeFingerprint, UntoldChangesError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.hash_info import HashInfo


class _Linked(NamedTuple):
    """A file with several names."""

    mtime_ns: int
    size: int
    md5: str


class Remembered:
    """Hashes of folders, and of files that are linked."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, HashInfo]] = {}
        self._linked: dict[tuple[int, int], _Linked] = {}

    def hash_of(self, place: str, stamp: str | None) -> HashInfo | None:
        """The hash of a folder, if nothing in it changed since it was read."""
        hash_info = self._folders[place][1] if place in self._folders else None
        return hash_info if stamp is not None and stamp == self.stamp_of(place) else None

    def stamp_of(self, place: str) -> str | None:
        """The stamp of a folder when it was read last."""
        return self._folders[place][0] if place in self._folders else None

    def keep_folder(self, place: str, stamp: str | None, hash_info: HashInfo) -> None:
        """Keeps the hash of a folder.

        Args:
            place: The folder.
            stamp: Its `stamp_of`, from before it was read.
            hash_info: Its hash.
        """
        if stamp is not None:
            self._folders[place] = stamp, hash_info

    def keep_linked(self, files: Iterable[HashedFile]) -> None:
        """Keeps the hashes of those files that have several names."""
        for file in files:
            status = file.status
            # An object of the cache was found here, so it is kept already.
            if status.st_nlink > 1 and not file.is_object:
                self._linked[status.st_dev, status.st_ino] = _Linked(
                    status.st_mtime_ns, status.st_size, file.md5
                )

    def object_of(self, cache: HashFileDB, status: FileStatus) -> str | None:
        """The md5 of a file that is one with an object of the cache, as is one that was hashed."""
        linked = self._linked.get((status.st_dev, status.st_ino))
        if linked is None or linked[:2] != (status.st_mtime_ns, status.st_size):
            return None
        try:
            held = os.stat(place_in(cache, linked.md5))
        except FileNotFoundError:
            return None
        # An inode, and even all times, can be those of another file that is gone by now.
        is_object = (held.st_dev, held.st_ino) == (status.st_dev, status.st_ino)
        is_protected = stat.S_IMODE(held.st_mode) == cache.CACHE_MODE
        return linked.md5 if is_object and is_protected else None


_of_repositories: WeakKeyDictionary[Repo, Remembered] = WeakKeyDictionary()


def remembered(repo: Repo) -> Remembered:
    """What was hashed since DVC's own object of a repository was made."""
    return _of_repositories.setdefault(repo, Remembered())


def stamp_of(*places: str) -> str | None:
    """What tells files and folders from later ones; None when only reading them can.

    By the times and sizes by which DVC, too, knows files again that it has hashed.
    """
    stamp = TreeFingerprint(is_strict=False)
    try:
        for place in places:
            stamp.add(Path(place))
    except (UntoldChangesError, OSError):
        return None
    return stamp.digest()
