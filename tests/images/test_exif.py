"""EXIF of real files is read from every format; what is broken or hostile is empty cells."""

import importlib
import io
import json
import random
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from registry_assets.images import (
    Exif,
    Memo,
    describe_tags,
    measure_collection,
    measure_file,
    read_exif,
    read_measurements,
    write_measurements,
)

from .drawing import encode, exif, noise
from .test_camera_raw import directory_file, nef, picture
from .test_hostile_files import pixels_chunk, png

BUENOS_AIRES = Exif(
    taken="2021-10-16T07:31:05.250-03:00",
    camera="Canon EOS 80D",
    lens="EF-S18-55mm f/4-5.6 IS STM",
    orientation=6,
    latitude=-34.608333333333334,
    longitude=-58.375,
    altitude=-12.5,
    has_gps=True,
)


def jpeg(**changed: Any) -> bytes:
    return encode(noise(), "JPEG", exif=exif(**changed))


def tiff_with_directories(**options: Any) -> bytes:
    written = exif()
    tags = {**written, 34665: dict(written.get_ifd(34665)), 34853: dict(written.get_ifd(34853))}
    return encode(noise(), "TIFF", tiffinfo=tags, **options)


def block(**changed: Any) -> bytes:
    """Return EXIF as a TIFF."""
    return exif(**changed).tobytes().removeprefix(b"Exif\0\0")


def in_jpeg(contents: bytes, header: bytes = b"Exif\0\0") -> bytes:
    """Return a JPEG with these bytes as its EXIF."""
    segment = header + contents
    plain = encode(noise(), "JPEG")
    # As from a camera, without JFIF: Pillow then looks for the resolution in EXIF.
    start, rest = plain[:2], plain[plain.index(b"\xff\xdb") :]
    return start + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + rest


def in_raf(contents: bytes) -> bytes:
    """Return the begin of Fujifilm's raw: where its JPEG is, and that."""
    return b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 92, len(contents)) + contents


def in_png_of_imagemagick(compressed: bool) -> bytes:
    contents = b"Exif\0\0" + block()
    text = b"\nexif\n%8d\n%s\n" % (len(contents), contents.hex("\n", 36).encode())
    name = b"Raw profile type exif\0"
    if compressed:
        return png(4, 4, (b"zTXt", name + b"\0" + zlib.compress(text)))
    return png(4, 4, (b"tEXt", name + text))


FORMATS: dict[str, Callable[[], bytes]] = {
    "JPEG": jpeg,
    "MPO": lambda: encode(noise(), "MPO", exif=exif(), save_all=True, append_images=[noise()]),
    "PNG": lambda: encode(noise(), "PNG", exif=exif()),
    "PNG of ImageMagick": lambda: in_png_of_imagemagick(True),
    "PNG of ImageMagick, plain": lambda: in_png_of_imagemagick(False),
    "WebP": lambda: encode(noise(), "WEBP", exif=exif()),
    "TIFF": tiff_with_directories,
    "BigTIFF": lambda: tiff_with_directories(big_tiff=True),
    "AVIF": lambda: encode(noise(), "AVIF", exif=exif().tobytes()),
    "JPEG XL": lambda: encode(noise(), "JXL", exif=exif().tobytes()),
    "RAF": lambda: in_raf(jpeg()),
}


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    importlib.import_module("pillow_jxl")
    importlib.import_module("pillow_heif").register_heif_opener()


@pytest.mark.parametrize("format", FORMATS)
def test_time_camera_lens_and_place_are_read_from_every_format(format: str) -> None:
    assert read_exif(FORMATS[format]()) == BUENOS_AIRES


def test_of_heif_which_its_decoder_makes_upright_nothing_is_to_be_turned() -> None:
    contents = encode(noise(64, 96), "HEIF", exif=exif().tobytes())
    assert read_exif(contents) == BUENOS_AIRES._replace(orientation=1)


