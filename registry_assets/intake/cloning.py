"""`registry clone`: a clone of a registry, set up for this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from registry_assets.addresses import is_local, is_same_repository, without_secrets
from registry_assets.dvc_repo import check_cache, check_outside
from registry_assets.errors import NotFoundError, RefusedError, RegistryError
from registry_assets.git_repo import GitRepo, check_git, check_no_option, check_own
from registry_assets.intake.initialising import check_objects, fit_to_machine, say_unshared
from registry_assets.model import DVC_FOLDER
from registry_assets.registry.home import check_place
from registry_assets.units import few_of
from registry_assets.writing import sync_disks

_CONFIG = f"{DVC_FOLDER}/config"


def clone_repository(address: str, folder: Path | None, report: Callable[[str], None]) -> Path:
    """Clone a registry with Git, or find the clone of an earlier attempt.

    The folder appears only when the clone is complete.

    Args:
        address: The URL or path, as for `git clone`.
        folder: The folder for the clone (default: named after the address, as by Git).
        report: Called with lines of progress.

    Returns:
        The root of the registry in the clone.

    Raises:
        SourceUnreachableError: when it cannot be cloned.
        NotFoundError: when it contains no DVC repository; the clone is deleted then.
        RefusedError: when the folder contains something else, or Git tracks what is each clone's
            own.
        RegistryError: when the folder cannot be a registry.
    """
    check_git()
    folder = _absolute_folder(folder or Path(default_folder(address)))
    check_place(folder)
    shown = without_secrets(address)
    if folder.is_dir() and any(folder.iterdir()):
        git = GitRepo(folder)
        if not _is_clone(git, address):
            raise RefusedError(
                f"{folder} is not empty and is no clone of {shown}: choose another folder with "
                f"`registry clone {shown} DIR`"
            )
        report(f"{folder} is already a clone of {shown}: adding what is missing")
        return folder / _find_registry(git, shown)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RegistryError(f"{folder} is a file or a link: choose another folder")
    check_outside(folder)
    parent = next(place for place in folder.parents if place.is_dir())
    prefix = f".{folder.name}.cloning-"
    for left in parent.glob(f"{prefix}*"):
        report(f"{left} is left from an interrupted clone: delete it, unless one is still running")
    report(f"cloning {shown}")
    with TemporaryDirectory(prefix=prefix, dir=parent) as scratch:
        git = GitRepo(Path(scratch) / folder.name)
        git.clone(address, asks=sys.stdin.isatty())
        inside = _find_registry(git, shown)
        check_own(git.root / inside)
        sync_disks(parent)
        _move(git.root, folder)
    return folder / inside


def fit_clone(root: Path) -> Iterator[str]:
    """Set up a clone for this machine, and warn if its remote cannot be reached from others.

    Raises:
        RefusedError: when the shared cache in its DVC configuration does not exist.
    """
    check_cache(root)
    yield from fit_to_machine(root)
    yield from say_unshared(root)


def default_folder(address: str) -> str:
    """The default folder of `git clone` for an address (git-clone, "DIRECTORY")."""
    path = address.rstrip("/").removesuffix("/.git").rstrip("/")
    name = path.replace(":", "/").rpartition("/")[2] if not is_local(path) else Path(path).name
    name = name.removesuffix(".git").removesuffix(".bundle")
    if not name or name == "..":
        raise RegistryError(
            f"no folder name follows from {without_secrets(address)}: add the folder as DIR"
        )
    return name


def _absolute_folder(folder: Path) -> Path:
    """Where a folder lies, without `..` and links above it; a link in its own place stays one."""
    if folder.name in ("", ".."):
        return Path(os.path.realpath(folder))
    return Path(os.path.realpath(folder.parent), folder.name)


def _is_clone(git: GitRepo, address: str) -> bool:
    if git.top() != git.root.resolve():
        return False
    wanted = _absolute(address, Path.cwd())
    return any(is_same_repository(_absolute(own, git.root), wanted) for own in git.remotes())


def _absolute(address: str, start: Path) -> str:
    path = address.removeprefix("file://")
    return str((start / path).resolve()) if is_local(path) else address


def _find_registry(git: GitRepo, shown: str) -> str:
    """The folder of the DVC repository in a clone, relative to the top."""
    check_objects(git)
    _check_out_only_branch(git, shown)
    found = sorted(
        config.removesuffix(_CONFIG) for config in git.tracked_like([_CONFIG, f"**/{_CONFIG}"])
    )
    if "" in found or len(found) == 1:
        return "" if "" in found else found[0]
    if not found:
        raise NotFoundError(
            f"{shown} contains no DVC repository, so the clone was deleted: run `git clone`, then "
            "`registry init` in the clone to make it a registry, or choose another address"
        )
    raise RefusedError(
        f"{shown} contains several DVC repositories ({', '.join(found)}), so the clone was "
        "deleted: run `git clone`, then `registry init .` and `dvc pull` in the one that you want"
    )


def _check_out_only_branch(git: GitRepo, shown: str) -> None:
    """Check out a branch where Git did not, as the remote's HEAD names one that it lacks.

    Raises:
        RefusedError: when there is a choice.
    """
    branches = [] if git.commit() is not None else git.remote_branches()
    if len(branches) == 1:
        check_no_option(branches[0])
        git.call("checkout", "--quiet", branches[0], "--")
    elif branches:
        raise RefusedError(
            f"{shown} names {git.branch()} as its default branch, which it does not have; it has "
            f"{few_of(branches)}: `git clone -b BRANCH {shown} DIR`, then `registry clone {shown} "
            "DIR` goes on there"
        )


def _move(source: Path, folder: Path) -> None:
    if folder.is_dir():
        # A shell may be in the folder, so it is not replaced. With `.git` it becomes a clone: last.
        for place in sorted(source.iterdir(), key=lambda place: place.name == ".git"):
            place.rename(folder / place.name)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    source.rename(folder)
