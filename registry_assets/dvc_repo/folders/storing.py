"""Putting outputs into the cache, as `dvc add` and `dvc commit` do.

DVC needs several passes (stage, transfer, checkout); here it is one: each file is linked or copied
into the cache under its hash, and saved in DVC's state. Formats and order are DVC's: objects are
read-only files ``xx/yyyy``, and the listing of a folder is stored last. An object gets its final
name only when complete: links are atomic, copies are renamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.db.local import LocalHashFileDB

from registry_assets.dvc_repo.folders.hashing import (
    FolderContent,
    check_same,
    is_same,
    read_folder,
)
from registry_assets.dvc_repo.folders.links import Links, NotPlainError, in_one_go
from registry_assets.dvc_repo.folders.many_files import map_in_threads
from registry_assets.dvc_repo.folders.remembered import is_link_to_object
from registry_assets.dvc_repo.folders.state import (
    HASH,
    FileStatus,
    HashedFile,
    tell_hashes,
    tell_links,
)
from registry_assets.dvc_repo.folders.verifying import dates_of, find_damaged, set_aside_damaged
from registry_assets.dvc_repo.garbage import scan_objects
from registry_assets.dvc_repo.metafiles import bring_in_ignore_file
from registry_assets.dvc_repo.syncing import note_stored, vouch_once_synced
from registry_assets.dvc_repo.versions import place_in
from registry_assets.errors import DataBeingWrittenError
from registry_assets.model import is_folder

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage

Contents = Mapping[str, FolderContent | None]
"""The hashed outputs of a stage, by absolute path; None for those that DVC has to hash."""


def read_outputs(repo: Repo, stage: DvcStage, before: Contents | None = None) -> Contents:
    """Hashes the outputs of a stage that are plain folders.

    Args:
        repo: The repository.
        stage: The stage.
        before: An earlier result; only outputs that changed since are hashed again.

    Raises:
        DataBeingWrittenError: when a file changes meanwhile.
    """
    contents: dict[str, FolderContent | None] = {}
    for out in stage.outs:
        known = before.get(out.fs_path) if before else None
        is_known = known is not None and known.is_still_there()
        contents[out.fs_path] = known if is_known else read_folder(repo, out)
    return contents


def note_outputs(stage: DvcStage, contents: Contents) -> Mapping[str, str]:
    """Sets the hashes of a stage's outputs, as DVC's `Stage.save_outs` does.

    Returns:
        The previous versions, by absolute path.
    """
    before = {out.fs_path: str(out.hash_info.value) for out in stage.outs if out.hash_info}
    for out in stage.outs:
        bring_in_ignore_file(out)
    if not any(contents.values()):
        stage.save_outs()
        return before
    for out in stage.outs:
        content = contents[out.fs_path]
        if content is None:
            out.save()
        else:
            out.ignore()
            out.hash_info, out.meta = content.hash_info, content.meta
            out.obj = out.files = None
    return before


def store_outputs(
    repo: Repo, stage: DvcStage, contents: Contents, before: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Puts outputs into the cache after `note_outputs`, as DVC's `Output.commit` does.

    Call it under the repository lock.

    Args:
        repo: The repository.
        stage: The stage.
        contents: Its hashed outputs.
        before: Their previous versions, by absolute path.

    Returns:
        The md5s of objects that were edited in place through a link, by absolute path of that link.
        These objects are renamed to their actual hash, so the cache lacks their former content.

    Raises:
        DataBeingWrittenError: when a file changed since it was hashed.
    """
    overwritten: dict[str, str] = {}
    note_stored(repo)
    for out in stage.outs:
        content = contents[out.fs_path]
        files = None if content is None else _with_objects(out.cache, content.files)
        overwritten |= _release_overwritten(repo, out, files)
        try:
            if content is None or files is None:
                raise NotPlainError
            _store(repo, out, content, files, (before or {}).get(out.fs_path))
        except NotPlainError:
            out.commit()
    return overwritten


