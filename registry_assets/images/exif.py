"""Reading EXIF: when, where and with what a photograph was taken.

Tags are those of EXIF 2.32 (CIPA DC-008-2019): 4.6.4 for the TIFF tags, 4.6.5 for the Exif IFD and
4.6.6 for the GPS IFD. Where a format has the block: JPEG in APP1 (4.7.2), PNG in the chunk eXIf
(PNG, third edition) or a text chunk of ImageMagick, WebP in the chunk EXIF, JPEG XL in a box
(ISO/IEC 18181-2). TIFF, and camera raw with its structure, are such a block themselves, and RAF has
a JPEG. HEIF and AVIF are opened by Pillow. What other camera raw has is not read.

Only the tags that are asked for are read, each up to a limit, so that a hostile file costs no more
than another. What is broken is as if it were not there; nothing raises an exception. Formats that
Pillow opens are C code, so untrusted files belong in a worker (`workers`).
"""

import datetime
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from PIL import ExifTags

from registry_assets.images.bare_pictures import PNG, read_png_chunks, read_riff_chunks
from registry_assets.images.camera_raw import is_camera_raw
from registry_assets.images.contents import Unreadable, read_contents
from registry_assets.images.jpeg_decoding import EXIF_HEADER, find_metadata
from registry_assets.images.tiff_directories import Tags
from registry_assets.images.worker_process import allow_time
from registry_assets.images.workers import map_in_order

MOST_CHARACTERS = 128
"""Longer texts are cut."""

_SECONDS_PER_FILE = 10.0
_MOST_DESCRIBED = 500
_MOST_CHARACTERS_DESCRIBED = 500
_MOST_NUMBERS_DESCRIBED = 16

_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 0x8769, 0x8825, 0xA005
_MAKE, _MODEL, _ORIENTATION, _XMP = 0x010F, 0x0110, 0x0112, 0x02BC
_ORIGINAL_TIME, _ORIGINAL_OFFSET, _ORIGINAL_SUB_SECONDS = 0x9003, 0x9011, 0x9291
_LENS_MAKE, _LENS_MODEL = 0xA433, 0xA434
_GPS_VERSION, _LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 0, 1, 2, 3, 4
_ALTITUDE_REF, _ALTITUDE = 5, 6
_ORIENTATIONS = range(1, 9)
# Below sea level, and below the ellipsoid (EXIF 3.0).
_BELOW = (1, 3)

_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_XMP_PLACE = re.compile(rb"GPS(Latitude|Longitude)")

# Of ImageMagick: a name, the size, and the block in hexadecimal digits.
_RAW_PROFILE = re.compile(rb"Raw profile type (?:exif|APP1)\0")
_PROFILE_HEX = re.compile(rb"\s*(?:exif|generic profile)\s+\d+\s+([0-9a-f\s]*)", re.IGNORECASE)
_MOST_OF_PROFILE = 1 << 18

_TIFF_LIKE = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")
_RAF = b"FUJIFILMCCD-RAW"
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
_BY_PLUGIN = re.compile(
    rb"\0\0\0.ftyp(avi[fs]|hei[cxms]|hev[cxms]|mif1|msf1)",
    re.DOTALL,
)

# Some programs write the date with other separators.
_TIME = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_SUB_SECONDS = re.compile(r"\d+", re.ASCII)
_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d", re.ASCII)

_MOST_METRES = 100_000


class Exif(NamedTuple):
    """When, where and with what a photograph was taken.

    Attributes:
        taken: ISO 8601, as the camera's clock showed it (DateTimeOriginal): `2021-10-16T07:31:05`,
            with `.250` or `.250000` where sub-seconds are recorded, and `+02:00` where the offset
            from UTC is; empty if unknown.
        camera: Make and model.
        lens: Make and model.
        orientation: What is to be done to the stored picture, 1 to 8; None if not stated.
        latitude: In degrees, negative in the south.
        longitude: In degrees, negative in the west.
        altitude: In metres, negative below sea level.
        has_gps: Whether there is anything about a place, also if it is not usable. The version of
            the GPS tags alone, which some cameras always write, is not. None if the format may have
            EXIF and it cannot be read.
    """

    taken: str = ""
    camera: str = ""
    lens: str = ""
    orientation: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    has_gps: bool | None = None


