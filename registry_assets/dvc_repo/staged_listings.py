"""The listings of folders that dvc-data leaves in fsspec's file system in memory.

That file system is one for the whole process, with ``memory://`` files of whoever runs us in it.
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
"""Held by other threads while DVC hashes a folder in them: it writes a listing, then reads it."""


class StagedListings:
    """Drops the listings that come from now on, once the cache has them.

    Every folder that DVC itself hashes, because of links in it, leaves one for the life of the
    process, and looking one up goes through all of them: N folders would cost N².

    Args:
        repo: The repository whose cache is meant.
    """

    def __init__(self, repo: Repo) -> None:
        self._cache = repo.cache.local
        self._before = self._names()

    def drop(self) -> None:
        """Drops those that the cache has; no other file, and none that was there before."""
        if not hashing.acquire(blocking=False):
            # The next time: hashing takes as long as there is to read.
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
