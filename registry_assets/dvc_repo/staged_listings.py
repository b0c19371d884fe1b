"""The listings of folders that dvc-data leaves in fsspec's in-memory file system.

The whole process shares that file system, so it may also have files of the host application.
"""

from __future__ import annotations

import re
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from fsspec.implementations.memory import MemoryFileSystem

from registry_assets.dvc_repo.listings import hash_listing

if TYPE_CHECKING:
    from dvc.repo import Repo

# As `dvc_objects.fs.utils.tmp_fname` names them.
_NAME = re.compile(r"/\.[\w-]{22}\.tmp")

hashing = Lock()
"""Held while DVC hashes a folder in another thread: it writes a listing, then reads it."""


class StagedListings:
    """Drops listings that are added from now on, once the cache has them.

    Each folder that DVC itself hashes leaves one until the process ends, and a look-up scans all of
    them: N folders would cost N².

    Args:
        repo: The repository with the cache.
    """

    def __init__(self, repo: Repo) -> None:
        self._cache = repo.cache.local
        self._before = self._names()

    def drop(self) -> None:
        """Drops the new listings that the cache has; no other file."""
        if not hashing.acquire(blocking=False):
            # Left for the next call: hashing may take long.
            return
        try:
            store = MemoryFileSystem.store
            for name in self._names() - self._before:
                md5 = hash_listing(store[name].getvalue())
                if Path(self._cache.oid_to_path(md5)).exists():
                    del store[name]
        finally:
            hashing.release()

    def _names(self) -> set[str]:
        return {name for name in tuple(MemoryFileSystem.store) if _NAME.fullmatch(name)}