def _release_overwritten(
    repo: Repo, out: DvcOutput, files: Sequence[HashedFile] | None
) -> Mapping[str, str]:
    """Renames objects that were edited in place through links in an output; see `store_outputs`."""
    # An output outside the repository has no cache.
    cache = out.cache if out.is_in_repo and out.use_cache and out.hash_name == HASH else None
    if not isinstance(cache, LocalHashFileDB):
        return {}
    if files is not None:
        # Hard links to something else, such as an input, have no object yet.
        linked = {
            file.status.st_ino: f"{out.fs_path}/{file.name}"
            for file in files
            if file.status.st_nlink > 1 and not file.is_object
        }
    else:
        linked = dict(_find_linked(str(out.fs_path)))
    if not linked:
        return {}
    objects = {
        oid: FileStatus.of(entry.stat())
        for oid, entry in scan_objects(Path(cache.path))
        if entry.inode() in linked and not is_folder(oid)
    }
    damaged = find_damaged(repo, cache, objects)
    overwritten = {linked[objects[oid].st_ino]: oid for oid in damaged}
    symlinked = [path for path in overwritten if os.path.islink(path)]
    set_aside_damaged(repo, cache, damaged)
    for path in symlinked:
        # It points to the former name of the object.
        with in_one_go(path) as fresh:
            os.symlink(place_in(cache, damaged[overwritten[path]]), fresh)
    return overwritten


def describe_overwritten(repo: Repo, place: str, md5: str) -> str:
    """The message about an object that was edited in place through a link."""
    path = Path(place).relative_to(repo.root_dir).as_posix()
    return f"damaged {path}: edited in place, which changed its object {md5[:10]} in the cache, too"


def _with_objects(cache: LocalHashFileDB, files: Sequence[HashedFile]) -> list[HashedFile]:
    """The files, marked as objects if they are hard links to the protected ones with their hash."""
    return [
        file._replace(is_object=True)
        if not file.is_object
        and file.status.st_nlink > 1
        and is_link_to_object(cache, file.md5, file.status)
        else file
        for file in files
    ]


def _find_linked(place: str) -> Iterator[tuple[int, str]]:
    """Yields inode and path of files that are hard or symbolic links."""
    found = [place] if not os.path.isdir(place) else []
    for folder, _, names in os.walk(place):
        found.extend(f"{folder}/{name}" for name in names)
    for path in found:
        with suppress(OSError):  # a broken link
            status = os.stat(path)
            if status.st_nlink > 1 or os.path.islink(path):
                yield status.st_ino, path


def _store(
    repo: Repo,
    out: DvcOutput,
    content: FolderContent,
    files: Sequence[HashedFile],
    before: str | None,
) -> None:
    cache: LocalHashFileDB = out.cache
    storer = _Storer(repo, cache, content, before)
    listing = str(content.hash_info.value)
    make_folder: Callable[[str], None] = cache.makedirs
    for prefix in {file.md5[:2] for file in content.files} | {listing[:2]}:
        if not os.path.isdir(f"{cache.path}/{prefix}"):
            make_folder(f"{cache.path}/{prefix}")
    stored = storer.store_all(files)
    # The others were saved in the state when they were hashed.
    both = zip(stored, content.files, strict=True)
    untold = (now for now, old in both if old.is_object or now.status is not old.status)
    tell_hashes(repo, out, untold)
    tell_links(repo, out, stored)
    if storer.put(listing, lambda fresh: _write(fresh, content.listing)):
        vouch_once_synced(repo, place_in(cache, listing))


