"""Decoding the bytes of a file to an 8-bit RGB image.

An image is readable if its first picture is intact: it decodes completely, without a warning from
a JPEG decoder (`jpeg_decoding`), and with valid checksums in PNG. Problems elsewhere in the file
(comments, profiles, previews, later frames) are a note. An unreadable file is not an exception: the
result is an `Unreadable` with its reason, "corrupt: …" for damage and "not supported: …" for
formats without a decoder.

How images are converted to 8-bit RGB (`convert_to_rgb`):

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
alpha (LA, RGBA, …)    the stored colours; alpha is dropped, as in training code that opens the
                       file and converts it to RGB
CMYK, YCbCr, HSV, LAB  Pillow's conversion (on loading, Pillow corrects inverted Adobe CMYK;
                       colour profiles are not applied)
several frames         the first frame; a layered PSD its merged picture
camera raw             see `camera_raw`
=====================  ============================================================================

Pixels are taken as stored. The EXIF orientation is not applied; for TIFF, where Pillow applies it
on loading, it is undone. HEIF is rotated as its container says, which is not EXIF.
"""

import io
import re
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, UnidentifiedImageError

from registry_assets.images.bare_pictures import check_png, keep_first_picture
from registry_assets.images.camera_raw import RAW_FORMAT, develop, is_camera_raw
from registry_assets.images.contents import (
    MAX_PIXELS,
    MAX_PIXELS_OF_ALL_FRAMES,
    Unreadable,
    describe_error,
    has_image_suffix,
)
from registry_assets.images.jpeg_decoding import (
    check_for_lost_data,
    decode_jpeg,
    fill_before_end,
    has_strict_decoder,
    keep_one_exif,
    unsupported_kind,
)
from registry_assets.images.tiff_directories import describe_unsupported, is_tiff

# All formats that Pillow decodes itself, common ones first, those without a signature last; without
# EPS, which starts Ghostscript, and formats that Pillow only identifies (BUFR, GRIB, HDF5, MPEG,
# WMF). The list is fixed, as Pillow's own order depends on what the process has opened before.
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "MPO", "DIB"),
    *("BLP", "CUR", "DCX", "DDS", "FITS", "FLI", "FTEX", "GBR", "ICNS", "ICO", "IM", "IMT"),
    *("MCIDAS", "MIC", "MSP", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SUN", "XBM", "XPM"),
    *("XVTHUMB", "HEIF", "JXL", "IPTC", "PCD", "SPIDER", "TGA"),
)

_IMAGE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0.ftypavi[fs]|\0\0\0\x0cjP  ",
    re.DOTALL,
)

