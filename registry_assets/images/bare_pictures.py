"""Copies of files with nothing but their first picture, and what else decoders do not check.

A file can be whole as far as its picture goes and broken elsewhere: a comment of many megabytes, a
colour profile that was cut, a preview that somebody stripped. Decoders give up on all of it.
"""

import struct
import zlib
from collections.abc import Iterator

from registry_assets.images.jpeg_decoding import keep_picture

_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS_OF_PNG = frozenset((b"IHDR", b"PLTE", b"IDAT"))
# What makes other pixels of these, and the frames of an animation.
_NEEDED_OF_PNG = _PIXELS_OF_PNG | {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
_END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"


def keep_first_picture(contents: bytes) -> bytes | None:
    """Return a copy of a JPEG, PNG or WebP without what its picture does not need."""
    if contents.startswith(b"\xff\xd8"):
        return keep_picture(contents)
    if contents.startswith(_PNG):
        return (
            _PNG
            + b"".join(
                contents[begin - 8 : end + 4]
                for kind, begin, end in _png_chunks(contents)
                if kind in _PIXELS_OF_PNG
                or (kind in _NEEDED_OF_PNG and _is_whole(contents, begin, end))
            )
            + _END_OF_PNG
        )
    if contents.startswith(b"RIFF") and contents[8:12] == b"WEBP":
        return _keep_of_webp(contents)
    return None


def check_png(contents: bytes) -> str:
    """Check the chunks of a PNG that its picture is made of, by their checksums.

    Returns:
        What is wrong with other chunks, empty if nothing is.

    Raises:
        ValueError: If the picture is damaged.
    """
    note = kind = ""
    for chunk, begin, end in _png_chunks(contents):
        kind = chunk.decode("latin-1")
        if not _is_whole(contents, begin, end):
            if chunk in _PIXELS_OF_PNG:
                raise ValueError(f"broken PNG file (checksum of {kind})")
            note = note or f"broken chunk {kind}"
    return note or ("" if kind == "IEND" else "ends without IEND")


def _png_chunks(contents: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk and where its data begins and ends."""
    place = len(_PNG)
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
    for kind, begin, end in _riff_chunks(contents, 12, len(contents)):
        if kind == b"ANMF":
            # Its place and size come first. One that covers a part of the canvas is no picture.
            is_all = contents[begin : begin + 6] == bytes(6)
            return _as_webp(contents, begin + 16, end) if is_all else None
    return _as_webp(contents, 12, len(contents))


def _as_webp(contents: bytes, begin: int, end: int) -> bytes | None:
    parts: dict[bytes, bytes] = {}
    for kind, at, stop in _riff_chunks(contents, begin, end):
        if kind in (b"ALPH", b"VP8 ", b"VP8L") and stop <= len(contents):
            parts.setdefault(kind, contents[at - 8 : stop + (stop - at) % 2])
    # The alpha channel is dropped anyway.
    picture = parts.get(b"VP8 ") or parts.get(b"VP8L")
    if picture is None:
        return None
    picture += bytes(len(picture) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(picture)) + b"WEBP" + picture


def _riff_chunks(contents: bytes, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    while place + 8 <= min(stop, len(contents)):
        kind, length = struct.unpack_from("<4sI", contents, place)
        yield kind, place + 8, place + 8 + length
        place += 8 + length + length % 2
