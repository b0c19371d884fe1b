"""Removing a collection from a data set: `dvc remove --outs` for all its stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.dvcfile import LOCK_FILE
from dvc_data.hashfile.build import build
from dvc_data.hashfile.tree import Tree

from registry_assets.dvc_repo.folders.hashing import check_ends
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.metafiles import (
    replace_text,
    scratch_folder,
    without_collection,
    without_entries,
)
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.previous_outputs import recover
from registry_assets.dvc_repo.syncing import sync_stored
from registry_assets.dvc_repo.versions import listings_of, path_in_repo
from registry_assets.errors import DataModifiedError, RegistryError
from registry_assets.model import is_folder

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage


def take_collection_out(
    dvc: RepoAccess,
    name: str,
    *,
    metafile: str,
    addresses: Sequence[str],
    collections_file: str | None,
    force: bool,
    report: Report,
) -> list[str]:
    """Removes a collection from a data set; the cache keeps its versions.

    Removes outputs and their entries in ``dvc.lock`` first, then the import, then the name in the
    list of collections, so that it is safe to rerun after an interruption.

    Args:
        dvc: The repository.
        name: The collection.
        metafile: The ``.dvc`` file of its import.
        addresses: The stages that run for it.
        collections_file: The YAML file that lists the collections of the data set.
        force: Whether to remove edited data that is not in the cache.
        report: Takes progress.

    Returns:
        The removed outputs, by path.

    Raises:
        DataModifiedError: when data is not in the cache: edited, or never recorded.
        RegistryError: when the pipeline lists the collection elsewhere.
    """
    with dvc.open() as repo:
        is_imported = dvc.path_of(metafile).exists()
        imports = load_stages(repo, dvc.root, [metafile]) if is_imported else []
        stages = load_stages(repo, dvc.root, addresses)
        listed = _without(dvc, collections_file, name)
        if stages and listed is None:
            raise RegistryError(
                f"{addresses[0]} does not get {name} from a collections.yaml: remove it from "
                f"{addresses[0].partition(':')[0]} by hand"
            )
        outs = [out for stage in (*stages, *imports) for out in stage.outs]
        places = [out.fs_path for out in outs]
        with dvc.holding(repo, read=[], write=places, report=report):
            recover(dvc, repo, report)
            for out in outs if not force else ():
                if out.exists and out.status() and not _is_rest(repo, out):
                    is_recorded = bool(out.hash_info)
                    raise DataModifiedError(path_in_repo(repo, out), is_recorded=is_recorded)
            with dvc.write_lock(repo, report), repo.scm_context(quiet=True):
                for stage in stages:
                    stage.remove_outs(ignore_remove=True, force=True)
                sync_stored(repo)
                _drop_entries(repo, stages)
                for stage in imports:
                    stage.remove(force=True)
                if collections_file is not None and listed is not None:
                    place = dvc.path_of(collections_file)
                    replace_text(place, listed, scratch=scratch_folder(repo))
        return [path_in_repo(repo, out) for out in outs]


def _is_rest(repo: Repo, out: DvcOutput) -> bool:
    """Whether files of a folder are gone, as after an interrupted removal, and nothing else."""
    version = str(out.hash_info.value) if out.hash_info else ""
    recorded = listings_of(repo).read(version) if is_folder(version) else None
    if recorded is None:
        return False
    check_ends(out)
    _, _, tree = build(
        out.cache, out.fs_path, out.fs, out.hash_name, ignore=repo.dvcignore, dry_run=True
    )
    if not isinstance(tree, Tree):
        return False
    return {"/".join(key): str(info.value) for key, _, info in tree}.items() <= recorded.items()


def _without(dvc: RepoAccess, collections_file: str | None, name: str) -> str | None:
    """The text of a list of collections without one; None if it is not listed."""
    if collections_file is None:
        return None
    before = dvc.path_of(collections_file).read_text(encoding="utf-8")
    after = without_collection(before, name)
    return None if after == before else after


def _drop_entries(repo: Repo, stages: Sequence[DvcStage]) -> None:
    names: dict[Path, list[str]] = {}
    for stage in stages:
        names.setdefault(Path(stage.path).with_name(LOCK_FILE), []).append(stage.name)
    for path, dropped in names.items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = without_entries(before, dropped)
        if not after:
            path.unlink(missing_ok=True)
        elif after != before:
            replace_text(path, after, scratch=scratch_folder(repo))
