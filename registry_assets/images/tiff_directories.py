"""Reading the directories (IFDs) of a TIFF, before anything is decoded.

Most camera raw files are TIFFs, usually with a thumbnail in the first directory; and many kinds of
TIFF have no decoder. Tags: TIFF 6.0, and "Digital Negative Specification" 1.7, Adobe.
"""

import io
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
