"""Detects changes of files and folders from their status, without reading them.

The functions differ in which changes they have to notice, and which they have to ignore:

| use | to notice changes of | compares |
|---|---|---|
| `FileIdentity` | one file, within a process | inode, mtime, size: like DVC's state |
| `TreeFingerprint` | a folder, for a cache of later processes | also names, ctime and mode |
| `ObjectsFingerprint` | the set of objects in a cache | its folders: inode, mtime |
| `fingerprint_dates` | metafiles, for a sensor cursor | paths, mtime, size |
| `fingerprint_totals` | a collection, for a sensor cursor | number, total size, sum of mtimes |
| `fingerprint_file` | an unpacked archive, for a note | size, mtime |
| `measure_extent` | a folder that is still being written | the newest ctime |

Inodes and ctimes are left out where DVC may link or restore the same content. Cursors and notes
are compared with fingerprints of later versions of this package: their format must not change.

Two writes may have the same mtime: file systems store times with a resolution of up to two seconds
(FAT), and the system's clock ticks every few milliseconds only. So the newest change in a stored
fingerprint has to be older than a `Moment` by the clock of the file system, from which on every
change gets another time; or older than the coarsest resolution (`is_settled`).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

SETTLED_SECONDS = 2.0
"""How old the newest change must be, so that any later change has another time."""

_TICK_SECONDS = 0.05
"""How long to wait for the clock of a file system; most tick every ten milliseconds or less."""

_MANY = 100
"""How many entries make it worthwhile not to list a folder."""

_AFTER_SLASH = chr(ord("/") + 1)

# The names of the folders with objects in a cache.
_OBJECTS = re.compile(r"[0-9a-f]{2}")


class UntoldChangesError(Exception):
    """A folder is behind a link or cannot be listed, so changes in it cannot be noticed."""


class _Status(Protocol):
    @property
    def st_dev(self) -> int: ...

    @property
    def st_mode(self) -> int: ...

    @property
    def st_nlink(self) -> int: ...

    @property
    def st_ino(self) -> int: ...

    @property
    def st_mtime_ns(self) -> int: ...

    @property
    def st_size(self) -> int: ...


class FileIdentity(NamedTuple):
    """Inode, mtime and size of a file, by which DVC's state recognizes it, too."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, status: _Status) -> FileIdentity:
        """The identity of a file from its status."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


def is_shared(status: _Status, device: int, inode: int) -> bool:
    """Whether a file has hard links, which are found by the inodes in listings of folders.

    Mounts, and some file systems, list other inodes.

    Args:
        status: Of the file.
        device: The file system of the folder.
        inode: As in the listing.
    """
    return (
        status.st_nlink > 1
        and stat.S_ISREG(status.st_mode)
        and (status.st_dev, status.st_ino) == (device, inode)
    )


class FolderDigests:
    """A digest of each of many folders, and of any tree among them."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}
        self._sorted: list[str] = []

    def add(self, place: str, texts: Iterable[str]) -> None:
        """Add what is at a path; the names in a folder go with a path that ends in a slash."""
        # Names contain no zero byte, so different entries give different text.
        text = "\0".join([place, *texts]).encode("utf-8", "surrogateescape")
        self._digests[place] = hashlib.blake2b(text, digest_size=16).digest()

    def put(self, place: str, digest: str) -> None:
        """Add what is at a path by its digest."""
        self._digests[place] = bytes.fromhex(digest)

    def of(self, place: str) -> str | None:
        """The digest of what was added at one path, if anything was."""
        digest = self._digests.get(place)
        return None if digest is None else digest.hex()

    def all(self) -> dict[str, str]:
        """The digest of what was added at each path."""
        return {place: digest.hex() for place, digest in self._digests.items()}

    def whole(self) -> str:
        """The digest of everything."""
        return self._digest_of(self._digests)

    def at(self, place: str) -> str:
        """The digest of what was added at a path, and of everything in it if it is a folder."""
        return f"{self.of(place)} {self.below(place)}"

    def below(self, folder: str) -> str:
        """The digest of everything in a folder, for which all have to be added before."""
        if len(self._sorted) < len(self._digests):
            self._sorted = sorted(self._digests)
        first = bisect_left(self._sorted, f"{folder}/")
        end = bisect_left(self._sorted, f"{folder}{_AFTER_SLASH}")
        return self._digest_of(self._sorted[first:end])

    def _digest_of(self, places: Iterable[str]) -> str:
        digests = b"".join(map(self._digests.__getitem__, places))
        return hashlib.blake2b(digests, digest_size=16).hexdigest()


