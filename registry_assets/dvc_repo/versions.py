"""Versions of outputs, and where their objects are in the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.plain_yaml import dumps
from registry_assets.model import Version

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage
    from dvc_data.hashfile.db import HashFileDB


def version_of(out: DvcOutput) -> Version | None:
    """The version that a metafile records for an output or dependency."""
    if not out.hash_info or not isinstance(out.hash_info.value, str):
        # Not recorded, or a dataset dependency (``ds://``), which has no hash.
        return None
    meta = out.meta
    return Version(out.hash_info.value, meta.size, meta.nfiles)


def version_of_run(entries: Mapping[str, Any], name: str) -> Version | None:
    """The version of the last run of a stage without outputs; None if it never ran.

    It is the md5 of the stage's entry in ``dvc.lock``, as DVC prints it.

    Args:
        entries: Entries of the ``dvc.lock``, by name.
        name: The stage.
    """
    entry = entries.get(name)
    if not entry:
        return None
    return Version(hashlib.md5(dumps(entry).encode(), usedforsecurity=False).hexdigest())


def path_in_repo(repo: Repo, out: DvcOutput) -> str:
    """The path of an output from the root.

    Outside the repository, its URL or its absolute path, as in the metafile.
    """
    if out.protocol != "local" or (not out.is_in_repo and Path(out.def_path).is_absolute()):
        return str(out.def_path)
    if not out.is_in_repo:
        return Path(os.path.relpath(out.fs_path, repo.root_dir)).as_posix()
    return Path(out.fs_path).relative_to(repo.root_dir).as_posix()


def output_at(repo: Repo, stage: DvcStage, path: str) -> DvcOutput:
    """The output of a ``.dvc`` file at a path; hand-written files may have several outputs."""
    return next(out for out in stage.outs if path_in_repo(repo, out) == path)


def listings_of(repo: Repo) -> Listings:
    """The listings of folders in the cache."""
    return Listings([Path(cache.path) for cache in caches_of(repo)])


def caches_of(repo: Repo) -> tuple[HashFileDB, HashFileDB]:
    """The caches of DVC 3 and DVC 2."""
    return repo.cache.local, repo.cache.legacy


def place_in(cache: HashFileDB, md5: str) -> str:
    """The path of an object in a cache; ten times faster than with `pathlib`."""
    return f"{cache.path}{os.sep}{md5[:2]}{os.sep}{md5[2:]}"
