"""Contact sheets: one picture with thumbnails of a collection's images."""

import os
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from PIL import Image

from registry_assets.images.entries import is_video
from registry_assets.images.shrinking import encode_webp, shrink_to_pixels
from registry_assets.images.workers import map_in_order

_MARGIN = 2
_BACKGROUND = (128, 128, 128)
_MOST_TRIED = 8
"""The number of files to try in each part of a folder until one is an image."""

_SECONDS = 30.0
"""The time limit for a sheet."""

File = tuple[str, str | os.PathLike[str]]
"""The name of a file and its path, which may be an object in DVC's cache."""


def build_contact_sheet(
    files: Sequence[File],
    *,
    columns: int = 6,
    thumbnail: int = 96,
    most: int = 24,
) -> bytes | None:
    """Return a WebP with upright thumbnails of evenly sampled images.

    Args:
        files: The images; unreadable files are skipped.
        columns: The number of thumbnails per row.
        thumbnail: The longest side of a thumbnail, in pixels.
        most: The maximum number of thumbnails.

    Returns:
        None if none of the files is readable.
    """
    shown = _sample(files, thumbnail, most)
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
    return encode_webp(sheet)


def _sample(files: Sequence[File], thumbnail: int, most: int) -> list[Image.Image]:
    # From each of `most` equal parts, the first readable file among the first few.
    parts = min(most, len(files))
    starts = [len(files) * part // parts for part in range(parts + 1)] if parts else []
    shown: dict[int, Image.Image] = {}
    end = time.monotonic() + _SECONDS
    for tried in range(_MOST_TRIED):
        if time.monotonic() > end:
            break
        candidates = {
            part: files[start + tried]
            for part, (start, end) in enumerate(pairwise(starts))
            if part not in shown and start + tried < end
        }
        pixels = map_in_order(
            partial(shrink_to_pixels, thumbnail),
            [place for name, place in candidates.values() if not is_video(name)],
            on_failure=_pass_over,
            # One chunk for one worker: starting a second one takes longer than shrinking them.
            chunk_size=most,
        )
        thumbnails = (None if is_video(name) else next(pixels) for name, _ in candidates.values())
        for part, small in zip(candidates, thumbnails, strict=True):
            if small is not None:
                shown[part] = Image.frombytes("RGB", *small)
    return [shown[part] for part in sorted(shown)]


def _pass_over(path: str | os.PathLike[str], reason: str) -> None:
    """Skip files that cannot be shown."""
