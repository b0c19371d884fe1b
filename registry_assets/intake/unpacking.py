"""Unpacking archives safely: writes only inside the target folder, and never fills the disk.

Formats: ZIP (APPNOTE.TXT 6.3), with stored, deflated, bzip2 or LZMA members; tar in the POSIX
(ustar, pax) and GNU formats, plain or compressed with gzip (RFC 1952), bzip2 or xz.
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
"""Size in bytes to which any archive may unpack, whatever its compression ratio."""
_LONGEST_HEADER = 64 * _CHUNK
_LONGEST_PATH = 4096
_BLOCK = tarfile.BLOCKSIZE
# By magic number.
_DECOMPRESSORS: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),  # type: ignore[dict-item,return-value]
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# Records of ZIPs (APPNOTE.TXT, 4.3.12 to 4.3.16): an entry, and the ends of the list of them.
_ENTRY, _ENTRY_SIZE = b"PK\1\2", 46
_END, _END_SIZE = b"PK\5\6", 22
_END64, _END64_SIZE, _LOCATOR_SIZE = b"PK\6\6", 56, 20
_LONGEST_END = _END_SIZE + 0xFFFF
_IN_ZIP64 = 0xFFFFFFFF
# Systems on which ZIPs are written with `\\` as separator: MS-DOS, NTFS (two numbers), VFAT.
_OF_WINDOWS = (0, 10, 11, 14)
_NAMES_ARE_UTF8 = 0x800
_UNICODE_PATH = 0x7075
"""Info-ZIP's extra field with the name in UTF-8 (APPNOTE.TXT, 4.6.9)."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True)
class UnpackingLimits:
    """Limits for unpacking an archive.

    Attributes:
        most_ratio: Maximum ratio of unpacked to packed size; not applied to the first 10 MB.
        most_files: Maximum number of files, folders and links.
        free_bytes: Disk space that must stay free, in bytes.
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
    """Unpack an archive into a new folder; removes the folder on failure.

    Does not restore modes, owners and dates, and leaves out leftovers of file managers. Links are
    created last, so that nothing is written through them.

    Args:
        archive: The archive.
        folder: The target folder, which must not exist.
        limits: The limits for unpacking.
        leave_out: Called with the matching pattern for each file that is left out.

    Returns:
        The folder with the content: the target folder, or the only folder in it if that is named
        like the archive.

    Raises:
        RejectedError: when it is damaged, encrypted, too large, or leads out of the folder.
    """
    refuse = partial(RejectedError, archive.name)
    try:
        folder.mkdir(parents=True)
        with _members(archive, limits) as members:
            _Writer(archive, folder, limits, leave_out).write(members)
        content = _content(folder, archive_stem(archive.name))
        if not any(files for _, _, files in os.walk(content)):
            raise refuse("it contains no files")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, RejectedError):
            raise
        if isinstance(error, NotImplementedError):
            raise refuse(f"its compression is not supported ({error})") from error
        if isinstance(error, zipfile.BadZipFile | tarfile.TarError | zlib.error | EOFError):
            raise refuse(f"it is damaged ({error})") from error
        if isinstance(error, gzip.BadGzipFile | lzma.LZMAError | UnicodeError | ValueError):
            raise refuse(f"it is damaged ({error})") from error
        if isinstance(error, OSError):
            if error.errno is None:
                # bzip2 reports damaged contents like this; a file system error has a number.
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
        name: The name in the archive, with ``/`` as separator.
        kind: The kind of entry; ``copy`` is a hardlink to an earlier file.
        target: The target of a link or copy.
        open: Opens the content of a file.
    """

    name: str
    kind: Literal["file", "folder", "link", "copy", "other"]
    target: str = ""
    open: Callable[[], IO[bytes]] | None = None


@contextmanager
def _members(archive: Path, limits: UnpackingLimits) -> Iterator[Iterator[_Member]]:
    if archive.name.lower().endswith(".zip"):
        if _has_more_entries(archive, limits.most_files):
            raise _too_many(archive, limits)
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(archive, opened, limits)
        return
    with archive.open("rb") as raw:
        start = raw.read(_BLOCK)
        raw.seek(0)
        if start.startswith(_ZSTANDARD):
            raise RejectedError(archive.name, "Zstandard is not supported: unpack it yourself")
        openers = (opener for mark, opener in _DECOMPRESSORS.items() if start.startswith(mark))
        opener = next(openers, None)
        stream = _Bounded(raw if opener is None else opener(raw), archive.name)
        with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
            yield _tar_members(archive, tar, stream)


def _has_more_entries(archive: Path, most: int) -> bool:
    """Whether a ZIP lists more than so many entries; `zipfile` takes all to memory at once.

    The number in its end record may be wrong, so the entries are counted, up to so many.
    """
    size = archive.stat().st_size
    with archive.open("rb") as raw:
        raw.seek(max(size - _LONGEST_END, 0))
        start, tail = raw.tell(), raw.read()
        end = tail.rfind(_END)
        if end < 0 or len(tail) < end + _END_SIZE:
            return False
        (length,) = struct.unpack_from("<L", tail, end + 12)
        end += start
        if length == _IN_ZIP64:
            # Of the record of ZIP64, whose locator stands between it and the other one.
            raw.seek(max(end - _LOCATOR_SIZE - _END64_SIZE, 0))
            record = raw.read(_END64_SIZE)
            if not record.startswith(_END64) or len(record) < _END64_SIZE:
                return False
            (length,) = struct.unpack_from("<Q", record, 40)
            end -= _LOCATOR_SIZE + _END64_SIZE
        raw.seek(max(end - length, 0))
        for _ in range(most + 1):
            entry = raw.read(_ENTRY_SIZE)
            if raw.tell() > end or not entry.startswith(_ENTRY) or len(entry) < _ENTRY_SIZE:
                return False
            raw.seek(sum(struct.unpack_from("<HHH", entry, 28)), os.SEEK_CUR)
    return True


