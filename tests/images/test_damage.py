"""Damage of the first picture is found, and what cameras write besides is none."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from registry_assets.images import DecodedImage, Unreadable, decode_image

from .drawing import encode, noise

END = b"\xff\xd9"


def photograph(height: int = 480, width: int = 640, seed: int = 0) -> Image.Image:
    """Return what compresses like a photograph: a sky, edges, and the noise of a sensor."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([60 + rows / 4, 120 + 60 * np.sin(columns / 37), 200 - rows / 3], -1)
    pixels[height // 2 :, ::9] = 30
    pixels += chance.normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


JPEGS: dict[str, dict[str, object]] = {
    "baseline": {"quality": 90},
    "4:2:2": {"quality": 95, "subsampling": 1},
    "4:4:4": {"quality": 75, "subsampling": 0},
    "restart markers": {"quality": 85, "restart_marker_rows": 1},
    "optimized": {"quality": 85, "optimize": True},
    "progressive": {"quality": 85, "progressive": True},
}


MODES = {"grey": "L", "CMYK": "CMYK", "progressive CMYK": "CMYK", "YCCK": "CMYK"}


@pytest.fixture(scope="module", params=[*JPEGS, *MODES])
def jpeg(request: pytest.FixtureRequest) -> bytes:
    image = photograph().convert(MODES.get(request.param, "RGB"))
    options = {"progressive": True} if request.param == "progressive CMYK" else {}
    contents = encode(image, "JPEG", **JPEGS.get(request.param, options))
    return as_ycck(contents) if request.param == "YCCK" else contents


def as_ycck(contents: bytes) -> bytes:
    at = contents.index(b"Adobe") + 11
    return contents[:at] + b"\2" + contents[at + 1 :]


def scan_of(contents: bytes) -> tuple[int, int]:
    begin = contents.index(b"\xff\xda")
    return begin + 2 + int.from_bytes(contents[begin + 2 : begin + 4], "big"), len(contents) - 2


def reason(contents: bytes) -> str:
    decoded = decode_image(contents)
    return decoded.reason if isinstance(decoded, Unreadable) else ""


def decoded(contents: bytes) -> DecodedImage:
    result = decode_image(contents)
    assert isinstance(result, DecodedImage), result
    return result


def replace(contents: bytes, at: int, by: bytes) -> bytes:
    return contents[:at] + by + contents[at + len(by) :]


def test_a_jpeg_has_the_pixels_that_pillow_decodes(jpeg: bytes) -> None:
    with Image.open(io.BytesIO(jpeg)) as image:
        assert np.array_equal(decoded(jpeg).pixels[..., :3], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_colours_that_adobe_stores_are_those_that_pillow_decodes(mode: str) -> None:
    contents = encode(photograph().convert(mode), "JPEG", keep_rgb=True)
    with Image.open(io.BytesIO(contents)) as image:
        assert image.mode == mode
        assert np.array_equal(decoded(contents).pixels[..., :3], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_a_jpeg_that_lost_its_end_is_corrupt(jpeg: bytes, part: float) -> None:
    begin, end = scan_of(jpeg)
    at = begin + int((end - begin) * part)
    for broken in (
        jpeg[:at],
        jpeg[:at] + END,
        jpeg[:at] + bytes(len(jpeg) - at),
        jpeg[:at] + bytes(end - at) + END,
        jpeg[:at] + b"\xff" * (len(jpeg) - at),
        jpeg[:at] + b"\xff" * (end - at) + END,
    ):
        assert reason(broken).startswith("corrupt: ")


@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_sampled_like_few_lost_its_end_and_is_corrupt(
    options: dict[str, object], part: float
) -> None:
    # Pillow samples the black of CMYK like the colours, for which simplejpeg has no name.
    contents = encode(photograph().convert("CMYK"), "JPEG", subsampling=2, **options)
    with Image.open(io.BytesIO(contents)) as image:
        assert np.array_equal(decoded(contents).pixels, np.asarray(image.convert("RGB")))
    begin, end = scan_of(contents)
    at = begin + int((end - begin) * part)
    for rest in (b"", END, b"\xff" * 999 + END, bytes(end - at) + END, bytes(end - at)):
        assert reason(contents[:at] + rest).startswith("corrupt: ")


def with_height(contents: bytes, height: int) -> bytes:
    at = contents.index(b"\xff\xc0") + 5
    return replace(contents, at, struct.pack(">H", height))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("rows", [1, 3, 12])
@pytest.mark.parametrize("restart", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 10}])
def test_restart_intervals_behind_a_picture_are_no_damage_of_it(
    mode: str, rows: int, restart: dict[str, object]
) -> None:
    whole = encode(photograph().convert(mode), "JPEG", subsampling=0, **restart)
    contents = with_height(whole, 480 - 8 * rows)
    with Image.open(io.BytesIO(contents)) as image:
        assert image.height == 480 - 8 * rows
        assert np.array_equal(decoded(contents).pixels[..., :3], np.asarray(image.convert("RGB")))
    begin, end = scan_of(contents)
    for fill in (bytes(600), b"\x5a" * 600):
        assert reason(replace(contents, (begin + end) // 2, fill)).startswith("corrupt: ")


def test_rows_behind_a_picture_that_may_be_damage_are_damage() -> None:
    assert reason(with_height(encode(photograph(), "JPEG"), 400)).startswith("corrupt: ")


@pytest.mark.parametrize("part", [0.1, 0.4, 0.85])
@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x5a"])
def test_a_jpeg_with_a_tenth_overwritten_is_corrupt(jpeg: bytes, part: float, fill: bytes) -> None:
    begin, end = scan_of(jpeg)
    size = (end - begin) // 10 + 1
    assert reason(replace(jpeg, begin + int((end - begin) * part), fill * size))


def test_a_jpeg_with_a_lost_sector_is_corrupt_but_for_few() -> None:
    found = tried = 0
    for seed in range(4):
        for options in JPEGS.values():
            contents = encode(photograph(seed=seed), "JPEG", **options)
            begin, end = scan_of(contents)
            chance = np.random.default_rng(seed)
            for sector in (bytes(512), b"\xff" * 512, chance.bytes(512)):
                at = int(chance.integers(begin, end - 512)) // 512 * 512
                tried += 1
                found += bool(reason(replace(contents, max(at, begin), sector)))
    assert found >= 0.96 * tried


def test_zeros_that_are_plain_blocks_are_no_damage() -> None:
    # The tables of an optimized JPEG give what is most frequent the shortest code, all zeros.
    for colour in ("white", "black", (90, 60, 30)):
        for options in ({"optimize": True}, {"progressive": True}, {}):
            contents = encode(Image.new("RGB", (2000, 1500), colour), "JPEG", **options)
            assert reason(contents) == ""
    half = photograph(1200, 1600)
    half.paste((255, 255, 255), (0, 0, 1600, 900))
    assert reason(encode(half, "JPEG", optimize=True)) == ""


def test_zeros_of_a_scan_of_few_coefficients_are_no_damage() -> None:
    # A scan that says -1 of the lowest two frequencies of every block, with the code 0 for it, as
    # an optimizing encoder chooses: a picture that gets brighter from block to block.
    side, blocks = 512, (512 // 8) ** 2

    def segment(marker: int, *parts: bytes) -> bytes:
        data = b"".join(parts)
        return b"\xff%c" % marker + struct.pack(">H", len(data) + 2) + data

    averages = segment(0xC4, b"\x00\1", bytes(15), b"\0")
    others = segment(0xC4, b"\x10\1\1", bytes(14), b"\1\0")
    contents = b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0", b"\x10" * 64),
            segment(0xC2, b"\x08", struct.pack(">HH", side, side), b"\1\1\x11\0"),
            averages,
            segment(0xDA, b"\1\1\0\0\0\0"),
            bytes(blocks // 8),
            others,
            segment(0xDA, b"\1\1\0\1\2\0"),
            bytes(blocks * 4 // 8),
            END,
        ]
    )
    assert np.ptp(decoded(contents).pixels) > 5


PATTERNS = {
    "black": lambda x, y: 0 * x,
    "sky": lambda x, y: 100 + y / 6 + x / 40,
    "steep": lambda x, y: (x + y) / 2 % 256,
    "dots": lambda x, y: 255.0 - 60 * ((x % 8 == 0) & (y % 8 == 0)),
    "chequers": lambda x, y: (x + y) % 2 * 255,
    "stars": lambda x, y: 255.0 * (np.random.default_rng(1).random(x.shape) > 0.999),
    "noise": lambda x, y: np.random.default_rng(2).integers(0, 256, x.shape),
    "faint noise": lambda x, y: 20 + np.random.default_rng(3).normal(0, 2, x.shape),
    "border": lambda x, y: np.where(abs(y - 100) < 50, x % 199, 0),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_intact_jpeg_is_corrupt(pattern: str) -> None:
    rows, columns = np.mgrid[0:200, 0:600]
    grey = Image.fromarray(np.asarray(PATTERNS[pattern](columns, rows)).clip(0, 255).astype("u1"))
    for mode in ("L", "RGB", "CMYK"):
        image = grey.convert(mode)
        for quality in (30, 75, 95, 100):
            for options in JPEGS.values():
                contents = encode(image, "JPEG", **{**options, "quality": quality})
                assert reason(contents) == "", (mode, quality, options)


def at_scan(change: Callable[[bytes, int], bytes]) -> Callable[[bytes], bytes]:
    return lambda contents: change(contents, contents.index(b"\xff\xda"))


def with_segment(marker: int, data: bytes) -> Callable[[bytes], bytes]:
    segment = b"\xff%c%b%b" % (marker, (len(data) + 2).to_bytes(2, "big"), data)
    return lambda contents: contents[:2] + segment + contents[2:]


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "zeros behind the end": lambda c: c + bytes(4096),
    "text behind the end": lambda c: c + b"SEFT and a trailer",
    "a film behind the end": lambda c: c + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20,
    "another picture behind the end": lambda c: c + encode(noise(), "JPEG"),
    "half of another picture behind the end": lambda c: c + encode(noise(), "JPEG")[:900],
    "no end marker": lambda c: c[:-2],
    "half an end marker": lambda c: c[:-1],
    "fill bytes before the end marker": lambda c: c[:-2] + b"\xff" * 5 + END,
    "a byte before the end marker": lambda c: c[:-2] + b"\x7f" + END,
    "zeros to the next word before the end marker": lambda c: c[:-2] + bytes(8) + END,
    "parameters of a scan": at_scan(lambda c, at: replace(c, at + 11, b"\0\0\0")),
    "bytes between segments": at_scan(lambda c, at: c[:at] + bytes(18) + c[at:]),
    "fill bytes between segments": at_scan(lambda c, at: c[:at] + b"\xff\xff" + c[at:]),
    "JFIF 2": lambda c: c.replace(b"JFIF\0\1", b"JFIF\0\2", 1),
    "a colour transform that nobody knows": with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\x07"),
    "a colour profile in pieces": with_segment(0xE2, b"ICC_PROFILE\0\5\2abc"),
    "EXIF that is none": with_segment(0xE1, b"Exif\0\0garbage" + bytes(300)),
    "EXIF with a picture": with_segment(0xE1, b"Exif\0\0II*\0" + encode(noise(), "JPEG")),
    "an index of pictures that are gone": lambda c: encode_mpo()[
        : encode_mpo().rindex(b"\xff\xd8")
    ],
    "an index of pictures that is none": with_segment(0xE2, b"MPF\0MM\0*garbage"),
    "a comment": with_segment(0xFE, bytes(60_000)),
}


def encode_mpo() -> bytes:
    return encode(photograph(), "MPO", save_all=True, append_images=[noise(), noise(seed=1)])


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_around_a_picture_is_no_damage_of_it(what: str) -> None:
    plain = encode(photograph(), "JPEG", quality=75)
    contents = HARMLESS[what](plain)
    assert contents != plain
    assert np.array_equal(decoded(contents).pixels, decoded(plain).pixels)


def test_a_damaged_picture_is_corrupt_whatever_is_around_it() -> None:
    plain = encode(photograph(), "JPEG", quality=75)
    begin, end = scan_of(plain)
    middle = (begin + end) // 2
    for what, surround in HARMLESS.items():
        if not what.startswith(("an index of pictures that are", "no end", "half an end")):
            assert reason(surround(replace(plain, middle, bytes(2000)))), what


def test_the_first_picture_of_several_decides() -> None:
    whole = encode_mpo()
    second, third = (
        whole.index(b"\xff\xd8\xff", at) for at in (1000, whole.rindex(b"\xff\xd8") - 9)
    )
    assert (decoded(whole).frames, decoded(whole).note) == (3, "")
    for contents in (whole[:third], whole[: third + 500], whole[:second], whole[: second + 500]):
        result = decoded(contents)
        assert np.array_equal(result.pixels, decoded(whole).pixels)
        assert result.frames < 3
        assert result.note
    assert reason(replace(whole, second // 2, bytes(second // 4))).startswith("corrupt: ")


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


LARGE = zlib.compress(bytes(3 << 20))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"profile\0\0" + LARGE),
        chunk(b"zTXt", b"key\0\0" + LARGE),
        chunk(b"iTXt", b"key\0\1\0\0\0" + LARGE),
        chunk(b"iCCP", b"profile\0\0not compressed"),
        chunk(b"tEXt", b"key\0value")[:-1] + b"\0",
        chunk(b"pHYs", b"12"),
        chunk(b"eXIf", b"garbage"),
    ],
)
@pytest.mark.parametrize("place", ["before the pixels", "after the pixels"])
def test_what_a_png_holds_besides_its_pixels_is_no_damage(extra: bytes, place: str) -> None:
    plain = encode(photograph(), "PNG")
    at = 33 if place == "before the pixels" else len(plain) - 12
    assert np.array_equal(decoded(plain[:at] + extra + plain[at:]).pixels, decoded(plain).pixels)


def test_a_png_without_its_last_chunk_is_readable_with_a_note() -> None:
    assert decoded(encode(photograph(), "PNG")[:-12]).note == "ends without IEND"


def test_a_webp_with_a_broken_rest_is_readable_with_a_note() -> None:
    contents = encode(photograph(), "WEBP", exif=b"Exif\0\0" + bytes(500))
    assert decoded(contents[:-300]).note
    assert decoded(contents).note == ""


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("BMP", {}),
    ],
)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_every_format_that_is_cut_is_corrupt(
    format: str, options: dict[str, object], part: float
) -> None:
    contents = encode(photograph(), format, **options)
    assert reason(contents[: int(len(contents) * part)]).startswith("corrupt: ")


@pytest.mark.parametrize("size", [1, 512, 20_000])
def test_a_png_with_other_bytes_in_its_pixels_is_corrupt(size: int) -> None:
    contents = encode(photograph(), "PNG")
    for part in (0.1, 0.5, 0.9):
        for fill in (b"\0", b"\xff"):
            broken = replace(contents, int(len(contents) * part), fill * size)
            assert reason(broken[: len(contents)]).startswith("corrupt: ") or broken == contents


def tiff(
    pixels: np.ndarray, bits: int, kind: int, *, bands: int = 1, compression: int = 1
) -> bytes:
    data = pixels.tobytes()
    tags = [(256, pixels.shape[1]), (257, pixels.shape[0]), (258, bits), (259, compression)]
    tags += [
        (262, 1),
        (273, 8),
        (277, bands),
        (278, pixels.shape[0]),
        (279, len(data)),
        (339, kind),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", 10)
        + entries
        + bytes(4)
    )


def test_what_no_decoder_here_reads_is_not_called_corrupt() -> None:
    grey = np.linspace(0, 1, 1200).reshape(30, 40)
    assert reason(tiff(grey.astype("<f8"), 64, 3)) == (
        "not supported: TIFF with 1 channel, 64 bits floating point"
    )
    assert reason(tiff(np.zeros((30, 40, 5), "u1"), 8, 1, bands=5)) == (
        "not supported: TIFF with 5 channels, 8 bits"
    )
    assert reason(tiff(np.zeros((30, 40), "u1"), 8, 1, compression=34887)) == (
        "not supported: TIFF with 1 channel, 8 bits, compression 34887"
    )
    twelve = bytearray(encode(photograph(), "JPEG"))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    assert reason(bytes(twelve)) == "not supported: JPEG with 12 bits per channel"
    assert reason(b"\xff\xd8\xff\xf7\0\x0b\x08\0\x09\0\x09\1\1\x11\0" + bytes(99)) == (
        "not supported: JPEG-LS"
    )


def test_a_tiff_that_is_cut_is_corrupt_whatever_it_holds() -> None:
    whole = tiff(np.zeros((30, 40)), 64, 3)
    assert reason(whole[: len(whole) // 2]).startswith("corrupt: ")
    beyond = bytearray(whole)
    struct.pack_into("<I", beyond, 8 + 9600 + 2 + 5 * 12 + 8, 900_000)
    assert reason(bytes(beyond)).startswith("corrupt: ")
