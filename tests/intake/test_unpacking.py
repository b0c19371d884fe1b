"""Archives from anybody: what becomes a folder, and what is refused with one reason."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_assets.errors import RejectedError
from registry_assets.intake.unpacking import (
    UnpackingLimits,
    unpack,
)
from registry_assets.registry.status.archive_names import archive_stem, unreadable_stem

Write = Callable[[Path], Path]
Member = tuple[str, bytes, str | bytes]
"""Name, type as in `tarfile`, and the content or what a link leads to."""

FILE, LINK, HARD_LINK = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def tar(name: str, *members: Member) -> Write:
    def write(folder: Path) -> Path:
        compressed = next((kind for kind in ("gz", "bz2", "xz") if name.endswith(kind)), "")
        with tarfile.open(folder / name, f"w:{compressed}") as archive:  # type: ignore[call-overload]
            for path, kind, content in members:
                info = tarfile.TarInfo(path)
                info.type = kind
                if isinstance(content, str):
                    info.linkname = content
                    archive.addfile(info)
                else:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return folder / name

    return write


def zipped(name: str, *members: tuple[str, bytes], mode: int = 0o100644) -> Write:
    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in members:
                info = zipfile.ZipInfo(path)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.create_system, info.external_attr = 3, mode << 16
                archive.writestr(info, content)
        return folder / name

    return write


class StoredInfo(zipfile.ZipInfo):
    """A member whose name stands in the archive in these bytes."""

    stored = b""
    is_flagged = False

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - the name in `zipfile`
        return self.stored, 0x800 if self.is_flagged else 0


def zipped_names(
    *names: bytes, system: int = 3, extra: bytes = b"", is_flagged: bool = False
) -> Write:
    """A ZIP with a file of each name, in the bytes that an archiver writes."""

    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            for number, name in enumerate(names):
                info = StoredInfo(str(number))
                info.stored, info.is_flagged, info.extra = name, is_flagged, extra
                info.create_system = system
                info.external_attr = 0o100644 << 16 if system == 3 else 0
                archive.writestr(info, str(number))
        return folder / "x.zip"

    return write


def unicode_path(stored: bytes, name: str) -> bytes:
    """The extra field of Info-ZIP (APPNOTE.TXT, 4.6.9)."""
    field = struct.pack("<BL", 1, zlib.crc32(stored)) + name.encode()
    return struct.pack("<HHB", 0x9999, 1, 0) + struct.pack("<HH", 0x7075, len(field)) + field


NFC, NFD = "für.jpg".encode(), "fu\u0308r.jpg".encode()


def changed(write: Write, change: Callable[[bytes], bytes]) -> Write:
    def rewrite(folder: Path) -> Path:
        archive = write(folder)
        archive.write_bytes(change(archive.read_bytes()))
        return archive

    return rewrite


def encrypted(content: bytes) -> bytes:
    """Sets the bit that says so, in the header and in the directory (APPNOTE.TXT, 4.4.4)."""
    flags = bytearray(content)
    flags[6] |= 1
    flags[flags.index(b"PK\1\2") + 8] |= 1
    return bytes(flags)


def endless_header(_content: bytes) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 500_000_000
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1_000_000))


NOISE = os.urandom(20_000)
TWO = tar("two.tar", ("a", FILE, b"1" * 512), ("b", FILE, b"2" * 512))

REFUSED: dict[str, tuple[Write, str]] = {
    "above": (tar("x.tar", ("../x", FILE, b"1")), "'../x' in it leads out"),
    "absolute": (tar("x.tar", ("/tmp/x", FILE, b"1")), "leads out"),
    "drive": (zipped("x.zip", ("C:\\x", b"1")), "leads out"),
    "above in zip": (zipped("x.zip", ("a/../../x", b"1")), "leads out"),
    "link out": (tar("x.tar", ("x", LINK, "/etc"), ("y", FILE, b"")), "link out"),
    "link up": (tar("x.tar", ("d/x", LINK, "../../y"), ("y", FILE, b"")), "link out"),
    "link through a link": (
        tar("x.tar", ("d/b", LINK, ".."), ("a", LINK, "d/b/../x"), ("y", FILE, b"")),
        "link out",
    ),
    "through a link": (tar("x.tar", ("x", LINK, "."), ("x/y", FILE, b"1")), "not a folder"),
    "hard link out": (tar("x.tar", ("x", HARD_LINK, "/etc/passwd")), "leads out"),
    "hard link to nothing": (tar("x.tar", ("x", HARD_LINK, "y")), "which is not a file"),
    "link out in zip": (zipped("x.zip", ("x", b"/etc/passwd"), mode=0o120777), "link out"),
    "device": (tar("x.tar", ("x", tarfile.CHRTYPE, "")), "not a file, folder or link"),
    "pipe": (tar("x.tar", ("x", tarfile.FIFOTYPE, "")), "not a file, folder or link"),
    "device in zip": (zipped("x.zip", ("x", b""), mode=0o020666), "not a file, folder or link"),
    "twice": (tar("x.tar", ("x", FILE, b"1"), ("x", FILE, b"2")), "twice"),
    "bomb": (zipped("x.zip", ("x", bytes(20_000_000))), "more than 100 times its size"),
    "bomb in gzip": (tar("x.tgz", ("x", FILE, bytes(20_000_000))), "more than 100 times"),
    "header of a bomb": (changed(tar("x.tgz"), endless_header), "many megabytes"),
    "many": (zipped("x.zip", *((str(n), b"") for n in range(11))), "more than 10 files"),
    "encrypted": (changed(zipped("x.zip", ("x", b"1")), encrypted), "encrypted"),
    "flipped bit": (
        changed(zipped("x.zip", ("x", NOISE)), lambda c: c[:500] + b"?" + c[501:]),
        "damaged",
    ),
    "half a zip": (changed(zipped("x.zip", ("x", NOISE)), lambda c: c[:5000]), "damaged"),
    "half a gzip": (changed(tar("x.tgz", ("x", FILE, NOISE)), lambda c: c[:5000]), "damaged"),
    "wrong sum": (
        changed(tar("x.tgz", ("x", FILE, NOISE)), lambda c: c[:-8] + b"sum?" + c[-4:]),
        "damaged",
    ),
    "cut between members": (changed(TWO, lambda c: c[:1024]), "it has no end"),
    "damaged header": (changed(TWO, lambda c: c[:1024] + b"?" * 512 + c[1536:]), "no end"),
    "no archive": (changed(TWO, lambda _c: b"hello" * 500), "damaged"),
    "nothing": (changed(TWO, lambda _c: b""), "damaged"),
    "no files": (zipped("x.zip", ("folder/", b"")), "it contains no files"),
    "half a bzip2": (changed(tar("x.tar.bz2", ("x", FILE, NOISE)), lambda c: c[:5000]), "damaged"),
    "half an xz": (changed(tar("x.tar.xz", ("x", FILE, NOISE)), lambda c: c[:5000]), "damaged"),
    "flipped in bzip2": (
        changed(tar("x.tar.bz2", ("x", FILE, NOISE)), lambda c: c[:900] + b"????" + c[904:]),
        "damaged",
    ),
    "Zstandard": (changed(TWO, lambda c: b"\x28\xb5\x2f\xfd" + c), "Zstandard"),
    "bomb in xz": (tar("x.tar.xz", ("x", FILE, bytes(20_000_000))), "more than 100 times"),
    "Code Page 437": (zipped_names("für.jpg".encode("cp437"), system=0), "in an unknown encoding"),
    "Shift JIS": (zipped_names("写真.jpg".encode("cp932"), system=0), "unpack it yourself"),
    "Latin-1 of Unix": (zipped_names("für.jpg".encode("latin-1")), "in an unknown encoding"),
    "field of another name": (
        zipped_names(b"f\x81r.jpg", extra=unicode_path(b"other", "für.jpg")),
        "in an unknown encoding",
    ),
    "two spellings": (zipped_names(NFC, NFD), "in two Unicode forms"),
    "two spellings of a folder": (
        zipped_names(b"d/u\xcc\x88/1.jpg", "d/ü/2.jpg".encode()),
        "'d/ü' is in it in two Unicode forms",
    ),
    "two spellings in tar": (
        tar("x.tar", (NFC.decode(), FILE, b"1"), (NFD.decode(), FILE, b"2")),
        "in two Unicode forms",
    ),
    "up by backslashes": (zipped_names(b"..\\x.jpg", system=11), "leads out"),
    "long name": (zipped("x.zip", ("n" * 300, b"1")), "File name too long"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_has_one_reason_and_leaves_nothing(what: str, tmp_path: Path) -> None:
    write, reason = REFUSED[what]
    archive = write(tmp_path)
    with pytest.raises(RejectedError, match="cannot be taken in: ") as caught:
        unpack(archive, tmp_path / "out", UnpackingLimits(most_files=10))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("tells", [3, 300_000])
def test_the_entries_of_a_zip_are_counted_before_they_are_taken_to_memory(
    tells: int, is_large: bool, tmp_path: Path
) -> None:
    entry = struct.pack("<4s24xHHH12x", b"PK\1\2", 1, 0, 0) + b"x"
    listed = entry * 300_000
    end = struct.pack("<4s4xHHLL2x", b"PK\5\6", *[min(tells, 0xFFFF)] * 2, len(listed), 0)
    if is_large:
        end64 = struct.pack("<4sQ12xQQQQ", b"PK\6\6", 44, tells, tells, len(listed), 0)
        locator = struct.pack("<4s4xQ4x", b"PK\6\7", len(listed))
        end = (
            end64 + locator + struct.pack("<4s4xHHLL2x", b"PK\5\6", *[0xFFFF] * 2, *[2**32 - 1] * 2)
        )
    archive = tmp_path / "x.zip"
    archive.write_bytes(listed + end)
    tracemalloc.start()
    try:
        with pytest.raises(RejectedError, match="more than 1,000 files"):
            unpack(archive, tmp_path / "out", UnpackingLimits(most_files=1000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_a_disk_that_would_be_full_stays_free(name: str, tmp_path: Path) -> None:
    write = zipped(name, ("x", b"1")) if name == "x.zip" else tar(name, ("x", FILE, b"1"))
    with pytest.raises(RejectedError, match=r"disk"):
        unpack(write(tmp_path), tmp_path / "out", UnpackingLimits(free_bytes=10**16))
    assert not (tmp_path / "out").exists()


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.jpg")}


def test_what_is_in_an_archive_is_in_the_folder(tmp_path: Path) -> None:
    members: list[Member] = [
        ("./a.jpg", FILE, NOISE[:1024]),
        ("deep/er/b.jpg", FILE, NOISE),
        ("deep/link.jpg", LINK, "er/b.jpg"),
        ("same.jpg", HARD_LINK, "a.jpg"),
        ("grüße.jpg", FILE, b""),
    ]
    content = {"a.jpg": NOISE[:1024], "deep/er/b.jpg": NOISE, "deep/link.jpg": NOISE}
    content |= {"same.jpg": NOISE[:1024], "grüße.jpg": b""}
    for number, name in enumerate(("x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz")):
        out = unpack(tar(name, *members)(tmp_path), tmp_path / str(number), UnpackingLimits())
        assert files_of(out) == content
        assert (out / "deep/link.jpg").is_symlink()
    write = zipped("x.zip", ("a.jpg", NOISE[:1024]), ("deep/", b""), ("deep/er/b.jpg", NOISE))
    out = unpack(write(tmp_path), tmp_path / "zip", UnpackingLimits())
    assert files_of(out) == {"a.jpg": NOISE[:1024], "deep/er/b.jpg": NOISE}


def test_a_folder_named_like_the_archive_is_not_doubled(tmp_path: Path) -> None:
    write = zipped("05.v2.zip", ("05.v2/a.jpg", b"1"), ("__MACOSX/05.v2/._a.jpg", b"2"))
    assert files_of(unpack(write(tmp_path), tmp_path / "1", UnpackingLimits())) == {"a.jpg": b"1"}
    other = zipped("06.zip", ("05.v2/a.jpg", b"1"))(tmp_path)
    assert files_of(unpack(other, tmp_path / "2", UnpackingLimits())) == {"05.v2/a.jpg": b"1"}


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (zipped_names(NFC), NFC.decode()),
        (zipped_names(NFD), NFD.decode()),
        (zipped_names(NFC, is_flagged=True), NFC.decode()),
        (zipped_names("旅行/写真.jpg".encode()), "旅行/写真.jpg"),
        (zipped_names("Füße".encode() + b"\\a.jpg", system=0), "Füße/a.jpg"),
        (zipped_names(b"2024\\May\\a.jpg", system=11), "2024/May/a.jpg"),
        (zipped_names(b"a\\b.jpg"), "a\\b.jpg"),
        (
            zipped_names(b"f\x81r.jpg", system=0, extra=unicode_path(b"f\x81r.jpg", "für.jpg")),
            "für.jpg",
        ),
        (
            zipped_names(b"_.jpg", extra=unicode_path(b"_.jpg", "写真.jpg")),
            "写真.jpg",
        ),
    ],
)
def test_names_in_a_zip_are_what_they_were_where_it_was_made(
    write: Write, expected: str, tmp_path: Path
) -> None:
    out = unpack(write(tmp_path), tmp_path / "out", UnpackingLimits())
    assert files_of(out) == {expected: b"0"}


def test_the_ending_tells_an_archive() -> None:
    names = ("a.zip", "a.TAR.GZ", "a.b.tgz", "a.tar", "a.gz", ".zip", "zip", "a.zip.dvc")
    stems = ("a", "a", "a.b", "a", None, None, None, None)
    assert tuple(map(archive_stem, names)) == stems
    assert tuple(map(archive_stem, ("a.Zip", "a.Tar.XZ", "a.tbz2"))) == ("a", "a", "a")
    assert tuple(map(unreadable_stem, ("a.RAR", "a.7z", "a.tar.zst", "a.jpg"))) == (
        *("a", "a", "a", None),
    )
