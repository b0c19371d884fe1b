"""The objects in the cache and their disk usage."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.folders.links import TEMPORARY
from registry_assets.dvc_repo.processes import owner_of
from registry_assets.dvc_repo.versions import caches_of
from registry_assets.errors import UnusableError
from registry_assets.model import DVC_FOLDER, FOLDER_SUFFIX

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class ObjectUse:
    """The disk usage of an object in the cache.

    Attributes:
        size: In bytes.
        is_linked: Whether a hard or symbolic link to it exists, so that it is in use.
    """

    size: int
    is_linked: bool


def scan_cache(repo: Repo) -> Mapping[str, ObjectUse]:
    """The disk usage of all objects in the cache, including that of DVC 2, by md5."""
    found: dict[str, ObjectUse] = {}
    symlinked = find_symlinked(repo)
    for cache in caches_of(repo):
        for name, entry in scan_objects(Path(cache.path)):
            status = entry.stat(follow_symlinks=False)
            before = found.get(name, ObjectUse(0, False))
            is_linked = status.st_nlink > 1 or name in symlinked
            found[name] = ObjectUse(before.size + status.st_size, before.is_linked or is_linked)
    return found


def find_symlinked(repo: Repo) -> frozenset[str]:
    """The objects that symbolic links in the workspace lead to, if ``cache.type`` allows them.

    Raises:
        UnusableError: when a folder cannot be read.
    """
    if "symlink" not in (repo.config["cache"].get("type") or ()):
        return frozenset()
    caches = [Path(cache.path) for cache in caches_of(repo)]
    found = set()
    for where, folders, files in os.walk(repo.root_dir, onerror=_stop):
        if where == repo.root_dir:
            folders[:] = [name for name in folders if name not in (DVC_FOLDER, ".git")]
        for place in (Path(where) / name for name in (*folders, *files)):
            target = place.readlink() if place.is_symlink() else None
            if target is not None and target.parent.parent in caches:
                found.add(target.parent.name + target.name)
    return frozenset(found)


def find_unfinished(repo: Repo) -> Mapping[Path, int]:
    """Files in the cache that are no objects yet, and their sizes in bytes.

    They are being written, or were when a process was killed.
    """
    found = {}
    for where, _, names in os.walk(repo.cache.local_cache_dir):
        for name in names:
            if TEMPORARY.fullmatch(name) or owner_of(name) is not None:
                with suppress(FileNotFoundError):
                    found[Path(where) / name] = (Path(where) / name).lstat().st_size
    return found


def _stop(error: OSError) -> None:
    """What a folder holds that cannot be read is not known; one that is gone holds nothing."""
    if not isinstance(error, FileNotFoundError):
        raise UnusableError(
            f"{error.filename} cannot be read ({error.strerror}), and links in it may need "
            "objects of the cache: make it readable"
        ) from error


def scan_objects(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yields every object in a cache folder, with its md5."""
    try:
        beginnings = [entry.name for entry in os.scandir(folder) if len(entry.name) == 2]
    except FileNotFoundError:
        return
    for beginning in beginnings:
        for entry in os.scandir(folder / beginning):
            name = beginning + entry.name
            if len(name.removesuffix(FOLDER_SUFFIX)) == 32 and entry.is_file(follow_symlinks=False):
                yield name, entry
