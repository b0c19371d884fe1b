"""The kinds of links that DVC's `cache.type` names, tried in order."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dvc_objects.fs.utils import tmp_fname, umask

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

# With these, another kind may do (`dvc_objects.fs.generic`); the last: a file has a name too many.
_NO_SUCH_LINK = {
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
_MOST_IN_MEMORY = 2**20


class NotPlainError(Exception):
    """Something that DVC's own way is needed for."""


class Links:
    """Puts files into the cache, or out of it.

    Args:
        cache: The cache.
        kinds: What to try, in order. What the file systems turn out to lack is tried once only.

    Raises:
        NotPlainError: when links are wanted that only DVC makes.
    """

    def __init__(self, cache: HashFileDB, kinds: Sequence[str]) -> None:
        self._fs = cache.fs
        self._kinds = list(kinds)
        if not kinds or kinds[0] not in _KINDS:
            raise NotPlainError

    def hardlink(self, source: str, target: str) -> bool:
        """Gives a file a second name, if that is what comes first.

        Raises:
            FileExistsError: when something has that name.
        """
        while self._kinds and self._kinds[0] == "hardlink":
            try:
                os.link(source, target)
            except OSError as error:
                self._give_up("hardlink", error)
            else:
                return True
        return False

    def hardlink_over(self, source: str, target: str) -> bool:
        """The same, where the name is taken by another file: that one goes when this one comes."""
        fresh = _beside(target)
        if not self.hardlink(source, fresh):
            return False
        _rename(fresh, target)
        return True

    def copy(self, source: str, target: str) -> None:
        """Copies a file to where there is nothing yet: its blocks only by name, if that is wanted.

        Raises:
            NotPlainError: when a copy is not what is wanted.
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
                # A clone may have the permissions of its source: those of the cache.
                os.chmod(target, 0o666 & ~umask)
                return
        raise NotPlainError

    def _give_up(self, kind: str, error: OSError) -> None:
        if error.errno not in _NO_SUCH_LINK:
            raise error
        # Several threads may find out.
        self._kinds = [other for other in self._kinds if other != kind]


def copy_file(source: str, target: str) -> None:
    """As `shutil.copyfile`, which asks the file system a dozen things of each file."""
    size = os.stat(source).st_size
    if size > _MOST_IN_MEMORY:
        shutil.copyfile(source, target)
        return
    left = size + 1
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        # Either may give or take less than it is asked to, as a disk does that is nearly full.
        while left > 1 and (data := old.read(left)):
            left -= len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[new.write(rest) :]


@contextmanager
def in_one_go(target: str) -> Iterator[str]:
    """Gives a name beside a file, and renames what was written there when it is whole."""
    fresh = _beside(target)
    try:
        yield fresh
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    _rename(fresh, target)


def _beside(target: str) -> str:
    # As DVC names them, so that whoever recovers from a crash knows them (`previous_outputs.py`).
    return os.path.join(os.path.dirname(target), tmp_fname())


def _rename(fresh: str, target: str) -> None:
    try:
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise
