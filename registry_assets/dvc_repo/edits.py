"""Whether data was edited since it was recorded; only changed files are hashed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.folders.comparing import StatusReader
from registry_assets.dvc_repo.folders.dangling import check_not_dangling
from registry_assets.dvc_repo.folders.hashing import FolderContent, hash_by_dvc, read_folder
from registry_assets.dvc_repo.listings import compare_files
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess
from registry_assets.dvc_repo.results import summarise_version
from registry_assets.dvc_repo.versions import (
    caches_of,
    listings_of,
    output_at,
    place_in,
    version_of,
)
from registry_assets.errors import FileNotStorableError
from registry_assets.model import Version, is_folder

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo


@dataclass(frozen=True)
class Edit:
    """An output that differs from its metafile.

    Attributes:
        is_known: Whether the cache has the new version, because it was recorded before, here or on
            another branch.
        is_changed: Whether the content differs; if not, the cache lacks part of the version.
        summary: Size and changes, for people; "" if unknown.
    """

    is_known: bool
    is_changed: bool = True
    summary: str = ""


def find_edit(dvc: RepoAccess, repo: Repo, metafile: str, path: str) -> Edit | None:
    """Compares an output with its ``.dvc`` file; None if it is unchanged or missing.

    Raises:
        LinksLeadNowhereError: when part of it is links into a cache that is not there.
    """
    (stage,) = load_stages(repo, dvc.root, [metafile])
    out = output_at(repo, stage, path)
    try:
        if not out.exists:
            return None
        check_not_dangling(repo, path, metafile)
        content = read_folder(repo, out)
        if not StatusReader().status(out, content):
            return None
        md5 = str((content.hash_info if content is not None else hash_by_dvc(out)).value)
    except FileNotStorableError:
        return Edit(is_known=False)
    return Edit(
        is_known=any(Path(place_in(cache, md5)).exists() for cache in caches_of(repo)),
        is_changed=md5 != out.hash_info.value,
        summary=_summarise(repo, out, content) if content is not None else "",
    )


def _summarise(repo: Repo, out: DvcOutput, content: FolderContent) -> str:
    before = version_of(out)
    listed = listings_of(repo).read(before.md5) if before and is_folder(before.md5) else None
    files = {file.name: file.md5 for file in content.files}
    changes = compare_files(listed, files) if listed is not None else None
    meta = content.meta
    now = Version(str(content.hash_info.value), meta.size, meta.nfiles)
    return summarise_version(now, before, changes)
