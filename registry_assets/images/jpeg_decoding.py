"""JPEG, decoded so that damage shows: one decode gives the verdict and the pixels.

libjpeg fills up what is missing and goes on with a warning, which Pillow drops: half a photograph
with an end marker loads. simplejpeg runs the same libjpeg-turbo with the same settings, so the
pixels are the same, and in its strict mode raises what libjpeg warns of.

Some warnings do not concern the picture, and cameras cause them. What they are about is mended in a
copy, which is decoded instead; what is still warned of then is damage:

- parameters of a scan that a sequential JPEG does not need (Samsung), bytes between the segments of
  the header, and segments there that are not as they should be (colour profile, JFIF, Adobe);
- padding between the picture and the end marker, as some encoders align what they write;
- restart intervals behind the last that the height in the header needs, as scanners write them;
- a file that ends behind its picture without an end marker.

A run of zeros, which is what a disk reads where nothing was written, can be valid code. It is taken
for lost data only where the tables of the scan give it a meaning that no picture has.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA

# Frame headers (ITU-T T.81, table B.1) by what decodes them. Nothing here decodes the others of C0
# to CF (C4, C8 and CC are something else) and JPEG-LS (F7).
_STRICT = frozenset((0xC0, 0xC1, 0xC2))
_BY_PILLOW = frozenset((0xC3, 0xC9, 0xCA))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_TABLES = frozenset((0xDB, 0xC4, 0xDD, 0xCC))

_IN_HEADER = re.compile(
    r"Invalid SOS parameters|unknown JFIF|Unknown Adobe|bad ICC"
    r"|extraneous bytes before marker 0x([^d]|d[a-f])"
)
_BEFORE_END = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_PREFIX = re.compile(r"^(tj\w+\(\): )?(Corrupt JPEG data: )?")
_MOST_MENDED = 4

# Encoders that align to words of 4 bytes may leave anything in between.
_ALIGNMENT = 3

_ZEROS = bytes(64)
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_LAST_BEGIN_OF_BAND = 32

# Decoded as further blocks it is none that continues a picture.
_NO_CODE = bytes(range(1, 255)) * 8


class Segment(NamedTuple):
    """A segment of a header: its marker, and where its parameters begin and end."""

    marker: int
    begin: int
    end: int


def read_segments(contents: bytes) -> Iterator[Segment]:
    """Yield the segments of a file up to its end marker, whatever lies between them."""
    place = len(_START)
    while True:
        place = contents.find(b"\xff", place)
        if not 0 <= place < len(contents) - 3 or contents[place + 1] == _END[1]:
            return
        marker = contents[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # without parameters
            place += 2
        else:
            begin = place + 4
            end = max(begin, place + 2 + int.from_bytes(contents[place + 2 : begin], "big"))
            yield Segment(marker, begin, min(end, len(contents)))
            place = end
            if marker == _SCAN:
                found = _NEXT_MARKER.search(contents, place)
                place = found.start() if found else len(contents)


def read_header(contents: bytes) -> Iterator[Segment]:
    """Yield the segments up to the first scan's."""
    for segment in read_segments(contents):
        yield segment
        if segment.marker == _SCAN:
            return


def unsupported_kind(contents: bytes) -> str:
    """Return what kind of JPEG this is that no decoder here reads, empty for others."""
    for marker, begin, _ in read_header(contents):
        if marker in _FRAMES:
            if marker == 0xF7:
                return "JPEG-LS"
            if contents[begin] != 8:
                return f"JPEG with {contents[begin]} bits per channel"
            if marker not in _STRICT | _BY_PILLOW:
                return f"JPEG of the kind SOF{marker - 0xC0}"
            return ""
    return ""


def has_strict_decoder(contents: bytes) -> bool:
    """Tell whether `decode_jpeg` decodes this kind."""
    for marker, begin, end in read_header(contents):
        if marker in _FRAMES:
            return marker in _STRICT and begin < end and contents[begin] == 8
    return False


def decode_jpeg(contents: bytes, colours: str = "RGBX") -> NDArray[np.uint8]:
    """Return the pixels of an intact JPEG, height × width × 4.

    Four bytes for a pixel, because Pillow looks at such an array as an image without a copy.

    Args:
        contents: The whole file.
        colours: RGBX, whose fourth byte is unused, or CMYK for what is CMYK or YCCK in the file:
            as stored, which is inverted.

    Raises:
        ValueError: If it is damaged, with what libjpeg says.
        MemoryError: If there is not enough.
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
    """Return a copy with bytes between the picture and its end that continue one which was cut.

    They change no pixel of a picture that is all there. So they tell of one that only Pillow
    decodes, whether it is.
    """
    stop = len(contents)
    for marker, _, end in read_segments(contents):
        if marker == _SCAN:
            found = _NEXT_MARKER.search(contents, end)
            stop = found.start() if found else len(contents)
    # A marker may have fill bytes before it, as many as it likes.
    return contents[:stop].rstrip(b"\xff") + _NO_CODE + contents[stop:]


def keep_picture(contents: bytes) -> bytes:
    """Return a JPEG with what decoding needs and nothing else in its header."""
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
            # It says that colours are YCbCr. A later version than 1 is warned of.
            parameters = b"JFIF\0\1\1\0\0\1\0\1\0\0"
        elif marker == 0xEE and parameters.startswith(b"Adobe") and len(parameters) >= 12:
            # The last byte says how colours are stored; anything unknown is YCbCr, or YCCK.
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


def _mend(contents: bytes, message: str) -> bytes | None:
    """Return a copy without what a warning is about, None where that is the picture."""
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
    """Return a copy without the last bytes before the end marker, None if they may be code.

    Where data was lost, the decoder can be done too early, too: what is left is code then, or the
    end of a longer run.
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
    """Return a copy without restart intervals that are behind the picture, None if none are.

    This hides no damage: the intervals that stay have to decode without a warning.
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
    """Return how many minimum coded units a frame has whose components are in one scan."""
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
    """Make sure that no scan has a run of zeros that no picture has.

    Zeros are the first code of a Huffman table over and over. Where that is a value and not the end
    of a block, the run makes every coefficient of a block the same negative number, from the lowest
    frequency to the highest: 63 times -1 with the tables that most cameras write. Noise has that
    once in 3 to the power of 63 blocks. No shape has it: what is sharp enough to reach the highest
    frequency has more of the others, which are quantized less, too. Plain blocks, whatever their
    colour, end with the code for the end of a block.

    Where a picture can have such a run, none is looked for: where the first code is an end or skips
    coefficients, and of a progressive JPEG in scans that refine (zeros say "as before"), in those
    of averages, and in those of few coefficients (the lowest alone are all -1 in a sky that gets
    brighter).

    Raises:
        ValueError: If one has.
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
            # The high half of a symbol is how many coefficients are left out, the low half the
            # size of a value. Interleaved blocks use all of the tables.
            if any(0 < symbols.get(table, 0) <= 0x0F for table in tables) and (
                contents.find(_ZEROS, end, stop) >= 0
            ):
                raise ValueError("zeros where the picture should be")


def _symbols_of_zeros(parameters: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number of each Huffman table of AC coefficients, and what all-zero code means."""
    place = 0
    while place + 17 < len(parameters):
        kind, count = parameters[place], sum(parameters[place + 1 : place + 17])
        if kind >> 4:
            yield kind & 0x0F, parameters[place + 17]
        place += 17 + count
