"""Batch access to DVC's state database.

It has the hashes of files by path, inode, mtime and size (`dvc_data.hashfile.state`), so that `dvc
status` need not read unchanged files, and the links that DVC made, so that `dvc checkout` can
remove those that nothing declares any more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dvc_data.hashfile.state import State

from registry_assets.dvc_repo.internals import STATE_ENTRY, state_entry

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc_objects.fs.base import FileSystem

Item = TypeVar("Item")

HASH = "md5"
LEGACY_HASH = "md5-dos2unix"
"""The name of DVC 3's hash; that of DVC 2 is ``md5-dos2unix``."""

_TOLD_TOGETHER = 2_000


# The few numbers that many files have in common: each is one object only.
_shared = dict[int, int]().setdefault


class FileStatus(NamedTuple):
    """The fields of `os.stat_result` that are needed here, with a sixth of its memory."""

    st_dev: int
    st_ino: int
    st_mtime_ns: int
    st_size: int
    st_mode: int
    st_nlink: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStatus:
        """Converts an `os.stat_result`."""
        return cls.of_fields(
            status.st_dev,
            status.st_ino,
            status.st_mtime_ns,
            status.st_size,
            status.st_mode,
            status.st_nlink,
        )

    @classmethod
    def of_fields(
        cls, device: int, inode: int, mtime_ns: int, size: int, mode: int, nlink: int
    ) -> FileStatus:
        """A status of these fields."""
        return cls(_shared(device, device), inode, mtime_ns, size, _shared(mode, mode), nlink)

    @property
    def st_mtime(self) -> float:
        """As Python computes it, and DVC saves it in its state."""
        seconds, nanoseconds = divmod(self.st_mtime_ns, 10**9)
        return seconds + 1e-9 * nanoseconds


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
    if not isinstance(repo.state, State):
        return {}
    found = {}
    others = []
    for path, entry in repo.state.hashes.get_many(statuses):
        if entry is None:
            continue
        before, after = _entry_of(statuses[path])
        if entry.startswith(before) and entry.endswith(after):
            found[path] = entry[len(before) : -len(after)]
        elif not entry.startswith(STATE_ENTRY):
            others.append(path)
    infos = {path: _info_of(statuses[path]) for path in others}
    for path, _, known in repo.state.get_many(others, filesystem, infos):
        if known is not None and known.name == HASH:
            found[path] = str(known.value)
    return found


def tell_hashes(repo: Repo, out: DvcOutput, files: Iterable[HashedFile]) -> None:
    """Saves the hashes of files of an output in the state."""
    prefix = f"{out.fs_path}{os.sep}"
    tell_objects(repo, ((f"{prefix}{file.name}", file.md5, file.status) for file in files))


def tell_objects(repo: Repo, objects: Iterable[tuple[str, str, FileStatus]]) -> None:
    """Saves hashes in the state, as DVC does also for new objects.

    Args:
        repo: The repository.
        objects: Path, md5 and status of each file or object in the cache.
    """
    if not isinstance(repo.state, State):
        return
    entries = ((path, md5.join(_entry_of(status))) for path, md5, status in objects)
    for part in in_batches(entries):
        repo.state.hashes.set_many(part)


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Batches large enough for a transaction of the state, and small enough for memory."""
    iterator = iter(items)
    return iter(lambda: list(islice(iterator, _TOLD_TOGETHER)), [])


def _entry_of(status: FileStatus) -> tuple[str, str]:
    return state_entry(status.st_ino, status.st_mtime, status.st_size)


def tell_links(repo: Repo, out: DvcOutput, files: Iterable[HashedFile]) -> None:
    """Saves in the state that DVC linked a folder with these files into the workspace."""
    prefix = f"{out.fs_path}{os.sep}"
    # The same token as in `dvc_data.hashfile.utils`, which would stat every file again: the md5 of
    # the mtimes by path as JSON, of which only some is in memory at a time.
    token = hashlib.md5(b"{", usedforsecurity=False)
    lines = (
        f"{encode_basestring_ascii(f'{prefix}{file.name}')}: {file.status.st_mtime!r}"
        for file in sorted(files, key=attrgetter("name"))
    )
    separator = ""
    for part in in_batches(lines):
        token.update(f"{separator}{', '.join(part)}".encode())
        separator = ", "
    token.update(b"}")
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
