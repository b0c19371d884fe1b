"""Measures of images: arrays in, numbers out.

Every measure is computed from exact integer sums and rounded once, so that it depends only on the
pixels, not on the machine, the order of summation or the version of NumPy.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pixels processed at once, to keep temporary arrays small.
_PIXELS_AT_ONCE = 1 << 20

_REDUCED_SIDE = 64


def mean_brightness(
    red: NDArray[np.uint8], green: NDArray[np.uint8], blue: NDArray[np.uint8]
) -> float:
    """Return the mean of V in HSV, which is max(R, G, B) of each pixel, in 0 to 255.

    Args:
        red: 8-bit values, height x width.
        green: The same.
        blue: The same.
    """
    total = 0
    for reds, greens, blues in zip(*map(_strips, (red, green, blue)), strict=True):
        value = np.maximum(reds, greens)
        np.maximum(value, blues, out=value)
        total += int(value.sum(dtype=_sum_type(value)))
    return total / red.size


def mean_horizontal_variance(grey: NDArray[np.uint8]) -> float:
    """Return the variance along each row, averaged over the rows, in squared grey levels.

    It is the population variance. Fog reduces contrast, so a low value means haze: a plain surface
    has 0; rows that are half black and half white have 16256.25.

    Args:
        grey: 8-bit pixels, height x width.
    """
    height: int = grey.shape[0]
    width: int = grey.shape[1]
    # width * (sum of squares) - (sum)^2 is width^2 times a row's variance, and an integer. Python's
    # integers are used where 64 bits could overflow: in the products, and for very long rows.
    squares = squared_sums = 0
    for rows in _strips(grey):
        row_squares = np.square(rows, dtype=np.uint16).sum(1, dtype=_sum_type(rows))
        squares += int(row_squares.sum(dtype=np.uint64))
        row_sums = rows.sum(1, dtype=_sum_type(rows)).astype(np.uint64)
        if width < 1 << 16:
            squared_sums += int(np.dot(row_sums, row_sums))
        else:
            squared_sums += sum(row_sum**2 for row_sum in row_sums.tolist())
    return (width * squares - squared_sums) / (width * width * height)


class ReducedImage(NamedTuple):
    """A reduced picture, from which small thumbnails are computed quickly.

    Attributes:
        pixels: The means of blocks of the picture; blocks at the right and lower edge may be
            smaller.
        size: Width and height of the picture.
        block: Width and height of a block.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    block: tuple[int, int]


def reduce_image(grey: NDArray[np.uint8]) -> ReducedImage:
    """Reduce a picture to 64 to 127 pixels per side; smaller sides are unchanged.

    Args:
        grey: 8-bit pixels, height x width.
    """
    height, width = grey.shape
    block = (max(1, width // _REDUCED_SIDE), max(1, height // _REDUCED_SIDE))
    pixels = grey if block == (1, 1) else np.asarray(Image.fromarray(grey).reduce(block))
    return ReducedImage(pixels, (width, height), block)


def perceptual_hash(reduced: ReducedImage) -> str:
    """Return the difference hash of an image as 16 hexadecimal digits.

    The picture is reduced to 9 x 8 pixels (means of areas). Each of the 64 bits, row by row from
    the most significant one, is set if a pixel is darker than its right neighbour. Resizing and
    recompressing a picture changes hardly any bit. Source: N. Krawetz, "Kind of Like That" (2013),
    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html.

    The `dhash` of the ImageHash package is not used, as it needs SciPy and PyWavelets for other
    hashes. A few bits can differ from it, as it uses Lanczos resampling.
    """
    small = _cell_means(reduced, 9, 8)
    return np.packbits(small[:, :-1] < small[:, 1:]).tobytes().hex()


def thumbnail(reduced: ReducedImage) -> str:
    """Return the grey levels of a picture reduced to 8 x 8, row by row, as 128 hexadecimal digits.

    It confirms that pictures with similar perceptual hashes are alike; see `likeness.find_alike`.
    """
    return _cell_means(reduced, 8, 8).astype(np.uint8).tobytes().hex()


def _cell_means(reduced: ReducedImage, columns: int, rows: int) -> NDArray[np.int64]:
    """Return the rounded means of equal cells of a picture, rows x columns.

    Cells may contain fractions of pixels: with whole pixels, a quarter of the bits of the hash
    would differ between a picture and a version of half the size.
    """
    (width, height), (block_width, block_height) = reduced.size, reduced.block
    # Sums of integers below 2^53 are exact in floating point, and faster.
    sums = _overlaps(height, block_height, rows) @ reduced.pixels.astype(np.float64)
    sums = sums @ _overlaps(width, block_width, columns).T
    area = width * height
    means: NDArray[np.int64] = (2 * sums.astype(np.int64) + area) // (2 * area)
    return means


@lru_cache(maxsize=64)
def _overlaps(length: int, block: int, parts: int) -> NDArray[np.float64]:
    """Return the overlap of each part of a line with each of its blocks, parts x blocks.

    In units of 1 / `parts` of a pixel, so that overlaps are integers and a part is `length` long.
    """
    part = np.arange(parts)[:, None]
    start = np.arange(0, length, block)[None, :]
    end = np.minimum(start + block, length)
    common = np.minimum((part + 1) * length, end * parts) - np.maximum(part * length, start * parts)
    overlaps: NDArray[np.float64] = common.clip(0).astype(np.float64)
    return overlaps


def _sum_type(rows: NDArray[np.uint8]) -> type[np.uint32] | type[np.uint64]:
    # The sum of 65,535 squares of 255 still fits in 32 bits, which are nearly twice as fast.
    return np.uint32 if rows.shape[1] < 1 << 16 else np.uint64


def _strips(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    rows = max(1, _PIXELS_AT_ONCE // pixels.shape[1])
    for start in range(0, pixels.shape[0], rows):
        yield pixels[start : start + rows]
