"""Whether the cache has the objects of a version, undamaged."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dvc_data.hashfile.hash import file_md5

from registry_assets.dvc_repo.garbage import scan_objects
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.versions import caches_of, place_in
from registry_assets.model import FOLDER_SUFFIX, is_folder

if TYPE_CHECKING:
    from dvc.repo import Repo


class VersionObject(NamedTuple):
    """An object of a version.

    Attributes:
        name: The path inside the output; "" for the output itself (for a folder, its listing).
        place: The path of the object in the cache, whether or not it exists.
        hash_name: DVC's name of the hash.
    """

    name: str
    place: str
    hash_name: str

    @property
    def md5(self) -> str:
        """The hash in its name."""
        *_, prefix, name = Path(self.place).parts
        return prefix + name

    @property
    def is_listing(self) -> bool:
        """Whether it is the listing of a folder."""
        return is_folder(self.place)


@dataclass(frozen=True)
class CacheState:
    """The state of a version in the cache.

    Attributes:
        objects: The number of distinct objects of the version, including its listing.
        missing: The objects that the cache lacks.
        hashed: The number of objects that were hashed.
        damaged: Hashed objects whose hash differs from their name.
    """

    objects: int
    missing: tuple[VersionObject, ...]
    hashed: int
    damaged: tuple[VersionObject, ...]


def read_cache_states(
    repo: Repo, recorded: Mapping[str, str], most_hashed: int | None
) -> Mapping[str, CacheState]:
    """Checks whether the cache has the objects of versions, and hashes some or all of them."""
    folders = _Folders()
    listed = {path: list(_objects_of(repo, md5)) for path, md5 in recorded.items()}
    missing = {
        path: tuple(item for item in items if not folders.have(item.place))
        for path, items in listed.items()
    }
    gone = {item.place for items in missing.values() for item in items}
    present = {
        item.place: item for items in listed.values() for item in items if item.place not in gone
    }
    files = [item for item in present.values() if not item.is_listing]
    if most_hashed is not None and len(files) > most_hashed:
        files = random.sample(files, most_hashed)
    chosen = [*(item for item in present.values() if item.is_listing), *files]
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        verdicts = pool.map(_is_intact, chosen)
        intact = {item.place: verdict for item, verdict in zip(chosen, verdicts, strict=True)}
    return {
        path: CacheState(
            objects=len(items),
            missing=missing[path],
            hashed=sum(item.place in intact for item in items),
            damaged=tuple(item for item in items if not intact.get(item.place, True)),
        )
        for path, items in listed.items()
    }


def find_damaged_objects(repo: Repo, besides: Collection[str]) -> list[VersionObject]:
    """Hashes every object in the cache; returns those whose hash differs from their name."""
    items = [
        VersionObject("", entry.path, str(cache.hash_name))
        for cache in caches_of(repo)
        for oid, entry in scan_objects(Path(cache.path))
        if oid not in besides
    ]
    with ThreadPoolExecutor() as pool:
        verdicts = pool.map(_is_intact, items)
        return [item for item, is_intact in zip(items, verdicts, strict=True) if not is_intact]


class _Folders:
    """The folders of caches, each listed once: faster than a look-up per object."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def have(self, place: str) -> bool:
        """Whether a path exists."""
        folder, _, name = place.rpartition(os.sep)
        if folder not in self._names:
            names: list[str] = []
            with suppress(FileNotFoundError):
                names = os.listdir(folder)
            self._names[folder] = frozenset(names)
        return name in self._names[folder]


def _objects_of(repo: Repo, md5: str) -> Iterator[VersionObject]:
    cache = next((c for c in caches_of(repo) if Path(place_in(c, md5)).exists()), repo.cache.local)
    hash_name = str(cache.hash_name)
    yield VersionObject("", place_in(cache, md5), hash_name)
    if not is_folder(md5):
        return
    files = Listings([Path(cache.path)]).read(md5) or {}
    of_object = {file: name for name, file in files.items()}
    for file, name in of_object.items():
        yield VersionObject(name, place_in(cache, file), hash_name)


def _is_intact(item: VersionObject) -> bool:
    wanted = item.md5.removesuffix(FOLDER_SUFFIX)
    return bool(file_md5(item.place, name=item.hash_name) == wanted)
