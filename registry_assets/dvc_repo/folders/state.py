"""Batch access to DVC's state database.

It has the hashes of files by path, inode, mtime and size (`dvc_data.hashfile.state`), so that `dvc
status` need not read unchanged files, and the links that DVC made, so that `dvc checkout` can
remove those that nothing declares any more.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from dvc_data.hashfile.hash_info import HashInfo

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_objects.fs.base import FileSystem

HASH = "md5"
"""The name of DVC 3's hash; that of DVC 2 is ``md5-dos2unix``."""

_ASKED_TOGETHER = 10_000


class FileStatus(NamedTuple):
    """The fields of `os.stat_result` that are needed here, with a quarter of its memory."""

    st_dev: int
    st_ino: int
    st_mtime: float
    st_mtime_ns: int
    st_size: int
    st_mode: int
    st_nlink: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStatus:
        """Converts an `os.stat_result`."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_mtime,
            status.st_mtime_ns,
            status.st_size,
            status.st_mode,
            status.st_nlink,
        )


class HashedFile(NamedTuple):
    """A file in the workspace, with its hash.

    Attributes:
        name: The path inside its folder, with ``/``.
        status: Its status from before it was hashed.
        is_object: Whether it is a hard link to its object in the cache.
    """

    name: str
    md5: str
    status: FileStatus
    is_object: bool = False


def find_known(
    repo: Repo, filesystem: FileSystem, statuses: Mapping[str, FileStatus]
) -> Mapping[str, str]:
    """The md5s of unchanged files in the state, by path."""
    found = {}
    paths = iter(statuses)
    # In batches, to save memory: the query takes more than the result.
    while part := list(islice(paths, _ASKED_TOGETHER)):
        infos = {path: _info_of(statuses[path]) for path in part}
        for path, _, known in repo.state.get_many(part, filesystem, infos):
            if known is not None and known.name == HASH:
                found[path] = str(known.value)
    return found


def tell_hashes(repo: Repo, out: DvcOutput, files: Iterable[HashedFile]) -> None:
    """Saves the hashes of files of an output in the state."""
    prefix = f"{out.fs_path}{os.sep}"
    repo.state.save_many(
        (
            (f"{prefix}{file.name}", HashInfo(HASH, file.md5), _info_of(file.status))
            for file in files
        ),
        out.fs,
    )


def tell_objects(
    repo: Repo, filesystem: FileSystem, objects: Iterable[tuple[str, str, FileStatus]]
) -> None:
    """Saves the hashes of objects in the cache in the state, as DVC does for new objects.

    Args:
        repo: The repository.
        filesystem: The file system of the cache.
        objects: Path, md5 and status of each object.
    """
    repo.state.save_many(
        ((place, HashInfo(HASH, md5), _info_of(status)) for place, md5, status in objects),
        filesystem,
    )


def tell_links(repo: Repo, out: DvcOutput, files: Iterable[HashedFile]) -> None:
    """Saves in the state that DVC linked a folder with these files into the workspace."""
    prefix = f"{out.fs_path}{os.sep}"
    mtimes = {f"{prefix}{file.name}": file.status.st_mtime for file in files}
    # The same token as in `dvc_data.hashfile.utils`, which would stat every file again.
    token = hashlib.md5(json.dumps(mtimes, sort_keys=True).encode(), usedforsecurity=False)
    repo.state.set_link(out.fs_path, os.lstat(out.fs_path).st_ino, token.hexdigest())


def _info_of(status: FileStatus) -> dict[str, Any]:
    """The fields of fsspec's file info that the state uses."""
    return {
        "type": "file",
        "ino": status.st_ino,
        "mtime": status.st_mtime,
        "size": status.st_size,
        "mode": status.st_mode,
    }
