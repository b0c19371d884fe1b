"""DVC's state, asked and told about many files at once.

It knows the hash of a file by inode, mtime and size (`dvc_data.hashfile.state`), so that `dvc
status` need not read what is known, and it knows the links that DVC made, so that `dvc checkout`
can remove those that nothing declares any more.
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
"""The hash of DVC 3; that of DVC 2 has another name."""

_ASKED_TOGETHER = 10_000


class FileStatus(NamedTuple):
    """The part of `os.stat_result` that is needed here, in a quarter of its memory."""

    st_dev: int
    st_ino: int
    st_mtime: float
    st_mtime_ns: int
    st_size: int
    st_mode: int
    st_nlink: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStatus:
        """The same of what the file system said."""
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
        status: What the file system says of it; of one that was hashed, what it said before.
        is_object: Whether it is one with the object of the cache.
    """

    name: str
    md5: str
    status: FileStatus
    is_object: bool = False


def find_known(
    repo: Repo, filesystem: FileSystem, statuses: Mapping[str, FileStatus]
) -> Mapping[str, str]:
    """The md5 of files by path, of those that did not change since the state was told."""
    found = {}
    paths = iter(statuses)
    # Some at a time, as a description takes more memory than what is left of it.
    while part := list(islice(paths, _ASKED_TOGETHER)):
        infos = {path: _info_of(statuses[path]) for path in part}
        for path, _, known in repo.state.get_many(part, filesystem, infos):
            if known is not None and known.name == HASH:
                found[path] = str(known.value)
    return found


def tell_hashes(repo: Repo, out: DvcOutput, files: Iterable[HashedFile]) -> None:
    """Tells the state the hashes of files of an output."""
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
    """Tells the state the hashes of objects of the cache, as DVC does of those that it adds.

    Args:
        repo: The repository.
        filesystem: That of the cache.
        objects: Place, md5 and status of each.
    """
    repo.state.save_many(
        ((place, HashInfo(HASH, md5), _info_of(status)) for place, md5, status in objects),
        filesystem,
    )


def tell_links(repo: Repo, out: DvcOutput, files: Iterable[HashedFile]) -> None:
    """Tells the state that DVC put a folder with just these files where it is."""
    prefix = f"{out.fs_path}{os.sep}"
    mtimes = {f"{prefix}{file.name}": file.status.st_mtime for file in files}
    # The token is that of `dvc_data.hashfile.utils`, which would look at every file again.
    token = hashlib.md5(json.dumps(mtimes, sort_keys=True).encode(), usedforsecurity=False)
    repo.state.set_link(out.fs_path, os.lstat(out.fs_path).st_ino, token.hexdigest())


def _info_of(status: FileStatus) -> dict[str, Any]:
    """The part of fsspec's description of a file that the state looks at."""
    return {
        "type": "file",
        "ino": status.st_ino,
        "mtime": status.st_mtime,
        "size": status.st_size,
        "mode": status.st_mode,
    }