def read_exif(contents: bytes) -> Exif:
    """Read the EXIF of a file, of the first picture where it has several.

    Args:
        contents: The whole file; need not be an image.
    """
    found = _find_blocks(contents)
    if found is None:
        return Exif()
    block, xmp = found
    first = Tags.read(block)
    exif, gps = first.directory_of(_EXIF_IFD), first.directory_of(_GPS_IFD)
    latitude = _read_degrees(gps, _LATITUDE, _LATITUDE_REF, "NS", 90)
    longitude = _read_degrees(gps, _LONGITUDE, _LONGITUDE_REF, "EW", 180)
    has_place = latitude is not None and longitude is not None
    return Exif(
        # TIFF/EP, as in some camera raw, has the time in the first directory.
        taken=_read_time(exif) or _read_time(first),
        camera=join_make(_read_text(first, _MAKE), _read_text(first, _MODEL)),
        lens=join_make(_read_text(exif, _LENS_MAKE), _read_text(exif, _LENS_MODEL)),
        orientation=_read_orientation(first),
        latitude=latitude if has_place else None,
        longitude=longitude if has_place else None,
        altitude=_read_altitude(gps),
        has_gps=_names_place(first, gps) or _XMP_PLACE.search(xmp) is not None,
    )


def describe_tags(contents: bytes) -> Mapping[str, str]:
    """Return the tags of a file's EXIF as text, by name, in the order of the file.

    Values are cut; the contents of thumbnails and of cameras' own notes are only counted.
    """
    block, _ = _find_blocks(contents) or (b"", b"")
    first = Tags.read(block)
    exif = first.directory_of(_EXIF_IFD)
    described: dict[str, str] = {}
    for tags, names in (
        (first, ExifTags.TAGS),
        (exif, ExifTags.TAGS),
        (first.directory_of(_GPS_IFD), ExifTags.GPSTAGS),
        (exif.directory_of(_INTEROP_IFD), _INTEROP_TAGS),
    ):
        for tag in tags:
            if len(described) == _MOST_DESCRIBED:
                return described
            if tag in _STRUCTURE:
                continue
            name = names.get(tag)
            text = _describe(tags, tag, name or "")
            if text:
                described.setdefault(_as_words(name) if name else f"Tag 0x{tag:04x}", text)
    return described


def describe_file(path: str | os.PathLike[str]) -> Mapping[str, str]:
    """Return the tags of a file as `describe_tags` does; empty if it cannot be read.

    Reads the file in a worker process, as it is not trusted.
    """
    return next(map_in_order(_describe_file, [path], on_failure=lambda *_: {}))


def _describe_file(path: str | os.PathLike[str]) -> Mapping[str, str]:
    allow_time(seconds=_SECONDS_PER_FILE)
    contents = read_contents(path)
    return {} if isinstance(contents, Unreadable) else describe_tags(contents)


def join_make(make: str, model: str) -> str:
    """Join make and model, without a make that the model repeats: `Canon EOS 80D`."""
    beginning = model.split(" ", 1)[0].casefold()
    if model and beginning in make.casefold().split():
        make = ""
    return " ".join(filter(None, (make, model)))[:MOST_CHARACTERS]


def _find_blocks(contents: bytes) -> tuple[bytes, bytes] | None:
    """Return the EXIF of a file, as a TIFF, and its XMP, empty if it has none; None if unknown."""
    if contents.startswith(b"\xff\xd8"):
        return _find_in_jpeg(contents)
    if contents.startswith(PNG):
        return _find_in_png(contents)
    if contents.startswith(b"RIFF") and contents[8:12] == b"WEBP":
        return _find_in_webp(contents)
    if contents.startswith(_TIFF_LIKE):
        return contents, Tags.read(contents).text_of(_XMP)
    if contents.startswith(_RAF) and len(contents) >= 92:
        place, size = struct.unpack_from(">II", contents, 84)
        return _find_in_jpeg(contents[place : place + size])
    if contents.startswith(_JXL):
        return _find_in_jxl(contents)
    if _BY_PLUGIN.match(contents):
        return _find_with_plugin(contents)
    return None if is_camera_raw(contents) else (b"", b"")


def _find_in_jpeg(contents: bytes) -> tuple[bytes, bytes]:
    block = xmp = b""
    for begin, end in find_metadata(contents):
        if not block and contents.startswith(EXIF_HEADER, begin):
            block = contents[begin + 6 : end]
        elif not xmp and contents.startswith(_XMP_HEADER, begin):
            xmp = contents[begin:end]
    return block, xmp


def _find_in_png(contents: bytes) -> tuple[bytes, bytes]:
    block = xmp = profile = b""
    for kind, begin, end in read_png_chunks(contents):
        if kind == b"eXIf":
            block = contents[begin:end]
        elif kind == b"iTXt" and contents.startswith(_XMP_KEYWORD, begin):
            xmp = contents[begin:end]
        elif kind in (b"tEXt", b"zTXt") and _RAW_PROFILE.match(contents, begin):
            profile = contents[
                contents.index(b"\0", begin) + 1 : min(end, begin + _MOST_OF_PROFILE)
            ]
            if kind == b"zTXt":
                profile = _inflate(profile[1:])
    return _without_header(block or _decode_profile(profile)), xmp


