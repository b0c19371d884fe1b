"""Reading the directories (IFDs) of a TIFF, before anything is decoded.

Most camera raw files are TIFFs, usually with a thumbnail in the first directory; and many kinds of
TIFF have no decoder. Tags: TIFF 6.0, and "Digital Negative Specification" 1.7, Adobe.
"""

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import TiffImagePlugin
from PIL.TiffTags import TAGS_V2

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BIG = (b"II+\0", b"MM\0+")

_IS_REDUCED, _COMPRESSION, _COLOURS, _SUB_DIRECTORIES, _DNG_VERSION = 254, 259, 262, 330, 50706
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _SAMPLE_KIND = 256, 257, 258, 277, 339
_PLACES_AND_SIZES = ((273, 279), (324, 325))

# Photometric interpretations of sensor data: CFA, and LinearRaw.
_COLOURS_OF_SENSORS = (32803, 34892)

# RGB, palette, CMYK, YCbCr, CIELAB.
_COLOURS_OF_PICTURES = (2, 3, 5, 6, 8)

_MOST_SUB_DIRECTORIES = 16


@dataclass(frozen=True)
class Directory:
    """The tags of a directory; 0 for missing ones."""

    width: int
    height: int
    is_reduced: bool
    colours: int
    is_dng: bool
    compression: int
    bits: tuple[int, ...]
    samples: int
    sample_kind: int
    sub_directories: tuple[int, ...]
    end: int
    """The end of the picture's data in the file."""
    size: int
    """The size of the picture's data in bytes."""


def is_tiff(contents: bytes) -> bool:
    """Return whether contents have the signature of TIFF or BigTIFF."""
    return contents.startswith(_SIGNATURES)


def read_directories(contents: bytes) -> Iterator[Directory]:
    """Yield the first directory and its sub-directories; unreadable ones are skipped."""
    first = _read(contents, None)
    if first is None:
        return
    yield first
    for place in first.sub_directories[:_MOST_SUB_DIRECTORIES]:
        directory = _read(contents, place)
        if directory is not None:
            yield directory


def holds_camera_raw(contents: bytes) -> bool:
    """Return whether a TIFF is camera raw: sensor data, or a thumbnail before the full picture.

    A picture followed by reduced versions, as in a pyramid, is no camera raw.
    """
    directories = list(read_directories(contents))
    if not directories:
        return False
    first, *others = directories
    if first.is_dng or any(d.colours in _COLOURS_OF_SENSORS for d in directories):
        return True
    return first.is_reduced and any(
        not other.is_reduced and other.width * other.height > first.width * first.height
        for other in others
    )


def holds_ordinary_picture(contents: bytes) -> bool:
    """Return whether a TIFF with a camera raw suffix is an ordinary colour picture.

    It is if the first picture takes most of the file, which leaves no room for sensor data. A grey
    picture may be sensor data itself.
    """
    first = next(read_directories(contents), None)
    return (
        first is not None
        and not first.is_reduced
        and first.colours in _COLOURS_OF_PICTURES
        and len(contents) / 2 < first.size
        and first.end <= len(contents)
        and not holds_camera_raw(contents)
    )


def describe_unsupported(contents: bytes) -> str | None:
    """Describe the kind of a TIFF; None if it is damaged: no directory, or truncated data."""
    first = next(read_directories(contents), None)
    if first is None or not (first.width and first.height and 0 < first.end <= len(contents)):
        return None
    compression = TAGS_V2[_COMPRESSION].enum
    names = {value: name for name, value in compression.items()}
    parts = [f"{first.samples} channels" if first.samples > 1 else "1 channel"]
    parts.append(f"{'/'.join(map(str, sorted(set(first.bits))))} bits")
    kind = {2: "signed", 3: "floating point", 5: "complex", 6: "complex"}.get(first.sample_kind)
    if kind:
        parts[-1] += f" {kind}"
    if first.compression != 1:
        parts.append(f"compression {names.get(first.compression, first.compression)}")
    return ", ".join(parts)


def _read(contents: bytes, place: int | None) -> Directory | None:
    is_big = contents.startswith(_BIG)
    file = io.BytesIO(contents)
    # Pillow raises any kind of error on invalid data.
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if is_big else 8))
        file.seek(tags.next if place is None else place)
        tags.load(file)
        ends = [
            max(
                map(sum, zip(_numbers(tags, places), _numbers(tags, sizes), strict=True)), default=0
            )
            for places, sizes in _PLACES_AND_SIZES
        ]
        return Directory(
            width=_number(tags, _WIDTH),
            height=_number(tags, _HEIGHT),
            is_reduced=bool(_number(tags, _IS_REDUCED) & 1),
            colours=_number(tags, _COLOURS),
            is_dng=_DNG_VERSION in tags,
            compression=_number(tags, _COMPRESSION) or 1,
            bits=_numbers(tags, _BITS) or (1,),
            samples=_number(tags, _SAMPLES) or 1,
            sample_kind=_number(tags, _SAMPLE_KIND) or 1,
            sub_directories=_numbers(tags, _SUB_DIRECTORIES),
            end=max(ends),
            size=max(sum(_numbers(tags, sizes)) for _, sizes in _PLACES_AND_SIZES),
        )
    except Exception:
        return None


