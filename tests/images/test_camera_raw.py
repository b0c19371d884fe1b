"""Camera raw, HEIF and JPEG XL: recognised always, read with an extra, never by a thumbnail."""

import importlib
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from registry_assets.images import DecodedImage, Unreadable, decode_image, measure_file
from registry_assets.images.memo import Memo

from .drawing import encode, noise

WIDTH, HEIGHT = 320, 240
REDUCED, SENSOR, RGB = 1, 32803, 2
Tags = dict[int, tuple[int, tuple[int, ...]]]
FORMATS = {1: "B", 3: "H", 4: "I", 5: "I"}


def directory_file(*directories: tuple[Tags, bytes], below: int = 0) -> bytes:
    """Return a TIFF of directories with their pixels, the last `below` of them sub-directories."""
    file = bytearray(b"II*\0\0\0\0\0")
    places: list[int] = []
    for number in reversed(range(len(directories))):
        tags, pixels = directories[number]
        entries = {273: (4, (len(file),)), 279: (4, (len(pixels),)), **tags}
        file += pixels
        if number == 0 and below:
            entries[330] = (4, tuple(reversed(places[:below])))
        values = b""
        table = struct.pack("<H", len(entries))
        at = len(file) + 2 + 12 * len(entries) + 4
        for tag, (kind, numbers) in sorted(entries.items()):
            data = struct.pack(f"<{len(numbers)}{FORMATS[kind]}", *numbers)
            count = len(numbers) // 2 if kind == 5 else len(numbers)
            if len(data) > 4:
                table += struct.pack("<HHII", tag, kind, count, at + len(values))
                values += data
            else:
                table += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
        following = places[below] if number == 0 and len(places) > below else 0
        places.append(len(file))
        file += table + struct.pack("<I", following) + values
    struct.pack_into("<I", file, 4, places[-1])
    return bytes(file)


def picture(width: int, height: int, *, reduced: bool = False) -> tuple[Tags, bytes]:
    tags: Tags = {
        254: (4, (int(reduced),)),
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (8, 8, 8)),
        259: (3, (1,)),
        262: (3, (RGB,)),
        277: (3, (3,)),
        278: (4, (height,)),
    }
    return tags, noise(height, width).tobytes()


def sensor() -> tuple[Tags, bytes]:
    values = np.linspace(200, 4000, WIDTH).astype("<u2")[None, :].repeat(HEIGHT, 0)
    tags: Tags = {
        254: (4, (0,)),
        256: (4, (WIDTH,)),
        257: (4, (HEIGHT,)),
        258: (3, (16,)),
        259: (3, (1,)),
        262: (3, (SENSOR,)),
        277: (3, (1,)),
        278: (4, (HEIGHT,)),
        33421: (3, (2, 2)),
        33422: (1, (0, 1, 1, 2)),
        50717: (4, (4095,)),
    }
    return tags, values.tobytes()


def dng() -> bytes:
    tags, pixels = picture(160, 120, reduced=True)
    return directory_file(({**tags, 50706: (1, (1, 4, 0, 0))}, pixels), sensor(), below=1)


def nef() -> bytes:
    return directory_file(picture(160, 120, reduced=True), sensor(), below=1)


def sensor_first() -> bytes:
    return directory_file(sensor())


def reason(contents: bytes, name: str = "") -> str:
    decoded = decode_image(contents, name=name)
    return decoded.reason if isinstance(decoded, Unreadable) else ""


@pytest.mark.parametrize("make", [dng, nef, sensor_first])
@pytest.mark.parametrize("name", ["DSC_0001.NEF", "scan.tif", "a"])
def test_camera_raw_is_read_in_full_size_whatever_it_is_called(make: object, name: str) -> None:
    contents = make()  # type: ignore[operator]
    decoded = decode_image(contents, name=name)
    assert isinstance(decoded, DecodedImage)
    assert (decoded.format, decoded.width, decoded.height) == ("RAW", WIDTH, HEIGHT)
    assert decoded.pixels[:, :40].mean() < decoded.pixels[:, -40:].mean()
    assert reason(contents, name) == ""
    assert isinstance(decode_image(contents, max_pixels=WIDTH * HEIGHT - 1), Unreadable)


@pytest.mark.parametrize(
    "contents",
    [
        b"\0\0\0\x18ftypcrx " + bytes(4000),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(4000),
        b"IIRO\x08\0\0\0" + bytes(4000),
        b"IIU\0\x18\0\0\0" + bytes(4000),
        b"FUJIFILMCCD-RAW " + bytes(4000),
        b"FOVb" + bytes(4000),
    ],
)
def test_what_begins_like_camera_raw_is_no_picture_of_another_kind(contents: bytes) -> None:
    assert reason(contents).startswith(("not supported: camera raw", "corrupt: camera raw"))


