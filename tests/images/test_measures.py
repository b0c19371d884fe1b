"""Known answers, and a naive reading of the definitions in plain Python."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from registry_assets.images.measures import (
    mean_brightness,
    mean_horizontal_variance,
    perceptual_hash,
    reduce_image,
    thumbnail,
)

from .drawing import noise


def naive_brightness(image: Image.Image) -> float:
    total = 0
    for y in range(image.height):
        for x in range(image.width):
            total += max(image.getpixel((x, y)))
    return total / (image.width * image.height)


def naive_variance(image: Image.Image) -> float:
    variances = []
    for y in range(image.height):
        row = []
        for x in range(image.width):
            r, g, b = image.getpixel((x, y))
            row.append((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16)  # ITU-R 601, as Pillow
        mean = sum(row) / len(row)
        variances.append(sum((grey - mean) ** 2 for grey in row) / len(row))
    return sum(variances) / len(variances)


def channels_of(rgb: np.ndarray) -> np.ndarray:
    return np.moveaxis(rgb, -1, 0)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (17, 31), (48, 64)])
def test_measures_equal_a_naive_pixel_by_pixel_computation(height: int, width: int) -> None:
    image = noise(height, width, seed=height * width)
    assert mean_brightness(*channels_of(np.asarray(image))) == pytest.approx(
        naive_brightness(image), abs=1e-9
    )
    assert mean_horizontal_variance(np.asarray(image.convert("L"))) == pytest.approx(
        naive_variance(image), rel=1e-12
    )


def test_mean_brightness_is_the_largest_channel() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 0] = (10, 200, 30)
    pixels[1, 1] = (0, 0, 100)
    assert mean_brightness(*channels_of(pixels)) == 75.0


def test_variance_looks_along_rows_and_not_down_columns() -> None:
    stripes = np.zeros((8, 8), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert mean_horizontal_variance(stripes) == 127.5**2
    assert mean_horizontal_variance(np.ascontiguousarray(stripes.T)) == 0.0


def test_measures_of_large_images_are_the_same_as_of_their_parts() -> None:
    # More than one strip, with a row count that strips do not divide.
    grey = np.random.default_rng(1).integers(0, 256, (1501, 1400), dtype=np.uint8)
    assert mean_horizontal_variance(grey) == pytest.approx(grey.var(axis=1).mean(), rel=1e-12)
    assert mean_brightness(grey, grey // 2, grey // 3) == pytest.approx(grey.mean(), rel=1e-12)


def test_variance_of_a_very_wide_image_does_not_overflow() -> None:
    wide = np.zeros((1, 20_000_000), dtype=np.uint8)
    wide[:, ::2] = 255
    assert mean_horizontal_variance(wide) == 127.5**2


def gradient(step: int) -> NDArray[np.uint8]:
    return np.tile(np.arange(0, 9, dtype=np.uint8) * step, (8, 1)).repeat(10, 0).repeat(10, 1)


def test_perceptual_hash_has_a_bit_where_the_right_neighbour_is_brighter() -> None:
    assert perceptual_hash(reduce_image(gradient(20))) == "f" * 16
    assert perceptual_hash(reduce_image(np.ascontiguousarray(gradient(20)[:, ::-1]))) == "0" * 16
    first_row_only = gradient(20)
    first_row_only[10:] = 7
    assert perceptual_hash(reduce_image(first_row_only)) == "ff" + "0" * 14


def test_perceptual_hash_survives_resizing_and_tells_pictures_apart() -> None:
    smooth = noise(8, 9, seed=3).resize((360, 320), Image.Resampling.BICUBIC).convert("L")
    other = noise(8, 9, seed=4).resize((360, 320), Image.Resampling.BICUBIC).convert("L")

    def bits(image: Image.Image) -> int:
        return int(perceptual_hash(reduce_image(np.asarray(image))), 16)

    assert (bits(smooth) ^ bits(smooth.resize((180, 160)))).bit_count() <= 2
    assert (bits(smooth) ^ bits(other)).bit_count() >= 12


def test_a_thumbnail_holds_the_means_of_its_64_parts() -> None:
    levels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    expected = levels.tobytes().hex()
    for factor in (1, 5, 40):
        picture = levels.repeat(factor, 0).repeat(factor, 1)
        assert thumbnail(reduce_image(picture)) == expected
    # Parts that end within pixels: of 3 columns, each of the 8 parts has three eighths.
    columns = np.tile(np.array([0, 80, 240], np.uint8), (8, 1))
    assert thumbnail(reduce_image(columns)) == bytes([0, 0, 27, 80, 80, 187, 240, 240]).hex() * 8


@pytest.mark.parametrize("size", [(1281, 853), (1000, 749), (639, 480), (4001, 129)])
@pytest.mark.parametrize("scale", [0.5, 0.37])
def test_a_resized_picture_has_much_the_same_hash_and_thumbnail(
    size: tuple[int, int], scale: float
) -> None:
    picture = noise(24, 32, seed=7).convert("L").resize(size, Image.Resampling.BICUBIC)
    smaller = picture.resize((int(size[0] * scale), int(size[1] * scale)), Image.Resampling.BOX)
    one, other = (reduce_image(np.asarray(image)) for image in (picture, smaller))
    assert (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count() <= 4
    levels = (bytes.fromhex(thumbnail(reduced)) for reduced in (one, other))
    assert max(abs(a - b) for a, b in zip(*levels, strict=True)) <= 2