def _find_in_webp(contents: bytes) -> tuple[bytes, bytes]:
    found = {
        kind: contents[begin:end]
        for kind, begin, end in read_riff_chunks(contents, 12, len(contents))
        if kind in (b"EXIF", b"XMP ")
    }
    return _without_header(found.get(b"EXIF", b"")), found.get(b"XMP ", b"")


def _find_in_jxl(contents: bytes) -> tuple[bytes, bytes] | None:
    block = xmp = b""
    place = 0
    while place + 8 <= len(contents):
        size, kind = struct.unpack_from(">I4s", contents, place)
        begin = place + 8
        if size == 1 and begin + 8 <= len(contents):
            (size,) = struct.unpack_from(">Q", contents, begin)
            begin += 8
        end = place + size if size else len(contents)
        if kind == b"Exif":
            # The offset of the TIFF goes first, which some encoders leave out.
            if not contents.startswith(_TIFF_LIKE, begin):
                begin += 4 + int.from_bytes(contents[begin : begin + 4], "big")
            block = contents[begin:end]
        elif kind == b"xml ":
            xmp = contents[begin:end]
        elif kind == b"brob" and contents[begin : begin + 4] in (b"Exif", b"xml "):
            # Compressed with Brotli.
            return None
        if end < place + 8:
            break
        place = end
    return block, xmp


def _find_with_plugin(contents: bytes) -> tuple[bytes, bytes] | None:
    # Imported here, as other formats need no decoder.
    from registry_assets.images.decoding import open_image

    # Decoders raise any kind of error on invalid data, and plugins may be missing.
    try:
        with open_image(contents) as image:
            block, xmp = (image.info.get(name) or b"" for name in ("exif", "xmp"))
    except Exception:
        return None
    return _without_header(bytes(block)), bytes(xmp)


def _without_header(block: bytes) -> bytes:
    return block[6:] if block.startswith(EXIF_HEADER) else block


def _inflate(compressed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(compressed, _MOST_OF_PROFILE)
    except zlib.error:
        return b""


def _decode_profile(profile: bytes) -> bytes:
    found = _PROFILE_HEX.match(profile)
    digits = b"".join(found.group(1).split()) if found else b""
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))


def _read_text(tags: Tags, tag: int) -> str:
    stored = tags.text_of(tag)
    return _as_text(stored, MOST_CHARACTERS) if stored else ""


def _as_text(stored: bytes, most: int) -> str:
    stored = stored.partition(b"\0")[0]
    # EXIF says ASCII. Cameras and programs also write UTF-8 and Windows' Western code page.
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        text = stored.decode("cp1252", "replace")
    return text.strip()[:most].strip()


def _read_time(tags: Tags) -> str:
    found = _TIME.match(_read_text(tags, _ORIGINAL_TIME))
    if not found:
        return ""
    try:
        year, month, day, hour, minute, second = map(int, found.groups())
        taken = datetime.datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:
        return ""
    digits = _SUB_SECONDS.match(_read_text(tags, _ORIGINAL_SUB_SECONDS))
    if digits:
        # As Python before 3.11 reads it: three digits or six.
        text = digits.group()[:6]
        taken += f".{text:0<3}" if len(text) <= 3 else f".{text:0<6}"
    offset = _OFFSET.fullmatch(_read_text(tags, _ORIGINAL_OFFSET))
    return taken + offset.group() if offset else taken


def _read_orientation(tags: Tags) -> int | None:
    stated = tags.number_of(_ORIENTATION)
    return int(stated) if stated in _ORIENTATIONS else None


def _read_degrees(gps: Tags, tag: int, ref: int, signs: str, most: int) -> float | None:
    parts = gps.numbers_of(tag)
    sign = _read_text(gps, ref).upper()[:1]
    # Without the reference, it may be the other hemisphere.
    if not 1 <= len(parts) <= 3 or not sign or sign not in signs:
        return None
    degrees = 0.0
    for part, share in zip(parts, (1, 60, 3600), strict=False):
        # This is false for NaN, too.
        if not part >= 0:
            return None
        degrees += part / share
    if degrees > most:
        return None
    return -degrees if degrees and sign == signs[1] else degrees


def _read_altitude(gps: Tags) -> float | None:
    altitude = gps.number_of(_ALTITUDE)
    # This is false for NaN and infinity, too.
    if not abs(altitude) <= _MOST_METRES:
        return None
    is_below = gps.number_of(_ALTITUDE_REF) in _BELOW
    return -float(altitude) if altitude and is_below else float(altitude)


def _names_place(first: Tags, gps: Tags) -> bool:
    if _GPS_IFD not in first:
        return False
    # Others may be able to read a directory that is broken.
    return not gps.is_readable or [*gps] not in ([], [_GPS_VERSION])


# How `describe_tags` shows values. Names: EXIF 2.32, the tables of the tags concerned.
_STRUCTURE = frozenset(
    (_EXIF_IFD, _GPS_IFD, _INTEROP_IFD, 0x014A, 0x0111, 0x0117, 0x0144, 0x0145, 0x0201, 0x0202)
)
_INTEROP_TAGS = {tag.value: tag.name for tag in ExifTags.Interop}
_CHOICES: Mapping[str, Mapping[int, str]] = {
    "Orientation": dict(
        enumerate(
            (
                *("upright", "to be mirrored", "to be turned by 180°", "to be flipped"),
                *("to be transposed", "to be turned right", "to be transversed"),
                "to be turned left",
            ),
            1,
        )
    ),
    "ResolutionUnit": {2: "inch", 3: "centimetre"},
    "ExposureProgram": dict(
        enumerate(
            (
                *("manual", "normal", "aperture priority", "shutter priority", "creative"),
                *("action", "portrait", "landscape"),
            ),
            1,
        )
    ),
    "MeteringMode": dict(
        enumerate(("average", "centre-weighted", "spot", "multi-spot", "pattern", "partial"), 1)
    ),
    "ColorSpace": {1: "sRGB", 0xFFFF: "uncalibrated"},
    "ExposureMode": {0: "auto", 1: "manual", 2: "auto bracket"},
    "WhiteBalance": {0: "auto", 1: "manual"},
    "SceneCaptureType": {0: "standard", 1: "landscape", 2: "portrait", 3: "night"},
    "GPSAltitudeRef": {0: "above sea level", 1: "below sea level"},
}
_FORMATS: Mapping[str, Callable[[float], str]] = {
    "ExposureTime": lambda seconds: (
        f"1/{1 / seconds:.0f} s" if 0 < seconds < 0.3 else f"{seconds:g} s"
    ),
    "FNumber": lambda number: f"f/{number:g}",
    "FocalLength": lambda length: f"{length:g} mm",
    "FocalLengthIn35mmFilm": lambda length: f"{length:g} mm",
    "ExposureBiasValue": lambda steps: f"{steps:+.2g} EV" if steps else "0 EV",
    "SubjectDistance": lambda distance: f"{distance:g} m",
    "GPSAltitude": lambda altitude: f"{altitude:g} m",
    "Flash": lambda flash: "fired" if int(flash) & 1 else "did not fire",
}
_COMMENT_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", bytes(8): "utf-8"}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _as_words(name: str) -> str:
    return _WORDS.sub(" ", name)


def _describe(tags: Tags, tag: int, name: str) -> str:
    """Return a value as text; empty if there is none."""
    kind, _, size = tags.find(tag)
    stored = tags.text_of(tag)
    if name.startswith("XP"):
        return _shorten(stored.decode("utf-16-le", "replace"))
    if name == "UserComment" and stored[:8] in _COMMENT_CODES:
        return _describe_comment(stored[8:], stored[:8], tags.is_little_endian)
    if kind in (2, 7, 129):
        text = _as_text(stored, len(stored))
        is_text = kind != 7 or (text.isprintable() and not stored.rstrip(b"\0").count(b"\0"))
        return _shorten(text) if is_text else f"{size:,} bytes"
    if kind in (1, 6) and size > _MOST_NUMBERS_DESCRIBED:
        return f"{size:,} bytes"
    numbers = tags.numbers_of(tag)
    if not numbers:
        return ""
    if len(numbers) == 1 and math.isfinite(numbers[0]):
        if numbers[0] in _CHOICES.get(name, {}):
            return _CHOICES[name][int(numbers[0])]
        if name in _FORMATS:
            return _FORMATS[name](numbers[0])
    if name in ("GPSLatitude", "GPSLongitude") and len(numbers) == 3:
        return "{:g}° {:g}\N{PRIME} {:g}\N{DOUBLE PRIME}".format(*numbers)
    shown = ", ".join(
        "unknown" if math.isnan(number) else f"{number:.10g}"
        for number in numbers[:_MOST_NUMBERS_DESCRIBED]
    )
    return f"{shown}, …" if len(numbers) > _MOST_NUMBERS_DESCRIBED else shown


def _describe_comment(stored: bytes, code: bytes, is_little_endian: bool) -> str:
    codec = _COMMENT_CODES[code]
    if codec == "utf-16" and stored[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        codec = "utf-16-le" if is_little_endian else "utf-16-be"
    return _shorten(stored.decode(codec, "replace"))


def _shorten(text: str) -> str:
    text = text.strip("\0 \t\r\n")
    if len(text) <= _MOST_CHARACTERS_DESCRIBED:
        return text
    return text[: _MOST_CHARACTERS_DESCRIBED - 1] + "…"
