"""Camera raw, the sensor data of a camera, developed to 8-bit RGB by LibRaw.

LibRaw is in the extra `raw`. Without it, such files are still recognised, so that the embedded
thumbnail is never taken for the picture.

The picture is in sRGB and full size, with the white balance of the camera, not brightened, and
without the EXIF orientation. Demosaicing is linear: better algorithms take twice as long and change
no measure.
"""

import io
import re

import numpy as np
from numpy.typing import NDArray

from registry_assets.images.contents import Unreadable, describe_error, has_raw_suffix
from registry_assets.images.tiff_directories import (
    describe_unsupported,
    holds_camera_raw,
    holds_ordinary_picture,
    is_tiff,
)

RAW_FORMAT = "RAW"
"""The name of the format in the table of measurements."""

# Canon CR3, CR2 and CRW, Olympus, Panasonic and Leica, Fujifilm, Minolta, Sigma, Phase One.
_SIGNATURE = re.compile(
    rb"\0\0\0.ftypcrx |II\*\0\x10\0\0\0CR|II\x1a\0\0\0HEAPCCDR|IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW"
    rb"|\0MRM|FOVb|(II\*\0|MM\0\*)....(IIII|MMMM)",
    re.DOTALL,
)


def is_camera_raw(contents: bytes, name: str = "") -> bool:
    """Return whether a file is camera raw, by its contents and, for a TIFF, its suffix."""
    if _SIGNATURE.match(contents):
        return True
    if not is_tiff(contents):
        return False
    if has_raw_suffix(name):
        return not holds_ordinary_picture(contents)
    return holds_camera_raw(contents)


def develop(contents: bytes, *, max_pixels: int) -> NDArray[np.uint8] | Unreadable:
    """Develop camera raw to pixels, height × width × 3."""
    try:
        import rawpy
    except ImportError:
        return Unreadable("not supported: camera raw, read with pip install 'registry-assets[raw]'")
    try:
        with rawpy.imread(io.BytesIO(contents)) as raw:
            width, height = raw.sizes.iwidth, raw.sizes.iheight
            if width * height > max_pixels:
                return Unreadable(f"too large: {width} x {height} pixels")
            return raw.postprocess(
                demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
                use_camera_wb=True,
                no_auto_bright=True,
                user_flip=0,
            )
    except (
        rawpy.LibRawFileUnsupportedError,
        rawpy.LibRawNotImplementedError,
        rawpy.NotSupportedError,
    ):
        if is_tiff(contents) and describe_unsupported(contents) is None:
            return Unreadable("corrupt: camera raw without a picture")
        version = ".".join(map(str, rawpy.libraw_version))
        return Unreadable(f"not supported: camera raw that LibRaw {version} does not read")
    except rawpy.LibRawUnsufficientMemoryError:
        raise MemoryError from None
    except rawpy.LibRawError as error:
        detail = error.args[0] if error.args else ""
        text = detail.decode("ascii", "replace") if isinstance(detail, bytes) else str(detail)
        return Unreadable(f"corrupt: {describe_error(ValueError(text))}")