def _number(tags: Any, tag: int) -> int:
    return next(iter(_numbers(tags, tag)), 0)


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    value = tags.get(tag, ())
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)


# The sizes of types and their codes of `struct`: TIFF 6.0, BigTIFF, and UTF-8 of EXIF 3.0.
_SIZES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8},
    **{13: 4, 16: 8, 17: 8, 18: 8, 129: 1},
}
_CODES = {
    **{1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d"},
    **{13: "I", 16: "Q", 17: "q", 18: "Q"},
}
_RATIONALS = (5, 10)
# Bytes, ASCII, undefined, UTF-8.
_TEXTS = (1, 2, 7, 129)

# The place of the first directory in the header, the number of entries, and the tag of an entry.
_LAYOUT, _BIG_LAYOUT = ("4xI", "H", "H10x"), ("8xQ", "Q", "H18x")

_MOST_TAGS = 1000
_MOST_BYTES = 4096


class Tags:
    """The tags of a directory, whose values are read when they are asked for, and only so far.

    Pillow copies every value of a directory when it opens it: in a hostile one, a thousand tags can
    each have the whole file as their value.

    Attributes:
        is_readable: Whether there is such a directory; one that is cut short is.
        is_little_endian: The order of bytes.
    """

    def __init__(self, contents: bytes) -> None:
        self._contents = contents
        self._places: dict[int, int] = {}
        self.is_readable = False
        self.is_little_endian = contents.startswith(b"II")
        self._order = "<" if self.is_little_endian else ">"
        self._is_big = contents[2:4] in (b"+\0", b"\0+")

    @classmethod
    def read(cls, contents: bytes, place: int | None = None) -> "Tags":
        """Read the directory at a place, or the first one; without tags if it is not readable.

        Args:
            contents: A TIFF, or a file with the same structure and another signature.
            place: Where the directory begins.
        """
        tags = cls(contents)
        order, (head, at, entry) = tags._order, _BIG_LAYOUT if tags._is_big else _LAYOUT
        try:
            if place is None:
                (place,) = struct.unpack_from(order + head, contents)
            (count,) = struct.unpack_from(order + at, contents, place)
        # Offsets of 64 bits can be larger than Python can seek.
        except (struct.error, OverflowError):
            return tags
        size = struct.calcsize(entry)
        begin = place + struct.calcsize(at)
        count = min(count, _MOST_TAGS, (len(contents) - begin) // size)
        entries = contents[begin : begin + size * count]
        for (tag,) in struct.iter_unpack(order + entry, entries):
            tags._places[tag] = begin
            begin += size
        tags.is_readable = True
        return tags

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the tags."""
        return iter(self._places)

    def __contains__(self, tag: int) -> bool:
        """Whether there is this tag, readable or not."""
        return tag in self._places

    def find(self, tag: int) -> tuple[int, int, int]:
        """Return the type of a tag, and the place and size of its value; zeros without one."""
        entry = self._places.get(tag)
        if entry is None:
            return 0, 0, 0
        code, inline = ("2xHQQ", 8) if self._is_big else ("2xHII", 4)
        kind, count, place = struct.unpack_from(self._order + code, self._contents, entry)
        size = _SIZES.get(kind, 0) * count
        if size <= inline:
            place = entry + 4 + inline
        if not size or place + size > len(self._contents):
            return 0, 0, 0
        return kind, place, size

    def text_of(self, tag: int) -> bytes:
        """Return the begin of a value as it is stored, if it is text or of no type."""
        kind, place, size = self.find(tag)
        if kind not in _TEXTS:
            return b""
        return self._contents[place : place + (size if size < _MOST_BYTES else _MOST_BYTES)]

    def numbers_of(self, tag: int) -> tuple[float, ...]:
        """Return the first numbers of a value; NaN for those with a denominator of zero."""
        kind, place, size = self.find(tag)
        if kind not in _CODES:
            return ()
        size = min(size, _MOST_BYTES) // _SIZES[kind]
        count = 2 * size if kind in _RATIONALS else size
        values = struct.unpack_from(f"{self._order}{count}{_CODES[kind]}", self._contents, place)
        if kind not in _RATIONALS:
            return values
        fractions = zip(values[::2], values[1::2], strict=True)
        return tuple([above / below if below else math.nan for above, below in fractions])

    def number_of(self, tag: int) -> float:
        """Return the first number of a value; NaN if there is none."""
        numbers = self.numbers_of(tag)
        return numbers[0] if numbers else math.nan

    def directory_of(self, tag: int) -> "Tags":
        """Return the directory that a tag leads to."""
        place = self.number_of(tag)
        if not isinstance(place, int) or place < 0:
            return Tags(self._contents)
        return Tags.read(self._contents, place)
