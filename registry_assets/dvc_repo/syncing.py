"""Writing to the disk what was stored in the cache, before a metafile names it.

Syncing each of 20,000 objects takes a hundred times as long as syncing their disk once. So they are
stored first, then synced, and only then does the listing of a folder vouch for its files
(`folders/verifying.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from registry_assets.writing import sync_disks

if TYPE_CHECKING:
    from dvc.repo import Repo

# Where something was stored since the last sync: the listings, with the date that they are to have.
_stored: WeakKeyDictionary[Repo, dict[str, int]] = WeakKeyDictionary()


def note_stored(repo: Repo) -> None:
    """Notes that something is about to be stored, or was written, for `sync_stored`."""
    _stored.setdefault(repo, {})


def vouch_once_synced(repo: Repo, listing: str) -> None:
    """Dates a listing back until `sync_stored`: objects newer than it are not trusted."""
    _stored.setdefault(repo, {})[listing] = Path(listing).stat().st_mtime_ns
    os.utime(listing, ns=(0, 0))


def sync_stored(repo: Repo) -> None:
    """Syncs the disks of cache and workspace, before a metafile names what was stored.

    Raises:
        OSError: when something could not be written.
    """
    if repo in _stored:
        sync_disks(Path(repo.cache.local.path), Path(repo.root_dir))
        for listing, date in _stored.pop(repo).items():
            os.utime(listing, ns=(date, date))


def sync_copies(repo: Repo) -> None:
    """Syncs the disk of the workspace, where files are copies of objects and not links to them."""
    root, cache = Path(repo.root_dir), Path(repo.cache.local.path)
    is_other_disk = cache.exists() and cache.stat().st_dev != root.stat().st_dev
    if is_other_disk or repo.cache.local.cache_types[0] == "copy":
        sync_disks(root)
