"""`registry clone`: a registry from elsewhere, made to work on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from registry_assets.addresses import is_local, is_same_repository, without_secrets
from registry_assets.dvc_repo import check_cache, check_outside
from registry_assets.errors import NotFoundError, RefusedError, RegistryError
from registry_assets.git_repo import GitRepo, check_git
from registry_assets.intake.initialising import check_objects, fit_to_machine, say_unshared
from registry_assets.model import DVC_FOLDER
from registry_assets.registry.home import check_place

_CONFIG = f"{DVC_FOLDER}/config"


def clone_repository(address: str, folder: Path | None, report: Callable[[str], None]) -> Path:
    """Clones a registry with Git, or finds the clone that an earlier attempt made.

    The folder appears once the clone is complete, so that half a one never passes for a registry.

    Args:
        address: Where it is, as Git takes it.
        folder: Where to clone it; named after the address by default, as Git does.
        report: Takes progress.

    Returns:
        The root of the registry in the clone.

    Raises:
        SourceUnreachableError: when it cannot be cloned.
        NotFoundError: when no registry is in it; nothing is left then.
        RefusedError: when something else is in the folder.
        RegistryError: when no registry can be there.
    """
    check_git()
    folder = (folder or Path(default_folder(address))).absolute()
    check_place(folder)
    shown = without_secrets(address)
    if folder.is_dir() and any(folder.iterdir()):
        git = GitRepo(folder)
        if not _is_clone(git, address):
            raise RefusedError(
                f"{folder} is not empty, and no clone of {shown}: name another folder, `registry "
                f"clone {shown} DIR`"
            )
        report(f"{folder} is a clone of {shown} already: going on with what it lacks")
        return folder / _find_registry(git, shown)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RegistryError(f"{folder} is a file or link: name a folder")
    check_outside(folder)
    parent = next(place for place in folder.parents if place.is_dir())
    prefix = f".{folder.name}.cloning-"
    for left in parent.glob(f"{prefix}*"):
        report(f"{left} is what a clone left that was killed, unless one is at work: delete it")
    report(f"cloning {shown}")
    with TemporaryDirectory(prefix=prefix, dir=parent) as scratch:
        git = GitRepo(Path(scratch) / folder.name)
        git.clone(address, asks=sys.stdin.isatty())
        inside = _find_registry(git, shown)
        _move(git.root, folder)
    return folder / inside


def fit_clone(root: Path) -> Iterator[str]:
    """Sets what belongs to this machine, and says why the data may not be reached.

    Raises:
        RefusedError: when the cache that the clone is to share is not there.
    """
    check_cache(root)
    yield from fit_to_machine(root)
    yield from say_unshared(root)


def default_folder(address: str) -> str:
    """The folder that Git clones an address to by default (git-clone, "DIRECTORY")."""
    path = address.rstrip("/").removesuffix("/.git").rstrip("/")
    name = path.replace(":", "/").rpartition("/")[2] if not is_local(path) else Path(path).name
    name = name.removesuffix(".git").removesuffix(".bundle")
    if not name or name == "..":
        raise RegistryError(f"{without_secrets(address)} names no folder: name one after it")
    return name


def _is_clone(git: GitRepo, address: str) -> bool:
    if git.top() != git.root.resolve():
        return False
    wanted = _absolute(address, Path.cwd())
    return any(is_same_repository(_absolute(own, git.root), wanted) for own in git.remotes())


def _absolute(address: str, start: Path) -> str:
    path = address.removeprefix("file://")
    return str((start / path).resolve()) if is_local(path) else address


def _find_registry(git: GitRepo, shown: str) -> str:
    """The folder of the DVC repository in a clone, from its top."""
    check_objects(git)
    found = sorted(
        config.removesuffix(_CONFIG) for config in git.tracked_like([_CONFIG, f"**/{_CONFIG}"])
    )
    if "" in found or len(found) == 1:
        return "" if "" in found else found[0]
    if not found:
        raise NotFoundError(
            f"{shown} has no DVC repository in it, so nothing was kept: `git clone` it and run "
            "`registry init` there to make it a registry, or name another address"
        )
    raise RefusedError(
        f"{shown} has several DVC repositories in it ({', '.join(found)}), so nothing was kept: "
        "`git clone` it, then run `registry init .` and `dvc pull` in the folder that you want"
    )


def _move(source: Path, folder: Path) -> None:
    if folder.is_dir():
        # Somebody may be in it: it is filled, not replaced. Without `.git` it is no clone yet.
        for place in sorted(source.iterdir(), key=lambda place: place.name == ".git"):
            place.rename(folder / place.name)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    source.rename(folder)