# Formats read by plugins of Pillow: the signature, the name of the format, the module of the
# plugin, and our extra that installs it.
_BY_PLUGIN = (
    (
        re.compile(rb"\0\0\0.ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
        *("HEIF", "pillow_heif.HeifImagePlugin", "heif"),
    ),
    (
        re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", re.DOTALL),
        *("JPEG XL", "pillow_jxl.JpegXLImagePlugin", "jxl"),
    ),
)

# Image formats without a decoder, by signature. Any other file that is not recognised is no image.
_UNSUPPORTED = {
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"II\xbc\x01": "JPEG XR",
    b"8BPS\0\2": "PSB, a large Photoshop file",
    b"gimp xcf": "XCF of GIMP",
    b"SDPX": "DPX",
    b"XPDS": "DPX",
}

_JPEG = ("JPEG", "MPO")

# The inverse of the EXIF orientation, which Pillow applies to a TIFF on loading.
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
    """The first frame of an image as 8-bit RGB, with properties of the file.

    Attributes:
        image: In mode RGB, or RGBX, whose fourth byte is unused.
        pixels: The same as an array, height × width × 3 or 4.
        format: Pillow's name of the format; "RAW" for camera raw.
        width: In pixels.
        height: In pixels.
        mode: Pillow's mode of the stored image.
        frames: The number of intact frames before the first damaged one.
        note: A problem with the rest of the file.
    """

    image: Image.Image
    pixels: NDArray[np.uint8]
    format: str
    width: int
    height: int
    mode: str
    frames: int
    note: str = ""


def decode_image(
    contents: bytes, *, name: str = "", max_pixels: int = MAX_PIXELS
) -> DecodedImage | Unreadable:
    """Decode the first picture of a file; the format is detected by its contents.

    Args:
        contents: The whole file.
        name: The file's name: its suffix tells camera raw from other TIFFs, and a corrupt image
            from a file that is no image.
        max_pixels: Larger images are not decoded.

    Raises:
        RuntimeError: If `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is set in this process, so that
            truncated images would count as intact.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so truncated images would count as "
            "intact: set it to False before measuring"
        )
    if not contents:
        return Unreadable("empty file")
    try:
        if is_camera_raw(contents, name):
            return _develop(contents, max_pixels)
        return _decode(contents, max_pixels)
    except MemoryError:
        return Unreadable("too large: decoding needs more memory than there is")
    # On invalid data, decoders raise anything from SyntaxError to KeyError.
    except Exception as error:
        return _decode_first_picture(contents, max_pixels, error) or Unreadable(
            _why_not(contents, name, error)
        )


def open_image(contents: bytes) -> ImageFile.ImageFile:
    """Open an image, reading only its header.

    Raises:
        PIL.UnidentifiedImageError: If no decoder recognises it. Decoders raise other errors, too.
    """
    Image.init()
    for signature, _, module, _ in _BY_PLUGIN:
        if signature.match(contents):
            with suppress(ImportError):
                import_module(module)
    formats = [name for name in _FORMATS if name in Image.OPEN]
    if contents.startswith(b"\xff\xd8"):
        contents = keep_one_exif(contents)
    try:
        return Image.open(io.BytesIO(contents), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _open_large_image(contents, formats)


def _open_large_image(contents: bytes, formats: Iterable[str]) -> ImageFile.ImageFile:
    """Open an image like `Image.open`, without its global limit on pixels."""
    for name in formats:
        factory, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            # `accepts` returns a message if the format is recognised but not supported.
            if not accepts or accepts(contents[:16]) is True:
                return factory(io.BytesIO(contents), "")
    raise UnidentifiedImageError("no decoder recognises it")


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image to 8-bit RGB (see the table above); may return the same object."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_scale_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "RGBa" or image.mode == "PA" or "transparency" in image.info:
        # Direct conversion to RGB would not undo premultiplied alpha, or warn about transparency.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _develop(contents: bytes, max_pixels: int) -> DecodedImage | Unreadable:
    pixels = develop(contents, max_pixels=max_pixels)
    if isinstance(pixels, Unreadable):
        return pixels
    height, width, _ = pixels.shape
    return DecodedImage(Image.fromarray(pixels), pixels, RAW_FORMAT, width, height, "RGB", 1)


def _decode(contents: bytes, max_pixels: int) -> DecodedImage | Unreadable:
    with open_image(contents) as image:
        if image.width * image.height > max_pixels:
            return Unreadable(f"too large: {image.width} x {image.height} pixels")
        note = check_png(contents) if image.format == "PNG" else ""
        mode = image.mode
        stated, of_frames = _count_frames(image)
        first, pixels = _decode_first_frame(contents, image)
        if first is image and stated > 1:
            # Seeking to the next frame overwrites it.
            first = first.copy()
        frames, of_frames = _decode_other_frames(image, stated, of_frames)
        return DecodedImage(
            image=first,
            pixels=pixels,
            format=image.format or "",
            width=first.width,
            height=first.height,
            mode=mode,
            frames=frames,
            note="; ".join(filter(None, (note, of_frames))),
        )


def _decode_first_frame(
    contents: bytes, image: ImageFile.ImageFile
) -> tuple[Image.Image, NDArray[np.uint8]]:
    if image.format in _JPEG and has_strict_decoder(contents):
        try:
            return _decode_jpeg(contents, image)
        except ValueError as error:
            # simplejpeg does not support every chroma subsampling.
            if "subsampling" not in str(error):
                raise
        _check_jpeg_of_pillow(contents, image)
    undo = _orientation_to_undo(image)
    image.load()
    first = convert_to_rgb(image if undo is None else image.transpose(undo))
    return first, np.asarray(first)


def _decode_jpeg(
    contents: bytes, image: ImageFile.ImageFile
) -> tuple[Image.Image, NDArray[np.uint8]]:
    if image.mode != "CMYK":
        pixels = decode_jpeg(contents)
        return Image.frombuffer("RGBX", image.size, pixels, "raw", "RGBX", 0, 1), pixels
    stored = decode_jpeg(contents, "CMYK")
    first = Image.frombuffer("CMYK", image.size, stored, "raw", "CMYK;I", 0, 1).convert("RGB")
    return first, np.asarray(first)


def _check_jpeg_of_pillow(contents: bytes, image: ImageFile.ImageFile) -> None:
    """Raise a `ValueError` for missing data in a JPEG, which Pillow does not report."""
    check_for_lost_data(contents)
    with open_image(fill_before_end(contents)) as filled:
        if ImageChops.difference(filled, image).getbbox():
            raise ValueError("premature end of data segment")


def _count_frames(image: ImageFile.ImageFile) -> tuple[int, str]:
    """Return the stated number of frames, and why it is unknown, if so."""
    # Pillow counts the layers of a PSD as frames, but loads the merged image.
    if image.format == "PSD":
        return 1, ""
    try:
        return getattr(image, "n_frames", 1), ""
    except Exception as error:
        image.seek(0)
        return 1, f"what follows the first frame: {describe_error(error)}"


def _decode_other_frames(image: ImageFile.ImageFile, frames: int, note: str) -> tuple[int, str]:
    """Return the number of intact frames before the first damaged one, and what is wrong there."""
    pixels = image.width * image.height
    for number in range(1, frames):
        which = f"frame {number + 1} of {frames}"
        try:
            image.seek(number)
            pixels += image.width * image.height
            if image.width * image.height > MAX_PIXELS or pixels > MAX_PIXELS_OF_ALL_FRAMES:
                return number, f"too many pixels: not looked at from {which} on"
            image.load()
        except EOFError:
            return number, f"{which} is missing"
        except Exception as error:
            return number, f"{which}: {describe_error(error)}"
    return frames, note


def _decode_first_picture(
    contents: bytes, max_pixels: int, first_error: Exception
) -> DecodedImage | Unreadable | None:
    """Decode a copy reduced to the first picture; None if that is damaged, too."""
    with suppress(Exception):
        bare = keep_first_picture(contents)
        if bare is None or bare == contents:
            return None
        decoded = _decode(bare, max_pixels)
        if isinstance(decoded, DecodedImage):
            if isinstance(first_error, UnidentifiedImageError):
                return replace(decoded, note="the rest of it is broken")
            return replace(decoded, note=describe_error(first_error))
        return decoded
    return None


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


def _why_not(contents: bytes, name: str, error: Exception) -> str:
    kind = _unsupported_kind(contents, error)
    if kind:
        return f"not supported: {kind}"
    if not isinstance(error, UnidentifiedImageError):
        return f"corrupt: {describe_error(error)}"
    is_recognised = any(signature.match(contents) for signature, *_ in _BY_PLUGIN)
    if is_recognised or has_image_suffix(name) or _IMAGE_SIGNATURE.match(contents):
        return "corrupt: no decoder recognises it"
    return "not an image"


def _unsupported_kind(contents: bytes, error: Exception) -> str | None:
    """Return the format of a file without a decoder; None for formats with one."""
    if contents.startswith(b"\xff\xd8"):
        return unsupported_kind(contents)
    if is_tiff(contents) and isinstance(error, UnidentifiedImageError | KeyError):
        described = describe_unsupported(contents)
        return f"TIFF with {described}" if described else None
    for signature, kind, module, extra in _BY_PLUGIN:
        if signature.match(contents) and module not in sys.modules:
            return f"{kind}, read with pip install 'registry-assets[{extra}]'"
    if contents[4:12] in (b"ftypavif", b"ftypavis") and "AVIF" not in Image.SAVE:
        return "AVIF, which this build of Pillow does not read"
    return next((kind for start, kind in _UNSUPPORTED.items() if contents.startswith(start)), None)
