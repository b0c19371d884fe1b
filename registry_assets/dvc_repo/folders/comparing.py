"""What is recorded of a folder held against the cache and the workspace, as `dvc status` does."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.dependency.base import Dependency
from dvc.output import Output as DvcOutput
from dvc_objects.errors import ObjectFormatError

from registry_assets.dvc_repo.folders.hashing import FolderContent, hash_folder, is_plain
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.versions import place_in

if TYPE_CHECKING:
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_data.hashfile.hash_info import HashInfo


def read_recorded(out: DvcOutput) -> Mapping[str, str] | None:
    """The files of the recorded version of a plain folder and their md5s.

    Returns:
        None where DVC has to find out, also when the cache lacks the listing.
    """
    if not is_plain(out) or not out.hash_info.isdir:
        return None
    try:
        return Listings([Path(out.cache.path)]).read(str(out.hash_info.value))
    except (ValueError, TypeError, KeyError):  # no listing: DVC says what it makes of it
        return None


def is_in_cache(out: DvcOutput) -> bool:
    """Whether the cache has all of the recorded version, as DVC's `Output.changed_cache` asks.

    Objects that are not read-only are hashed, and damaged ones removed.
    """
    recorded = read_recorded(out)
    if recorded is None:
        return not out.changed_cache()
    cache: LocalHashFileDB = out.cache
    try:
        for md5 in (str(out.hash_info.value), *set(recorded.values())):
            # DVC trusts what is read-only, too: it made it so when it knew the hash.
            if stat.S_IMODE(os.stat(place_in(cache, md5)).st_mode) != cache.CACHE_MODE:
                cache.check(md5)
    except (FileNotFoundError, ObjectFormatError):
        return False
    return True


class Look:
    """One look at workspace and cache: what several stages name is hashed and checked once.

    The output of a stage is read by others, so that DVC would hash the files of a collection
    once for each stage they pass through.
    """

    def __init__(self) -> None:
        self._hashes: dict[tuple[str, str], HashInfo] = {}
        self._is_in_cache: dict[tuple[str, str], bool] = {}

    def status(self, out: DvcOutput, content: FolderContent | None = None) -> Mapping[str, object]:
        """What ``out.status()`` returns: by name, what is to be said of it.

        Args:
            out: An output or a dependency.
            content: What stands there, if it was hashed already.

        Raises:
            DataBeingWrittenError: when a file changes meanwhile.
        """
        if content is not None:
            self._hashes[out.fs_path, out.hash_name] = content.hash_info
        if not _is_in_workspace(out):
            said: Mapping[str, object] = out.status()
            return said
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
            self._hashes[key] = hash_folder(out.repo, out) or out.get_hash()
        return self._hashes[key]

    def _finds_in_cache(self, out: DvcOutput) -> bool:
        key = (out.hash_name, out.hash_info.value)
        if key not in self._is_in_cache:
            known = out.obj
            self._is_in_cache[key] = is_in_cache(out)
            # Listings of many files would else stay in memory as long as the repository is open.
            out.obj = known
        return self._is_in_cache[key]


def _is_in_workspace(out: DvcOutput) -> bool:
    """Whether it is a file or folder of this machine that DVC knows by its content alone."""
    by_content = (DvcOutput.workspace_status, Dependency.workspace_status)
    return (
        out.protocol == "local"
        and type(out).status is DvcOutput.status
        and type(out).workspace_status in by_content
    )
