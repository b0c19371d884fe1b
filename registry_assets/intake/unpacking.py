"""Archives turned into folders, whoever made them: nothing leaves the folder, no disk fills up.

Formats: ZIP (APPNOTE.TXT 6.3), with stored, deflated, bzip2 or LZMA members; tar as POSIX (ustar,
pax) and GNU write it, plain or compressed with gzip (RFC 1952), bzip2 or xz.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

from registry_assets.errors import RejectedError
from registry_assets.leftovers import find_leftover_in
from registry_assets.registry.status.archive_names import archive_stem

_CHUNK = 1 << 20
_SMALL = 10_000_000
"""Bytes that any archive may unpack to, however well they were compressed."""
_LONGEST_HEADER = 64 * _CHUNK
_LONGEST_PATH = 4096
_BLOCK = tarfile.BLOCKSIZE
# By what a compressed file begins with.
_DECOMPRESSORS: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),  # type: ignore[dict-item,return-value]
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# Who made a ZIP where `\\` parts folders: MS-DOS, NTFS by its two numbers, VFAT.
_OF_WINDOWS = (0, 10, 11, 14)
_NAMES_ARE_UTF8 = 0x800
_UNICODE_PATH = 0x7075
"""The extra field of Info-ZIP that holds a name in UTF-8 (APPNOTE.TXT, 4.6.9)."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True)
class UnpackingLimits:
    """What an archive may become.

    Attributes:
        most_ratio: How many times its own size all of it may have; not asked of the first 10 MB.
        most_files: How many files, folders and links there may be.
        free_bytes: How much of the disk must stay free.
    """

    most_ratio: float = 100.0
    most_files: int = 1_000_000
    free_bytes: int = 1_000_000_000


def unpack(
    archive: Path,
    folder: Path,
    limits: UnpackingLimits,
    leave_out: Callable[[str], None] = lambda _pattern: None,
) -> Path:
    """Unpacks an archive into a new folder, or leaves nothing there.

    Modes, owners and dates are left behind, and what file managers leave in folders. Links are made
    last, and nothing is written through them.

    Args:
        archive: The archive.
        folder: Where to; nothing is there yet.
        limits: What it may become.
        leave_out: Takes the pattern that each file fits which is left out.

    Returns:
        What holds the content: the folder, or the only folder in it when that is named like the
        archive.

    Raises:
        RejectedError: with the reason, when it is damaged, encrypted, leads out of the
            folder, or becomes too much.
    """
    refuse = partial(RejectedError, archive.name)
    try:
        folder.mkdir(parents=True)
        with _members(archive, limits) as members:
            _Writer(archive, folder, limits, leave_out).write(members)
        content = _content(folder, archive_stem(archive.name))
        if not any(files for _, _, files in os.walk(content)):
            raise refuse("there are no files in it")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, RejectedError):
            raise
        if isinstance(error, NotImplementedError):
            raise refuse(f"it is compressed in a way that cannot be read here ({error})") from error
        if isinstance(error, zipfile.BadZipFile | tarfile.TarError | zlib.error | EOFError):
            raise refuse(f"it is damaged ({error})") from error
        if isinstance(error, gzip.BadGzipFile | lzma.LZMAError | UnicodeError | ValueError):
            raise refuse(f"it is damaged ({error})") from error
        if isinstance(error, OSError):
            if error.errno is None:
                # What bzip2 says of contents, and no file system of anything.
                raise refuse(f"it is damaged ({error})") from error
            raise refuse(f"unpacking it failed ({error.strerror or error})") from error
        raise
    return content


def _content(folder: Path, name: str | None) -> Path:
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].name == name and stat.S_ISDIR(entries[0].lstat().st_mode):
        return entries[0]
    return folder


@dataclass(frozen=True)
class _Member:
    """One entry of an archive.

    Attributes:
        name: As the archive gives it, with ``/``.
        target: What a link leads to; of a ``copy``, the name of an earlier file.
        open: Opens its content, of a file.
    """

    name: str
    kind: Literal["file", "folder", "link", "copy", "other"]
    target: str = ""
    open: Callable[[], IO[bytes]] | None = None


