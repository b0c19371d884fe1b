"""Whether data that was put under DVC was edited since, hashing only what changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.folders.comparing import Look
from registry_assets.dvc_repo.folders.hashing import hash_folder
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess
from registry_assets.dvc_repo.versions import caches_of, path_in_repo, place_in
from registry_assets.errors import FileNotStorableError

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class Edit:
    """What an output is now, other than its metafile records.

    Attributes:
        is_known: Whether the cache holds the version that it would get: then that is not a new one,
            but one that was recorded before, here or on another branch.
    """

    is_known: bool


def find_edit(dvc: RepoAccess, repo: Repo, metafile: str, path: str) -> Edit | None:
    """Compares an output with its ``.dvc`` file; None when it is as recorded, or not there.

    DVC remembers the hash of every file by its date, size and inode, so that only files that
    changed are read.

    Raises:
        FileNotFoundError: when it is being written.
        DataBeingWrittenError: likewise.
    """
    (stage,) = load_stages(repo, dvc.root, [metafile])
    out = next(out for out in stage.outs if path_in_repo(repo, out) == path)
    try:
        if not out.exists or not Look().status(out):
            return None
        md5 = str((hash_folder(repo, out) or out.get_hash()).value)
    except FileNotStorableError:
        return Edit(is_known=False)
    return Edit(is_known=any(Path(place_in(cache, md5)).exists() for cache in caches_of(repo)))
