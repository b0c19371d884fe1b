"""Measuring one file, decoded once."""

import hashlib
import os

import numpy as np

from registry_assets.images.contents import Unreadable, read_contents
from registry_assets.images.decoding import decode_image
from registry_assets.images.measurements import Measurement
from registry_assets.images.measures import (
    mean_brightness,
    mean_horizontal_variance,
    perceptual_hash,
    split_channels,
)
from registry_assets.images.memo import Memo
from registry_assets.images.worker_process import allow_time


def measure_file(
    path: str | os.PathLike[str], *, name: str | None = None, memo: Memo | None = None
) -> Measurement:
    """Return the measurement of one file, decoded once in this process.

    Args:
        path: Where it is.
        name: What the measurement calls it; by default its file name.
        memo: Where measures of the same content are looked up; nothing is added to it.
    """
    name = os.path.basename(os.fspath(path)) if name is None else name
    contents = read_contents(path)
    if isinstance(contents, Unreadable):
        return Measurement(name, contents.reason)
    md5 = hashlib.md5(contents, usedforsecurity=False).hexdigest()
    unmeasured = Measurement(name, md5=md5, size=len(contents))
    remembered = memo.complete(unmeasured) if memo else None
    if remembered is not None:
        return remembered
    allow_time(len(contents))
    decoded = decode_image(contents, name=name)
    if isinstance(decoded, Unreadable):
        return unmeasured._replace(reason=decoded.reason)
    grey = np.asarray(decoded.image.convert("L"))
    return unmeasured._replace(
        format=decoded.format,
        width=decoded.width,
        height=decoded.height,
        mode=decoded.mode,
        frames=decoded.frames,
        mean_brightness=mean_brightness(*split_channels(decoded.image)),
        mean_horizontal_variance=mean_horizontal_variance(grey),
        perceptual_hash=perceptual_hash(grey),
    )
