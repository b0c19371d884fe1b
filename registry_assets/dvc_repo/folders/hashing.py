"""Hashing the files of a folder, with the result of `dvc_data.hashfile.build`.

DVC hashes small files one after the other, builds an object for each, and does that twice. Here
files are looked up in DVC's state database first, others are hashed side by side, and the state is
updated when they are stored (`storing.py`). Folders that are not plain (with symbolic links, or
recorded with DVC 2's hash) are left to DVC.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.build import DefaultIgnoreFile
from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from registry_assets.bounded import find_endless
from registry_assets.dvc_repo.folders.ignoring import REFUSED_IGNORE_FILE, walk
from registry_assets.dvc_repo.folders.many_files import hash_files
from registry_assets.dvc_repo.folders.remembered import Remembered, remembered
from registry_assets.dvc_repo.folders.scanning import (
    FolderScan,
    LinkedStatuses,
    scan_folder,
    stamp_of,
)
from registry_assets.dvc_repo.folders.state import (
    HASH,
    FileStatus,
    HashedFile,
    find_known,
    in_batches,
    tell_objects,
)
from registry_assets.dvc_repo.listings import build_listing, hash_listing
from registry_assets.errors import DataBeingWrittenError, FileNotStorableError
from registry_assets.units import is_text

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_objects.fs.base import FileSystem


@dataclass(frozen=True)
class FolderContent:
    """The hashed files of a folder.

    Attributes:
        place: The folder, absolute.
        files: The files that DVC does not ignore.
        ignored: The ignored paths, relative to the folder; folders end in ``/``.
        stamp: The stamp of the folder (`stamp_of`) from before it was hashed.
    """

    place: str
    files: Sequence[HashedFile]
    ignored: Sequence[str] = ()
    stamp: str | None = None

    def is_still_there(self) -> bool:
        """Whether the folder is certainly unchanged since it was hashed."""
        return self.stamp is not None and self.stamp == stamp_of(self.place)

    @cached_property
    def listing(self) -> bytes:
        """The text of the folder's listing (`dvc_data.hashfile.tree`)."""
        return build_listing((file.name, file.md5) for file in self.files)

    @cached_property
    def hash_info(self) -> HashInfo:
        """The hash of the folder."""
        return HashInfo(HASH, hash_listing(self.listing))

    @property
    def meta(self) -> Meta:
        """The size and number of files, as recorded in a metafile."""
        size = sum(file.status.st_size for file in self.files)
        return Meta(size=size, nfiles=len(self.files), isdir=True)


def is_same(before: FileStatus | os.stat_result, now: FileStatus | os.stat_result) -> bool:
    """Whether a file is unchanged, by the attributes that DVC's state uses."""
    # As `FileIdentity` compares them, which takes as long again for each file of a large folder.
    return (
        before.st_ino == now.st_ino
        and before.st_mtime_ns == now.st_mtime_ns
        and before.st_size == now.st_size
    )


def check_same(path: str, file: HashedFile) -> os.stat_result:
    """Checks that a file is unchanged since it was hashed, and returns its status.

    Raises:
        DataBeingWrittenError: when it changed.
    """
    status = os.stat(path)
    if not is_same(status, file.status):
        raise DataBeingWrittenError(path)
    return status


def is_plain(out: DvcOutput) -> bool:
    """Whether an output or dependency is a local one with DVC 3 hashes, which we can handle."""
    return (
        out.protocol == "local"
        and out.is_in_repo
        and (out.use_cache or out.IS_DEPENDENCY)
        and out.hash_name == HASH
        and out.files is None
        and out.meta.version_id is None
        and isinstance(out.cache, LocalHashFileDB)
        and not out.cache.read_only
        and not out.cache.verify
    )


def read_folder(repo: Repo, out: DvcOutput) -> FolderContent | None:
    """Hashes the files of an output.

    Returns:
        None if DVC has to do it: for a file, and for a folder that is not plain.

    Raises:
        DataBeingWrittenError: when a file changes meanwhile.
    """
    return _read(repo, out, _scan(out)) if _is_plain_folder(out) else None


def hash_folder(
    repo: Repo, out: DvcOutput, linked: LinkedStatuses | None = None
) -> HashInfo | None:
    """The hash of an output, as by `read_folder`; cached while the folder is unchanged.

    Args:
        repo: The repository.
        out: The output.
        linked: See `scan_folder`.

    Returns:
        None if DVC has to do it.

    Raises:
        DataBeingWrittenError: when a file changes meanwhile.
    """
    if not _is_plain_folder(out):
        return None
    scan = _scan(out, linked)
    known = remembered(repo).hash_of(out.fs_path, scan.stamp)
    if known is not None:
        return known
    content = _read(repo, out, scan)
    return content.hash_info if content else None


def hash_by_dvc(out: DvcOutput) -> HashInfo:
    """The hash of an output or dependency, by DVC.

    Raises:
        FileNotStorableError: for what reading it would never end at.
    """
    check_ends(out)
    found: HashInfo = out.get_hash()
    return found


def check_ends(out: DvcOutput) -> None:
    """Checks that DVC can read an output or dependency to its end; see `check_place_ends`."""
    if out.protocol == "local":
        check_place_ends(out.repo, str(out.fs_path))


