"""Copying objects between a cache and a folder remote, in threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dvc_data.hashfile.db.local import LocalHashFileDB

from registry_assets.dvc_repo.folders.links import copy_file, in_one_go
from registry_assets.dvc_repo.folders.many_files import map_in_threads
from registry_assets.dvc_repo.folders.state import HASH
from registry_assets.dvc_repo.versions import place_in
from registry_assets.model import FOLDER_SUFFIX

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

_CHUNK = 2**20


class _DamagedError(Exception):
    """The hash of an object differs from its name."""


def are_folders(*stores: HashFileDB) -> bool:
    """Whether all stores are local folders with DVC 3 hashes."""
    return all(isinstance(s, LocalHashFileDB) and s.hash_name == HASH for s in stores)


def copy_objects(
    source: HashFileDB, target: HashFileDB, oids: Sequence[str], *, verify: bool
) -> Mapping[str, Exception]:
    """Copies objects, overwriting existing ones.

    Args:
        source: The store to copy from.
        target: The store to copy to.
        oids: The names of the objects.
        verify: Whether to hash each object; damaged ones are silently not copied.

    Returns:
        The errors, by name of the object.
    """

    def copy(oid: str) -> OSError | None:
        try:
            _copy(place_in(source, oid), target, oid, verify)
        except OSError as error:
            return error
        return None

    errors = dict(zip(oids, map_in_threads(copy, oids), strict=True))
    return {oid: error for oid, error in errors.items() if error is not None}


def _copy(source: str, target: HashFileDB, oid: str, verify: bool) -> None:
    place = place_in(target, oid)
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        make_folder: Callable[[str], None] = target.makedirs
        make_folder(folder)
    with suppress(_DamagedError):
        with in_one_go(place) as fresh:
            if not verify:
                copy_file(source, fresh)
            elif _copy_and_hash(source, fresh) != oid.removesuffix(FOLDER_SUFFIX):
                raise _DamagedError
        with suppress(OSError):
            os.chmod(place, LocalHashFileDB.CACHE_MODE)


def _copy_and_hash(source: str, target: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    size = os.stat(source).st_size
    with open(source, "rb", buffering=0) as old, open(target, "xb") as new:
        while data := old.read(min(_CHUNK, size + 1)):
            digest.update(data)
            new.write(data)
    return digest.hexdigest()
