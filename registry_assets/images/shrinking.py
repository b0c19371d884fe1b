"""Shrinking images: to pixels for contact sheets, to WebP for thumbnails and previews."""

import io
import os
from collections.abc import Iterable, Iterator
from functools import partial

from PIL import Image, ImageOps

from registry_assets.images.contents import MAX_PIXELS, Unreadable, describe_error, read_contents
from registry_assets.images.worker_process import allow_time
from registry_assets.images.workers import map_in_order

_SECONDS_PER_PICTURE = 10.0
"""The CPU time limit for a picture."""

_QUALITY = 80
_METHOD = 2
"""WebP's trade-off from 0, fast, to 6, small. It is made while somebody waits for it."""

Path = str | os.PathLike[str]


def make_thumbnail(path: Path, longest: int) -> bytes | Unreadable:
    """Return an upright WebP of an image, made in a guarded worker, or why there is none.

    Args:
        path: The image, which may be an object in DVC's cache.
        longest: The longest side of the result, in pixels. Smaller images keep their size.
    """
    return next(make_thumbnails([path], longest))


def make_thumbnails(paths: Iterable[Path], longest: int) -> Iterator[bytes | Unreadable]:
    """Yield the `make_thumbnail` of each image, several at once."""
    return map_in_order(partial(_shrink_to_webp, longest), paths, on_failure=_describe_failure)


def _describe_failure(_path: Path, reason: str) -> Unreadable:
    return Unreadable(reason)


def _shrink_to_webp(longest: int, path: Path) -> bytes | Unreadable:
    small = _shrink(longest, path)
    return small if isinstance(small, Unreadable) else encode_webp(small, method=_METHOD)


def shrink_to_pixels(longest: int, path: Path) -> tuple[tuple[int, int], bytes] | None:
    """Return the size and the RGB pixels of a shrunk image; None if it is not readable.

    Runs in a worker; what is pickled for the way back are plain bytes.
    """
    small = _shrink(longest, path)
    return None if isinstance(small, Unreadable) else (small.size, small.tobytes())


def encode_webp(image: Image.Image, *, method: int = 4) -> bytes:
    """Return an image as a WebP.

    Args:
        image: In mode RGB.
        method: From 0, fast, to 6, small.
    """
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=method)
    return buffer.getvalue()


def _shrink(longest: int, path: Path) -> Image.Image | Unreadable:
    """Return an upright image in mode RGB; runs in a worker."""
    contents = read_contents(path)
    if isinstance(contents, Unreadable):
        return contents
    if not contents:
        return Unreadable("empty file")
    # Imported here, as only workers decode.
    from registry_assets.images.decoding import convert_to_rgb, open_image
    from registry_assets.images.jpeg_decoding import is_lossless

    allow_time(seconds=_SECONDS_PER_PICTURE)
    try:
        with open_image(contents) as image:
            if image.width * image.height > MAX_PIXELS:
                return Unreadable(f"too large: more than {MAX_PIXELS:,} pixels")
            if not is_lossless(contents):
                # Decode at a fraction of the size, which is many times faster, but corrupts
                # libjpeg's memory with a lossless JPEG.
                image.draft("RGB", (longest, longest))
            image.load()
            small = convert_to_rgb(image)
            small.thumbnail((longest, longest))
            small = ImageOps.exif_transpose(small) if "exif" in small.info else small
            return small.convert("RGB")
    except MemoryError:
        raise
    # On invalid data, decoders raise anything from SyntaxError to KeyError.
    except Exception as error:
        return Unreadable(describe_error(error))
