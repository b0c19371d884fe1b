"""Comparing recorded outputs with the cache and the workspace, as `dvc status` does."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.dependency.base import Dependency
from dvc.output import Output as DvcOutput
from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.hash_info import HashInfo

from registry_assets.dvc_repo.folders.hashing import (
    FolderContent,
    hash_by_dvc,
    hash_folder,
    is_plain,
)
from registry_assets.dvc_repo.folders.remembered import KnownData, remembered
from registry_assets.dvc_repo.folders.scanning import LinkedStatuses
from registry_assets.dvc_repo.folders.state import HASH
from registry_assets.dvc_repo.folders.verifying import Verified, verify_version
from registry_assets.dvc_repo.listings import Listings
from registry_assets.model import is_folder

if TYPE_CHECKING:
    from dvc.repo import Repo


def read_recorded(out: DvcOutput) -> Mapping[str, str] | None:
    """The files in the recorded version of a plain folder, with md5s.

    None if the output is no plain folder, or the cache lacks a valid listing.
    """
    if not is_plain(out) or not out.hash_info.isdir:
        return None
    return Listings([Path(out.cache.path)]).read(str(out.hash_info.value))


def is_in_cache(out: DvcOutput) -> bool:
    """Whether the cache has the recorded version, complete and undamaged.

    DVC's `Output.changed_cache` trusts read-only objects. Here, modified ones are hashed. It also
    takes a listing for one whatever that names.
    """
    verified = verify(out)
    if verified is not None:
        return verified.is_whole
    return not has_invalid_listing(out) and not out.changed_cache()


def has_invalid_listing(out: DvcOutput) -> bool:
    """Whether the cache has a listing for the recorded version of a folder that is not valid."""
    is_listed = out.hash_info.isdir and isinstance(out.cache, LocalHashFileDB)
    return is_listed and Listings([Path(out.cache.path)]).is_invalid(str(out.hash_info.value))


def verify(
    out: DvcOutput, *, by_date: bool = True, intact: set[str] | None = None
) -> Verified | None:
    """Checks the recorded version in the cache; None if the output is not plain.

    Args:
        out: An output or a dependency.
        by_date: See `verify_version`.
        intact: See `verify_version`.
    """
    if not is_plain(out) or not out.hash_info:
        return None
    md5 = str(out.hash_info.value)
    recorded = read_recorded(out) if out.hash_info.isdir else {"": md5}
    if recorded is None:
        return Verified(missing=frozenset({md5}))
    return verify_version(
        out.repo, out.cache, md5, recorded, out.meta.size, by_date=by_date, intact=intact
    )


def find_whole(repo: Repo, versions: Collection[str]) -> frozenset[str]:
    """The versions, hashed as DVC 3 does, of which the cache has all objects.

    Like `dvc status`, read-only objects are trusted.
    """
    cache = repo.cache.local
    if not isinstance(cache, LocalHashFileDB) or cache.read_only or cache.verify:
        return frozenset()
    listings, intact = Listings([Path(cache.path)]), set[str]()

    def is_whole(md5: str) -> bool:
        recorded = listings.read(md5) if is_folder(md5) else {"": md5}
        if recorded is None:
            return False
        return verify_version(
            repo, cache, md5, recorded, None, by_date=False, intact=intact
        ).is_whole

    return frozenset(filter(is_whole, versions))


class StatusReader:
    """Reads the status of outputs; hashes and checks each only once.

    DVC would hash an output again for each stage that depends on it.
    """

    def __init__(self) -> None:
        self._hashes: dict[tuple[str, str], HashInfo] = {}
        self._is_in_cache: dict[tuple[str, str], bool] = {}
        self._intact: set[str] = set()
        self._linked: LinkedStatuses = {}

    @property
    def in_cache(self) -> frozenset[str]:
        """The versions, hashed as DVC 3 does, of which the cache has all objects."""
        return frozenset(
            md5 for (name, md5), is_there in self._is_in_cache.items() if is_there and name == HASH
        )

    def take(self, repo: Repo, known: KnownData) -> None:
        """Takes what an earlier command found out, as far as it is certainly unchanged."""
        remembered(repo).take(repo.root_dir, known)
        self._is_in_cache |= {(HASH, md5): True for md5 in known.in_cache}
        for path, folder in known.folders.items():
            if folder.is_unchanged:
                self._hashes[f"{repo.root_dir}{os.sep}{path}", HASH] = HashInfo(HASH, folder.md5)

    def status(self, out: DvcOutput, content: FolderContent | None = None) -> Mapping[str, object]:
        """The same as ``out.status()``: changes by name.

        Args:
            out: An output or a dependency.
            content: Its content in the workspace, if already hashed.

        Raises:
            DataBeingWrittenError: when a file changes meanwhile.
            FileNotStorableError: for a file at which DVC would fail, or hang.
        """
        if content is not None:
            self._hashes[out.fs_path, out.hash_name] = content.hash_info
        if not _is_in_workspace(out):
            status: Mapping[str, object] = out.status()
            return status
        if out.hash_info and out.use_cache and not self._finds_in_cache(out):
            return {str(out): "not in cache"}
        if not out.exists:
            return {str(out): "deleted"}
        if out.hash_info != self._hash(out):
            return {str(out): "modified"}
        return {} if out.hash_info else {str(out): "new"}

    def _hash(self, out: DvcOutput) -> HashInfo:
        key = (out.fs_path, out.hash_name)
        if key not in self._hashes:
            self._hashes[key] = hash_folder(out.repo, out, self._linked) or hash_by_dvc(out)
        return self._hashes[key]

    def _finds_in_cache(self, out: DvcOutput) -> bool:
        key = (out.hash_name, out.hash_info.value)
        if key not in self._is_in_cache:
            known = out.obj
            # Like `dvc status`, trust read-only objects.
            verified = verify(out, by_date=False, intact=self._intact)
            is_there = not out.changed_cache() if verified is None else verified.is_whole
            self._is_in_cache[key] = is_there
            # Otherwise large listings would stay in memory while the repository is open.
            out.obj = known
        return self._is_in_cache[key]


def _is_in_workspace(out: DvcOutput) -> bool:
    """Whether it is a local file or folder that DVC compares by content only."""
    by_content = (DvcOutput.workspace_status, Dependency.workspace_status)
    return (
        out.protocol == "local"
        and type(out).status is DvcOutput.status
        and type(out).workspace_status in by_content
    )
