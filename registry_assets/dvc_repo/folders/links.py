"""The link types of DVC's `cache.type`, tried in order."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import TYPE_CHECKING

from dvc_objects.fs.utils import tmp_fname, umask

from registry_assets.dvc_repo.folders.many_files import link_files
from registry_assets.dvc_repo.folders.state import FileStatus

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

# Errors after which the next type is tried (`dvc_objects.fs.generic`). EMLINK: too many hard links.
NO_SUCH_LINK = {
    errno.EPERM,
    errno.ENOTSUP,
    errno.EXDEV,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EAGAIN,
    errno.EMLINK,
}
_KINDS = ("hardlink", "reflink", "copy")
# As `dvc_objects.fs.utils.tmp_fname` names files that are not complete yet.
TEMPORARY = re.compile(r"\.[A-Za-z0-9_-]{22}\.tmp")
_MOST_IN_MEMORY = 2**20


class NotPlainError(Exception):
    """A folder or link type that is left to DVC's own code."""


class Links:
    """Links or copies files between workspace and cache.

    Args:
        cache: The cache.
        kinds: The link types to try, in order. Unsupported ones are tried only once.

    Raises:
        NotPlainError: when the first type is one that only DVC makes.
    """

    def __init__(self, cache: HashFileDB, kinds: Sequence[str]) -> None:
        self._fs = cache.fs
        self._kinds = list(kinds)
        if not kinds or kinds[0] not in _KINDS:
            raise NotPlainError

    def hardlink(self, source: str, target: str) -> bool:
        """Makes a hard link, if that is the first type; returns whether it did.

        Raises:
            FileExistsError: when the target exists.
        """
        while self._kinds and self._kinds[0] == "hardlink":
            try:
                os.link(source, target)
            except OSError as error:
                self._give_up("hardlink", error)
            else:
                return True
        return False

    def hardlink_all(
        self, links: Iterable[tuple[str, str]], count: int, mode: int | None = None
    ) -> Iterator[FileStatus | None]:
        """Makes hard links where that is the first type; yields the status of each, in their order.

        Args:
            links: The source and target of each.
            count: How many they are.
            mode: The permissions that the files are to have (default: as they are).

        Yields:
            None where `hardlink` would tell why a link could not be made.
        """
        if self._kinds[:1] != ["hardlink"]:
            return repeat(None, count)
        made = link_files(links, count, mode)
        return (fields and FileStatus.of_fields(*fields) for fields in made)

    def hardlink_over(self, source: str, target: str) -> bool:
        """Like `hardlink`, but atomically replaces an existing file."""
        fresh = _beside(target)
        if not self.hardlink(source, fresh):
            return False
        _rename(fresh, target)
        return True

    def copy(self, source: str, target: str) -> None:
        """Makes a reflink or copy of a file; the target must not exist.

        Raises:
            NotPlainError: when neither is among the types.
        """
        while self._kinds:
            kind = self._kinds[0]
            if kind == "copy":
                copy_file(source, target)
                return
            if kind != "reflink":
                break
            try:
                self._fs.reflink(source, target)
            except OSError as error:
                with suppress(FileNotFoundError):
                    os.unlink(target)
                self._give_up("reflink", error)
            else:
                # A reflink may have the permissions of its source, an object of the cache.
                os.chmod(target, 0o666 & ~umask)
                return
        raise NotPlainError

    def _give_up(self, kind: str, error: OSError) -> None:
        if error.errno not in NO_SUCH_LINK:
            raise error
        # Not `remove`: several threads may do this.
        self._kinds = [other for other in self._kinds if other != kind]


def copy_file(source: str, target: str) -> None:
    """Like `shutil.copyfile`, with far fewer system calls for small files."""
    size = os.stat(source).st_size
    if size > _MOST_IN_MEMORY:
        shutil.copyfile(source, target)
        return
    left = size + 1
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        # Both may process less than asked for, as on a disk that is nearly full.
        while left > 1 and (data := old.read(left)):
            left -= len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[new.write(rest) :]


@contextmanager
def in_one_go(target: str) -> Iterator[str]:
    """Yields a temporary path beside a file, and renames it to the file if the block succeeds."""
    fresh = _beside(target)
    try:
        yield fresh
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    _rename(fresh, target)


def _beside(target: str) -> str:
    # Named as by DVC, so that they are cleaned up after a crash (`previous_outputs.py`).
    return os.path.join(os.path.dirname(target), tmp_fname())


def _rename(fresh: str, target: str) -> None:
    try:
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise
