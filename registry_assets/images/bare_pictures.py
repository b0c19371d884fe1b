"""Reducing files to their first picture, and checking the checksums of PNG.

A file can have an intact picture and be damaged elsewhere: a comment of many megabytes, a truncated
colour profile, a missing preview. Decoders reject the whole file.
"""

import struct
import zlib
from collections.abc import Iterator

from registry_assets.images.jpeg_decoding import keep_picture

PNG = b"\x89PNG\r\n\x1a\n"
"""The signature of a PNG."""

_PIXELS_OF_PNG = frozenset((b"IHDR", b"PLTE", b"IDAT"))
# Transparency, and the frames of an animation.
_NEEDED_OF_PNG = _PIXELS_OF_PNG | {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
_END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"


def keep_first_picture(contents: bytes) -> bytes | None:
    """Return a copy of a JPEG, PNG or WebP with only its first picture; None for other formats."""
    if contents.startswith(b"\xff\xd8"):
        return keep_picture(contents)
    if contents.startswith(PNG):
        return (
            PNG
            + b"".join(
                contents[begin - 8 : end + 4]
                for kind, begin, end in read_png_chunks(contents)
                if kind in _PIXELS_OF_PNG
                or (kind in _NEEDED_OF_PNG and _is_whole(contents, begin, end))
            )
            + _END_OF_PNG
        )
    if contents.startswith(b"RIFF") and contents[8:12] == b"WEBP":
        return _keep_of_webp(contents)
    return None


def check_png(contents: bytes) -> str:
    """Check the checksums of a PNG.

    Returns:
        The first problem with a chunk that is not part of the picture; empty if there is none.

    Raises:
        ValueError: If a chunk of the picture is damaged.
    """
    note = kind = ""
    for chunk, begin, end in read_png_chunks(contents):
        kind = chunk.decode("latin-1")
        if not _is_whole(contents, begin, end):
            if chunk in _PIXELS_OF_PNG:
                raise ValueError(f"broken PNG file (checksum of {kind})")
            note = note or f"broken chunk {kind}"
    return note or ("" if kind == "IEND" else "ends without IEND")


def read_png_chunks(contents: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk, and the begin and end of its data."""
    place = len(PNG)
    while place + 12 <= len(contents):
        (length,) = struct.unpack_from(">I", contents, place)
        kind = contents[place + 4 : place + 8]
        yield kind, place + 8, place + 8 + length
        if kind == b"IEND":
            return
        place += 12 + length


def _is_whole(contents: bytes, begin: int, end: int) -> bool:
    if end + 4 > len(contents):
        return False
    (checksum,) = struct.unpack_from(">I", contents, end)
    return bool(zlib.crc32(memoryview(contents)[begin - 4 : end]) == checksum)


def _keep_of_webp(contents: bytes) -> bytes | None:
    for kind, begin, end in read_riff_chunks(contents, 12, len(contents)):
        if kind == b"ANMF":
            # It begins with its position and size. A frame that covers only a part of the canvas is
            # not the whole picture.
            is_all = contents[begin : begin + 6] == bytes(6)
            return _as_webp(contents, begin + 16, end) if is_all else None
    return _as_webp(contents, 12, len(contents))


def _as_webp(contents: bytes, begin: int, end: int) -> bytes | None:
    parts: dict[bytes, bytes] = {}
    for kind, at, stop in read_riff_chunks(contents, begin, end):
        if kind in (b"ALPH", b"VP8 ", b"VP8L") and stop <= len(contents):
            parts.setdefault(kind, contents[at - 8 : stop + (stop - at) % 2])
    # Without the alpha channel, which is dropped anyway.
    picture = parts.get(b"VP8 ") or parts.get(b"VP8L")
    if picture is None:
        return None
    picture += bytes(len(picture) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(picture)) + b"WEBP" + picture


def read_riff_chunks(contents: bytes, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk between two places, and the begin and end of its data."""
    while place + 8 <= min(stop, len(contents)):
        kind, length = struct.unpack_from("<4sI", contents, place)
        yield kind, place + 8, place + 8 + length
        place += 8 + length + length % 2
