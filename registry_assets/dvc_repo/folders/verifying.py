"""Finding damaged objects, whose hash differs from their name, without hashing all of them.

DVC trusts read-only objects. But a hard link to one in the workspace can be edited, by root or
after a `chmod`, which changes the object. The listing of a folder is stored after its files, so
objects modified later are hashed, and all of them if the total size is wrong. DVC's state caches
the hashes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dvc_data.hashfile.db.local import LocalHashFileDB

from registry_assets.dvc_repo.folders.hashing import find_hashes
from registry_assets.dvc_repo.folders.state import FileStatus
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.versions import place_in
from registry_assets.model import FOLDER_SUFFIX, is_folder

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


@dataclass(frozen=True)
class Verified:
    """The state of the objects of a version.

    Attributes:
        missing: The objects that the cache lacks.
        damaged: The actual hashes of damaged objects, by name.
    """

    missing: frozenset[str] = frozenset()
    damaged: Mapping[str, str] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all objects are there, undamaged."""
        return not self.missing and not self.damaged


def verify_version(
    repo: Repo,
    cache: HashFileDB,
    version: str,
    files: Mapping[str, str],
    size: int | None,
    *,
    by_date: bool = True,
    intact: set[str] | None = None,
) -> Verified:
    """Checks the objects of a version.

    Args:
        repo: The repository.
        cache: The cache.
        version: The md5 of the version.
        files: The md5s of its files, by path.
        size: The recorded size in bytes.
        by_date: Whether to hash objects modified after the listing was stored; otherwise only
            writable objects are hashed.
        intact: Objects that need not be looked at, as they were in this way at the same moment;
            those of this version are added. Many versions of a collection have the same ones.
    """
    trusted = date_of(cache, version) if is_folder(version) else None
    sizes: dict[str, int] = {}
    written: dict[str, FileStatus] = {}
    missing = set()
    objects = {*files.values(), version}
    for md5 in objects if intact is None else objects - intact:
        try:
            status = os.stat(place_in(cache, md5))
        except FileNotFoundError:
            missing.add(md5)
            continue
        sizes[md5] = status.st_size
        is_late = by_date and (trusted is None or status.st_mtime_ns > trusted)
        if is_late or stat.S_IMODE(status.st_mode) != LocalHashFileDB.CACHE_MODE:
            written[md5] = FileStatus.of(status)
    has_size = by_date and size is not None and is_folder(version) and not missing
    if has_size and sum(sizes[md5] for md5 in files.values()) != size:
        written = {md5: _status_of(cache, md5) for md5 in sizes}
    found = Verified(frozenset(missing), find_damaged(repo, cache, written))
    if intact is not None and found.is_whole:
        intact |= objects
    return found


def date_of(cache: HashFileDB, md5: str) -> int | None:
    """The mtime of an object in ns; None if the cache lacks it."""
    try:
        return os.stat(place_in(cache, md5)).st_mtime_ns
    except FileNotFoundError:
        return None


def dates_of(cache: HashFileDB, versions: Iterable[str]) -> Mapping[str, int]:
    """The time in ns until which the objects of folders are trusted: when the listing was stored.

    Damaged listings are skipped.
    """
    found: dict[str, int] = {}
    listings = Listings([Path(cache.path)])
    for version in filter(is_folder, versions):
        date, contents = date_of(cache, version), listings.contents(version)
        if date is not None and contents is not None:
            for oid in (version, *contents):
                found[oid] = max(date, found.get(oid, 0))
    return found


class Kept(NamedTuple):
    """A file whose content must be in the cache.

    Attributes:
        inode: Of the file, if known; if it is the inode of the object, that is not hashed again.
        size: In bytes, if known.
    """

    inode: int | None
    size: int | None


def are_kept(repo: Repo, cache: HashFileDB, files: Mapping[str, Kept], version: str) -> bool:
    """Whether a cache has the content of files, undamaged, so that the files can be replaced.

    Args:
        repo: The repository.
        cache: The cache.
        files: The files, by md5.
        version: The md5 of the folder that they are in, which need not be recorded.
    """
    dates: Mapping[str, int] | None = None
    written = {}
    for md5, file in files.items():
        try:
            status = os.stat(place_in(cache, md5))
        except FileNotFoundError:
            return False
        if status.st_size != file.size and file.size is not None:
            return False
        if status.st_ino != file.inode:
            dates = dates_of(cache, [version]) if dates is None else dates
            if status.st_mtime_ns > dates.get(md5, -1):
                written[md5] = FileStatus.of(status)
    return not find_damaged(repo, cache, written)


def find_damaged(
    repo: Repo, cache: HashFileDB, objects: Mapping[str, FileStatus]
) -> dict[str, str]:
    """Hashes objects; returns the actual hashes of damaged ones, by name.

    Undamaged ones are made read-only, as by DVC, so that they are trusted from now on.
    """
    places = {place_in(cache, md5): md5 for md5 in objects}
    statuses = {place: objects[md5] for place, md5 in places.items()}
    hashes = find_hashes(repo, cache.fs, statuses)
    damaged = {}
    for place, md5 in places.items():
        # In DVC's state, hashes of listings have the suffix.
        held = hashes[place].removesuffix(FOLDER_SUFFIX)
        if held != md5.removesuffix(FOLDER_SUFFIX):
            damaged[md5] = held
        else:
            _protect(place, statuses[place])
    return damaged


def set_aside_damaged(repo: Repo, cache: HashFileDB, damaged: Mapping[str, str]) -> None:
    """Renames damaged objects to their actual hash, so that no content is lost."""
    for md5, held in damaged.items():
        place, target = place_in(cache, md5), place_in(cache, held)
        if os.path.lexists(target):
            other = find_damaged(repo, cache, {held: _status_of(cache, held)})
            set_aside_damaged(repo, cache, other)
        with suppress(FileNotFoundError):
            if os.path.lexists(target):
                os.unlink(place)
                continue
            make_folder: Callable[[str], None] = cache.makedirs
            make_folder(os.path.dirname(target))
            os.rename(place, target)
            _protect(target, _status_of(cache, held))


def _protect(place: str, status: FileStatus) -> None:
    if stat.S_IMODE(status.st_mode) != LocalHashFileDB.CACHE_MODE:
        with suppress(OSError):  # if not permitted, it will be hashed again
            os.chmod(place, LocalHashFileDB.CACHE_MODE)


def _status_of(cache: HashFileDB, md5: str) -> FileStatus:
    return FileStatus.of(os.stat(place_in(cache, md5)))