def test_camera_raw_has_the_tags_of_its_first_directory() -> None:
    assert read_exif(nef()) == Exif(has_gps=False)
    tags, pixels = picture(16, 12, reduced=True)
    make, taken = b"NIKON\0", b"2021:10:16 07:31:05\0"
    contents = directory_file(
        (
            {**tags, 271: (1, tuple(make)), 272: (1, tuple(b"Z 6\0")), 36867: (1, tuple(taken))},
            pixels,
        )
    )
    assert read_exif(contents) == Exif(
        taken="2021-10-16T07:31:05", camera="NIKON Z 6", has_gps=False
    )
    # Olympus and Panasonic have the same structure, and signatures of their own.
    for signature in (b"IIRO", b"IIU\0"):
        assert read_exif(signature + contents[4:]).camera == "NIKON Z 6"


def test_what_cannot_be_read_is_not_said_to_tell_no_place() -> None:
    assert read_exif(b"\0\0\0\x18ftypcrx " + bytes(4000)).has_gps is None
    assert read_exif(b"\0\0\0\x18ftypheic" + bytes(4000)).has_gps is None
    compressed = encode(noise(), "JXL", exif=exif().tobytes(), compress_metadata=True)
    assert read_exif(compressed) == Exif()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_picture_without_exif_has_none(format: str) -> None:
    assert read_exif(encode(noise(), format)) == Exif(has_gps=False)
    assert read_exif(b"some text") == read_exif(b"") == Exif(has_gps=False)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 80D", "Canon EOS 80D"),
        ("NIKON CORPORATION", "NIKON D850", "NIKON D850"),
        ("EASTMAN KODAK COMPANY", "KODAK DC290", "KODAK DC290"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("DJI", None, "DJI"),
        (None, "FC3170", "FC3170"),
        ("  SONY  \0\0\0", "ILCE-7M3\0\0\0\0x", "SONY ILCE-7M3"),
        (b"Caf\xc3\xa9", b"S\xe9rie 1", "Café Série 1"),
        ("", " ", ""),
        ("x" * 60_000, "y", "x" * 128),
    ],
)
def test_make_and_model_are_joined_without_repetition(
    make: str | bytes | None, model: str | bytes | None, camera: str
) -> None:
    assert read_exif(jpeg(Make=make, Model=model)).camera == camera


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({"OffsetTimeOriginal": None}, "2021-10-16T07:31:05.250"),
        ({"SubsecTimeOriginal": None}, "2021-10-16T07:31:05-03:00"),
        ({"SubsecTimeOriginal": "007 "}, "2021-10-16T07:31:05.007-03:00"),
        ({"SubsecTimeOriginal": "12345678"}, "2021-10-16T07:31:05.123456-03:00"),
        ({"SubsecTimeOriginal": "٣"}, "2021-10-16T07:31:05-03:00"),
        ({"OffsetTimeOriginal": "Z"}, "2021-10-16T07:31:05.250"),
        ({"OffsetTimeOriginal": "+99:00"}, "2021-10-16T07:31:05.250"),
        ({"DateTimeOriginal": "2021-10-16 07:31:05"}, "2021-10-16T07:31:05.250-03:00"),
        ({"DateTimeOriginal": "0000:00:00 00:00:00"}, ""),
        ({"DateTimeOriginal": "    :  :     :  :  "}, ""),
        ({"DateTimeOriginal": "2021:02:30 07:31:05"}, ""),
        ({"DateTimeOriginal": "2021:10:16"}, ""),
        ({"DateTimeOriginal": None}, ""),
    ],
)
def test_the_time_is_that_of_the_cameras_clock(changed: dict[str, Any], taken: str) -> None:
    assert read_exif(jpeg(**changed)).taken == taken


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"GPSLatitudeRef": "N", "GPSLongitudeRef": "E"}, (34.608333333333334, 58.375)),
        ({"GPSLatitude": (0.0, 0.0, 0.0), "GPSLongitude": (0.0, 0.0, 0.0)}, (0.0, 0.0)),
        ({"GPSLatitude": (90.0, 0.0, 0.0), "GPSLongitude": (180.0, 0.0, 0.0)}, (-90.0, -180.0)),
        ({"GPSLatitudeRef": None}, None),
        ({"GPSLongitudeRef": "X"}, None),
        ({"GPSLongitudeRef": b"\0\0"}, None),
        ({"GPSLatitude": (90.0, 1.0, 0.0)}, None),
        ({"GPSLongitude": None}, None),
    ],
)
def test_a_place_is_whole_or_empty_and_told_in_any_case(
    changed: dict[str, Any], place: tuple[float, float] | None
) -> None:
    found = read_exif(jpeg(**changed))
    assert (found.latitude, found.longitude) == (place or (None, None))
    assert found.has_gps is True
    assert "-0.0" not in repr(found)


