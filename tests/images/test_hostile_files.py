"""Files made to harm who opens them: each costs itself, and the pictures beside it are fine."""

import io
import os
import resource
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from registry_assets.images import Measurement, build_contact_sheet, measure_collection

from .drawing import encode, noise, save

RED = (255, 0, 0)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return an RGB PNG of these chunks, which need not hold what the header promises."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b""))
    )


def pixels_chunk(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(bytes((3 * width + 1) * height))


def gif(frames: int) -> bytes:
    header = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return header + frame * frames + b";"


def tiff(following: int) -> bytes:
    """Return a grey TIFF of 4 x 4, and where it says that its next page is."""
    entries = (
        *((256, 3, 4), (257, 3, 4), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 122)),
        *((277, 3, 1), (278, 3, 4), (279, 4, 16)),
    )
    page = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, 9) + page + struct.pack("<I", following) + bytes(16)


def lossless_jpeg(grey: NDArray[np.uint8]) -> bytes:
    """Return a JPEG of the lossless process (ITU-T T.81, annex H), which `draft` breaks down on."""
    lengths, values = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1)) + bytes(7), bytes(range(12))
    codes, code = {}, 0
    remaining = iter(values)
    for length, count in enumerate(lengths, 1):
        for _ in range(count):
            codes[next(remaining)] = f"{code:0{length}b}"
            code += 1
        code <<= 1
    left = np.pad(grey.astype(int), ((0, 0), (1, 0)))[:, :-1]
    left[1:, 0] = grey[:-1, 0]
    left[0, 0] = 128
    bits = []
    for difference in (grey.astype(int) - left).ravel().tolist():
        size = abs(difference).bit_length()
        value = difference if difference > 0 else difference + (1 << size) - 1
        bits.append(codes[size] + (f"{value:0{size}b}" if size else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    height, width = grey.shape
    segments = (
        (0xC3, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        (0xC4, b"\0" + lengths + values),
        (0xDA, b"\1\1\0\1\0\0"),
    )
    return (
        b"\xff\xd8"
        + b"".join(
            b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data
            for marker, data in segments
        )
        + scan
        + b"\xff\xd9"
    )


def jpeg_of_much_exif() -> bytes:
    """Return a JPEG with 4 MB of EXIF in segments; each of its tags has all of it as its value."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 1 << 22, 0) for tag in range(0xFFFF))
    exif = (b"II*\0\x08\0\0\0\xff\xff" + entries).ljust((1 << 22) + 8, b"\0")
    plain = encode(noise(), "JPEG")
    # As from a camera, without JFIF: Pillow then looks for the resolution in EXIF.
    header, rest = plain[:2], plain[plain.index(b"\xff\xdb") :]
    for at in range(0, len(exif), 65_000):
        part = b"Exif\0\0" + exif[at : at + 65_000]
        header += b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
    return header + rest


def waves(side: int = 512) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side]
    grain = np.random.default_rng(0).integers(-8, 8, (side, side))
    return ((np.sin(x / 9) + np.cos(y / 7)) * 50 + 128 + grain).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    files = {
        "bomb.png": png(50_000, 50_000, pixels_chunk(1000, 1000)),
        "chunks.png": png(4, 4, *[(b"prVt", b"")] * 100_000, pixels_chunk(4, 4)),
        "text.png": png(
            4, 4, *[(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7)))] * 9, pixels_chunk(4, 4)
        ),
        "frames.gif": gif(20_000),
        "exif.jpg": jpeg_of_much_exif(),
        "circle.tif": tiff(8),
        "circle_of_two.tif": tiff(8 + 114 + 16) + tiff(8)[8:],
        "lossless.jpg": lossless_jpeg(waves()),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "drawing.jpg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n",
        "pages.pdf": b"%PDF-1.4\n",
        "no_frame.jpg": b"\xff\xd8\xff\xc3\0\2",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "hole.jpg").open("wb") as file:
        file.truncate(10 << 30)
    for number in range(6):
        save(folder / f"good_{number}.png", Image.new("RGB", (40, 30), RED))
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Measurement]:
    return {row.path: row for row in measure_collection(folder)}


def test_every_file_has_a_row_and_the_good_ones_are_fine(
    folder: Path, measured: dict[str, Measurement]
) -> None:
    assert sorted(measured) == sorted(os.listdir(folder))
    assert all(measured[f"good_{number}.png"].is_readable for number in range(6))
    assert measured["exif.jpg"].is_readable


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bomb.png", "too large: "),
        ("drawing.svg", "not an image"),
        ("drawing.jpg", "corrupt: "),
        ("program.jpg", "corrupt: "),
        ("pages.pdf", "not an image"),
        ("no_frame.jpg", "corrupt: "),
        ("pipe.jpg", "not a file: a named pipe"),
        ("hole.jpg", "too large: more than "),
    ],
)
def test_what_is_no_picture_says_why(
    measured: dict[str, Measurement], name: str, reason: str
) -> None:
    assert measured[name].reason.startswith(reason)


def test_what_is_only_strange_is_measured(measured: dict[str, Measurement]) -> None:
    for name in ("chunks.png", "text.png", "frames.gif", "circle.tif", "circle_of_two.tif"):
        assert measured[name].is_readable, measured[name]
    assert "too large" in measured["text.png"].note
    lossless = measured["lossless.jpg"]
    assert lossless.reason in ("", "decoder crashed")
    if lossless.is_readable:
        assert lossless.mean_brightness == pytest.approx(waves().mean())


def test_a_sheet_shows_the_others_whatever_lies_between_them(folder: Path) -> None:
    files = [(path.name, path) for path in sorted(folder.iterdir())]

    def count_red(_: int) -> int:
        sheet = build_contact_sheet(files, columns=1, thumbnail=20, most=len(files))
        assert sheet is not None
        with Image.open(io.BytesIO(sheet)) as image:
            pixels = np.asarray(image).astype(int)[11::22, 11]
        return int((np.abs(pixels - RED).max(1) < 20).sum())

    # Again and again: damaged memory can show later.
    with ThreadPoolExecutor(3) as threads:
        assert set(threads.map(count_red, range(6))) == {6}


def test_nothing_of_it_was_decoded_or_read_in_this_process(
    measured: dict[str, Measurement], folder: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    build_contact_sheet([(path.name, path) for path in sorted(folder.iterdir())])
    list(measure_collection(folder))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 0.5
