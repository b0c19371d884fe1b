"""Measuring a file."""

import hashlib
import os

import numpy as np

from registry_assets.images.camera_raw import RAW_FORMAT
from registry_assets.images.contents import (
    MAX_PIXELS,
    Unreadable,
    has_raw_suffix,
    read_contents,
)
from registry_assets.images.decoding import decode_image
from registry_assets.images.exif import read_exif
from registry_assets.images.measurements import Measurement
from registry_assets.images.measures import (
    mean_brightness,
    mean_horizontal_variance,
    perceptual_hash,
    reduce_image,
    thumbnail,
)
from registry_assets.images.memo import Memo
from registry_assets.images.worker_process import allow_time


def measure_file(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    memo: Memo | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Measurement:
    """Measure a file in this process, decoding it once.

    Args:
        path: The file.
        name: The path in the measurement (default: the file name).
        memo: Cached measures; nothing is added to it.
        max_pixels: Larger images are not decoded.
    """
    name = os.path.basename(os.fspath(path)) if name is None else name
    contents = read_contents(path)
    if isinstance(contents, Unreadable):
        return Measurement(name, contents.reason)
    md5 = hashlib.md5(contents, usedforsecurity=False).hexdigest()
    unmeasured = Measurement(name, md5=md5, size=len(contents))
    remembered = memo.complete(unmeasured) if memo else None
    if remembered is not None and _would_be_the_same(remembered, max_pixels):
        return remembered
    allow_time(len(contents))
    exif = read_exif(contents)._asdict()
    decoded = decode_image(contents, name=name, max_pixels=max_pixels)
    if isinstance(decoded, Unreadable):
        return unmeasured._replace(reason=decoded.reason, **exif)
    grey = np.asarray(decoded.image.convert("L"))
    reduced = reduce_image(grey)
    return unmeasured._replace(
        format=decoded.format,
        width=decoded.width,
        height=decoded.height,
        mode=decoded.mode,
        frames=decoded.frames,
        mean_brightness=mean_brightness(*(decoded.pixels[..., channel] for channel in range(3))),
        mean_horizontal_variance=mean_horizontal_variance(grey),
        perceptual_hash=perceptual_hash(reduced),
        thumbnail=thumbnail(reduced),
        note=decoded.note,
        **exif,
    )


def _would_be_the_same(remembered: Measurement, max_pixels: int) -> bool:
    """Whether cached measures are valid for this name and limit."""
    if (remembered.width or 0) * (remembered.height or 0) > max_pixels:
        return False
    if remembered.format in (RAW_FORMAT, "TIFF"):
        return (remembered.format == RAW_FORMAT) == has_raw_suffix(remembered.path)
    return True
