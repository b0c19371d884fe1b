"""Reading the bytes of a file that may be an image.

Separate from decoding, so that code that only lists, links or reads tables loads no decoders.
"""

import hashlib
import os
import re
import stat
import struct
from dataclasses import dataclass

SET_ASIDE_PREFIX = b"registry_assets set aside: "
"""The beginning of a note that replaces something that DVC cannot store."""

SET_ASIDE_MOST_BYTES = 1024
"""The maximum size of such a note."""

MAX_FILE_BYTES = 1 << 30
"""Larger files are not read: 1 GiB."""

MAX_PIXELS = 250_000_000
"""Larger images are not decoded; the default of a data set's `max_megapixels`.

Measuring takes up to 14 bytes per pixel, plus the file: 7 for JPEG, 10 for other RGB, 14 with
transparency. So it stays below the memory limit of a worker, 4 GiB.
"""

MAX_PIXELS_OF_ALL_FRAMES = 1_000_000_000
"""The maximum number of pixels to decode in all frames of an animation."""

RAW_SUFFIXES = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq"),
        *(".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl"),
        *(".sr2", ".srf", ".srw", ".x3f"),
    )
)
"""Suffixes of camera raw files."""

# They tell a corrupt image from a file that is no image, and images without opening files.
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
# The repr of objects, memory addresses, and libjxl's only message, about building libjxl.
_NOT_FOR_USERS = re.compile(
    r"<[\w.]+ object( at 0x[0-9a-f]+)?>| at 0x[0-9a-f]+|Generic Error\. Please build .*"
)


@dataclass(frozen=True)
class Unreadable:
    """The reason why there is no image, for the table of measurements."""

    reason: str


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the md5 of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_contents(path: str | os.PathLike[str]) -> bytes | Unreadable:
    """Return the bytes of a regular file of at most `MAX_FILE_BYTES`, or why they cannot be read.

    Never blocks, not even if the file was replaced by a pipe.
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
    """Return the reason in a note about something set aside; None for other files."""
    if len(contents) > SET_ASIDE_MOST_BYTES or not contents.startswith(SET_ASIDE_PREFIX):
        return None
    line = contents[len(SET_ASIDE_PREFIX) :].splitlines()
    return line[0].decode("utf-8", "surrogateescape").strip() if line else ""


def is_set_aside_note(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a note about something set aside."""
    if os.stat(path).st_size > SET_ASIDE_MOST_BYTES:
        return False
    with open(path, "rb") as file:
        return set_aside_reason(file.read()) is not None


def has_image_suffix(path: str) -> bool:
    """Return whether a path has the suffix of an image."""
    return os.path.splitext(path)[1].lower() in _IMAGE_SUFFIXES


def has_raw_suffix(path: str) -> bool:
    """Return whether a path has the suffix of camera raw."""
    return os.path.splitext(path)[1].lower() in RAW_SUFFIXES


def describe_error(error: Exception) -> str:
    """Return the message of an error on one line, for users; reproducible between runs."""
    # These are bugs of a decoder; their messages tell nothing about the file.
    if isinstance(error, _OF_PROGRAMS):
        return f"its decoder fails ({type(error).__name__})"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(_NOT_FOR_USERS.sub("", " ".join(text.split())).split())
    return text or f"does not decode ({type(error).__name__})"
