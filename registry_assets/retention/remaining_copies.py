"""Finding the remaining copies of a picture: in older versions, cache, remotes and elsewhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry_assets.dvc_repo import CachedObject, DvcRepo, Listings, RemoteContents
from registry_assets.git_repo.history import find_paths_of
from registry_assets.images.contents import hash_file
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.intake.setting_aside import SET_ASIDE_FOLDER
from registry_assets.model import is_folder
from registry_assets.registry.contact_sheets import count_kept_sheets
from registry_assets.registry.decisions import Decided, find_decided
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.archive_names import archive_stem
from registry_assets.registry.thumbnails import count_kept_thumbnails
from registry_assets.retention.occurrences import Occurrences, VersionOf
from registry_assets.revisions.changes.version_history import VersionHistory


@dataclass(frozen=True)
class OlderVersion:
    """A version that contains a picture, or derived files, and is not current.

    Attributes:
        path: The path of the output; None if unknown.
        version: The md5 that DVC records.
        files: Number of such files.
        commit: The newest commit that recorded it; None if there is none.
        kept_by: The branches, tags and stashes that have it now.
    """

    path: str | None
    version: str
    files: int
    commit: str | None
    kept_by: tuple[str, ...]


@dataclass(frozen=True)
class RemainingCopies:
    """The remaining copies of a picture.

    Attributes:
        objects: Number of contents searched for: the picture and derived files.
        versions: Older versions that contain it; purging leaves only its name in them.
        cache: The objects in the cache.
        remotes: The objects on each remote, or why it did not answer.
        git: Files with the same content in the history of Git itself.
        loose: Copies in the raw folder outside of collections, and the archives of collections
            that contain it.
        tables: Number of older tables of measurements with a row about it.
        sheets: Number of stored contact sheets of versions that contain it.
        thumbnails: Number of stored thumbnails and previews of it.
        decided: Decisions about it, and about pictures that were left out in its favour.
        unread: Versions whose listings are missing.
    """

    objects: int
    versions: tuple[OlderVersion, ...]
    cache: tuple[CachedObject, ...]
    remotes: tuple[RemoteContents, ...]
    git: tuple[str, ...]
    loose: tuple[str, ...]
    tables: int
    sheets: int
    thumbnails: int
    decided: tuple[Decided, ...]
    unread: tuple[VersionOf, ...]


def find_remaining_copies(
    dvc: DvcRepo,
    lineage: Lineage,
    history: VersionHistory,
    occurrences: Occurrences,
    size: int | None,
) -> RemainingCopies:
    """Find the remaining copies of a picture; asks every remote.

    Args:
        dvc: The repository.
        lineage: The graph, freshly read.
        history: All recorded versions, freshly read.
        occurrences: The picture and derived files.
        size: The size of the picture in bytes, if known.
    """
    listings = dvc.listings()
    contents = occurrences.contents
    older = tuple(find_older(lineage, history, occurrences))
    return RemainingCopies(
        objects=len(contents),
        versions=older,
        cache=tuple(dvc.find_in_cache(contents)),
        remotes=tuple(dvc.find_on_remote(name, contents) for name in dvc.remote_names()),
        git=tuple(_in_git(dvc, listings, occurrences.md5)),
        loose=tuple(_loose(lineage, occurrences, size)),
        tables=_count_tables(listings, lineage, history, contents),
        sheets=count_kept_sheets(dvc.root, [md5 for _, md5 in occurrences.places]),
        thumbnails=count_kept_thumbnails(dvc.root, contents),
        decided=tuple(_decided(lineage, occurrences)),
        unread=tuple({md5: (path, md5) for path, md5 in reversed(occurrences.unread)}.values()),
    )


def find_older(
    lineage: Lineage, history: VersionHistory, occurrences: Occurrences
) -> Iterator[OlderVersion]:
    """The versions that contain a picture and are not current."""
    current = {(n.path, n.version.md5) for n in lineage.nodes.values() if n.version is not None}
    told = {md5 for path, md5 in occurrences.places if history.is_known(path, md5)}
    for (path, md5), places in occurrences.places.items():
        if (path, md5) in current or (md5 in told and not history.is_known(path, md5)):
            continue
        yield OlderVersion(
            path or None,
            md5,
            len(places),
            history.commit_of(path, md5),
            tuple(k for k in history.keepers_of(path, md5) if k != "HEAD"),
        )


def _in_git(dvc: DvcRepo, listings: Listings, md5: str) -> list[str]:
    place = listings.place_of(md5)
    if place is None or not dvc.git.is_present:
        return []
    return find_paths_of(dvc.git, place)


def _loose(lineage: Lineage, occurrences: Occurrences, size: int | None) -> Iterator[str]:
    """Untracked copies in the raw folder; hashes only files of the same size."""
    registry = lineage.registry
    if registry.raw_folder is None:
        return
    raw = registry.root / registry.raw_folder
    tracked = {node.path for node in lineage.nodes.values() if node.kind == "raw"}
    collections = {path.rpartition("/")[2] for path, _ in occurrences.places}
    waiting = [raw]
    while waiting:
        folder = waiting.pop()
        for entry in (
            sorted(os.scandir(folder), key=lambda entry: entry.name) if folder.is_dir() else []
        ):
            path = f"{registry.raw_folder}/{Path(entry.path).relative_to(raw).as_posix()}"
            if entry.is_dir(follow_symlinks=False):
                if path not in tracked:
                    waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                stem = archive_stem(entry.name)
                is_source = stem in collections and folder in (raw, raw / SET_ASIDE_FOLDER)
                is_equal = size == entry.stat().st_size and hash_file(entry.path) == occurrences.md5
                if is_source or (is_equal and path not in tracked):
                    yield path


def _count_tables(
    listings: Listings, lineage: Lineage, history: VersionHistory, contents: Collection[str]
) -> int:
    current = {n.version.md5 for n in lineage.nodes.values() if n.version is not None}
    tables = {
        md5
        for version in {md5 for _, md5 in history.versions if is_folder(md5)} - current
        if listings.names(version, f'"{MEASUREMENTS_TABLE}"')
        for file, md5 in (listings.read(version) or {}).items()
        if file == MEASUREMENTS_TABLE
    }
    wanted = [content.encode() for content in contents]
    texts = (place.read_bytes() for md5 in tables if (place := listings.place_of(md5)) is not None)
    return sum(any(content in text for content in wanted) for text in texts)


def _decided(lineage: Lineage, occurrences: Occurrences) -> Iterator[Decided]:
    contents = set(occurrences.contents)
    raw = lineage.registry.raw_folder
    stood = {
        place.path.removeprefix(f"{raw}/")
        for (path, _), places in occurrences.places.items()
        for place in (places if path.startswith(f"{raw}/") else ())
    }
    for decided in find_decided(lineage.registry):
        decision = decided.decision
        if decision.md5 in contents or decision.duplicate_of in stood:
            yield decided
