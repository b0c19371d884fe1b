"""Suffixes by which programs that others write recognise a picture."""

import pytest
from PIL import Image

from registry_assets.images.pillow_formats import plain_suffix


@pytest.mark.parametrize(
    ("path", "format_name", "suffix"),
    [
        ("a/IMG_1.JPG", "JPEG", ".jpg"),
        ("a.jpeg", "JPEG", ".jpeg"),
        ("drone.jpg", "MPO", ".jpg"),
        ("no_suffix", "PNG", ".png"),
        ("really_a_png.jpg", "PNG", ".png"),
        ("one.heic", "HEIF", None),
        ("named.jpg", "HEIF", None),
        ("one.dng", "RAW", None),
        ("not_measured.png", "", ".png"),
        ("not_measured.heic", "", None),
    ],
)
def test_a_suffix_fits_what_the_file_contains(
    path: str, format_name: str, suffix: str | None
) -> None:
    assert plain_suffix(path, format_name) == suffix


def test_pillow_reads_every_suffix_without_plugins() -> None:
    Image.init()
    for format_name in ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"):
        suffix = plain_suffix("x", format_name)
        assert Image.registered_extensions()[str(suffix)] == format_name
