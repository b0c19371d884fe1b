"""Every format and mode becomes 8-bit RGB as documented, and every broken file has a reason."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from registry_assets.images import DecodedImage, Unreadable, decode_image, decoding
from registry_assets.images.contents import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    describe_error,
    read_contents,
)

from .drawing import encode, noise

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def decode(contents: bytes) -> DecodedImage:
    decoded = decode_image(contents)
    assert isinstance(decoded, DecodedImage), decoded
    assert decoded.image.mode in ("RGB", "RGBX")
    assert decoded.image.size == (decoded.width, decoded.height)
    shown = np.asarray(decoded.image.convert("RGB"))
    assert np.array_equal(decoded.pixels[..., :3], shown)
    return decoded


def pixels(contents: bytes) -> NDArray[np.uint8]:
    return decode(contents).pixels[..., :3]


def reason(contents: bytes, name: str = "") -> str:
    decoded = decode_image(contents, name=name)
    assert isinstance(decoded, Unreadable), decoded
    return decoded.reason


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
        ("TGA", {}),
        ("JPEG2000", {}),
        ("QOI", {}),
    ],
)
def test_lossless_formats_give_back_their_pixels(format: str, options: dict[str, object]) -> None:
    contents = encode(noise(), format, **options)
    assert decode(contents).format == format
    assert np.array_equal(pixels(contents), np.asarray(noise()))


@pytest.mark.parametrize("format", ["JPEG", "AVIF", "WEBP"])
def test_lossy_formats_give_back_nearly_their_pixels(format: str) -> None:
    image = Image.new("RGB", (64, 48), (200, 100, 50))
    contents = encode(image, format)
    assert decode(contents).format == format
    assert np.abs(pixels(contents).astype(int) - np.asarray(image)).max() <= 4


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(format: str) -> None:
    grey = np.array([[0, 255, 256, 40_000, 65_535]], dtype=np.uint16)
    contents = encode(Image.fromarray(grey), format)
    assert decode(contents).mode == "I;16"
    assert pixels(contents)[0, :, 0].tolist() == [0, 0, 1, 156, 255]


def test_big_endian_16_bit_grey_keeps_its_high_byte() -> None:
    values = np.array([[0, 256, 40_000, 65_535]], dtype=">u2").tobytes()
    tags = [(256, 4), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    tags.append((279, len(values)))
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    header = b"MM\0*" + struct.pack(">I", 8 + len(values))
    contents = header + values + struct.pack(">H", len(tags)) + entries + bytes(4)
    assert decode(contents).mode == "I;16B"
    assert pixels(contents)[0, :, 2].tolist() == [0, 1, 156, 255]


def test_16_bit_ppm_and_32_bit_integers_keep_their_high_byte() -> None:
    ppm = b"P5 4 1 65535\n" + np.array([0, 256, 40_000, 65_535], dtype=">u2").tobytes()
    assert decode(ppm).mode == "I"
    assert pixels(ppm)[0, :, 1].tolist() == [0, 1, 156, 255]
    wide = np.array([[-5, 0, 1 << 30, (1 << 31) - 1]], dtype=np.int32)
    assert pixels(encode(Image.fromarray(wide), "TIFF"))[0, :, 0].tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize("white", [1, 255, 65_535])
def test_floats_are_scaled_to_the_white_that_holds_them(white: int) -> None:
    values = np.array([[-1, 0, white / 2, white, np.nan]], dtype=np.float32)
    got = pixels(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist()
    assert got == [0, 0, 128, 255, 0]


def test_16_bit_rgb_png_keeps_its_high_byte() -> None:
    row = b"\0" + struct.pack(">6H", 65_535, 256, 255, 40_000, 0, 512)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    contents = b"\x89PNG\r\n\x1a\n" + header + body
    assert pixels(contents).tolist() == [[[255, 1, 0], [156, 0, 2]]]


def test_a_palette_is_looked_up_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    for options in ({}, {"transparency": 1}, {"transparency": b"\x80\x00"}):
        contents = encode(image, "PNG", **options)
        assert decode(contents).mode == "P"
        assert pixels(contents).tolist() == [[list(RED), list(BLUE)]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_and_the_stored_colours_stay(mode: str) -> None:
    image = Image.new(mode, (2, 2), (90, 60, 30, 0) if mode == "RGBA" else (90, 0))
    contents = encode(image, "PNG")
    expected = [90, 60, 30] if mode == "RGBA" else [90, 90, 90]
    assert pixels(contents)[0, 0].tolist() == expected


def test_a_bit_is_black_or_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((0, 0), 1)
    assert pixels(encode(image, "PNG")).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_becomes_the_colour_it_prints(format: str) -> None:
    # Pillow writes CMYK as Adobe does, inverted.
    contents = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), format)
    assert decode(contents).mode == "CMYK"
    assert np.abs(pixels(contents).astype(int) - RED).max() <= 3


def test_lab_becomes_rgb() -> None:
    contents = encode(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")
    assert decode(contents).mode == "LAB"
    assert pixels(contents).min() >= 250


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBa", "La", "PA", "RGBX"])
def test_modes_that_no_format_stores_are_converted_too(mode: str) -> None:
    image = Image.new("RGB", (3, 3), GREEN)
    if mode in ("RGBa", "PA"):
        image = image.convert("RGBA")
    elif mode == "La":
        image = image.convert("LA")
    converted = decoding.convert_to_rgb(image.convert(mode))
    assert converted.mode == "RGB"
    expected = (150, 150, 150) if mode == "La" else GREEN
    assert np.abs(np.asarray(converted).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_of_several_frames_all_are_decoded_and_the_first_is_returned(format: str) -> None:
    first, *others = (Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE))
    contents = encode(first, format, save_all=True, append_images=others)
    decoded = decode(contents)
    assert (decoded.format, decoded.frames) == (format, 3)
    assert np.abs(pixels(contents).astype(int) - RED).max() <= 4


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_a_file_whose_later_frames_are_broken_is_readable_with_a_note(format: str) -> None:
    frames = [noise(64, 64, seed) for seed in range(3)]
    contents = encode(frames[0], format, save_all=True, append_images=frames[1:])
    whole = decode(contents)
    assert (whole.frames, whole.note) == (3, "")
    cuts = [int(len(contents) * part) for part in (0.5, 0.7, 0.8)]
    if format == "TIFF":  # the last directory is at the end
        cuts = [int(len(contents) * 0.8)]
    for cut in cuts:
        decoded = decode(contents[:cut])
        assert decoded.frames in (1, 2)
        assert decoded.note
        assert np.array_equal(decoded.pixels, whole.pixels)


def test_an_animation_with_fewer_frames_than_it_states_is_readable_with_a_note() -> None:
    frames = [noise(seed=seed) for seed in range(3)]
    contents = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    at = contents.index(b"acTL")
    control = b"acTL" + struct.pack(">II", 4, 0)
    altered = contents[:at] + control + struct.pack(">I", zlib.crc32(control)) + contents[at + 16 :]
    decoded = decode(altered)
    assert (decoded.frames, decoded.note) == (3, "frame 4 of 4: Truncated File Read")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_picture_cut_off_half_way_is_corrupt(format: str) -> None:
    contents = encode(noise(64, 64), format)
    assert reason(contents[: len(contents) // 2]).startswith("corrupt: ")


def test_what_only_the_check_of_the_container_finds_is_corrupt() -> None:
    contents = bytearray(encode(noise(), "PNG"))
    contents[contents.index(b"IEND") - 5] ^= 0xFF  # in the checksum of the pixels' chunk
    with Image.open(io.BytesIO(contents)) as image:
        image.load()
    assert reason(bytes(contents)).startswith("corrupt: ")


def test_what_only_decoding_finds_is_corrupt() -> None:
    contents = encode(noise(64, 64), "JPEG")
    cut = contents[: len(contents) // 2]
    with Image.open(io.BytesIO(cut)) as image:
        image.verify()
    assert reason(cut) == "corrupt: premature end of data segment"


def test_contents_decide_and_not_the_name() -> None:
    decoded = decode_image(encode(noise(), "PNG"), name="photo.jpg")
    assert isinstance(decoded, DecodedImage)
    assert decoded.format == "PNG"


def test_reasons_tell_broken_images_from_other_files() -> None:
    assert reason(b"") == "empty file"
    assert reason(b"Some notes.\n", "notes.txt") == "not an image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.eps") == "not an image"
    assert reason(bytes(5000), "photo.JPG") == "corrupt: no decoder recognises it"
    assert reason(b"\xff\xd8\xff", "photo") == "corrupt: no decoder recognises it"
    assert reason(b"\0\0\0\x18ftypheic" + bytes(50)).startswith("corrupt: ")
    assert reason(b"v/1\x01" + bytes(50)) == "not supported: OpenEXR"


def test_reasons_are_the_same_in_each_run() -> None:
    for contents in (bytes(100), encode(noise(), "JPEG")[:300], encode(noise(), "TIFF")[:300]):
        assert reason(contents, "a.tif") == reason(contents, "a.tif")
        assert "0x" not in reason(contents, "a.tif")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("was decoded"))
    assert reason(b"P5 %d %d 255\n" % (side, side)) == f"too large: {side} x {side} pixels"
    assert reason(b"P5 100000 100000 255\n") == "too large: 100000 x 100000 pixels"


def test_the_limit_on_pixels_is_given_and_nobody_elses() -> None:
    contents = encode(noise(24, 32), "PNG")
    assert isinstance(decode_image(contents, max_pixels=24 * 32), DecodedImage)
    assert decode_image(contents, max_pixels=24 * 32 - 1) == Unreadable("too large: 32 x 24 pixels")
    # More than Pillow opens by itself.
    large = encode(Image.new("1", (20_000, 10_000)), "PNG")
    assert decode_image(large, max_pixels=1) == Unreadable("too large: 20000 x 10000 pixels")


def test_of_an_animation_with_too_many_pixels_the_first_frame_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = [noise(seed=seed) for seed in range(3)]
    contents = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(decoding, "MAX_PIXELS_OF_ALL_FRAMES", 32 * 24 * 3 - 1)
    decoded = decode(contents)
    assert decoded.frames == 2
    assert decoded.note == "too many pixels: not looked at from frame 3 of 3 on"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG"])
def test_pixels_are_taken_as_stored_whatever_the_exif_orientation(
    format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    plain, tagged = encode(noise(), format), encode(noise(), format, exif=exif)
    assert decode(tagged).width == 32
    assert np.array_equal(pixels(tagged), pixels(plain))


def test_measuring_refuses_to_start_while_pillow_lets_truncated_files_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        decode_image(encode(noise(), "JPEG"))


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a hole: takes no space
    assert read_contents(path) == Unreadable("too large: more than 1,073,741,824 bytes")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_reading_a_named_pipe_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    results: list[bytes | Unreadable] = []
    reader = threading.Thread(
        target=lambda: results.append(read_contents(tmp_path / "pipe.jpg")), daemon=True
    )
    reader.start()
    reader.join(5)
    assert results == [Unreadable("not a regular file")]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(2, "No such file or directory", "/home/ada/a.jpg"), "No such file or directory"),
        (ValueError("cannot identify <_io.BytesIO object at 0x7f01>"), "cannot identify"),
        (ValueError("two\n  lines"), "two lines"),
        (
            RuntimeError("Generic Error. Please build `libjxl` from source\nand look at `stderr`."),
            "does not decode (RuntimeError)",
        ),
        (IndexError("list index out of range"), "its decoder fails (IndexError)"),
        (KeyError(6), "its decoder fails (KeyError)"),
        (struct.error("unpack requires a buffer of 4 bytes"), "its decoder fails (error)"),
        (ValueError(), "does not decode (ValueError)"),
    ],
)
def test_what_a_decoder_says_is_told_on_one_line_for_users(error: Exception, said: str) -> None:
    assert describe_error(error) == said
