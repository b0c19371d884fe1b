"""The objects of one remote: find, send, receive, remove.

DVC caches on this machine which objects it has sent. Here the remote itself is queried.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_data.hashfile.db import get_index
from dvc_data.hashfile.hash import file_md5
from dvc_objects.errors import ObjectFormatError

from registry_assets.dvc_repo.folders.copying import are_folders, copy_objects
from registry_assets.dvc_repo.opening import Report, check_cache_of
from registry_assets.dvc_repo.remote_errors import (
    RemotePlace,
    hidden_cause,
    place_of,
    reaching_remote,
    translate,
)
from registry_assets.dvc_repo.versions import place_in
from registry_assets.errors import (
    DvcError,
    RemoteAccessError,
    RemoteError,
)
from registry_assets.model import FOLDER_SUFFIX, is_folder
from registry_assets.units import few_of
from registry_assets.writing import sync_disks

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

# Up to this number, objects are looked up one by one; above, the whole remote is listed.
_FEW = 500
# Objects are transferred in chunks, so that a remote that went away is noticed after one chunk, and
# not after a timeout for every object. The size of a chunk for folders, and for other remotes per
# parallel transfer.
_IN_FOLDERS = 1000
_ROUNDS = 4
_REPORT_SECONDS = 10.0


class Store:
    """The objects of one remote.

    Args:
        repo: The opened repository.
        name: The remote (default: the default remote).
        hash_name: DVC's name of the hash.

    Raises:
        DvcError: when there is no remote of that name, or no default one.
        RemoteError: when the remote cannot be used.
    """

    def __init__(self, repo: Repo, name: str | None, hash_name: str) -> None:
        name = name or repo.config["core"].get("remote")
        if not name:
            raise DvcError(
                "there is no default remote: `dvc remote add --default storage URL` makes one, "
                'see "Remotes" in the documentation'
            )
        self._repo = repo
        self.place: RemotePlace = place_of(repo, name)
        with reaching_remote(self.place):
            self._odb: HashFileDB = repo.cloud.get_remote_odb(name, "push", hash_name)

    def find_sizes(self, oids: Collection[str]) -> Mapping[str, int]:
        """The sizes, in bytes, of the objects that the remote has.

        Raises:
            RemoteError: when the remote cannot be used.
        """
        with reaching_remote(self.place):
            if are_folders(self._odb):
                return dict(self._sizes_in_folder(oids))
            filesystem = self._odb.fs
            filesystem.fs.invalidate_cache()
            if len(oids) > _FEW and filesystem.protocol != "local":
                return self.list_sizes(oids)
            paths = [self._odb.oid_to_path(oid) for oid in oids]
            infos = filesystem.info(paths, batch_size=filesystem.jobs, return_exceptions=True)
            sizes = {}
            for oid, info in zip(oids, infos, strict=True):
                if isinstance(info, FileNotFoundError):
                    if (cause := hidden_cause(info)) is not None:
                        raise cause
                    continue
                if isinstance(info, BaseException):
                    raise info
                sizes[oid] = int(info["size"])
            return sizes

    def _sizes_in_folder(self, oids: Iterable[str]) -> Iterator[tuple[str, int]]:
        for oid in oids:
            with suppress(FileNotFoundError):
                yield oid, os.stat(place_in(self._odb, oid)).st_size  # noqa: PTH116 - many

    def list_sizes(self, oids: Collection[str]) -> Mapping[str, int]:
        """Like `find_sizes`, by listing the whole remote: faster for many objects; not for folders.

        Raises:
            RemoteError: when the remote cannot be used.
        """
        wanted = set(oids)
        sizes = {}
        with reaching_remote(self.place):
            listed = self._odb.fs.fs.find(self._odb.path, detail=True)
        for path, info in listed.items():
            try:
                oid = self._odb.path_to_oid(path)
            except ValueError:
                continue  # not an object
            if oid in wanted:
                sizes[oid] = int(info["size"])
        return sizes

    def find_damaged(self, oids: Collection[str]) -> set[str]:
        """Hashes objects on the remote; returns those whose hash differs from their name.

        Raises:
            RemoteError: when one cannot be read.
        """

        def is_damaged(oid: str) -> bool:
            path = self._odb.oid_to_path(oid)
            found = file_md5(path, self._odb.fs, name=self._odb.hash_name)
            return bool(found != oid.removesuffix(FOLDER_SUFFIX))

        with reaching_remote(self.place), ThreadPoolExecutor(self._odb.fs.jobs) as pool:
            verdicts = list(pool.map(is_damaged, oids))
        return {oid for oid, damaged in zip(oids, verdicts, strict=True) if damaged}

    def send(self, cache: HashFileDB, oids: Sequence[str], report: Report) -> None:
        """Copies objects from the cache to the remote, overwriting existing ones.

        Raises:
            RemoteError: when one could not be copied; others may be copied by then.
        """
        for chunk in self._chunks(oids, "pushed", report):
            with reaching_remote(self.place):
                errors = _copy(cache, self._odb, chunk, self._odb.fs.jobs, verify=False)
            for error in errors.values():
                raise translate(error, self.place)
        if are_folders(self._odb):
            # Next, metafiles that name them are published.
            sync_disks(Path(self._odb.path))

    def receive(self, cache: HashFileDB, names: Mapping[str, str], report: Report) -> None:
        """Copies objects that the cache lacks from the remote, and hashes them.

        Args:
            cache: The cache; damaged objects are not added.
            names: The name of each object in messages, by md5.
            report: Takes lines of progress.

        Raises:
            RemoteError: when one is missing or damaged, or could not be copied; the others stay.
            RefusedError: when the disk of the cache is not mounted.
        """
        check_cache_of(self._repo)
        wanted = [oid for oid in names if not _is_in(cache, oid)]
        for chunk in self._chunks(wanted, "pulled", report):
            with reaching_remote(self.place):
                errors = _copy(self._odb, cache, chunk, self._odb.fs.jobs, verify=True)
            self._check_received(cache, chunk, names, errors)
        if wanted:
            sync_disks(Path(cache.path))

    def remove(self, oids: Sequence[str], report: Report) -> None:
        """Removes objects, and clears DVC's index of the remote, as `dvc gc` does.

        Raises:
            RemoteError: when one could not be removed; others may be removed by then.
        """
        for chunk in self._chunks(oids, "removed", report):
            there = list(self.find_sizes(chunk))
            if there:
                with reaching_remote(self.place):
                    self._remove([self._odb.oid_to_path(oid) for oid in there])
        get_index(self._odb).clear()
        left = self.find_sizes(oids)
        if left:
            raise RemoteAccessError(
                self.place.name, self.place.url, f"{len(left)} objects were not removed"
            )

    def _remove(self, paths: Sequence[str]) -> None:
        try:
            self._odb.fs.remove(list(paths))
        except NotImplementedError:
            name, url = self.place.name, self.place.url
            step = "remove the objects on the server"
            raise RemoteError(name, url, "does not support removing objects", step) from None

    def _check_received(
        self,
        cache: HashFileDB,
        oids: Sequence[str],
        names: Mapping[str, str],
        errors: Mapping[str, BaseException],
    ) -> None:
        for error in errors.values():
            if not isinstance(error, FileNotFoundError):
                raise translate(error, self.place)
        if errors:
            lacks = [names[oid] for oid in errors]
            raise RemoteError(
                self.place.name,
                self.place.url,
                f"lacks {few_of(lacks)}",
                "run `registry push` on a machine that has them in its cache, or materialize again",
            )
        damaged = [names[oid] for oid in oids if not Path(cache.oid_to_path(oid)).exists()]
        if damaged:
            raise RemoteError(
                self.place.name,
                self.place.url,
                f"has damaged objects: {few_of(damaged)}",
                "run `registry push --full` on a machine that has them in its cache, to replace "
                "them",
            )

    def _chunks(self, oids: Sequence[str], verb: str, report: Report) -> Iterator[list[str]]:
        size = _IN_FOLDERS if are_folders(self._odb) else self._odb.fs.jobs * _ROUNDS
        reported = time.monotonic()
        for end in range(size, len(oids) + size, size):
            yield list(oids[end - size : end])
            if end < len(oids) and time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                report(f"{verb} {end} of {len(oids)} objects")


def _copy(
    source: HashFileDB, target: HashFileDB, oids: list[str], jobs: int, *, verify: bool
) -> Mapping[str, BaseException]:
    """Copies objects, overwriting existing ones; returns the errors by object.

    With `verify`, objects whose hash differs from their name are silently not added.
    """
    if are_folders(source, target):
        return copy_objects(source, target, oids, verify=verify)
    errors: dict[str, BaseException] = {}
    target.add(
        [source.oid_to_path(oid) for oid in oids],
        source.fs,
        oids,
        check_exists=False,
        verify=verify,
        on_error=errors.__setitem__,
        batch_size=jobs,
    )
    return errors


def _is_in(cache: HashFileDB, oid: str) -> bool:
    """Whether the cache has an object, undamaged; hashes it unless it is read-only."""
    try:
        cache.check(oid)
    except (FileNotFoundError, ObjectFormatError):
        return False
    # Listings are always hashed: a damaged one would name wrong files.
    return not is_folder(oid) or bool(
        file_md5(place_in(cache, oid), name=cache.hash_name) == oid.removesuffix(FOLDER_SUFFIX)
    )
