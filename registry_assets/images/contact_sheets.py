"""A picture of many pictures, for people to see at a glance what a collection holds."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from PIL import Image, ImageOps

from registry_assets.images.contents import MAX_PIXELS, Unreadable, read_contents
from registry_assets.images.decoding import convert_to_rgb, open_image
from registry_assets.images.entries import is_video

_MARGIN = 2
_BACKGROUND = (128, 128, 128)
_MOST_TRIED = 8
"""In each part of a folder: what is no image so often, is taken for a folder of something else."""


def build_contact_sheet(
    paths: Sequence[str | os.PathLike[str]],
    *,
    columns: int = 6,
    thumbnail: int = 96,
    most: int = 24,
) -> bytes | None:
    """Return a JPEG with small versions of images, upright, taken evenly from all of them.

    Args:
        paths: Where the images are; what is not readable is passed over.
        columns: How many stand in a row.
        thumbnail: The longest side of one, in pixels.
        most: How many are shown at most.

    Returns:
        None if none of the files is readable.
    """
    shown = [image for image in _sample(paths, thumbnail, most) if image is not None]
    if not shown:
        return None
    cell = thumbnail + _MARGIN
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * cell + _MARGIN, rows * cell + _MARGIN), _BACKGROUND)
    for number, image in enumerate(shown):
        left = _MARGIN + number % columns * cell + (thumbnail - image.width) // 2
        top = _MARGIN + number // columns * cell + (thumbnail - image.height) // 2
        sheet.paste(image, (left, top))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _sample(
    paths: Sequence[str | os.PathLike[str]], thumbnail: int, most: int
) -> list[Image.Image | None]:
    # Of each of `most` equal parts, the first file that is readable of the first few.
    parts = min(most, len(paths))
    starts = [len(paths) * part // parts for part in range(parts + 1)] if parts else [0]
    bounds = [(start, min(end, start + _MOST_TRIED)) for start, end in pairwise(starts)]

    def first_of(part: tuple[int, int]) -> Image.Image | None:
        return next(filter(None, (_shrink(path, thumbnail) for path in paths[slice(*part)])), None)

    # Decoding lets go of the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(first_of, bounds))


def _shrink(path: str | os.PathLike[str], thumbnail: int) -> Image.Image | None:
    contents = b"" if is_video(os.fspath(path)) else read_contents(path)
    if isinstance(contents, Unreadable) or not contents:
        return None
    # A sheet is decoration: whatever a decoder trips over, the file is passed over.
    try:
        with open_image(contents) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            # JPEG can be decoded at a fraction of its size, which is many times faster.
            image.draft("RGB", (thumbnail, thumbnail))
            image.load()
            small = convert_to_rgb(image)
            small.thumbnail((thumbnail, thumbnail))
            return ImageOps.exif_transpose(small) if "exif" in small.info else small
    except Exception:
        return None
