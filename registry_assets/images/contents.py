"""The bytes of a file that may be an image, read without looking into them.

Apart from decoding, because what only lists, links or reads tables must not pay for loading
decoders.
"""

import hashlib
import os
import re
import stat
import struct
from dataclasses import dataclass

SET_ASIDE_PREFIX = b"registry_assets set aside: "
"""How a note begins that stands in the place of something that DVC cannot store."""

SET_ASIDE_MOST_BYTES = 1024
"""A longer file is never taken for such a note."""

MAX_FILE_BYTES = 1 << 30
"""Larger files are not read: 1 GiB."""

MAX_PIXELS = 250_000_000
"""Larger images are not decoded, unless a data set says otherwise (`max_megapixels`).

Measuring takes up to 14 bytes for a pixel, besides the file: 7 for JPEG, 10 for other RGB, 14 with
transparency. So even the last stays below the 4 GiB that a process may have.
"""

MAX_PIXELS_OF_ALL_FRAMES = 1_000_000_000
"""Of an animation no more pixels in all frames together are looked at."""

RAW_SUFFIXES = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq"),
        *(".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl"),
        *(".sr2", ".srf", ".srw", ".x3f"),
    )
)
"""What cameras call the files in which they store what the sensor measured."""

# By these a file that no decoder recognises is told to be a broken image and not something else,
# and an image is told where nothing is opened.
_IMAGE_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif"),
        *(".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".jxl", ".mpo", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".psd", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
        *RAW_SUFFIXES,
    )
)


_CHUNK = 1 << 20

_OF_PROGRAMS = (
    *(LookupError, TypeError, AttributeError, NameError, ArithmeticError, AssertionError),
    *(UnicodeError, struct.error),
)
# Objects, addresses in memory, and libjxl's only message, which tells how to build libjxl.
_NOT_FOR_USERS = re.compile(
    r"<[\w.]+ object( at 0x[0-9a-f]+)?>| at 0x[0-9a-f]+|Generic Error\. Please build .*"
)


@dataclass(frozen=True)
class Unreadable:
    """Why there is no image, in words for a table."""

    reason: str


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the md5 of a file, by which DVC knows it."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_contents(path: str | os.PathLike[str]) -> bytes | Unreadable:
    """Return the bytes of a regular file of at most `MAX_FILE_BYTES`, or why they cannot be read.

    Never blocks, also not when a pipe has taken the place of the file.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with open(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return Unreadable("not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                return Unreadable(f"too large: more than {MAX_FILE_BYTES:,} bytes")
            return file.read()
    except OSError as error:
        return Unreadable(f"unreadable: {describe_error(error)}")
    except MemoryError:
        return Unreadable("unreadable: the file needs more memory than there is")


def set_aside_reason(contents: bytes) -> str | None:
    """Return the reason that a note left in the place of something gives, None for other files."""
    if len(contents) > SET_ASIDE_MOST_BYTES or not contents.startswith(SET_ASIDE_PREFIX):
        return None
    line = contents[len(SET_ASIDE_PREFIX) :].splitlines()
    return line[0].decode("utf-8", "surrogateescape").strip() if line else ""


def is_set_aside_note(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is such a note; of a longer one only the size is looked at."""
    if os.stat(path).st_size > SET_ASIDE_MOST_BYTES:
        return False
    with open(path, "rb") as file:
        return set_aside_reason(file.read()) is not None


def has_image_suffix(path: str) -> bool:
    """Tell whether a path is called as images are. Contents are not looked at."""
    return os.path.splitext(path)[1].lower() in _IMAGE_SUFFIXES


def has_raw_suffix(path: str) -> bool:
    """Tell whether a path is called as camera raw is. Contents are not looked at."""
    return os.path.splitext(path)[1].lower() in RAW_SUFFIXES


def describe_error(error: Exception) -> str:
    """Return what an error says on one line, for users, the same in each run."""
    # What these say is about the program of a decoder, not about a file.
    if isinstance(error, _OF_PROGRAMS):
        return f"its decoder fails ({type(error).__name__})"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(_NOT_FOR_USERS.sub("", " ".join(text.split())).split())
    return text or f"does not decode ({type(error).__name__})"
