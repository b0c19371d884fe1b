"""`dvc add`, `dvc import-url` within a repository, and restoring the output of a ``.dvc`` file."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.output import OutputAlreadyTrackedError

from registry_assets.dvc_repo.data import ensure, fetch, link_from_cache
from registry_assets.dvc_repo.folders.comparing import StatusReader, is_in_cache, read_recorded
from registry_assets.dvc_repo.folders.dangling import check_not_dangling
from registry_assets.dvc_repo.folders.hashing import FolderContent, hash_by_dvc
from registry_assets.dvc_repo.folders.ignoring import (
    METAFILE_ENDINGS,
    describe_pattern,
    find_hidden,
    list_folder,
    refused_reason,
)
from registry_assets.dvc_repo.folders.storing import (
    Contents,
    describe_overwritten,
    note_outputs,
    read_outputs,
    store_outputs,
)
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.metafiles import (
    bring_in_ignore_file,
    check_not_kept_out,
    replace_text,
    scratch_folder,
    with_collection,
    write_dvc_file,
)
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.overlaps import check_fits, check_new
from registry_assets.dvc_repo.previous_outputs import PreviousOutputs, recover
from registry_assets.dvc_repo.remotes import receive_objects
from registry_assets.dvc_repo.results import Outcome, PendingResult, RecordedOutput
from registry_assets.dvc_repo.unseen import check_seen
from registry_assets.dvc_repo.versions import (
    listings_of,
    output_at,
    path_in_repo,
    place_in,
    version_of,
)
from registry_assets.errors import (
    DataNotAvailableError,
    FileNotStorableError,
    NotTrackedError,
    OutputNotFoundError,
    RefusedError,
    RegistryError,
    RemoteError,
)
from registry_assets.leftovers import describe_left_out, find_leftover_in
from registry_assets.model import Version, metafile_of, no_collection
from registry_assets.units import few_of, printable

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage


@contextmanager
def tracking_path(
    dvc: RepoAccess,
    path: str,
    *,
    metafile: str | None = None,
    force: bool = False,
    is_complete: bool = False,
    report: Report,
) -> Iterator[PendingResult]:
    """Tracks a file or folder, with the same result as `dvc add`.

    If nothing is at the path, the recorded version is restored instead.

    Args:
        dvc: The repository.
        path: From the root.
        metafile: The ``.dvc`` file that declares it (default: the one beside it).
        force: Whether to record the content again even if it seems unchanged.
        is_complete: Whether to refuse a folder with files that DVC ignores.
        report: Takes progress.

    Raises:
        OutputNotFoundError: when there is neither data nor a metafile.
        RefusedError: when DVC does not see the metafile, Git keeps it out of the work tree, or the
            folder has files that DVC ignores and must be complete.
        LinksLeadNowhereError: when recorded data is links into a cache that is not there.
        DvcError: when the path overlaps with a tracked one.
    """
    with dvc.open() as repo:
        place = dvc.path_of(path)
        with dvc.holding(repo, read=[], write=[str(place)], report=report):
            recover(dvc, repo, report)
            started = time.monotonic()
            metafile = metafile or metafile_of(path)
            stage = _load(repo, dvc, metafile)
            if place.is_dir():
                check_not_dangling(repo, path, metafile)
            out = output_at(repo, stage, path) if stage else None
            if stage is None and not place.exists():
                raise OutputNotFoundError(path)
            before = version_of(out) if out else None
            aside = PreviousOutputs(dvc, metafile, {path: before.md5 if before else None})
            outcome: Outcome = "recorded"
            contents: Contents | None = None
            if out is not None and before is not None and not place.exists():
                ensure(dvc, repo, out, report)
                outcome = "restored"
            elif stage is not None and out is not None and not force:
                contents = read_outputs(repo, stage)
                if not StatusReader().status(out, contents[out.fs_path]):
                    outcome = "unchanged"

            def record() -> Mapping[str, RecordedOutput]:
                if outcome == "recorded":
                    version = _add(
                        dvc, repo, path, stage, contents, aside, report, is_complete=is_complete
                    )
                else:
                    assert before is not None
                    version = before
                return {path: RecordedOutput(path, version, before, listings_of(repo))}

            yield PendingResult(metafile, outcome, time.monotonic() - started, record)


def _add(
    dvc: RepoAccess,
    repo: Repo,
    path: str,
    stage: DvcStage | None,
    contents: Contents | None,
    aside: PreviousOutputs,
    report: Report,
    *,
    is_complete: bool,
) -> Version:
    is_new = stage is None
    stage = stage or _new_stage(dvc, repo, path)
    out = output_at(repo, stage, path)
    # Hashed before the lock is taken.
    contents = contents or read_outputs(repo, stage)
    content = contents[out.fs_path]
    if is_complete:
        _check_complete(repo, out, path, content, report)
    md5 = str((content.hash_info if content else hash_by_dvc(out)).value)
    with (
        dvc.write_lock(repo, report),
        repo.scm_context(quiet=True),
        aside.linking(repo, path, md5),
    ):
        if is_new:
            check_new(dvc, repo, stage)
        before = note_outputs(stage, contents)
        overwritten = store_outputs(repo, stage, contents, before)
        stage.md5 = stage.compute_md5()
        write_dvc_file(stage)
    if overwritten:
        _bring_back(repo, out, overwritten, report)
    version = version_of(out)
    assert version is not None, f"{out} was added without a hash"
    return version


def _bring_back(repo: Repo, out: DvcOutput, overwritten: Mapping[str, str], report: Report) -> None:
    """Fetches objects that were edited in place again, and reports the result."""
    for place, md5 in overwritten.items():
        report(describe_overwritten(repo, place, md5))
    names = {md5: Path(place).name for place, md5 in overwritten.items()}
    try:
        receive_objects(repo, out, names, report)
    except RegistryError as error:
        problem = error.reason if isinstance(error, RemoteError) else str(error)
        lost = [name for md5, name in names.items() if not Path(place_in(out.cache, md5)).exists()]
        report(
            f"lost the recorded content of {few_of(lost)}: only a backup or another clone may "
            f"have it ({problem})"
        )
    else:
        report(f"fetched the recorded content of {few_of(list(names.values()))} again")
    report(f"run `dvc unprotect {path_in_repo(repo, out)}` before editing files in place")


def _check_complete(
    repo: Repo, out: DvcOutput, path: str, content: FolderContent | None, report: Report
) -> None:
    """Checks that a new version has every file in the folder.

    Files that file managers leave behind are ignored on purpose, and only reported.

    Raises:
        RefusedError: naming files that DVC ignores.
        FileNotStorableError: naming a new metafile in the folder, which `dvc add` refuses.
    """
    if content is not None:
        names, ignored = [file.name for file in content.files], content.ignored
    elif out.isdir():
        names, ignored = list_folder(repo, str(out.fs_path))
    else:
        return
    leftovers: Counter[str] = Counter()
    left_out = []
    for name in ignored:
        pattern = find_leftover_in(name.rstrip("/"), is_folder=name.endswith("/"))
        nfiles = _count_files(out, name)
        if pattern is not None:
            leftovers[pattern] += nfiles
        elif nfiles:
            left_out.append(name)
    if left_out:
        rule = describe_pattern(repo, f"{out.fs_path}/{left_out[0].rstrip('/')}")
        raise RefusedError(f"{path} cannot be recorded: {_describe_files_left_out(left_out, rule)}")
    metafiles = [name for name in names if name.endswith(METAFILE_ENDINGS)]
    before = read_recorded(out) or {} if metafiles else {}
    for name in metafiles:
        reason = refused_reason(name.rpartition("/")[2], is_folder=False)
        if reason is not None and name not in before:
            raise FileNotStorableError(f"{path}/{name}", reason)
    if leftovers.total():
        report(f"{path}: {describe_left_out(leftovers)}")


def _count_files(out: DvcOutput, name: str) -> int:
    if not name.endswith("/"):
        return 1
    return sum(len(files) for _, _, files in os.walk(f"{out.fs_path}/{name}"))


def find_left_out(dvc: RepoAccess, repo: Repo, path: str) -> str | None:
    """Why an untracked folder would be refused: files in it that DVC ignores."""
    place = str(dvc.path_of(path))
    left_out = list(find_hidden(repo, place))
    if not left_out:
        return None
    return _describe_files_left_out(left_out, describe_pattern(repo, f"{place}/{left_out[0]}"))


def _describe_files_left_out(files: Sequence[str], rule: str) -> str:
    return (
        f"DVC ignores {few_of(list(map(printable, files)))} ({rule}), so no version would have "
        "them: change that line, or take them out of the folder"
    )


def _new_stage(dvc: RepoAccess, repo: Repo, path: str, source: str | None = None) -> DvcStage:
    """A new stage for a ``.dvc`` file, which imports `source` if given; not written yet."""
    place = dvc.path_of(path)
    return repo.stage.create(
        single_stage=True,
        validate=False,
        fname=str(dvc.path_of(metafile_of(path))),
        wdir=str(place.parent),
        outs=[place.name],
        **({} if source is None else {"deps": [os.path.relpath(source, place.parent)]}),
    )


def check_trackable(dvc: RepoAccess, repo: Repo, path: str) -> None:
    """Checks that a path has, or can have, a ``.dvc`` file."""
    check_seen(dvc, repo, metafile_of(path))
    if not dvc.path_of(metafile_of(path)).exists():
        dvc.path_of(path).parent.mkdir(parents=True, exist_ok=True)
        stage = _new_stage(dvc, repo, path)
        check_fits(dvc, repo, stage)
        # `dvc add` checks this, too, but only after writing to `.gitignore`.
        for out in stage.outs:
            if repo.scm.is_tracked(out.fs_path):
                raise OutputAlreadyTrackedError(out)


@contextmanager
def importing_path(
    dvc: RepoAccess,
    source: str,
    path: str,
    *,
    collections_file: str | None = None,
    new_files: Mapping[str, str] | None = None,
    report: Report,
) -> Iterator[PendingResult]:
    """Imports a tracked path to another path, as `dvc import-url` within a repository does.

    The cache has the content already, so it is only linked. An existing import is updated to the
    recorded version of its source.

    Args:
        dvc: The repository.
        source: The tracked path, from the root.
        path: The path to import to.
        collections_file: The YAML file whose list `collections` gets the last part of `path`.
        new_files: Texts of files to create unless they exist, by path.
        report: Takes progress.

    Raises:
        NotFoundError: when the source does not exist.
        NotTrackedError: when no ``.dvc`` file records the source.
        RefusedError: when DVC does not see one of the metafiles, or Git keeps it out of the work
            tree.
    """
    with dvc.open() as repo:
        place = dvc.path_of(path)
        with dvc.holding(repo, read=[str(dvc.path_of(source))], write=[str(place)], report=report):
            recover(dvc, repo, report)
            started = time.monotonic()
            origin = _load(repo, dvc, metafile_of(source))
            version = version_of(origin.outs[0]) if origin else None
            if origin is None and not dvc.path_of(source).exists():
                raise no_collection(Path(source).name, str(Path(source).parent))
            if origin is None or version is None:
                name = Path(source).name
                raise NotTrackedError(f"{name} is not tracked yet: run `registry add {name}`")
            stage = _load(repo, dvc, metafile_of(path))
            before = version_of(stage.outs[0]) if stage else None
            outcome: Outcome = "recorded"
            if stage is not None and before == version and _is_taken_at(stage, version):
                changed = ensure(dvc, repo, stage.outs[0], report)
                outcome = "restored" if changed else "unchanged"

            def record() -> Mapping[str, RecordedOutput]:
                if outcome == "recorded":
                    _import(dvc, repo, origin, path, stage, report)
                make_files(dvc, repo, new_files or {})
                if collections_file is not None:
                    list_collection(dvc, repo, collections_file, place.name, report)
                return {path: RecordedOutput(path, version, before, listings_of(repo))}

            address = metafile_of(path)
            yield PendingResult(address, outcome, time.monotonic() - started, record)


def _is_taken_at(stage: DvcStage, version: Version) -> bool:
    (dep,) = stage.deps
    return version_of(dep) == version


def _import(
    dvc: RepoAccess, repo: Repo, origin: DvcStage, path: str, stage: DvcStage | None, report: Report
) -> None:
    place = dvc.path_of(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    is_new = stage is None
    stage = stage or _new_stage(dvc, repo, path, origin.outs[0].fs_path)
    source, (out,), (dep,) = origin.outs[0], stage.outs, stage.deps
    for item in (dep, out):
        item.hash_name, item.hash_info = source.hash_name, source.hash_info
        item.obj = None
    # DVC does not keep the executable bit of imports.
    dep.meta, out.meta = source.meta, copy(source.meta)
    out.meta.isexec = False
    if not is_in_cache(out):
        fetch(repo, source, report)
    stage.frozen = True
    link_import(dvc, repo, stage, is_new=is_new, report=report)


def link_import(
    dvc: RepoAccess, repo: Repo, stage: DvcStage, *, is_new: bool, report: Report
) -> None:
    """Links an import from the cache, and writes its ``.dvc`` file."""
    (out,) = stage.outs
    with dvc.write_lock(repo, report), repo.scm_context(quiet=True):
        if is_new:
            check_new(dvc, repo, stage)
        bring_in_ignore_file(out)
        out.ignore()
        link_from_cache(dvc, repo, out)
        stage.md5 = stage.compute_md5()
        write_dvc_file(stage)


def make_files(dvc: RepoAccess, repo: Repo, texts: Mapping[str, str]) -> None:
    """Creates files, by path, unless they exist."""
    for path, text in texts.items():
        place = dvc.path_of(path)
        if not place.exists():
            replace_text(place, text, scratch=scratch_folder(repo))


def list_collection(
    dvc: RepoAccess, repo: Repo, collections_file: str, name: str, report: Report
) -> None:
    """Adds a collection to the YAML file that lists the collections of a data set."""
    path = dvc.path_of(collections_file)
    with dvc.write_lock(repo, report):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = with_collection(before, name)
        if after != before:
            replace_text(path, after, scratch=scratch_folder(repo))
            report(f"listed {name} in {collections_file}")


@contextmanager
def restoring_recorded(dvc: RepoAccess, address: str, *, report: Report) -> Iterator[PendingResult]:
    """Restores the recorded version of a ``.dvc`` file, pulling it if the cache lacks it.

    A partial import (``--no-download``) is downloaded, as by `dvc repro`.

    Raises:
        DataNotAvailableError: when it is neither in the cache nor on a remote.
        DataModifiedError: when it was edited by hand.
    """
    with dvc.open() as repo:
        (stage,) = load_stages(repo, dvc.root, [address])
        with dvc.holding(repo, read=[], write=[out.fs_path for out in stage.outs], report=report):
            recover(dvc, repo, report)
            started = time.monotonic()
            before = {path_in_repo(repo, out): version_of(out) for out in stage.outs}
            if stage.is_partial_import:
                outcome: Outcome = "recorded"
                _download(dvc, repo, stage, report)
            else:
                changed = [ensure(dvc, repo, out, report) for out in stage.outs]
                outcome = "restored" if any(changed) else "unchanged"

            def record() -> Mapping[str, RecordedOutput]:
                records = {}
                for out in stage.outs:
                    path, version = path_in_repo(repo, out), version_of(out)
                    if version is None:
                        raise DataNotAvailableError(path, "it was never recorded")
                    records[path] = RecordedOutput(path, version, before[path], listings_of(repo))
                return records

            yield PendingResult(address, outcome, time.monotonic() - started, record)


def _download(dvc: RepoAccess, repo: Repo, stage: DvcStage, report: Report) -> None:
    """Downloads a partial import under the repository lock, as DVC does."""
    report(f"downloading {stage.deps[0]}")
    with dvc.write_lock(repo, report), repo.scm_context(quiet=True):
        stage.run()
        write_dvc_file(stage)


def _load(repo: Repo, dvc: RepoAccess, metafile: str) -> DvcStage | None:
    place = dvc.path_of(metafile)
    check_seen(dvc, repo, metafile)
    check_not_kept_out(place)
    if not place.exists():
        return None
    (stage,) = load_stages(repo, dvc.root, [metafile])
    return stage
