"""What a version is: named by metafiles, listed and kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile import load as load_object
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from registry_assets.model import Version

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo


def version_of(out: DvcOutput) -> Version | None:
    """The version that a metafile records for an output or dependency."""
    if not out.hash_info:
        return None
    meta = out.meta
    return Version(str(out.hash_info.value), meta.size, meta.nfiles)


def path_in_repo(repo: Repo, out: DvcOutput) -> str:
    """The path of an output from the root; what the metafile says when it lies outside."""
    if not out.is_in_repo:
        return str(out.def_path)
    return Path(out.fs_path).relative_to(repo.root_dir).as_posix()


def read_listing(repo: Repo, md5: str) -> Mapping[str, str] | None:
    """The files of a folder's version with their md5s, by path inside the folder."""
    try:
        tree = load_object(repo.cache.local, HashInfo("md5", md5))
    except FileNotFoundError:
        return None
    if not isinstance(tree, Tree):
        return None
    return {"/".join(key): str(info.value) for key, _, info in tree}