@pytest.mark.parametrize(
    ("ref", "altitude", "expected"),
    [(b"\0", 12.5, 12.5), (b"\1", 12.5, -12.5), (None, 12.5, 12.5), (b"\1", 0.0, 0.0)],
)
def test_below_the_sea_is_negative(ref: bytes | None, altitude: float, expected: float) -> None:
    assert read_exif(jpeg(GPSAltitudeRef=ref, GPSAltitude=altitude)).altitude == expected


def test_gps_of_any_kind_is_told_but_for_its_mere_version() -> None:
    places = ("LatitudeRef", "Latitude", "LongitudeRef", "Longitude", "AltitudeRef", "Altitude")
    nothing: dict[str, Any] = {f"GPS{name}": None for name in places}
    assert read_exif(jpeg(**nothing)).has_gps is False
    assert read_exif(jpeg(**nothing, GPSDateStamp="2021:10:16")).has_gps is True
    # Where the directory lies is beyond the end of the file.
    broken = block(**nothing).replace(struct.pack(">HHI", 0x8825, 4, 1), b"\x88\x25\0\4\0\0\0\1")
    place = broken.index(b"\x88\x25\0\4\0\0\0\1") + 8
    assert read_exif(in_jpeg(broken[:place] + b"\0\xff\xff\xff" + broken[place + 4 :])).has_gps
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x exif:GPSLatitude='34,36.5S'/>"
    assert read_exif(in_jpeg(b"", xmp)) == Exif(has_gps=True)


RATIONAL = 5
NUMBERS = [(0, 0), (1, 0), (0xFFFFFFFF, 1), (0xFFFFFFFF, 0xFFFFFFFF)]


def directory(*entries: tuple[int, int, int, bytes], following: int = 0) -> bytes:
    """Return a TIFF of one directory: tag, type, count, and the value or its place."""
    table = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]
        for tag, kind, count, value in entries
    )
    count = min(len(entries), 0xFFFF)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + table + struct.pack("<I", following)


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("kind", [5, 10])
def test_numbers_that_make_no_sense_are_empty(numbers: tuple[int, int], kind: int) -> None:
    values = struct.pack("<II", *numbers) * 3
    gps = struct.pack("<H", 5)
    for tag, of_kind, count, value in (
        *((1, 2, 2, b"N\0"), (2, kind, 3, struct.pack("<I", 200)), (3, 2, 2, b"E\0")),
        *((4, kind, 3, struct.pack("<I", 200)), (6, kind, 1, struct.pack("<I", 200))),
    ):
        gps += struct.pack("<HHI", tag, of_kind, count) + value.ljust(4, b"\0")
    contents = directory((0x8825, 4, 1, struct.pack("<I", 40))).ljust(40, b"\0") + gps
    found = read_exif(in_jpeg(contents.ljust(200, b"\0") + values))
    assert found.has_gps is True
    assert found.latitude in (None, 1 + 1 / 60 + 1 / 3600)  # 0xFFFFFFFF / 0xFFFFFFFF is 1
    assert found.altitude in (None, 1.0, -1.0)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 99, 129])
def test_tags_of_another_type_are_read_or_empty_and_never_an_error(kind: int) -> None:
    tags = (0x010F, 0x0110, 0x0112, 0x8769, 0x8825, 0x9003)
    for count in (0, 1, 4, 1000, 0xFFFFFFFF):
        contents = directory(*[(tag, kind, count, b"\x08\0\0\0") for tag in tags])
        for file in (contents, in_jpeg(contents)):
            assert isinstance(read_exif(file), Exif)
            describe_tags(file)


