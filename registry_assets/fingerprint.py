"""What tells a file or a folder from a later one, without reading it: the one place that says so.

Which to use depends on what must not go unnoticed, and on what must not count:

| use | for | what counts |
|---|---|---|
| `FileIdentity` | one file between two moments | inode, time of writing, size: as DVC's state |
| `TreeFingerprint`, not strict | a tree between two moments of a process | the same, and names |
| `TreeFingerprint`, strict | an answer kept for later processes | also change time and mode |
| `ObjectsFingerprint` | which objects a cache holds | its folders: inode, time of writing |
| `fingerprint_dates` | noticing edits of metafiles, cursors | paths, time of writing, size |
| `fingerprint_totals` | edits of a collection, cursors | number, total size, sum of times |
| `fingerprint_file` | an archive that was unpacked, notes | size, time of writing |
| `measure_extent` | whether a folder is still being written | the newest change time |

Inodes and change times do not count where DVC may link or restore the same content meanwhile. What
cursors and notes store is compared with what later versions of this package make: these texts stay.

File systems tell times apart by up to two seconds (FAT), and a second write within the same tick
leaves the same time: a fingerprint that is kept has to be older than that (`is_settled`).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

SETTLED_SECONDS = 2.0
"""How old the newest change has to be to tell later ones."""

# Of a cache: where objects lie.
_OBJECTS = re.compile(r"[0-9a-f]{2}")


class UntoldChangesError(Exception):
    """A folder behind a link, or one that cannot be listed: changes in there cannot be seen."""


class _Status(Protocol):
    @property
    def st_ino(self) -> int: ...

    @property
    def st_mtime_ns(self) -> int: ...

    @property
    def st_size(self) -> int: ...


class FileIdentity(NamedTuple):
    """What tells a file from a later one at its place, as DVC's state knows files again."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, status: _Status) -> FileIdentity:
        """The identity of the file that has a status."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


class TreeFingerprint:
    """A digest of names, times and sizes.

    Attributes:
        newest: The newest time that counts, in nanoseconds since the epoch; of a strict one.

    Args:
        is_strict: Whether the time at which an entry itself changed (``ctime``) and its mode count
            too. No program can set that time back, but another link to a file changes it.
    """

    def __init__(self, *, is_strict: bool) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._is_strict = is_strict
        self.newest = 0

    def digest(self) -> str:
        """The digest of all that was added."""
        return self._digest.hexdigest()

    def add(self, place: Path, without: Collection[str] = ()) -> None:
        """Adds a file, or all that is in a folder; what is not there counts as that.

        Args:
            place: The file or folder.
            without: Absolute paths of folders that are not looked into.

        Raises:
            UntoldChangesError: when a link leads to a folder.
        """
        try:
            status = place.lstat()
        except FileNotFoundError:
            self._add([str(place)])
            return
        self._add(self._lines(str(place), status))
        waiting = [str(place)] if stat.S_ISDIR(status.st_mode) else []
        while waiting:
            lines: list[str] = []
            with os.scandir(waiting.pop()) as listing:
                entries = sorted(listing, key=attrgetter("name"))
            for entry in entries:
                if entry.path in without:
                    continue
                status = entry.stat(follow_symlinks=False)
                lines += self._lines(entry.path, status)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
            self._add(lines)

    def _lines(self, path: str, status: os.stat_result) -> list[str]:
        """What counts of an entry."""
        if stat.S_ISDIR(status.st_mode):
            # What is in it tells more than its own times.
            return [f"{path}\0{status.st_mode}"]
        lines = [self._line(path, status)]
        if stat.S_ISLNK(status.st_mode):
            with suppress(FileNotFoundError):
                target = Path(path).stat()
                if stat.S_ISDIR(target.st_mode):
                    raise UntoldChangesError(path)
                lines.append(self._line(path, target))
        return lines

    def _line(self, path: str, status: os.stat_result) -> str:
        line = f"{path}\0{status.st_ino} {status.st_size} {status.st_mtime_ns}"
        if not self._is_strict:
            return line
        self.newest = max(self.newest, status.st_mtime_ns, status.st_ctime_ns)
        return f"{line} {status.st_ctime_ns} {status.st_mode}"

    def _add(self, lines: Iterable[str]) -> None:
        # No name has a zero in it, so that nothing else has these lines.
        text = "".join(f"{line}\0\n" for line in lines)
        self._digest.update(text.encode("utf-8", "surrogateescape"))


def is_settled(newest: int, started: float, settled_seconds: float = SETTLED_SECONDS) -> bool:
    """Whether every change from some moment on is sure to change a strict fingerprint.

    Args:
        newest: The newest time that counts, in nanoseconds since the epoch.
        started: That moment, in seconds since the epoch.
        settled_seconds: How old the newest change has to be.
    """
    return newest < (started - settled_seconds) * 1e9


class ObjectsFingerprint(NamedTuple):
    """Which objects caches hold, as far as their folders tell without being read.

    Attributes:
        newest: When one was added or removed last, in nanoseconds since the epoch.
    """

    digest: str
    newest: int

    @classmethod
    def of(cls, caches: Iterable[str]) -> ObjectsFingerprint:
        """The fingerprint of caches, by the folders that their objects lie in."""
        lines, newest = [], 0
        for cache in caches:
            with suppress(OSError), os.scandir(cache) as folders:
                for folder in folders:
                    if _OBJECTS.fullmatch(folder.name):
                        status = folder.stat()
                        lines.append(f"{folder.path}\0{status.st_ino} {status.st_mtime_ns}\n")
                        newest = max(newest, status.st_mtime_ns)
        text = "".join(sorted(lines)).encode("utf-8", "surrogateescape")
        return cls(hashlib.blake2b(text, digest_size=16).hexdigest(), newest)


def fingerprint_dates(root: Path, paths: Iterable[str]) -> str:
    """A digest of files, and of all files in folders, by path, time of writing and size.

    Follows links; compiled Python does not count. The sensor of outside changes stores it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for path in sorted(set(paths)):
        for file in _files_at(root / path):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            digest.update(f"{file}:{status.st_mtime_ns}:{status.st_size}\n".encode())
    return digest.hexdigest()


