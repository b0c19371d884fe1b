"""Restoring versions into the workspace, and pulling them into the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.exceptions import DvcException
from dvc_data.hashfile.checkout import CheckoutError, PromptError, checkout

from registry_assets.dvc_repo.folders.comparing import (
    has_invalid_listing,
    is_in_cache,
    read_recorded,
    verify,
)
from registry_assets.dvc_repo.folders.hashing import check_ends, hash_folder, is_plain
from registry_assets.dvc_repo.folders.linking import link_folder
from registry_assets.dvc_repo.folders.links import NotPlainError
from registry_assets.dvc_repo.folders.state import FileStatus
from registry_assets.dvc_repo.folders.verifying import (
    find_damaged,
    set_aside_damaged,
)
from registry_assets.dvc_repo.loading import address_of
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.previous_outputs import PreviousOutputs
from registry_assets.dvc_repo.remotes import fetch_objects, receive_objects
from registry_assets.dvc_repo.sources import fetch_recorded
from registry_assets.dvc_repo.versions import path_in_repo, place_in
from registry_assets.errors import (
    DataBeingWrittenError,
    DataModifiedError,
    DataNotAvailableError,
    FileNotStorableError,
    RegistryError,
    RemoteError,
)
from registry_assets.units import few_of

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo


def ensure(dvc: RepoAccess, repo: Repo, out: DvcOutput, report: Report) -> bool:
    """Restores the recorded version of an output into the workspace if necessary.

    Returns:
        Whether it was restored.

    Raises:
        DataNotAvailableError: when the version is neither in the cache nor on the remote, or was
            never made.
        DataModifiedError: when this would remove content that is not in the cache.
    """
    path = path_in_repo(repo, out)
    if is_as_recorded(repo, out):
        return False
    if not out.hash_info:
        address = address_of(out.stage)
        how = f"`dvc unfreeze {address}`, then materialize it" if out.stage.frozen else None
        raise DataNotAvailableError(path, "it was never made", how)
    if not out.use_cache:
        if out.exists:
            raise DataModifiedError(path)
        raise DataNotAvailableError(path, "it is not kept in the cache: restore it from Git")
    if not is_in_cache(out):
        fetch(repo, out, report)
    # Locked, as another process may restore the same input.
    with dvc.write_lock(repo, report):
        if is_as_recorded(repo, out):
            return False
        link_from_cache(dvc, repo, out)
    return True


def ensure_input(dvc: RepoAccess, repo: Repo, out: DvcOutput, report: Report) -> None:
    """The same for what something else is made of, of which no outcome would be said."""
    if ensure(dvc, repo, out, report):
        report(f"restored {path_in_repo(repo, out)}")


def is_as_recorded(repo: Repo, out: DvcOutput) -> bool:
    """Whether the workspace has the recorded version of an output, unedited."""
    try:
        found = hash_folder(repo, out) if out.hash_info.isdir else None
        if found is not None:
            return bool(found == out.hash_info)
        check_ends(out)
        return bool(out.exists) and not out.workspace_status()
    except (FileNotFoundError, DataBeingWrittenError, FileNotStorableError):
        # Another process changes it, or it has a file that DVC cannot store.
        return False


def fetch(repo: Repo, out: DvcOutput, report: Report) -> None:
    """Fetches the recorded version of an output into the cache.

    Raises:
        DataNotAvailableError: with DVC's reason.
    """
    path = path_in_repo(repo, out)
    _check_listing(out)
    damaged = _set_aside_damaged(repo, out)
    why = f", which has a damaged object of {damaged}" if damaged else ""
    report(f"pulling {path}{why}")
    try:
        if out.stage.is_repo_import:
            fetch_recorded(repo, out.stage, report)
        else:
            fetch_objects(repo, out, report)
    except RemoteError as error:
        reason = f"{_why_damaged(damaged)}{error.reason}"
        raise DataNotAvailableError(path, reason, error.next_step) from error
    except (DvcException, RegistryError) as error:
        reason = f"{_why_damaged(damaged)}{' '.join(str(error).split())}"
        raise DataNotAvailableError(path, reason) from error
    out.obj = None
    _check_listing(out)
    if not is_in_cache(out):
        raise DataNotAvailableError(path, "some of its objects were not fetched")


def _check_listing(out: DvcOutput) -> None:
    """Checks that the recorded version of a folder, if the cache has its listing, can be restored.

    Raises:
        DataNotAvailableError: when names in the listing lead out of the folder, or it is none.
    """
    if has_invalid_listing(out):
        raise DataNotAvailableError(
            path_in_repo(out.repo, out),
            "its listing is not valid, as if made to lead out of the folder",
            f"do not trust who recorded it (`git log -- {address_of(out.stage)}`)",
        )


def fetch_files(repo: Repo, out: DvcOutput, files: Mapping[str, str], report: Report) -> None:
    """Fetches some files of the recorded version of an output into the cache.

    For an import, the remote of the repository that it comes from may be the only one that has
    them; then the whole version is fetched, as nothing less can be asked for there.
    """
    try:
        receive_objects(repo, out, files, report)
    except RegistryError:
        if not out.stage.is_repo_import:
            raise
        fetch(repo, out, report)


def _set_aside_damaged(repo: Repo, out: DvcOutput) -> str:
    """Renames damaged objects to their actual hash; returns the names of the affected files."""
    if not is_plain(out):
        return ""
    cache, md5 = out.cache, str(out.hash_info.value)
    listing = Path(place_in(cache, md5))
    if out.hash_info.isdir and read_recorded(out) is None and listing.exists():
        status = FileStatus.of(listing.stat())
        set_aside_damaged(repo, cache, find_damaged(repo, cache, {md5: status}))
        return "its listing"
    verified = verify(out)
    damaged = (verified and verified.damaged) or {}
    set_aside_damaged(repo, cache, damaged)
    files = read_recorded(out) or {path_in_repo(repo, out): md5}
    return few_of([name for name, file in files.items() if file in damaged])


def _why_damaged(files: str) -> str:
    if not files:
        return ""
    return f"the cached object of {files} was damaged, perhaps by editing a linked file in place; "


def link_from_cache(dvc: RepoAccess, repo: Repo, out: DvcOutput) -> None:
    """Links the recorded version of an output from the cache into the workspace.

    Raises:
        DataModifiedError: when this would remove content that is not in the cache.
        DataNotAvailableError: when the cache lacks part of it.
    """
    path = path_in_repo(repo, out)
    problem: RegistryError | None = None
    with PreviousOutputs(dvc, address_of(out.stage), {}).linking(
        repo, path, str(out.hash_info.value)
    ):
        try:
            link_folder(repo, out)
            return
        except (DataModifiedError, DataNotAvailableError) as error:
            problem = error
        except NotPlainError:
            problem = _check_out(repo, out)
    if problem is not None:
        raise problem
    out.set_exec()


def remove_empty(folder: Path, top: Path) -> None:
    """Removes a folder and its parents, up to `top`, as long as they are empty."""
    while folder != top:
        if folder.is_dir():
            if any(folder.iterdir()):
                return
            folder.rmdir()
        folder = folder.parent


def _check_out(repo: Repo, out: DvcOutput) -> RegistryError | None:
    """Checks an output out by DVC's own code; returns the error, if any."""
    _check_listing(out)
    try:
        checkout(
            out.fs_path,
            out.fs,
            out.get_obj(),
            out.cache,
            ignore=repo.dvcignore,
            state=repo.state,
            prompt=lambda _question: False,
            checksum_jobs=out.fs.hash_jobs,
        )
    except PromptError:
        return DataModifiedError(path_in_repo(repo, out))
    except CheckoutError as error:
        reason = f"{len(error.paths)} files are missing"
        return DataNotAvailableError(path_in_repo(repo, out), reason)
    return None