def test_a_directory_that_leads_to_itself_ends() -> None:
    own = struct.pack("<I", 8)
    contents = directory((0x8769, 4, 1, own), (0x8825, 4, 1, own), following=8)
    assert read_exif(contents).has_gps is True
    assert describe_tags(contents) == {}


def test_random_bytes_in_exif_are_never_an_error() -> None:
    chance = random.Random(0)
    sound = block()
    for _ in range(3000):
        broken = bytearray(sound)
        for _ in range(chance.randint(1, 12)):
            broken[chance.randrange(len(broken))] = chance.choice((0, 1, 8, 0x80, 0xFF, 0x41))
        contents = bytes(broken[: chance.randint(8, len(broken))])
        for file in (in_jpeg(contents), png(4, 4, (b"eXIf", contents)), contents):
            found = read_exif(file)
            assert found.latitude is None or abs(found.latitude) <= 90
            assert found.altitude is None or abs(found.altitude) <= 100_000
            describe_tags(file)


@pytest.mark.parametrize("make", [jpeg, lambda: encode(noise(), "WEBP", exif=exif())])
def test_a_file_that_is_cut_anywhere_is_never_an_error(make: Callable[[], bytes]) -> None:
    contents = make()
    for size in range(len(contents)):
        read_exif(contents[:size])


def hostile() -> dict[str, bytes]:
    """Return pictures whose EXIF is made to cost time or memory, or to break a table."""
    size = 1 << 22
    everything = struct.pack("<I", 0)
    many = directory(*[(tag, 7, size, everything) for tag in range(0xFFFF)]).ljust(size + 8, b"\0")
    gps = directory(*[(0x8825, 4, 1, struct.pack("<I", 8))] * 5000)
    return {
        "many.png": png(4, 4, (b"eXIf", many), pixels_chunk(4, 4)),
        "many.webp": riff(many),
        "many.jpg": in_jpeg(many[:60_000]),
        "gps.jpg": in_jpeg(gps),
        "long.png": encode(
            noise(), "PNG", exif=exif(Make="é".encode() * 200_000, LensModel="l" * 200_000)
        ),
        "controls.jpg": jpeg(Make='a\n\x1b[31m\\,"b', LensModel="<script>alert(1)</script>"),
        "latin.jpg": jpeg(Make=b"\xe9\xff\x81\xfe", Model=b"\xed\xa0\x80"),
        "bomb.png": png(
            4,
            4,
            (
                b"zTXt",
                b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 8\n" + b"0" * (1 << 27)),
            ),
            pixels_chunk(4, 4),
        ),
    }


def riff(contents: bytes) -> bytes:
    """Return a WebP with these bytes as its EXIF."""
    plain = encode(noise(), "WEBP", exif=exif())
    at = plain.index(b"EXIF")
    chunks = plain[12:at] + b"EXIF" + struct.pack("<I", len(contents)) + contents
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def test_hostile_exif_costs_no_picture_no_time_and_no_row(tmp_path: Path) -> None:
    folder = tmp_path / "collection"
    folder.mkdir()
    for name, contents in hostile().items():
        (folder / name).write_bytes(contents)
        begin = time.process_time()
        read_exif(contents)
        describe_tags(contents)
        assert time.process_time() - begin < 0.5, name
    measured = list(measure_collection(folder))
    assert {row.path: row.reason for row in measured} == dict.fromkeys(sorted(hostile()), "")
    write_measurements(tmp_path / "table.csv", measured, version=3)
    assert list(read_measurements(tmp_path / "table.csv")) == measured
    text = (tmp_path / "table.csv").read_text(encoding="utf-8")
    assert text.count("\n") == len(measured) + 1
    assert max(map(len, text.splitlines())) < 1000
    assert "a\\x0a\\x1b[31m\\\\" in text
    rows = {row.path: row for row in measured}
    assert rows["long.png"].camera == "é" * 128
    # No surrogates, which JSON and HTML could not hold.
    assert rows["latin.jpg"].camera.encode()


