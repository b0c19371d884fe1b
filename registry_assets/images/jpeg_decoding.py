"""Decoding JPEG so that damage is detected.

libjpeg only warns about missing data, and Pillow drops the warning: half a photograph with an end
marker loads. simplejpeg uses the same libjpeg-turbo with the same settings, so it gives the same
pixels, and its strict mode raises libjpeg's warnings as errors.

Some warnings do not concern the picture. Their cause is removed in a copy, which is decoded
instead; a copy with further warnings is damaged. Such causes, from cameras and scanners, are:

- scan parameters that a sequential JPEG does not use (Samsung), bytes between segments of the
  header, and invalid segments there (colour profile, JFIF, Adobe);
- padding between the picture and the end marker, from encoders that align their output;
- more restart intervals than the height in the header needs (scanners);
- a missing end marker after a complete picture.

A run of zeros, as from unwritten blocks of a disk, can be valid code. It counts as lost data only
if the Huffman tables of the scan give it a meaning that no picture has.
"""

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np
import simplejpeg
from numpy.typing import NDArray

EXIF_HEADER = b"Exif\0"
"""How a segment APP1 with EXIF begins."""

_START, _END, _SCAN, _APP1 = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xE1

# Frame headers (ITU-T T.81, table B.1) by decoder. The others of C0 to CF and JPEG-LS (F7) have
# none; C4, C8 and CC are no frame headers.
_STRICT = frozenset((0xC0, 0xC1, 0xC2))
_BY_PILLOW = frozenset((0xC3, 0xC9, 0xCA))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_LOSSLESS = frozenset((0xC3, 0xC7, 0xCB, 0xCF))
_TABLES = frozenset((0xDB, 0xC4, 0xDD, 0xCC))

_IN_HEADER = re.compile(
    r"Invalid SOS parameters|unknown JFIF|Unknown Adobe|bad ICC"
    r"|extraneous bytes before marker 0x([^d]|d[a-f])"
)
_BEFORE_END = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_PREFIX = re.compile(r"^(tj\w+\(\): )?(Corrupt JPEG data: )?")
_MOST_MENDED = 4

# Padding to words of 4 bytes may have any content.
_ALIGNMENT = 3

_ZEROS = bytes(64)
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_LAST_BEGIN_OF_BAND = 32

# Bytes that do not decode to a plausible continuation of a picture.
_NO_CODE = bytes(range(1, 255)) * 8


def read_segments(contents: bytes, *, first_scan: bool = False) -> Iterator[tuple[int, int, int]]:
    """Yield the segments of a file up to the end marker, skipping other bytes.

    Each is its marker, and the begin and end of its parameters.

    Args:
        contents: The file.
        first_scan: Whether to stop after the header of the first scan.
    """
    place, size = len(_START), len(contents)
    while True:
        place = contents.find(b"\xff", place)
        if not 0 <= place < size - 3:
            return
        marker = contents[place + 1]
        if 0xD9 < marker < 0xFF or 0x01 < marker < 0xD0:
            begin = place + 4
            end = place + 2 + (contents[place + 2] << 8 | contents[place + 3])
            if end < begin:
                end = begin
            yield marker, begin, end if end < size else size
            place = end
            if marker == _SCAN:
                if first_scan:
                    return
                found = _NEXT_MARKER.search(contents, place)
                place = found.start() if found else size
        elif marker == _END[1]:
            return
        else:
            # A fill byte, or a marker without parameters.
            place += 1 if marker == 0xFF else 2


