"""What is recorded of a folder held against the cache and the workspace, as `dvc status` does."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_objects.errors import ObjectFormatError

from registry_assets.dvc_repo.folders.hashing import FolderContent, is_plain, read_folder
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.versions import place_in

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_data.hashfile.db.local import LocalHashFileDB


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


def status_of(repo: Repo, out: DvcOutput, content: FolderContent | None = None) -> dict[str, str]:
    """What DVC's `Output.status` says of an output: nothing where it is as recorded.

    Args:
        repo: The opened repository.
        out: The output.
        content: What stands there, if it was hashed already.

    Raises:
        DataBeingWrittenError: when a file changes meanwhile.
    """
    recorded = read_recorded(out)
    if recorded is not None and content is None:
        content = read_folder(repo, out)
    if recorded is None or content is None:
        return dict(out.status())
    if not is_in_cache(out):
        return {str(out): "not in cache"}
    return {} if content.hash_info == out.hash_info else {str(out): "modified"}