def check_place_ends(repo: Repo, place: str) -> None:
    """Checks that DVC can read a file or folder to its end.

    Raises:
        FileNotStorableError: naming the device or pipe, or the folder that is around the registry.
    """
    _check_ends(place)
    if not os.path.isdir(place):
        return
    if Path(repo.root_dir).is_relative_to(os.path.realpath(place)):
        raise FileNotStorableError(place, "the registry is in it")
    for folder, _, names in repo.dvcignore.walk(repo.fs, place):
        for name in names:
            _check_ends(f"{folder}/{name}")


def _check_ends(path: str) -> None:
    endless = find_endless(path)
    if endless is not None:
        raise FileNotStorableError(path, endless)


def _is_plain_folder(out: DvcOutput) -> bool:
    return is_plain(out) and not Path(out.fs_path).is_symlink() and bool(out.isdir())


def _scan(out: DvcOutput, linked: LinkedStatuses | None = None) -> FolderScan:
    place = str(out.fs_path)
    try:
        return scan_folder(place, linked)
    except FileNotFoundError as error:
        raise DataBeingWrittenError(str(error.filename or place)) from error


def _read(repo: Repo, out: DvcOutput, scan: FolderScan) -> FolderContent | None:
    place = scan.place
    memory = remembered(repo)
    try:
        found, ignored = _find_files(repo, scan)
        if found is None:
            return None
        files = _with_hashes(repo, out, found, memory)
    except FileNotFoundError as error:
        raise DataBeingWrittenError(str(error.filename or place)) from error
    content = FolderContent(place, files, ignored, scan.stamp)
    memory.keep_linked(files)
    memory.keep_folder(place, scan.stamp, content.hash_info)
    return content


def _with_hashes(
    repo: Repo, out: DvcOutput, found: Sequence[tuple[str, FileStatus]], memory: Remembered
) -> list[HashedFile]:
    """The files of an output with hashes; new hashes are saved in DVC's state."""
    cache = out.cache
    prefix = f"{out.fs_path}{os.sep}"
    objects = [memory.object_of(cache, status) for _, status in found]
    others = {
        f"{prefix}{name}": status
        for (name, status), md5 in zip(found, objects, strict=True)
        if md5 is None
    }
    hashed = find_hashes(repo, out.fs, others)
    return [
        HashedFile(name, md5 or hashed[f"{prefix}{name}"], status, is_object=md5 is not None)
        for (name, status), md5 in zip(found, objects, strict=True)
    ]


def _find_files(
    repo: Repo, scan: FolderScan
) -> tuple[list[tuple[str, FileStatus]] | None, Sequence[str]]:
    """Finds the files that DVC does not ignore, with their status, and the ignored paths.

    Returns:
        None instead of the files if there is a symbolic link among them.

    Raises:
        FileNotStorableError: for a file at which DVC would fail, or hang.
    """
    found = []
    left_out: list[str] = []
    is_plain = True
    start = len(scan.place) + 1
    for folder, files, ignored in walk(repo, scan.place, scan):
        inside = f"{folder[start:]}/" if len(folder) > start else ""
        left_out += (f"{inside}{name}" for name in ignored)
        if files and not is_text(inside):
            raise FileNotStorableError(folder, "its name is not UTF-8")
        statuses = scan.folders[folder]
        for name in files:
            status = statuses[name]
            assert status is not None, f"{folder}/{name} is a folder"
            if not stat.S_ISREG(status.st_mode):
                if not stat.S_ISLNK(status.st_mode):
                    raise FileNotStorableError(f"{folder}/{name}", "not a regular file")
                is_plain = False
            if not is_text(name):
                raise FileNotStorableError(f"{folder}/{name}", "its name is not UTF-8")
            if name == DefaultIgnoreFile:
                raise FileNotStorableError(f"{folder}/{name}", REFUSED_IGNORE_FILE)
            found.append((f"{inside}{name}", status))
    return found if is_plain else None, left_out


def find_hashes(
    repo: Repo, filesystem: FileSystem, statuses: Mapping[str, FileStatus]
) -> Mapping[str, str]:
    """The md5s of files by path: those that DVC's state knows, others by reading them.

    New ones are saved in the state while others are read.

    Raises:
        DataBeingWrittenError: when a file changes meanwhile.
    """
    hashes = dict(find_known(repo, filesystem, statuses)) if statuses else {}
    unknown = [(path, status) for path, status in statuses.items() if path not in hashes]
    for batch in in_batches(_hash(unknown)):
        hashes.update((path, md5) for path, md5, _ in batch)
        tell_objects(repo, batch)
    return hashes


def _hash(files: Sequence[tuple[str, FileStatus]]) -> Iterator[tuple[str, str, FileStatus]]:
    md5s = hash_files(((path, status.st_size) for path, status in files), len(files))
    try:
        for (path, status), md5 in zip(files, md5s, strict=True):
            if md5 is None:
                raise DataBeingWrittenError(path)
            yield path, md5, status
    except PermissionError as error:
        raise FileNotStorableError(str(error.filename), "it may not be read") from error
