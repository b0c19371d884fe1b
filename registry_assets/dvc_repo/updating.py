"""`dvc import` from another repository, and `dvc update` of what was imported from anywhere.

Everything is fetched into the cache first; the lock is held only to link and to write the metafile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dvc.dependency.repo import RepoDependency
from dvc.fs import LocalFileSystem
from dvc.fs import download as download_files
from dvc.stage.serialize import to_single_stage_file
from dvc_data.hashfile.build import build
from dvc_data.hashfile.transfer import transfer

from registry_assets.addresses import without_secrets
from registry_assets.dvc_repo.data import ensure
from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.metafiles import (
    check_not_kept_out,
    scratch_folder,
)
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.overlaps import check_new
from registry_assets.dvc_repo.plain_yaml import dumps
from registry_assets.dvc_repo.previous_outputs import recover
from registry_assets.dvc_repo.results import Outcome, PendingResult, RecordedOutput
from registry_assets.dvc_repo.sources import (
    address_of_source,
    changes_of_url,
    fetch_commit,
    find_commit,
    find_tip,
    lacks_revision,
    look,
    reaching,
    source_gone,
)
from registry_assets.dvc_repo.tracking import (
    link_import,
    list_collection,
    make_files,
)
from registry_assets.dvc_repo.unseen import check_seen
from registry_assets.dvc_repo.versions import listings_of, path_in_repo, version_of
from registry_assets.errors import (
    RegistryError,
    RepositoryChangedError,
)
from registry_assets.git_repo import is_commit
from registry_assets.model import metafile_of

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta


@contextmanager
def importing_from_repository(
    dvc: RepoAccess,
    url: str,
    source: str,
    path: str,
    *,
    revision: str | None,
    collections_file: str | None,
    new_files: Mapping[str, str] | None = None,
    report: Report,
) -> Iterator[PendingResult]:
    """Imports a path of another repository, as `dvc import` does.

    Args:
        dvc: The repository.
        url: The other repository: a Git URL or a local path.
        source: The path in it.
        path: The path to import to.
        revision: The branch, tag or commit to pin (default: the newest commit).
        collections_file: The YAML file whose list `collections` gets the last part of `path`.
        new_files: Texts of files to create unless they exist, by path.
        report: Takes progress.

    Raises:
        SourceUnreachableError: when the repository or its data cannot be fetched.
        NotFoundError: when it has no such path or revision.
        RefusedError: when DVC would not see the metafile.
    """
    place = dvc.path_of(path)
    if dvc.path_of(metafile_of(path)).exists():
        raise RegistryError(
            f"{path} is imported already: update it with `registry update {path}`, or remove it "
            "with `registry take-out`"
        )
    with dvc.open() as repo:
        check_seen(dvc, repo, metafile_of(path))
    check_not_kept_out(dvc.path_of(metafile_of(path)))
    place.parent.mkdir(parents=True, exist_ok=True)
    with dvc.open() as repo, dvc.holding(repo, read=[], write=[str(place)], report=report):
        recover(dvc, repo, report)
        stage = repo.stage.create(
            single_stage=True,
            validate=False,
            fname=str(dvc.path_of(metafile_of(path))),
            wdir=str(place.parent),
            deps=[source],
            outs=[place.name],
            erepo={"url": url, **({"rev": revision} if revision else {})},
        )
        check_new(dvc, repo, stage)
        report(f"importing {source} from {without_secrets(url)}")
        started = time.monotonic()
        address = address_of_source(repo, stage)
        commit = find_commit(repo, address, revision)
        if commit is None:
            raise lacks_revision(repo, address, revision)
        _take(repo, stage, commit)
        stage.frozen = True
        version = version_of(stage.outs[0])
        assert version is not None, f"{source} was fetched without a hash"

        def record() -> Mapping[str, RecordedOutput]:
            link_import(dvc, repo, stage, is_new=True, report=report)
            make_files(dvc, repo, new_files or {})
            if collections_file is not None:
                list_collection(dvc, repo, collections_file, place.name, report)
            return {path: RecordedOutput(path, version, None, listings_of(repo))}

        yield PendingResult(metafile_of(path), "recorded", time.monotonic() - started, record)


@contextmanager
def updating_import(dvc: RepoAccess, address: str, *, report: Report) -> Iterator[PendingResult]:
    """Updates an import to the current version of its source, with the result of `dvc update`.

    An import pinned to a tag or commit stays there. If that commit is gone from the source, it is
    pinned to the newest commit with the same content.

    Args:
        dvc: The repository.
        address: The ``.dvc`` file.
        report: Takes progress.

    Raises:
        SourceUnreachableError: when the source or its data cannot be fetched.
        NotFoundError: when the source no longer has the path.
        DataModifiedError: when the import was edited by hand.
    """
    with dvc.open() as repo:
        (stage,) = load_stages(repo, dvc.root, [address])
        (out,) = stage.outs
        with dvc.holding(repo, read=[], write=[out.fs_path], report=report):
            recover(dvc, repo, report)
            started = time.monotonic()
            before, text_before = version_of(out), _text(stage)
            if stage.is_repo_import:
                _move_to_tip(repo, stage, report)
            else:
                _move_to_url(repo, stage, report)
            path, version = path_in_repo(repo, out), version_of(out)
            assert version is not None, f"{out} was fetched without a hash"
            outcome: Outcome = "recorded"
            if _text(stage) == text_before:
                outcome = "restored" if ensure(dvc, repo, out, report) else "unchanged"

            def record() -> Mapping[str, RecordedOutput]:
                if outcome == "recorded":
                    link_import(dvc, repo, stage, is_new=False, report=report)
                return {path: RecordedOutput(path, version, before, listings_of(repo))}

            yield PendingResult(address, outcome, time.monotonic() - started, record)


def _text(stage: DvcStage) -> str:
    stage.md5 = stage.compute_md5()
    return dumps(to_single_stage_file(stage))


def _move_to_tip(repo: Repo, stage: DvcStage, report: Report) -> None:
    definition, address = stage.deps[0].def_repo, address_of_source(repo, stage)
    rev: str | None = definition.get(RepoDependency.PARAM_REV)
    recorded: str | None = definition.get(RepoDependency.PARAM_REV_LOCK)
    tip = find_tip(repo, stage)
    if tip is not None and tip == recorded and rev is not None and is_commit(rev):
        tip = _find_again(repo, stage, tip)
        if tip != recorded:
            definition[RepoDependency.PARAM_REV] = tip
    if tip is None:
        raise source_gone(stage, address, rev or "commit")
    if tip != recorded or not stage.outs[0].hash_info:
        report(f"{stage.deps[0].def_path} of {without_secrets(address)} at commit {tip[:7]}")
        _take(repo, stage, tip)


def _find_again(repo: Repo, stage: DvcStage, pinned: str) -> str | None:
    """The pinned commit of an import; if that is gone, the newest one if it has the content."""
    newest = find_commit(repo, address_of_source(repo, stage), None)
    if newest is None or newest == pinned:
        return newest
    found = look(repo, stage, newest)
    if found.has_recorded_commit:
        return pinned
    return newest if found.md5 == str(stage.outs[0].hash_info.value) else None


def _take(repo: Repo, stage: DvcStage, commit: str) -> None:
    """Fetches an import at a commit, and sets version and commit in the stage."""
    if not _has_content_of(repo, stage, commit):
        _note(stage, *fetch_commit(repo, stage, commit))
    stage.deps[0].def_repo[RepoDependency.PARAM_REV_LOCK] = commit


def _has_content_of(repo: Repo, stage: DvcStage, commit: str) -> bool:
    """Whether the source at a commit equals the recorded version, and the cache has that."""
    (out,) = stage.outs
    if not out.hash_info or out.hash_name != "md5" or not is_in_cache(out):
        return False
    return look(repo, stage, commit).md5 == str(out.hash_info.value)


def _note(stage: DvcStage, hash_info: HashInfo, meta: Meta) -> None:
    (out,) = stage.outs
    out.hash_name, out.hash_info, out.meta = hash_info.name, hash_info, meta
    out.obj = out.files = None


def _move_to_url(repo: Repo, stage: DvcStage, report: Report) -> None:
    (dep,), (out,) = stage.deps, stage.outs
    if stage.is_db_import or stage.is_versioned_import:
        raise RegistryError(f"{out} can only be updated with `dvc update {stage.relpath}`")
    change = changes_of_url(dep)
    if change == "deleted":
        raise source_gone(stage, str(dep.def_path), "such file")
    if change is None and out.hash_info:
        return
    report(f"fetching {without_secrets(str(dep.def_path))}")
    with reaching(str(dep.def_path)):
        dep.save()
        taken = (dep.hash_info, dep.meta)
        hash_info, meta = _download(repo, stage)
        dep.save()
    if (dep.hash_info, dep.meta) != taken:
        raise RepositoryChangedError(str(out), "its source changed")
    _note(stage, hash_info, meta)


def _download(repo: Repo, stage: DvcStage) -> tuple[HashInfo, Meta]:
    """Downloads the source of an import from a path or URL into the cache."""
    dep, cache = stage.deps[0], repo.cache.local
    folder = scratch_folder(repo)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as scratch:
        fs, path = dep.fs, dep.fs_path
        if not isinstance(fs, LocalFileSystem):
            fs, path = LocalFileSystem(), str(Path(scratch) / "data")
            download_files(dep.fs, dep.fs_path, path)
        staging, meta, obj = build(cache, path, fs, "md5", ignore=repo.dvcignore)
        transfer(staging, cache, {obj.hash_info}, shallow=False)
    # DVC does not keep the executable bit of imports.
    meta.isexec = False
    return obj.hash_info, meta