class CoveredFolder(NamedTuple):
    """A folder of many files, all of which are hard links to files in other folders.

    It is unchanged if its own status is, which tells of names that come and go, and if the other
    folders are, which tell of the content. So it need not be listed.

    Attributes:
        status: Its own.
        digest: Of the names and facts in it.
        by: The digests of the other folders, by path.
    """

    status: str
    digest: str
    by: Mapping[str, str]


class TreeFingerprint:
    """A digest of names, times, sizes and modes.

    No program can set a ctime back, but creating a hardlink to a file changes it.

    Args:
        before: The covered folders of an earlier moment, after which every change certainly changes
            a fingerprint (`Moment`).

    Attributes:
        covered: The folders that are covered now, by path.
        newest: The newest mtime or ctime that was looked at, in nanoseconds since the epoch.
        devices: The file systems of all files that were looked at (``st_dev``).
    """

    def __init__(self, before: Mapping[str, CoveredFolder] | None = None) -> None:
        self.covered: dict[str, CoveredFolder] = {}
        self.newest = 0
        self.devices: set[int] = set()
        self._before = before or {}
        self._postponed: list[tuple[str, Collection[str]]] = []
        self._digests = FolderDigests()
        # Facts about hard-linked files, and the folder where each was looked at, by device and
        # inode: it is looked at once, under one of its names.
        self._linked: dict[int, dict[int, tuple[str, str]]] = {}

    def digest(self) -> str:
        """The digest of everything that was added."""
        return self.finish().whole()

    def add(self, place: Path, without: Collection[str] = ()) -> None:
        """Add a file, or everything in a folder; a missing path counts as missing.

        Args:
            place: The file or folder.
            without: Absolute paths to skip.

        Raises:
            UntoldChangesError: when a symbolic link leads to a folder.
        """
        try:
            status = place.lstat()
        except FileNotFoundError:
            self._digests.add(str(place), [])
            return
        self._digests.add(str(place), [self._facts(str(place), status)])
        waiting = [str(place)] if stat.S_ISDIR(status.st_mode) else []
        while waiting:
            folder = waiting.pop()
            before = self._before.get(folder)
            if before is None or before.status != self._facts_of_file(os.lstat(folder)):
                # In order, as inputs come before what is made of them, and cover it.
                waiting += reversed(self._list(folder, without))
            else:
                self._postponed.append((folder, without))

    def finish(self) -> FolderDigests:
        """The digests of all folders. Only now those that were covered before are added."""
        for folder, without in self._postponed:
            before = self._before[folder]
            if all(self._digests.of(f"{other}/") == found for other, found in before.by.items()):
                self._digests.put(f"{folder}/", before.digest)
                self.covered[folder] = before
            else:
                self._list(folder, without)
        self._postponed.clear()
        for folder, found in self.covered.items():
            by = {other: self._digests.of(f"{other}/") or "" for other in found.by}
            self.covered[folder] = found._replace(by=by)
        return self._digests

    def _list(self, folder: str, without: Collection[str]) -> list[str]:
        """Add what a folder has; return the folders in it."""
        start = f"{folder}/"
        left_out = {path.removeprefix(start) for path in without if path.startswith(start)}
        texts: list[str] = []
        folders: list[str] = []
        others: set[str] = set()
        # From the folder on, a path is found faster than from the root. In the order of the list,
        # in which file systems find a status faster than by name; it stays while the folder does.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            own = os.fstat(descriptor)
            linked = self._linked.setdefault(own.st_dev, {})
            is_covered = True
            with os.scandir(descriptor) as listing:
                for entry in listing:
                    name, inode = entry.name, entry.inode()
                    if name in left_out:
                        is_covered = False
                        continue
                    known = linked.get(inode)
                    if known is not None:
                        facts, other = known
                        others.add(other)
                    else:
                        status = entry.stat(follow_symlinks=False)
                        facts = self._facts(f"{start}{name}", status)
                        is_covered = False
                        if is_shared(status, own.st_dev, inode):
                            linked[inode] = facts, folder
                        elif stat.S_ISDIR(status.st_mode):
                            folders.append(f"{start}{name}")
                    texts += (name, facts)
        finally:
            os.close(descriptor)
        self._digests.add(f"{folder}/", texts)
        if is_covered and len(texts) >= 2 * _MANY and folder not in others:
            digest = self._digests.of(f"{folder}/") or ""
            by = dict.fromkeys(others, "")
            self.covered[folder] = CoveredFolder(self._facts_of_file(own), digest, by)
        return sorted(folders)

    def _facts(self, place: str, status: os.stat_result) -> str:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            return self._facts_of_file(status)
        if stat.S_ISDIR(mode):
            # Its entries are added themselves, so its own times do not count.
            return str(mode)
        facts = self._facts_of_file(status)
        if stat.S_ISLNK(mode):
            with suppress(FileNotFoundError):
                target = Path(place).stat()
                if stat.S_ISDIR(target.st_mode):
                    raise UntoldChangesError(place)
                facts += f" {self._facts_of_file(target)}"
        return facts

    def _facts_of_file(self, status: os.stat_result) -> str:
        mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
        if mtime > self.newest or ctime > self.newest:
            self.newest = max(mtime, ctime)
        if status.st_dev not in self.devices:
            self.devices.add(status.st_dev)
        return f"{status.st_ino} {status.st_size} {mtime} {ctime} {status.st_mode}"


