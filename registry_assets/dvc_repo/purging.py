"""Removing files from tracked folders, and objects from cache and remotes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.build import build
from dvc_data.hashfile.tree import Tree

from registry_assets.dvc_repo.data import ensure_input, remove_empty
from registry_assets.dvc_repo.folders.hashing import check_ends
from registry_assets.dvc_repo.garbage import find_unfinished
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.previous_outputs import recover
from registry_assets.dvc_repo.remotes import keeps_versions
from registry_assets.dvc_repo.store import Store
from registry_assets.dvc_repo.versions import caches_of, listings_of, output_at
from registry_assets.errors import DataModifiedError, DvcError, RegistryError, RemoteError
from registry_assets.model import is_folder
from registry_assets.writing import sync_file

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo

# The hash names of DVC 3 and DVC 2, which keep objects in separate folders of a remote.
_HASHES = ("md5", "md5-dos2unix")


@dataclass(frozen=True)
class CachedObject:
    """An object in the cache.

    Attributes:
        size: In bytes.
        other_names: The number of other hard links to it, as in work trees.
        inode: To find those links.
    """

    md5: str
    place: Path
    size: int
    other_names: int
    inode: int


@dataclass(frozen=True)
class RemoteContents:
    """Which of some objects a remote has.

    Attributes:
        sizes: Sizes in bytes of those that it has, by md5.
        problem: Why the remote could not be used, if so.
    """

    name: str
    url: str
    sizes: Mapping[str, int]
    problem: str | None = None


def check_folder(
    repo: Repo, dvc: RepoAccess, metafile: str, path: str, files: Collection[str]
) -> None:
    """Checks that a tracked folder can be recorded again without some files."""
    if dvc.path_of(path).exists():
        _check(_output(repo, dvc, metafile, path), repo, path, files)


def take_files_out(
    dvc: RepoAccess, repo: Repo, metafile: str, path: str, files: Collection[str], report: Report
) -> None:
    """Removes files of a tracked folder from the workspace, without recording the change."""
    place = dvc.path_of(path)
    with dvc.holding(repo, read=[], write=[str(place)], report=report):
        recover(dvc, repo, report)
        out = _output(repo, dvc, metafile, path)
        if not place.exists():
            ensure_input(dvc, repo, out, report)
        _check(out, repo, path, files)
        for file in files:
            try:
                (place / file).unlink(missing_ok=True)
                remove_empty((place / file).parent, place)
            except OSError as error:
                raise RegistryError(
                    f"{path}/{file} cannot be removed ({error.strerror}): make its folder "
                    "writable, then run this again"
                ) from error


def _output(repo: Repo, dvc: RepoAccess, metafile: str, path: str) -> DvcOutput:
    (stage,) = load_stages(repo, dvc.root, [metafile])
    return output_at(repo, stage, path)


def _check(out: DvcOutput, repo: Repo, path: str, files: Collection[str]) -> None:
    check_ends(out)
    _, _, tree = build(
        out.cache, out.fs_path, out.fs, out.hash_name, ignore=repo.dvcignore, dry_run=True
    )
    recorded = listings_of(repo).read(str(out.hash_info.value))
    if recorded is None or not isinstance(tree, Tree):
        raise DataModifiedError(path)
    there = {"/".join(key): str(info.value) for key, _, info in tree}
    differing = {file for file in {*recorded, *there} if recorded.get(file) != there.get(file)}
    if not differing <= set(files) or any(file in there for file in differing):
        raise DataModifiedError(path)


# --- the cache ---------------------------------------------------------------------------------


def find_in_cache(repo: Repo, md5s: Collection[str]) -> Iterator[CachedObject]:
    """Finds objects in the cache, including that of DVC 2."""
    for cache in caches_of(repo):
        for md5 in md5s:
            place = Path(cache.oid_to_path(md5))
            try:
                status = place.lstat()
            except FileNotFoundError:
                continue
            yield CachedObject(md5, place, status.st_size, status.st_nlink - 1, status.st_ino)


def remove_from_cache(
    dvc: RepoAccess,
    repo: Repo,
    md5s: Collection[str],
    find_needed: Callable[[], Collection[str]],
    others: Sequence[RepoAccess],
    report: Report,
    *,
    sweeps: bool,
) -> Sequence[CachedObject]:
    """Removes objects from the cache, once no other process uses the repository.

    With `sweeps`, also what killed processes did not finish there.
    """
    with ExitStack() as stack:
        for other in others:
            stack.enter_context(_standing_still(other, report))
        stack.enter_context(dvc.everything_held(repo, report))
        recover(dvc, repo, report)
        found = list(find_in_cache(repo, set(md5s) - set(find_needed())))
        # Listings first: DVC takes a folder for complete when its listing exists.
        for item in sorted(found, key=lambda item: not is_folder(item.md5)):
            try:
                item.place.unlink(missing_ok=True)
            except OSError as error:
                raise RegistryError(
                    f"{item.place} cannot be removed ({error.strerror}): remove it as a user "
                    "who may, then run this again"
                ) from error
        for folder in {item.place.parent for item in found}:
            # Removed files must not reappear after a power cut.
            sync_file(folder)
        for place in find_unfinished(repo) if sweeps else ():
            place.unlink(missing_ok=True)
    return found


@contextmanager
def _standing_still(other: RepoAccess, report: Report) -> Iterator[None]:
    """While nothing is recorded in another clone, by us or by `dvc`."""
    with ExitStack() as stack:
        try:
            repo = stack.enter_context(other.open())
            stack.enter_context(other.everything_held(repo, report))
        except (OSError, DvcError) as error:
            raise RegistryError(
                f"the clone {other.root} cannot be locked ({error}), so nothing was removed: fix "
                f"that, or run this as a user who may write to {other.root}/.dvc/tmp"
            ) from error
        yield


# --- remotes -----------------------------------------------------------------------------------


def remote_names(repo: Repo) -> tuple[str, ...]:
    """The names of all configured remotes, the default one first."""
    default = repo.config["core"].get("remote")
    return tuple(sorted(repo.config["remote"], key=lambda name: (name != default, name)))


def find_on_remote(repo: Repo, name: str, md5s: Collection[str]) -> RemoteContents:
    """Looks up which objects a remote has."""
    url = ""
    sizes: dict[str, int] = {}
    try:
        for store in _stores(repo, name):
            url = store.place.url
            sizes |= store.find_sizes(list(md5s))
    except RegistryError as error:
        reason = error.reason if isinstance(error, RemoteError) else str(error)
        return RemoteContents(name, url, {}, reason)
    return RemoteContents(name, url, sizes)


def fetch_listings(repo: Repo, versions: Mapping[str, str], report: Report) -> str | None:
    """Fetches listings of folders that the cache lacks from the default remote."""
    listings = listings_of(repo)
    lacking = {md5: path for md5, path in versions.items() if listings.contents(md5) is None}
    reason = _receive(repo, lacking, report)
    return reason and f"the cache lacks listings of older versions, and {reason}"


def fetch_objects(repo: Repo, names: Mapping[str, str], report: Report) -> str | None:
    """Fetches files that the cache lacks, of any version, from the default remote."""
    place_of = listings_of(repo).place_of
    return _receive(repo, {md5: n for md5, n in names.items() if place_of(md5) is None}, report)


def _receive(repo: Repo, lacking: Mapping[str, str], report: Report) -> str | None:
    """Fetches what the default remote has of some objects; returns why it could not be used."""
    cache = repo.cache.local
    name = repo.config["core"].get("remote")
    if not lacking or not name or keeps_versions(repo, name):
        return None
    try:
        store = Store(repo, name, cache.hash_name)
        there = store.find_sizes(list(lacking))
        store.receive(cache, {md5: lacking[md5] for md5 in there}, report)
    except RegistryError as error:
        return error.reason if isinstance(error, RemoteError) else str(error)
    return None


def remove_from_remote(repo: Repo, name: str, md5s: Sequence[str], report: Report) -> None:
    """Removes objects from a remote; missing ones are skipped."""
    for store in _stores(repo, name):
        store.remove(list(md5s), report)


def _stores(repo: Repo, name: str) -> Iterator[Store]:
    if name not in repo.config["remote"]:
        known = ", ".join(remote_names(repo)) or "none"
        raise RegistryError(f"there is no remote {name}: `dvc remote list` shows them ({known})")
    if keeps_versions(repo, name):
        raise RegistryError(
            f"remote {name} is version-aware (files keep their names, and the storage their "
            "versions): look there by hand"
        )
    for hash_name in _HASHES:
        yield Store(repo, name, hash_name)