def _files_at(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(p for p in place.rglob("*") if p.suffix != ".pyc" and p.is_file())
    else:
        yield place


def fingerprint_totals(folder: Path) -> str:
    """Number and size of files, and their dates; of folders the dates, in which names change.

    Neither inodes nor change times: DVC and the stages link files. The sensor of edits stores it.

    Raises:
        FileNotFoundError: when something goes away meanwhile.
    """
    nfiles = size = dates = 0
    waiting = [os.fspath(folder)]
    while waiting:
        inside = waiting.pop()
        dates += os.stat(inside).st_mtime_ns  # noqa: PTH116
        with os.scandir(inside) as listing:
            for entry in listing:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
                else:
                    nfiles += 1
                    size += status.st_size
                    dates += status.st_mtime_ns
    return f"{nfiles}:{size}:{dates % (1 << 64):x}"


def fingerprint_file(file: Path) -> str:
    """Size and time of writing of a file. The note on an archive that was unpacked stores it."""
    status = file.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


@dataclass(frozen=True)
class Extent:
    """What a folder holds, without reading any of it.

    Attributes:
        nfiles: Files, links and the like, in all sub-folders.
        size: Bytes.
        changed: When anything in it changed last, in seconds since the epoch: contents, or, as
            copies keep the dates of their originals, the entries themselves.
    """

    nfiles: int
    size: int
    changed: float


def measure_extent(path: Path) -> Extent:
    """Counts what is in a folder, or takes a file, and finds when it changed last."""
    status = path.lstat()
    changed = status.st_ctime
    nfiles, size = (0, 0) if stat.S_ISDIR(status.st_mode) else (1, status.st_size)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                status = (Path(folder) / name).lstat()
            except FileNotFoundError:
                continue
            changed = max(changed, status.st_ctime)
            if not stat.S_ISDIR(status.st_mode):
                nfiles += 1
                size += status.st_size
    return Extent(nfiles, size, changed)