@pytest.mark.parametrize(
    ("mode", "compression"),
    [("RGB", "raw"), ("RGB", "jpeg"), ("CMYK", "tiff_lzw"), ("P", "raw"), ("P", "tiff_lzw")],
)
def test_a_picture_that_is_called_camera_raw_is_that_picture(mode: str, compression: str) -> None:
    contents = encode(noise(120, 160).convert(mode), "TIFF", compression=compression)
    for name in ("scan.nef", "scan.DNG"):
        decoded = decode_image(contents, name=name)
        assert isinstance(decoded, DecodedImage), decoded
        assert (decoded.format, decoded.width) == ("TIFF", 160)
    assert reason(contents[: len(contents) // 2], "scan.nef")


@pytest.mark.parametrize("name", ["a.nef", "a.dng"])
def test_a_thumbnail_is_not_the_picture_of_a_file_that_is_called_camera_raw(name: str) -> None:
    small, large = picture(160, 120), picture(320, 240)
    for contents in (
        directory_file(small) + bytes(4 * len(small[1])),  # what a directory that is lost told of
        directory_file(picture(160, 120, reduced=True)),
        directory_file(picture(160, 120, reduced=True), large, below=1),
    ):
        assert reason(contents, name).startswith(("not supported: camera raw", "corrupt: camera"))


def test_a_tiff_that_is_called_camera_raw_is_not_taken_for_its_picture(tmp_path: Path) -> None:
    contents = directory_file(picture(160, 120)) + bytes(200_000)
    assert reason(contents, "DSC_1.ARW").startswith("not supported: camera raw")
    assert reason(contents, "a.tif") == ""
    memo = Memo.in_folder(tmp_path)
    assert memo is not None
    for name in ("a.tif", "DSC_1.ARW"):
        (tmp_path / name).write_bytes(contents)
    memo.add([measure_file(tmp_path / "a.tif")])
    assert not measure_file(tmp_path / "DSC_1.ARW", memo=memo).is_readable
    assert measure_file(tmp_path / "a.tif", memo=memo).is_readable


def test_tiffs_with_smaller_versions_of_their_picture_are_pictures() -> None:
    large, small = picture(160, 120), picture(40, 30, reduced=True)
    for contents in (
        directory_file(large, small, below=1),
        directory_file(large, small, small, below=2),
        directory_file(large, small),
        directory_file(large, large, large),
    ):
        decoded = decode_image(contents, name="ortho.tif")
        assert isinstance(decoded, DecodedImage), decoded
        assert (decoded.format, decoded.width) == ("TIFF", 160)


def test_the_limit_holds_for_what_is_remembered(tmp_path: Path) -> None:
    memo = Memo.in_folder(tmp_path)
    assert memo is not None
    (tmp_path / "a.png").write_bytes(encode(noise(), "PNG"))
    memo.add([measure_file(tmp_path / "a.png")])
    limited = measure_file(tmp_path / "a.png", memo=memo, max_pixels=32 * 24 - 1)
    assert limited.reason == "too large: 32 x 24 pixels"


@pytest.mark.parametrize(("format", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_heif_and_jpeg_xl_are_read_with_their_extras(format: str, module: str) -> None:
    plugin = importlib.import_module(module)
    if format == "HEIF":
        plugin.register_heif_opener()
    contents = encode(noise(64, 96).resize((192, 128)), format)
    decoded = decode_image(contents)
    assert isinstance(decoded, DecodedImage)
    assert (decoded.format, decoded.width, decoded.height) == (format, 192, 128)
    cut = reason(contents[: len(contents) // 2])
    assert cut.startswith("corrupt: ")
    assert "build" not in cut


def test_without_the_extras_the_reason_names_them() -> None:
    program = (
        "import sys\n"
        "for name in ('rawpy', 'pillow_heif', 'pillow_jxl'):\n"
        "    sys.modules[name] = None\n"
        "from registry_assets.images import decode_image\n"
        "for contents in eval(sys.stdin.read()):\n"
        "    print(decode_image(contents).reason)\n"
    )
    files = [nef(), b"\0\0\0\x18ftypheic" + bytes(500), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(500)]
    done = subprocess.run(
        [sys.executable, "-c", program], input=repr(files), capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "not supported: camera raw, read with pip install 'registry-assets[raw]'",
        "not supported: HEIF, read with pip install 'registry-assets[heif]'",
        "not supported: JPEG XL, read with pip install 'registry-assets[jxl]'",
    ], done.stderr