def _zip_members(
    archive: Path, opened: zipfile.ZipFile, limits: UnpackingLimits
) -> Iterator[_Member]:
    infos = opened.infolist()
    if any(info.flag_bits & 0x1 for info in infos):
        raise RejectedError(archive.name, "it is encrypted: unpack it yourself")
    if sum(info.file_size for info in infos) + limits.free_bytes > _free_bytes(archive.parent):
        raise RejectedError(archive.name, "its contents do not fit on the disk")
    for info in infos:
        name = _name_in_zip(archive, info)
        if info.create_system in _OF_WINDOWS:
            # Archivers on Windows write backslashes, against the specification.
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
    """Decode the name of a member.

    A flag says UTF-8; without it, the specification says Code Page 437. Info-ZIP adds a field with
    the name in UTF-8. macOS writes UTF-8 without either, and Windows writes the code page of its
    language without saying which.

    Raises:
        RejectedError: when the encoding is unknown.
    """
    # `zipfile` decodes names without the flag as Code Page 437, which maps every byte.
    encoding = "utf-8" if info.flag_bits & _NAMES_ARE_UTF8 else "cp437"
    stored = info.orig_filename.encode(encoding)
    try:
        return (_unicode_path(info.extra, stored) or stored).decode()
    except UnicodeDecodeError as error:
        raise RejectedError(
            archive.name,
            f"the name {info.orig_filename!r} in it is in an unknown encoding: unpack it yourself "
            f"into a folder of that name (`unzip -O CP932 {archive.name}` for a Japanese Windows, "
            "CP850 for a Western European one)",
        ) from error


def _unicode_path(extra: bytes, stored: bytes) -> bytes | None:
    """The name in Info-ZIP's extra field; None if there is none, or it is for another name."""
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
    # `tarfile` treats a damaged or missing header as the end.
    stream.seek(tar.offset)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise RejectedError(archive.name, "it is damaged (it has no end)")
    # Read to the end, where the decompressor verifies its checksum.
    rest = iter(partial(stream.read, _CHUNK), b"")
    if any(number * _CHUNK > _LONGEST_HEADER for number, _ in enumerate(rest)):
        raise RejectedError(archive.name, "it continues after its end")


def _open_in_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(info)
    assert stream is not None, f"{info.name} is a file"
    return stream


class _Bounded:
    """A stream that limits the size of a read, because `tarfile` trusts the sizes in headers."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, archive: str) -> None:
        self._stream, self._archive = stream, archive
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise RejectedError(self._archive, "it is damaged (a header of many megabytes)")
        return self._stream.read(size)


class _Writer:
    """Writes members into a folder, within the limits."""

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
        # Non-ASCII names by their NFC form, because macOS treats all forms as the same name.
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
        """The path of a member; refuses duplicates, and paths below anything but a folder."""
        parts = self._parts(member.name)
        if member.kind == "other":
            raise self._refuse(f"{member.name!r} in it is not a file, folder or link")
        if not parts:
            return parts
        for length in range(1, len(parts)):
            if self._kinds.setdefault(parts[:length], "folder") != "folder":
                raise self._refuse(
                    f"{member.name!r} in it is inside something that is not a folder"
                )
        self._check_spelling(parts)
        if parts in self._kinds and not self._kinds[parts] == member.kind == "folder":
            raise self._refuse(f"{member.name!r} is in it twice")
        self._kinds[parts] = member.kind
        if len(self._kinds) > self._limits.most_files:
            raise _too_many(self._archive, self._limits)
        return parts

    def _check_spelling(self, parts: tuple[str, ...]) -> None:
        """Refuse names that are the same on macOS, where only one of them could be checked out."""
        path = "/".join(parts)
        if path.isascii():
            return
        places = [path[:end] for end, sign in enumerate(path) if sign == "/"]
        for place in (*places, path):
            spelled = unicodedata.normalize("NFC", place)
            if self._spelled.setdefault(spelled, place) != place:
                raise self._refuse(
                    f"{spelled!r} is in it in two Unicode forms (NFC and NFD), which are the same "
                    "name on macOS: rename one of them"
                )

    def _file_named(self, member: _Member) -> tuple[str, ...]:
        parts = self._parts(member.target)
        if self._kinds.get(parts) not in ("file", "copy"):
            raise self._refuse(
                f"{member.name!r} in it is a hardlink to {member.target!r}, which is not a file"
            )
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
                f"unpacking it would leave less than {self._limits.free_bytes / 1e9:g} GB of disk "
                "space (`archive_free_gigabytes` in [tool.registry_assets])"
            )

    def _link(self, links: Sequence[tuple[Path, str]]) -> None:
        for place, target in links:
            place.symlink_to(target)
        # Resolved once all links exist, because they may lead through one another.
        inside = self._folder.resolve()
        for place, target in links:
            if Path(target).is_absolute() or not Path(os.path.realpath(place)).is_relative_to(
                inside
            ):
                where = place.relative_to(self._folder).as_posix()
                raise self._refuse(f"{where!r} in it is a link out of the collection")


def _too_many(archive: Path, limits: UnpackingLimits) -> RejectedError:
    return RejectedError(
        archive.name,
        f"it contains more than {limits.most_files:,} files "
        "(`archive_most_files` in [tool.registry_assets])",
    )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
