"""Hashes found while a repository is open, so that nothing is hashed or looked up twice.

A stage often links files of its input into its output: the same files under other paths. DVC's
state database knows files by path only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from dvc_data.hashfile.hash_info import HashInfo

from registry_assets.dvc_repo.folders.state import HASH, FileStatus, HashedFile
from registry_assets.dvc_repo.versions import place_in

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


_LINKED = Struct("=qq16s")


class KnownFolder(NamedTuple):
    """What a command found out about a folder in the workspace.

    Attributes:
        md5: Its hash.
        stamp: Its stamp (`scanning.FolderScan`) from before it was hashed.
        is_unchanged: Whether it is certainly unchanged since, so that it need not be scanned.
    """

    md5: str
    stamp: str
    is_unchanged: bool = False


@dataclass(frozen=True)
class KnownData:
    """What a command found out about data, for commands that come later.

    Attributes:
        folders: The hashed folders, by path from the root.
        in_cache: The versions of which the cache has all objects.
    """

    folders: Mapping[str, KnownFolder]
    in_cache: frozenset[str] = frozenset()


class Remembered:
    """Hashes of folders, and of hard-linked files."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, HashInfo]] = {}
        # What an earlier command knew of others may no longer be so.
        self._seen: set[str] = set()
        # mtime, size and md5 of files with several hard links, by device and inode: packed, as
        # those of all collections are kept.
        self._linked: dict[int, dict[int, bytes]] = {}
        self.in_cache: frozenset[str] = frozenset()

    @property
    def folders(self) -> Mapping[str, KnownFolder]:
        """The folders that are as they were hashed, by absolute path."""
        return {
            place: KnownFolder(str(hash_info.value), stamp)
            for place, (stamp, hash_info) in self._folders.items()
            if place in self._seen
        }

    def take(self, root: str, known: KnownData) -> None:
        """Takes the hashes of folders that an earlier command found; those of this one count more.

        Args:
            root: Of the repository.
            known: What it found.
        """
        for path, folder in known.folders.items():
            place = f"{root}{os.sep}{path}"
            self._folders.setdefault(place, (folder.stamp, HashInfo(HASH, folder.md5)))
            if folder.is_unchanged:
                self._seen.add(place)

    def hash_of(self, place: str, stamp: str | None) -> HashInfo | None:
        """The hash of a folder, if it is unchanged since it was hashed."""
        if place not in self._folders or stamp is None or stamp != self.stamp_of(place):
            return None
        self._seen.add(place)
        return self._folders[place][1]

    def stamp_of(self, place: str) -> str | None:
        """The stamp of a folder from before it was hashed."""
        return self._folders[place][0] if place in self._folders else None

    def keep_folder(self, place: str, stamp: str | None, hash_info: HashInfo) -> None:
        """Keeps the hash of a folder, with its `stamp_of` from before it was hashed."""
        if stamp is not None:
            self._folders[place] = stamp, hash_info
            self._seen.add(place)

    def keep_linked(self, files: Iterable[HashedFile]) -> None:
        """Keeps the hashes of hard-linked files."""
        for file in files:
            status = file.status
            # A file that is an object was found by this class, so it is kept already.
            if status.st_nlink > 1 and not file.is_object:
                self._linked.setdefault(status.st_dev, {})[status.st_ino] = _LINKED.pack(
                    status.st_mtime_ns, status.st_size, bytes.fromhex(file.md5)
                )

    def object_of(self, cache: HashFileDB, status: FileStatus) -> str | None:
        """The md5 of a file that is a hard link to an object, if it was hashed before."""
        linked = self._linked.get(status.st_dev, {}).get(status.st_ino)
        if linked is None:
            return None
        mtime_ns, size, digest = _LINKED.unpack(linked)
        if (mtime_ns, size) != (status.st_mtime_ns, status.st_size):
            return None
        md5 = digest.hex()
        # Checked, as inode and mtime may be those of a deleted file.
        return md5 if is_link_to_object(cache, md5, status) else None


def is_link_to_object(cache: HashFileDB, md5: str, status: FileStatus) -> bool:
    """Whether a file is a hard link to the object with an md5, which is protected."""
    try:
        held = os.stat(place_in(cache, md5))
    except FileNotFoundError:
        return False
    is_object = (held.st_dev, held.st_ino) == (status.st_dev, status.st_ino)
    return is_object and stat.S_IMODE(held.st_mode) == cache.CACHE_MODE


_of_repositories: WeakKeyDictionary[Repo, Remembered] = WeakKeyDictionary()


def remembered(repo: Repo) -> Remembered:
    """The hashes that belong to an opened repository."""
    return _of_repositories.setdefault(repo, Remembered())
