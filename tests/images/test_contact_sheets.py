import io
from pathlib import Path

import numpy as np
from PIL import Image

from registry_assets.images import build_contact_sheet

from .drawing import encode, noise, save


def named(*paths: Path) -> list[tuple[str, Path]]:
    return [(path.name, path) for path in paths]


def open_sheet(sheet: bytes | None) -> Image.Image:
    assert sheet is not None
    image = Image.open(io.BytesIO(sheet))
    assert image.format == "WEBP"
    return image.convert("RGB")


def test_a_sheet_shows_samples_spread_evenly_over_all_images(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / f"{n}.png", Image.new("RGB", (40, 40), (n * 2, n * 2, n * 2)))
        for n in range(100)
    ]
    sheet = open_sheet(build_contact_sheet(named(*paths), columns=2, thumbnail=20, most=4))
    assert sheet.size == (46, 46)
    centres = [(12, 12), (34, 12), (12, 34), (34, 34)]
    for centre, expected in zip(centres, (0, 50, 100, 150), strict=True):
        assert abs(sheet.getpixel(centre)[0] - expected) < 6


def test_unreadable_files_are_passed_over(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", Image.new("RGB", (40, 40), (0, 0, 255)))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(encode(noise(64, 64), "JPEG")[:2000])
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    missing = tmp_path / "missing.jpg"
    paths = [cut, text, missing, good]
    sheet = open_sheet(build_contact_sheet(named(*paths), thumbnail=20, most=1))
    assert sheet.getpixel((12, 12))[2] > 240
    assert build_contact_sheet(named(cut, text, missing)) is None
    assert build_contact_sheet([]) is None


def test_pictures_stand_upright_by_their_exif_orientation(tmp_path: Path) -> None:
    picture = Image.new("RGB", (80, 40))
    picture.paste((255, 0, 0), (0, 0, 40, 40))  # red on the left, black on the right
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise to be upright: then red is at the top
    for suffix in ("jpg", "png", "tif"):
        path = save(tmp_path / f"a.{suffix}", picture, exif=exif)
        sheet = np.asarray(open_sheet(build_contact_sheet(named(path), thumbnail=40))).astype(int)
        assert sheet[8, 22, 0] > 220, suffix
        assert sheet[34, 22, 0] < 40, suffix


def test_any_mode_can_be_shown(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((40, 40), 0x8000, dtype=np.uint16))
    path = save(tmp_path / "16.png", grey)
    sheet = open_sheet(build_contact_sheet(named(path), thumbnail=20))
    assert abs(sheet.getpixel((12, 12))[0] - 128) <= 2


def test_a_file_counts_by_its_name_wherever_its_bytes_are(tmp_path: Path) -> None:
    red = save(tmp_path / "red.png", Image.new("RGB", (40, 40), (255, 0, 0)))
    place = red.rename(tmp_path / "0123456789abcdef")
    sheet = open_sheet(build_contact_sheet([("a/red.png", place)], thumbnail=20))
    assert sheet.getpixel((12, 12))[0] > 240
    assert build_contact_sheet([("a/red.mp4", place)]) is None
