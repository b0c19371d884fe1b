"""Small samples of every kind of file that the product opens, and damage done to them by chance."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import ExifTags, Image, features

from tests.images.drawing import write_video

_WIDTH, _HEIGHT = 48, 32
# What lengths, offsets and counts in headers are not expected to be.
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def samples() -> Mapping[str, bytes]:
    """One file of each kind, by its suffix; none has more than a few kilobytes."""
    return {**_pictures(), **_videos(), **_archives()}


PICTURES = ("png", "jpg", "webp", "tif", "gif", "avif", "bmp", "jp2", "ico")
VIDEOS = ("mp4", "avi", "mkv")
ARCHIVES = ("zip", "tar", "tar.gz", "tar.xz", "tar.bz2")


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Damages a file in one to four ways; checksums of some are made to fit afterwards."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if not changed:
            break
        changed = chance.choice(_WAYS)(changed, chance)
    if changed.startswith(b"\x89PNG") and chance.random() < 0.7:
        return _with_checksums(bytes(changed))
    return bytes(changed)


def _flip(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _set(data: bytearray, chance: random.Random) -> bytearray:
    """Replaces a number, mostly near the beginning, where headers are."""
    form = chance.choice(("<H", ">H", "<I", ">I", "B"))
    size = struct.calcsize(form)
    most = min(len(data), chance.choice((64, 512, len(data))))
    if most > size:
        at = chance.randrange(most - size)
        value = chance.choice(_EXTREMES) & ((1 << 8 * size) - 1)
        data[at : at + size] = struct.pack(form, value)
    return data


def _cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def _drop(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.randint(1, 64) :]


def _repeat(data: bytearray, chance: random.Random) -> bytearray:
    at, size = chance.randrange(len(data)), chance.randint(1, 256)
    return data[:at] + data[at : at + size] * chance.choice((2, 3, 50)) + data[at + size :]


def _fill(data: bytearray, chance: random.Random) -> bytearray:
    at, size = chance.randrange(len(data)), chance.randint(1, 512)
    data[at : at + size] = bytes([chance.choice((0, 0xFF, 0x20))]) * len(data[at : at + size])
    return data


def _splice(data: bytearray, chance: random.Random) -> bytearray:
    """Goes on as a file of another kind."""
    other = chance.choice([*samples().values()])
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


_WAYS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    *(_flip, _set, _set, _set),
    *(_cut, _drop, _repeat, _fill, _splice),
)


def _with_checksums(png: bytes) -> bytes:
    """Makes the checksums of chunks fit, so that the damage reaches who reads them."""
    at, whole = 8, png[:8]
    while at + 12 <= len(png):
        (size,) = struct.unpack_from(">I", png, at)
        chunk = png[at + 4 : at + 8 + size]
        if at + 12 + size > len(png):
            break
        whole += png[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + size
    return whole + png[at:]


def _pictures() -> dict[str, bytes]:
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    grain = np.random.default_rng(0).integers(0, 60, (_HEIGHT, _WIDTH))
    image = Image.fromarray(np.stack([x * 4 + grain, y * 6, x + y + grain], 2).astype(np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Maker", 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2021:10:16 07:31:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (34.0, 36.0, 30.0)
    kinds: dict[str, tuple[str, dict[str, object]]] = {
        "png": ("PNG", {"exif": exif}),
        "jpg": ("JPEG", {"exif": exif}),
        "webp": ("WEBP", {"exif": exif}),
        "tif": ("TIFF", {"compression": "tiff_lzw", "exif": exif}),
        "gif": ("GIF", {"save_all": True, "append_images": [image.rotate(90)] * 2}),
        "bmp": ("BMP", {}),
        "ico": ("ICO", {}),
    }
    if features.check("avif"):
        kinds["avif"] = ("AVIF", {})
    if features.check("jpg_2000"):
        kinds["jp2"] = ("JPEG2000", {})
    found = {}
    for suffix, (form, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        found[suffix] = buffer.getvalue()
    return found


def _videos() -> dict[str, bytes]:
    found = {}
    with TemporaryDirectory() as folder:
        for suffix, codec in (("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "mpeg4")):
            place = write_video(Path(folder) / f"v.{suffix}", frames=6, rate=5, codec=codec)
            found[suffix] = place.read_bytes()
    return found


def _archives() -> dict[str, bytes]:
    files = {"a.jpg": _pictures()["jpg"], "sub/b.txt": b"text\n" * 40, "sub/ü.png": b"no png"}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    found = {"zip": zipped.getvalue()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(link)
    plain = buffer.getvalue()
    found |= {"tar": plain, "tar.gz": gzip.compress(plain, mtime=0)}
    found |= {"tar.xz": lzma.compress(plain), "tar.bz2": bz2.compress(plain)}
    return found
