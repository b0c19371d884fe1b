"""From the bytes of a file to an 8-bit RGB image, or to the reason why there is none.

An image is readable when the checks of its container pass (Pillow's `verify`) and every one of
its frames decodes in full (`load`). What is not readable is data, not an exception: it comes
back as an `Unreadable` with its reason.

How each kind of image becomes 8-bit RGB (`convert_to_rgb`):

=====================  ============================================================================
stored as              becomes
=====================  ============================================================================
1-bit, grey            the same value in R, G and B (a bit is 0 or 255)
RGB                    itself; 16 bits per channel keep the high byte (Pillow does this on loading)
16-bit grey (I;16…)    the high byte, as for RGB, so 65535 is white. Pillow's own conversion clips
32-bit integer (I)     the high byte of 16 bits where the largest value fits in 16 bits (Pillow
                       hands 16-bit PPM and some TIFF over like that), else of 31 bits;
                       negative values are black
float (F)              white is 1, 255 or 65535: the smallest that the largest value does not
                       exceed; rounded to the nearest; negative values and NaN are black
palette (P, PA)        the colours of the palette
alpha (LA, RGBA, …)    the stored colours; alpha is dropped. That is what training code sees that
                       opens the file and asks for RGB, and no background has to be made up
CMYK, YCbCr, HSV, LAB  Pillow's conversion (inverted Adobe CMYK is turned round by Pillow on
                       loading; colour profiles are not applied)
several frames         the first frame; a layered PSD its merged picture
=====================  ============================================================================

Pixels are taken as stored. The EXIF orientation is not applied, also not to TIFF, for which
Pillow applies it by itself on loading.
"""

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from registry_assets.images.contents import (
    MAX_PIXELS,
    MAX_PIXELS_OF_ALL_FRAMES,
    Unreadable,
    describe_error,
    has_image_suffix,
)

# Everything that Pillow decodes by itself, the common formats first, those without a signature
# last. Left out are EPS, for which Pillow starts Ghostscript, and the formats that it recognises
# but has no decoder for (BUFR, GRIB, HDF5, MPEG, WMF). A fixed list, because the order in which
# Pillow tries formats otherwise depends on what the process opened before.
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "MPO", "DIB"),
    *("BLP", "CUR", "DCX", "DDS", "FITS", "FLI", "FTEX", "GBR", "ICNS", "ICO", "IM", "IMT"),
    *("MCIDAS", "MIC", "MSP", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SUN", "XBM", "XPM"),
    *("XVTHUMB", "IPTC", "PCD", "SPIDER", "TGA"),
)

_IMAGE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0.ftypavi[fs]|\0\0\0\x0cjP  ",
    re.DOTALL,
)
_HEIF_SIGNATURE = re.compile(rb"\0\0\0.ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)

# Undoes what Pillow does to a TIFF on loading: the inverse of its EXIF orientation.
_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class DecodedImage:
    """The first frame of an intact image as 8-bit RGB, and how the file stores it."""

    image: Image.Image
    format: str
    width: int
    height: int
    mode: str
    frames: int


def decode_image(contents: bytes, *, name: str = "") -> DecodedImage | Unreadable:
    """Return the image that the bytes of a file hold, every frame of it decoded once.

    The format is decided by the contents.

    Args:
        contents: The whole file.
        name: The file's name, by which a file that no decoder recognises counts as a broken
            image or as no image.

    Raises:
        RuntimeError: If `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is set in this process, because
            photographs that were cut off would then pass as intact.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: photographs that were cut off would pass "
            "as intact. Set it to False before measuring."
        )
    if not contents:
        return Unreadable("empty file")
    try:
        with open_image(contents) as image:
            if image.width * image.height > MAX_PIXELS:
                return _too_large(image)
            if not _has_checks(image):
                return _decode_frames(image)
            image.verify()
        # An image cannot be used after `verify`: it is opened a second time, to be decoded.
        with open_image(contents) as image:
            return _decode_frames(image)
    except UnidentifiedImageError:
        return Unreadable(_why_unidentified(contents, name))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Unreadable(f"too large: more than {MAX_PIXELS:,} pixels")
    except MemoryError:
        return Unreadable("too large: decoding needs more memory than there is")
    # Decoders raise whatever comes up while they read broken bytes, from SyntaxError to KeyError.
    except Exception as error:
        return Unreadable(f"corrupt: {describe_error(error)}")


def open_image(contents: bytes) -> ImageFile.ImageFile:
    """Return the image in these bytes, only its header read.

    Raises:
        PIL.UnidentifiedImageError: If no decoder recognises it. Decoders raise much else.
    """
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    return Image.open(io.BytesIO(contents), formats=formats)


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image as 8-bit RGB, as the table above says. It may be the same object."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_scale_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "RGBa" or image.mode == "PA" or "transparency" in image.info:
        # Straight to RGB, Pillow would divide nothing by alpha, or warn about the transparency.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _has_checks(image: ImageFile.ImageFile) -> bool:
    # JPEG, for one, has none: there `verify` does nothing but end the use of the image.
    return type(image).verify is not ImageFile.ImageFile.verify


def _decode_frames(image: ImageFile.ImageFile) -> DecodedImage | Unreadable:
    # Pillow calls the layers of a PSD frames; the picture that the file shows is the merged one.
    frames = 1 if image.format == "PSD" else getattr(image, "n_frames", 1)
    if frames * image.width * image.height > MAX_PIXELS_OF_ALL_FRAMES:
        return _too_large(image, frames)
    mode = image.mode
    pixels = 0
    first: Image.Image | None = None
    for number in range(frames):
        try:
            if number:
                image.seek(number)
        except EOFError:
            return Unreadable(f"corrupt: frame {number + 1} of {frames} is missing")
        pixels += image.width * image.height
        if image.width * image.height > MAX_PIXELS or pixels > MAX_PIXELS_OF_ALL_FRAMES:
            return _too_large(image, frames)
        undo = _orientation_to_undo(image) if number == 0 else None
        image.load()
        if first is None:
            stored = image if undo is None else image.transpose(undo)
            first = convert_to_rgb(stored)
            if first is image and frames > 1:
                first = image.copy()
    assert first is not None
    return DecodedImage(
        image=first,
        format=image.format or "",
        width=first.width,
        height=first.height,
        mode=mode,
        frames=frames,
    )


def _orientation_to_undo(image: ImageFile.ImageFile) -> Image.Transpose | None:
    if image.format != "TIFF":
        return None
    return _UNDO_ORIENTATION.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def _scale_to_8_bit(pixels: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.uint8]:
    if pixels.dtype.kind == "i":
        shift = 8 if pixels.max() <= 0xFFFF else 23
        return (pixels.clip(0) >> shift).astype(np.uint8)
    finite = np.nan_to_num(pixels, nan=0.0, posinf=np.inf, neginf=0.0)
    white = next((white for white in (1, 255) if finite.max() <= white), 65535)
    return np.floor(finite.clip(0, white) * (255 / white) + 0.5).astype(np.uint8)


def _too_large(image: Image.Image, frames: int = 1) -> Unreadable:
    size = f"{image.width} x {image.height} pixels"
    if frames > 1:
        size += f" in {frames} frames"
    return Unreadable(f"too large: {size}")


def _why_unidentified(contents: bytes, name: str) -> str:
    if _HEIF_SIGNATURE.match(contents):
        return "HEIF is not supported: convert it to JPEG"
    if has_image_suffix(name) or _IMAGE_SIGNATURE.match(contents):
        return "corrupt: no decoder recognises it"
    return "not an image"