@contextmanager
def _members(archive: Path, limits: UnpackingLimits) -> Iterator[Iterator[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(archive, opened, limits)
        return
    with archive.open("rb") as raw:
        start = raw.read(_BLOCK)
        raw.seek(0)
        if start.startswith(_ZSTANDARD):
            reason = (
                "it is compressed with Zstandard, which cannot be read here: unpack it yourself"
            )
            raise RejectedError(archive.name, reason)
        openers = (opener for mark, opener in _DECOMPRESSORS.items() if start.startswith(mark))
        opener = next(openers, None)
        stream = _Bounded(raw if opener is None else opener(raw), archive.name)
        with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
            yield _tar_members(archive, tar, stream)


def _zip_members(
    archive: Path, opened: zipfile.ZipFile, limits: UnpackingLimits
) -> Iterator[_Member]:
    infos = opened.infolist()
    if any(info.flag_bits & 0x1 for info in infos):
        raise RejectedError(archive.name, "it is encrypted: unpack it yourself")
    if sum(info.file_size for info in infos) + limits.free_bytes > _free_bytes(archive.parent):
        raise RejectedError(archive.name, "what is in it does not fit on the disk")
    for info in infos:
        name = _name_in_zip(archive, info)
        if info.create_system in _OF_WINDOWS:
            # Archivers on Windows write backslashes, whatever the format says.
            name = name.replace("\\", "/")
        mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
        if name.endswith("/"):
            yield _Member(name, "folder")
        elif mode == stat.S_IFLNK:
            with opened.open(info) as stream:
                yield _Member(name, "link", os.fsdecode(stream.read(_LONGEST_PATH)))
        elif mode in (0, stat.S_IFREG):
            yield _Member(name, "file", open=partial(opened.open, info))
        else:
            yield _Member(name, "other")


def _name_in_zip(archive: Path, info: zipfile.ZipInfo) -> str:
    """The name of a member, in the encoding that it is in.

    The format has a flag for UTF-8, and Code Page 437 where it is not set; Info-ZIP has a field for
    UTF-8 besides. macOS writes UTF-8 without either, and Windows whatever its language has, which
    nothing tells.

    Raises:
        RejectedError: when the encoding is not known.
    """
    # `zipfile` reads names without the flag as Code Page 437, in which each byte is a letter.
    encoding = "utf-8" if info.flag_bits & _NAMES_ARE_UTF8 else "cp437"
    stored = info.orig_filename.encode(encoding)
    try:
        return (_unicode_path(info.extra, stored) or stored).decode()
    except UnicodeDecodeError as error:
        raise RejectedError(
            archive.name,
            f"the name {info.orig_filename!r} in it is not in UTF-8, and nothing tells its "
            f"encoding: unpack it yourself (`unzip -O CP932 {archive.name}` for one from a "
            "Japanese Windows, CP850 for a Western European one), into a folder of that name",
        ) from error


def _unicode_path(extra: bytes, stored: bytes) -> bytes | None:
    """The name in UTF-8 among the extra fields; None without one, or with one of another name."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5:
            version, checksum = struct.unpack_from("<BL", field)
            if version == 1 and checksum == zlib.crc32(stored):
                return field[5:]
    return None


def _tar_members(archive: Path, tar: tarfile.TarFile, stream: _Bounded) -> Iterator[_Member]:
    for info in tar:
        if info.isdir():
            yield _Member(info.name, "folder")
        elif info.issym():
            yield _Member(info.name, "link", info.linkname)
        elif info.islnk():
            yield _Member(info.name, "copy", info.linkname)
        elif info.isreg():
            yield _Member(info.name, "file", open=partial(_open_in_tar, tar, info))
        else:
            yield _Member(info.name, "other")
    # `tarfile` takes a header that it cannot read, and a lack of any, for the end.
    stream.seek(tar.offset)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise RejectedError(archive.name, "it is damaged (it has no end)")
    # What compresses it has a checksum, behind the last byte.
    rest = iter(partial(stream.read, _CHUNK), b"")
    if any(number * _CHUNK > _LONGEST_HEADER for number, _ in enumerate(rest)):
        raise RejectedError(archive.name, "it goes on after its end")


def _open_in_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(info)
    assert stream is not None, f"{info.name} is a file"
    return stream


class _Bounded:
    """A stream of which nobody can ask for more than fits into memory: headers tell their size."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, archive: str) -> None:
        self._stream, self._archive = stream, archive
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise RejectedError(self._archive, "it is damaged (a header of many megabytes)")
        return self._stream.read(size)


class _Writer:
    """Writes members into a folder, and keeps count."""

    def __init__(
        self,
        archive: Path,
        folder: Path,
        limits: UnpackingLimits,
        leave_out: Callable[[str], None],
    ) -> None:
        self._archive, self._folder, self._limits = archive, folder, limits
        self._leave_out = leave_out
        self._most_bytes = max(limits.most_ratio * archive.stat().st_size, _SMALL)
        self._bytes = 0
        self._kinds: dict[tuple[str, ...], str] = {}
        # Names with accents, by how they are spelled in one way: macOS spells them in another.
        self._spelled: dict[str, str] = {}

    def write(self, members: Iterator[_Member]) -> None:
        links: list[tuple[Path, str]] = []
        for member in members:
            parts = self._claim(member)
            if not parts:
                continue
            leftover = find_leftover_in("/".join(parts), is_folder=member.kind == "folder")
            if leftover is not None:
                if member.kind != "folder":
                    self._leave_out(leftover)
                continue
            place = self._folder.joinpath(*parts)
            if member.kind == "folder":
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if member.kind == "link":
                links.append((place, member.target))
            elif member.kind == "copy":
                original = self._folder.joinpath(*self._file_named(member))
                with original.open("rb") as stream:
                    self._fill(place, stream)
            else:
                assert member.open is not None, f"{member.name} is a file"
                with member.open() as stream:
                    self._fill(place, stream)
        self._link(links)

    def _refuse(self, reason: str) -> RejectedError:
        return RejectedError(self._archive.name, reason)

    def _parts(self, name: str) -> tuple[str, ...]:
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if name.startswith("/") or ".." in parts or _DRIVE.match(name) or "\0" in name:
            raise self._refuse(f"{name!r} in it leads out of the collection")
        return parts

    def _claim(self, member: _Member) -> tuple[str, ...]:
        """Where a member goes; nothing goes there twice, or below anything but a folder."""
        parts = self._parts(member.name)
        if member.kind == "other":
            raise self._refuse(f"{member.name!r} in it is no file, folder or link")
        if not parts:
            return parts
        for length in range(1, len(parts)):
            if self._kinds.setdefault(parts[:length], "folder") != "folder":
                raise self._refuse(f"{member.name!r} in it lies below what is no folder")
        self._check_spelling(parts)
        if parts in self._kinds and not self._kinds[parts] == member.kind == "folder":
            raise self._refuse(f"{member.name!r} is in it twice")
        self._kinds[parts] = member.kind
        if len(self._kinds) > self._limits.most_files:
            raise self._refuse(
                f"there are more than {self._limits.most_files:,} files in it "
                "(`archive_most_files` in [tool.registry_assets])"
            )
        return parts

    def _check_spelling(self, parts: tuple[str, ...]) -> None:
        """Refuses names that are one name on macOS, where not both could be checked out."""
        path = "/".join(parts)
        if path.isascii():
            return
        places = [path[:end] for end, sign in enumerate(path) if sign == "/"]
        for place in (*places, path):
            spelled = unicodedata.normalize("NFC", place)
            if self._spelled.setdefault(spelled, place) != place:
                raise self._refuse(
                    f"{spelled!r} is in it in two spellings (Unicode NFC and NFD), which is one "
                    "name on macOS: rename one of them"
                )

    def _file_named(self, member: _Member) -> tuple[str, ...]:
        parts = self._parts(member.target)
        if self._kinds.get(parts) not in ("file", "copy"):
            raise self._refuse(f"{member.name!r} in it is a link to {member.target!r}, no file")
        return parts

    def _fill(self, place: Path, stream: IO[bytes]) -> None:
        with place.open("xb") as target:
            while chunk := stream.read(_CHUNK):
                self._count(len(chunk))
                target.write(chunk)

    def _count(self, nbytes: int) -> None:
        self._bytes += nbytes
        if self._bytes > self._most_bytes:
            raise self._refuse(
                f"it unpacks to more than {self._limits.most_ratio:g} times its size "
                "(`archive_most_ratio` in [tool.registry_assets])"
            )
        if _free_bytes(self._folder) - nbytes < self._limits.free_bytes:
            raise self._refuse(
                f"unpacking it would leave less than {self._limits.free_bytes / 1e9:g} GB of the "
                "disk free (`archive_free_gigabytes` in [tool.registry_assets])"
            )

    def _link(self, links: Sequence[tuple[Path, str]]) -> None:
        for place, target in links:
            place.symlink_to(target)
        # When all are there, and as the system follows them: through one another.
        inside = self._folder.resolve()
        for place, target in links:
            if Path(target).is_absolute() or not Path(os.path.realpath(place)).is_relative_to(
                inside
            ):
                where = place.relative_to(self._folder).as_posix()
                raise self._refuse(f"{where!r} in it is a link out of the collection")


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
