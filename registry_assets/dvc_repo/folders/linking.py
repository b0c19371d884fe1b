"""Linking folders from the cache into the workspace, as `dvc checkout` does.

Existing files are checked first: content that is not in the cache is never removed. Files are
replaced atomically.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.folders.comparing import read_recorded
from registry_assets.dvc_repo.folders.hashing import (
    FolderContent,
    check_same,
    read_folder,
)
from registry_assets.dvc_repo.folders.links import Links, NotPlainError, in_one_go
from registry_assets.dvc_repo.folders.state import (
    FileStatus,
    HashedFile,
    in_batches,
    tell_hashes,
    tell_links,
)
from registry_assets.dvc_repo.folders.verifying import Kept, are_kept
from registry_assets.dvc_repo.versions import path_in_repo, place_in
from registry_assets.errors import DataModifiedError, DataNotAvailableError
from registry_assets.model import EMPTY_MD5

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


def link_folder(repo: Repo, out: DvcOutput) -> None:
    """Links the recorded version of a folder into the workspace, replacing any other version.

    Call it under the repository lock.

    Raises:
        NotPlainError: when DVC has to do it; DVC can continue from the state that this leaves.
        DataModifiedError: when content that is not in the cache would be removed.
        DataNotAvailableError: when the cache lacks part of the version.
        DataBeingWrittenError: when a file changes meanwhile.
    """
    wanted = read_recorded(out)
    place = str(out.fs_path)
    if wanted is None or os.path.islink(place):
        raise NotPlainError
    cache: HashFileDB = out.cache
    content = read_folder(repo, out) if os.path.lexists(place) else FolderContent(place, ())
    if content is None:
        raise NotPlainError
    before = {file.name: file for file in content.files}
    if _is_file_and_folder({*wanted, *before}):
        raise NotPlainError
    kept = {name: file for name, file in before.items() if wanted.get(name) == file.md5}
    others = {name: file for name, file in before.items() if name not in kept}
    removed = {f.md5: Kept(f.status.st_ino, f.status.st_size) for f in others.values()}
    if others and not are_kept(repo, cache, removed, str(content.hash_info.value)):
        raise DataModifiedError(path_in_repo(repo, out))
    links = Links(cache, cache.cache_types)
    os.makedirs(place, exist_ok=True)
    for folder in {os.path.dirname(name) for name in wanted} - {""}:
        os.makedirs(f"{place}/{folder}", exist_ok=True)
    missing = {name: md5 for name, md5 in wanted.items() if name not in kept}
    linked: list[HashedFile] = []
    lacking = 0
    # Saved in the state while others are linked.
    for some in in_batches(_link_all(links, cache, place, missing, others)):
        made = [file for file in some if file is not None]
        tell_hashes(repo, out, made)
        linked += made
        lacking += len(some) - len(made)
    if lacking:
        raise DataNotAvailableError(path_in_repo(repo, out), f"{lacking} files are missing")
    for name in others.keys() - wanted.keys():
        check_same(f"{place}/{name}", others[name])
        os.unlink(f"{place}/{name}")
    tell_links(repo, out, [*kept.values(), *linked])


def _link_all(
    links: Links,
    cache: HashFileDB,
    place: str,
    wanted: Mapping[str, str],
    before: Mapping[str, HashedFile],
) -> Iterator[HashedFile | None]:
    """Links objects into a folder, and yields the files; None for a file whose object is lacking.

    Args:
        links: How.
        cache: The cache.
        place: The folder.
        wanted: The md5 of each file that is not there.
        before: The files that are there with another content.
    """
    new = [name for name, md5 in wanted.items() if name not in before and md5 != EMPTY_MD5]
    pairs = ((place_in(cache, wanted[name]), f"{place}/{name}") for name in new)
    made = set()
    for name, status in zip(new, links.hardlink_all(pairs, len(new)), strict=True):
        if status is not None:
            made.add(name)
            yield HashedFile(name, wanted[name], status)
    for name in (name for name in wanted if name not in made):
        md5 = wanted[name]
        try:
            found = _link(links, place_in(cache, md5), f"{place}/{name}", before.get(name))
        except FileNotFoundError:
            yield None
        else:
            yield HashedFile(name, md5, FileStatus.of(found))


def _link(links: Links, source: str, target: str, before: HashedFile | None) -> os.stat_result:
    """Links an object into the workspace, replacing the previous file, and returns its status.

    Raises:
        NotPlainError: when the target exists, but is ignored by DVC.
        FileNotFoundError: when the cache lacks the object.
        DataBeingWrittenError: when the previous file changed.
    """
    status = os.stat(source)
    if before is not None:
        check_same(target, before)
    try:
        # DVC does not link empty files, which would all be the same inode.
        link = links.hardlink if before is None else links.hardlink_over
        if status.st_size and link(source, target):
            return status
    except FileExistsError as error:
        raise NotPlainError from error
    if before is None and os.path.lexists(target):
        raise NotPlainError
    with in_one_go(target) as fresh:
        if status.st_size:
            links.copy(source, fresh)
        else:
            open(fresh, "wb").close()
    return os.stat(target)


def _is_file_and_folder(names: Collection[str]) -> bool:
    """Whether a path is a file in one version and a folder in the other."""
    folders = {os.path.dirname(name) for name in names} - {""}
    waiting = list(folders)
    while waiting:
        folder = os.path.dirname(waiting.pop())
        if folder and folder not in folders:
            folders.add(folder)
            waiting.append(folder)
    return not folders.isdisjoint(names)