def is_settled(newest: int, started: float, settled_seconds: float = SETTLED_SECONDS) -> bool:
    """Whether every change after some moment certainly changes a strict fingerprint.

    Args:
        newest: `TreeFingerprint.newest`, in nanoseconds since the epoch.
        started: The moment, in seconds since the epoch.
        settled_seconds: The age that the newest change must have at that moment.
    """
    return newest < (started - settled_seconds) * 1e9


class Moment(NamedTuple):
    """A moment after which every change of a file gets a later time than all files had before.

    Attributes:
        device: The file system whose clock was read; None if it could not be.
        time_ns: The time of later changes there, or a later time, in nanoseconds since the epoch.
        elsewhere_ns: The same on any other file system.
    """

    device: int | None
    time_ns: int
    elsewhere_ns: int

    def is_after(self, newest: int, devices: Collection[int]) -> bool:
        """Whether every change after this moment certainly changes a strict fingerprint.

        Args:
            newest: The newest change in the fingerprint, in nanoseconds since the epoch.
            devices: The file systems of its files.
        """
        is_here = all(device == self.device for device in devices)
        return newest < (self.time_ns if is_here else self.elsewhere_ns)


Clock = Callable[[Path], Moment]
"""Reads the clock of the file system of a folder: `read_clock`, except in tests."""


def read_clock(folder: Path) -> Moment:
    """Waits for the next tick of the clock of a file system; returns the moment.

    Writes the file `clock` in the folder. Where that is not possible, or the clock does not tick,
    the moment is so long ago that it holds for any resolution of times.
    """
    elsewhere = time.time_ns() - round(SETTLED_SECONDS * 1e9)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / "clock"
        place.touch()
        before = place.stat()
        end = time.monotonic() + _TICK_SECONDS
        while time.monotonic() < end:
            place.touch()
            now = place.stat()
            if now.st_mtime_ns > before.st_mtime_ns:
                return Moment(now.st_dev, now.st_mtime_ns, elsewhere)
            time.sleep(0.0005)
    return Moment(None, elsewhere, elsewhere)


class ObjectsFingerprint(NamedTuple):
    """The objects in caches, by the status of their folders, without listing these.

    Attributes:
        newest: When an object was last added or removed, in nanoseconds since the epoch.
        devices: The file systems of the caches.
    """

    digest: str
    newest: int
    devices: Collection[int]

    @classmethod
    def of(cls, caches: Iterable[str]) -> ObjectsFingerprint:
        """The fingerprint of caches, from the folders with their objects."""
        lines, newest, devices = [], 0, set()
        for cache in caches:
            with suppress(OSError), os.scandir(cache) as folders:
                for folder in folders:
                    if _OBJECTS.fullmatch(folder.name):
                        status = folder.stat()
                        lines.append(f"{folder.path}\0{status.st_ino} {status.st_mtime_ns}\n")
                        newest = max(newest, status.st_mtime_ns)
                        devices.add(status.st_dev)
        text = "".join(sorted(lines)).encode("utf-8", "surrogateescape")
        return cls(hashlib.blake2b(text, digest_size=16).hexdigest(), newest, devices)


def fingerprint_dates(root: Path, paths: Iterable[str]) -> str:
    """A digest of files, and of all files in folders, from path, mtime and size.

    Follows links and ignores ``.pyc`` files. The cursor of the sensor `outside_changes` stores it.
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
    """The number of files, their total size, and the sum of mtimes of files and folders.

    The mtime of a folder changes with the names in it. Without inodes and ctimes, as DVC and stages
    link files. The cursor of the sensor `modified_raw_collections` stores it.

    Raises:
        FileNotFoundError: when a file is removed meanwhile.
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
    """Size and mtime of a file. The note about an unpacked archive stores it."""
    status = file.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


@dataclass(frozen=True)
class Extent:
    """The size and the newest change of a folder.

    Attributes:
        nfiles: The number of files and links, in all subfolders.
        size: The total size in bytes.
        changed: The newest ctime, in seconds since the epoch. Not the mtime, which copying keeps.
    """

    nfiles: int
    size: int
    changed: float


def measure_extent(path: Path) -> Extent:
    """Measure a folder with everything in it, or a file."""
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