class _Storer:
    """Puts the files of one folder into a cache.

    Args:
        repo: The repository.
        cache: The cache.
        content: The folder.
        before: The previously recorded version.

    Raises:
        NotPlainError: when ``cache.type`` needs links that only DVC makes.
    """

    def __init__(
        self, repo: Repo, cache: LocalHashFileDB, content: FolderContent, before: str | None
    ) -> None:
        kinds = cache.cache_types
        self._repo = repo
        self._cache = cache
        self._versions = {str(content.hash_info.value), *((before,) if before else ())}
        self._place = content.place
        self._may_be_copies = not {"copy", "reflink"}.isdisjoint(kinds)
        if kinds[0] == "hardlink":
            self._links = Links(cache, ["hardlink", "reflink", "copy"])
            self._copies = False
        elif kinds[0] == "symlink" or any(file.status.st_nlink > 1 for file in content.files):
            # DVC replaces existing links by the configured type.
            raise NotPlainError
        else:
            self._links = Links(cache, ["reflink", "copy"])
            self._copies = True

    def store_all(self, files: Sequence[HashedFile]) -> list[HashedFile]:
        """Puts files into the cache.

        Returns:
            The files, with their new status where they were replaced by links to existing objects.
        """
        if self._copies:
            self._verify({file.md5 for file in files if not file.is_object})
            return map_in_threads(self._store, files)
        # Most are new: to ask for the object of each first would take as long as linking it. DVC
        # does not link empty files, which would all be the same inode.
        new = [file for file in files if not file.is_object and file.status.st_size]
        links = ((self._path_of(file), place_in(self._cache, file.md5)) for file in new)
        statuses = self._links.hardlink_all(links, len(new), self._cache.CACHE_MODE)
        stored = set()
        for file, status in zip(new, statuses, strict=True):
            if status is not None:
                self._check_linked(file, status)
                stored.add(file.name)
        left = [file for file in files if file.name not in stored]
        self._verify({file.md5 for file in left if not file.is_object})
        return [file if file.name in stored else self._store(file) for file in files]

    def _path_of(self, file: HashedFile) -> str:
        return f"{self._place}/{file.name}"

    def _check_linked(self, file: HashedFile, status: FileStatus | os.stat_result) -> None:
        """Checks that what was linked is what was hashed."""
        if not is_same(status, file.status):
            os.unlink(place_in(self._cache, file.md5))
            raise DataBeingWrittenError(self._path_of(file)) from None

    def _store(self, file: HashedFile) -> HashedFile:
        """Puts one file into the cache; see `store_all`."""
        path = self._path_of(file)
        if file.is_object:
            return file
        if not file.status.st_size:
            # DVC does not link empty files, which would all be the same inode.
            check_same(path, file)
            self.put(file.md5, lambda fresh: _write(fresh, b""))
            return file
        status = self._link(path, file)
        if status is not None:
            is_linked_back = not is_same(status, file.status)
            return file._replace(status=FileStatus.of(status)) if is_linked_back else file
        if not self._may_be_copies:
            raise NotPlainError
        self.put(file.md5, lambda fresh: self._copy(path, file, fresh))
        return file

    def put(self, oid: str, write: Callable[[str], None]) -> bool:
        """Adds an object if the cache lacks it; `write` writes it to the given path.

        Returns:
            Whether it was added.
        """
        if self._is_there(oid):
            return False
        place = place_in(self._cache, oid)
        with in_one_go(place) as fresh:
            write(fresh)
        self._protect(place)
        return True

    def _is_there(self, oid: str) -> bool:
        """Whether the cache has an object, undamaged; a damaged one is renamed."""
        try:
            status = FileStatus.of(os.stat(place_in(self._cache, oid)))
        except FileNotFoundError:
            return False
        if self._is_trusted(oid, status):
            return True
        damaged = find_damaged(self._repo, self._cache, {oid: status})
        set_aside_damaged(self._repo, self._cache, damaged)
        return not damaged

    def _verify(self, oids: Collection[str]) -> None:
        """Hashes those of some objects in the cache that may have been modified.

        In one batch: one by one would take several times as long if most are in the cache.
        """
        suspects = {}
        for oid in oids:
            with suppress(FileNotFoundError):
                status = FileStatus.of(os.stat(place_in(self._cache, oid)))
                if not self._is_trusted(oid, status):
                    suspects[oid] = status
        damaged = find_damaged(self._repo, self._cache, suspects)
        set_aside_damaged(self._repo, self._cache, damaged)
        for oid in suspects.keys() - damaged.keys():
            self._trusted[oid] = suspects[oid].st_mtime_ns

    def _is_trusted(self, oid: str, status: FileStatus) -> bool:
        is_protected = stat.S_IMODE(status.st_mode) == self._cache.CACHE_MODE
        return is_protected and status.st_mtime_ns <= self._trusted.get(oid, -1)

    @cached_property
    def _trusted(self) -> dict[str, int]:
        """The times until which objects are trusted; see `dates_of`."""
        return dict(dates_of(self._cache, self._versions))

    def _link(self, path: str, file: HashedFile) -> os.stat_result | None:
        """Hard-links a file into the cache, and returns its status; None if that is impossible."""
        place = place_in(self._cache, file.md5)
        try:
            if not self._links.hardlink(path, place):
                return None
        except FileExistsError:
            return self._link_back(path, file, place)
        status = os.stat(place)
        self._check_linked(file, status)
        if stat.S_IMODE(status.st_mode) != self._cache.CACHE_MODE:
            self._protect(place)
        return status

    def _link_back(self, path: str, file: HashedFile, place: str) -> os.stat_result | None:
        """Replaces a file by a hard link to its existing object."""
        before = check_same(path, file)
        if not self._is_there(file.md5):
            # It was damaged, and was renamed.
            return self._link(path, file)
        if os.path.samestat(before, os.stat(place)):
            return before
        return os.stat(path) if self._links.hardlink_over(place, path) else None

    def _copy(self, path: str, file: HashedFile, fresh: str) -> None:
        self._links.copy(path, fresh)
        check_same(path, file)

    def _protect(self, place: str) -> None:
        # If not permitted, objects stay writable and are hashed again, as by DVC.
        with suppress(OSError):
            os.chmod(place, self._cache.CACHE_MODE)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(data)