def test_the_table_and_the_memo_hold_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    measured = measure_file(tmp_path / "a.jpg")
    assert Exif(*measured[-8:]) == BUENOS_AIRES
    write_measurements(tmp_path / "table.csv", [measured], version=3)
    assert list(read_measurements(tmp_path / "table.csv")) == [measured]
    row = (tmp_path / "table.csv").read_text().splitlines()[1]
    assert row.endswith(
        ",2021-10-16T07:31:05.250-03:00,Canon EOS 80D,EF-S18-55mm f/4-5.6 IS STM,6,"
        "-34.608333333333334,-58.375,-12.5,true"
    )
    memo = Memo.in_folder(tmp_path)
    assert memo is not None
    memo.add([measured])
    assert measure_file(tmp_path / "a.jpg", memo=memo) == measured


def test_a_memo_without_exif_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    memo = Memo.in_folder(tmp_path)
    assert memo is not None
    memo.add([measure_file(tmp_path / "a.jpg")])
    with sqlite3.connect(memo.path) as connection:
        ((cells,),) = connection.execute("SELECT cells FROM measures")
        connection.execute("UPDATE measures SET cells = ?", (json.dumps(json.loads(cells)[:10]),))
    assert Exif(*measure_file(tmp_path / "a.jpg", memo=memo)[-8:]) == BUENOS_AIRES


def test_a_damaged_picture_says_where_it_was_taken_too(tmp_path: Path) -> None:
    contents = encode(noise(64, 64), "JPEG", exif=exif())
    (tmp_path / "cut.jpg").write_bytes(contents[: len(contents) - 2000])
    measured = measure_file(tmp_path / "cut.jpg")
    assert measured.reason.startswith("corrupt: ")
    assert Exif(*measured[-8:]) == BUENOS_AIRES


def test_measures_are_those_of_the_same_picture_without_exif(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "b.jpg").write_bytes(encode(noise(), "JPEG"))
    tagged, plain = measure_file(tmp_path / "a.jpg"), measure_file(tmp_path / "b.jpg")
    assert tagged[1:11] == plain[1:11]
    assert tagged.thumbnail == plain.thumbnail


def test_all_tags_of_a_picture_are_described_by_name() -> None:
    contents = jpeg(
        UserComment=b"ASCII\0\0\0Bonjour",
        MakerNote=b"\0\1\2" * 50,
        FNumber=5.6,
        LensSpecification=(18.0, 55.0, 4.0, 5.6),
        ExifVersion=b"0232",
        Flash=16,
    )
    assert dict(describe_tags(contents)) == {
        "Make": "Canon",
        "Model": "Canon EOS 80D",
        "Orientation": "to be turned right",
        "Exposure Time": "1/250 s",
        "F Number": "f/5.6",
        "Exif Version": "0232",
        "Date Time Original": "2021:10:16 07:31:05",
        "Offset Time Original": "-03:00",
        "Flash": "did not fire",
        "Maker Note": "150 bytes",
        "User Comment": "Bonjour",
        "Subsec Time Original": "25",
        "Lens Specification": "18, 55, 4, 5.6",
        "Lens Model": "EF-S18-55mm f/4-5.6 IS STM",
        "GPS Version ID": "2, 3, 0, 0",
        "GPS Latitude Ref": "S",
        "GPS Latitude": "34° 36′ 30″",
        "GPS Longitude Ref": "W",
        "GPS Longitude": "58° 22.5′ 0″",
        "GPS Altitude Ref": "below sea level",
        "GPS Altitude": "12.5 m",
    }


def test_descriptions_are_cut() -> None:
    for contents in hostile().values():
        described = describe_tags(contents)
        assert len(described) <= 500
        assert all(len(text) <= 500 for text in described.values())


def test_pillow_reads_what_the_tests_write() -> None:
    with Image.open(io.BytesIO(jpeg())) as image:
        assert image.getexif()[272] == "Canon EOS 80D"
        assert image.getexif().get_ifd(34853)[2] == (34.0, 36.0, 30.0)