def read_header(contents: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the segments up to and including that of the first scan."""
    return read_segments(contents, first_scan=True)


def find_metadata(contents: bytes) -> list[tuple[int, int]]:
    """Return the begin and end of each segment APP1, which has EXIF or XMP, in the header."""
    return [(begin, end) for marker, begin, end in read_header(contents) if marker == _APP1]


def unsupported_kind(contents: bytes) -> str:
    """Return the kind of a JPEG without a decoder; empty for others."""
    for marker, begin, end in read_header(contents):
        if marker in _FRAMES:
            if marker == 0xF7:
                return "JPEG-LS"
            # It may end right there.
            if begin < end and contents[begin] != 8:
                return f"JPEG with {contents[begin]} bits per channel"
            if marker not in _STRICT | _BY_PILLOW:
                return f"JPEG of the kind SOF{marker - 0xC0}"
            return ""
    return ""


def is_lossless(contents: bytes) -> bool:
    """Return whether this is a lossless JPEG."""
    return contents.startswith(_START) and any(
        marker in _LOSSLESS for marker, *_ in read_header(contents)
    )


def has_strict_decoder(contents: bytes) -> bool:
    """Return whether `decode_jpeg` supports this kind of JPEG."""
    for marker, begin, end in read_header(contents):
        if marker in _FRAMES:
            return marker in _STRICT and begin < end and contents[begin] == 8
    return False


def decode_jpeg(contents: bytes, colours: str = "RGBX") -> NDArray[np.uint8]:
    """Return the pixels of an intact JPEG, height × width × 4.

    With four bytes per pixel, Pillow can use the array without a copy.

    Args:
        contents: The whole file.
        colours: RGBX, whose fourth byte is unused, or CMYK for a CMYK or YCCK file; CMYK values are
            inverted, as stored.

    Raises:
        ValueError: If it is damaged, with libjpeg's message.
        MemoryError: If memory runs out.
    """
    for _ in range(_MOST_MENDED):
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(contents, colours, strict=True)
            break
        except ValueError as error:
            message = str(error)
            mended = _mend(contents, message)
            if "Insufficient memory" in message:
                raise MemoryError from None
            if mended is None or mended == contents:
                raise ValueError(_PREFIX.sub("", message)) from None
            contents = mended
    else:
        raise ValueError("too much of it is wrong")
    check_for_lost_data(contents)
    return pixels


def fill_before_end(contents: bytes) -> bytes:
    """Return a copy with additional bytes before the end marker.

    They change pixels only if the picture is incomplete, which Pillow does not report.
    """
    stop = len(contents)
    for marker, _, end in read_segments(contents):
        if marker == _SCAN:
            found = _NEXT_MARKER.search(contents, end)
            stop = found.start() if found else len(contents)
    # A marker may be preceded by any number of fill bytes.
    return contents[:stop].rstrip(b"\xff") + _NO_CODE + contents[stop:]


def keep_picture(contents: bytes) -> bytes:
    """Return a JPEG with only the segments that decoding needs."""
    kept = [_START]
    frame = 0
    channels = next(
        (
            contents[begin + 5]
            for marker, begin, end in read_header(contents)
            if marker in _FRAMES and end > begin + 5
        ),
        3,
    )
    for marker, begin, end in read_header(contents):
        parameters = contents[begin:end]
        if marker in _FRAMES:
            frame = marker
        elif marker == 0xE0 and parameters.startswith(b"JFIF\0"):
            # It means that colours are YCbCr. libjpeg warns about versions after 1.
            parameters = b"JFIF\0\1\1\0\0\1\0\1\0\0"
        elif marker == 0xEE and parameters.startswith(b"Adobe") and len(parameters) >= 12:
            # The last byte is the colour transform; unknown values mean YCbCr, or YCCK.
            transform = parameters[11] and (2 if channels == 4 else 1)
            parameters = parameters[:11] + bytes([transform])
        elif marker == _SCAN:
            if frame in (0xC0, 0xC1) and len(parameters) >= 3:
                parameters = parameters[:-3] + b"\x00\x3f\x00"
        elif marker not in _TABLES:
            continue
        kept.append(b"\xff%c%b%b" % (marker, (len(parameters) + 2).to_bytes(2, "big"), parameters))
        if marker == _SCAN:
            kept.append(contents[end:])
    return b"".join(kept)


def keep_one_exif(contents: bytes) -> bytes:
    """Return a JPEG with only the first of its EXIF segments.

    Pillow joins them, to as many megabytes as there are, and copies every value to which a tag of
    it leads: many times the memory of the picture, when they are made for that.
    """
    segments = [
        (begin - 4, end)
        for begin, end in find_metadata(contents)
        if contents.startswith(EXIF_HEADER, begin)
    ]
    if len(segments) < 2:
        return contents
    begins = [0, *(end for _, end in segments[1:])]
    ends = [*(begin for begin, _ in segments[1:]), len(contents)]
    return b"".join(contents[begin:end] for begin, end in zip(begins, ends, strict=True))


def _mend(contents: bytes, message: str) -> bytes | None:
    """Return a copy without the cause of a warning; None if that is the picture."""
    if "Premature end of JPEG file" in message:
        return None if contents.endswith(_END) else contents + _END
    if "extraneous bytes before marker 0xd" in message:
        without = _without_further_intervals(contents)
        if without is not None:
            return without
    before_end = _BEFORE_END.search(message)
    if before_end:
        return _without_padding(contents, int(before_end.group(1)))
    return keep_picture(contents) if _IN_HEADER.search(message) else None


def _without_padding(contents: bytes, size: int) -> bytes | None:
    """Return a copy without padding before the end marker; None if it may be code.

    After lost data the decoder can finish early, too. Then the rest is code, or the end of a longer
    run of the same byte.
    """
    end = contents.find(_END, _scan_begin(contents))
    if end < 0:
        return None
    begin = end - size
    padding = contents[begin:end]
    run = len(contents[:end]) - len(contents[:end].rstrip(padding[-1:]))
    if size > _ALIGNMENT and not size <= run <= size + 1:
        return None
    return contents[:begin] + contents[end:]


def _without_further_intervals(contents: bytes) -> bytes | None:
    """Return a copy without restart intervals after the end of the picture; None if there are none.

    This hides no damage: the other intervals must still decode without a warning.
    """
    length = units = 0
    for marker, begin, end in read_header(contents):
        if marker == 0xDD:
            length = int.from_bytes(contents[begin : begin + 2], "big")
        elif marker in (0xC0, 0xC1):
            units = _count_units(contents[begin:end])
        elif marker in _FRAMES:
            return None
        elif marker == _SCAN and length and units:
            last = -(-units // length) - 1
            restart = next(islice(_RESTART.finditer(contents, end), last, None), None)
            found = _NEXT_MARKER.search(contents, end)
            if restart and found and restart.start() < found.start():
                return contents[: restart.start()] + contents[found.start() :]
    return None


def _count_units(frame: bytes) -> int:
    """Return the number of minimum coded units in a frame, for a single interleaved scan."""
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (1, 3))
    samplings = frame[7::3]
    across, down = (
        8 * max((sampling >> shift & 0x0F for sampling in samplings), default=1) for shift in (4, 0)
    )
    if len(samplings) == 1:
        across = down = 8
    return -(-height // down) * -(-width // across) if across and down else 0


def _scan_begin(contents: bytes) -> int:
    return next((end for marker, _, end in read_header(contents) if marker == _SCAN), len(contents))


def check_for_lost_data(contents: bytes) -> None:
    """Check that no scan has a run of zeros that cannot be part of a picture.

    Zeros repeat the first code of a Huffman table. If that is a value and not the end of a block,
    the run sets every coefficient of a block, from the lowest frequency to the highest, to the same
    negative number: 63 times -1 with the tables of most cameras. In noise, one block in 3**63 has
    that. Edges do not have it: sharp ones have larger values at lower frequencies, which are
    quantized less. Flat blocks end with the end-of-block code.

    Scans in which a picture can have such a run are skipped: if the first code ends a block or
    skips coefficients, and in progressive JPEGs refinement scans (zeros mean "unchanged"), DC
    scans, and scans of few coefficients (the lowest are all -1 in a sky that gets brighter).

    Raises:
        ValueError: If a scan has one.
    """
    if contents.find(_ZEROS, _scan_begin(contents)) < 0:
        return
    symbols: dict[int, int] = {}
    frame = 0
    for marker, begin, end in read_segments(contents):
        parameters = contents[begin:end]
        if marker in _FRAMES:
            frame = marker
        elif marker == 0xC4:
            symbols.update(_symbols_of_zeros(parameters))
        elif marker == _SCAN and len(parameters) == 4 + 2 * parameters[0]:
            *_, first, last, approximation = parameters
            if frame == 0xC2 and (
                not 0 < first <= _LAST_BEGIN_OF_BAND or last != 63 or approximation >> 4
            ):
                continue
            tables = {table & 0x0F for table in parameters[2 : 1 + 2 * parameters[0] : 2]}
            found = _NEXT_MARKER.search(contents, end)
            stop = found.start() if found else len(contents)
            # A symbol is the number of skipped coefficients (high half) and the size of the value
            # (low half). Interleaved blocks use all tables.
            if any(0 < symbols.get(table, 0) <= 0x0F for table in tables) and (
                contents.find(_ZEROS, end, stop) >= 0
            ):
                raise ValueError("zeros where the picture should be")


def _symbols_of_zeros(parameters: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number of each AC Huffman table, and the symbol of its all-zero code."""
    place = 0
    while place + 17 < len(parameters):
        kind, count = parameters[place], sum(parameters[place + 1 : place + 17])
        if kind >> 4:
            yield kind & 0x0F, parameters[place + 17]
        place += 17 + count
