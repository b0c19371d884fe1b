"""Whether the objects of a version are in the cache, and hold what their names say."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile import load as load_object
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from registry_assets.dvc_repo.versions import caches_of

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

_DIRECTORY = ".dir"


@dataclass(frozen=True)
class CachedObject:
    """One object of a version, as the cache has it.

    Attributes:
        name: The path inside the output's folder, "" for the output itself (of a folder: its
            listing).
        place: Where the object is, or would be.
        hash_name: How DVC calls the hash that its name is made of.
    """

    name: str
    place: Path
    hash_name: str

    @property
    def is_listing(self) -> bool:
        """Whether it says what is in a folder."""
        return self.place.name.endswith(_DIRECTORY)


@dataclass(frozen=True)
class CacheState:
    """How the cache holds one version.

    Attributes:
        objects: How many objects the version has, each content once; a listing counts.
        missing: Those that are not there.
        hashed: How many were read and hashed.
        damaged: Those of them that do not hash to their names.
    """

    objects: int
    missing: tuple[CachedObject, ...]
    hashed: int
    damaged: tuple[CachedObject, ...]


def read_cache_states(
    repo: Repo, recorded: Mapping[str, str], most_hashed: int | None
) -> Mapping[str, CacheState]:
    """Looks for the objects of versions in the cache, and hashes some of them, or all.

    Listings are hashed in any case: what the version has is not known but from them.

    Args:
        repo: The opened repository.
        recorded: The md5 that is recorded for each path.
        most_hashed: How many files to hash in all, chosen by chance; None for every one.
    """
    listed = {path: list(_objects_of(repo, md5)) for path, md5 in recorded.items()}
    by_place = {item.place: item for items in listed.values() for item in items}
    present = {place: item for place, item in by_place.items() if place.exists()}
    files = [item for item in present.values() if not item.is_listing]
    if most_hashed is not None and len(files) > most_hashed:
        files = random.sample(files, most_hashed)
    chosen = [*(item for item in present.values() if item.is_listing), *files]
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        verdicts = pool.map(_is_intact, chosen)
        intact = {item.place: verdict for item, verdict in zip(chosen, verdicts, strict=True)}
    return {
        path: CacheState(
            objects=len(items),
            missing=tuple(item for item in items if item.place not in present),
            hashed=sum(item.place in intact for item in items),
            damaged=tuple(item for item in items if not intact.get(item.place, True)),
        )
        for path, items in listed.items()
    }


def _objects_of(repo: Repo, md5: str) -> Iterator[CachedObject]:
    odb = _cache_with(repo, md5)
    hash_name = str(odb.hash_name)
    yield CachedObject("", Path(odb.oid_to_path(md5)), hash_name)
    if not md5.endswith(_DIRECTORY):
        return
    try:
        tree = load_object(odb, HashInfo(hash_name, md5))
    except (FileNotFoundError, ObjectFormatError):
        return
    if isinstance(tree, Tree):
        of_object = {str(info.value): "/".join(key) for key, _, info in tree}
        for file, name in of_object.items():
            yield CachedObject(name, Path(odb.oid_to_path(file)), hash_name)


def _cache_with(repo: Repo, md5: str) -> HashFileDB:
    """The cache that has an object, else the one that it would be in."""
    caches = caches_of(repo)
    return next((odb for odb in caches if Path(odb.oid_to_path(md5)).exists()), caches[0])


def _is_intact(item: CachedObject) -> bool:
    wanted = (item.place.parent.name + item.place.name).removesuffix(_DIRECTORY)
    return bool(file_md5(str(item.place), name=item.hash_name) == wanted)
